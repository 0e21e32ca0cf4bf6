"""What people try first who come from elsewhere: the error says what to write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio.testing

from trio_closeevents import WebSocket, accept, connect, open_server, serve, stay_connected


async def leave(ws: WebSocket) -> None:
    """Be a handler."""


async def open_client() -> None:
    async with connect("ws://localhost:1/"):
        pytest.fail("opened")


async def open_other_side() -> None:
    async with accept(trio.testing.memory_stream_pair()[0]):
        pytest.fail("opened")


async def open_block() -> None:
    async with open_server(leave, "127.0.0.1", 0):
        pytest.fail("opened")


async def run_server() -> None:
    await serve(leave, "127.0.0.1", 0)


async def stay() -> None:
    await stay_connected("ws://localhost:1/", leave)


def by_hand(function: Callable[[], Any]) -> None:
    """Run *function* as if there were no loop at all."""
    function().send(None)


def with_asyncio(function: Callable[[], Any]) -> None:
    asyncio.run(function())


@pytest.mark.parametrize("run", [with_asyncio, by_hand])
@pytest.mark.parametrize("function", [open_client, open_other_side, open_block, run_server, stay])
def test_without_trio_the_error_names_it(
    function: Callable[[], Awaitable[None]], run: Callable[[Callable[[], Any]], None]
) -> None:
    """Under asyncio, or under nothing."""
    with pytest.raises(RuntimeError, match=r"^trio_closeevents needs trio: run the program with trio\.run\(main\)$"):
        run(function)


async def test_awaited_connect_says_that_it_is_a_block() -> None:
    """As some libraries have it. Type checkers refuse it too."""
    with pytest.raises(TypeError, match=r"write `async with connect\(\.\.\.\) as ws:`"):
        await connect("ws://localhost:1/")  # type: ignore[misc]


async def test_iterated_connect_says_how_to_stay_connected() -> None:
    """Which others do by a loop."""
    with pytest.raises(TypeError, match=r"`await stay_connected\(url, session\)`"):
        async for _ in connect("ws://localhost:1/"):  # type: ignore[attr-defined]
            pytest.fail("iterated")
