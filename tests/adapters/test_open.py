"""Sections 6 and 8 of the contract, for a connection of `trio_websocket`: what a program may rely on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from contract.stage import answer_close, echo_close, end_transport, send_then

from trio_closeevents import (
    CloseCause,
    CloseEvent,
    CloseFrame,
    ConnectionBroken,
    ConnectionClosed,
    LocallyClosed,
    RemoteClosed,
)
from trio_closeevents.adapters import AdaptedWebSocket
from trio_closeevents.testing import BINARY, TEXT, ScriptedPeer

from .stage import Outcome, Stage, event

BIG = b"x" * 8_000_000
SLOW = 0.1  # seconds until a peer begins to read


async def finish(peer: ScriptedPeer) -> None:
    await peer.receive_close()
    await peer.fin()
    await peer.drain()


# -- sending -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("café", "Text b'caf\\xc3\\xa9'"),
        (b"\x00", "Binary b'\\x00'"),
        (bytearray(b"ba"), "Binary b'ba'"),
        (memoryview(b"view")[1:], "Binary b'iew'"),
    ],
)
async def test_send_sends_text_and_binary(stage: Stage, value: str | bytes, seen: str) -> None:
    """A `str` is text; all that is bytes-like is binary, where the package takes `bytes` alone."""

    async def block(ws: AdaptedWebSocket) -> None:
        await ws.send(value)

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == [seen, "Close 1000", "FIN"]


@pytest.mark.parametrize(("value", "kind"), [(1, TypeError), (["a"], TypeError), ("\ud800", ValueError)])
async def test_send_refuses_what_is_no_message(stage: Stage, value: Any, kind: type[Exception]) -> None:
    """Nothing was sent, and the connection stays open."""

    async def block(ws: AdaptedWebSocket) -> None:
        with pytest.raises(kind):
            await ws.send(value)
        await ws.send("fine")

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Text b'fine'", "Close 1000", "FIN"]


async def test_send_of_several_tasks_keeps_the_order_of_the_calls(stage: Stage) -> None:
    """Messages of many tasks are sent whole, in the order in which they were asked for."""

    async def send(ws: AdaptedWebSocket, number: int) -> None:
        asked.append(f"Text b'{number}'")
        await ws.send(f"{number}")

    async def block(ws: AdaptedWebSocket) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(send, ws, number)

    asked: list[str] = []
    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == [*asked, "Close 1000", "FIN"]


async def test_send_cancelled_sends_the_whole_message(stage: Stage) -> None:
    """A `send` that is cancelled halfway tears nothing: the message arrives, and what is sent behind it too."""

    async def block(ws: AdaptedWebSocket) -> None:
        with trio.move_on_after(SLOW / 2) as scope:
            await ws.send(BIG)
        assert scope.cancelled_caught
        await ws.send("behind it")

    async def script(peer: ScriptedPeer) -> None:
        await trio.sleep(SLOW)
        await echo_close(peer)

    outcome = await stage.play(block, script, bounded=True)
    assert outcome.peer.record == [f"Binary of {len(BIG)} B", "Text b'behind it'", "Close 1000", "FIN"]


@pytest.mark.parametrize("with_reader", [False, True])
async def test_end_cancelled_in_send_finishes_the_frame_first(stage: Stage, with_reader: bool) -> None:
    """A block that is cancelled in `send` lets the message be finished, and sends 1001 behind it."""
    scope = trio.CancelScope()

    async def block(ws: AdaptedWebSocket) -> None:
        scope.deadline = trio.current_time() + SLOW / 2
        await ws.send(BIG)

    async def script(peer: ScriptedPeer) -> None:
        await trio.sleep(SLOW)
        await echo_close(peer)

    outcome = await stage.play(
        block, script, scope=scope, bounded=True, with_reader=with_reader, cancel_timeout=5 * stage.wire.cancel_timeout
    )
    assert outcome.peer.record[:2] == [f"Binary of {len(BIG)} B", "Close 1001"]
    assert scope.cancelled_caught
    assert outcome.event == event(1006 if with_reader else 1001, "cancelled")


@pytest.mark.parametrize("with_reader", [False, True])
async def test_end_cancelled_in_send_to_a_stuck_peer_puts_no_close_into_the_frame(
    stage: Stage, with_reader: bool
) -> None:
    """A frame that cannot be finished within the limit is the last that the peer sees."""
    scope = trio.CancelScope()
    over = trio.Event()

    async def block(ws: AdaptedWebSocket) -> None:
        scope.deadline = trio.current_time() + SLOW / 2
        await ws.send(BIG)

    async def script(peer: ScriptedPeer) -> None:
        await over.wait()
        await peer.drain()

    async def play() -> None:
        outcomes.append(await stage.play(block, script, scope=scope, bounded=True, with_reader=with_reader))

    outcomes: list[Outcome] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        while not scope.cancelled_caught:
            await trio.sleep(0.05)
        over.set()
    (outcome,) = outcomes
    assert outcome.peer.close is None
    assert len(outcome.peer.frames) == stage.wire.memory  # which takes a message whole or not at all
    assert stage.took(outcome, stage.wire.cancel_timeout)
    assert outcome.event == event(1006, "cancelled")


async def test_send_that_waits_wakes_with_the_event(stage: Stage) -> None:
    """A `send` that is stuck when the connection is closed learns how that ended; so does one that waits behind it."""

    async def send(ws: AdaptedWebSocket, value: str | bytes) -> None:
        with pytest.raises(LocallyClosed) as caught:
            await ws.send(value)
        events.append(caught.value.event)

    async def block(ws: AdaptedWebSocket) -> None:
        async with trio.open_nursery() as nursery:
            for value in (BIG, "behind"):
                nursery.start_soon(send, ws, value)
                await trio.testing.wait_all_tasks_blocked()
            await ws.aclose()
        over.set()

    async def script(peer: ScriptedPeer) -> None:
        await over.wait()

    events: list[CloseEvent | None] = []
    over = trio.Event()
    outcome = await stage.play(block, script, bounded=True)
    assert events == [event(1006, "closed")] * 2
    assert outcome.event is events[0] is events[1]


async def test_send_that_waits_does_not_hold_up_a_connection_that_has_failed(stage: Stage) -> None:
    """Where the package leaves a message waiting behind a failure, leaving the block breaks it off."""

    async def send(ws: AdaptedWebSocket) -> None:
        with pytest.raises(ConnectionBroken) as caught:
            await ws.send(BIG)
        events.append(caught.value.event)

    async def block(ws: AdaptedWebSocket) -> None:
        nurseries[0].start_soon(send, ws)
        assert (await ws.wait_closed()).code == 1002

    async def script(peer: ScriptedPeer) -> None:
        await trio.sleep(SLOW)
        await peer.send(peer.frame(3, b"reserved"))
        await over.wait()

    async def play() -> None:
        outcomes.append(await stage.play(block, script, bounded=True))

    nurseries: list[trio.Nursery] = []
    outcomes: list[Outcome] = []
    events: list[CloseEvent | None] = []
    over = trio.Event()
    async with trio.open_nursery() as nursery:
        nurseries.append(nursery)
        nursery.start_soon(play)
        while not events:
            await trio.sleep(0.01)
        over.set()
    assert stage.was_quick(outcomes[0])
    assert events[0] is outcomes[0].event


# -- receiving -----------------------------------------------------------------------------------------------------


async def test_receive_returns_text_and_binary(stage: Stage) -> None:
    """Text is `str`, binary is `bytes`."""

    async def block(ws: AdaptedWebSocket) -> None:
        got.extend([await ws.receive(), await ws.receive()])

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, b"text"), peer.frame(BINARY, b"binary"))
        await echo_close(peer)

    got: list[str | bytes] = []
    await stage.play(block, script)
    assert got == ["text", b"binary"]


async def test_receive_cancelled_loses_nothing(stage: Stage) -> None:
    """The next call returns the message; a `receive` that is cancelled is no end of the connection."""

    async def block(ws: AdaptedWebSocket) -> None:
        with trio.move_on_after(0.05) as scope:
            await ws.receive()
        assert scope.cancelled_caught
        waiting.set()
        assert await ws.receive() == "late"

    async def script(peer: ScriptedPeer) -> None:
        await waiting.wait()
        await peer.send(peer.frame(TEXT, b"late"))
        await echo_close(peer)

    waiting = trio.Event()
    outcome = await stage.play(block, script)
    assert outcome.raised is None


async def test_receive_leaves_messages_to_the_raw_connection(stage: Stage) -> None:
    """Nothing is taken from the package's connection that was not asked for, not by `wait_closed` either."""

    async def block(ws: AdaptedWebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.wait_closed)
            got.extend([await ws.connection.get_message() for _ in range(5)])
            await ws.connection.send_message("thanks")
            nursery.cancel_scope.cancel()

    async def script(peer: ScriptedPeer) -> None:
        for number in range(5):
            await peer.send(peer.frame(TEXT, b"%d" % number))
        await echo_close(peer)

    got: list[str | bytes] = []
    outcome = await stage.play(block, script)
    assert got == ["0", "1", "2", "3", "4"]
    assert outcome.peer.record == ["Text b'thanks'", "Close 1000", "FIN"]


async def test_receive_twice_at_once_is_busy(stage: Stage) -> None:
    """The second call raises, and the first one goes on."""

    async def receive(ws: AdaptedWebSocket) -> None:
        got.append(await ws.receive())

    async def block(ws: AdaptedWebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, ws)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await ws.receive()
            second_has_failed.set()

    async def script(peer: ScriptedPeer) -> None:
        await second_has_failed.wait()
        await peer.send(peer.frame(TEXT, b"for the first"))
        await echo_close(peer)

    got: list[str | bytes] = []
    second_has_failed = trio.Event()
    await stage.play(block, script)
    assert got == ["for the first"]


# -- the end, by every road ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["receive", "wait_closed"])
async def test_waiting_wakes_with_the_event(stage: Stage, wait: str) -> None:
    """Who waits when another task closes is told when it is decided, with the one event."""

    async def wait_for(ws: AdaptedWebSocket) -> None:
        if wait == "wait_closed":
            events.append(await ws.wait_closed())
            return
        with pytest.raises(LocallyClosed) as caught:
            await ws.receive()
        events.append(caught.value.event)

    async def block(ws: AdaptedWebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for, ws)
            await trio.testing.wait_all_tasks_blocked()
            await ws.aclose(4000)

    events: list[CloseEvent | None] = []
    outcome = await stage.play(block, answer_close(4001))
    assert events == [event(4001, "closed")]
    assert events[0] is outcome.event


async def test_calls_during_the_closing_handshake_raise_at_once(stage: Stage) -> None:
    """`send` and `receive` do not wait for an answer; the exception's event is the connection's, as soon as it is."""

    async def block(ws: AdaptedWebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await closed.wait()
            calls: list[Callable[[], Awaitable[object]]] = [ws.receive, lambda: ws.send("late")]
            for call in calls:
                with pytest.raises(LocallyClosed) as caught:
                    await call()
                assert caught.value.event is None
                assert ws.close_event is None
                errors.append(caught.value)
            answer.set()

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        closed.set()
        await answer.wait()
        await peer.send(peer.close_frame(1000))
        await end_transport(peer)

    errors: list[ConnectionClosed] = []
    closed, answer = trio.Event(), trio.Event()
    outcome = await stage.play(block, script)
    assert outcome.event == event(1000, "closed")
    assert [error.event is outcome.event for error in errors] == [True, True]
    assert outcome.peer.record == ["Close 1000", "FIN"]


async def test_calls_behind_our_end_raise_locally_closed(stage: Stage) -> None:
    """In the block behind `aclose`, and when the block is left: `LocallyClosed`, whatever the peer did then."""

    async def block(ws: AdaptedWebSocket) -> None:
        await ws.aclose()
        await check(ws)

    async def check(ws: AdaptedWebSocket) -> None:
        calls: list[Callable[[], Awaitable[object]]] = [ws.receive, lambda: ws.send("late"), lambda: anext(ws)]
        for call in calls:
            with pytest.raises(LocallyClosed) as caught:
                await call()
            assert caught.value.event == event(1001, "closed")

    outcome = await stage.play(block, answer_close(1001))
    await check(outcome.ws)
    assert await outcome.ws.wait_closed() is outcome.event
    await outcome.ws.aclose()


async def test_calls_behind_the_peers_end_tell_what_it_was(stage: Stage) -> None:
    """What came first decides: `aclose` behind it changes neither the event nor the exceptions."""

    async def block(ws: AdaptedWebSocket) -> None:
        with pytest.raises(RemoteClosed):
            await ws.receive()
        await ws.aclose(4000)
        await check(ws)

    async def check(ws: AdaptedWebSocket) -> None:
        with pytest.raises(ConnectionBroken) as broken:
            await ws.send("late")
        with pytest.raises(RemoteClosed) as closed:
            await ws.receive()
        assert broken.value.event is closed.value.event is ws.close_event

    outcome = await stage.play(block, send_then(lambda peer: peer.close_frame(1001), then=finish))
    assert outcome.event == event(1001)
    await check(outcome.ws)
    assert [str(each) for each in outcome.peer.frames] == ["Close 1001"]


async def test_calls_in_the_turn_of_aclose_raise_locally_closed(stage: Stage) -> None:
    """From the call of `aclose` on, before anything was done for it, this side has asked for the end."""

    async def block(ws: AdaptedWebSocket) -> None:
        ws._ending.begin(CloseFrame(1000), CloseCause.CLOSED, 1)
        with pytest.raises(LocallyClosed):
            await ws.receive()
        with pytest.raises(LocallyClosed):
            await ws.send("late")

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close 1000", "FIN"]


async def test_every_call_checks_for_cancellation(stage: Stage) -> None:
    """While the connection is open and when it has ended, whether there is something to wait for or not."""

    async def check(ws: AdaptedWebSocket) -> None:
        calls: list[Callable[[], Awaitable[object]]] = [
            ws.receive,
            lambda: anext(ws),
            lambda: ws.send("never"),
            ws.wait_closed,
        ]
        for call in calls:
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught

    async def block(ws: AdaptedWebSocket) -> None:
        await check(ws)
        assert await ws.receive() == "kept"
        with trio.testing.assert_checkpoints():
            await ws.aclose()
        await check(ws)
        with trio.testing.assert_checkpoints():
            await ws.wait_closed()
        with trio.testing.assert_checkpoints():
            await ws.aclose()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, b"kept"))
        await echo_close(peer)

    outcome = await stage.play(block, script)
    assert outcome.peer.record == ["Close 1000", "FIN"]


async def test_event_is_none_until_it_is_decided(stage: Stage) -> None:
    """While the connection is open there is nothing to tell; then it is one object."""

    async def block(ws: AdaptedWebSocket) -> None:
        assert ws.close_event is None
        assert "not ended" in repr(ws)

    outcome = await stage.play(block, echo_close)
    assert outcome.event is outcome.ws.close_event
    assert "1000 normal closure: exit" in repr(outcome.ws)
