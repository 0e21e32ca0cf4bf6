"""What surrounds the fragments of the page about browsers."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from surroundings import Fragment
from surroundings.common import echo, url_of
from trio_closeevents import WebSocket, dom, open_server

__all__ = ["a_nursery", "a_page", "a_socket", "a_stream"]


async def a_page(fragment: Fragment) -> None:
    """`dom`, and the `url` of a chat that answers and closes; nobody has a minute."""

    async def chat(ws: WebSocket) -> None:
        assert ws.subprotocol == "chat"
        await ws.send(f"{await ws.receive(decode=True)}, you")
        await ws.aclose(4000, "bye")

    fragment.put("60", 0.2)
    async with open_server(chat, "127.0.0.1", 0, subprotocols=["chat"]) as server:
        await fragment(dom=dom, url=url_of(server))
    assert fragment.printed == "hello, you\n4000 bye True\n"


async def a_socket(fragment: Fragment) -> None:
    """`ws`, to an echo; `f`, `work` and `report`, one of which is called, or the connection closes with 4000."""
    called: list[Any] = []

    async def work(event: dom.Event) -> None:
        await trio.lowlevel.checkpoint()
        called.append(event)

    async with open_server(echo, "127.0.0.1", 0) as server, dom.WebSocket(url_of(server)) as ws:
        opened, closed = trio.Event(), trio.Event()
        ws.onopen = lambda event: opened.set()
        ws.addEventListener("close", lambda event: closed.set())
        await opened.wait()
        await fragment(dom=dom, ws=ws, f=called.append, work=work, report=called.append)
        ws.send("hello")
        ws.close(4000, "bye")
        await closed.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert len(called) == 1 or ws.readyState == dom.WebSocket.CLOSED


async def a_stream(fragment: Fragment) -> None:
    """`dom`, `show`, and the `url` of a server with two things to say."""
    shown: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.send("one")
        await ws.send("two")

    async with open_server(handler, "127.0.0.1", 0) as server:
        names = await fragment(dom=dom, show=shown.append, url=url_of(server))
    assert shown == ["one", "two"]
    assert names["info"].closeCode == 1000


async def a_nursery(fragment: Fragment) -> None:
    """`dom`, `url` of an echo, and a `nursery`."""
    async with open_server(echo, "127.0.0.1", 0) as server, trio.open_nursery() as nursery:
        names = await fragment(dom=dom, url=url_of(server), nursery=nursery)
        opened = trio.Event()
        names["ws"].onopen = lambda event: opened.set()
        await opened.wait()
        names["ws"].close()
