"""`Trace`: what it draws of a connection, and that neither memory nor a terminal suffers from what peers send."""

from __future__ import annotations

import runpy
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_closeevents import (
    CloseEvent,
    CloseFrame,
    HandshakeError,
    HandshakeRejected,
    ReconnectPolicy,
    Request,
    Response,
    WebSocket,
    connect,
    open_server,
    stay_connected,
)
from trio_closeevents.testing import BINARY, PING, TEXT, ScriptedPeer, open_scripted_pair, open_websocket_pair
from trio_closeevents.trace import Trace

DIAGRAMS: Final = Path(__file__).parent.parent / "docs" / "diagrams"
HEAD: Final = ["→ GET / HTTP/1.1", "← 101 Switching Protocols"]


def told(trace: Trace, number: int = -1) -> list[str]:
    """Return the rows of one connection's diagram, with arrows and without times."""
    return [str(row) for row in trace.diagrams[number].rows]


async def wait(websocket: WebSocket) -> None:
    await websocket.wait_closed()


async def test_trace_draws_a_connection_from_the_opening_to_the_end(autojump_clock: MockClock) -> None:
    """Handshake, messages with their sizes, Pings, round trips, both Close frames, who closed first; with times."""
    trace = Trace(payload=6)

    async def talk(peer: ScriptedPeer) -> None:
        await peer.receive()
        await trio.sleep(0.25)
        await peer.send(peer.frame(BINARY, b"0123456789" * 500))
        ping = await peer.receive()
        assert ping is not None
        await trio.sleep(0.0625)
        await peer.send(peer.frame(0xA, ping.payload), peer.frame(PING))
        await peer.be_polite()

    async with open_scripted_pair(talk, observer=trace, ping_interval=None) as (websocket, _):
        await websocket.send("hello")
        await websocket.receive()
        await websocket.ping(b"a longer one")
        await trio.sleep(1)
        assert told(trace)[-1] == "still open"
        await websocket.aclose(1001, "so long")
    assert str(trace) == (
        "       we, the client                                                     the server\n"
        "0.000         │── GET / HTTP/1.1 ─────────────────────────────────────────────>│\n"
        "0.000         │<──────────────────────────────────── 101 Switching Protocols ──│\n"
        "0.000         │── Text 5 B 'hello' ───────────────────────────────────────────>│\n"
        "0.250         │<─────────────────────────────────── Binary 5.0 kB b'012345'… ──│\n"
        "0.250         │── Ping b'a long'… ────────────────────────────────────────────>│\n"
        "0.312         │<─────────────────────────────────── Pong b'a long'…, 62.5 ms ──│\n"
        "0.312         │<─────────────────────────────────────────────────────── Ping ──│\n"
        "0.312         │── Pong ───────────────────────────────────────────────────────>│\n"
        "1.312         │── Close 1001 going away 'so long' ────────────────────────────>│\n"
        "1.312         │<──────────────────────────── Close 1001 going away 'so long' ──│\n"
        "1.312         │             we closed first: the program closed it             │\n"
        "              │    1001 going away 'so long', after we sent 1001 'so long':    │\n"
        "              │                             closed                             │"
    )


async def test_trace_of_both_sides_stands_on_each() -> None:
    """Two diagrams, each with its own side on the left, told apart by titles with the id that the log has."""
    trace = Trace()
    async with open_websocket_pair(observer=trace, subprotocols=["chat"]) as (client, server):
        await client.send("hello")
        assert await server.receive() == "hello"
        assert "Text 5 B 'hello'" in str(trace.of(client))
        assert trace.of(client) != trace.of(server)
    sides = {each.title.split()[0]: each for each in trace.diagrams}
    assert sides["client"].left == "we, the client"
    assert sides["client"].right == "the server"
    assert sides["server"].left == "we, the server"
    first, *_, last = map(str, sides["server"].rows)
    assert first == "← GET / HTTP/1.1"
    assert last.startswith("1000 normal closure")
    assert "→ 101 Switching Protocols, chat" in [str(row) for row in sides["server"].rows]
    assert sides["client"].title == f"client {str(client.id)[:8]}, ws://test/"
    for each in trace.diagrams:
        assert f"{each.title}\n\n{each}" in str(trace)
    assert repr(trace) == "<Trace of 2 connections>"


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("return", "we closed first: the block returned"),
        ("error", "we closed first: an exception left the block"),
        ("cancel", "we closed first: the block was cancelled"),
        ("abort", "nobody sent a Close: the program aborted it"),
        ("remote", "the server closed first"),
        ("garbage", "we closed first: the peer broke the protocol"),
        ("hang up", "nobody sent a Close: the peer hung up"),
    ],
)
async def test_trace_says_who_closed_first_and_why(end: str, expected: str, autojump_clock: MockClock) -> None:
    """In words, and then the CloseEvent as its `str` has it."""
    trace = Trace()
    connections: list[WebSocket] = []

    async def talk(peer: ScriptedPeer) -> None:
        if end == "remote":
            await peer.send(peer.close_frame(None))
        elif end == "garbage":
            await peer.send(peer.frame(0x3, b"reserved"))
        elif end == "hang up":
            await peer.fin()
        await peer.be_polite()

    with trio.CancelScope() as scope:
        try:
            async with open_scripted_pair(talk, observer=trace) as (websocket, _):
                connections.append(websocket)
                if end == "error":
                    raise ValueError("mine")
                if end == "cancel":
                    scope.cancel()
                    await trio.sleep_forever()
                if end == "abort":
                    websocket.abort()
                if end != "return":
                    await websocket.wait_closed()
        except ValueError:
            assert end == "error"
    [connection] = connections
    assert told(trace)[-2:] == [expected, str(connection.close_event)]
    if end == "remote":
        assert "← Close without a code" in told(trace)


async def test_trace_of_an_event_made_by_hand_has_no_reason() -> None:
    """Whoever calls the observer by hand may leave the cause out."""
    trace = Trace()
    async with open_websocket_pair(observer=trace) as (client, _):
        trace.close(client, CloseEvent("close", code=1000))
        assert [str(row) for row in trace.of(client).rows][-2:] == ["nobody sent a Close", "1000 normal closure"]


async def test_trace_of_a_message_in_pieces_shows_each(autojump_clock: MockClock) -> None:
    """In both directions, and the last one as such."""
    trace = Trace()
    async with open_scripted_pair(observer=trace) as (websocket, peer):
        await websocket.send(["a", "bcd"])
        await websocket.send("whole")
        await peer.send(peer.frame(BINARY, b"one", fin=False))
        async with websocket.receive_stream() as pieces:
            await peer.send(peer.frame(0x0, b"two"))
            assert [piece async for piece in pieces] == [b"one", b"two"]
        websocket.abort()
    assert told(trace)[2:-2] == [
        "→ Text, piece 1 B 'a'",
        "→ Text, piece 3 B 'bcd'",
        "→ Text, last piece 0 B",
        "→ Text 5 B 'whole'",
        "← Binary, piece 3 B b'one'",
        "← Binary, last piece 3 B b'two'",
    ]


# -- connections that never opened, and several ones -------------------------------------------------------------------


async def test_trace_draws_connections_that_never_opened() -> None:
    """The request and the answer, as far as there were any, and the error in words."""
    ours, theirs = Trace(), Trace()

    def refuse(request: Request) -> Response:
        return Response(403)

    async with open_server(wait, "127.0.0.1", 0, observer=theirs, process_request=refuse) as server:
        url = f"ws://127.0.0.1:{server.port}/room"
        with pytest.raises(HandshakeRejected) as rejected:
            async with connect(url, observer=ours, proxy=None):
                raise AssertionError("it opened")
        await wait_all_tasks_blocked()
        (await trio.open_tcp_stream("127.0.0.1", server.port)).socket.close()
        while len(theirs.diagrams) < 2:
            await trio.sleep(0.001)
    assert told(ours) == [
        "→ GET /room HTTP/1.1",
        "← 403 Forbidden",
        str(rejected.value),
        "never opened: 1006 abnormal closure: rejected",
    ]
    assert ours.diagrams[0].title == f"client, {url}"
    assert told(theirs, 0)[:2] == ["← GET /room HTTP/1.1", "→ 403 Forbidden"]
    assert theirs.diagrams[0].title == "server, never opened"
    assert told(theirs) == [
        "no connection was accepted: the client hung up before its request was whole",
        "never opened: 1006 abnormal closure: eof",
    ]
    refused = Trace()
    with pytest.raises(HandshakeError):
        async with connect("ws://127.0.0.1:1/", observer=refused, proxy=None):
            raise AssertionError("it opened")
    assert told(refused)[-1] == "never opened: 1006 abnormal closure: refused"
    assert len(told(refused)) == 2, "no request was sent"


async def test_trace_of_stay_connected_has_every_attempt(autojump_clock: MockClock) -> None:
    """Of a thousand the latest few, and how many more there were."""
    trace = Trace(max_connections=3)

    def attempt() -> Any:
        return connect("ws://test/", stream=Gone(), observer=trace)

    class Gone(trio.abc.Stream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            raise trio.BrokenResourceError

        async def wait_send_all_might_not_block(self) -> None:
            raise trio.BrokenResourceError

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            raise trio.BrokenResourceError

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    with pytest.raises(HandshakeError):
        await stay_connected(attempt, wait, policy=ReconnectPolicy(max_failures=1000))
    assert len(trace.diagrams) == 3
    assert trace.left_out == 997
    assert str(trace).endswith("\n\n… 997 more connections …")
    assert repr(trace) == "<Trace of 1,000 connections>"


async def test_trace_keeps_open_connections_and_forgets_those_that_ended() -> None:
    """A new one takes the place of the oldest that has ended; when all are open it is counted, and nothing breaks."""
    trace = Trace(max_connections=2)
    async with open_websocket_pair() as (client, _):
        with pytest.raises(LookupError, match="is not in this trace: hand it over as observer"):
            trace.of(client)
    async with open_scripted_pair(observer=trace) as (first, _):
        async with open_scripted_pair(observer=trace) as (second, _):
            async with open_scripted_pair(observer=trace) as (third, peer):
                await third.send("hello")
                await peer.send(peer.frame(TEXT, b"hello"), peer.frame(PING))
                assert await third.receive() == "hello"
                await third.pong()
                trace.ping(third, b"", sent=True)
                trace.close_frame(third, CloseFrame(1000), sent=True)
                with pytest.raises(LookupError):
                    trace.of(third)
                third.abort()
            second.abort()
        async with open_scripted_pair(observer=trace) as (fourth, _):
            assert [each.title for each in trace.diagrams] == [trace.of(each).title for each in (first, fourth)]
            with pytest.raises(LookupError):
                trace.of(second)
            fourth.abort()
        with pytest.raises(HandshakeError):
            async with connect("ws://127.0.0.1:1/", observer=trace, proxy=None):
                raise AssertionError("it opened")
        async with open_scripted_pair(observer=trace) as (fifth, _):
            with pytest.raises(HandshakeError):
                async with connect("ws://127.0.0.1:1/", observer=trace, proxy=None):
                    raise AssertionError("it opened")
            fifth.abort()
        first.abort()
    assert trace.left_out == 5


def test_trace_without_connections_says_so() -> None:
    """Both drawings can be made at any time."""
    assert str(Trace()) == "no connection yet"
    assert ElementTree.fromstring(Trace().svg()).tag.endswith("svg")


# -- bounds --------------------------------------------------------------------------------------------------------


async def test_trace_folds_a_run_of_messages_in_one_direction(autojump_clock: MockClock) -> None:
    """The first four and the latest are shown, the others counted; five are no run yet."""
    trace = Trace()
    async with open_scripted_pair(observer=trace) as (websocket, peer):
        for number in range(1205):
            await peer.send(peer.frame(BINARY, b"%04d" % number * 700))
            await websocket.receive()
        for number in range(5):
            await websocket.send(str(number))
        await websocket.pong()
        for number in range(6):
            await websocket.send(str(number))
        websocket.abort()
    shown = [f"← Binary 2.8 kB b'{f'{number:04}' * 8}'…" for number in (0, 1, 2, 3, 1204)]
    assert told(trace)[2:-2] == [
        *shown[:4],
        "… 1,200 more messages ←, 3.4 MB …",
        shown[4],
        *(f"→ Text 1 B '{number}'" for number in range(5)),
        "→ Pong",
        *(f"→ Text 1 B '{number}'" for number in range(4)),
        "… 1 more message →, 1 B …",
        "→ Text 1 B '5'",
    ]


async def test_trace_keeps_the_first_rows_and_the_latest(autojump_clock: MockClock) -> None:
    """What is left out between them is counted by direction: messages, runs of them, and other frames."""
    trace = Trace(max_rows=8)
    async with open_scripted_pair(observer=trace) as (websocket, peer):
        for number in range(100):
            await websocket.send(f"{number}")
            await peer.send(peer.frame(TEXT, b"answer"))
            await websocket.receive()
        for _ in range(10):
            await websocket.send("run")
        for _ in range(3):
            await websocket.pong()
        await websocket.send(["pie", "ces"])
        for _ in range(5):
            await websocket.pong()
        websocket.abort()
    assert told(trace)[:-2] == [
        *HEAD,
        "→ Text 1 B '0'",
        "← Text 6 B 'answer'",
        "… 112 more pieces →, 225 B; 99 more pieces ←, 594 B; 4 other frames …",
        *["→ Pong"] * 4,
    ]


async def test_trace_leaves_out_runs_as_well(autojump_clock: MockClock) -> None:
    """What was folded already is counted in the larger fold, from its own time on."""
    trace = Trace(max_rows=12)
    async with open_scripted_pair(observer=trace) as (websocket, _):
        await websocket.send("first")
        await trio.sleep(1)
        for _ in range(10):
            await websocket.send("run")
        await trio.sleep(1)
        for _ in range(7):
            await websocket.pong()
        websocket.abort()
    rows = trace.diagrams[0].rows
    assert [str(row) for row in rows[5:9]] == [
        "→ Text 3 B 'run'",
        "… 7 more messages →, 21 B; 1 other frame …",
        "→ Pong",
        "→ Pong",
    ]
    assert [row.at for row in rows[5:9]] == pytest.approx([1, 1, 2, 2])


async def test_trace_memory_is_bounded(autojump_clock: MockClock) -> None:
    """Whatever travels: large messages, and many small ones that no run folds."""
    trace = Trace()
    async with open_scripted_pair(ScriptedPeer.be_polite, observer=trace, ping_interval=None) as (websocket, _):
        ping = "x" * 2**20
        tracemalloc.start()
        try:
            for number in range(3000):
                trace.message(websocket, ping, sent=bool(number % 2), last=True)
                trace.ping(websocket, b"%d" % number, sent=True)
            size = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert len(trace.of(websocket).rows) <= 100 + 2
        assert size < 100_000


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (3 * 10**9, "3.0 GB")],
)
async def test_trace_rounds_sizes(size: int, text: str) -> None:
    """To a tenth, and never to 1000.0 of a unit."""
    trace = Trace(payload=0)

    class Huge(bytes):
        def __len__(self) -> int:
            return size

    async with open_websocket_pair(observer=trace) as (client, _):
        trace.message(client, Huge(), sent=True, last=True)
        assert str(trace.of(client).rows[2]) == f"→ Binary {text}"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_rows": 7}, ValueError, "max_rows must be at least 8, not 7"),
        ({"max_connections": 0}, ValueError, "max_connections must be at least 1, not 0"),
        ({"payload": -1}, ValueError, "payload must be at least 0, not -1"),
        ({"max_rows": "many"}, TypeError, "max_rows must be an int, not str: 'many'"),
        ({"payload": True}, TypeError, "payload must be an int, not bool: True"),
    ],
)
def test_trace_options_are_checked(options: Any, error: type[Exception], text: str) -> None:
    """The error names the option, the value and the rule."""
    with pytest.raises(error, match=text):
        Trace(**options)


# -- what peers send cannot harm -------------------------------------------------------------------------------------


async def test_trace_escapes_what_a_terminal_or_a_browser_would_act_on(autojump_clock: MockClock) -> None:
    """Control characters, those that turn the direction of writing, markup: from messages, reasons, hosts, errors."""
    trace = Trace()
    nasty = "\x1b]0;owned\x07\x9b31m\u202e</text><script>\u2028\ud7ff"
    async with open_scripted_pair(observer=trace) as (websocket, peer):
        await peer.send(peer.frame(TEXT, nasty.encode()), peer.frame(PING, nasty.encode()))
        await peer.send(peer.close_frame(4000, nasty))
        assert await websocket.receive() == nasty
        await websocket.wait_closed()
    trace.unopened(HandshakeError(nasty, CloseEvent("close", code=1006), url=f"ws://{nasty}/"))
    drawn = str(trace)
    assert all(each.isprintable() for each in drawn.splitlines())
    picture = trace.svg(title=nasty)
    assert "<script" not in picture
    texts = [
        element.text or "" for element in ElementTree.fromstring(picture).iter() if not element.tag.endswith("desc")
    ]
    assert all(line.isprintable() for text in texts for line in text.split("\n"))


def test_trace_does_not_load_what_tests_need() -> None:
    """Neither `trio.testing` nor the tools of `trio_closeevents.testing`."""
    program = "import sys, trio_closeevents.trace; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert not {"trio.testing", "trio_closeevents.testing", "pytest"} & set(loaded.stdout.split())


# -- the pages -------------------------------------------------------------------------------------------------------


def test_diagrams_of_the_pages_are_up_to_date() -> None:
    """They are what `docs/diagrams/make.py` makes: run it when this fails."""
    made = runpy.run_path(str(DIAGRAMS / "make.py"))["make"]()
    assert {name: (DIAGRAMS / name).read_text(encoding="utf-8") for name in made} == made
    assert {path.name for path in DIAGRAMS.iterdir() if path.is_file()} == {
        *made,
        "ends.py",
        "make.py",
        "states.py",
        "states.svg",
    }
