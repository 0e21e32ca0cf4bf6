"""`broadcast`: one message to many connections, whatever state they are in."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_closeevents import WebSocket, _turns, broadcast
from trio_closeevents.testing import open_scripted_pair, open_websocket_pair


@pytest.mark.parametrize("message", ["text", "té", b"binary", bytearray(b"other"), "", "x" * 100_000])
async def test_broadcast_reaches_all(autojump_clock: MockClock, message: str | bytes) -> None:
    """Servers and clients, compressed or not: each peer has the message."""
    async with AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(open_websocket_pair()) for _ in range(3)]
        pairs.append(await stack.enter_async_context(open_websocket_pair(compression="deflate")))
        senders = [pair.server for pair in pairs] + [pairs[0].client]
        receivers = [pair.client for pair in pairs] + [pairs[0].server]

        await broadcast(senders, message)

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
