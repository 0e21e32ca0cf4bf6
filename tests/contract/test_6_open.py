"""Section 6: what a program may rely on while the connection is open."""

from __future__ import annotations

import pytest
import trio

from trio_closeevents import CloseCause, CloseFrame, ConnectionBroken, LocallyClosed, WebSocket
from trio_closeevents.testing import PING, PONG, TEXT, ScriptedPeer

from .stage import Stage, do_nothing, echo_close, end_transport, event, leave, only_read, read_to_the_end


async def test_send_and_receive_carry_every_kind_of_message(stage: Stage) -> None:
    """Text and binary, empty and large, arrive as they were sent, in order, both ways."""
    messages: list[str | bytes] = ["", b"", "ascii", "é€😀", b"\x00\xff", "x" * 125, b"y" * 126, b"z" * 70_000]

    async def block(ws: WebSocket) -> None:
        for message in messages:
            await ws.send(message)
            assert await ws.receive() == message
        await ws.send(bytearray(b"array"))
        assert await ws.receive() == b"array"
        await ws.send(memoryview(b"a view")[2:])
        assert await ws.receive() == b"view"

    async def script(peer: ScriptedPeer) -> None:
        while (received := await peer.receive()) is not None:
            await peer.send(peer.frame(received.opcode, received.payload))
            if received.opcode == 8:
                await end_transport(peer)

    await stage.play(block, script)


async def test_send_copies_a_buffer_that_is_changed_afterwards(stage: Stage) -> None:
    """A buffer may be changed once send() has returned."""

    async def block(ws: WebSocket) -> None:
        buffer = bytearray(b"before")
        await ws.send(buffer)
        buffer[:] = b"after!"

    outcome = await stage.play(block, echo_close)
    assert str(outcome.peer.frames[0]) == "Binary b'before'"


async def test_send_cancelled_commits_a_whole_message_or_nothing(stage: Stage) -> None:
    """A send that is cancelled while its message leaves: the peer gets the message whole, then the next."""

    async def block(ws: WebSocket) -> None:
        with trio.move_on_after(0.05) as scope:
            await ws.send(bytes(8_000_000))
        assert scope.cancelled_caught
        go_on.set()
        await ws.send("after")

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await stage.play(block, script, bounded=True, close_timeout=10)
    assert [str(each) for each in outcome.peer.frames] == ["Binary of 8000000 B", "Text b'after'", "Close 1000"]


async def test_send_cancelled_while_parked_is_not_sent_at_all(stage: Stage) -> None:
    """More than 64 KiB are queued: the next message waits unqueued, and if cancelled is never sent."""

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, bytes(8_000_000))
            await trio.sleep(0.1)
            before = ws.buffered
            assert before > 64 * 1024
            with trio.move_on_after(0.05) as scope:
                await ws.send("never")
            assert scope.cancelled_caught
            assert ws.buffered <= before
            go_on.set()
        await ws.send("after")

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await stage.play(block, script, bounded=True, close_timeout=10)
    assert [str(each) for each in outcome.peer.frames] == ["Binary of 8000000 B", "Text b'after'", "Close 1000"]
    assert outcome.ws.buffered == 0


async def test_send_in_a_cancelled_scope_sends_nothing(stage: Stage) -> None:
    """Every call checks for cancellation before anything is queued."""

    async def block(ws: WebSocket) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.send("never")
        assert scope.cancelled_caught
        assert ws.stats.messages_sent == 0

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close 1000", "FIN"]


async def test_many_senders_never_interleave(stage: Stage) -> None:
    """Ten tasks send large messages at once: each arrives whole."""

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ws.send, bytes([number]) * 200_000)

    outcome = await stage.play(block, echo_close, bounded=True, close_timeout=10)
    messages = outcome.peer.frames[:-1]
    assert len(messages) == 10
    assert all(len(set(each.payload)) == 1 and len(each.payload) == 200_000 for each in messages)
    assert len({each.payload[0] for each in messages}) == 10


async def test_receive_cancelled_loses_nothing(stage: Stage) -> None:
    """Cancelled with half a message in arrival: the next call returns the whole."""

    async def block(ws: WebSocket) -> None:
        with trio.move_on_after(0.1) as scope:
            await ws.receive()
        assert scope.cancelled_caught
        go_on.set()
        assert await ws.receive() == "hello"
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.receive()
        assert scope.cancelled_caught
        assert await ws.receive() == "again"

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        whole = peer.frame(TEXT, b"hel", fin=False) + peer.frame(0, b"lo") + peer.frame(TEXT, b"again")
        await peer.send(whole[:7])
        await go_on.wait()
        await peer.send(whole[7:])
        await echo_close(peer)

    await stage.play(block, script)


async def test_receive_by_two_tasks_is_busy(stage: Stage) -> None:
    """A second receive() while one waits raises BusyResourceError; the connection is untouched."""

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def first() -> None:
                assert await ws.receive() == "one"

            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await ws.receive()
            go_on.set()
        assert await ws.receive() == "two"

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await peer.send(peer.frame(TEXT, b"one"), peer.frame(TEXT, b"two"))
        await echo_close(peer)

    await stage.play(block, script)


async def test_messages_before_the_peers_close_are_delivered_first(stage: Stage) -> None:
    """300 messages, then Close: a late program gets all of them, then the end."""

    async def block(ws: WebSocket) -> None:
        await trio.sleep(0.1)
        assert await read_to_the_end(ws) == [str(number) for number in range(300)]

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(*(peer.frame(TEXT, b"%d" % number) for number in range(300)), peer.close_frame(1000))
        await peer.receive_close()
        await end_transport(peer)

    outcome = await stage.play(block, script)
    assert outcome.event == event(1000, "remote", "remote", clean=True, sent=1000, received=1000)


async def test_after_our_close_what_had_arrived_stays_receivable(stage: Stage) -> None:
    """What was read before aclose() is handed out until the block is left; what comes later is dropped."""

    async def block(ws: WebSocket) -> None:
        assert await ws.receive() == "0"
        await ws.aclose(4000)
        assert [await ws.receive() for _ in range(4)] == ["1", "2", "3", "4"]
        with pytest.raises(LocallyClosed):
            await ws.receive()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(*(peer.frame(TEXT, b"%d" % number) for number in range(5)))
        close = await peer.receive_close()
        assert close is not None
        await peer.send(peer.frame(TEXT, b"late"), peer.frame(close.opcode, close.payload))
        await end_transport(peer)

    outcome = await stage.play(block, script, max_queue=1)
    assert outcome.ws.stats.messages_dropped == 1
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)


@pytest.mark.parametrize("count", [5, 500])
async def test_after_our_close_all_that_was_read_in_one_piece_stays_receivable(stage: Stage, count: int) -> None:
    """However much of it there is, and though most of it was not looked at yet; half a message is not kept."""

    async def block(ws: WebSocket) -> None:
        assert await ws.receive() == "0"
        await ws.aclose(4000)
        assert [await ws.receive() for _ in range(1, count)] == [str(number) for number in range(1, count)]
        with pytest.raises(LocallyClosed):
            await ws.receive()

    async def script(peer: ScriptedPeer) -> None:
        last = peer.frame(TEXT, b"not whole")
        await peer.send(*(peer.frame(TEXT, b"%d" % number) for number in range(count)), last[:-1])
        close = await peer.receive_close()
        assert close is not None
        await peer.send(last[-1:], peer.frame(close.opcode, close.payload))
        await end_transport(peer)

    outcome = await stage.play(block, script, close_timeout=10)
    assert outcome.ws.stats.messages_dropped == 1
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)


async def test_send_admitted_in_the_turn_of_a_close_is_not_sent(stage: Stage) -> None:
    """A parked send that gets its room in the very turn in which another task closes comes too late."""

    async def block(ws: WebSocket) -> None:
        driver = ws._driver

        async def too_late() -> None:
            with pytest.raises(LocallyClosed) as raised:
                await ws.send("never")
            assert raised.value.event is not None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, bytes(8_000_000))
            await trio.sleep(0.1)
            nursery.start_soon(too_late)
            await trio.testing.wait_all_tasks_blocked()
            driver.writer._before_queue.wake_all()
            driver.close(CloseFrame(4000), CloseCause.CLOSED, 5, keep_arrived=True)
            go_on.set()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await stage.play(block, script, bounded=True)
    assert [str(each) for each in outcome.peer.frames] == ["Binary of 8000000 B", "Close 4000"]


async def test_aclose_by_several_tasks_at_once_sends_one_close(stage: Stage) -> None:
    """The first code counts, all calls return when the transport is gone; tasks in receive() wake."""

    async def block(ws: WebSocket) -> None:
        async def close(code: int) -> None:
            await ws.aclose(code)
            assert ws.close_event is not None

        async def read() -> None:
            with pytest.raises(LocallyClosed):
                await ws.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            for code in (4000, 4001, 4002):
                nursery.start_soon(close, code)

    outcome = await stage.play(block, echo_close)
    closes = [each for each in outcome.peer.frames if each.opcode == 8]
    assert len(closes) == 1
    assert closes[0].code in (4000, 4001, 4002)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 5000, 70000])
async def test_aclose_with_a_code_that_may_not_be_sent(stage: Stage, code: int) -> None:
    """ValueError, nothing sent, still open."""

    async def block(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match=str(code)):
            await ws.aclose(code)
        with pytest.raises(ValueError, match="200 bytes"):
            await ws.aclose(1000, "é" * 100)
        await ws.send("still open")

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Text b'still open'", "Close 1000", "FIN"]


@pytest.mark.parametrize("message", [1, None, {"a": 1}, object()])
async def test_send_of_a_wrong_type(stage: Stage, message: object) -> None:
    """TypeError that names the type, nothing sent, still open; a lone surrogate is a ValueError."""

    async def block(ws: WebSocket) -> None:
        with pytest.raises(TypeError, match=type(message).__name__):
            await ws.send(message)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="surrogate"):
            await ws.send("a\ud800")
        for call in (ws.ping, ws.pong):
            with pytest.raises(ValueError, match="126 bytes"):
                await call(bytes(126))
            with pytest.raises(TypeError, match="str"):
                await call("text")  # type: ignore[arg-type]

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close 1000", "FIN"]


async def test_pings_of_the_peer_are_answered_while_the_program_is_elsewhere(stage: Stage) -> None:
    """A Ping is answered with its payload, without any call of the program; the Pong to none is ignored."""
    answered = trio.Event()

    async def block(ws: WebSocket) -> None:
        await answered.wait()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(PONG, b"unasked"), peer.frame(PING, b"are you there"))
        assert str(await peer.receive()) == "Pong b'are you there'"
        answered.set()
        await echo_close(peer)

    await stage.play(block, script)


async def test_ping_returns_the_round_trip(stage: Stage) -> None:
    """A Pong wakes its Ping, and all older ones; a payload under way is refused."""
    times: list[float] = []

    async def block(ws: WebSocket) -> None:
        async def ping(payload: bytes | None) -> None:
            times.append(await ws.ping(payload))

        async with trio.open_nursery() as nursery:
            for payload in (b"1", b"2", None):
                nursery.start_soon(ping, payload)
                await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ValueError, match="under way"):
                await ws.ping(b"2")
            with trio.move_on_after(0.01):
                await ws.ping(b"given up")
        await ws.pong(b"unasked")

    async def script(peer: ScriptedPeer) -> None:
        pings = [await peer.receive() for _ in range(4)]
        assert [ping.opcode for ping in pings if ping] == [PING] * 4
        assert pings[2] is not None
        await peer.send(peer.frame(PONG, b"nobody's"), peer.frame(PONG, pings[2].payload))
        await echo_close(peer)

    outcome = await stage.play(block, script)
    assert len(times) == 3
    assert all(0 <= each < 5 for each in times)
    assert str(outcome.peer.frames[4]) == "Pong b'unasked'"


async def test_backpressure_stops_reading_at_the_queue_limit(stage: Stage) -> None:
    """Beyond max_queue nothing is read; a slow program gets every message, and is not failed."""

    async def block(ws: WebSocket) -> None:
        await trio.sleep(0.1)
        assert ws.stats.messages_received <= 2
        received = []
        async for message in ws:
            received.append(message)
            await trio.sleep(0.001)
        assert len(received) == 200

    async def script(peer: ScriptedPeer) -> None:
        for number in range(200):
            await peer.send(peer.frame(TEXT, b"%d" % number))
        await peer.send(peer.close_frame(1000))
        await peer.receive_close()
        await end_transport(peer)

    await stage.play(block, script, max_queue=2)


async def test_backpressure_by_bytes(stage: Stage) -> None:
    """max_queue_bytes bounds what waits, whatever the number of messages; None lifts a limit."""

    async def block(ws: WebSocket) -> None:
        await trio.sleep(0.1)
        assert ws.stats.bytes_received <= 2000
        assert len(await read_to_the_end(ws)) == 20

    async def script(peer: ScriptedPeer) -> None:
        for _ in range(20):
            await peer.send(peer.frame(2, bytes(1000)))
        await peer.send(peer.close_frame(1000))
        await peer.receive_close()
        await end_transport(peer)

    await stage.play(block, script, max_queue=None, max_queue_bytes=1500)


async def test_buffered_counts_payload_until_the_network_has_it(stage: Stage) -> None:
    """`buffered` is payload only, and sinks to zero as the network takes it."""

    async def block(ws: WebSocket) -> None:
        with trio.move_on_after(0.1):
            await ws.send(bytes(8_000_000))
        assert 0 < ws.buffered <= 8_000_000
        go_on.set()
        await ws.send("x")
        assert ws.buffered <= 64 * 1024

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await stage.play(block, script, bounded=True, close_timeout=10)
    assert outcome.ws.buffered == 0


async def test_buffered_keeps_what_never_left(stage: Stage) -> None:
    """After the end, `buffered` tells how much of the program's messages was lost on this side."""

    async def block(ws: WebSocket) -> None:
        with trio.move_on_after(0.1):
            await ws.send(bytes(8_000_000))
        ws.abort()

    outcome = await stage.play(block, do_nothing, bounded=True)
    assert 0 < outcome.ws.buffered <= 8_000_000


async def test_nothing_outlives_the_block(stage: Stage) -> None:
    """No task of ours is left when the block has been left."""
    before: set[object] = set()

    def tasks() -> set[object]:
        root = trio.lowlevel.current_root_task()
        assert root is not None
        found, queue = set(), [root]
        while queue:
            task = queue.pop()
            found.add(task)
            queue += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        return {task for task in found if "trio_closeevents" in str(getattr(task, "name", ""))}

    async def block(ws: WebSocket) -> None:
        await trio.testing.wait_all_tasks_blocked()
        before.update(tasks())

    await stage.play(block, only_read)
    assert before
    assert not tasks()


async def test_a_block_is_for_one_use(stage: Stage) -> None:
    """Entering the same `connect` or `accept` twice is a RuntimeError that tells what to do."""
    ours, theirs = await stage.wire.pair()
    once = stage.ours(ours)

    async def run_peer() -> None:
        peer = await stage.peer_over(theirs)
        await peer.open()
        await echo_close(peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_peer)
        async with once:
            pass
    with pytest.raises(RuntimeError, match="one of its own"):
        await once.__aenter__()


async def test_repr_helps(stage: Stage) -> None:
    """A connection's repr tells role, state and, at the end, the event."""
    outcome = await stage.play(leave, echo_close)
    assert stage.role in repr(outcome.ws)
    assert "CLOSED" in repr(outcome.ws)
    assert str(outcome.event) in repr(outcome.ws)
    assert outcome.ws.request.headers["Upgrade"].lower() == "websocket"
    assert outcome.ws.response.status == 101
    assert outcome.ws.response.headers["connection"] == "Upgrade"
    assert outcome.ws.subprotocol is None
    assert (outcome.ws.local_address is None) is stage.wire.memory
    assert (outcome.ws.remote_address is None) is stage.wire.memory
    with pytest.raises(LocallyClosed):
        await outcome.ws.receive()
    assert ConnectionBroken is not None
