"""The helper that the other tests here see a browser through: it has to see what goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from trio_closeevents import CloseEvent, Request, Response, WebSocket, open_server

from .cable import open_cable
from .chromium import Chromium
from .devtools import Browser, DevToolsError, Page, open_browser

HOST = "127.0.0.1"
HTML = {"Content-Type": "text/html; charset=utf-8"}
ICON = '<link rel="icon" href="data:,">'


def answer(request: Request) -> Response | None:
    """Serve an empty page, beside its WebSocket."""
    return None if request.path == "/socket" else Response(200, HTML, ICON)


async def wait_for_end(ws: WebSocket) -> None:
    """Be a handler that only watches."""
    await ws.wait_closed()


async def test_what_a_script_throws_is_raised(page: Page) -> None:
    """Also out of a promise; and what is not true in time says what the page shows."""
    assert await page.evaluate("Promise.resolve(6 * 7)") == 42
    with pytest.raises(DevToolsError, match="TypeError"):
        await page.evaluate("null.x")
    with pytest.raises(DevToolsError, match="Error: no"):
        await page.evaluate("Promise.reject(new Error('no'))")


async def test_errors_of_a_page_are_seen(page: Page) -> None:
    """The console's, those that nobody catches, and those of the network."""
    answers = {"/": Response(200, HTML, f"{ICON}<script>console.error('mine'); fetch('/none'); null.x;</script>")}
    async with open_server(
        wait_for_end, HOST, 0, process_request=lambda request: answers.get(request.path, Response(404))
    ) as server:
        await page.go_to(f"http://{HOST}:{server.port}/")
        with trio.fail_after(10):
            while len(page.unexpected_errors) < 3:
                await trio.sleep(0.01)
    page.expected = ["404", "TypeError"]
    assert [error for error in page.unexpected_errors if "mine" not in error] == []
    page.expected.append("mine")


async def test_pages_share_nothing(browser: Browser) -> None:
    """Neither storage nor cookies."""
    async with open_server(
        wait_for_end, HOST, 0, process_request=lambda _: Response(200, HTML, f"{ICON}<p>here</p>")
    ) as server:
        first, second = [await browser.open_page(f"http://{HOST}:{server.port}/") for _ in range(2)]
        await first.evaluate("localStorage.setItem('a', 'b'), document.cookie = 'a=b'")
        assert await second.evaluate("[localStorage.getItem('a'), document.cookie]") == [None, ""]
        assert await second.text() == "here"


@pytest.mark.parametrize("how", ["close", "kill"])
async def test_a_browser_that_goes_tells_so_or_not(how: str, tmp_path: Path) -> None:
    """A closed tab says 1001; a killed browser nothing: its kernel sends FIN."""
    events: list[CloseEvent] = []
    ended = trio.Event()

    def note(ws: WebSocket, event: CloseEvent) -> None:
        events.append(event)
        ended.set()

    async with open_server(wait_for_end, HOST, 0, process_request=answer, on_close=note) as server:
        with Chromium(tmp_path) as own:
            async with open_browser(own.url) as browser:
                page = await browser.open_page(f"http://{HOST}:{server.port}/")
                script = "socket = new WebSocket('/socket'), new Promise(resolve => socket.onopen = () => resolve(1))"
                assert await page.evaluate(script) == 1
                await (page.close() if how == "close" else trio.to_thread.run_sync(own.kill))
                with trio.fail_after(10):
                    await ended.wait()
    assert str(events[0].cause) == ("remote" if how == "close" else "eof")
    assert events[0].code == (1001 if how == "close" else 1006)


@pytest.mark.parametrize("how", ["cut", "silence"])
async def test_a_cable_is_cut_and_mended(how: str, page: Page) -> None:
    """A cut is noticed by both sides at once, silence by the keepalive."""
    causes: list[str] = []
    ended = trio.Event()

    def note(ws: WebSocket, event: CloseEvent) -> None:
        causes.append(str(event.cause))
        ended.set()

    period = 0.2 if how == "silence" else None
    async with (
        open_server(
            wait_for_end, HOST, 0, process_request=answer, on_close=note, ping_interval=period, ping_timeout=period
        ) as server,
        open_cable(server.port) as cable,
    ):
        await page.go_to(f"http://{HOST}:{cable.port}/")
        opening = "new Promise(resolve => { socket = new WebSocket('/socket'); socket.onopen = () => resolve(1); })"
        await page.evaluate(opening)
        await trio.lowlevel.checkpoint()
        cable.cut() if how == "cut" else cable.silence()
        with trio.fail_after(10):
            await ended.wait()
        assert causes == ["reset" if how == "cut" else "keepalive_timeout"]
        cable.mend()
        await page.evaluate(opening)
