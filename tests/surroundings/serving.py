"""What surrounds the fragments of the page about serving."""

from __future__ import annotations

import re
import ssl
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
import trustme

from surroundings import Fragment, free_ports
from surroundings.common import echo, served, url_of
from trio_closeevents import HandshakeRejected, connect, open_server
from trio_closeevents.routing import Router

__all__ = ["a_handler", "a_nursery", "a_room", "a_router", "hooks", "limits", "origins", "places"]


async def a_handler(fragment: Fragment) -> None:
    """A client; the server runs until it is cancelled."""
    async with served(fragment) as url, connect(url + "kitchen?table=1") as ws:
        await ws.send("hello")
        assert await ws.receive() == "/kitchen says hello"
    assert fragment.printed == f"{fragment.port}\n"


async def places(fragment: Fragment) -> None:
    """`handler`, and a `context` for TLS; the path and the port are free ones, and no socket is inherited."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with TemporaryDirectory() as folder:
        fragment.put("/run/app.sock", Path(folder) / "app.sock")
        fragment.put("443", free_ports()["8000"])
        await fragment(handler=echo, context=context)
    assert "app.sock" in fragment.printed


async def a_nursery(fragment: Fragment) -> None:
    """`nursery`, `partial`, and a `handler`."""
    async with trio.open_nursery() as nursery:
        names = await fragment(nursery=nursery, partial=partial, handler=echo)
        for name in ("server", "other"):
            async with connect(url_of(names[name])) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
        nursery.cancel_scope.cancel()


async def status_of(url: str, **options: Any) -> int:
    """Return what a server answers to a request for a WebSocket."""
    try:
        async with connect(url, **options):
            return 101
    except HandshakeRejected as error:
        return error.response.status


async def origins(fragment: Fragment) -> None:
    """`handler`, and `re`; the server is asked by pages of three sites, and by a program."""
    answers: list[int] = []

    async def ask() -> None:
        for origin in ("https://example.com", "https://shop.example.com", "https://evil.example", None):
            answers.append(await status_of(f"ws://127.0.0.1:{fragment.port}/", origin=origin))

    fragment.put("...", "await ask()")
    await fragment(handler=echo, re=re, ask=ask)
    assert answers == [101, 101, 403, 101]


async def hooks(fragment: Fragment) -> None:
    """What it defines is given to a server."""
    names = await fragment()
    async with open_server(echo, "127.0.0.1", 0, process_request=names["process_request"]) as server:
        assert await status_of(url_of(server)) == 401
        assert await status_of(url_of(server), headers={"Cookie": "session=1"}) == 101
        assert await status_of(url_of(server) + "health") == 200


async def a_router(fragment: Fragment) -> None:
    """`Router`; the server runs until it is cancelled."""
    async with served(fragment, Router=Router) as url:
        assert await status_of(url + "rooms/5") == 101
        assert await status_of(url + "rooms/five") == 404
        assert await status_of(url + "health") == 200


async def limits(fragment: Fragment) -> None:
    """`handler`."""
    await fragment(handler=echo)


async def a_room(fragment: Fragment) -> None:
    """`server`, a `room` and what to say; nobody is slow."""
    async with open_server(echo, "127.0.0.1", 0) as server, connect(url_of(server)) as ws:
        await ws.ping()
        room = server.connections
        assert len(room) == 1
        await fragment(server=server, room=room, line="a line", price="a price")
        assert [await ws.receive() for _ in range(3)] == ["a price", "a line", "a line"]
    assert fragment.printed == ""
