"""The server: `serve`, `open_server`, `Server`.

Theory. One nursery, opened by hand like that of a connection's block, holds the accept loops and one task per
connection. Every handler runs in a scope of its own, whose deadline is the end of its grace: `Server.aclose` only moves
deadlines, so that of two calls the shorter grace counts, and nothing has to keep time.
"""

from __future__ import annotations

import errno
import logging
import math
import ssl as stdlib_ssl
import sys
from collections.abc import Awaitable, Callable, Iterable, Set
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, TypeAlias, Unpack

import trio

from ._accept import Accepting, ServerOptions, ServerOptionsDict, server_options, takes_server_options
from ._connection import WebSocket
from ._errors import ConnectionClosed, HandshakeError, raise_unchanged, unwrapped
from ._events import CloseFrame, sendable_frame
from ._listen import Listen, Listening, open_listeners
from ._policy import leaves

__all__ = ["Handler", "Server", "open_server", "serve"]

Handler: TypeAlias = Callable[[WebSocket], Awaitable[object]]

# What `accept` fails with as long as the process or the system has no room for one more, and when to try again.
OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
PAUSE: Final = 0.1  # seconds

logger = logging.getLogger("trio_closeevents")
protected = trio.lowlevel.enable_ki_protection


class Serving:
    """One connection of a server: its handshake, its handler, and the scope that both run in."""

    def __init__(self, block: Accepting) -> None:
        self.block = block
        self.scope = trio.CancelScope()
        self.websocket: WebSocket | None = None


current_serving: ContextVar[Serving | None] = ContextVar("current_serving", default=None)


class Server:
    """A running server; `serve` and `open_server` make it."""

    def __init__(self, handler: Handler, listening: list[Listening], options: ServerOptions) -> None:
        self._handler = handler
        self._listening = listening
        self._options = options
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
        serving.websocket.begin_close(frame)
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
        return f"<Server at {places}, {len(self._websockets)} connections, {state}>"

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
                    nursery.start_soon(self._serve_stream, stream, listening.ssl_context)
        finally:
            listening.close()

    @protected
    async def _serve_stream(self, stream: trio.SocketStream, ssl_context: stdlib_ssl.SSLContext | None) -> None:
        serving = Serving(Accepting(stream, self._options, ssl_context))
        del stream  # this lives as long as the connection
        current_serving.set(serving)
        self._serving.add(serving)
        if self._closing is not None:
            serving.block.refuse()
        try:
            with serving.scope:
                async with serving.block as websocket:
                    serving.websocket = websocket
                    self._websockets[websocket] = serving
                    if self._closing is not None:
                        self._close_one(serving)
                    await call_handler(self._handler, websocket)
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
            if serving.websocket is not None:
                del self._websockets[serving.websocket]
            self._fewer.unpark_all()

    def _note_failure(self, serving: Serving, error: Exception) -> None:
        if serving.websocket is None and isinstance(error, HandshakeError):
            logger.debug("%s", error)
        elif not all(isinstance(leaf, ConnectionClosed) for leaf in leaves(error)):
            logger.error("the handler of %r raised", serving.websocket or self, exc_info=error)


@trio.lowlevel.disable_ki_protection
async def call_handler(handler: Handler, websocket: WebSocket) -> None:
    """Call the program's handler, which Ctrl-C may interrupt anywhere."""
    await handler(websocket)


class ServerBlock(AbstractAsyncContextManager[Server]):
    """Opens listeners and a server on them, lends it to a block, and leaves nothing behind. For one use."""

    def __init__(self, handler: Handler, places: list[Listen], options: ServerOptions) -> None:
        self._handler = handler
        self._places = places
        self._options = options
        self._entered = False

    @protected
    async def __aenter__(self) -> Server:
        if self._entered:
            raise RuntimeError("this server was opened already: every `async with` needs one of its own")
        self._entered = True
        self._server = Server(self._handler, await open_listeners(self._places), self._options)
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._nursery.start_soon(self._server.run, self._nursery, name="trio_closeevents server")
        return self._server

    @protected
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        left_by = error
        if error is None:
            try:
                await self._server.aclose(grace=0)
            except (trio.Cancelled, KeyboardInterrupt) as interruption:
                left_by = interruption
        ended_by, absorbed = await self._leave_nursery(left_by)
        if ended_by is not None and not is_cancellation(ended_by):
            raise_unchanged(ended_by)  # a handler was interrupted, or a listener broke
        if left_by is not error and left_by is not None and not absorbed:
            raise_unchanged(left_by)
        if error is None:
            await trio.lowlevel.checkpoint_if_cancelled()
        return absorbed

    async def _leave_nursery(self, left_by: BaseException | None) -> tuple[BaseException | None, bool]:
        """Cancel all that is left and wait for it; return what came out, and whether *left_by* was our own doing.

        Only a cancellation passes through the nursery, which may be the one that it came from; whatever else left the
        block goes on unwrapped.
        """
        self._nursery.cancel_scope.cancel()
        through = left_by if left_by is not None and is_cancellation(left_by) else None
        ended_by: BaseException | None = None
        absorbed = False
        try:
            absorbed = bool(await self._manager.__aexit__(None if through is None else type(through), through, None))
        except BaseExceptionGroup as group:
            ended_by = unwrapped(group)
        if interruptions := self._server.interruptions:
            several = BaseExceptionGroup("several handlers were interrupted", interruptions)
            ended_by = interruptions[0] if len(interruptions) == 1 else several
        return ended_by, through is not None and absorbed


def is_cancellation(error: BaseException) -> bool:
    return all(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))


def checked_grace(grace: object) -> float:
    if not isinstance(grace, int | float) or isinstance(grace, bool):
        raise TypeError(f"grace must be a number of seconds or None, not {type(grace).__name__}: {grace!r}")
    if math.isnan(grace) or grace < 0:
        raise ValueError(f"grace must not be negative, not {grace}; None is close_timeout, math.inf is for ever")
    return grace


@takes_server_options
def open_server(
    handler: Handler,
    host: str | None = None,
    port: int | None = None,
    *,
    listen: Iterable[Listen] = (),
    ssl_context: stdlib_ssl.SSLContext | None = None,
    **options: Unpack[ServerOptionsDict],
) -> AbstractAsyncContextManager[Server]:
    """Run a server beside a block: `async with open_server(handler, "127.0.0.1", 0) as server: ...`.

    Leaving the block normally is `server.aclose(1001, grace=0)`. Leaving it by an exception or a cancellation cancels
    the server: all peers see 1001, and everything is gone within `cancel_timeout`. What left the block goes on
    unchanged.

    Args:
        handler: called with every `WebSocket`, in a task of its own; the connection ends with it, as a block does.
            What it raises is logged, and closes its own connection with 1011.
        host: the address to listen on; `None` is every one of this machine.
        port: 0-65535; with 0 the system chooses, and `Server.port` tells. Not needed with *listen*.
        listen: further places to listen on: Unix sockets, sockets that were given, other ports, each with or without
            TLS.
        ssl_context: serve `wss:` on *port*.
        **options: see `accept` for those of a server, from *origins* to *on_close*, and `Options` for the rest.

    Raises:
        TypeError, ValueError: at the call, for an argument that cannot work.
        OSError: at the start of the block, if the address cannot be listened on.
    """
    if not callable(handler):
        raise TypeError(f"handler must be an async function, not {type(handler).__name__}: {handler!r}")
    return ServerBlock(handler, places_to_listen(host, port, ssl_context, listen), server_options(options))


def places_to_listen(
    host: str | None, port: int | None, ssl_context: stdlib_ssl.SSLContext | None, others: Iterable[Listen]
) -> list[Listen]:
    places = list(others)
    for place in places:
        if not isinstance(place, Listen):
            raise TypeError(f"listen must be a list of Listen(...), and {place!r} is none")
    if port is not None:
        places.insert(0, Listen((host, port), ssl_context=ssl_context))
    elif host is not None or ssl_context is not None:
        raise TypeError("host and ssl_context go with a port: give one, or say it all in listen=[Listen(...)]")
    if not places:
        raise TypeError("where to listen? give host and port, or listen=[Listen(...)]")
    return places


@takes_server_options
async def serve(
    handler: Handler,
    host: str | None = None,
    port: int | None = None,
    *,
    listen: Iterable[Listen] = (),
    ssl_context: stdlib_ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[ServerOptionsDict],
) -> None:
    """Run a server until it is cancelled, or closed: `server = await nursery.start(serve, handler, host, port)`.

    Returns when `server.aclose` was called and the last handler is done. If cancelled, all peers see 1001, and
    everything is gone within `cancel_timeout`. Arguments and errors are those of `open_server`.
    """
    block = open_server(
        handler,
        host,
        port,
        listen=listen,
        ssl_context=ssl_context,
        **options,
    )
    async with block as server:
        task_status.started(server)
        await server.wait_closed()
