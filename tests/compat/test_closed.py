"""Why a connection was closed: `closed`, as trio-websocket tells it, and `close_event` beside it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket as real
from trio.testing import MockClock

import trio_closeevents.compat.trio_websocket as stand_in
from trio_closeevents import CloseCause, CloseEvent, CloseFrame
from trio_closeevents.compat.trio_websocket import _connection
from trio_closeevents.compat.trio_websocket._limits import core_options
from trio_closeevents.testing import BINARY, CLOSE, TEXT, ScriptedPeer

from .stage import client, server, with_peer

ROLES = pytest.mark.parametrize("role", ["client", "server"])


async def ended(connection: Any) -> tuple[int, str | None]:
    """Wait for the end; return what `closed` says then."""
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises((real.ConnectionClosed, stand_in.ConnectionClosed)):
        await connection.get_message()
    await trio.testing.wait_all_tasks_blocked()
    return connection.closed.code, connection.closed.reason


# -- what both libraries say -------------------------------------------------------------------------------------------


@ROLES
@pytest.mark.parametrize(
    ("frame", "closed"),
    [
        ((1000, ""), (1000, None)),
        ((4001, "bye"), (4001, "bye")),
        ((None, ""), (1005, None)),
    ],
)
async def test_close_of_the_peer_is_the_reason(
    autojump_clock: MockClock, library: Any, role: str, frame: Any, closed: Any
) -> None:
    """Its code and its text; it is answered with the same."""
    async with with_peer(role)(library) as (connection, peer):
        await peer.send(peer.close_frame(*frame))
        assert await ended(connection) == closed
        assert (await peer.receive_close()).payload == peer.closed_with.payload
        for call in (connection.send_message("x"), connection.ping(), connection.pong(), connection.get_message()):
            with pytest.raises(library.ConnectionClosed) as caught:
                await call
            assert caught.value.reason.code == closed[0]


@ROLES
async def test_message_before_the_close_of_the_peer_is_delivered(
    autojump_clock: MockClock, library: Any, role: str
) -> None:
    """Then it is over."""
    async with with_peer(role)(library, message_queue_size=2) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"a"), peer.frame(TEXT, b"b"), peer.close_frame(1001))
        await trio.testing.wait_all_tasks_blocked()
        assert connection.closed.code == 1001
        assert [await connection.get_message() for _ in range(2)] == ["a", "b"]
        assert await ended(connection) == (1001, None)


@ROLES
async def test_lost_connection_is_1006(autojump_clock: MockClock, library: Any, role: str) -> None:
    """The peer hangs up without a word."""
    async with with_peer(role)(library) as (connection, peer):
        await peer.aclose()
        assert await ended(connection) == (1006, None)


@ROLES
@pytest.mark.parametrize(("answer", "closed"), [((4002, "you too"), (4002, "you too")), ((None, ""), (1005, None))])
async def test_answer_of_the_peer_is_the_reason(
    autojump_clock: MockClock, library: Any, role: str, answer: Any, closed: Any
) -> None:
    """It counts, and not what this side has said."""
    async with with_peer(role)(library) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, 4000, "bye")
        assert (await peer.receive_close()).payload == b"\x0f\xa0bye"
        await peer.send(peer.close_frame(*answer))
        await peer.fin()
        assert await ended(connection) == closed


@ROLES
async def test_own_close_discards_what_has_arrived(autojump_clock: MockClock, library: Any, role: str) -> None:
    """And is sent once only."""
    async with with_peer(role)(library, message_queue_size=4) as (connection, peer), trio.open_nursery() as nursery:
        await peer.send(peer.frame(TEXT, b"a"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(connection.aclose)
        await peer.receive_close()
        for call in (connection.get_message(), connection.send_message("x"), connection.ping(), connection.pong()):
            with pytest.raises(library.ConnectionClosed):
                await call
        await peer.send(peer.close_frame(1000))
        await peer.fin()
        assert await ended(connection) == (1000, None)
    await connection.aclose(4001)
    await peer.drain()
    assert [frame.opcode for frame in peer.frames] == [CLOSE]


@ROLES
@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        (1000, None, b"\x03\xe8"),
        (1001, "test", b"\x03\xe9test"),
        (4999, "", b"\x13\x87"),
        (1005, None, b"\x03\xe8"),
        (1006, "x", b"\x03\xe8x"),
        (1015, None, b"\x03\xe8"),
        (1000, "é" * 100, b"\x03\xe8" + "é".encode() * 61),
        (1000, "x" * 124, b"\x03\xe8" + b"x" * 123),
    ],
)
async def test_close_is_sent_as_it_can_travel(
    autojump_clock: MockClock, library: Any, role: str, code: int, reason: Any, payload: bytes
) -> None:
    """Codes that may not are 1000, a long reason is cut between two characters."""
    async with with_peer(role)(library) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, code, reason)
        assert (await peer.receive_close()).payload == payload
        await peer.send(peer.close_frame(1000))
        await peer.fin()


@ROLES
async def test_block_closes_with_1000(autojump_clock: MockClock, library: Any, role: str) -> None:
    """`async with connection`, returned from or raised out of; the exception goes on as it is."""
    for error in (None, ValueError("x")):
        async with with_peer(role)(library) as (connection, peer), trio.open_nursery() as nursery:
            nursery.start_soon(peer.be_polite)
            with nullcontext() if error is None else pytest.raises(ValueError, match="x") as caught:
                async with connection:
                    if error is not None:
                        raise error
            assert caught is None or caught.value is error
            assert (peer.close.code, connection.closed.code) == (1000, 1000)


# -- what the stand-in says better -------------------------------------------------------------------------------------


@ROLES
async def test_closing_is_known_as_what_was_asked_for(autojump_clock: MockClock, role: str) -> None:
    """Before the answer: our code, where 0.12.2 says 1000 whatever it was; without one it is 1006."""
    async with with_peer(role)(stand_in) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose, 4000, "bye")
        await peer.receive_close()
        assert (connection.closed.code, connection.closed.reason, connection.close_event) == (4000, None, None)
        assert connection.closed is connection.closed
        await peer.aclose()
        assert await ended(connection) == (1006, None)
        assert connection.closed is connection.closed
        assert connection.close_event.sent == CloseFrame(4000, "bye")


@ROLES
async def test_closing_of_the_peer_is_known_before_it_was_answered(autojump_clock: MockClock, role: str) -> None:
    """As long as the network takes nothing."""
    async with with_peer(role)(stand_in) as (connection, peer):
        closing = trio.Event()
        stand_in_stream = connection._owner._stream.send_stream
        stand_in_stream.send_all_hook = closing.wait
        for code, closed in (((4001, "bye"), (4001, "bye")),):
            await peer.send(peer.close_frame(*code))
            await trio.testing.wait_all_tasks_blocked()
            assert (connection.closed.code, connection.closed.reason) == closed
            assert connection.close_event is None
            with pytest.raises(stand_in.ConnectionClosed, match="4001"):
                await connection.send_message("x")
        closing.set()
        stand_in_stream.send_all_hook = None


@ROLES
@pytest.mark.parametrize(
    ("raw", "code", "cause", "reason"),
    [
        (b"\x83\x00", 1002, CloseCause.PROTOCOL_ERROR, "opcode"),
        (b"\x81\x01\xff", 1007, CloseCause.INVALID_PAYLOAD, "not valid UTF-8"),
        (
            b"\x82\x7e\x01\x00" + bytes(256),
            1009,
            CloseCause.MESSAGE_TOO_BIG,
            "Exceeded maximum message size: 255 bytes",
        ),
    ],
)
async def test_failure_is_told_to_the_peer(
    autojump_clock: MockClock, role: str, raw: bytes, code: int, cause: CloseCause, reason: str
) -> None:
    """`closed` has the code that was sent, which 0.12.2 did not do for the first two; the event is 1006, as ever."""
    async with with_peer(role)(stand_in, max_message_size=255) as (connection, peer):
        if role == "server":  # masked, with a key that changes nothing
            head = 2 if raw[1] < 126 else 4
            raw = raw[:1] + bytes([raw[1] | 0x80]) + raw[2:head] + bytes(4) + raw[head:]
        await peer.send(raw)
        assert (await peer.receive_close()).code == code
        closed = await ended(connection)
        assert closed[0] == code
        assert reason in (closed[1] or "")
        assert (connection.close_event.code, connection.close_event.cause) == (1006, cause)
        assert connection.close_event.sent.code == code


async def test_failure_that_could_not_be_told_is_one_too(autojump_clock: MockClock) -> None:
    """The peer takes nothing: `closed` tells what it was, without words."""
    async with client(stand_in) as (connection, peer):
        connection._owner._stream.send_stream.send_all_hook = trio.sleep_forever
        await peer.send(b"\x83\x00")
        await trio.testing.wait_all_tasks_blocked()
        assert connection.closed.code == 1006
        assert await ended(connection) == (1002, None)
        assert connection.close_event.sent is None


@ROLES
@pytest.mark.parametrize("code", [0, 999, 1004, 1016, 2999, 5000, 70000])
async def test_code_that_may_not_travel_is_a_value_error(autojump_clock: MockClock, role: str, code: int) -> None:
    """Nothing is sent, where 0.12.2 breaks the protocol; the connection stays open."""
    async with with_peer(role)(stand_in) as (connection, peer):
        with pytest.raises(ValueError, match=f"{code}"):
            await connection.aclose(code)
        assert connection.closed is None
        await connection.send_message("x")
        assert (await peer.receive()).payload == b"x"


@ROLES
@pytest.mark.parametrize("how", ["close", "eof", "aclose"])
async def test_ping_wakes_when_the_connection_ends(autojump_clock: MockClock, role: str, how: str) -> None:
    """It waits for ever in 0.12.2."""
    async with with_peer(role)(stand_in) as (connection, peer), trio.open_nursery() as nursery:

        async def ping() -> None:
            with pytest.raises(stand_in.ConnectionClosed):
                await connection.ping()

        nursery.start_soon(ping)
        await peer.receive()
        if how == "close":
            await peer.send(peer.close_frame(4000))
        elif how == "eof":
            await peer.aclose()
        else:
            nursery.start_soon(connection.aclose)
            await peer.be_polite()


@ROLES
async def test_closing_ends_although_the_peer_is_silent(autojump_clock: MockClock, role: str) -> None:
    """After a minute, where 0.12.2 waits for ever."""
    async with with_peer(role)(stand_in) as (connection, _):
        began = trio.current_time()
        await connection.aclose()
        assert trio.current_time() - began == pytest.approx(60)
        assert (connection.closed.code, connection.close_event.sent) == (1006, CloseFrame(1000))


@ROLES
async def test_second_close_waits_for_the_first(autojump_clock: MockClock, role: str) -> None:
    """And says nothing."""
    async with with_peer(role)(stand_in) as (connection, peer), trio.open_nursery() as nursery:
        done: list[int] = []

        async def close(code: int) -> None:
            await connection.aclose(code)
            done.append(code)

        nursery.start_soon(close, 4000)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(close, 4001)
        await trio.testing.wait_all_tasks_blocked()
        assert done == []
        await peer.be_polite()
    assert sorted(done) == [4000, 4001]
    assert [frame.code for frame in peer.frames] == [4000]


@ROLES
async def test_end_cancelled_sends_1001(autojump_clock: MockClock, role: str) -> None:
    """A nursery that is cancelled, and a block of the connection that is; 0.12.2 drops TCP."""
    for how in ("nursery", "block"):
        async with with_peer(role)(stand_in) as (connection, peer):
            if how == "block":
                with trio.move_on_after(1) as scope:
                    async with connection:
                        await trio.sleep_forever()
                assert scope.cancelled_caught
        await peer.drain()
        assert peer.record == ["Close 1001", "FIN"]
        assert connection.close_event.cause in (CloseCause.CANCELLED, CloseCause.CLOSED)


@ROLES
async def test_end_interrupt_sends_1001(autojump_clock: MockClock, role: str) -> None:
    """What is no `Exception` does not wait for a peer that is silent."""
    async with with_peer(role)(stand_in) as (connection, peer):
        began = trio.current_time()
        with pytest.raises(SystemExit):
            async with connection:
                raise SystemExit
        assert trio.current_time() - began <= 1
        await peer.drain()
        assert peer.record == ["Close 1001", "FIN"]


@ROLES
async def test_cancelled_close_does_not_hide_an_exception(autojump_clock: MockClock, library: Any, role: str) -> None:
    """Neither `aclose` in a `finally`, nor the end of a block."""
    for closing in ("finally", "block"):
        async with with_peer(role)(library) as (connection, _):
            error = ValueError("x")
            with pytest.raises(ValueError, match="x") as caught, trio.move_on_after(1):
                if closing == "block":
                    async with connection:
                        try:
                            await trio.sleep_forever()
                        finally:
                            raise error
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    try:
                        raise error
                    finally:
                        await connection.aclose()
            assert caught.value is error


@ROLES
async def test_cancelled_close_without_an_exception_is_cancelled(
    autojump_clock: MockClock, library: Any, role: str
) -> None:
    """The deadline of `aclose` passes: it does what it can, and says so."""
    for closing in ("aclose", "block"):
        async with with_peer(role)(library) as (connection, peer):
            with trio.move_on_after(1) as scope:
                if closing == "aclose":
                    await connection.aclose()
                else:
                    async with connection:
                        pass
            assert scope.cancelled_caught
            await peer.drain()
            assert peer.close.code == 1000


async def test_client_ends_tcp_of_a_server_that_does_not(autojump_clock: MockClock) -> None:
    """Two seconds after both Close frames; 0.12.2 never does after the server's, and its nursery waits for ever."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open)
        connection = await stand_in.wrap_client_stream(nursery, ours, "localhost", "/")
        await peer.send(peer.close_frame(1000))
        began = trio.current_time()
    assert 2 <= trio.current_time() - began <= 3
    assert connection.close_event == CloseEvent(
        "close",
        code=1000,
        was_clean=True,
        initiated_by="remote",
        cause=CloseCause.REMOTE,
        sent=CloseFrame(1000),
        received=CloseFrame(1000),
    )


@ROLES
async def test_peer_that_does_not_end_tcp_is_left_alone(autojump_clock: MockClock, role: str) -> None:
    """Two seconds after both Close frames, whoever closed first. A client of 0.12.2 does not end it."""
    for first in ("we", "the peer"):
        async with with_peer(role)(stand_in) as (connection, peer), trio.open_nursery() as nursery:
            began = trio.current_time()
            if first == "we":
                nursery.start_soon(connection.aclose)
                await peer.receive_close()
            await peer.send(peer.close_frame(1000))
            await trio.testing.wait_all_tasks_blocked()
            assert connection.close_event.was_clean
            await connection.aclose()
            assert 2 <= trio.current_time() - began <= 3


async def test_server_ends_tcp_at_once(autojump_clock: MockClock) -> None:
    """After the Close of the client, although the handler still runs."""
    async with server(stand_in) as (connection, peer):
        await peer.send(peer.close_frame(1000))
        began = trio.current_time()
        await peer.drain()
        assert (peer.record, trio.current_time() - began) == (["Close 1000", "FIN"], 0)
        assert connection.close_event.was_clean


@pytest.mark.parametrize("is_known", [True, False])
async def test_stream_that_is_closed_behind_its_back_is_1006(library: Any, is_known: bool) -> None:
    """A plain socket too, which the program still holds; whether or not the library's own tasks know it already."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
            peer = ScriptedPeer(await listener.accept(), client=False)
        nursery.start_soon(peer.open)
        connection = await library.wrap_client_stream(nursery, ours, "localhost", "/")
        assert str(connection.local.address) == "127.0.0.1"
        ours.socket.close()
        if is_known:
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(library.ConnectionClosed):
            await connection.send_message("x")
        assert await ended(connection) == (1006, None)
        await connection.aclose()
        await peer.aclose()


async def test_receiver_wakes_with_the_end(autojump_clock: MockClock, library: Any) -> None:
    """One that waits when this side closes: 0.12.2 wakes it before the peer has answered."""
    async with client(library) as (connection, peer), trio.open_nursery() as nursery:
        is_awake = trio.Event()

        async def receive() -> None:
            with pytest.raises(library.ConnectionClosed, match="1000"):
                await connection.get_message()
            is_awake.set()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(connection.aclose)
        await trio.testing.wait_all_tasks_blocked()
        assert is_awake.is_set() == (library is not stand_in)
        await peer.be_polite()
        await is_awake.wait()


async def test_message_before_one_too_big_is_delivered(autojump_clock: MockClock, library: Any) -> None:
    """0.12.2 throws it away."""
    received: list[str] = []
    async with client(library, max_message_size=1) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"a") + peer.frame(TEXT, b"bc"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(library.ConnectionClosed, match="1009"):
            while True:
                received.append(await connection.get_message())
    assert received == (["a"] if library is stand_in else [])


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_message_too_big_is_not_kept(autojump_clock: MockClock, opcode: int) -> None:
    """Its header is enough to fail the connection, as soon as somebody asks."""
    async with client(stand_in, max_message_size=10) as (connection, peer):
        await peer.send(bytes([0x80 | opcode, 127, 0, 0, 0, 1, 0, 0, 0, 0]))
        assert (await ended(connection))[0] == 1009


async def test_message_of_too_many_fragments_says_so(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that it is too large."""
    monkeypatch.setattr(_connection, "core_options", lambda *sizes: {**core_options(*sizes), "max_fragments": 2})
    async with client(stand_in) as (connection, peer):
        await peer.send(peer.frame(TEXT, b"a", fin=False), *[peer.frame(0, b"", fin=False)] * 2)
        code, reason = await ended(connection)
        assert (code, reason) == (1009, "message of 3 fragments is over the limit of 2")
