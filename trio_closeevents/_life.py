"""What a connection is, apart from its messages: who it is, how it lives and how it ends."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from ._driver import Driver
from ._errors import ConnectionBroken, ConnectionClosed, LocallyClosed, RemoteClosed
from ._events import CloseCause, CloseCode, CloseEvent, CloseFrame
from ._hooks import unprotected
from ._http import Request, Response
from ._observer import Watching
from ._options import Options
from ._protocol.closing import State
from ._protocol.observed import ObservedSession
from ._protocol.plain import Shared
from ._protocol.session import Session
from ._status import ReadyState, Stats
from ._transport import Transport
from ._turns import turns_of_this_run

if TYPE_CHECKING:
    from uuid import UUID

    from ._connection import WebSocket

__all__ = ["Life"]

END_OF_ITERATION: Final = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD})

logger = logging.getLogger("trio_closeevents")
protected = trio.lowlevel.enable_ki_protection


class Life:
    """The life of one connection. A `WebSocket` is one; all that the block and the server ask of it is here."""

    def __init__(
        self,
        session: Session,
        transport: Transport,
        options: Options,
        *,
        client: bool,
        request: Request,
        response: Response,
        subprotocol: str | None,
        on_close: Callable[[WebSocket, CloseEvent], object] | None = None,
    ) -> None:
        self._session = session
        self._options = options
        self._turns = turns_of_this_run()
        self._driver = Driver(session, transport, options, client=client, on_end=self._ended)
        self._reader = self._driver.reader
        self._writer = self._driver.writer
        self._ready = self._reader.inbox.ready
        self._role = "client" if client else "server"
        self._request = request
        self._response = response
        self._subprotocol = subprotocol
        self._on_close = on_close
        self._watching: Watching | None = None
        self._interruption: BaseException | None = None  # out of an observer, for the block to raise
        if isinstance(session, ObservedSession) and options.observer is not None:
            self._watching = Watching(options.observer, cast("WebSocket", self), self._interrupt)
            session.watched_by(self._watching)
        self.under_block: trio.CancelScope | None = None  # with `cancel_on_close`: what ends the block
        self._random_id: int | None = None  # as soon as somebody asks

    @property
    def close_event(self) -> CloseEvent | None:
        """How the connection ended; `None` until that is decided, and never changed then."""
        return self._session.close_event

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> ReadyState:
        """OPEN; CLOSING from the first Close frame or failure; CLOSED when the transport is gone."""
        if self._session.state is State.OPEN:
            return ReadyState.OPEN
        return ReadyState.CLOSED if self._session.state is State.CLOSED else ReadyState.CLOSING

    @property
    def id(self) -> UUID:
        """A random id, for logs."""
        from uuid import UUID  # it takes long to import, and few ask

        return UUID(int=self._id)

    @property
    def _id(self) -> int:
        if self._random_id is None:
            random = int.from_bytes(os.urandom(16))
            self._random_id = random & ~(0xF000C << 60) | 0x40008 << 60  # version 4 (RFC 9562)
        return self._random_id

    @property
    def _short_id(self) -> str:
        return f"{self._id:032x}"[:8]

    @property
    def subprotocol(self) -> str | None:
        """What both sides agreed on, `None` if nothing."""
        return self._subprotocol

    @property
    def is_client(self) -> bool:
        """This side is the client, and the peer is the server."""
        return self._role == "client"

    @property
    def url(self) -> str:
        """The URL of the request, with its scheme as this side sees it, its `Host` and its target."""
        scheme = "wss" if self._driver.transport.is_secure else "ws"
        return f"{scheme}://{self._request.headers.get('host', '')}{self._request.target}"

    @property
    def request(self) -> Request:
        """The client's half of the opening handshake."""
        return self._request

    @property
    def response(self) -> Response:
        """The server's half of the opening handshake."""
        return self._response

    @property
    def local_address(self) -> Any:
        """This side's address, as the socket has it; `None` on a stream that has no socket."""
        return self._driver.transport.local_address

    @property
    def remote_address(self) -> Any:
        """The peer's address, as the socket has it; `None` on a stream that has no socket.

        At a server it is what a proxy has said, if that one is trusted: `Request.remote_address`.
        """
        return self._driver.transport.remote_address

    @property
    def buffered(self) -> int:
        """Bytes of messages that were sent by the program and not yet given to the network."""
        return self._writer.outbox.payload

    @property
    def latency(self) -> float | None:
        """Seconds of the latest round trip of a Ping and its Pong, a keepalive's or one of `ping`; `None` before it."""
        return self._driver.pings.latency

    @property
    def stats(self) -> Stats:
        """What the connection has carried so far."""
        session = self._session
        return Stats(
            self._writer.messages_sent,
            self._writer.bytes_sent,
            self._reader.messages_received,
            self._reader.bytes_received,
            session.messages_dropped,
            session.bytes_dropped,
        )

    def __repr__(self) -> str:
        end = f", {self.close_event}" if self.close_event is not None else ""
        return f"<WebSocket {self._role} {self._request.target} {self._short_id} {self.state.name}{end}>"

    # -- inside --------------------------------------------------------------------------------------------------

    def offer(self, shared: Shared) -> bool:
        """Queue a message of `broadcast`; tell whether nothing is left to do, because it had room or we have ended."""
        if self._session.state is not State.OPEN:
            return True
        if self._writer.is_hindered:
            return False
        self._writer.put(shared.message, self._session.send_shared(shared))
        return True

    async def offer_later(self, shared: Shared) -> None:
        """Queue it as soon as there is room, unless we have ended then. If cancelled, it is not queued."""
        await self._writer.queue(shared)

    def _check_sendable(self) -> None:
        if self._session.state is not State.OPEN:
            raise self._closed_error(sending=True) from self._session.error

    def _closed_error(self, *, sending: bool) -> ConnectionClosed:
        """Return the exception for what is asked of a connection that has ended or is about to."""
        if self._session.closed_by_us:
            return LocallyClosed(connection=self)
        event = self.close_event
        if not sending and event is not None and event.was_clean and event.code in END_OF_ITERATION:
            return RemoteClosed(connection=self)
        return ConnectionBroken(connection=self)

    def _ended(self) -> None:
        """The CloseEvent was decided: tell the log, the block and the program."""
        event = self._session.close_event
        assert event is not None
        if self.under_block is not None and not self._session.closed_by_us:  # an `aclose` in the block goes on first
            self.under_block.cancel()
        extra = {"websocket": self, "close_event": event}
        logger.info("%s %s (%s) ended: %s", self._role, self._short_id, self._request.target, event, extra=extra)
        if self._watching is not None:
            self._watching.close(event)
        if self._on_close is not None:
            call_on_close(self._on_close, cast("WebSocket", self), event)

    @property
    def ended_under_block(self) -> bool:
        """With `cancel_on_close`: the connection ended while the block ran, which was cancelled therefore."""
        return self.under_block is not None and self.under_block.cancel_called

    def broken(self) -> ConnectionBroken | None:
        """Return what tells of an ending that neither this side nor a clean close of the peer explains."""
        error = self._closed_error(sending=False)
        error.__cause__ = self._session.error
        return error if isinstance(error, ConnectionBroken) else None

    @protected
    def run(self) -> Coroutine[object, object, None]:
        """The connection's own tasks; ends when the transport is gone. Called before the block begins."""
        if self._watching is not None:
            self._watching.open()
        elif self.under_block is None:
            return self._driver.run()
        return self._run_and_tell(self.under_block)

    @protected
    async def _run_and_tell(self, block: trio.CancelScope | None) -> None:
        try:
            await self._driver.run()
        finally:
            if block is not None:
                block.cancel()
        if self._interruption is not None:
            raise self._interruption

    def _interrupt(self, interruption: BaseException) -> None:
        """End the block as if *interruption*, which an observer has raised, had left it."""
        self._interruption = self._interruption or interruption
        self._driver.close_for(interruption, keep_arrived=False)

    def close_for(self, left_by: BaseException | None) -> None:
        """Begin the ending that a block asks for which *left_by* leaves, or which returns (`None`)."""
        self._driver.close_for(left_by, keep_arrived=False)
        self._reader.discard_inbox()
        if isinstance(left_by, GeneratorExit):
            self._driver.abort()

    def begin_close(self, frame: CloseFrame) -> None:
        """Do what `aclose` does, without waiting."""
        self._driver.close(frame, CloseCause.CLOSED, self._options.close_timeout, keep_arrived=True)

    async def see_it_through(self) -> None:
        """Wait until the transport is gone, whatever comes; then raise what came."""
        await self._driver.see_it_through()


def call_on_close(on_close: Callable[[WebSocket, CloseEvent], object], websocket: WebSocket, event: CloseEvent) -> None:
    """Call the program's hook. What it raises is logged: there is nobody else to tell."""
    try:
        unprotected(on_close, websocket, event)
    except Exception as error:
        logger.error("on_close(%r, %s) raised", websocket, event, exc_info=error)
