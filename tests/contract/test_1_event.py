"""Section 1: one connection, one CloseEvent."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest
import trio

from trio_closeevents import CloseEvent, ConnectionClosed, LocallyClosed, ReadyState, WebSocket
from trio_closeevents.testing import TEXT, ScriptedPeer

from .stage import Stage, do_nothing, echo_close, end_transport, event, leave, only_read


async def test_one_event_reaches_the_program_by_every_road(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The attribute, wait_closed(), `.event` of the exceptions, the last of events(), on_close, the log: one object."""
    roads: list[object] = []

    def on_close(ws: WebSocket, event: CloseEvent) -> None:
        roads.append(event)
        assert ws.close_event is event

    async def block(ws: WebSocket) -> None:
        items = [item async for item in ws.events()]
        assert items[:-1] == ["one", b"two"]
        roads.append(items[-1])
        roads.append(ws.close_event)
        roads.append(await ws.wait_closed())
        for use in (ws.receive, ws.ping, ws.pong):
            with pytest.raises(ConnectionClosed) as raised:
                await use()
            roads.append(raised.value.event)
        with pytest.raises(ConnectionClosed) as raised:
            await ws.send("x")
        roads.append(raised.value.event)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, b"one"), peer.frame(2, b"two"), peer.close_frame(4002))
        await peer.receive_close()
        await end_transport(peer)

    caplog.set_level(logging.INFO, "trio_closeevents")
    options: dict[str, Any] = {} if stage.is_client else {"on_close": on_close}
    outcome = await stage.play(block, script, **options)
    (record,) = [record for record in caplog.records if record.levelno == logging.INFO]
    roads.append(record.close_event)  # type: ignore[attr-defined]
    assert record.websocket is outcome.ws  # type: ignore[attr-defined]
    assert outcome.ws.id.hex[:8] in record.getMessage()
    assert "4002" in record.getMessage()
    assert len(roads) == (9 if not stage.is_client else 8)
    assert all(each is outcome.event for each in roads)


async def test_close_event_is_none_until_it_is_decided(stage: Stage) -> None:
    """While the closing handshake runs the event is None and the state CLOSING; then it never changes."""
    go_on = trio.Event()

    async def block(ws: WebSocket) -> None:
        assert (ws.close_event, ws.state) == (None, ReadyState.OPEN)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert (ws.close_event, ws.state) == (None, ReadyState.CLOSING)
            go_on.set()
            decided = await ws.wait_closed()
        assert ws.close_event is decided
        ws.abort()
        assert ws.close_event is decided
        assert ws.state is ReadyState.CLOSED

    async def script(peer: ScriptedPeer) -> None:
        close = await peer.receive_close()
        assert close is not None
        await go_on.wait()
        await peer.send(peer.frame(close.opcode, close.payload))
        await end_transport(peer)

    await stage.play(block, script)


@pytest.mark.parametrize("ending", ["fin", "close", "aclose", "abort", "failure"])
async def test_everyone_who_waits_wakes_with_the_event(stage: Stage, ending: str) -> None:
    """receive, send, ping and wait_closed, in whatever task, wake when the end is decided, and none is left behind."""
    woken: list[str] = []

    async def block(ws: WebSocket) -> None:
        async def wait(name: str) -> None:
            try:
                if name == "receive":
                    await ws.receive()
                elif name == "ping":
                    await ws.ping()
                elif name == "wait_closed":
                    await ws.wait_closed()
                else:
                    await ws.send(bytes(9_000_000))
                    await ws.send("parked")
            except ConnectionClosed as error:
                assert error.event is ws.close_event is not None  # noqa: PT017
            else:
                assert name == "wait_closed"
            woken.append(name)

        async with trio.open_nursery() as nursery:
            for name in ("receive", "ping", "wait_closed", "send", "second send"):
                nursery.start_soon(wait, name)
            await trio.sleep(0.1)
            if ending == "aclose":
                await ws.aclose()
            elif ending == "abort":
                ws.abort()
            go_on.set()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        if ending == "fin":
            await peer.fin()
        elif ending == "close":
            await peer.send(peer.close_frame(4002))
        elif ending == "failure":
            await peer.send(peer.frame(0x3))
        await do_nothing(peer)

    await stage.play(block, script, bounded=True)
    assert sorted(woken) == ["ping", "receive", "second send", "send", "wait_closed"]


async def test_on_close_that_raises_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """What the program's hook raises changes nothing."""
    if stage.is_client:
        pytest.skip("on_close is an option of the server's side")

    def on_close(ws: WebSocket, event: CloseEvent) -> None:
        raise ZeroDivisionError("in the hook")

    outcome = await stage.play(leave, echo_close, on_close=on_close)
    assert outcome.event == event(1000, "exit", "local", clean=True, sent=1000, received=1000)
    assert outcome.raised is None
    assert "in the hook" in caplog.text


async def test_cancel_on_close_ends_the_block_in_silence_for_a_clean_close(stage: Stage) -> None:
    """The block is cancelled when the connection ends under it; our own scope's Cancelled is absorbed."""
    reached: list[str] = []

    async def block(ws: WebSocket) -> None:
        try:
            await trio.sleep_forever()
        finally:
            reached.append("cleaned up")

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.close_frame(1001))
        await peer.receive_close()
        await end_transport(peer)

    outcome = await stage.play(block, script, cancel_on_close=True)
    assert reached == ["cleaned up"]
    assert outcome.raised is None


async def test_cancel_on_close_raises_connection_broken_for_any_other_end(stage: Stage) -> None:
    """An end that RemoteClosed does not cover is raised on leaving, bare."""
    from trio_closeevents import ConnectionBroken

    async def block(ws: WebSocket) -> None:
        await trio.sleep_forever()

    async def script(peer: ScriptedPeer) -> None:
        await peer.fin()
        await peer.drain()
        await peer.aclose()

    outcome = await stage.play(block, script, cancel_on_close=True)
    assert type(outcome.raised) is ConnectionBroken
    assert outcome.raised.event is outcome.event


async def test_cancel_on_close_is_silent_for_our_own_aclose(stage: Stage) -> None:
    """Another task's aclose() cancels the block, and leaving it raises nothing."""

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose, 4000)
            await trio.sleep_forever()

    outcome = await stage.play(block, echo_close, cancel_on_close=True)
    assert outcome.raised is None
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)


async def test_cancel_on_close_lets_an_outer_cancellation_go_on(stage: Stage) -> None:
    """Only our own scope's cancellation is absorbed."""
    scope = trio.CancelScope()

    async def block(ws: WebSocket) -> None:
        scope.cancel()
        await trio.sleep_forever()

    outcome = await stage.play(block, echo_close, scope=scope, cancel_on_close=True)
    assert scope.cancelled_caught
    assert outcome.peer.record == ["Close 1001", "FIN"]


async def test_cancel_on_close_leaves_other_exceptions_alone(stage: Stage) -> None:
    """An exception of the block goes on, and our own cancellation is taken out of a group."""

    async def block(ws: WebSocket) -> None:
        async def fail_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("mine")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.close_frame(1000))
        await peer.receive_close()
        await end_transport(peer)

    outcome = await stage.play(block, script, cancel_on_close=True)
    assert isinstance(outcome.raised, ExceptionGroup)
    assert [type(each) for each in outcome.raised.exceptions] == [KeyError]


async def test_locally_closed_is_a_closed_resource_error(stage: Stage) -> None:
    """After our own ending, use raises LocallyClosed, whatever the peer did then."""
    outcome = await stage.play(leave, only_read)
    with pytest.raises(trio.ClosedResourceError) as raised:
        await outcome.ws.receive()
    assert type(raised.value) is LocallyClosed
    assert raised.value.event is outcome.event


async def test_events_cancelled_before_the_last_item_still_has_it(stage: Stage) -> None:
    """A cancelled step of `events()` loses nothing, the CloseEvent included."""

    async def block(ws: WebSocket) -> None:
        events = ws.events()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose, 4000)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.05) as scope:
                await anext(events)
            assert scope.cancelled_caught
            go_on.set()
            assert await anext(events) is ws.close_event is not None
        with pytest.raises(StopAsyncIteration):
            await anext(events)

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    await stage.play(block, script)


async def test_cancel_on_close_takes_its_cancellation_out_of_a_group_that_is_reduced(stage: Stage) -> None:
    """A nursery of the block may reduce the group to the one exception that is left of it."""

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("mine")

    async def block(ws: WebSocket) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nursery_manager = trio.open_nursery(strict_exception_groups=False)
        async with nursery_manager as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.sleep_forever()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.close_frame(1000))
        await peer.receive_close()
        await end_transport(peer)

    outcome = await stage.play(block, script, cancel_on_close=True)
    assert type(outcome.raised) is KeyError


async def test_cancel_on_close_does_not_hurry_an_aclose_in_the_block(stage: Stage) -> None:
    """The block's own aclose() has close_timeout for the peer's FIN, as without the option."""

    async def block(ws: WebSocket) -> None:
        await ws.aclose(4000)

    async def script(peer: ScriptedPeer) -> None:
        close = await peer.receive_close()
        assert close is not None
        await peer.send(peer.frame(close.opcode, close.payload))
        await trio.sleep(stage.wire.cancel_timeout * 1.5)
        await end_transport(peer)

    outcome = await stage.play(block, script, cancel_on_close=True)
    assert outcome.peer.ended == "FIN"
    assert outcome.raised is None
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)


@pytest.mark.parametrize("first", ["we", "the peer"])
async def test_on_close_that_is_interrupted_keeps_nothing_open(stage: Stage, first: str) -> None:
    """What is no Exception comes out of the block bare, and the transport is gone in time."""
    if stage.is_client:
        pytest.skip("on_close is an option of the server's side")

    def on_close(ws: WebSocket, event: CloseEvent) -> None:
        raise SystemExit(3)

    async def block(ws: WebSocket) -> None:
        if first == "the peer":
            await trio.sleep_forever()

    async def script(peer: ScriptedPeer) -> None:
        if first == "the peer":
            await peer.send(peer.close_frame(1000))
        await peer.drain()

    outcome = await stage.play(block, script, on_close=on_close)
    assert type(outcome.raised) is SystemExit
    assert outcome.peer.ended == "FIN"
    assert outcome.ws.state is ReadyState.CLOSED
