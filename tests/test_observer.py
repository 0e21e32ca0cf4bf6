"""`Observer`: what it is told, in which order, and that it cannot do harm."""

from __future__ import annotations

import logging
import pickle
import ssl
from typing import Any, Final

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from trio_closeevents import (
    CloseEvent,
    CloseFrame,
    HandshakeError,
    HandshakeRejected,
    Observer,
    Response,
    WebSocket,
    broadcast,
    connect,
    open_server,
)
from trio_closeevents.testing import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    ScriptedPeer,
    open_scripted_pair,
    open_websocket_pair,
)

METHODS: Final = ("open", "message", "ping", "pong", "close_frame", "close")


class Notes(Observer):
    """Writes everything down, as one line each; `>` is what was sent."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.seen: set[WebSocket] = set()

    def _note(self, websocket: WebSocket, *words: object) -> None:
        self.seen.add(websocket)
        self.lines.append(" ".join(map(str, words)))

    def open(self, websocket: WebSocket) -> None:
        self._note(websocket, "open", websocket.request.target)

    def unopened(self, error: HandshakeError) -> None:
        self.lines.append(f"unopened {error.close_event.cause}")

    def message(self, websocket: WebSocket, data: str | bytes, *, sent: bool, last: bool) -> None:
        self._note(websocket, "<>"[sent], repr(data), *([] if last else ["..."]))

    def ping(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
        self._note(websocket, "<>"[sent], "ping", payload.decode("latin-1"))

    def pong(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
        self._note(websocket, "<>"[sent], "pong", payload.decode("latin-1"))

    def close_frame(self, websocket: WebSocket, frame: CloseFrame, *, sent: bool) -> None:
        self._note(websocket, "<>"[sent], frame)

    def close(self, websocket: WebSocket, event: CloseEvent) -> None:
        self._note(websocket, "close", event.code)


async def test_observer_is_told_of_all_that_travels_in_order(autojump_clock: MockClock) -> None:
    """Opening, messages of both directions, Pings and Pongs, both Close frames, the end."""
    notes = Notes()
    async with open_scripted_pair(observer=notes) as (websocket, peer):
        await websocket.send("hello")
        await websocket.send(bytearray(b"data"))
        await peer.send(peer.frame(TEXT, b"one"))
        await peer.send(peer.frame(PING, b"there?"))
        await peer.send(peer.frame(TEXT, b"two"))
        assert await websocket.receive() == "one"
        assert await websocket.receive() == "two"
        await peer.send(peer.close_frame(4001, "why"))
        await websocket.wait_closed()
    assert notes.lines == [
        "open /",
        "> 'hello'",
        "> b'data'",
        "< 'one'",
        "< ping there?",
        "> pong there?",
        "< 'two'",
        f"< {CloseFrame(4001, 'why')}",
        f"> {CloseFrame(4001, 'why')}",
        "close 4001",
    ]
    assert notes.seen == {websocket}


async def test_observer_is_told_of_the_opening_before_all_else() -> None:
    """Also when the block sends, or aborts, before it lets any other task run."""
    notes = Notes()

    async def send(websocket: WebSocket) -> None:
        await websocket.send("at once")

    async def abort(websocket: WebSocket) -> None:
        websocket.abort()

    for act in (send, abort):
        async with open_server(wait, "127.0.0.1", 0) as server:
            async with connect(f"ws://127.0.0.1:{server.port}/{act.__name__}", observer=notes) as websocket:
                await act(websocket)
    assert notes.lines[:2] == ["open /send", "> 'at once'"]
    assert notes.lines[-2:] == ["open /abort", "close 1006"]


async def test_observer_of_messages_in_pieces_is_told_of_each(autojump_clock: MockClock) -> None:
    """Of those that travel in fragments, and of those that the program takes piece by piece; whole ones are whole."""
    notes = Notes()
    async with open_scripted_pair(observer=notes) as (websocket, peer):
        await websocket.send(["a", "b"])
        await peer.send(peer.frame(TEXT, b"wh", fin=False))
        await peer.send(peer.frame(CONTINUATION, b"ole"))
        assert await websocket.receive() == "whole"
        await peer.send(peer.frame(BINARY, b"one", fin=False))
        async with websocket.receive_stream() as pieces:
            await peer.send(peer.frame(CONTINUATION, b"two"))
            assert [piece async for piece in pieces] == [b"one", b"two"]
        websocket.abort()
    assert notes.lines == [
        "open /",
        "> 'a' ...",
        "> 'b' ...",
        "> ''",
        "< 'whole'",
        "< b'one' ...",
        "< b'two'",
        "close 1006",
    ]


async def test_observer_sees_pings_of_both_kinds_and_their_pongs(autojump_clock: MockClock) -> None:
    """Those of `ping`, of the keepalive, and a Pong that was not asked for."""
    notes = Notes()
    async with open_scripted_pair(ScriptedPeer.be_polite, observer=notes, ping_interval=5) as (websocket, _):
        await websocket.ping(b"here")
        await websocket.pong(b"alive")
        await trio.sleep(6)
        websocket.abort()
    kinds = [" ".join(line.split()[:2]) for line in notes.lines[1:-1]]
    assert kinds == ["> ping", "< pong", "> pong", "> ping", "< pong"]


async def test_observer_of_both_sides_sees_each_message_twice(autojump_clock: MockClock) -> None:
    """One observer may watch several connections; a Close is told to both, in both directions."""
    notes = Notes()
    async with open_websocket_pair(observer=notes) as (client, server):
        await client.send("hi")
        assert await server.receive() == "hi"
    assert {client, server} == notes.seen
    assert sorted(notes.lines) == sorted(
        ["open /"] * 2 + ["> 'hi'", "< 'hi'"] + [f"{way} {CloseFrame(1000, '')}" for way in "<><>"] + ["close 1000"] * 2
    )


async def test_observer_sees_what_broadcast_sends() -> None:
    """Though its frame is made once for all."""
    notes = Notes()
    async with open_websocket_pair(observer=notes) as (client, server):
        async with open_websocket_pair(observer=notes) as (other_client, other_server):
            await broadcast([server, other_server], "to all")
            assert await client.receive() == await other_client.receive() == "to all"
    assert notes.lines.count("> 'to all'") == 2


async def test_observer_of_a_failure_is_told_of_our_close_and_of_nothing_illegal() -> None:
    """The frame that breaks the rules is none that travels; our Close 1002 is."""
    notes = Notes()
    async with open_scripted_pair(observer=notes) as (websocket, peer):
        await peer.send(peer.frame(TEXT, b"fine"))
        await peer.send(peer.frame(0x3, b"reserved"))
        assert await websocket.receive() == "fine"
        event = await websocket.wait_closed()
    assert event.sent is not None
    assert notes.lines == ["open /", "< 'fine'", f"> {event.sent}", "close 1006"]


async def test_observer_is_not_told_of_a_close_that_did_not_go_out(autojump_clock: MockClock) -> None:
    """Only the end: a Close frame that waits behind what the peer does not read was not sent."""
    notes = Notes()
    streams = lockstep_stream_pair()
    async with open_websocket_pair(streams=streams, observer=notes, max_queue=1) as (client, _):
        with trio.move_on_after(1):
            for _ in range(4):
                await client.send(b"x" * 2**17)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            await wait_all_tasks_blocked()
            client.abort()
    assert not [line for line in notes.lines if line.startswith(f"> {CloseFrame(1000)}")]
    assert notes.lines[-1] == "close 1006"


# -- connections that never were -------------------------------------------------------------------------------------


async def test_observer_is_told_of_a_connection_that_never_opened() -> None:
    """On both sides, with the error that the program gets; there is no connection, and no more to tell."""
    ours, theirs = Notes(), Notes()

    def refuse(request: object) -> Response:
        return Response(403)

    async with open_server(wait, "127.0.0.1", 0, observer=theirs, process_request=refuse) as server:
        with pytest.raises(HandshakeRejected):
            async with connect(f"ws://127.0.0.1:{server.port}/", observer=ours):
                raise AssertionError("it opened")
        await wait_all_tasks_blocked()
    assert ours.lines == theirs.lines == ["unopened rejected"]


async def test_unopened_error_tells_what_was_asked_for() -> None:
    """The request, on both sides; the URL at the client alone, without a password. A server may have no request."""

    class Errors(Observer):
        def __init__(self) -> None:
            self.seen: list[HandshakeError] = []

        def unopened(self, error: HandshakeError) -> None:
            self.seen.append(error)

    def refuse(request: object) -> Response:
        return Response(403)

    client, server_side = Errors(), Errors()
    async with open_server(wait, "127.0.0.1", 0, observer=server_side, process_request=refuse) as server:
        with pytest.raises(HandshakeRejected) as caught:
            async with connect(f"ws://me:secret@127.0.0.1:{server.port}/some?where", observer=client):
                raise AssertionError("it opened")
        (await trio.open_tcp_stream("127.0.0.1", server.port)).socket.close()
        while len(server_side.seen) < 2:
            await trio.sleep(0.001)
    [ours], [theirs, nothing] = client.seen, server_side.seen
    assert ours is caught.value
    assert ours.url == f"ws://127.0.0.1:{server.port}/some?where"
    assert ours.request is not None
    assert theirs.request is not None
    assert ours.request.target == theirs.request.target == "/some?where"
    assert theirs.request.remote_address[0] == "127.0.0.1"
    assert (theirs.url, nothing.url, nothing.request) == (None, None, None)
    with pytest.raises(HandshakeError) as refused:
        async with connect("ws://127.0.0.1:1/", proxy=None):
            raise AssertionError("it opened")
    assert (refused.value.url, refused.value.request) == ("ws://127.0.0.1:1/", None)
    copy = pickle.loads(pickle.dumps(ours))
    assert (copy.url, copy.request, str(copy)) == (ours.url, ours.request, str(ours))


async def wait(websocket: WebSocket) -> None:
    await websocket.wait_closed()


async def test_connection_tells_its_side_and_its_url(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """Both sides have the same URL, as it travelled: with TLS `wss:`, the `Host` that was sent, no password."""
    seen: list[tuple[bool, str]] = []

    async def note(websocket: WebSocket) -> None:
        seen.append((websocket.is_client, websocket.url))

    for scheme, context in (("ws", None), ("wss", server_ssl_context)):
        async with open_server(note, "127.0.0.1", 0, ssl_context=context) as server:
            url = f"{scheme}://me:secret@localhost:{server.port}/chat?room=1"
            trusted = None if context is None else client_ssl_context
            place = ("127.0.0.1", server.port)
            async with connect(url, address=place, proxy=None, ssl_context=trusted) as websocket:
                await websocket.wait_closed()
                await note(websocket)
        plain = url.replace("me:secret@", "")
        assert seen == [(False, plain), (True, plain)]
        seen.clear()
    async with open_websocket_pair() as (client, server_side):
        assert (client.is_client, server_side.is_client) == (True, False)
        assert client.url == server_side.url == "ws://test/"


# -- observers that misbehave ----------------------------------------------------------------------------------------


class Raising(Observer):
    """Raises in one of its methods."""

    def __init__(self, method: str, error: BaseException) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        setattr(self, method, fail)


async def play(observer: Observer, seen: list[CloseEvent]) -> None:
    """Let each of the methods be called."""
    async with open_scripted_pair(observer=observer) as (websocket, peer):
        try:
            await peer.send(peer.frame(PING, b""))
            await peer.send(peer.frame(TEXT, b"hello"))
            assert await websocket.receive() == "hello"
            await websocket.send("there")
            await peer.send(peer.close_frame(1000))
            await websocket.wait_closed()
        finally:
            if websocket.close_event is not None:
                seen.append(websocket.close_event)


@pytest.mark.parametrize("method", METHODS)
async def test_observer_that_raises_is_logged_and_changes_nothing(
    method: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """The connection goes on to its ordinary end."""
    seen: list[CloseEvent] = []
    await play(Raising(method, ValueError("mine")), seen)
    assert [event.code for event in seen] == [1000]
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert records
    for record in records:
        assert "raised, watching <WebSocket client /" in record.getMessage()
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "mine"


async def test_observer_that_raises_for_a_connection_that_never_opened_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The HandshakeError goes on."""
    with pytest.raises(HandshakeError):
        async with connect("ws://127.0.0.1:1/", observer=Raising("unopened", ValueError("mine")), proxy=None):
            raise AssertionError("it opened")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("error", [KeyboardInterrupt("mine"), SystemExit(3)])
@pytest.mark.parametrize("method", METHODS)
async def test_observer_that_is_interrupted_closes_with_1001_and_leaves_the_block(
    method: str, error: BaseException, autojump_clock: MockClock
) -> None:
    """It goes out of the block, unwrapped, whichever task it was raised in; the peer is told, if there is time."""

    async def talk(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(PING), peer.frame(TEXT, b"hello"))
        await peer.be_polite()

    async def observe() -> None:
        async with open_scripted_pair(talk, observer=Raising(method, error)) as (websocket, _):
            try:
                await websocket.receive()
                await websocket.send("there")
                await websocket.aclose(1000)
            finally:
                event = websocket.close_event
                if event is not None and event.sent is not None:
                    sent.append(event.sent.code)

    sent: list[int | None] = []
    with pytest.raises(type(error)) as caught:
        await observe()
    assert caught.value is error
    assert all(code == (1000 if method in ("close_frame", "close") else 1001) for code in sent)


async def test_observer_of_a_server_that_is_interrupted_takes_the_server_down() -> None:
    """As Ctrl-C in a handler does: it leaves through the server, and others see 1001 (server-interrupt)."""
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught:
        async with open_server(wait, "127.0.0.1", 0, observer=Raising("message", error)) as server:
            async with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
                await websocket.send("hello")
                await websocket.wait_closed()
                await trio.sleep_forever()
    assert caught.value is error


# -- pings without answers -------------------------------------------------------------------------------------------


async def test_answer_pings_false_leaves_pongs_to_the_program() -> None:
    """No Pong goes out by itself; the program's own does."""
    pings: list[bytes] = []

    class Pings(Observer):
        def ping(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
            pings.append(payload)

    async with open_scripted_pair(answer_pings=False, observer=Pings()) as (websocket, peer):
        await peer.send(peer.frame(PING, b"one"))
        await peer.send(peer.frame(PING, b"two"))
        await peer.send(peer.frame(TEXT, b"behind"))
        assert await websocket.receive() == "behind"
        assert pings == [b"one", b"two"]
        await websocket.pong(pings[1])
        answer = await peer.receive()
        assert answer is not None
        assert (answer.opcode, answer.payload) == (PONG, b"two")
        websocket.abort()


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_answer_pings_must_be_a_bool(value: Any) -> None:
    """The error says which option, and what it got."""
    with pytest.raises(TypeError, match=f"answer_pings must be a bool, not {value!r}"):
        connect("ws://test/", answer_pings=value)


@pytest.mark.parametrize("value", [Observer, print, 1])
def test_observer_must_be_one(value: Any) -> None:
    """An instance, not the class and not a function."""
    with pytest.raises(TypeError, match="observer must be an Observer, not"):
        connect("ws://test/", observer=value)


async def test_observer_that_overrides_nothing_sees_nothing_and_does_nothing(autojump_clock: MockClock) -> None:
    """Every method may be left out."""
    seen: list[CloseEvent] = []
    await play(Observer(), seen)
    assert [event.code for event in seen] == [1000]
    with pytest.raises(HandshakeError):
        async with connect("ws://127.0.0.1:1/", observer=Observer(), proxy=None):
            raise AssertionError("it opened")
