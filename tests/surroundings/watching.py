"""What surrounds the fragments of the page about watching."""

from __future__ import annotations

import logging

import trio

from surroundings import Fragment, autojump
from surroundings.common import echo, served, url_of
from trio_closeevents import WebSocket, connect, open_server

__all__ = ["a_program_with_a_log", "a_server", "slow_pongs"]


@autojump
async def a_program_with_a_log(fragment: Fragment) -> None:
    """`logging`; the root logger is as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    try:
        await fragment(logging=logging)
        assert root.level == logging.INFO
        assert root.handlers
    finally:
        root.handlers = before
        root.setLevel(level)


async def a_server(fragment: Fragment) -> None:
    """`handler`, an echo; the server runs until it is cancelled."""
    async with served(fragment, handler=echo) as url, connect(url) as ws:
        await ws.send("hello")
        assert await ws.receive() == "hello"


async def slow_pongs(fragment: Fragment) -> None:
    """`url` of a server that pings, and closes when it has its Pong."""
    trips = []

    async def handler(ws: WebSocket) -> None:
        trips.append(await ws.ping())

    async with open_server(handler, "127.0.0.1", 0) as server:
        with trio.fail_after(5):
            await fragment(url=url_of(server))
    assert len(trips) <= 1
