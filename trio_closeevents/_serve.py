"""The block that owns a server: `open_server`, and `serve` that waits in it.

Theory. Like a connection's block, it opens a nursery by hand, and leaves it with nothing to tell it but a cancellation
that may be its own: so what leaves the block goes on unwrapped, and what ended the server comes out of it.
"""

from __future__ import annotations

import ssl as stdlib_ssl
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Unpack

import trio

from ._errors import raise_unchanged, unwrapped
from ._limits import Limits
from ._listen import Listen, open_listeners
from ._options import check_names
from ._routes import Handler, Routes
from ._runs import check_trio
from ._server import Server, is_cancellation
from ._server_options import ServerOptions, ServerOptionsDict, server_options, takes_server_options

__all__ = ["open_server", "serve"]

protected = trio.lowlevel.enable_ki_protection


class ServerBlock(AbstractAsyncContextManager[Server]):
    """Opens listeners and a server on them, lends it to a block, and leaves nothing behind. For one use."""

    def __init__(self, handler: Handler | Routes, places: list[Listen], options: ServerOptions, limits: Limits) -> None:
        self._handler = handler
        self._places = places
        self._options = options
        self._limits = limits
        self._entered = False

    def __repr__(self) -> str:
        return f"open_server({self._handler!r}, listen={self._places!r})"

    @protected
    async def __aenter__(self) -> Server:
        check_trio()
        if self._entered:
            raise RuntimeError("this server was opened already: every `async with` needs one of its own")
        self._entered = True
        self._server = Server(self._handler, await open_listeners(self._places), self._options, self._limits)
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


@takes_server_options
def open_server(
    handler: Handler | Routes,
    host: str | None = None,
    port: int | None = None,
    *,
    listen: Iterable[Listen] = (),
    ssl_context: stdlib_ssl.SSLContext | None = None,
    max_connections: int | None = None,
    max_connections_per_address: int | None = None,
    max_handshakes: int | None = None,
    **options: Unpack[ServerOptionsDict],
) -> AbstractAsyncContextManager[Server]:
    """Run a server beside a block: `async with open_server(handler, "127.0.0.1", 0) as server: ...`.

    Leaving the block normally is `server.aclose(1001, grace=0)`. Leaving it by an exception or a cancellation cancels
    the server: all peers see 1001, and everything is gone within `cancel_timeout`. What left the block goes on
    unchanged.

    Args:
        handler: called with every `WebSocket`, in a task of its own; the connection ends with it, as a block does.
            What it raises is logged, and closes its own connection with 1011. Or `Routes`, which find one by the
            request: `trio_closeevents.routing.Router`.
        host: the address to listen on; `None` is every one of this machine.
        port: 0-65535; with 0 the system chooses, and `Server.port` tells. Not needed with *listen*.
        listen: further places to listen on: Unix sockets, sockets that were given, other ports, each with or without
            TLS.
        ssl_context: serve `wss:` on *port*.
        max_connections: the most connections in all, those that are opening or closing included. Above it, and the two
            limits below, clients that want a WebSocket are answered 503 with a `Retry-After`; plain HTTP is answered
            by *process_request* as ever. `None`: no limit. All three are `None` unless you say otherwise: what is
            much depends on the machine and on what the handler does, and who has ten thousand clients that come back
            at once after a restart wants them all.
        max_connections_per_address: the same for one client's address: one of IPv4, a /64 of IPv6. It does not apply
            to Unix sockets. Behind a proxy, which has but one address, the server has to be told whom to believe:
            `Listen.proxy_protocol`, or *trusted_proxies*.
        max_handshakes: the most opening handshakes in progress, each of which has *open_timeout*. Together with
            *max_connections_per_address*, one address gets half of them at most.
        **options: see `accept` for those of a server, from *origins* to *on_close*, and `Options` for the rest.

    Raises:
        TypeError, ValueError: at the call, for an argument that cannot work.
        OSError: at the start of the block, if the address cannot be listened on.
    """
    check_names(open_server, options)
    if not callable(handler) and not isinstance(handler, Routes):
        raise TypeError(f"handler must be an async function, not {type(handler).__name__}: {handler!r}")
    places = places_to_listen(host, port, ssl_context, listen)
    limits = Limits(
        max_connections=max_connections,
        max_connections_per_address=max_connections_per_address,
        max_handshakes=max_handshakes,
    )
    return ServerBlock(handler, places, server_options(options), limits)


def places_to_listen(
    host: str | None, port: int | None, ssl_context: stdlib_ssl.SSLContext | None, others: Iterable[Listen]
) -> list[Listen]:
    if isinstance(others, str):
        raise TypeError(f"listen must be a list of Listen(...), and {others!r} is none: write [Listen({others!r})]")
    places = list(others)
    for place in places:
        if not isinstance(place, Listen):
            raise TypeError(f"listen must be a list of Listen(...), and {place!r} is none: write Listen({place!r})")
    if port is not None:
        places.insert(0, Listen((host, port), ssl_context=ssl_context))
    elif host is not None or ssl_context is not None:
        raise TypeError("host and ssl_context go with a port: give one, or say it all in listen=[Listen(...)]")
    if not places:
        raise TypeError("where to listen? give host and port, or listen=[Listen(...)]")
    return places


@takes_server_options
@protected  # Ctrl-C in `started` would leave trio with half of a task's move between nurseries
async def serve(
    handler: Handler | Routes,
    host: str | None = None,
    port: int | None = None,
    *,
    listen: Iterable[Listen] = (),
    ssl_context: stdlib_ssl.SSLContext | None = None,
    max_connections: int | None = None,
    max_connections_per_address: int | None = None,
    max_handshakes: int | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[ServerOptionsDict],
) -> None:
    """Run a server until it is cancelled, or closed: `server = await nursery.start(serve, handler, host, port)`.

    With options it is `nursery.start(partial(serve, handler, host, port, max_queue=10))`, with `functools.partial`:
    `start` hands on no keywords.

    Returns when `server.aclose` was called and the last handler is done. If cancelled, all peers see 1001, and
    everything is gone within `cancel_timeout`. Arguments and errors are those of `open_server`.
    """
    check_names(serve, options)
    block = open_server(
        handler,
        host,
        port,
        listen=listen,
        ssl_context=ssl_context,
        max_connections=max_connections,
        max_connections_per_address=max_connections_per_address,
        max_handshakes=max_handshakes,
        **options,
    )
    async with block as server:
        task_status.started(server)
        await server.wait_closed()
