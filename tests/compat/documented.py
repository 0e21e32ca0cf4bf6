"""Servers, clients and peers that the examples of the documentation need."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from trio_closeevents.testing import ScriptedPeer

__all__ = ["HOST", "PATIENCE", "Handler", "echo_of", "heartbeat", "refused_url", "scripted", "served", "url_of"]

HOST: Final = "127.0.0.1"
PATIENCE: Final = 20.0  # seconds; no test takes longer

Handler = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def served(trio_websocket: Any, handler: Handler, **options: Any) -> AsyncGenerator[Any]:
    """Run a server beside a block."""
    context = options.pop("ssl_context", None)
    with trio.fail_after(options.pop("patience", PATIENCE)):
        async with trio.open_nursery() as nursery:
            serve = partial(trio_websocket.serve_websocket, handler, HOST, 0, context, **options)
            yield await nursery.start(serve)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def scripted(script: Callable[[ScriptedPeer], Awaitable[object]]) -> AsyncGenerator[str]:
    """Run a peer for one connection beside a block, and give the URL where it is."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)

    async def run_peer() -> None:
        async with await listener.accept() as stream:
            peer = ScriptedPeer(stream, client=False)
            await peer.open()
            await script(peer)

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(run_peer)
        yield f"ws://{HOST}:{listener.socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


def url_of(server: Any, path: str = "/", scheme: str = "ws") -> str:
    """Return where a client finds *server*."""
    return f"{scheme}://{HOST}:{server.port}{path}"


def echo_of(trio_websocket: Any) -> Handler:
    """Return a handler that sends back what comes, until the connection ends."""

    async def echo(request: Any) -> None:
        ws = await request.accept()
        while True:
            try:
                await ws.send_message(await ws.get_message())
            except trio_websocket.ConnectionClosed:
                break

    return echo


async def refused_url() -> str:
    """Return a URL where nobody listens."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    return f"ws://{HOST}:{port}/"


async def heartbeat(ws: Any, timeout: float, interval: float) -> None:  # noqa: ASYNC109  # as the recipe has it
    """Ping for ever; a Pong may take *timeout* seconds."""
    while True:
        with trio.fail_after(timeout):
            await ws.ping()
        await trio.sleep(interval)
