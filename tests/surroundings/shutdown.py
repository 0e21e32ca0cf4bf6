"""What surrounds the fragments of the page about shutting down."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
import trio.testing

from surroundings import Fragment, autojump
from surroundings.common import echo, served
from trio_closeevents import connect
from trio_closeevents.testing import open_websocket_pair

__all__ = ["a_handler_that_is_cut_off", "a_program_with_more_to_do"]


class Cart:
    """Something that must be saved, which takes a second."""

    saved: list[list[object]] = []  # noqa: RUF012  # of all carts

    def __init__(self) -> None:
        self.changes: list[object] = []

    def change(self, message: object) -> None:
        self.changes.append(message)

    async def save(self) -> None:
        await trio.sleep(1)
        self.saved.append(self.changes)


@autojump
async def a_handler_that_is_cut_off(fragment: Fragment) -> None:
    """`Cart`; the handler is cancelled when it has something to save."""
    names = await fragment(Cart=Cart)
    Cart.saved.clear()
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(names["handler"], server)
        await client.send("one apple")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert Cart.saved == [["one apple"]]


async def a_program_with_more_to_do(fragment: Fragment) -> None:
    """`handler`, an `open_database` and `collect_garbage`; SIGTERM ends it."""
    log: list[str] = []

    @asynccontextmanager
    async def open_database() -> AsyncGenerator[str]:
        log.append("database opened")
        yield "database"
        log.append("database closed")

    async def collect_garbage(database: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("garbage collected")

    names = {"handler": echo, "open_database": open_database, "collect_garbage": collect_garbage}
    async with served(fragment, **names) as url, connect(url) as ws:
        signal.raise_signal(signal.SIGTERM)
        assert (await ws.wait_closed()).code == 1001
        with trio.fail_after(5):
            while len(log) < 3:
                await trio.sleep(0.01)
    assert log == ["database opened", "garbage collected", "database closed"]
