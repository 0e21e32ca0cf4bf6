"""Sections 3 to 5 of the contract, for a connection of `trio_websocket`: what can be told of its end."""

from __future__ import annotations

import gc
import warnings
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio_websocket
from contract.stage import answer_close, end_transport, only_read, send_then
from wsproto.utilities import LocalProtocolError

from trio_closeevents import ConnectionBroken
from trio_closeevents.adapters import AdaptedWebSocket
from trio_closeevents.testing import PING, TEXT, ScriptedPeer

from .stage import Stage, event


async def leave(ws: AdaptedWebSocket) -> None:
    """Return at once."""


async def read_to_the_end(ws: AdaptedWebSocket) -> list[str | bytes]:
    """Receive until iteration ends."""
    return [message async for message in ws]


async def finish(peer: ScriptedPeer) -> None:
    """Wait for a Close frame, and end TCP: the package's client never does that by itself."""
    await peer.receive_close()
    await peer.fin()
    await peer.drain()


async def test_peer_answers_with_a_code_of_its_own(stage: Stage) -> None:
    """The event has the peer's code and reason, not ours."""

    async def block(ws: AdaptedWebSocket) -> None:
        await ws.aclose(4000, "ours")

    outcome = await stage.play(block, answer_close(4001, "theirs"))
    assert outcome.event == event(4001, "closed", reason="theirs")


async def test_peer_answers_with_1000_is_told_from_no_answer(stage: Stage) -> None:
    """The package reports 1000 for both; the event has 1000 for the answer, and 1006 for none."""

    async def block(ws: AdaptedWebSocket) -> None:
        await ws.aclose(4000)
        reported.append(ws.connection.closed)

    reported: list[trio_websocket.CloseReason | None] = []
    answered = await stage.play(block, answer_close(1000))
    unanswered = await stage.play(block, finish)
    assert [(each.code, each.reason) for each in reported if each is not None] == [(1000, None)] * 2
    assert answered.event == event(1000, "closed")
    assert unanswered.event == event(1006, "closed")
    assert stage.was_quick(unanswered)


async def test_peer_answers_empty_is_1005(stage: Stage) -> None:
    """An empty Close frame has no code, and 1005 says so."""
    outcome = await stage.play(leave, answer_close(None))
    assert outcome.event == event(1005, "exit")


async def test_peer_first_is_the_peers_code(stage: Stage) -> None:
    """Its code and reason; who was first is not known. The package has answered, and the block adds nothing."""

    async def block(ws: AdaptedWebSocket) -> None:
        with pytest.raises(ConnectionBroken) as caught:
            await ws.receive()
        assert caught.value.event is ws.close_event

    outcome = await stage.play(block, send_then(lambda peer: peer.close_frame(4001, "bye"), then=finish))
    assert [str(each) for each in outcome.peer.frames] == ["Close 4001 'bye'"]
    assert outcome.event == event(4001, reason="bye")
    assert outcome.event is outcome.ws.close_event
    assert stage.was_quick(outcome)


@pytest.mark.parametrize("is_slow", [False, True], ids=["stuck", "slow"])
async def test_peer_first_is_answered_before_the_block_has_ended(stage: Stage, is_slow: bool) -> None:
    """The package's answer has the time that an ending has, so that it is not cut off where the block ends at once."""

    async def block(ws: AdaptedWebSocket) -> None:
        with trio.move_on_after(0.1):
            await ws.send(bytes(8_000_000) if is_filled else b"a little")
        assert await ws.wait_closed() == event(4001)

    async def script(peer: ScriptedPeer) -> None:
        if not is_filled:
            await peer.receive()
        await trio.sleep(0.05)
        await peer.send(peer.close_frame(4001))
        await trio.sleep(0.3 if is_slow else stage.wire.close_timeout + 0.2)
        await peer.receive_close()

    is_filled = not stage.wire.memory  # where it takes a lot until the answer has to wait
    outcome = await stage.play(block, script, bounded=True)
    assert outcome.event == event(4001)
    if is_slow:
        message = "Binary of 8000000 B" if is_filled else "Binary b'a little'"
        assert [str(each) for each in outcome.peer.frames] == [message, "Close 4001"]
    else:
        assert stage.took(outcome, stage.wire.close_timeout)


@pytest.mark.parametrize("code", [1000, 1001, None])
async def test_peer_first_ends_the_iteration_behind_its_messages(stage: Stage, code: int | None) -> None:
    """1000, 1001 and no code end it; what arrived before is received first, with the event decided already."""

    async def block(ws: AdaptedWebSocket) -> None:
        assert await anext(ws) == "0"
        assert await ws.wait_closed() == event(code or 1005)
        got.extend(await read_to_the_end(ws))

    async def script(peer: ScriptedPeer) -> None:
        texts = (peer.frame(TEXT, b"%d" % number) for number in range(20))
        await peer.send(*texts, peer.close_frame(code))
        await finish(peer)

    got: list[str | bytes] = []
    outcome = await replace(stage, options={"message_queue_size": 99}).play(block, script)
    assert got == [str(number) for number in range(1, 20)]
    assert outcome.event == event(code or 1005)


async def test_peer_crossing_counts_as_ours(stage: Stage) -> None:
    """If the Close frames cross, the event has the peer's code and our cause, even where both say 1000."""

    class CloseWhenOursBegins(trio.abc.Instrument):
        """Lets the peer's Close be there before our own is: between the first step of `aclose` and the second."""

        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            if blocks and blocks[0].connection.closed is not None:
                ours_has_begun.set()

    async def block(ws: AdaptedWebSocket) -> None:
        blocks.append(ws)

    async def script(peer: ScriptedPeer) -> None:
        await ours_has_begun.wait()
        await peer.send(peer.close_frame(1000))
        await finish(peer)

    blocks: list[AdaptedWebSocket] = []
    ours_has_begun = trio.Event()
    instrument = CloseWhenOursBegins()
    trio.lowlevel.add_instrument(instrument)
    try:
        outcome = await stage.play(block, script)
    finally:
        trio.lowlevel.remove_instrument(instrument)
    assert outcome.event == event(1000, "exit")


async def test_peer_lost_after_our_close_is_1006(stage: Stage) -> None:
    """RST in place of an answer, with our cause."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.reset()

    outcome = await stage.play(leave, script)
    assert outcome.event == event(1006, "exit")
    assert stage.was_quick(outcome)


async def test_peer_data_after_ours_is_dropped(stage: Stage) -> None:
    """Messages behind our Close keep nothing up, and the peer's Close counts."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(*(peer.frame(TEXT, b"late") for _ in range(9)), peer.close_frame(4001))
        await end_transport(peer)

    outcome = await stage.play(leave, script)
    assert outcome.event == event(4001, "exit")
    assert outcome.peer.record == ["Close 1000", "FIN"]
    assert stage.was_quick(outcome)


async def test_peer_ping_after_ours_crashes_the_package(stage: Stage) -> None:
    """A defect of the package, which the docstring tells of: its reader ends with an error, and nobody reads on.

    The day that this fails, the docstring has a sentence too many.
    """

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(peer.frame(PING, b"hello"))
        await peer.drain()

    with pytest.raises(ExceptionGroup) as caught:
        await stage.play(leave, script)
    assert caught.group_contains(LocalProtocolError, match="Pong")


async def test_peer_garbage_after_ours_is_handed_on(stage: Stage) -> None:
    """What the package calls 1002 is handed on: whether the peer has said so is not known."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(peer.frame(3, b"reserved"))
        await finish(peer)

    outcome = await stage.play(leave, script)
    assert outcome.event is not None
    assert (outcome.event.code, outcome.event.cause) == (1002, "exit")


FAILURES: Any = [
    (1002, lambda peer: peer.frame(3)),
    (1007, lambda peer: peer.frame(TEXT, b"\xff")),
    (1009, lambda peer: peer.frame(TEXT, b"x" * 2000)),
]


@pytest.mark.parametrize(("code", "bad"), FAILURES, ids=["fail-frame", "fail-utf8", "fail-size"])
async def test_fail_is_handed_on_with_the_packages_reason(stage: Stage, code: int, bad: Any) -> None:
    """Whoever said 1002, 1007 or 1009: the event has it with its reason, and claims nothing more."""

    async def block(ws: AdaptedWebSocket) -> None:
        with pytest.raises(ConnectionBroken) as caught:
            await ws.receive()
        assert caught.value.event is not None

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(bad(peer))
        await peer.fin()
        await peer.drain()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # behind 1009 the package never closes the transport
        outcome = await replace(stage, options={"max_message_size": 1000}).play(block, script)
        gc.collect()
    assert outcome.event is not None
    assert outcome.event == event(code, reason=outcome.event.reason)
    assert outcome.event.reason
    assert stage.was_quick(outcome)


@pytest.mark.parametrize("ending", ["fin", "reset"])
async def test_transport_lost_is_1006(stage: Stage, ending: str) -> None:
    """FIN or RST without a Close: nobody has closed, and which of the two it was is not known."""

    async def block(ws: AdaptedWebSocket) -> None:
        with pytest.raises(ConnectionBroken) as caught:
            await ws.receive()
        assert caught.value.event is ws.close_event
        assert isinstance(caught.value.__cause__, trio_websocket.ConnectionClosed)

    async def script(peer: ScriptedPeer) -> None:
        await (peer.fin() if ending == "fin" else peer.reset())
        await peer.drain()

    outcome = await stage.play(block, script)
    assert outcome.event == event(1006, lost=True)
    assert outcome.peer.frames == []
    assert stage.was_quick(outcome)


async def test_reader_lost_is_told_when_the_block_has_ended(stage: Stage) -> None:
    """If the package's reader is cancelled alone, nothing more is heard; 1000 is sent, and an answer is not read."""
    reader = trio.CancelScope()

    async def block(ws: AdaptedWebSocket) -> None:
        reader.cancel()
        with pytest.raises(ConnectionBroken) as caught:
            await ws.receive()
        assert caught.value.event is None
        errors.append(caught.value)
        await ws.send("goes on")

    errors: list[ConnectionBroken] = []
    outcome = await stage.play(block, only_read, reader=reader)
    assert outcome.peer.record == ["Text b'goes on'", "Close 1000", "FIN"]
    assert outcome.event == event(1006, "exit")
    assert errors[0].event is outcome.event
    assert stage.took(outcome, stage.wire.close_timeout)
