"""`broadcast`: one message to many connections, whatever state they are in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_closeevents import CloseCause, CloseFrame, ConnectionBroken, ReadyState, WebSocket, _turns, broadcast
from trio_closeevents._connection import life_of
from trio_closeevents.testing import open_scripted_pair, open_websocket_pair


@pytest.mark.parametrize("message", ["text", "té", b"binary", bytearray(b"other"), "", "x" * 100_000])
async def test_broadcast_reaches_all(autojump_clock: MockClock, message: str | bytes) -> None:
    """Servers and clients, compressed or not: each peer has the message."""
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(open_websocket_pair()) for _ in range(3)]
        pairs.append(await stack.enter_async_context(open_websocket_pair(compression="deflate")))
        senders = [pair.server for pair in pairs] + [pairs[0].client]
        receivers = [pair.client for pair in pairs] + [pairs[0].server]

        assert await broadcast(senders, message) == ()

        expected = bytes(message) if isinstance(message, bytearray) else message
        assert [await websocket.receive() for websocket in receivers] == [expected] * 5
        assert {websocket.stats.messages_sent for websocket in senders} == {1}


async def test_broadcast_passes_over_what_has_ended(autojump_clock: MockClock) -> None:
    """An ending connection is no error, and the others have the message."""
    async with open_websocket_pair() as (client, server), open_websocket_pair() as (other_client, other_server):
        await other_server.aclose()
        await broadcast([other_server, server], "news")
        assert await client.receive() == "news"
        assert other_client.stats.messages_received == 0


@pytest.mark.parametrize("wrong", [1, None, ["a"], "\ud800"])
async def test_broadcast_checks_before_it_sends(autojump_clock: MockClock, wrong: object) -> None:
    """What no connection could send reaches none."""
    async with open_websocket_pair() as (_, server):
        with pytest.raises((TypeError, ValueError), match="message"):
            await broadcast([server], wrong)  # type: ignore[arg-type]
        assert server.stats.messages_sent == 0


async def test_broadcast_does_not_offer_what_it_does_not_take(autojump_clock: MockClock) -> None:
    """The parts of a message are for `send`."""
    async with open_websocket_pair() as (_, server):
        with pytest.raises(
            TypeError, match=r"^a message must be str, bytes, bytearray or memoryview, not list: \['a'\]"
        ):
            await broadcast([server], ["a"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda ws: [ws, ws.as_json()], "broadcast takes WebSockets, not JSONChannel: <JSONChannel over <WebSocket"),
        (lambda ws: {"ada": ws}, "broadcast takes WebSockets, not str: 'ada'"),
        (lambda ws: iter([ws, None]), "broadcast takes WebSockets, not NoneType: None"),
        (lambda ws: ws, "broadcast takes an iterable of WebSockets, not WebSocket: <WebSocket"),
    ],
)
async def test_broadcast_to_what_is_no_connection_is_refused(
    autojump_clock: MockClock, wrong: Callable[[WebSocket], Any], words: str
) -> None:
    """Before anything is sent to those that are."""
    async with open_websocket_pair() as (_, server):
        with pytest.raises(TypeError, match=f"^{re.escape(words)}"):
            await broadcast(wrong(server), "news")
        assert server.stats.messages_sent == 0


async def test_broadcast_takes_what_is_derived_from_a_websocket(autojump_clock: MockClock) -> None:
    """As a program's own class may be, and any iterable of them."""
    async with open_websocket_pair() as (client, server):
        server.__class__ = type("Derived", (WebSocket,), {"__slots__": ()})
        assert await broadcast(iter([server]), "news") == ()
        assert await client.receive() == "news"


async def test_broadcast_sends_text_as_binary_and_bytes_as_text(autojump_clock: MockClock) -> None:
    """`text` is that of `send`."""
    async with open_websocket_pair() as (client, server):
        await broadcast([server], "t\u00e9", text=False)
        await broadcast([server], b"t\xc3\xa9", text=True)
        assert [await client.receive(), await client.receive()] == [b"t\xc3\xa9", "t\u00e9"]


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"text": 1}, TypeError, "text must be True, False or None"),
    ({"slow_after": "1"}, TypeError, "slow_after must be a number of seconds, not str"),
    ({"slow_after": -1}, ValueError, "slow_after must be not negative"),
    ({"slow_after": math.nan}, ValueError, "slow_after must be not negative"),
    ({"slow_after": 1, "slow": "close"}, TypeError, "slow must be 'skip' or a CloseFrame, not 'close'"),
    ({"slow_after": 1, "slow": 1008}, TypeError, "slow must be 'skip' or a CloseFrame, not 1008"),
    ({"slow_after": 1, "slow": CloseFrame(1006)}, ValueError, "1006 .* may not be sent"),
    ({"slow": CloseFrame(1008)}, ValueError, "needs slow_after"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
async def test_broadcast_refuses_options_that_cannot_be(
    autojump_clock: MockClock, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Before anything is sent."""
    async with open_websocket_pair() as (_, server):
        with pytest.raises(error, match=message):
            await broadcast([server], "news", **options)
        assert server.stats.messages_sent == 0


async def full(websocket: WebSocket) -> None:
    """Fill what waits for a peer that does not read."""
    with trio.move_on_after(0.01):
        while True:
            await websocket.send(bytes(50_000))


async def lockstep(stack: AsyncExitStack) -> tuple[WebSocket, WebSocket]:
    return await stack.enter_async_context(
        open_websocket_pair(streams=trio.testing.lockstep_stream_pair(), max_queue=1, close_timeout=1)
    )


async def test_broadcast_waits_for_a_slow_peer_and_not_with_the_others(autojump_clock: MockClock) -> None:
    """Others have the message at once; it returns when the slow one has it queued too."""
    async with AsyncExitStack() as stack:
        _, slow = await lockstep(stack)
        client, server = await stack.enter_async_context(open_websocket_pair())
        await full(slow)
        sent = slow.stats.messages_sent
        with trio.move_on_after(5) as scope:
            await broadcast([slow, server], "news")
        assert scope.cancelled_caught
        assert slow.stats.messages_sent == sent
        assert await client.receive() == "news"


async def test_broadcast_to_a_slow_peer_that_goes_returns(autojump_clock: MockClock) -> None:
    """A connection that ends while it is waited for is passed over too."""
    async with AsyncExitStack() as stack:
        _, slow = await lockstep(stack)
        await full(slow)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broadcast, [slow], "news")
            await trio.testing.wait_all_tasks_blocked()
            slow.abort()


@pytest.mark.parametrize("seconds", [0, 0.5, 3])
async def test_broadcast_skips_who_has_no_room_in_time(autojump_clock: MockClock, seconds: float) -> None:
    """It returns after that time, tells who that was, and the message is not sent to them later."""
    async with AsyncExitStack() as stack:
        slow = [(await lockstep(stack))[1] for _ in range(2)]
        client, server = await stack.enter_async_context(open_websocket_pair())
        for each in slow:
            await full(each)
        sent = [each.stats.messages_sent for each in slow]
        began = trio.current_time()
        assert await broadcast([slow[0], server, slow[1]], "news", slow_after=seconds) == tuple(slow)
        assert trio.current_time() - began == pytest.approx(seconds)
        assert await client.receive() == "news"
        assert await broadcast([server], "more", slow_after=seconds) == ()
        assert [each.stats.messages_sent for each in slow] == sent
        assert {each.state for each in slow} == {ReadyState.OPEN}


async def test_broadcast_reaches_who_makes_room_in_time(autojump_clock: MockClock) -> None:
    """A peer that is only late has the message, in its place; one that goes meanwhile is not slow but gone."""
    async with AsyncExitStack() as stack:
        client, late = await lockstep(stack)
        _, gone = await lockstep(stack)
        _, closing = await lockstep(stack)
        for each in (late, gone, closing):
            await full(each)
        sent = late.stats.messages_sent
        received: list[str | bytes] = []

        async def read_later() -> None:
            await trio.sleep(1)
            gone.abort()
            life_of(closing).begin_close(CloseFrame(1000))
            while "news" not in received:
                received.append(await client.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_later)
            assert await broadcast([late, gone, closing], "news", slow_after=1.5, slow=CloseFrame(1008)) == ()
        assert len(received) == sent + 1
        assert late.state is ReadyState.OPEN


@pytest.mark.parametrize("frame", [CloseFrame(1008, "too slow"), CloseFrame(1013), CloseFrame(None), CloseFrame(4000)])
async def test_broadcast_closes_who_has_no_room_in_time(autojump_clock: MockClock, frame: CloseFrame) -> None:
    """It does not wait for that: the peer, if it reads at last, sees what it had missed, and the code."""
    async with AsyncExitStack() as stack:
        client, slow = await lockstep(stack)
        await full(slow)
        sent = slow.stats.messages_sent
        began = trio.current_time()
        assert await broadcast([slow], "news", slow_after=0.5, slow=frame) == (slow,)
        assert trio.current_time() - began == pytest.approx(0.5)
        assert slow.state is ReadyState.CLOSING
        received = 0
        with pytest.raises((ConnectionBroken, trio.EndOfChannel)):
            while True:
                await client.receive()
                received += 1
        assert received == sent
        event = await slow.wait_closed()
        assert (event.cause, event.sent, event.was_clean) == (CloseCause.CLOSED, frame, True)


async def test_broadcast_closes_who_never_reads_within_close_timeout(autojump_clock: MockClock) -> None:
    """The Close frame waits behind all that the peer does not read: it is dropped, and sees 1006."""
    async with AsyncExitStack() as stack:
        _, slow = await lockstep(stack)
        await full(slow)
        began = trio.current_time()
        await broadcast([slow], "news", slow_after=0, slow=CloseFrame(1008))
        event = await slow.wait_closed()
        assert trio.current_time() - began == pytest.approx(1)
        assert (event.code, event.sent) == (1006, None)


async def test_broadcast_cancelled_leaves_whole_messages_and_closes_nobody(autojump_clock: MockClock) -> None:
    """Each has it or not; a slow peer is closed by its own deadline, not by the caller's."""
    async with AsyncExitStack() as stack:
        slow_client, slow = await lockstep(stack)
        client, server = await stack.enter_async_context(open_websocket_pair())
        await full(slow)
        sent = slow.stats.messages_sent
        with trio.move_on_after(0.5) as scope:
            await broadcast([slow, server], "news", slow_after=1, slow=CloseFrame(1008))
        assert scope.cancelled_caught
        assert await client.receive() == "news"
        assert slow.state is ReadyState.OPEN
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(slow.send, "last"))
            received = [await slow_client.receive() for _ in range(sent + 1)]
        assert received[-1] == "last"
        assert "news" not in received


async def test_broadcast_keeps_the_order_of_those_who_wait(autojump_clock: MockClock) -> None:
    """A message that waits for room goes behind those that waited before it."""
    async with AsyncExitStack() as stack:
        client, slow = await lockstep(stack)
        await full(slow)
        sent = slow.stats.messages_sent
        received: list[str | bytes] = []
        async with trio.open_nursery() as nursery:
            for word in ("one", "two", "three"):
                nursery.start_soon(slow.send if word == "two" else partial(broadcast, [slow]), word)
                await trio.testing.wait_all_tasks_blocked()
            while len(received) < sent + 3:
                received.append(await client.receive())
        assert received[-3:] == ["one", "two", "three"]


async def test_broadcast_to_many_gives_the_loop_back(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another task has its turn while a message goes to thousands of connections."""
    monkeypatch.setattr(_turns, "LENGTH", 0.0001)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_scripted_pair(role="server") as (server, peer), trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await broadcast([server] * 3000, b"x" * 10)
        assert turns > 3
        nursery.cancel_scope.cancel()
        await peer.aclose()
