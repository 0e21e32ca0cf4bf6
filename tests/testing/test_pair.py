"""`open_websocket_pair`: two WebSockets of a user, joined without a network, and what becomes of them."""

from __future__ import annotations

import gc
from typing import Any, Final
from weakref import ReferenceType, ref

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_closeevents import (
    ClosePolicy,
    ConnectionBroken,
    HandshakeError,
    LocallyClosed,
    ReadyState,
    RemoteClosed,
    WebSocket,
)
from trio_closeevents._hands_off import INTERVAL
from trio_closeevents.testing import Fault, FaultyStream, WebSocketPair, assert_ended, open_websocket_pair

BREAKS: Final = ["eof", "reset", "stall", "lose"]


def opened(pair: WebSocketPair | None) -> WebSocketPair:
    assert pair is not None
    return pair


def living() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def assert_over(pair: WebSocketPair) -> None:
    assert (pair.client.state, pair.server.state) == (ReadyState.CLOSED, ReadyState.CLOSED)


# -- open ------------------------------------------------------------------------------------------------------------


async def test_pair_carries_messages_both_ways(autojump_clock: MockClock) -> None:
    """Text and bytes, and Pings; each side knows its role."""
    async with open_websocket_pair() as (client, server):
        await client.send("to the server")
        await server.send(b"to the client")
        assert (await server.receive(), await client.receive()) == ("to the server", b"to the client")
        assert max(await client.ping(), await server.ping()) <= INTERVAL
        assert (repr(client)[:18], repr(server)[:18]) == ("<WebSocket client ", "<WebSocket server ")
        assert (client.local_address, server.remote_address, client.subprotocol) == (None, None, None)


async def test_pair_gives_options_to_both_sides(autojump_clock: MockClock) -> None:
    """A limit holds in both directions; a subprotocol is agreed on."""
    async with open_websocket_pair(max_message_size=3, subprotocols=["chat", "v2"]) as (client, server):
        assert (client.subprotocol, server.subprotocol) == ("chat", "chat")
        await client.send(b"four")
        with pytest.raises(ConnectionBroken):
            await server.receive()
    assert_ended(server, 1006, cause="message_too_big", sent=1009)
    async with open_websocket_pair(max_message_size=3) as (client, server):
        await server.send(b"four")
        with pytest.raises(ConnectionBroken):
            await client.receive()
    assert_ended(client, 1006, cause="message_too_big", sent=1009)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"close_timeout": -1}, ValueError, "close_timeout must be finite"),
        ({"no_such": 1}, TypeError, "no_such"),
        ({"subprotocols": "chat"}, ValueError, "named twice|token"),
        ({"streams": (1, 2)}, TypeError, r"streams must be two connected .*HalfCloseableStream, not \(1, 2\)"),
        ({"streams": ()}, TypeError, r"streams must be two connected .*, not \(\)"),
    ],
)
async def test_pair_with_wrong_argument_says_why(
    arguments: Any, kind: type[Exception], message: str, autojump_clock: MockClock
) -> None:
    """Told at the call, before anything is opened."""
    arguments = {name: "chch" if value == "chat" else value for name, value in arguments.items()}
    with pytest.raises(kind, match=message):
        open_websocket_pair(**arguments)


async def test_pair_log_has_all_that_travelled(autojump_clock: MockClock) -> None:
    """Both directions and the end of both, behind the opening handshake, with the client on the left."""
    async with open_websocket_pair() as pair:
        await pair.client.send("hi")
        await pair.server.receive()
        assert [str(each) for each in pair.log] == ["→ Text b'hi'"]
    assert [str(each) for each in pair.log[1:]] == ["→ Close 1000", "← Close 1000", "← FIN", "→ FIN"]


async def test_pair_log_tells_a_transport_that_was_dropped(autojump_clock: MockClock) -> None:
    """By the server: the client reads the end; by a stream that is reset: RST."""
    async with open_websocket_pair() as pair:
        pair.server.abort()
        await pair.client.wait_closed()
    assert [str(each) for each in pair.log] == ["← FIN", "→ FIN"]
    ours, theirs = trio.testing.memory_stream_pair()
    faulty = FaultyStream(ours, receiving=Fault(after=1000, then="reset"))
    async with open_websocket_pair(streams=(faulty, theirs)) as pair:
        await pair.server.send(bytes(1000))
        await pair.client.wait_closed()
    assert [str(each) for each in pair.log] == ["← RST", "→ FIN"]


async def test_pairs_do_not_know_of_each_other(autojump_clock: MockClock) -> None:
    """Many at once, each with its own messages and log."""
    async with open_websocket_pair() as first, open_websocket_pair() as second:
        await first.client.send("first")
        await second.server.send("second")
        assert (await first.server.receive(), await second.client.receive()) == ("first", "second")
        await second.server.aclose(4000)
    assert_ended(first.client, 1000)
    assert_ended(second.client, 4000)
    assert [str(each) for each in first.log[:2]] == ["→ Text b'first'", "→ Close 1000"]
    assert [str(each) for each in second.log[:2]] == ["← Text b'second'", "← Close 4000"]

    async def chat(number: int) -> None:
        async with open_websocket_pair() as (client, server):
            await client.send(str(number))
            assert await server.receive() == str(number)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(chat, number)


async def test_pair_entered_twice_says_so(autojump_clock: MockClock) -> None:
    """A block is for one use."""
    opening = open_websocket_pair()
    async with opening:
        with pytest.raises(RuntimeError, match="this pair was opened already: every `async with` needs one of its own"):
            await opening.__aenter__()
    with pytest.raises(RuntimeError, match="this pair was opened already"):
        await opening.__aenter__()


# -- leaving ---------------------------------------------------------------------------------------------------------


async def test_pair_left_by_return_ends_with_1000(autojump_clock: MockClock) -> None:
    """The client closes, the server answers; nothing is left."""
    before = living()
    async with open_websocket_pair() as pair:
        pass
    assert living() == before
    assert_over(pair)
    assert_ended(pair.client, 1000, cause="exit", was_clean=True, initiated_by="local")
    assert_ended(pair.server, 1000, cause="remote", was_clean=True, initiated_by="remote")
    assert trio.current_time() == 0


@pytest.mark.parametrize("context", [None, LookupError("before")])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("on purpose"), 1011),
        (KeyboardInterrupt(), 1001),
        (SystemExit(3), 1001),
        (BaseException("odd"), 1001),
    ],
    ids=repr,
)
async def test_pair_left_by_an_exception_lets_it_go_on_unchanged(
    error: BaseException, code: int, context: BaseException | None, autojump_clock: MockClock
) -> None:
    """The very object, in no group, with the context that it had."""
    before = living()
    error.__context__ = context
    pair: WebSocketPair | None = None
    with pytest.raises(type(error)) as caught:
        async with open_websocket_pair() as pair:
            raise error
    assert caught.value is error
    assert caught.value.__context__ is context
    assert pair is not None
    assert_over(pair)
    assert_ended(pair.server, code)
    assert living() == before


async def test_pair_left_by_a_group_lets_it_go_on(autojump_clock: MockClock) -> None:
    """Of a nursery in the block."""
    with pytest.raises(ExceptionGroup) as caught:
        async with open_websocket_pair() as pair, trio.open_nursery() as nursery:
            nursery.start_soon(pair.client.aclose, 999)  # a code that may not be sent
    assert isinstance(caught.value.exceptions[0], ValueError)


async def test_pair_that_is_cancelled_ends_with_1001(autojump_clock: MockClock) -> None:
    """By a scope inside or outside of the test; the scope absorbs its cancellation."""
    pair: WebSocketPair | None = None
    before = living()
    with trio.move_on_after(5) as scope:
        async with open_websocket_pair() as pair:
            await pair.client.receive()
    assert scope.cancelled_caught
    assert trio.current_time() == 5
    assert_over(opened(pair))
    assert_ended(opened(pair).client, 1001, cause="cancelled")
    assert living() == before


async def test_pair_under_an_outer_deadline_raises_too_slow(autojump_clock: MockClock) -> None:
    """`fail_after` round it works as round anything."""
    pair: WebSocketPair | None = None
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(3):
            async with open_websocket_pair() as pair:
                await trio.sleep_forever()
    assert_ended(opened(pair).server, 1001)


async def test_pair_with_a_policy_sends_what_it_says(autojump_clock: MockClock) -> None:
    """The options reach the block of the client."""
    pair: WebSocketPair | None = None
    policy = ClosePolicy({LookupError: (4004, "not found")})
    with pytest.raises(LookupError):
        async with open_websocket_pair(policy=policy) as pair:
            raise LookupError
    assert_ended(opened(pair).server, 4004, reason="not found")


# -- ending earlier --------------------------------------------------------------------------------------------------


async def test_server_of_a_pair_may_end_first(autojump_clock: MockClock) -> None:
    """The client sees its code; leaving the block changes nothing any more."""
    async with open_websocket_pair() as (client, server):
        await server.aclose(4001, "enough")
        with pytest.raises(ConnectionBroken):
            await client.receive()
        with pytest.raises(LocallyClosed):
            await server.send("more")
    assert_ended(client, 4001, reason="enough", cause="remote", sent=4001)


async def test_both_of_a_pair_may_close_at_once(autojump_clock: MockClock) -> None:
    """The Close frames cross, and each side has the other's code."""
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.aclose, 4000)
        nursery.start_soon(server.aclose, 4001)
    assert_ended(client, 4001, sent=4000, was_clean=True)
    assert_ended(server, 4000, sent=4001, was_clean=True)


@pytest.mark.parametrize("side", ["client", "server"])
async def test_abort_in_a_pair_is_seen_by_the_other(side: str, autojump_clock: MockClock) -> None:
    """1006 there; and the block is left without waiting."""
    async with open_websocket_pair() as pair:
        aborting, other = (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
        aborting.abort()
        await other.wait_closed()
    assert_ended(aborting, 1006, cause="aborted")
    assert_ended(other, 1006, cause="eof")
    assert trio.current_time() == 0


@pytest.mark.parametrize("side", ["client", "server"])
async def test_pair_with_cancel_on_close_raises_for_its_block_alone(side: str, autojump_clock: MockClock) -> None:
    """Nobody is in the server's block: what it would raise there is nobody's business."""
    pair: WebSocketPair | None = None
    before = living()
    if side == "client":
        async with open_websocket_pair(cancel_on_close=True) as pair:
            pair.client.abort()
            await pair.server.wait_closed()
    else:
        with pytest.raises(ConnectionBroken):
            async with open_websocket_pair(cancel_on_close=True) as pair:
                pair.server.abort()
                await trio.sleep_forever()
    assert_ended(opened(pair).server, 1006)
    assert living() == before


async def test_iteration_over_a_pair_ends_with_the_other_side(autojump_clock: MockClock) -> None:
    """An ordinary program at one end, an ordinary end at the other."""
    async with open_websocket_pair() as (client, server):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def serve() -> None:
                with pytest.raises(RemoteClosed):
                    while True:
                        await server.send(await server.receive())

            await client.send("echo")
            assert await client.receive() == "echo"
            await client.aclose()


# -- streams of one's own --------------------------------------------------------------------------------------------


def faulty_pair(**faults: Any) -> tuple[FaultyStream, trio.abc.HalfCloseableStream]:
    ours, theirs = trio.testing.memory_stream_pair()
    return FaultyStream(ours, **faults), theirs


@pytest.mark.parametrize("chunk", [1, 7])
async def test_pair_over_small_pieces_works(chunk: int, autojump_clock: MockClock) -> None:
    """The opening and the closing handshake, byte by byte."""
    streams = faulty_pair(sending=Fault(chunk=chunk), receiving=Fault(chunk=chunk))
    async with open_websocket_pair(streams=streams) as (client, server):
        await client.send("hello")
        await server.send("hello yourself")
        assert (await server.receive(), await client.receive()) == ("hello", "hello yourself")
    assert_ended(client, 1000, was_clean=True)


@pytest.mark.parametrize("then", BREAKS)
@pytest.mark.parametrize("direction", ["sending", "receiving"])
@pytest.mark.parametrize("swap", [False, True], ids=["client", "server"])
@pytest.mark.parametrize("after", [0, 20])
async def test_pair_whose_streams_break_in_the_opening_raises(
    after: int, swap: bool, direction: str, then: Any, autojump_clock: MockClock
) -> None:
    """A HandshakeError comes out of the start of the block, and no task is left."""
    before = living()
    ours, theirs = faulty_pair(**{direction: Fault(after=after, then=then)})
    entered = False
    with pytest.raises(HandshakeError) as caught:
        async with open_websocket_pair(streams=(theirs, ours) if swap else (ours, theirs), open_timeout=2):
            entered = True
    assert not entered
    assert caught.value.close_event.code == 1006
    assert living() == before
    assert trio.current_time() <= 4


async def test_pair_cancelled_in_the_opening_leaves_nothing(autojump_clock: MockClock) -> None:
    """Streams that carry nothing, and a deadline that is shorter than every limit."""
    before = living()
    stuck = Fault(after=0, then="stall")
    with trio.move_on_after(1) as scope:
        async with open_websocket_pair(streams=faulty_pair(sending=stuck, receiving=stuck)):
            pass
    assert scope.cancelled_caught
    assert living() == before
    assert trio.current_time() <= 4


async def test_pair_whose_server_alone_fails_to_open_raises(autojump_clock: MockClock) -> None:
    """The client has its answer, and the server could not send all of it: then there is no pair."""
    ours, theirs = trio.testing.memory_stream_pair()

    class Failing(FaultyStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await super().send_all(data)
            raise trio.BrokenResourceError("behind the answer")

    with pytest.raises(HandshakeError, match="behind the answer"):
        async with open_websocket_pair(streams=(ours, Failing(theirs))):
            pass


@pytest.mark.parametrize("error", [None, ValueError("on purpose")])
async def test_pair_over_streams_that_stall_ends_within_its_limits(
    error: Exception | None, autojump_clock: MockClock
) -> None:
    """The server's side hangs too: `close_timeout` for each, and the exception is not forgotten over that."""
    before = living()
    raised: BaseException | None = None
    pair: WebSocketPair | None = None
    try:
        stuck = Fault(after=300, then="stall")
        async with open_websocket_pair(streams=faulty_pair(sending=stuck, receiving=stuck)) as pair:
            await pair.client.send(bytes(300))
            if error is not None:
                raise error
    except ValueError as caught:
        raised = caught
    assert raised is error
    assert pair is not None
    assert_ended(pair.client, 1006, was_clean=False)
    assert_over(pair)
    assert living() == before
    assert 10 <= trio.current_time() <= 22


@pytest.mark.parametrize("when", ["in the block", "while the client ends", "while the server ends"])
async def test_pair_over_streams_that_stall_heeds_a_deadline(when: str, autojump_clock: MockClock) -> None:
    """Whenever it comes, `cancel_timeout` for each side is all that passes."""
    pair: WebSocketPair | None = None
    after = {"in the block": 3, "while the client ends": 5, "while the server ends": 13}[when]
    stuck = Fault(after=300, then="stall")
    ours, theirs = faulty_pair(sending=stuck, receiving=stuck)
    with trio.move_on_after(after) as scope:
        async with open_websocket_pair(streams=(ours, FaultyStream(theirs, receiving=stuck, sending=stuck))) as pair:
            await pair.client.send(bytes(300))
            await pair.server.send(bytes(300))
            if when == "in the block":
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert_over(opened(pair))
    assert trio.current_time() <= after + 5


async def test_pair_may_be_forgotten(autojump_clock: MockClock) -> None:
    """Its log is kept as long as the pair is, and does not keep it."""

    async def use() -> ReferenceType[WebSocket]:
        async with open_websocket_pair() as pair:
            assert pair.log == []
        return ref(pair.client)

    reference = await use()
    gc.collect()
    assert reference() is None
