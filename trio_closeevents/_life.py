"""`Life`: how one connection lives and ends, as its block and its server see to it.

A `WebSocket` is what the program holds; this is the half of it that the program has no business with.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

import trio

from ._driver import Driver
from ._errors import ConnectionBroken, ConnectionClosed, LocallyClosed, RemoteClosed
from ._events import CloseCause, CloseCode, CloseEvent, CloseFrame
from ._hooks import unprotected
from ._observer import Watching
from ._options import Options
from ._protocol.closing import State
from ._protocol.observed import ObservedSession
from ._protocol.plain import Shared
from ._protocol.session import Session
from ._transport import Transport

if TYPE_CHECKING:
    from ._connection import WebSocket

__all__ = ["Life"]

END_OF_ITERATION: Final = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD})

logger = logging.getLogger("trio_closeevents")
protected = trio.lowlevel.enable_ki_protection


class Life:
    """The life of one connection.

    Attributes:
        driver: its tasks and queues.
        role: "client" or "server".
        under_block: with `cancel_on_close`, what ends the block.
    """

    __slots__ = (
        "_interruption",
        "_on_close",
        "_options",
        "_random_id",
        "_session",
        "_watching",
        "_websocket",
        "driver",
        "role",
        "under_block",
    )

    def __init__(
        self,
        websocket: WebSocket,
        session: Session,
        transport: Transport,
        options: Options,
        *,
        client: bool,
        on_close: Callable[[WebSocket, CloseEvent], object] | None,
    ) -> None:
        self._websocket = websocket
        self._session = session
        self._options = options
        self.driver = Driver(session, transport, options, client=client, on_end=self._ended)
        self.role = "client" if client else "server"
        self._on_close = on_close
        self._watching: Watching | None = None
        self._interruption: BaseException | None = None  # out of an observer, for the block to raise
        if isinstance(session, ObservedSession) and options.observer is not None:
            self._watching = Watching(options.observer, websocket, self._interrupt)
            session.watched_by(self._watching)
        self.under_block: trio.CancelScope | None = None
        self._random_id: int | None = None  # as soon as somebody asks

    @property
    def id(self) -> int:
        """A random number of 128 bits, as a UUID has it."""
        if self._random_id is None:
            random = int.from_bytes(os.urandom(16))
            self._random_id = random & ~(0xF000C << 60) | 0x40008 << 60  # version 4 (RFC 9562)
        return self._random_id

    @property
    def short_id(self) -> str:
        """The first eight digits of it."""
        return f"{self.id:032x}"[:8]

    def offer(self, shared: Shared) -> bool:
        """Queue a message of `broadcast`; tell whether nothing is left to do, because it had room or we have ended."""
        writer = self.driver.writer
        if self._session.state is not State.OPEN:
            return True
        if writer.is_hindered:
            return False
        writer.put(shared.message, self._session.send_shared(shared))
        return True

    async def offer_later(self, shared: Shared) -> None:
        """Queue it as soon as there is room, unless we have ended then. If cancelled, it is not queued."""
        await self.driver.writer.queue(shared)

    def closed_error(self, *, sending: bool) -> ConnectionClosed:
        """Return the exception for what is asked of a connection that has ended or is about to."""
        if self._session.closed_by_us:
            return LocallyClosed(connection=self._websocket)
        event = self._session.close_event
        if not sending and event is not None and event.was_clean and event.code in END_OF_ITERATION:
            return RemoteClosed(connection=self._websocket)
        return ConnectionBroken(connection=self._websocket)

    def _ended(self) -> None:
        """The CloseEvent was decided: tell the log, the block and the program."""
        event = self._session.close_event
        assert event is not None
        if self.under_block is not None and not self._session.closed_by_us:  # an `aclose` in the block goes on first
            self.under_block.cancel()
        extra = {"websocket": self._websocket, "close_event": event}
        logger.info(
            "%s %s (%s) ended: %s", self.role, self.short_id, self._websocket.request.target, event, extra=extra
        )
        if self._watching is not None:
            self._watching.close(event)
        if self._on_close is not None:
            call_on_close(self._on_close, self._websocket, event)

    @property
    def ended_under_block(self) -> bool:
        """With `cancel_on_close`: the connection ended while the block ran, which was cancelled therefore."""
        return self.under_block is not None and self.under_block.cancel_called

    def broken(self) -> ConnectionBroken | None:
        """Return what tells of an ending that neither this side nor a clean close of the peer explains."""
        error = self.closed_error(sending=False)
        error.__cause__ = self._session.error
        return error if isinstance(error, ConnectionBroken) else None

    @protected
    def run(self) -> Coroutine[object, object, None]:
        """The connection's own tasks; ends when the transport is gone. Called before the block begins."""
        if self._watching is not None:
            self._watching.open()
        elif self.under_block is None:
            return self.driver.run()
        return self._run_and_tell(self.under_block)

    @protected
    async def _run_and_tell(self, block: trio.CancelScope | None) -> None:
        try:
            await self.driver.run()
        finally:
            if block is not None:
                block.cancel()
        if self._interruption is not None:
            raise self._interruption

    def _interrupt(self, interruption: BaseException) -> None:
        """End the block as if *interruption*, which an observer has raised, had left it."""
        self._interruption = self._interruption or interruption
        self.driver.close_for(interruption, keep_arrived=False)

    def close_for(self, left_by: BaseException | None) -> None:
        """Begin the ending that a block asks for which *left_by* leaves, or which returns (`None`)."""
        self.driver.close_for(left_by, keep_arrived=False)
        self.driver.reader.discard_inbox()
        if isinstance(left_by, GeneratorExit):
            self.driver.abort()

    def begin_close(self, frame: CloseFrame) -> None:
        """Do what `aclose` does, without waiting."""
        self.driver.close(frame, CloseCause.CLOSED, self._options.close_timeout, keep_arrived=True)

    async def see_it_through(self) -> None:
        """Wait until the transport is gone, whatever comes; then raise what came."""
        await self.driver.see_it_through()


def call_on_close(on_close: Callable[[WebSocket, CloseEvent], object], websocket: WebSocket, event: CloseEvent) -> None:
    """Call the program's hook. What it raises is logged: there is nobody else to tell."""
    try:
        unprotected(on_close, websocket, event)
    except Exception as error:
        logger.error("on_close(%r, %s) raised", websocket, event, exc_info=error)
