"""What surrounds the fragments of the page for those who come from websockets."""

from __future__ import annotations

from surroundings import Fragment
from surroundings.common import url_of
from trio_closeevents import WebSocket, open_server

__all__ = ["feed"]


async def feed(fragment: Fragment) -> None:
    """`url`: a server that goes away once, and then is done."""
    codes = [1012, 1000]

    async def close(ws: WebSocket) -> None:
        await ws.send(f"{len(codes)} to go")
        await ws.aclose(codes.pop(0))

    async with open_server(close, "127.0.0.1", 0) as server:
        await fragment(url=url_of(server))
    assert fragment.printed == "2 to go\n1 to go\n"
