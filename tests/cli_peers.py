"""Servers for the tests of the command line: ours, that of `websockets`, and peers by hand."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import trio
from tls import HOST
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets

from trio_closeevents import WebSocket, open_server
from trio_closeevents.testing import ScriptedPeer

__all__ = ["FINE", "WAIT", "echo", "scripted", "serving", "serving_websockets"]

FINE: Final = "We closed the connection with 1000 (normal closure), and the peer answered with the same. "
WAIT: Final = ("--wait", "0.2")


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


@asynccontextmanager
async def serving(
    handler: Callable[[WebSocket], Awaitable[object]] = echo, scheme: str = "ws", **options: Any
) -> AsyncGenerator[str]:
    """Run our server, and give its URL."""
    async with open_server(handler, HOST, 0, **options) as server:
        yield f"{scheme}://{HOST}:{server.port}/"


@asynccontextmanager
async def scripted(script: Callable[[ScriptedPeer], Awaitable[object]]) -> AsyncGenerator[str]:
    """Run a peer that does what *script* says once the connection is open, and give its URL."""

    async def serve(stream: trio.SocketStream) -> None:
        peer = ScriptedPeer(stream, client=False)
        await peer.open()
        await script(peer)
        await peer.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"ws://{HOST}:{listener.socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


@contextmanager
def serving_websockets(handler: Callable[[ServerConnection], None], **options: Any) -> Generator[str]:
    """Run the server of `websockets`, in a thread, and give its URL."""
    with serve_websockets(handler, HOST, 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://{HOST}:{server.socket.getsockname()[1]}/"
        finally:
            server.shutdown()
            thread.join()
