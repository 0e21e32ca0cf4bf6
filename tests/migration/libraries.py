"""The libraries of the migration guides, each with the same small programs, for a raw peer to see what comes of them.

A program has one connection, as a client or in a server, and does with it what an `Act` says. Programs on trio run
beside the peer, in its loop and by its clock; those on asyncio have a thread of their own, and real time.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, Protocol

import trio
import websockets.asyncio.client as asyncio_client
import websockets.asyncio.server as asyncio_server
import websockets.trio.client as trio_client
import websockets.trio.server as trio_server

import trio_closeevents

__all__ = [
    "HOST",
    "LIBRARIES",
    "Act",
    "Library",
    "Link",
    "ServerAct",
    "connect",
    "connect_asyncio",
    "connect_trio",
    "port_of",
]

HOST: Final = "127.0.0.1"
SOON: Final = 0.1  # seconds

# Whatever the environment says of proxies.
connect_asyncio = partial(asyncio_client.connect, proxy=None)
connect_trio = partial(trio_client.connect, proxy=None)
connect = partial(trio_closeevents.connect, proxy=None)

Act = Literal["return", "raise", "be cancelled", "pass a deadline", "be interrupted", "close", "leave messages unread"]
ServerAct = Literal["return", "raise", "close the server", "cancel the server"]


class Library(Protocol):
    """How a library is used. Limits are in seconds, by our names."""

    async def be_client(self, url: str, act: Act, **limits: float) -> None:
        """Connect, act, and return when all is over; an exception that *act* has raised comes out."""
        ...

    async def be_server(self, act: ServerAct, *, task_status: trio.TaskStatus[str]) -> None:
        """Serve one connection, and act as soon as it is open; tell the URL when started."""
        ...


# -- trio --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """A connection of a library on trio."""

    receive: Callable[[], Awaitable[object]]
    send: Callable[[Any], Awaitable[object]]
    aclose: Callable[..., Awaitable[object]]


Handler = Callable[[Link], Awaitable[None]]


@dataclass(frozen=True)
class Running:
    """A server of a library on trio."""

    port: int
    aclose: Callable[[], Awaitable[object]] | None = None


class OnTrio:
    """A library whose programs run in the loop of the test."""

    def __init__(
        self,
        connect: Callable[..., AbstractAsyncContextManager[Link]],
        serve: Callable[..., Awaitable[None]],
    ) -> None:
        self.connect = connect
        self.serve = serve

    async def be_client(self, url: str, act: Act, **limits: float) -> None:
        scope = trio.fail_after(SOON) if act == "pass a deadline" else trio.CancelScope()
        with scope as inner:
            async with self.connect(url, **limits) as link:
                match act:
                    case "raise":
                        raise ZeroDivisionError
                    case "be cancelled":
                        inner.cancel()
                        await link.receive()
                    case "pass a deadline":
                        await link.receive()
                    case "be interrupted":
                        raise KeyboardInterrupt
                    case "close":
                        await link.aclose(4000, "bye")
                    case "leave messages unread":
                        await trio.sleep(SOON)
                    case "return":
                        pass

    async def be_server(self, act: ServerAct, *, task_status: trio.TaskStatus[str]) -> None:
        async with trio.open_nursery() as outside:
            with trio.CancelScope() as scope:

                async def handle(link: Link) -> None:
                    match act:
                        case "raise":
                            raise ZeroDivisionError
                        case "close the server":
                            assert running.aclose is not None
                            outside.start_soon(running.aclose)
                            await link.receive()
                        case "cancel the server":
                            scope.cancel()
                            await trio.sleep_forever()
                        case "return":
                            pass

                async with trio.open_nursery() as nursery:
                    running: Running = await nursery.start(self.serve, handle)
                    task_status.started(f"ws://{HOST}:{running.port}/")


def port_of(listener: trio.SocketListener) -> int:
    """Return the port that *listener* has."""
    number: int = listener.socket.getsockname()[1]
    return number


@asynccontextmanager
async def connect_websockets(url: str, **limits: Any) -> AsyncGenerator[Link]:
    limits.pop("cancel_timeout", None)
    async with connect_trio(url, **limits) as ws:
        yield Link(ws.recv, ws.send, ws.aclose)


async def serve_websockets(handle: Handler, *, task_status: trio.TaskStatus[Running]) -> None:
    async def handler(ws: trio_server.ServerConnection) -> None:
        await handle(Link(ws.recv, ws.send, ws.aclose))

    async with trio.open_nursery() as nursery:
        server: trio_server.Server = await nursery.start(partial(trio_server.serve, handler, 0, host=HOST))
        task_status.started(Running(port_of(server.listeners[0]), server.aclose))


@asynccontextmanager
async def connect_trio_closeevents(url: str, **limits: Any) -> AsyncGenerator[Link]:
    async with connect(url, **limits) as ws:
        yield Link(ws.receive, ws.send, ws.aclose)


async def serve_trio_closeevents(handle: Handler, *, task_status: trio.TaskStatus[Running]) -> None:
    async def handler(ws: trio_closeevents.WebSocket) -> None:
        await handle(Link(ws.receive, ws.send, ws.aclose))

    async with trio.open_nursery() as nursery:
        server: trio_closeevents.Server = await nursery.start(trio_closeevents.serve, handler, HOST, 0)
        task_status.started(Running(server.port, server.aclose))


def like_trio_websocket(name: str) -> OnTrio:
    """Return `trio_websocket`, or what takes its place, by the name of the package."""
    package = importlib.import_module(name)

    @asynccontextmanager
    async def connect(url: str, **limits: Any) -> AsyncGenerator[Link]:
        options = {"disconnect_timeout": limits["close_timeout"]} if "close_timeout" in limits else {}
        async with package.open_websocket_url(url, **options) as ws:
            yield Link(ws.get_message, ws.send_message, ws.aclose)

    async def serve(handle: Handler, *, task_status: trio.TaskStatus[Running]) -> None:
        async def handler(request: Any) -> None:
            ws = await request.accept()
            await handle(Link(ws.get_message, ws.send_message, ws.aclose))

        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(package.serve_websocket, handler, HOST, 0, None))
            task_status.started(Running(server.port))

    return OnTrio(connect, serve)


# -- asyncio -----------------------------------------------------------------------------------------------------------


class OnAsyncio:
    """The asyncio API of websockets."""

    async def be_client(self, url: str, act: Act, **limits: float) -> None:
        limits.pop("cancel_timeout", None)
        await trio.to_thread.run_sync(lambda: asyncio.run(self._connect(url, act, limits)), abandon_on_cancel=True)

    async def _connect(self, url: str, act: Act, limits: dict[str, Any]) -> None:
        async with asyncio.timeout(SOON if act == "pass a deadline" else None):
            async with connect_asyncio(url, **limits) as ws:
                match act:
                    case "raise":
                        raise ZeroDivisionError
                    case "be cancelled":
                        task = asyncio.current_task()
                        assert task is not None
                        task.cancel()
                        await ws.recv()
                    case "pass a deadline":
                        await ws.recv()
                    case "be interrupted":
                        raise KeyboardInterrupt
                    case "close":
                        await ws.close(4000, "bye")
                    case "leave messages unread":
                        await asyncio.sleep(SOON)
                    case "return":
                        pass

    async def be_server(self, act: ServerAct, *, task_status: trio.TaskStatus[str]) -> None:
        def told(url: str) -> None:
            trio.from_thread.run_sync(task_status.started, url)

        await trio.to_thread.run_sync(lambda: asyncio.run(self._serve(act, told)))

    async def _serve(self, act: ServerAct, told: Callable[[str], None]) -> None:
        done = asyncio.Event()

        async def handler(ws: asyncio_server.ServerConnection) -> None:
            done.set()
            match act:
                case "raise":
                    raise ZeroDivisionError
                case "close the server":
                    server.close()
                    await ws.wait_closed()
                case "cancel the server":
                    serving.cancel()
                    await ws.wait_closed()
                case "return":
                    pass

        server = await asyncio_server.serve(handler, HOST, 0)
        serving = asyncio.ensure_future(server.serve_forever())
        told(f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/")
        await done.wait()
        if act in ("return", "raise"):
            await asyncio.wait(set(server.handler_tasks))
            server.close()
        await asyncio.wait([serving])


LIBRARIES: Final[dict[str, Library]] = {
    "websockets.asyncio": OnAsyncio(),
    "websockets.trio": OnTrio(connect_websockets, serve_websockets),
    "trio-websocket": like_trio_websocket("trio_websocket"),
    "with the one import": like_trio_websocket("trio_closeevents.compat.trio_websocket"),
    "trio-closeevents": OnTrio(connect_trio_closeevents, serve_trio_closeevents),
}
