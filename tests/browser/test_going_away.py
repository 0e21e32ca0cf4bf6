"""What a server is told when a page goes away: 1001, or nothing for as long as the page may come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
import trio

from trio_closeevents import CloseFrame

from .devtools import Page
from .stage import FAILED, Pongs, Shown, Stage, open_stage

SILENCE: Final = 1.0  # seconds in which a page that goes away would have told so many times

# What a page sends that goes away: 1001, without a reason, and it does not wait for an answer.
GONE: Final = CloseFrame(1001)


async def close_tab(stage: Stage) -> None:
    await stage.page.close()


async def reload(stage: Stage) -> None:
    await stage.page.reload()


async def crash(stage: Stage) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.page.crash)  # which is never answered
        await stage.ended()
        nursery.cancel_scope.cancel()


async def leave(stage: Stage) -> None:
    await stage.page.go_to("about:blank")


LEAVING: Final[dict[str, tuple[Callable[[Stage], Awaitable[None]], str]]] = {
    "tab closed": (close_tab, ""),
    "reloaded": (reload, ""),
    "reloaded, no-store": (reload, "?no-store"),
    "left for another page, no-store": (leave, "?no-store"),
    "crashed": (crash, ""),
}


@pytest.mark.parametrize("how", LEAVING)
async def test_page_that_is_gone_for_good_says_1001(how: str, page: Page) -> None:
    """Its Close comes first, and is all that counts: nobody waits there for our answer."""
    go, query = LEAVING[how]
    async with open_stage(page, query=query) as stage:
        await go(stage)
        event = await stage.ended()
    assert (event.code, event.reason, event.received) == (1001, "", GONE)
    assert (event.initiated_by, str(event.cause)) == ("remote", "remote")
    # Whether our answer was still taken by the kernel is a race; nobody reads it.
    assert event.sent in (GONE, None)
    assert event.was_clean is (event.sent == GONE)


async def test_frame_that_is_removed_says_1001(page: Page) -> None:
    """A page in an `iframe` goes with it."""
    async with open_stage(page) as stage:
        await stage.run(
            "new Promise((resolve) => { const frame = document.createElement('iframe'); "
            "frame.onload = () => resolve(frame.contentWindow.eval('opened()')); frame.src = '/'; "
            "document.body.append(frame); })"
        )
        await stage.wait_until(lambda: len(stage.connections) == 2)
        await stage.run("document.querySelector('iframe').remove()")
        await stage.ended()
        assert [event.received for event in stage.events] == [GONE]
        assert stage.connections[0].close_event is None


async def test_page_that_may_come_back_says_nothing(page: Page) -> None:
    """Plain navigation keeps it in the back/forward cache, with its connection open: the server hears nothing, and what
    it sends is answered by nobody but the browser. If the page comes back, its connection fails: 1001 for us, an
    `error` and 1006 for the script.
    """
    page.expected = [FAILED]
    async with open_stage(page) as stage:
        (ws,) = stage.connections
        await leave(stage)
        await trio.sleep(SILENCE)
        assert ws.close_event is None
        await page.go_back()
        event = await stage.ended()
        assert (event.code, event.received) == (1001, GONE)
        assert await stage.shown() == Shown(1006, was_clean=False, error=True)


async def test_page_in_the_cache_is_closed_by_the_server(page: Page) -> None:
    """The browser answers our Close for the page that sleeps; when it wakes, its script sees a failure all the same."""
    page.expected = [FAILED]
    async with open_stage(page) as stage:
        (ws,) = stage.connections
        await leave(stage)
        await ws.aclose(3001, "you were away")
        event = await stage.ended()
        assert (event.code, event.was_clean) == (3001, True)
        await page.go_back()
        assert await stage.shown() == Shown(1006, was_clean=False, error=True)


async def test_page_in_the_cache_answers_pings(page: Page) -> None:
    """The browser does it: a keepalive does not find out that nobody is there."""
    pongs = Pongs()
    async with open_stage(page, observer=pongs, ping_interval=0.05) as stage:
        await leave(stage)
        await trio.sleep(SILENCE)
        await pongs.come(10)
        assert stage.events == []
