"""`dom.WebSocket` while it lives: what it does when, and what a page can see of it."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_closeevents import ReadyState, dom, open_server
from trio_closeevents import WebSocket as Core
from trio_closeevents.testing import BINARY, TEXT, ScriptedPeer

from .stage import Stage


def test_fresh_socket_is_as_in_the_standard() -> None:
    """Connecting, with nothing sent, chosen or set; the constants are on class and instance."""
    socket = dom.WebSocket("ws://h")

    assert (socket.readyState, socket.bufferedAmount, socket.protocol, socket.extensions) == (0, 0, "", "")
    assert (socket.binaryType, socket.onopen, socket.onmessage, socket.onerror, socket.onclose) == ("blob", *[None] * 4)
    for place in (dom.WebSocket, socket):
        assert (place.CONNECTING, place.OPEN, place.CLOSING, place.CLOSED) == (0, 1, 2, 3)
    assert repr(socket) == "<dom.WebSocket ws://h CONNECTING>"


def test_attributes_have_python_names_too() -> None:
    """One mechanism: the same property or method under two names."""
    for camel, snake in {
        "readyState": "ready_state",
        "bufferedAmount": "buffered_amount",
        "binaryType": "binary_type",
        "addEventListener": "add_event_listener",
        "removeEventListener": "remove_event_listener",
        "dispatchEvent": "dispatch_event",
    }.items():
        assert getattr(dom.WebSocket, camel) == getattr(dom.WebSocket, snake)


def test_read_only_attributes_cannot_be_written() -> None:
    """Where a page's script in sloppy mode would not notice, this is an AttributeError."""
    socket: Any = dom.WebSocket("ws://h")
    for name in ("readyState", "bufferedAmount", "url", "protocol", "extensions", "opened"):
        with pytest.raises(AttributeError):
            setattr(socket, name, 1) if name != "opened" else socket.opened


def test_binary_type_ignores_what_it_does_not_know() -> None:
    """The old value stays."""
    socket = dom.WebSocket("ws://h")
    socket.binaryType = "arraybuffer"
    socket.binary_type = "bytes"

    assert socket.binaryType == "arraybuffer"


@pytest.mark.parametrize("name", ["onopen", "onmessage", "onerror", "onclose"])
def test_handler_attribute_keeps_its_place(name: str) -> None:
    """It gets its place when it is set first, and keeps it when replaced; what cannot be called is `None`."""
    calls: list[str] = []
    socket: Any = dom.WebSocket("ws://h")
    kind = name.removeprefix("on")
    setattr(socket, name, lambda _: calls.append("first"))
    socket.addEventListener(kind, lambda _: calls.append("listener"))
    second = lambda _: calls.append("second")  # noqa: E731
    setattr(socket, name, second)
    assert getattr(socket, name) is second
    socket.dispatchEvent(dom.Event(kind))
    setattr(socket, name, 3)
    assert getattr(socket, name) is None
    setattr(socket, name, None)
    socket.dispatchEvent(dom.Event(kind))
    setattr(socket, name, second)
    socket.dispatchEvent(dom.Event(kind))

    assert calls == ["second", "listener", "listener", "listener", "second"]


def test_handler_attribute_that_returns_false_cancels() -> None:
    """As HTML has it."""
    socket = dom.WebSocket("ws://h")
    socket.onopen = lambda _: False

    assert not socket.dispatchEvent(dom.Event("open", {"cancelable": True}))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"nursery": 3}, TypeError, "nursery must be a trio.Nursery, not int: 3"),
        ({"nonsense": 3}, TypeError, "nonsense"),
        ({"subprotocols": ["a"]}, TypeError, "no option 'subprotocols' here: they are the argument protocols"),
        ({"max_redirects": 1}, TypeError, "redirects are never followed"),
        ({"cancel_on_close": True}, TypeError, "no option 'cancel_on_close'"),
        ({"close_timeout": -1}, ValueError, "close_timeout"),
        ({"headers": {"Host": "a\n"}}, ValueError, "Host|host"),
    ],
)
def test_wrong_option_is_refused_at_once(options: Any, error: type[Exception], words: str) -> None:
    """Nothing touches the network before that."""
    with pytest.raises(error, match=words):
        dom.WebSocket("ws://h", **options)


async def test_messages_go_both_ways(autojump_clock: MockClock) -> None:
    """Text as text, bytes as bytes, of the type that was asked for; buffers are copied; the origin is told."""
    stage = Stage()
    origins: list[str] = []
    stage.socket.onmessage = lambda event: origins.append(event.origin)
    async with stage.socket as socket:
        await stage.open()
        buffer = bytearray(b"abc")
        socket.send("é\ud800")
        socket.send(buffer)
        socket.send(memoryview(b"xyz"))
        buffer[:] = b"..."
        assert socket.bufferedAmount == 5 + 3 + 3
        frames = [await stage.peer.receive() for _ in range(3)]
        assert socket.bufferedAmount == 0
        assert [(each.opcode, each.payload) for each in frames if each] == [
            (TEXT, "é\ufffd".encode()),
            (BINARY, b"abc"),
            (BINARY, b"xyz"),
        ]
        await stage.peer.send(stage.peer.frame(TEXT, b"one"), stage.peer.frame(BINARY, b"two"))
        await wait_all_tasks_blocked()
        socket.binaryType = "arraybuffer"
        await stage.peer.send(stage.peer.frame(BINARY, b"three"))
        await wait_all_tasks_blocked()

    assert stage.told[:4] == ["open", "one", b"two", bytearray(b"three")]
    assert [type(each) for each in stage.told[1:4]] == [str, bytes, bytearray]
    assert origins == ["ws://test"] * 3


@pytest.mark.parametrize("data", [None, 3, ["x"], object()], ids=lambda value: type(value).__name__)
def test_send_refuses_what_is_no_message(data: Any) -> None:
    """A TypeError, before the state is looked at."""
    with pytest.raises(TypeError, match="data must be a str or bytes-like"):
        dom.WebSocket("ws://h").send(data)


def test_send_before_open_is_an_invalid_state() -> None:
    """Nothing is counted."""
    socket = dom.WebSocket("ws://h")
    with pytest.raises(dom.InvalidStateError, match="not open yet"):
        socket.send("early")
    assert socket.bufferedAmount == 0


async def test_send_after_close_is_dropped_and_counted(autojump_clock: MockClock) -> None:
    """`bufferedAmount` grows, in CLOSING and CLOSED; what was sent before goes out before the Close."""
    stage = Stage()
    async with stage.socket as socket:
        await stage.open()
        socket.send("before")
        socket.close(4001, "mine")
        assert socket.readyState == socket.CLOSING
        socket.send("late")
        socket.close(4002, "second")
        await stage.peer.be_polite()
        await stage.closed.wait()
        assert (socket.readyState, socket.bufferedAmount) == (3, 4)
        socket.send(b"later")
        assert socket.bufferedAmount == 9

    assert stage.peer.record == ["Text b'before'", "Close 4001 'mine'", "FIN"]
    assert stage.told == ["open", (4001, "mine", True)]


async def test_close_without_arguments_sends_an_empty_close(autojump_clock: MockClock) -> None:
    """And the event says 1005, as the standard has it; `value` is the core's event."""
    stage = Stage()
    values: list[Any] = []
    stage.socket.onclose = lambda event: values.append(event.value)
    async with stage.socket as socket:
        await stage.open()
        socket.close()
        await stage.peer.be_polite()
        await stage.closed.wait()

    assert stage.peer.close is not None
    assert stage.peer.close.payload == b""
    assert stage.told == ["open", (1005, "", True)]
    assert (values[0].code, values[0].cause) == (1005, "closed")


@pytest.mark.parametrize("state", [0, 1, 2, 3])
async def test_wrong_close_raises_in_every_state(state: int, autojump_clock: MockClock) -> None:
    """It changes nothing and sends nothing."""
    stage = Stage()
    socket = stage.socket

    def check() -> None:
        assert socket.readyState == state
        with pytest.raises(dom.InvalidAccessError):
            socket.close(999)
        with pytest.raises(dom.SyntaxError):
            socket.close(1000, "a" * 124)
        assert socket.readyState == state

    if state == 0:
        check()
    async with socket:
        await stage.open()
        if state == 1:
            check()
        socket.close(3000)
        if state == 2:
            check()
        await stage.peer.be_polite()
        await stage.closed.wait()
    if state == 3:
        check()
    assert stage.told == ["open", (3000, "", True)]


@pytest.mark.parametrize("entered", [False, True])
async def test_close_while_connecting_fails_the_connection(entered: bool, autojump_clock: MockClock) -> None:
    """CLOSING at once, `error` and `close` later, never `open`; the arguments are lost."""
    stage = Stage()
    if not entered:
        stage.socket.close(4000, "x")
    async with stage.socket as socket:
        if entered:
            await wait_all_tasks_blocked()
            socket.close(4000, "x")
        assert socket.readyState == socket.CLOSING
        assert stage.told == []
        await stage.closed.wait()
        assert socket.readyState == socket.CLOSED
        socket.close()

    assert stage.told == ["error", (1006, "", False)]
    assert b"4000" not in await stage.peer.receive_bytes()


async def test_close_that_meets_the_answer_fails_the_connection(autojump_clock: MockClock) -> None:
    """The handshake was just done, and the page has closed before it knew: no `open`, no Close frame."""
    stage = Stage()
    async with stage.socket as socket:
        await wait_all_tasks_blocked()
        await stage.peer.open()
        socket.close()
        await stage.closed.wait()

    assert stage.told == ["error", (1006, "", False)]
    await stage.peer.drain()
    assert stage.peer.frames == []


@pytest.mark.parametrize("chosen", ["", "Sec-WebSocket-Protocol: c\r\n", "Sec-WebSocket-Protocol: A\r\n"])
async def test_protocols_that_the_server_does_not_choose(chosen: str, autojump_clock: MockClock) -> None:
    """None, another, or in another case: that is a failure."""
    stage = Stage(["a", "b"])
    async with stage.socket:
        request = await stage.peer.read_head()
        await stage.peer.stream.send_all(stage.peer.upgrade(request, chosen))
        await stage.closed.wait()

    assert stage.told == ["error", (1006, "", False)]


async def test_protocol_that_the_server_chooses(autojump_clock: MockClock) -> None:
    """The page is told; extensions are as the server wrote them."""
    stage = Stage(["a", "b"])
    async with stage.socket as socket:
        request = await stage.peer.read_head()
        fields = "Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
        await stage.peer.stream.send_all(stage.peer.upgrade(request, fields))
        await stage.opened.wait()
        assert (socket.protocol, socket.extensions) == ("b", "permessage-deflate")
        assert b"Sec-WebSocket-Protocol: a, b\r\n" in request


@pytest.mark.parametrize("url", ["ws://127.0.0.1:0/", "ws://a%3Ab:c@localhost/"])
async def test_url_that_nobody_can_connect_to_fails_later(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is a URL: so the constructor takes it, and the log tells what a page is not told."""
    told: list[str] = []
    closed = trio.Event()
    socket = dom.WebSocket(url)
    socket.onerror = lambda event: told.append(event.type)
    socket.onclose = lambda _: closed.set()
    async with socket:
        await closed.wait()

    assert told == ["error"]
    assert "no connection to" in caplog.text


async def test_peer_that_is_silent_is_no_error(autojump_clock: MockClock) -> None:
    """After `close_timeout` the event says 1006, and there is no `error`."""
    stage = Stage(close_timeout=5)
    async with stage.socket as socket:
        await stage.open()
        start = trio.current_time()
        socket.close(1000)
        await stage.closed.wait()
        assert trio.current_time() - start == pytest.approx(5)

    assert stage.told == ["open", (1006, "", False)]


@pytest.mark.parametrize("garbage", [b"\x8f\x00", b""], ids=["garbage", "FIN"])
async def test_peer_that_answers_wrongly_is_an_error(garbage: bytes, autojump_clock: MockClock) -> None:
    """Broken framing in place of an answer, or none before FIN: `error`."""
    stage = Stage(close_timeout=5)
    async with stage.socket as socket:
        await stage.open()
        socket.close(1000)
        await stage.peer.receive_close()
        if garbage:
            await stage.peer.send(garbage)
        else:
            await stage.peer.fin()
        await stage.closed.wait()

    assert stage.told == ["open", "error", (1006, "", False)]


async def test_peers_close_is_seen_behind_its_messages(autojump_clock: MockClock) -> None:
    """In the last message's handler the socket is open still; with our own Close stuck, it is closing after that."""
    stage = Stage(close_timeout=5)
    states: list[int] = []
    stage.socket.onmessage = lambda _: states.append(stage.socket.readyState)
    async with stage.socket as socket:
        await stage.open()
        await stage.peer.send(
            stage.peer.frame(TEXT, b"1"), stage.peer.frame(TEXT, b"2"), stage.peer.close_frame(1001, "away")
        )
        await wait_all_tasks_blocked()
        assert socket.readyState == socket.CLOSING
        socket.send("late")
        assert socket.bufferedAmount == 4
        await stage.closed.wait()

    assert states == [1, 1]
    assert stage.told == ["open", "1", "2", (1001, "away", True)]


async def test_stuck_close_frame_leaves_the_socket_closing() -> None:
    """The peer's Close is here, and ours cannot be written: CLOSING, and what never left is counted to the end."""
    told: list[Any] = []
    closed = trio.Event()

    def tell(event: dom.CloseEvent) -> None:
        told.append((event.code, event.wasClean))
        closed.set()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        port = listener.socket.getsockname()[1]
        socket = dom.WebSocket(f"ws://127.0.0.1:{port}/", nursery=nursery, close_timeout=0.5)
        socket.onopen = lambda _: socket.send(bytes(20_000_000))
        socket.onclose = tell
        peer = ScriptedPeer(await listener.accept(), client=False)
        async with peer.stream:
            await peer.open()
            with trio.fail_after(5):
                while socket.bufferedAmount in (0, 20_000_000):
                    await trio.sleep(0.01)
                await peer.send(peer.close_frame(1000))
                while socket.readyState is not ReadyState.CLOSING:
                    await trio.sleep(0.01)
                assert not closed.is_set()
                await closed.wait()

    assert told == [(1000, False)]
    assert 0 < socket.bufferedAmount < 20_000_000


# -- handlers --------------------------------------------------------------------------------------------------------


async def test_async_handlers_run_as_tasks(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """In the order of the events, not awaited; what they raise is logged; leaving the block cancels them."""
    stage = Stage()
    begun: list[str] = []
    ended: list[str] = []

    async def handle(event: dom.MessageEvent) -> None:
        begun.append(event.data)
        if event.data == "bad":
            raise ValueError("oh")
        try:
            await trio.sleep_forever()
        finally:
            ended.append(event.data)

    stage.socket.onmessage = handle
    async with stage.socket:
        await stage.open()
        await stage.peer.send(*(stage.peer.frame(TEXT, each) for each in (b"1", b"bad", b"2")))
        await wait_all_tasks_blocked()
        assert sorted(begun) == ["1", "2", "bad"]
        assert ended == []
        assert "ValueError: oh" in caplog.text

    assert sorted(ended) == ["1", "2"]


async def test_async_handler_of_the_end_runs_up_to_its_first_wait(autojump_clock: MockClock) -> None:
    """If leaving the block is what ends the connection, its handlers are cancelled where they wait."""
    stage = Stage()
    told: list[str] = []

    async def handle(event: dom.CloseEvent) -> None:
        told.append("begun")
        await trio.sleep(1)
        told.append("ended")

    stage.socket.onclose = handle
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.peer.open)
        async with stage.socket:
            await stage.opened.wait()
            nursery.start_soon(stage.peer.be_polite)
    assert told == ["begun"]


async def test_leaving_the_block_cancels_handlers_of_a_connection_that_is_over(autojump_clock: MockClock) -> None:
    """However it ended: no handler outlives the block."""
    stage = Stage()
    ended: list[str] = []

    async def handle(event: dom.CloseEvent) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(event.type)

    stage.socket.onclose = handle
    async with stage.socket:
        await stage.open()
        await stage.peer.send(stage.peer.close_frame(1000))
        await stage.peer.be_polite()
        await stage.closed.wait()
        await wait_all_tasks_blocked()
        assert ended == []
    assert ended == ["close"]


async def test_async_handler_in_a_nursery_runs_to_its_end(autojump_clock: MockClock) -> None:
    """The nursery waits for it, as for any task."""
    told: list[str] = []

    async def handle(event: dom.CloseEvent) -> None:
        await trio.sleep(1)
        told.append("ended")

    async with trio.open_nursery() as nursery:
        stage = Stage(nursery=nursery)
        stage.socket.onclose = handle
        await stage.open()
        stage.socket.close(1000)
        await stage.peer.be_polite()
    assert told == ["ended"]


async def test_close_in_a_handler_drops_what_follows(autojump_clock: MockClock) -> None:
    """Two messages came together; the first one's handler closes, so the second is not told."""
    stage = Stage()
    stage.socket.onmessage = lambda _: stage.socket.close(3000)
    async with stage.socket:
        await stage.open()
        await stage.peer.send(stage.peer.frame(TEXT, b"1"), stage.peer.frame(TEXT, b"2"))
        await stage.peer.be_polite()
        await stage.closed.wait()

    assert stage.told == ["open", "1", (3000, "", True)]


async def test_cancelled_block_cancels_its_handlers(autojump_clock: MockClock) -> None:
    """They are tasks in the block, so the cancellation is theirs too; a handler that never returns holds nobody up."""
    stage = Stage(cancel_timeout=0)
    ended: list[str] = []

    async def handle(event: dom.Event) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(event.type)

    stage.socket.onopen = handle
    with trio.move_on_after(1) as scope:
        async with stage.socket:
            await stage.open()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ended == ["open"]


async def test_handlers_that_raise_do_not_stop_the_others(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is logged, with its traceback, on the logger of this package."""
    stage = Stage()
    for kind in ("open", "message", "close"):
        stage.socket.addEventListener(kind, lambda _: 1 / 0)
    async with stage.socket as socket:
        await stage.open()
        await stage.peer.send(stage.peer.frame(TEXT, b"x"))
        await wait_all_tasks_blocked()
        socket.close()
        await stage.peer.be_polite()
        await stage.closed.wait()

    assert stage.told == ["open", "x", (1005, "", True)]
    assert [each.levelno for each in caplog.records if each.name == "trio_closeevents.dom"] == [logging.ERROR] * 3


@pytest.mark.parametrize("kind", ["open", "message", "close"])
@pytest.mark.parametrize("is_async", [False, True])
async def test_interrupt_in_a_handler_leaves_the_block(kind: str, is_async: bool, autojump_clock: MockClock) -> None:
    """Unwrapped, in place of the block's cancellation; the peer is told 1001 if it is still there."""
    stage = Stage(cancel_timeout=1)
    interrupt = KeyboardInterrupt()

    def handle(event: dom.Event) -> None:
        raise interrupt

    async def handle_later(event: dom.Event) -> None:
        await trio.lowlevel.checkpoint()
        raise interrupt

    async def be_peer() -> None:
        await stage.peer.open()
        await stage.peer.send(stage.peer.frame(TEXT, b"x"))
        await stage.peer.be_polite()

    stage.socket.addEventListener(kind, handle_later if is_async else handle)
    async with trio.open_nursery() as nursery:
        with pytest.raises(KeyboardInterrupt) as caught:
            async with stage.socket as socket:
                nursery.start_soon(be_peer)
                await stage.opened.wait()
                if kind == "close":
                    socket.close(1000)
                await trio.sleep_forever()
    assert caught.value is interrupt
    assert stage.closed.is_set()
    assert stage.peer.close is not None
    assert stage.peer.close.code == (1000 if kind == "close" else 1001)


async def test_interrupt_and_an_exception_of_the_block_go_on_together(autojump_clock: MockClock) -> None:
    """Neither is lost."""
    stage = Stage(cancel_timeout=1)

    async def handle(event: dom.Event) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise SystemExit

    stage.socket.onopen = handle
    with pytest.raises(BaseExceptionGroup) as caught:
        async with stage.socket:
            await stage.open()
            await wait_all_tasks_blocked()
            raise ValueError("of the block")
    assert [type(each) for each in caught.value.exceptions] == [ValueError, SystemExit]


# -- the block -------------------------------------------------------------------------------------------------------


async def test_block_can_be_entered_once(autojump_clock: MockClock) -> None:
    """Nor can a socket that was given a nursery."""
    socket = dom.WebSocket("ws://127.0.0.1:1/")
    async with socket:
        pass
    with pytest.raises(RuntimeError, match="was opened already"):
        async with socket:
            pass
    async with trio.open_nursery() as nursery:
        owned = dom.WebSocket("ws://127.0.0.1:1/", nursery=nursery)
        with pytest.raises(RuntimeError, match="was opened already"):
            async with owned:
                pass


@pytest.mark.parametrize(("error", "code"), [(None, 1000), (ValueError("x"), 1011), (KeyboardInterrupt(), 1001)])
async def test_leaving_the_block_sends_what_the_contract_says(
    error: BaseException | None, code: int, autojump_clock: MockClock
) -> None:
    """The exception goes on: the same object, not wrapped, with no new context; messages go out before the Close."""
    stage = Stage()
    caught: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            async with stage.socket as socket:
                await stage.open()
                nursery.start_soon(stage.peer.be_polite)
                socket.send("last words")
                if error is not None:
                    raise error
        except BaseException as raised:
            caught = raised

    assert caught is error
    assert caught is None or caught.__context__ is None
    assert stage.peer.record[:2] == ["Text b'last words'", f"Close {code}"]
    assert stage.told == ["open", (code, "", True)]


async def test_cancelled_block_sends_1001(autojump_clock: MockClock) -> None:
    """And stays cancelled; a peer that does not answer has `cancel_timeout`."""
    stage = Stage(cancel_timeout=2)
    start = trio.current_time()
    with trio.move_on_after(1) as scope:
        async with stage.socket:
            await stage.open()
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(3)
    await stage.peer.drain()
    assert stage.peer.record[0] == "Close 1001"
    assert stage.told == ["open", (1006, "", False)]


async def test_cancellation_shortens_the_ending(autojump_clock: MockClock) -> None:
    """A block that had returned is cancelled while its peer is silent: `cancel_timeout` from then."""
    stage = Stage(close_timeout=60, cancel_timeout=2)
    start = 0.0
    with trio.move_on_after(5) as scope:
        async with stage.socket:
            await stage.open()
            start = trio.current_time()

    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(7, abs=0.01)
    assert stage.told == ["open", (1006, "", False)]


async def test_peer_that_reads_nothing_is_left_in_time() -> None:
    """What cannot be sent within the limit is not; the connection is aborted, and that is no `error`."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    told: list[Any] = []
    async with listener:
        socket = dom.WebSocket(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/", close_timeout=0.3)
        opened = trio.Event()
        socket.onopen = lambda _: opened.set()
        socket.onerror = lambda event: told.append(event.type)
        socket.onclose = lambda event: told.append(event.code)
        with trio.fail_after(5):
            async with socket:
                peer = ScriptedPeer(await listener.accept(), client=False)
                await peer.open()
                await opened.wait()
                for _ in range(3):
                    socket.send(bytes(8_000_000))
        await peer.aclose()

    assert told == [1006]
    assert socket.bufferedAmount > 0


async def test_leaving_while_connecting_stops_that(autojump_clock: MockClock) -> None:
    """At once; the page's events say so."""
    stage = Stage()
    start = trio.current_time()
    async with stage.socket:
        await wait_all_tasks_blocked()

    assert trio.current_time() == start
    assert stage.told == ["error", (1006, "", False)]


async def test_nursery_that_is_cancelled_sends_1001(autojump_clock: MockClock) -> None:
    """The socket lives in it from the constructor on, and goes with it."""
    stages: list[Stage] = []
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            stages.append(Stage(nursery=nursery))
            await stages[0].open()
            await trio.sleep_forever()

    (stage,) = stages
    await stage.peer.drain()
    assert stage.peer.record[0] == "Close 1001"
    assert stage.told == ["open", (1006, "", False)]


async def test_socket_in_a_nursery_lives_as_long_as_its_connection() -> None:
    """The nursery waits for it. Handlers may be set after the constructor, before anything happens."""
    told: list[Any] = []

    async def greet(ws: Core) -> None:
        await ws.send("hello")
        await ws.aclose(4000, "that is all")

    async with open_server(greet, "127.0.0.1", 0) as server:
        async with trio.open_nursery() as nursery:
            socket = dom.WebSocket(f"http://127.0.0.1:{server.port}/", nursery=nursery)
            socket.onmessage = lambda event: told.append(event.data)
            socket.onclose = lambda event: told.append((event.code, event.reason))

    assert told == ["hello", (4000, "that is all")]


async def test_async_handler_that_comes_too_late_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After the block there is nowhere to run it; within it, the connection may be over already."""
    stage = Stage()
    told: list[str] = []

    async def handle(event: dom.Event) -> None:
        told.append(event.type)

    stage.socket.addEventListener("mine", handle)
    async with stage.socket as socket:
        await stage.open()
        socket.close()
        await stage.peer.be_polite()
        await stage.closed.wait()
        await wait_all_tasks_blocked()
        socket.dispatchEvent(dom.Event("mine"))
        await wait_all_tasks_blocked()
    assert told == ["mine"]
    socket.dispatchEvent(dom.Event("mine"))
    assert "has none (any more)" in caplog.text


async def messages(stage: Stage) -> AsyncGenerator[str, None]:
    """Hold the block of a socket in a generator."""
    async with stage.socket:
        await stage.open()
        yield "open"


async def test_generator_that_is_closed_ends_at_once(autojump_clock: MockClock) -> None:
    """What the stream takes at once is sent, and nobody waits for a silent peer."""
    stage = Stage()
    async with aclosing(messages(stage)) as generator:
        assert await anext(generator) == "open"
        start = trio.current_time()

    assert trio.current_time() - start < 0.1
    assert stage.told[-1] == (1006, "", False)


async def test_block_that_somebody_else_ends_is_abandoned(autojump_clock: MockClock) -> None:
    """As the garbage collector does it, in a task of trio's: the connection is dropped, with a warning."""
    stage = Stage()
    failed: list[str] = []

    async def collect() -> None:
        with pytest.warns(ResourceWarning, match="aclosing"):
            await stage.socket.__aexit__(GeneratorExit, GeneratorExit(), None)

    async with stage.socket:
        await stage.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
        await stage.closed.wait()
        failed += [each for each in stage.told if each == "error"]

    assert stage.told == ["open", "error", (1006, "", False)]
    assert failed == ["error"]


def test_block_that_outlives_trio_is_abandoned() -> None:
    """Nothing is raised but the warning."""

    async def main() -> dom.WebSocket:
        stage = Stage()
        async with stage.socket as socket:
            pass
        return socket

    finalisation = trio.run(main).__aexit__(GeneratorExit, GeneratorExit(), None)
    with pytest.warns(ResourceWarning, match="aclosing"), pytest.raises(StopIteration):
        finalisation.__await__().__next__()


def test_signal_that_interrupts_the_ending_drops_the_connection() -> None:
    """Ctrl-C while a silent peer is waited for: the connection is aborted, and `KeyboardInterrupt` goes on."""
    told: list[Any] = []

    async def main() -> None:
        stage = Stage(close_timeout=30)
        stage.socket.onclose = lambda event: told.append((event.code, event.value.cause))

        @trio.lowlevel.enable_ki_protection  # so that trio delivers it to the main task, which waits
        async def interrupt() -> None:
            await wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGINT)

        async with trio.open_nursery() as nursery:
            async with stage.socket:
                await stage.open()
                nursery.start_soon(interrupt)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it as ignored
    try:
        with pytest.raises(BaseExceptionGroup) as caught:
            trio.run(main)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [type(each) for each in caught.value.exceptions] == [KeyboardInterrupt]
    assert told == [(1006, "exit")]


async def test_cancelled_group_loses_only_what_was_ours(autojump_clock: MockClock) -> None:
    """A handler's interrupt cancels the block; an exception group of the block keeps its other members."""
    stage = Stage(cancel_timeout=1)

    async def handle(event: dom.Event) -> None:
        await trio.sleep(1)
        raise SystemExit

    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("late")

    stage.socket.onopen = handle
    with pytest.raises(BaseExceptionGroup) as caught:
        async with stage.socket:
            await stage.open()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(trio.sleep_forever)
    first, second = caught.value.exceptions
    assert isinstance(first, ExceptionGroup)
    assert [type(each) for each in first.exceptions] == [ValueError]
    assert isinstance(second, SystemExit)
