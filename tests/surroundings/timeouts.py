"""What surrounds the fragments of the page about timeouts; an hour passes in no time."""

from __future__ import annotations

import pytest
import trio

from surroundings import Fragment, autojump
from trio_closeevents.testing import assert_ended, open_websocket_pair

__all__ = ["idle_clients", "questions"]


@autojump
async def questions(fragment: Fragment) -> None:
    """A peer that answers the first question, and not the second."""
    names = await fragment()
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            await server.send(f"{await server.receive(decode=True)} 42")

        nursery.start_soon(answer)
        assert await names["ask"](client, "and?") == "and? 42"
        started = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await names["ask"](client, "and?")
        assert trio.current_time() - started == 5


@autojump
async def idle_clients(fragment: Fragment) -> None:
    """A client that says something every 50 seconds, three times."""
    names = await fragment()
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(names["handler"], server)
        for _ in range(3):
            await trio.sleep(50)
            await client.send("hello")
            assert await client.receive() == "hello"
        await client.wait_closed()
        assert trio.current_time() == pytest.approx(3 * 50 + 60, abs=1)
    assert_ended(client, 4000, reason="nothing was said for a minute", was_clean=True)
