"""What surrounds the fragments of the page about messages."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import trio
import trio.testing

from surroundings import Fragment, autojump
from surroundings.common import echo, url_of
from trio_closeevents import Server, WebSocket, accept, connect, open_server
from trio_closeevents.testing import open_websocket_pair

__all__ = [
    "a_database",
    "a_peer_that_closes",
    "a_stream_of_bytes",
    "a_ticker",
    "a_video",
    "many_listeners",
    "news",
    "two_clients",
]


async def a_ticker(fragment: Fragment) -> None:
    """`url` of a server that says something all the time, `suppress`, and `until_enough()`."""
    said = trio.Event()

    async def handler(ws: WebSocket) -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await ws.send("tick")
                said.set()
                await trio.sleep(0.01)

    async with open_server(handler, "127.0.0.1", 0) as server:
        await fragment(url=url_of(server), suppress=suppress, until_enough=partial(trio.sleep, 0.05))
    assert fragment.printed.startswith("tick\n")


@autojump
async def a_peer_that_closes(fragment: Fragment) -> None:
    """`ws`, whose peer says more than the queue takes, and closes."""
    async with open_websocket_pair(max_queue=1) as (client, server), trio.open_nursery() as nursery:

        async def tell() -> None:
            for _ in range(10):
                await server.send("more")
            await server.aclose(1000)

        nursery.start_soon(tell)
        await fragment(ws=client)
        assert client.close_event is not None


@autojump
async def a_database(fragment: Fragment) -> None:
    """`ws`, and a `database` with two rows."""

    class Cursor:
        async def __aenter__(self) -> AsyncIterator[Any]:
            async def rows() -> AsyncIterator[Any]:
                for text in ("a;1\n", "b;2\n"):
                    await trio.sleep(1)
                    yield SimpleNamespace(to_csv=lambda text=text: text)

            return rows()

        async def __aexit__(self, *exc_info: object) -> None: ...

    async with open_websocket_pair() as (client, server):
        await fragment(ws=client, database=SimpleNamespace(cursor=Cursor))
        assert await server.receive() == "a;1\nb;2\n"


async def a_video(fragment: Fragment) -> None:
    """`ws`, whose peer sends 2 MiB in one message; the file is one of ours."""
    with TemporaryDirectory() as folder:
        fragment.put("video.mp4", Path(folder) / "video.mp4")
        async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
            nursery.start_soon(server.send, b"v" * 2**21)
            await fragment(ws=client)
        assert (Path(folder) / "video.mp4").stat().st_size == 2**21


@autojump
async def a_stream_of_bytes(fragment: Fragment) -> None:
    """`ws`, whose peer speaks HTTP over it."""
    asked: list[bytes] = []

    async def answer(ws: WebSocket) -> None:
        async with ws.as_stream() as stream:
            async for data in stream:
                asked.append(bytes(data))
            await stream.send_all(b"HTTP/1.0 200 OK\r\n\r\n")

    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(answer, server)
        await fragment(ws=client)
    assert b"".join(asked) == b"GET / HTTP/1.0\r\n\r\n"
    assert fragment.printed == "b'HTTP/1.0 200 OK\\r\\n\\r\\n'\n"


@autojump
async def news(fragment: Fragment) -> None:
    """`ws`, whose peer has news and closes; as `orjson`, a module of the standard library with the same functions."""
    asked: list[Any] = []

    async def tell(ws: WebSocket) -> None:
        channel = ws.as_json()
        asked.append(await channel.receive())
        await channel.send({"news": 1})
        await ws.aclose(1000)

    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(tell, server)
        await fragment(ws=client, orjson=json)
    assert asked == [{"op": "subscribe", "topics": ["news"]}]
    assert fragment.printed == "{'news': 1}\n"


async def many_listeners(fragment: Fragment) -> None:
    """`server`, with a client that has the news."""
    async with open_server(echo, "127.0.0.1", 0) as server, connect(url_of(server)) as client:
        await until_connected(server)
        await fragment(server=server, json=json)
        assert "the news" in str(await client.receive())


async def until_connected(server: Server) -> None:
    """Wait until the server has the connection that its client has."""
    with trio.fail_after(5):
        while not server.connections:
            await trio.sleep(0.001)


async def two_clients(fragment: Fragment) -> None:
    """A server on 8000 with the extension that the fragment defines, which is run without its last line."""
    names: dict[str, Any] = {}

    @asynccontextmanager
    async def connected(url: str, **options: Any) -> AsyncGenerator[WebSocket]:
        (extension,) = options["extensions"]
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                async with accept(theirs, extensions=[extension]) as server:
                    await echo(server)

            nursery.start_soon(serve)
            async with connect(url, stream=ours, extensions=[extension]) as ws:
                await ws.send("drawer")
                names["back"] = await ws.receive()
                names["wire"] = ws.stats
                yield ws

    await fragment(connect=connected)
    assert names["back"] == "drawer"
