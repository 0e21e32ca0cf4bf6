"""What surrounds the examples in docstrings, by the name of what each is about."""

from __future__ import annotations

from surroundings import Fragment
from surroundings.common import nothing, open_web
from trio_closeevents import WebSocket
from trio_closeevents.dom import WebSocketStream as Stream

__all__ = ["ClosePolicy", "WebSocketStream"]

ClosePolicy = nothing


async def WebSocketStream(fragment: Fragment) -> None:  # noqa: N802  # the name of the class
    """A server that greets, and closes."""

    async def greet(ws: WebSocket) -> None:
        await ws.send(f"{await ws.receive(decode=True)}, page")

    async with open_web(greet):
        await fragment(WebSocketStream=Stream)
    assert fragment.printed.startswith("hello, page\n")
    assert "1000" in fragment.printed
