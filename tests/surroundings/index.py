"""What surrounds the fragment of the first page."""

from __future__ import annotations

from surroundings import Fragment
from surroundings.common import open_web
from trio_closeevents import WebSocket

__all__ = ["a_chat"]


async def a_chat(fragment: Fragment) -> None:
    """A server that answers once, and closes."""

    async def answer(ws: WebSocket) -> None:
        await ws.send(f"{await ws.receive(decode=True)}, you")

    async with open_web(answer):
        await fragment()
    assert fragment.printed == "hello, you\n1000 normal closure, the peer closed first: remote\n"
