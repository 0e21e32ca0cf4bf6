"""A connection of trio-websocket, or of what stands in for it, before a scripted peer, in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from trio_closeevents.testing import ScriptedPeer

__all__ = ["Script", "client", "server", "with_peer"]

Script = Callable[[ScriptedPeer], Awaitable[object]]


@asynccontextmanager
async def client(library: Any, **options: Any) -> AsyncGenerator[tuple[Any, ScriptedPeer], None]:
    """A client's connection in a nursery, which is cancelled in the end, and its peer, which is open."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open)
        yield await library.wrap_client_stream(nursery, ours, "localhost", "/", **options), peer
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def server(library: Any, **options: Any) -> AsyncGenerator[tuple[Any, ScriptedPeer], None]:
    """The same for a server's."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open)
        request = await library.wrap_server_stream(nursery, ours, **options)
        connection = await request.accept()
        await trio.testing.wait_all_tasks_blocked()
        yield connection, peer
        nursery.cancel_scope.cancel()


def with_peer(role: str) -> Any:
    return client if role == "client" else server
