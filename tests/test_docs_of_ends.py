"""docs/ends.rst shows programs, what `Trace` drew of them, and what each side saw; and what others see in its place."""

from __future__ import annotations

import re
import runpy
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trio.testing
import websockets.exceptions
import websockets.trio.client
import websockets.trio.server
from browser.endings import CASES
from browser.stage import Shown

import trio_closeevents
from trio_closeevents import ConnectionClosed, Observer, WebSocket, open_server
from trio_closeevents.testing import ScriptedPeer

DOCS: Final = Path(__file__).parent.parent / "docs"
PAGE: Final = (DOCS / "ends.rst").read_text(encoding="utf-8")
ENDS: Final[dict[str, Any]] = runpy.run_path(str(DOCS / "diagrams" / "ends.py"))
SITUATIONS: Final[dict[str, Any]] = {each.name: each for each in ENDS["SITUATIONS"]}
HOST: Final = "127.0.0.1"

Told = tuple[str, str]


# -- the page ----------------------------------------------------------------------------------------------------------


def test_pictures_and_tables_are_what_the_library_makes_of_the_endings() -> None:
    """The files are what `python docs/diagrams/ends.py` plays and draws with the library as it is."""
    folder = DOCS / "diagrams" / "ends"
    made = ENDS["make"]()
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == made
    assert len(made) == 2 * len(SITUATIONS) == 2 * 10
    assert PAGE.startswith(".. _ends:\n\nTen endings\n")


@pytest.mark.parametrize("name", SITUATIONS)
def test_page_shows_each_ending_with_its_program_its_picture_and_its_table(name: str) -> None:
    """In this order, and none of them is from another ending."""
    program = PAGE.index(f":pyobject: {SITUATIONS[name].__name__}.")
    assert program < PAGE.index(f".. diagram:: ends/{name}") < PAGE.index(f".. include:: diagrams/ends/{name}.rst")


def test_1006_is_found_from_the_page() -> None:
    """A link leads there; and one leads from the first page to this one."""
    assert "<why-1006>" in PAGE
    assert ":doc:`ends`" in (DOCS / "index.rst").read_text(encoding="utf-8")


# -- others in the place of a side: `websockets` -----------------------------------------------------------------------


async def serve_websockets(name: str, took: Callable[[Told], None], *, task_status: trio.TaskStatus[int]) -> None:
    """Run the program of the ending's server, as it is written for `websockets`."""

    async def handler(ws: Any) -> None:
        raised = "nothing"
        try:
            async with aclosing(aiter(ws)) as questions:
                async for question in questions:
                    if name == "cancelled":
                        await trio.sleep(0.8)
                    await ws.send(ENDS["ANSWERS"][question])
        except websockets.exceptions.ConnectionClosed as error:
            raised = f"`{type(error).__name__}`"
        took((f"`{ws.protocol.close_exc}`", raised))

    started = partial(websockets.trio.server.serve, handler, 0, host=HOST)
    async with trio.open_nursery() as nursery:
        server: Any = await nursery.start(started)
        task_status.started(server.listeners[0].socket.getsockname()[1])


async def be_client_of_websockets(name: str, port: int) -> Told:
    """Run the program of the ending's client, as it is written for `websockets`."""
    raised = "nothing"
    async with websockets.trio.client.connect(f"ws://{HOST}:{port}/") as ws:
        try:
            if name == "crossing":
                await trio.testing.wait_all_tasks_blocked(0.05)
                await ws.aclose(3001, "enough")
            else:
                await ws.send("weather?" if name == "exception" else "time?")
                if name == "too-big":
                    await ws.send("please? " * 625)
                async for _ in ws:
                    pass
        except websockets.exceptions.ConnectionClosed as error:
            raised = f"`{type(error).__name__}`"
    return f"`{ws.protocol.close_exc}`", raised


class Answered(Observer):
    """Sets an event when the server has sent a message."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def message(self, websocket: WebSocket, data: str | bytes, *, sent: bool, last: bool) -> None:
        if sent:
            self.event.set()


@asynccontextmanager
async def serving(name: str) -> AsyncGenerator[int]:
    """Run the ending's server, ours; yields its port."""
    situation = SITUATIONS[name]()
    async with trio.open_nursery() as nursery:
        if situation.gone:
            (listener,) = await trio.open_tcp_listeners(0, host=HOST)
            nursery.start_soon(be_peer, listener, situation)
            yield listener.socket.getsockname()[1]
        else:
            answered = Answered()

            async def handler(ws: WebSocket) -> None:
                if name == "crossing":
                    await trio.testing.wait_all_tasks_blocked(0.05)
                await situation.server(ws)

            async with open_server(handler, HOST, 0, observer=answered, **situation.options) as server:
                if name == "shutdown":
                    nursery.start_soon(end_when, answered, situation, server)
                yield server.port
        nursery.cancel_scope.cancel()


async def be_peer(listener: trio.SocketListener, situation: Any) -> None:
    async with listener, await listener.accept() as stream:
        peer = ScriptedPeer(stream, client=False)
        await peer.open()
        await situation.peer(peer)


async def end_when(answered: Answered, situation: Any, server: trio_closeevents.Server) -> None:
    await answered.event.wait()
    await situation.end(server)


ROWS: Final = [(name, other) for name, kind in SITUATIONS.items() for other in kind.others]
WITH_WEBSOCKETS: Final = [(name, other) for name, other in ROWS if "websockets" in other.who]
WITH_PAGES: Final = [(name, other) for name, other in ROWS if other.case]


@pytest.mark.parametrize(("name", "other"), WITH_WEBSOCKETS, ids=[name for name, _ in WITH_WEBSOCKETS])
async def test_what_websockets_sees_in_a_side_s_place_is_what_the_page_says(
    name: str, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own words about the end, and what the same program raises with it."""
    monkeypatch.setitem(SITUATIONS[name].server.__globals__, "NOON", 0.0)  # the moment when the handler begins
    told: list[Told] = []
    with trio.fail_after(20):
        if other.who.endswith("client"):
            async with serving(name) as port:
                told.append(await be_client_of_websockets(name, port))
        else:
            async with trio.open_nursery() as nursery:
                port = await nursery.start(partial(serve_websockets, name, told.append))
                with suppress(ConnectionClosed):
                    await SITUATIONS[name]().client(lambda _: trio_closeevents.connect(f"ws://{HOST}:{port}/"))
                while not told:
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
    assert told == [(other.end, other.raised)]


# -- a page in a browser -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "other"), WITH_PAGES, ids=[name for name, _ in WITH_PAGES])
def test_what_a_page_sees_in_a_side_s_place_is_what_a_browser_was_seen_to_show(name: str, other: Any) -> None:
    """tests/browser plays the same ending with Chromium, and expects the same code and cleanliness."""
    case = next(case for case in CASES if case.name == other.case)
    expected = case.shown
    if expected is None:
        assert case.event.sent is not None
        expected = Shown(case.event.sent.code or 1005, case.event.sent.reason)
    code, clean = re.findall(r"code: (\d+), .*wasClean: (\w+)", other.end)[0]
    if name not in ("server-first", "shutdown"):  # whose codes are the program's own
        assert int(code) == expected.code
    assert clean == str(expected.was_clean).lower()
