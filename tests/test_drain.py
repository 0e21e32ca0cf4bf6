"""`aclose(drain=True)`: what the peer still sends before its own Close is received, within the limits."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from trio_closeevents import (
    CloseCause,
    CloseFrame,
    ConnectionClosed,
    LocallyClosed,
    WebSocket,
    connect,
    open_server,
)
from trio_closeevents.testing import PING, TEXT, PeerPair, ScriptedPeer, open_scripted_pair, open_websocket_pair


async def receive_all(websocket: WebSocket, into: list[str | bytes]) -> None:
    try:
        while True:
            into.append(await websocket.receive())
    except LocallyClosed:
        pass


async def send_late(peer: ScriptedPeer, count: int, size: int = 0) -> None:
    """Answer our Close only after *count* messages more."""
    await peer.receive_close()
    for number in range(count):
        await peer.send(peer.frame(TEXT, b"%d" % number + b"." * size))
    await peer.send(peer.close_frame(1000))
    await peer.fin()


@pytest.mark.parametrize("role", ["client", "server"])
async def test_drain_receives_what_comes_after_our_close(role: Any, autojump_clock: MockClock) -> None:
    """By a task that receives meanwhile, in order, however many; then LocallyClosed. The end is clean."""
    received: list[str | bytes] = []
    async with open_scripted_pair(lambda peer: send_late(peer, 200), role=role) as (websocket, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_all, websocket, received)
            await websocket.aclose(drain=True)
    assert received == [str(number) for number in range(200)]
    assert websocket.close_event is not None
    assert websocket.close_event.was_clean
    assert (websocket.stats.messages_received, websocket.stats.messages_dropped) == (200, 0)


async def test_drain_keeps_what_came_for_the_one_task_there_is(autojump_clock: MockClock) -> None:
    """As much as the queue holds; it is received after `aclose`, until the block is left."""
    async with open_scripted_pair(lambda peer: send_late(peer, 60)) as (websocket, _):
        await websocket.aclose(drain=True)
        received: list[str | bytes] = []
        await receive_all(websocket, received)
    assert received == [str(number) for number in range(60)]


async def test_drain_with_a_full_queue_holds_the_peer_back_until_close_timeout(autojump_clock: MockClock) -> None:
    """Memory stays bounded: nothing is read beyond `max_queue`, so the peer's Close is not seen in time."""
    start = trio.current_time()
    async with open_scripted_pair(lambda peer: send_late(peer, 60), max_queue=5, close_timeout=3) as (websocket, _):
        await websocket.aclose(drain=True)
        assert trio.current_time() - start == pytest.approx(3, abs=0.1)
        received: list[str | bytes] = []
        await receive_all(websocket, received)
    assert received == [str(number) for number in range(len(received))]
    assert 5 <= len(received) <= 6
    assert websocket.close_event is not None
    assert (websocket.close_event.code, websocket.close_event.cause) == (1006, CloseCause.CLOSED)


async def test_drain_of_a_full_queue_goes_on_when_somebody_receives(autojump_clock: MockClock) -> None:
    """Whoever receives makes room, and the peer's Close comes in the end."""
    received: list[str | bytes] = []
    async with open_scripted_pair(lambda peer: send_late(peer, 60), max_queue=5) as (websocket, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: websocket.aclose(drain=True))
            await trio.sleep(2)
            await receive_all(websocket, received)
    assert len(received) == 60
    assert websocket.close_event is not None
    assert websocket.close_event.was_clean


async def test_drain_ends_when_the_block_is_left(autojump_clock: MockClock) -> None:
    """Leaving never waits for unread messages: the ending discards them, and the peer's Close is seen at once."""
    start = trio.current_time()
    async with open_scripted_pair(lambda peer: send_late(peer, 60), max_queue=5) as (websocket, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: websocket.aclose(drain=True))
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert trio.current_time() - start < 2.1
    assert websocket.close_event is not None


async def test_drain_ended_by_the_block_sees_the_close_behind_what_it_drops(autojump_clock: MockClock) -> None:
    """What is left over is skipped, the Close behind it counts."""
    start = trio.current_time()
    async with open_scripted_pair(lambda peer: send_late(peer, 60), max_queue=5) as (websocket, _):
        websocket._driver.close(CloseFrame(1000), CloseCause.CLOSED, 10, keep_arrived=True, drain=True)
        await trio.sleep(1)
    assert trio.current_time() - start < 1.1
    assert websocket.close_event is not None
    assert websocket.close_event.was_clean
    assert websocket.stats.messages_dropped > 50


async def test_drain_answers_no_ping(autojump_clock: MockClock) -> None:
    """After our Close nothing more is sent."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(peer.frame(PING, b"?"), peer.frame(TEXT, b"late"), peer.close_frame(1000))
        await peer.be_polite()

    received: list[str | bytes] = []
    async with open_scripted_pair(script) as pair:
        assert isinstance(pair, PeerPair)
        websocket, peer = pair
        await websocket.aclose(drain=True)
        await receive_all(websocket, received)
    assert received == ["late"]
    assert not [line for line in peer.record if "pong" in line.lower()]


async def test_drain_fails_on_what_is_malformed(autojump_clock: MockClock) -> None:
    """As without it (peer-garbage-after-ours): what came before is received, the code is 1006, no second Close."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(peer.frame(TEXT, b"fine"), peer.frame(0x3, b"odd"))
        await peer.drain()

    received: list[str | bytes] = []
    async with open_scripted_pair(script) as (websocket, _):
        await websocket.aclose(4000, drain=True)
        await receive_all(websocket, received)
    assert received == ["fine"]
    assert websocket.close_event is not None
    assert (websocket.close_event.code, websocket.close_event.sent) == (1006, CloseFrame(4000))


async def test_drain_drops_what_is_too_large_and_all_behind_it(autojump_clock: MockClock) -> None:
    """It cannot be refused any more: our Close is out. The peer's Close is seen."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(peer.frame(TEXT, b"fine"), peer.frame(TEXT, b"x" * 200), peer.frame(TEXT, b"behind"))
        await peer.send(peer.close_frame(1000))
        await peer.be_polite()

    received: list[str | bytes] = []
    async with open_scripted_pair(script, max_message_size=100) as (websocket, _):
        await websocket.aclose(drain=True)
        await receive_all(websocket, received)
    assert received == ["fine"]
    assert websocket.close_event is not None
    assert websocket.close_event.was_clean
    assert websocket.stats.messages_dropped == 2


async def test_drain_finishes_a_message_that_is_under_way(autojump_clock: MockClock) -> None:
    """One that had arrived in part when our Close was queued."""
    async with open_scripted_pair() as (websocket, peer):
        await peer.send(peer.frame(TEXT, b"be", fin=False))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: websocket.aclose(drain=True))
            await peer.receive_close()
            await peer.send(peer.frame(0, b"gun"), peer.close_frame(1000))
            await peer.fin()
        assert await websocket.receive() == "begun"


async def test_drain_piece_by_piece(autojump_clock: MockClock) -> None:
    """A message may still be received in pieces, of any size."""
    async with open_scripted_pair(lambda peer: send_late(peer, 1, 10_000), max_message_size=100) as (websocket, _):
        size = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: websocket.aclose(drain=True))
            async with websocket.receive_stream() as pieces:
                async for piece in pieces:
                    size += len(piece)
    assert size == 10_001


async def test_drain_over_sockets_loses_nothing_that_a_server_sends_before_its_close() -> None:
    """A client asks for the end in the middle of what a server sends, and has all that was sent."""
    sent = 0

    async def talk(websocket: WebSocket) -> None:
        nonlocal sent
        try:
            while True:
                await websocket.send(f"{sent}" + "." * 1000)
                sent += 1
        except ConnectionClosed:
            pass

    received: list[str | bytes] = []
    async with open_server(talk, "127.0.0.1", 0) as server:
        async with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive_all, websocket, received)
                while len(received) < 100:
                    await trio.sleep(0.001)
                await websocket.aclose(drain=True)
    assert len(received) == sent
    assert websocket.close_event is not None
    assert websocket.close_event.was_clean
    assert websocket.stats.messages_dropped == 0


async def test_drain_and_a_peer_that_sends_for_ever_end_with_close_timeout(autojump_clock: MockClock) -> None:
    """The limit holds, whatever the peer does."""

    async def script(peer: ScriptedPeer) -> None:
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.send(peer.frame(TEXT, b"more"))
                await trio.sleep(0.1)

    start = trio.current_time()
    received: list[str | bytes] = []
    async with open_scripted_pair(script) as (websocket, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_all, websocket, received)
            await websocket.aclose(drain=True)
    assert trio.current_time() - start == pytest.approx(10, abs=0.2)
    assert len(received) >= 99


async def test_drain_that_is_cancelled_ends_within_cancel_timeout(autojump_clock: MockClock) -> None:
    """As `aclose` without it."""
    start = trio.current_time()
    async with open_websocket_pair(streams=lockstep_stream_pair()) as (client, server):
        del server
        with trio.move_on_after(0):
            await client.aclose(drain=True)
    assert trio.current_time() - start < 1.1


@pytest.mark.parametrize("value", [None, 1, "yes"])
async def test_drain_must_be_a_bool(value: Any, autojump_clock: MockClock) -> None:
    """Nothing was sent, the connection stays open."""
    async with open_scripted_pair(ScriptedPeer.be_polite) as (websocket, _):
        with pytest.raises(TypeError, match=f"drain must be a bool, not {value!r}"):
            await websocket.aclose(drain=value)
        assert websocket.close_event is None
        await websocket.ping()
