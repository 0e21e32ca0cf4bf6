"""`examples/supervisor.py`: feeds are kept alive, and the table says how their connections ended."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

import pytest
import trio
from programs import run_program
from trio.testing import MockClock
from websockets.trio.server import ServerConnection, serve

from examples.supervisor import Feed, Supervisor, table
from trio_closeevents import CloseEvent, ReconnectPolicy, Request, Response, WebSocket, open_server

HOST: Final = "127.0.0.1"
AT_ONCE: Final = ReconnectPolicy(first=0, most=0)


@pytest.fixture
async def url() -> AsyncIterator[Callable[[str], str]]:
    """A server whose paths say with which code it closes the first three connections."""
    comers: list[str] = []

    async def end(ws: WebSocket) -> None:
        word = ws.request.path.strip("/")
        comers.append(word)
        await ws.send("first")
        if word.isdecimal() and comers.count(word) <= 3:
            await ws.aclose(int(word), "as asked")
        await ws.wait_closed()

    def answer(request: Request) -> Response | None:
        return Response(404) if request.path == "/gone" else None

    async with open_server(end, HOST, 0, process_request=answer) as server:
        yield lambda path: f"ws://{HOST}:{server.port}/{path}"


async def read(name: str, ws: WebSocket) -> None:
    """Be a session that listens for as long as it can."""
    async for _ in ws:
        pass


async def test_one_feed_does_not_harm_another(url: Callable[[str], str]) -> None:
    """Each goes on, stops or crashes as its own endings say, and `run` returns when all are over."""
    opened = 0

    async def session(name: str, ws: WebSocket) -> None:
        nonlocal opened
        match name:
            case "satisfied":
                await ws.receive()
            case "broken":
                raise ZeroDivisionError
            case "restless":
                opened += 1
                if opened < 4:
                    await read(name, ws)
            case _:
                await read(name, ws)

    changes: list[tuple[str, str]] = []
    supervisor = Supervisor(
        session, policy=AT_ONCE, restarts=2, pause=0, on_change=lambda feed: changes.append((feed.name, feed.state))
    )
    paths = {"satisfied": "", "broken": "", "restless": "1012", "refused": "4000", "gone": "gone"}
    with trio.fail_after(20):
        await supervisor.run({name: url(path) for name, path in paths.items()})
    found = {feed.name: feed for feed in supervisor.feeds}
    assert {name: feed.state for name, feed in found.items()} == {
        "satisfied": "done",
        "broken": "crashed",
        "restless": "done",
        "refused": "stopped",
        "gone": "stopped",
    }
    ends = {name: [event.code for event in feed.ends] for name, feed in found.items()}
    assert ends["satisfied"] == [1000]
    assert ends["broken"] == [1011] * 3
    assert ends["restless"] == [1012, 1012, 1012, 1000]
    assert ends["refused"] == [4000]
    assert ends["gone"] == [1006]
    assert [feed.connections for feed in found.values()] == [1, 3, 4, 1, 0]
    assert [state for name, state in changes if name == "broken"] == [
        *["connecting", "open", "restarting"] * 2,
        *["connecting", "open", "crashed"],
    ]


async def test_crashes_are_forgotten_after_a_while(autojump_clock: MockClock) -> None:
    """Only so many in each period are too many."""
    supervisor = Supervisor(read, restarts=2, period=10)
    feed = Feed("a", "ws://a")
    verdicts = []
    for pause in (0, 1, 6, 6, 1, 1):
        await trio.sleep(pause)
        verdicts.append(supervisor._may_restart(feed))
    assert verdicts == [True, True, False, True, False, False]


async def test_cancelling_ends_all_feeds(url: Callable[[str], str]) -> None:
    """Each tells its server 1001, and the table has it."""
    supervisor = Supervisor(read, policy=AT_ONCE)
    are_open = trio.Event()

    def watch(feed: Feed) -> None:
        if [each.state for each in supervisor.feeds] == ["open", "open"]:
            are_open.set()

    supervisor = Supervisor(read, policy=AT_ONCE, on_change=watch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run, {"a": url(""), "b": url("")})
        await are_open.wait()
        nursery.cancel_scope.cancel()
    assert [str(feed.ends[-1]) for feed in supervisor.feeds] == ["1001 going away, after we sent 1001: cancelled"] * 2


def test_table_shows_the_latest_endings() -> None:
    """At most three of each feed."""
    feed, new = Feed("news", "ws://a", "waiting", connections=4), Feed("new", "ws://b")
    feed.ends.extend(CloseEvent("close", code=code) for code in (1000, 1001, 1012, 1013))
    lines = table([feed, new]).splitlines()
    assert lines[0].split() == ["feed", "state", "opened", "crashes", "ends,", "the", "latest", "last"]
    assert lines[1].split() == ["news", "waiting", "4", "0", "1001", "going", "away"]
    assert [line.strip() for line in lines[2:4]] == ["1012 service restart", "1013 try again later"]
    assert lines[4].split() == ["new", "connecting", "0", "0", "none", "so", "far"]


# -- the program -------------------------------------------------------------------------------------------------------


@pytest.mark.once
async def test_program_plays() -> None:
    """`python examples/supervisor.py` shows four feeds, for three seconds."""
    async with run_program("examples/supervisor.py") as program:
        assert await program.end() == 0
    rows = {line.split()[0]: line for line in program.said.partition("ends, the latest last")[2].splitlines() if line}
    assert "1001 going away, after we sent 1001: cancelled" in rows["steady"]
    assert " 1012 service restart 'back soon', the peer closed first: remote" in rows["restless"]
    assert " crashed " in rows["broken"]
    assert " stopped " in rows["gone"]


async def test_program_listens_to_a_server_of_another_library() -> None:
    """`python examples/supervisor.py NAME=URL`; Ctrl-C brings the table, and is no mistake."""

    async def handle(ws: ServerConnection) -> None:
        await ws.send("1.5")
        if len(comers) < 2:
            comers.append(ws)
            await ws.aclose(1012, "again")
        else:
            await ws.wait_closed()

    comers: list[ServerConnection] = []
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handle, 0, host=HOST))
        url = f"ws://{HOST}:{server.listeners[0].socket.getsockname()[1]}/"
        async with run_program("examples/supervisor.py", f"prices={url}") as program:
            await program.wait_for(r"(?s)(prices: 1\.5.*){3}")
            assert await program.end(signal.SIGINT) == 0
        nursery.cancel_scope.cancel()
    assert program.said.count("1012 service restart 'again', the peer closed first: remote") == 2
    assert "1001 going away, after we sent 1001: cancelled" in program.said
    assert "Traceback" not in program.said
