"""Surroundings for the page about connections of trio-websocket."""

from __future__ import annotations

from trio_websocket import open_websocket_url

from surroundings import Fragment
from surroundings.common import echo, url_of
from trio_closeevents import open_server
from trio_closeevents.adapters import from_trio_websocket

__all__ = ["both_blocks"]


async def both_blocks(fragment: Fragment) -> None:
    """An echo server, and what the page has imported."""
    async with open_server(echo, "127.0.0.1", 0) as server:
        names = await fragment(
            url=url_of(server), open_websocket_url=open_websocket_url, from_trio_websocket=from_trio_websocket
        )
    assert names["ws"].connection is names["connection"]
