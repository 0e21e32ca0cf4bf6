"""What surrounds the fragments of the page for those who come from trio-websocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio_websocket

from surroundings import Fragment
from surroundings.common import served
from trio_closeevents import HandshakeRejected, WebSocket, connect

__all__ = ["after", "before", "one_import"]


async def one_import(fragment: Fragment) -> None:
    """Nothing; the names are those of trio-websocket."""
    await trio.lowlevel.checkpoint()
    names = await fragment()
    public = {name for name in vars(trio_websocket) if not name.startswith("_")}
    assert public <= {*dir(names["trio_websocket"])}


async def before(fragment: Fragment) -> None:
    """A server of trio-websocket that `talk`s."""

    async def talk(ws: trio_websocket.WebSocketConnection) -> None:
        await ws.send_message("hello")

    await judge(fragment, talk, serve_websocket=trio_websocket.serve_websocket)


async def after(fragment: Fragment) -> None:
    """A server of this library that does."""

    async def talk(ws: WebSocket) -> None:
        await ws.send("hello")

    await judge(fragment, talk)


async def judge(fragment: Fragment, talk: Callable[[Any], Awaitable[None]], **names: Any) -> None:
    """Run the fragment; it has to serve one path, with a subprotocol and a header, and to refuse others."""
    async with served(fragment, talk=talk, **names) as url:
        with pytest.raises(HandshakeRejected) as caught:
            async with connect(f"{url}elsewhere"):
                pass
        assert (caught.value.response.status, caught.value.response.body) == (404, b"not here")
        async with connect(f"{url}chat", subprotocols=["chat"]) as ws:
            assert await ws.receive() == "hello"
            assert ws.subprotocol == "chat"
            assert ws.response.headers["X-Room"] == "5"
