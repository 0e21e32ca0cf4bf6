"""The libraries, each behind the same few names. What it calls is what the library's documentation shows.

Every timeout that a library has is `TIMEOUT`, the intervals of its keepalive too; all else is as the library has it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Final

import trio

__all__ = ["HOST", "LIBRARIES", "TIMEOUT", "Library"]

HOST: Final = "127.0.0.1"
TIMEOUT: Final = 2.0  # seconds

Handler = Callable[[Any], Awaitable[None]]


class Library(ABC):
    """A library.

    Attributes:
        name: as the tables have it.
        distribution: what it is called in the package index.
        serves: whether it has a server.
    """

    name: ClassVar[str]
    distribution: ClassVar[str]
    serves: ClassVar[bool] = True

    @abstractmethod
    def load(self) -> None:
        """Import it, before any time counts."""

    @abstractmethod
    def connect(self, url: str) -> AbstractAsyncContextManager[Any]:
        """Open a connection, for a block."""

    async def receive(self, ws: Any) -> Any:
        return await ws.receive()

    async def send(self, ws: Any, message: str) -> None:
        await ws.send(message)

    async def ping(self, ws: Any) -> None:
        """Send a Ping, and wait for its Pong."""
        await ws.ping()

    async def close(self, ws: Any, code: int) -> None:
        await ws.aclose(code)

    @abstractmethod
    async def serve(self, handler: Handler, *, task_status: trio.TaskStatus[int]) -> None:
        """Run a server until it is cancelled; tell its port."""


class Ours(Library):
    name = "trio-closeevents"
    distribution = "trio-closeevents"
    options: Final[Mapping[str, Any]] = dict.fromkeys(
        ("open_timeout", "close_timeout", "ping_interval", "ping_timeout"), TIMEOUT
    )

    def load(self) -> None:
        from trio_closeevents import connect, serve

        self._connect, self._serve = connect, serve

    def connect(self, url: str) -> AbstractAsyncContextManager[Any]:
        return self._connect(url, **self.options)

    async def serve(self, handler: Handler, *, task_status: trio.TaskStatus[int]) -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(self._serve, handler, HOST, 0, **self.options))
            task_status.started(server.port)


class Websockets(Library):
    name = "websockets.trio"
    distribution = "websockets"
    options: Final[Mapping[str, Any]] = dict.fromkeys(
        ("open_timeout", "close_timeout", "ping_interval", "ping_timeout"), TIMEOUT
    )

    def load(self) -> None:
        from websockets.trio.client import connect
        from websockets.trio.server import serve

        self._connect, self._serve = connect, serve

    def connect(self, url: str) -> AbstractAsyncContextManager[Any]:
        return self._connect(url, **self.options)

    async def receive(self, ws: Any) -> Any:
        return await ws.recv()

    async def ping(self, ws: Any) -> None:
        pong = await ws.ping()
        await pong.wait()

    async def serve(self, handler: Handler, *, task_status: trio.TaskStatus[int]) -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(self._serve, handler, 0, host=HOST, **self.options))
            task_status.started(server.listeners[0].socket.getsockname()[1])


class TrioWebsocket(Library):
    name = "trio-websocket"
    distribution = "trio-websocket"
    options: Final[Mapping[str, Any]] = dict.fromkeys(("connect_timeout", "disconnect_timeout"), TIMEOUT)

    def load(self) -> None:
        from trio_websocket import open_websocket_url, serve_websocket

        self._connect, self._serve = open_websocket_url, serve_websocket

    def connect(self, url: str) -> AbstractAsyncContextManager[Any]:
        return self._connect(url, **self.options)

    async def receive(self, ws: Any) -> Any:
        return await ws.get_message()

    async def send(self, ws: Any, message: str) -> None:
        await ws.send_message(message)

    async def serve(self, handler: Handler, *, task_status: trio.TaskStatus[int]) -> None:
        async def accept(request: Any) -> None:
            await handler(await request.accept())

        async with trio.open_nursery() as nursery:
            run = partial(self._serve, accept, HOST, 0, None, **self.options)
            server = await nursery.start(run)
            task_status.started(server.port)


class HttpxWs(Library):
    name = "httpx-ws"
    distribution = "httpx-ws"
    serves = False

    def load(self) -> None:
        from httpx import AsyncClient
        from httpx_ws import aconnect_ws

        self._client, self._connect = AsyncClient, aconnect_ws

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncGenerator[Any]:
        keepalive: dict[str, Any] = dict.fromkeys(
            ("keepalive_ping_interval_seconds", "keepalive_ping_timeout_seconds"), TIMEOUT
        )
        async with self._client(timeout=TIMEOUT) as client, self._connect(url, client, **keepalive) as ws:
            yield ws

    async def receive(self, ws: Any) -> Any:
        return await ws.receive_text()

    async def send(self, ws: Any, message: str) -> None:
        await ws.send_text(message)

    async def ping(self, ws: Any) -> None:
        pong = await ws.ping()
        await pong.wait()

    async def close(self, ws: Any, code: int) -> None:
        await ws.close(code)

    async def serve(self, handler: Handler, *, task_status: trio.TaskStatus[int]) -> None:
        raise NotImplementedError


LIBRARIES: Final[Mapping[str, Library]] = {
    each.name: each for each in (Ours(), Websockets(), TrioWebsocket(), HttpxWs())
}
