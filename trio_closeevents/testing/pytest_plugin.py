"""Fixtures for pytest, with pytest-trio; pytest finds them by itself: `websocket_pair` and `echo_server`.

They are made when a test asks for them. Without pytest-trio, such a test is told to install it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, TypeVar, cast

import pytest

from trio_closeevents import Server, WebSocket, open_server

from ._pair import WebSocketPair, open_websocket_pair

__all__ = ["EchoServer", "echo_server", "websocket_pair"]

T = TypeVar("T")

HOST: Final = "127.0.0.1"


def trio_fixture(function: Callable[[], AsyncIterator[T]]) -> Callable[[], AsyncIterator[T]]:
    """Make a fixture of pytest-trio, or one that tells that it is missing."""
    try:
        pytest_trio: Any = import_module("pytest_trio")
    except ImportError:
        name = function.__name__

        @pytest.fixture(name=name)
        def missing() -> None:
            raise pytest.UsageError(f"the fixture {name} needs pytest-trio: pip install 'trio-closeevents[testing]'")

        return cast("Callable[[], AsyncIterator[T]]", missing)
    return cast("Callable[[], AsyncIterator[T]]", pytest_trio.trio_fixture(function))


@dataclass(frozen=True)
class EchoServer:
    """A server on the loopback that sends every message back.

    Attributes:
        url: what to connect to.
        server: the server itself: its `connections`, its `aclose`.
    """

    url: str
    server: Server


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


@trio_fixture
async def websocket_pair() -> AsyncIterator[WebSocketPair]:
    """Two connected WebSockets in memory: `client, server = websocket_pair`. See `open_websocket_pair`."""
    async with open_websocket_pair() as pair:
        yield pair


@trio_fixture
async def echo_server() -> AsyncIterator[EchoServer]:
    """A server on a real socket that echoes."""
    async with open_server(echo, HOST, 0) as server:
        yield EchoServer(f"ws://{HOST}:{server.port}/", server)
