"""`Server`: it accepts connections, and runs a handler for each.

Theory. One nursery, that of the block which owns the server, holds the accept loops and one task per
connection. Every handler runs in a scope of its own, whose deadline is the end of its grace: `Server.aclose` only moves
deadlines, so that of two calls the shorter grace counts, and nothing has to keep time.
"""

from __future__ import annotations

import errno
import logging
import math
import sys
from collections.abc import Set
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

import trio

from ._accept import Accepting
from ._connection import WebSocket, life_of
from ._errors import ConnectionClosed, HandshakeError
from ._events import CloseFrame, sendable_frame
from ._hooks import checked_awaitable
from ._limits import Limits, Seat, Seats
from ._listen import Listening
from ._policy import leaves
from ._routes import Handler, Routes
from ._server_options import ServerOptions
from ._transport import socket_names

__all__ = ["Server", "checked_grace", "is_cancellation"]

# What `accept` fails with as long as the process or the system has no room for one more, and when to try again.
OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
PAUSE: Final = 0.1  # seconds

logger = logging.getLogger("trio_closeevents")
protected = trio.lowlevel.enable_ki_protection


class Serving:
    """One connection of a server: its handshake, its handler, the scope that both run in, and what it counts for."""

    __slots__ = ("block", "scope", "seat", "websocket")

    def __init__(self, block: Accepting, seat: Seat) -> None:
        self.block = block
        self.seat = seat
        self.scope = trio.CancelScope()
        self.websocket: WebSocket | None = None


current_serving: ContextVar[Serving | None] = ContextVar("current_serving", default=None)


class Server:
    """A running server; `serve` and `open_server` make it."""

    def __init__(
        self, handler: Handler | Routes, listening: list[Listening], options: ServerOptions, limits: Limits
    ) -> None:
        self._routes = handler if isinstance(handler, Routes) else None
        self._handler = None if isinstance(handler, Routes) else handler
        self._listening = listening
        self._options = options
        self._seats = Seats(limits)
        self._accepting = trio.CancelScope()
        self._serving: set[Serving] = set()
        self._websockets: dict[WebSocket, Serving] = {}
        self._closing: tuple[CloseFrame, float] | None = None  # what all were told, and when their grace ends
        self._in_aclose: list[Serving | None] = []  # handlers that wait in `aclose`, once for each call
        self._fewer = trio.lowlevel.ParkingLot()
        self.interruptions: list[BaseException] = []  # KeyboardInterrupt and its like, out of handlers

    @property
    def port(self) -> int:
        """The TCP port that the server listens on; with several listeners, that of the first that has one.

        Raises:
            LookupError: it listens on Unix sockets only.
        """
        if (port := next((each.port for each in self._listening if each.port is not None), None)) is None:
            raise LookupError(f"the server listens on no TCP port, but on {self.addresses}")
        return port

    @property
    def addresses(self) -> tuple[Any, ...]:
        """All addresses that the server listens on, each as its socket has it."""
        return tuple(each.address for each in self._listening)

    @property
    def connections(self) -> Set[WebSocket]:
        """A live view of the open connections, those that are closing included."""
        return self._websockets.keys()

    @property
    def handshakes(self) -> int:
        """How many opening handshakes are in progress, those that are being refused because of a limit not included."""
        return self._seats.handshakes

    @property
    def refused(self) -> int:
        """How many connections one of the server's limits has refused so far."""
        return self._seats.refused

    @protected
    async def aclose(self, code: int | None = 1001, reason: str = "", grace: float | None = None) -> None:
        """Stop accepting, close all connections with *code* at once, give their handlers *grace*, then cancel them.

        Returns when the last handler is done; a handler that calls this does not wait for itself (nor for others that
        call it), and is not cancelled while it waits here. Of two calls the shorter grace counts. If cancelled, the
        closing goes on as it was asked for.

        Args:
            code, reason: as for `WebSocket.aclose`.
            grace: seconds; `None` is `close_timeout`, `math.inf` is for ever.

        Raises:
            TypeError, ValueError: an argument is wrong. Nothing was closed.
        """
        frame = sendable_frame(code, reason)
        grace = self._options.options.close_timeout if grace is None else checked_grace(grace)
        me = current_serving.get()
        if me not in self._serving:
            me = None  # a handler of another server
        until = trio.current_time() + grace
        if self._closing is None:
            self._closing = (frame, until)
        else:
            self._closing = (self._closing[0], min(self._closing[1], until))
        self._accepting.cancel()
        self._fewer.unpark_all()  # `wait_closed` may have waited for nothing but this
        self._in_aclose.append(me)
        try:
            for serving in list(self._serving):
                self._close_one(serving)
            await trio.lowlevel.checkpoint()
            while self._serving.difference(self._in_aclose):
                await self._fewer.park()
        finally:
            self._in_aclose.remove(me)
            if me is not None and me not in self._in_aclose:
                me.scope.deadline = min(me.scope.deadline, self._closing[1])

    def _close_one(self, serving: Serving) -> None:
        assert self._closing is not None
        frame, until = self._closing
        if serving.websocket is None:
            serving.block.refuse()
            return
        life_of(serving.websocket).begin_close(frame)
        if serving not in self._in_aclose:
            serving.scope.deadline = min(serving.scope.deadline, until)

    @protected
    async def wait_closed(self) -> None:
        """Wait until the server was closed and its last handler is done."""
        await trio.lowlevel.checkpoint()
        while self._closing is None or self._serving:
            await self._fewer.park()

    def __repr__(self) -> str:
        state = "closing" if self._closing is not None else "open"
        places = ", ".join(str(each.port or each.address) for each in self._listening)
        refused = f", {self.refused} refused" if self.refused else ""
        return f"<Server at {places}, {len(self._websockets)} connections{refused}, {state}>"

    @protected
    async def run(self, nursery: trio.Nursery) -> None:
        """Accept connections until the server closes; each gets a task in *nursery*."""
        with self._accepting:
            async with trio.open_nursery() as accepting:
                for listening in self._listening:
                    accepting.start_soon(self._accept_from, listening, nursery)

    # `trio.serve_listeners` would do this in a task that Ctrl-C may interrupt anywhere, between accepting a connection
    # and passing it on too: protection is not inherited.
    @protected
    async def _accept_from(self, listening: Listening, nursery: trio.Nursery) -> None:
        try:
            while True:
                try:
                    stream = await listening.listener.accept()
                except OSError as error:
                    if error.errno not in OUT_OF_RESOURCES:
                        raise
                    logger.error("no connection can be accepted; trying again in %s s", PAUSE, exc_info=error)
                    await trio.sleep(PAUSE)
                else:
                    nursery.start_soon(self._serve_stream, stream, listening)
        finally:
            listening.close()

    @protected
    async def _serve_stream(self, stream: trio.SocketStream, listening: Listening) -> None:
        block = Accepting(stream, self._options, listening.ssl_context, self._routes, listening.proxies)
        serving = Serving(block, self._seats.take())
        del block
        current_serving.set(serving)
        self._serving.add(serving)
        if self._closing is not None:
            serving.block.refuse()
        elif serving.seat.excess is not None:
            self._turn_away(serving)
        elif listening.proxies is not None or self._options.trusted_proxies is not None:
            serving.block.on_address = partial(self._identify, serving)
        else:
            self._identify(serving, socket_names(stream.socket)[1])
        del stream  # this lives as long as the connection
        try:
            with serving.scope:
                async with serving.block as websocket:
                    self._seats.open(serving.seat)
                    serving.websocket = websocket
                    self._websockets[websocket] = serving
                    if self._closing is not None:
                        self._close_one(serving)
                    handler = serving.block.handler or self._handler
                    assert handler is not None
                    await call_handler(handler, websocket)
        except BaseExceptionGroup as group:
            cancellations, rest = group.split(trio.Cancelled)
            failures, interruptions = rest.split(Exception) if rest is not None else (None, None)
            if interruptions is not None:
                raise
            if failures is not None:
                self._note_failure(serving, failures)
            if cancellations is not None:
                raise cancellations from None
        except Exception as error:
            self._note_failure(serving, error)
        finally:
            left_by = sys.exception()
            if left_by is not None and not isinstance(left_by, Exception) and not is_cancellation(left_by):
                self.interruptions.append(left_by)  # a Cancelled in trio's own closing of the stream would replace it
            self._serving.discard(serving)
            self._seats.leave(serving.seat)
            if serving.websocket is not None:
                del self._websockets[serving.websocket]
            self._fewer.unpark_all()

    def _identify(self, serving: Serving, address: Any) -> None:
        """Count a connection for its client's *address*, as soon as that is known."""
        if not self._seats.identify(serving.seat, address):
            self._turn_away(serving)

    def _turn_away(self, serving: Serving) -> None:
        seats, seat = self._seats, serving.seat
        serving.block.turn_away(seats.refuse(seat, serving.block.drop))
        if (number := seats.due_warning(trio.current_time())) and seat.excess is not None:
            logger.warning("%r refuses connections, %s since it last said so: %s", self, number, seat.excess.why)

    def _note_failure(self, serving: Serving, error: Exception) -> None:
        if serving.websocket is None and isinstance(error, HandshakeError):
            logger.debug("%s", error)
        elif not all(isinstance(leaf, ConnectionClosed) for leaf in leaves(error)):
            who = "a hook" if serving.websocket is None else "the handler"  # process_request, for one
            logger.error("%s of %r raised", who, serving.websocket or self, exc_info=error)


@trio.lowlevel.disable_ki_protection
async def call_handler(handler: Handler, websocket: WebSocket) -> None:
    """Call the program's handler, which Ctrl-C may interrupt anywhere."""
    await checked_awaitable(handler(websocket), handler)


def is_cancellation(error: BaseException) -> bool:
    return all(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))


def checked_grace(grace: object) -> float:
    if not isinstance(grace, int | float) or isinstance(grace, bool):
        raise TypeError(f"grace must be a number of seconds or None, not {type(grace).__name__}: {grace!r}")
    if math.isnan(grace) or grace < 0:
        raise ValueError(f"grace must not be negative, not {grace}; None is close_timeout, math.inf is for ever")
    return grace
