"""What people try first who come from elsewhere: the error says what to write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio.testing

from trio_closeevents import HandshakeRejected, WebSocket, accept, connect, open_server, serve, stay_connected


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


async def test_handler_that_is_no_async_function_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """It is called before that can be told; its connection ends with 1011."""

    def handler(ws: WebSocket) -> None:
        """Forget the `async`."""

    async with open_server(handler, "127.0.0.1", 0) as server:  # type: ignore[arg-type]
        async with connect(f"ws://127.0.0.1:{server.port}/") as ws:
            event = await ws.wait_closed()
    assert event.code == 1011
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "the handler of <WebSocket server /" in record.getMessage()
    assert record.exc_info is not None
    assert "returned None: it must be an async function" in str(record.exc_info[1])


async def test_hook_with_a_wrong_signature_is_told_from_a_handler_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """As one that was written for `websockets`, with the connection first."""

    def process_request(connection: object, request: object) -> None:
        """Take two arguments, and get one."""

    async with open_server(leave, "127.0.0.1", 0, process_request=process_request) as server:  # type: ignore[arg-type]
        with pytest.raises(HandshakeRejected):
            async with connect(f"ws://127.0.0.1:{server.port}/"):
                pytest.fail("opened")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage().startswith("a hook of <Server at ")
    assert record.exc_info is not None
    assert "process_request() missing 1 required positional argument" in str(record.exc_info[1])
