"""However our server ends a connection, the page is told what our event says was sent, and we what the page sent."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncGenerator
from contextlib import nullcontext
from typing import Any

import pytest
import trio

from trio_closeevents import CloseEvent, Request, Response, WebSocket, accept

from .devtools import Browser, Page
from .endings import CASES, Case
from .stage import FAILED, HOST, Pongs, Shown, answer, frozen, open_stage, wait_for_end


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_end_is_told_to_the_page_and_to_us(case: Case, shared_page: Page) -> None:
    """Code, reason and cleanliness of both events; and an `error` event only where the browser has failed."""
    await play(case, shared_page)


@pytest.mark.parametrize("case", [case for case in CASES if case.on_tls], ids=lambda case: case.name)
async def test_end_is_told_on_tls_too(case: Case, shared_page: Page, server_ssl_context: ssl.SSLContext) -> None:
    """The same over `wss:`: what the transport does with a Close frame is another thing there."""
    await play(case, shared_page, server_ssl_context)


async def play(case: Case, page: Page, ssl_context: ssl.SSLContext | None = None) -> None:
    if case.shown is not None:
        page.expected = [FAILED]
    with pytest.raises(case.raises) if case.raises else nullcontext():
        how: dict[str, Any] = {"cable": case.cable, "by_hand": case.by_hand, "ssl_context": ssl_context}
        async with open_stage(page, case.handler, **how, **case.options) as stage:
            await stage.run(case.script)
            await case.act(stage)
    shown = await stage.shown()
    assert stage.events == [case.event]
    assert shown == (case.shown or as_sent(case.event))
    assert await stage.run("messages.length") == case.messages


def as_sent(event: CloseEvent) -> Shown:
    """Return what a page sees of an end that our Close frame has told it of."""
    assert event.sent is not None
    return Shown(1005 if event.sent.code is None else event.sent.code, event.sent.reason)


async def test_server_aclose_tells_all_pages_at_once(browser: Browser) -> None:
    """Three tabs, one of them with a script that does not go on; each is told, and each answers."""
    pages = [await browser.open_page() for _ in range(3)]
    async with open_stage(pages[0]) as stage:
        for page in pages[1:]:
            await page.go_to(f"http://{HOST}:{stage.server.port}/")
            await page.evaluate("opened()")
        async with frozen(pages[1]):  # the browser answers, not the script
            await stage.server.aclose(4001, "all of you", grace=math.inf)
        for page in pages:
            stage.page = page
            assert await stage.shown() == Shown(4001, "all of you")
        assert [event.received for event in stage.events] == [event.sent for event in stage.events]
        assert [event.was_clean for event in stage.events] == [True] * 3


async def test_server_that_closes_refuses_or_drops_who_comes_late(page: Page) -> None:
    """A page that wants to connect to a server that is closing fails: it never opens, and is left without an answer."""
    page.expected = [FAILED]
    late = trio.Event()
    paths: list[str] = []

    async def hold(request: Request) -> Response | None:
        paths.append(request.path)
        if paths.count("/socket") == 2:
            late.set()
            await trio.sleep_forever()
        return answer(request)

    async with open_stage(page, process_request=hold) as stage:
        await stage.run("(opened(), 1)")
        with trio.fail_after(10):
            await late.wait()
            await stage.server.aclose()
        assert await stage.page.wait_for("shown && events.filter((type) => type === 'close').length === 2")
        assert (await stage.run("events")).count("open") == 1
        assert (await stage.run("events")).count("error") == 1
    assert len(stage.events) == 1


@pytest.mark.parametrize("status", [200, 401, 403, 404, 503])
async def test_refused_page_learns_nothing_but_1006(status: int, page: Page) -> None:
    """Whatever we answer in place of the upgrade; only the console knows the status."""
    page.expected = [FAILED]

    def refuse(request: Request) -> Response | None:
        return Response(status, body="no") if request.path == "/socket" else answer(request)

    async with open_stage(page, process_request=refuse) as stage:
        assert await stage.shown() == Shown(1006, was_clean=False, error=True)
        assert stage.events == []
    assert ("HTTP Authentication failed" if status == 401 else f"response code: {status}") in page.errors[0]


async def test_fail_internal_tells_the_page_1011(
    page: Page, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of our own is an end like others for the page."""

    def bug(*args: object) -> None:
        raise ZeroDivisionError("a bug")

    async def meet_bug(ws: WebSocket) -> None:
        monkeypatch.setattr(ws._session, "next_messages", bug)
        await wait_for_end(ws)

    async with open_stage(page, meet_bug) as stage:
        assert await stage.shown() == Shown(1011)
        event = await stage.ended()
        assert (str(event.cause), event.code, event.was_clean) == ("internal_error", 1006, False)
    assert "a bug" in caplog.text


async def test_end_generator_tells_the_page_1001(page: Page) -> None:
    """A generator that is closed waits for nothing, so the page's answer is not read: how clean it is for the page
    depends on who is faster.
    """
    events: list[CloseEvent] = []

    async def connections(stream: trio.SocketStream) -> AsyncGenerator[WebSocket]:
        async with accept(stream, on_close=lambda _, event: events.append(event)) as ws:
            yield ws

    async with open_stage(page) as stage, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        async with listener:
            nursery.start_soon(
                stage.run, f"events = [], shown = null, opened('ws://{HOST}:{listener.socket.getsockname()[1]}/')"
            )
            generator = connections(await listener.accept())
            await anext(generator)
            await generator.aclose()
        shown = await stage.shown()
    assert (shown.code, shown.reason, shown.error) == (1001, "", False)
    (event,) = events
    assert (str(event.cause), event.sent and event.sent.code, event.was_clean) == ("cancelled", 1001, False)


async def test_page_that_has_closed_gets_no_more_messages(page: Page) -> None:
    """After `close()` the browser drops what still comes, and takes our answer to its Close all the same."""
    async with open_stage(page, cable=True) as stage:
        assert stage.cable is not None
        stage.cable.silence()
        (ws,) = stage.connections
        for number in range(10):
            await ws.send(str(number))
        await stage.run("socket.close(3000, 'enough')")
        stage.cable.mend()
        assert await stage.shown() == Shown(3000, "enough")
        assert await stage.run("messages") == []
        assert (await stage.ended()).was_clean


async def test_frozen_script_is_not_a_dead_peer(page: Page) -> None:
    """The browser answers Pings by itself: the keepalive sees the network, not the script."""
    pongs = Pongs()
    async with open_stage(page, observer=pongs, ping_interval=0.05) as stage:
        async with frozen(page):
            (ws,) = stage.connections
            await ws.send("for later")
            await pongs.come(10)
        await page.wait_for("messages.includes('for later')")
        await stage.run("socket.close(1000)")
        assert (await stage.ended()).code == 1000


async def test_script_may_close_with_what_the_docs_say(page: Page) -> None:
    """1000 and 3000-4999, and nothing else: `close` throws, and the connection stays open."""
    async with open_stage(page) as stage:
        refused = await stage.run(
            "[999, 1001, 1002, 1005, 1006, 1011, 1015, 2999, 5000, 65535].map((code) => "
            "{ try { socket.close(code); } catch (error) { return error.name; } })"
        )
        assert refused == ["InvalidAccessError"] * 10
        assert stage.events == []
