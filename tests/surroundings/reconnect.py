"""What surrounds the fragments of the page about staying connected: servers that end in some way."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from surroundings import Fragment
from surroundings.common import url_of
from trio_closeevents import WebSocket, open_server

__all__ = ["a_question", "a_refused_login", "a_server_that_never_is", "a_token", "a_way_out"]


async def a_question(fragment: Fragment) -> None:
    """`url` of a server that knows the answer, at the second attempt."""
    numbers = itertools.count(1)

    async def handler(ws: WebSocket) -> None:
        question = await ws.receive(decode=True)
        if next(numbers) == 1:
            await ws.aclose(1012)
        await ws.send(f"{question} 42")

    async with open_server(handler, "127.0.0.1", 0) as server:
        names = await fragment()
        assert await names["ask"](url_of(server), "the answer?") == "the answer? 42"


async def a_way_out(fragment: Fragment) -> None:
    """`url` of a server that always sends its clients away."""

    async def handler(ws: WebSocket) -> None:
        await ws.aclose(1012)

    async with open_server(handler, "127.0.0.1", 0) as server:
        names = await fragment(url=url_of(server))
    assert names["done"].cancelled_caught


async def a_refused_login(fragment: Fragment) -> None:
    """`url` of a server that wants nobody, and a `session` that listens."""

    async def handler(ws: WebSocket) -> None:
        await ws.aclose(4401, "who are you?")

    async with open_server(handler, "127.0.0.1", 0) as server:
        with pytest.raises(SystemExit, match=r"^the server does not want us: who are you\?$"):
            await fragment(url=url_of(server), session=WebSocket.wait_closed)


async def a_server_that_never_is(fragment: Fragment) -> None:
    """`url` of a server that closes with 4100 twice, then with 1000; a `session`, and a `screen` that shows."""
    codes = [4100, 4100, 1000]
    shown: list[str] = []

    async def handler(ws: WebSocket) -> None:
        await ws.aclose(codes.pop(0))

    async with open_server(handler, "127.0.0.1", 0) as server:
        screen = SimpleNamespace(show=shown.append)
        names = await fragment(url=url_of(server), session=WebSocket.wait_closed, screen=screen)
    assert names["last"].code == 1000
    assert shown[-2:] == ["open, attempt 3", "stopped, attempt 3"]


async def a_token(fragment: Fragment) -> None:
    """`url`, a `session`, and a `token()` that is another one each time."""
    tokens = itertools.count(1)
    seen = []

    async def handler(ws: WebSocket) -> None:
        assert ws.request is not None
        seen.append(ws.request.headers["Authorization"])
        await ws.aclose(1012 if len(seen) == 1 else 1000)

    async with open_server(handler, "127.0.0.1", 0) as server:
        await fragment(url=url_of(server), session=WebSocket.wait_closed, token=lambda: next(tokens))
    assert seen == ["Bearer 1", "Bearer 2"]
