"""Fixtures for the tests of the tools: two connected streams, in memory and on sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest
import trio
import trio.testing

Ends: TypeAlias = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]


async def memory() -> Ends:
    return trio.testing.memory_stream_pair()


async def tcp() -> Ends:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        ours = await trio.testing.open_stream_to_socket_listener(listener)
        return ours, await listener.accept()


WIRES: dict[str, Callable[[], Awaitable[Ends]]] = {"memory": memory, "tcp": tcp}


@pytest.fixture(params=WIRES)
async def ends(request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    """Two connected streams."""
    ours, theirs = await WIRES[request.param]()
    yield ours, theirs
    await trio.aclose_forcefully(ours)
    await trio.aclose_forcefully(theirs)
