"""A connection that is open: messages, Pings, what it tells of itself. Both libraries, both roles."""

from __future__ import annotations

import math
import signal
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from wsproto import ConnectionType, WSConnection
from wsproto.utilities import LocalProtocolError

import trio_closeevents.compat.trio_websocket as stand_in
from trio_closeevents import WebSocket
from trio_closeevents.testing import BINARY, PING, PONG, TEXT

from .stage import client, server, with_peer

ROLES = pytest.mark.parametrize("role", ["client", "server"])


@ROLES
async def test_messages_travel_both_ways(autojump_clock: MockClock, library: Any, role: str) -> None:
    """A `str` as text, bytes as binary, and empty ones too."""
    async with with_peer(role)(library) as (connection, peer):
        for message, opcode, payload in (("é", TEXT, "é".encode()), (b"\0", BINARY, b"\0"), ("", TEXT, b"")):
            await connection.send_message(message)
            frame = await peer.receive()
            assert (frame.opcode, frame.payload) == (opcode, payload)
            await peer.send(peer.frame(opcode, payload))
            assert await connection.get_message() == message


@ROLES
@pytest.mark.parametrize("message", [bytearray(b"a"), memoryview(b"a"), 5, None, ["a"]])
async def test_message_of_another_type_is_a_value_error(
    autojump_clock: MockClock, library: Any, role: str, message: Any
) -> None:
    """Nothing is sent, and the connection goes on."""
    async with with_peer(role)(library) as (connection, peer):
        with pytest.raises(ValueError, match="message must be str or bytes"):
            await connection.send_message(message)
        await connection.send_message("a")
        assert (await peer.receive()).payload == b"a"


async def test_message_of_another_type_on_a_closed_connection(autojump_clock: MockClock, library: Any) -> None:
    """That it is closed comes first. A receive buffer of the system's choice changes nothing."""
    async with client(library, receive_buffer_size=None) as (connection, peer):
        await peer.send(peer.close_frame(1000))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(library.ConnectionClosed):
            await connection.send_message(5)


async def test_several_tasks_may_receive(autojump_clock: MockClock, library: Any) -> None:
    """Each message goes to one of them."""
    received: list[str] = []

    async def receive(connection: Any) -> None:
        received.append(await connection.get_message())

    async with client(library) as (connection, peer), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(receive, connection)
        await trio.testing.wait_all_tasks_blocked()
        for text in (b"a", b"b", b"c"):
            await peer.send(peer.frame(TEXT, text))
    assert sorted(received) == ["a", "b", "c"]


async def test_tasks_that_receive_take_turns(autojump_clock: MockClock, library: Any) -> None:
    """One that comes back for the next message stands behind those that wait already."""
    received: list[list[str]] = [[], [], []]

    async def receive(connection: Any, messages: list[str]) -> None:
        while True:
            messages.append(await connection.get_message())

    async with client(library) as (connection, peer), trio.open_nursery() as nursery:
        for messages in received:
            nursery.start_soon(receive, connection, messages)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(6):
            await peer.send(peer.frame(TEXT, b"%d" % number))
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert sorted(received) == [["0", "3"], ["1", "4"], ["2", "5"]]


def test_interrupt_loses_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C on the way from the connection to the program: the message arrives first, and others may receive."""
    receive = WebSocket.receive
    received: list[str] = []

    async def interrupted(websocket: WebSocket) -> str | bytes:
        message = await receive(websocket)
        signal.raise_signal(signal.SIGINT)
        return message

    async def main() -> None:
        async with client(stand_in) as (connection, peer):
            await peer.send(peer.frame(TEXT, b"a") + peer.frame(TEXT, b"b"))
            with monkeypatch.context() as patch:
                patch.setattr(WebSocket, "receive", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    received.append(await connection.get_message())
                    await trio.lowlevel.checkpoint()
            received.append(await connection.get_message())

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert received == ["a", "b"]


async def test_receiver_that_is_cancelled_loses_nothing(autojump_clock: MockClock, library: Any) -> None:
    """Neither its message nor the turn of the one behind it."""
    received: list[str] = []

    async def receive(connection: Any) -> None:
        received.append(await connection.get_message())

    async with client(library) as (connection, peer), trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(receive, connection)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(receive, connection)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        await peer.send(peer.frame(TEXT, b"a"))
    assert received == ["a"]


@ROLES
async def test_ping_waits_for_its_pong(autojump_clock: MockClock, library: Any, role: str) -> None:
    """A Pong answers all older Pings too; a payload may be under way but once."""
    order: list[bytes] = []

    async def ping(connection: Any, payload: bytes) -> None:
        assert await connection.ping(payload) is None
        order.append(payload)

    async with with_peer(role)(library) as (connection, peer), trio.open_nursery() as nursery:
        for payload in (b"a", b"b", b"c"):
            nursery.start_soon(ping, connection, payload)
            assert (await peer.receive()).payload == payload
        with pytest.raises(ValueError, match="b'b'"):
            await connection.ping(b"b")
        await peer.send(peer.frame(PONG, b"b"))
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(order) == [b"a", b"b"]
        await peer.send(peer.frame(PONG, b"c"))
    assert len(order) == 3


@ROLES
async def test_ping_without_payload_has_a_random_one(autojump_clock: MockClock, library: Any, role: str) -> None:
    """Of four bytes or more, so that two are never the same."""
    async with with_peer(role)(library) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.ping)
        frame = await peer.receive()
        assert (frame.opcode, len(frame.payload) >= 4) == (PING, True)
        await peer.send(peer.frame(PONG, frame.payload))


@ROLES
async def test_pong_is_sent_unasked(autojump_clock: MockClock, library: Any, role: str) -> None:
    """Empty if no payload was given; and Pings are answered by themselves."""
    async with with_peer(role)(library) as (connection, peer):
        await connection.pong(b"x")
        await connection.pong()
        await peer.send(peer.frame(PING, b"hello"))
        assert [(await peer.receive()).payload for _ in range(3)] == [b"x", b"", b"hello"]
        assert {frame.opcode for frame in peer.frames} == {PONG}


async def test_full_queue_stops_the_reader(autojump_clock: MockClock, library: Any) -> None:
    """With a queue of 1, two messages are taken from the peer; a Close behind the third stays unseen."""
    async with client(library, message_queue_size=1) as (connection, peer):
        for text in (b"a", b"b", b"c"):
            await peer.send(peer.frame(TEXT, text))
        await peer.send(peer.close_frame(4001))
        await trio.testing.wait_all_tasks_blocked()
        assert connection.closed is None
        assert [await connection.get_message() for _ in range(3)] == ["a", "b", "c"]
        with pytest.raises(library.ConnectionClosed) as caught:
            await connection.get_message()
        assert caught.value.reason.code == 4001


async def test_queue_of_nothing_holds_one_message(autojump_clock: MockClock, library: Any) -> None:
    """The one that the reader has in its hands: a Close behind it stays unseen, and without it is seen."""
    for texts, code in (((), 4001), ((b"a",), None)):
        async with client(library, message_queue_size=0) as (connection, peer):
            for text in texts:
                await peer.send(peer.frame(TEXT, text))
            await peer.send(peer.close_frame(4001))
            await trio.testing.wait_all_tasks_blocked()
            assert getattr(connection.closed, "code", None) == code


@pytest.mark.parametrize("text", ["x" * 100, "é" * 100, "\N{GRINNING FACE}" * 100])
async def test_text_is_as_large_as_len_says(autojump_clock: MockClock, library: Any, text: str) -> None:
    """A hundred characters are allowed, whatever their bytes; one more is not."""
    async with client(library, max_message_size=100) as (connection, peer):
        await peer.send(peer.frame(TEXT, text.encode()))
        assert await connection.get_message() == text
        await peer.send(peer.frame(TEXT, text.encode() + b"x"))
        with pytest.raises(library.ConnectionClosed):
            await connection.get_message()
        assert connection.closed.code == 1009
        assert connection.closed.reason == "Exceeded maximum message size: 100 bytes"


@ROLES
async def test_connection_tells_what_it_is(autojump_clock: MockClock, library: Any, role: str) -> None:
    """Its side, its path, where it is, and a number."""
    async with with_peer(role)(library) as (connection, _):
        assert (connection.is_client, connection.is_server) == (role == "client", role == "server")
        assert str(connection).partition("-")[0] == role
        assert connection.path == "/"
        assert connection.subprotocol is None
        assert connection.local.startswith("StapledStream(")
        assert connection.remote.startswith("StapledStream(")
        assert connection.closed is None
        if library is stand_in:
            assert connection.close_event is None
            assert connection.handshake_headers == ()
        number = int(str(connection).partition("-")[2])
    async with with_peer(role)(library) as (another, _):
        assert int(str(another).partition("-")[2]) == number + 1


async def test_connection_by_its_constructor_is_not_open(autojump_clock: MockClock) -> None:
    """It knows which side it is; what needs a handshake says so, and closing closes the stream."""
    ours, theirs = trio.testing.memory_stream_pair()
    connection = stand_in.WebSocketConnection(ours, WSConnection(ConnectionType.CLIENT), host="a", path="/x")
    assert (connection.is_client, connection.path, connection.closed, connection.subprotocol) == (
        True,
        "/x",
        None,
        None,
    )
    assert (connection.handshake_headers, connection.close_event) == ((), None)
    for call in (connection.get_message, connection.ping, connection.pong):
        with pytest.raises(LocalProtocolError, match="the connection is not open"):
            await call()
    await connection.aclose()
    assert await theirs.receive_some() == b""
    with pytest.raises(ValueError, match="needs host and path"):
        stand_in.WebSocketConnection(ours, WSConnection(ConnectionType.CLIENT), host="a")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"message_queue_size": -1}, ValueError, "message_queue_size must be at least 0, not -1"),
        ({"message_queue_size": 1.5}, TypeError, "message_queue_size must be an int or math.inf, not float: 1.5"),
        ({"max_message_size": -1}, ValueError, "max_message_size must be at least 0"),
        ({"max_message_size": "1"}, TypeError, "max_message_size must be a number, not '1'"),
        ({"max_message_size": math.nan}, ValueError, "max_message_size must be at least 0, not nan"),
        ({"receive_buffer_size": 0}, ValueError, "receive_buffer_size must be at least 1"),
        ({"receive_buffer_size": True}, TypeError, "receive_buffer_size must be an int"),
        ({"extra_headers": [(b"a b", b"c")]}, ValueError, "'a b' is not a token"),
        ({"subprotocols": ["a", "a"]}, ValueError, "'a' is named twice"),
    ],
)
async def test_argument_that_cannot_work_is_refused(
    autojump_clock: MockClock, options: Any, error: type[Exception], words: str
) -> None:
    """Before anything is sent; the stream is closed."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        with pytest.raises(error, match=words):
            await stand_in.wrap_client_stream(nursery, ours, "a", "/", **options)
    assert await theirs.receive_some() == b""


async def test_size_may_be_no_integer(autojump_clock: MockClock, library: Any) -> None:
    """`max_message_size=1e6` is one; of a fraction, the whole below it counts."""
    async with client(library, max_message_size=2.5) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"ab") + peer.frame(TEXT, b"abc"))
        assert await connection.get_message() == "ab"
        with pytest.raises(library.ConnectionClosed, match="1009"):
            await connection.get_message()


async def test_limits_may_be_infinite(autojump_clock: MockClock, library: Any) -> None:
    """A queue without a bound, and messages of any size."""
    more = {"max_message_size": float("inf")} if library is stand_in else {"max_message_size": 10**9}
    async with client(library, message_queue_size=float("inf"), **more) as (connection, peer):
        for _ in range(100):
            await peer.send(peer.frame(BINARY, bytes(20_000)))
        await peer.send(peer.frame(BINARY, bytes(3_000_000)))
        await peer.send(peer.close_frame(1000))
        await trio.testing.wait_all_tasks_blocked()
        assert connection.closed.code == 1000
        assert sum([len(await connection.get_message()) for _ in range(101)]) == 5_000_000


async def test_server_has_no_handshake_headers(autojump_clock: MockClock, library: Any) -> None:
    """They are the server's own."""
    async with server(library) as (connection, _):
        assert connection.handshake_headers == ()
