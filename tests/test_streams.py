"""Any `trio.abc.Stream` will do, also one that cannot half-close, that raises what it likes, or that never ends."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from trio_closeevents import (
    CloseCause,
    ConnectionBroken,
    HandshakeError,
    HandshakeRejected,
    Response,
    WebSocket,
    accept,
    connect,
)
from trio_closeevents._writer import HIGH_WATER
from trio_closeevents.testing import PING, TEXT, ScriptedPeer


class PlainStream(trio.abc.Stream):
    """A stream that cannot shut down one direction only; hooks may spoil what it does."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self.before: dict[str, Callable[[], object]] = {}

    def _hook(self, name: str) -> None:
        if name in self.before:
            self.before[name]()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._hook("send_all")
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._hook("receive_some")
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        try:
            await self.inner.aclose()
        finally:
            self._hook("aclose")


class HalfCloseableStream(PlainStream, trio.abc.HalfCloseableStream):
    async def send_eof(self) -> None:
        self._hook("send_eof")
        await self.inner.send_eof()  # type: ignore[attr-defined]


def fail() -> None:
    raise ZeroDivisionError("a stream's own bug")


@asynccontextmanager
async def opened(
    make: Callable[[trio.abc.Stream], PlainStream] = PlainStream, *, client: bool = True, **options: Any
) -> AsyncGenerator[tuple[WebSocket, ScriptedPeer, PlainStream], None]:
    """Open a connection over a stream of that kind, to a raw peer that has done its opening handshake."""
    ours, theirs = trio.testing.memory_stream_pair()
    stream = make(ours)
    peer = ScriptedPeer(theirs, client=not client)
    block = connect("ws://localhost/", stream=stream, **options) if client else accept(stream, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open)
        async with block as ws:
            yield ws, peer, stream


async def test_stream_without_half_close_ends_in_order(autojump_clock: trio.testing.MockClock) -> None:
    """Where nothing can be half-closed, the transport is closed right after both Close frames."""
    async with opened(client=False) as (ws, peer, _):
        await peer.send(peer.close_frame(4000))
        await ws.wait_closed()
        await peer.drain()
    assert peer.record == ["Close 4000", "FIN"]
    assert ws.close_event is not None
    assert ws.close_event.was_clean


@pytest.mark.parametrize("waits", [True, False], ids=["in-receive", "elsewhere"])
async def test_stream_that_raises_on_reading_is_an_internal_error(
    autojump_clock: trio.testing.MockClock, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What a stream raises that no stream should is logged, and fails the connection with 1011."""
    async with opened() as (ws, peer, stream):
        await trio.testing.wait_all_tasks_blocked()
        stream.before["receive_some"] = fail
        await peer.send(peer.frame(TEXT, b"x"), peer.frame(TEXT, b"y"))
        if waits:
            assert [await ws.receive(), await ws.receive()] == ["x", "y"]
            with pytest.raises(ConnectionBroken):
                await ws.receive()
        event = await ws.wait_closed()
        await peer.drain()
    assert event.cause is CloseCause.INTERNAL_ERROR
    assert event.sent is not None
    assert event.sent.code == 1011
    assert peer.record == ["Close 1011", "FIN"]
    assert "a stream's own bug" in caplog.text


async def test_stream_that_raises_on_writing_is_an_internal_error(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be sent then, not even a Close frame."""
    async with opened() as (ws, peer, stream):
        stream.before["send_all"] = fail
        with pytest.raises(ConnectionBroken):
            await ws.send(bytes(100_000))
        event = await ws.wait_closed()
        await peer.drain()
    assert (event.cause, event.sent, event.initiated_by) == (CloseCause.INTERNAL_ERROR, None, "transport")
    assert peer.record == ["FIN"]
    assert "a stream's own bug" in caplog.text


@pytest.mark.parametrize("operation", ["send_eof", "aclose"])
async def test_stream_that_raises_on_closing_changes_nothing(
    autojump_clock: trio.testing.MockClock, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The event was decided before; the stream's exception is logged, and does not come out of the block."""
    async with opened(HalfCloseableStream, client=False) as (ws, peer, stream):
        stream.before[operation] = fail
        await peer.send(peer.close_frame(4000))
        await peer.drain()
        await peer.aclose()
    assert ws.close_event is not None
    assert ws.close_event.was_clean
    assert "a stream's own bug" in caplog.text


async def test_stream_whose_writing_breaks_while_reading_stays_silent(autojump_clock: trio.testing.MockClock) -> None:
    """A failed write is given cancel_timeout for what may lie unread; then the connection was reset."""

    def broken() -> None:
        raise trio.BrokenResourceError("the sending half")

    async with opened(cancel_timeout=1) as (ws, peer, stream):
        await trio.testing.wait_all_tasks_blocked()
        stream.before["send_all"] = broken
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):

                @nursery.start_soon
                async def send() -> None:
                    with pytest.raises(ConnectionBroken):
                        await ws.send("x" * (HIGH_WATER + 1))

            await peer.send(peer.frame(PING, b"not answered"))
        assert trio.current_time() - began == pytest.approx(1)
        event = await ws.wait_closed()
        with pytest.raises(ConnectionBroken) as raised:
            await ws.receive()
    assert (event.cause, event.sent) == (CloseCause.RESET, None)
    assert isinstance(raised.value.__cause__, trio.BrokenResourceError)


async def test_stream_whose_writing_breaks_under_our_close(autojump_clock: trio.testing.MockClock) -> None:
    """Our Close could not be written, but the peer's is read: its code, not clean."""

    def broken() -> None:
        raise trio.BrokenResourceError("the sending half")

    async with opened() as (ws, peer, stream):
        await trio.testing.wait_all_tasks_blocked()
        stream.before["send_all"] = broken
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose, 4000)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.close_frame(4001))
    event = ws.close_event
    assert event is not None
    assert (event.code, event.was_clean, event.initiated_by) == (4001, False, "remote")
    assert (event.cause, event.sent) == (CloseCause.CLOSED, None)


async def test_pongs_to_a_peer_that_does_not_read_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    """While the outbox is over its limit only the latest Ping is answered, once there is room (RFC 6455 §5.5.3)."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    peer = ScriptedPeer(theirs, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open)
        async with connect("ws://localhost/", stream=ours) as ws:
            await trio.testing.wait_all_tasks_blocked()
            for number in range(3000):
                await peer.send(peer.frame(PING, b"%0100d" % number))
            await trio.testing.wait_all_tasks_blocked()
            assert ws._driver.writer.outbox.size < HIGH_WATER + 200
            nursery.start_soon(peer.drain)
            await trio.testing.wait_all_tasks_blocked()
            answered = [int(each.payload) for each in peer.frames]
            nursery.cancel_scope.cancel()
    assert len(answered) < 1000
    assert answered[-1] == 2999


async def test_a_given_stream_is_closed_when_no_connection_comes_about() -> None:
    """It belongs to the connection from the call on; so it is closed in every case."""
    ours, theirs = trio.testing.memory_stream_pair()
    closed: list[str] = []
    stream = PlainStream(ours)
    stream.before["aclose"] = lambda: closed.append("closed")
    with trio.move_on_after(0.1) as scope:
        async with connect("ws://localhost/", stream=stream):
            pass  # pragma: no cover
    assert scope.cancelled_caught
    assert closed
    await theirs.aclose()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"url": "http://localhost/"}, ValueError),
        ({"url": b"ws://localhost/"}, TypeError),
        ({"stream": object()}, TypeError),
        ({"ssl_context": True}, TypeError),
        ({"url": "ws://localhost/", "ssl_context": "context"}, ValueError),
        ({"headers": {"Upgrade": "x"}}, ValueError),
        ({"headers": {"Sec-WebSocket-Key": "x"}}, ValueError),
        ({"headers": {"X": "a\r\nb"}}, ValueError),
        ({"headers": {"X": 1}}, TypeError),
        ({"headers": [("Host", "a"), ("Host", "b")]}, ValueError),
        ({"headers": {"Origin": "a"}, "origin": "b"}, ValueError),
        ({"subprotocols": "chat"}, TypeError),
        ({"subprotocols": [1]}, TypeError),
        ({"subprotocols": ["a b"]}, ValueError),
        ({"subprotocols": ["a", "a"]}, ValueError),
        ({"max_queue": 0}, ValueError),
        ({"no_such_option": 1}, TypeError),
    ],
)
def test_connect_refuses_arguments_that_cannot_work_at_the_call(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    """Before anything is sent, with a message that names the value."""
    if arguments.get("ssl_context") == "context":
        arguments["ssl_context"] = ssl.create_default_context()
    with pytest.raises(error, match=r"."):
        connect(arguments.pop("url", "ws://localhost/"), **arguments)


def test_accept_refuses_what_is_no_stream() -> None:
    """A TypeError that names what it got."""
    with pytest.raises(TypeError, match="object"):
        accept(object())  # type: ignore[arg-type]


async def test_headers_origin_host_and_subprotocols_travel() -> None:
    """What the client adds arrives at the server, whose choice of a subprotocol comes back."""
    ours, theirs = trio.testing.memory_stream_pair()
    seen: list[Any] = []

    async def be_server() -> None:
        async with accept(theirs, subprotocols=["v2", "v1"]) as ws:
            seen.append(ws.request)
            assert ws.subprotocol == "v2"
            await ws.wait_closed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_server)
        async with connect(
            "ws://example.org/chat?room=1",
            stream=ours,
            headers=[("X-One", "1"), ("x-one", "2"), ("Host", "other.example")],
            origin="https://example.org",
            subprotocols=["v1", "v2"],
        ) as ws:
            assert ws.subprotocol == "v2"
            assert ws.response.headers["Sec-WebSocket-Protocol"] == "v2"
    (request,) = seen
    assert (request.path, request.query, request.method) == ("/chat", "room=1", "GET")
    assert request.headers["host"] == "other.example"
    assert request.headers.get_all("X-ONE") == ("1", "2")
    assert request.headers["Origin"] == "https://example.org"
    assert request.subprotocols == ("v1", "v2")
    assert ws.request.headers["Host"] == "other.example"


async def test_stream_that_is_dropped_in_the_middle_of_a_write(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A write that completes after the end was decided is nothing to speak of."""
    gate = trio.Event()

    class Gated(HalfCloseableStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await super().send_all(data)
            if self.before:
                await gate.wait()

    async with opened(Gated) as (ws, peer, stream):
        stream.before["send_all"] = lambda: None
        await ws.send(bytes(100))
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
        ws.abort()
        await peer.aclose()
    assert ws.close_event is not None
    assert ws.close_event.cause is CloseCause.ABORTED
    assert caplog.text == ""


async def test_stream_that_is_closed_already_is_a_handshake_error() -> None:
    """Whatever kind of stream it is: no connection came about."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        sockets = await trio.testing.open_stream_to_socket_listener(listener)
        await (await listener.accept()).aclose()
    memory, _ = trio.testing.memory_stream_pair()
    for stream in (sockets, memory):
        await stream.aclose()
        for block in (connect("ws://localhost/", stream=stream), accept(stream)):
            with pytest.raises(HandshakeError) as raised:
                await block.__aenter__()
            assert raised.value.close_event.cause is CloseCause.RESET


async def test_stream_of_tls_that_was_not_opened_yet_is_opened(server_ssl_context: ssl.SSLContext) -> None:
    """A given SSLStream's handshake is ours to run, and to tell of when it fails: 1015, cause tls."""
    ours, theirs = trio.testing.memory_stream_pair()
    server = trio.SSLStream(theirs, server_ssl_context, server_side=True)
    untrusting = trio.SSLStream(ours, ssl.create_default_context(), server_hostname="localhost")

    async def be_server() -> None:
        with pytest.raises(HandshakeError) as raised:
            await accept(server).__aenter__()
        assert (raised.value.close_event.code, raised.value.close_event.cause) == (1015, CloseCause.TLS)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_server)
        with pytest.raises(HandshakeError) as raised:
            await connect("wss://localhost/", stream=untrusting).__aenter__()
    assert (raised.value.close_event.code, raised.value.close_event.cause) == (1015, CloseCause.TLS)
    assert isinstance(raised.value.__cause__, ssl.SSLError)


async def test_rejection_whose_body_is_torn_is_still_a_rejection() -> None:
    """The status was clear before the connection was lost."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def reject_and_reset() -> None:
        async with listener:
            peer = ScriptedPeer(await listener.accept(), client=False)
            await peer.stream.receive_some()
            await peer.stream.send_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nbusy")
            await trio.sleep(0.05)
            await peer.reset()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reject_and_reset)
        connecting = connect(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/")
        assert "ws://127.0.0.1" in repr(connecting)
        with pytest.raises(HandshakeRejected) as raised:
            await connecting.__aenter__()
    assert raised.value.response is not None
    assert (raised.value.response.status, raised.value.response.body) == (503, b"busy")


async def test_process_request_cannot_answer_101() -> None:
    """The upgrade is ours to answer: 500 to the client, ValueError to the program."""
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await theirs.send_eof()
    with pytest.raises(ValueError, match="101"):
        await accept(ours, process_request=lambda request: Response(101)).__aenter__()
    assert (await theirs.receive_some()).startswith(b"HTTP/1.1 500 ")
