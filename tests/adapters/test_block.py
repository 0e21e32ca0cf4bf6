"""Section 2 of the contract, for a connection of `trio_websocket`: how the block ends decides what is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from contract.stage import answer_close, echo_close, only_read

from trio_closeevents import ClosePolicy
from trio_closeevents.adapters import AdaptedWebSocket
from trio_closeevents.testing import ScriptedPeer

from .stage import Stage, event

BIG = b"x" * 8_000_000


async def leave(ws: AdaptedWebSocket) -> None:
    """Return at once."""


async def test_end_return_sends_1000(stage: Stage) -> None:
    """A block that returns sends 1000 without a reason, and the peer sees FIN after it."""
    outcome = await stage.play(leave, echo_close)
    assert outcome.peer.record == ["Close 1000", "FIN"]
    assert outcome.event == event(1000, "exit")
    assert outcome.raised is None
    assert stage.was_quick(outcome)


async def test_end_return_with_messages_unread_sends_1000(stage: Stage) -> None:
    """Messages that nobody receives keep nothing up."""

    async def block(ws: AdaptedWebSocket) -> None:
        assert await ws.receive() == "one"

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(*(peer.frame(1, text) for text in (b"one", b"two", b"three", b"four")))
        await echo_close(peer)

    outcome = await stage.play(block, script)
    assert outcome.peer.record == ["Close 1000", "FIN"]
    assert outcome.event == event(1000, "exit")
    assert stage.was_quick(outcome)


async def test_end_return_reads_on_for_a_peer_that_is_still_sending(stage: Stage) -> None:
    """A peer that reads nothing before its own messages are taken is told, and answers: the ending takes them."""

    async def block(ws: AdaptedWebSocket) -> None:
        assert await ws.receive() == b"one"
        with trio.move_on_after(0.05):
            await ws.send(BIG)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(2, b"one"))
        for _ in range(10):
            await peer.send(peer.frame(2, BIG[: 2**20 - 1]))
        await echo_close(peer)

    outcome = await stage.play(block, script, bounded=True, close_timeout=10)
    assert outcome.peer.record == [f"Binary of {len(BIG)} B", "Close 1000", "FIN"]
    assert outcome.event == event(1000, "exit")
    assert outcome.reader_is_over


async def test_end_return_to_a_peer_that_only_sends_stops_the_reader(stage: Stage) -> None:
    """A Close that cannot be sent leaves nothing behind: the package's reader does not wait for a receiver for ever."""

    async def block(ws: AdaptedWebSocket) -> None:
        with trio.move_on_after(0.05):
            await ws.send(BIG)

    async def script(peer: ScriptedPeer) -> None:
        with trio.move_on_after(stage.wire.close_timeout + 1):
            for number in range(1000):
                await peer.send(peer.frame(2, b"%d" % number) * 20, label="a lot")
                await trio.sleep(0.05)

    outcome = await stage.play(block, script, bounded=True)
    assert outcome.event == event(1006, "exit")
    assert stage.took(outcome, stage.wire.close_timeout)
    assert outcome.reader_is_over


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret"),
        ExceptionGroup("two", [ValueError("secret"), OSError()]),
        BaseExceptionGroup("deep", [BaseExceptionGroup("inner", [ValueError("secret")])]),
    ],
    ids=["exception", "group", "deep-group"],
)
async def test_end_error_sends_1011_without_a_reason(stage: Stage, error: Exception) -> None:
    """An exception sends 1011, leaks nothing of itself, and goes on as the same bare object."""

    async def block(ws: AdaptedWebSocket) -> None:
        raise error

    outcome = await stage.play(block, echo_close, raises=True)
    assert outcome.peer.record == ["Close 1011", "FIN"]
    assert outcome.event == event(1011, "error")
    assert outcome.raised is error
    assert error.__context__ is None
    assert error.__cause__ is None


async def test_end_error_with_a_silent_peer_waits_for_close_timeout(stage: Stage) -> None:
    """An exception has the patience of an ordinary ending."""

    async def block(ws: AdaptedWebSocket) -> None:
        raise ValueError

    outcome = await stage.play(block, only_read, raises=True)
    assert outcome.peer.record == ["Close 1011", "FIN"]
    assert stage.took(outcome, stage.wire.close_timeout)
    assert outcome.event == event(1006, "error")


async def test_end_error_in_a_group_with_an_interrupt_has_no_patience(stage: Stage) -> None:
    """A group with an Exception and something that is none keeps 1011, but waits only cancel_timeout."""

    async def block(ws: AdaptedWebSocket) -> None:
        raise BaseExceptionGroup("both", [ValueError(), KeyboardInterrupt()])

    outcome = await stage.play(block, only_read, raises=True)
    assert outcome.peer.record[0] == "Close 1011"
    assert stage.took(outcome, stage.wire.cancel_timeout)
    assert outcome.event == event(1006, "error")
    assert isinstance(outcome.raised, BaseExceptionGroup)


@pytest.mark.parametrize("wait", ["receive", "get_message", "wait_closed", "sleep"])
async def test_end_cancelled_sends_1001(stage: Stage, wait: str) -> None:
    """Whatever a cancelled block waits for: 1001 arrives at the peer, at once, and the cancellation goes on."""
    scope = trio.CancelScope()

    async def block(ws: AdaptedWebSocket) -> None:
        scope.deadline = trio.current_time() + 0.03
        waits: dict[str, Callable[[], Awaitable[object]]] = {
            "receive": ws.receive,
            "get_message": ws.connection.get_message,
            "wait_closed": ws.wait_closed,
            "sleep": trio.sleep_forever,
        }
        await waits[wait]()

    outcome = await stage.play(block, echo_close, scope=scope)
    assert outcome.peer.record == ["Close 1001", "FIN"]
    assert outcome.event == event(1001, "cancelled")
    assert scope.cancelled_caught
    assert stage.was_quick(outcome)


async def test_end_cancelled_with_the_reader_sends_1001(stage: Stage) -> None:
    """If the package's reader is cancelled too, 1001 arrives at once; nobody reads an answer, so the limit passes."""
    scope = trio.CancelScope()
    told_at: list[float] = []

    async def block(ws: AdaptedWebSocket) -> None:
        scope.cancel()
        await ws.receive()

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        told_at.append(trio.current_time())
        await peer.drain()

    outcome = await stage.play(block, script, scope=scope, with_reader=True)
    assert outcome.peer.record == ["Close 1001", "FIN"]
    assert told_at[0] - outcome.block_left < stage.wire.cancel_timeout / 2
    assert stage.took(outcome, stage.wire.cancel_timeout)
    assert outcome.event == event(1006, "cancelled")
    assert scope.cancelled_caught


async def test_end_cancelled_with_the_reader_leaves_the_answer_unread(stage: Stage) -> None:
    """A peer that answers is told nothing more: TCP ends at the limit, with RST, since its answer was not read."""
    scope = trio.CancelScope()

    async def block(ws: AdaptedWebSocket) -> None:
        scope.cancel()
        await ws.receive()

    outcome = await stage.play(block, echo_close, scope=scope, with_reader=True)
    assert outcome.peer.record == ["Close 1001", "FIN" if stage.wire.memory else "RST"]
    assert stage.took(outcome, stage.wire.cancel_timeout)
    assert outcome.event == event(1006, "cancelled")


async def test_end_cancelled_with_the_reader_leaves_time_to_read_the_close(stage: Stage) -> None:
    """A peer that floods us has the whole limit to read the Close, before the reset that unread bytes bring."""
    scope = trio.CancelScope()

    async def block(ws: AdaptedWebSocket) -> None:
        scope.deadline = trio.current_time() + 0.1
        while True:
            await ws.receive()

    async def script(peer: ScriptedPeer) -> None:
        async def flood() -> None:
            message = peer.frame(2, b"x" * 1000) * 20
            with trio.CancelScope() as flooding:
                scopes.append(flooding)
                while not peer.ended:
                    await peer.send(message, label="flood")
                    await trio.sleep(0.001)

        scopes: list[trio.CancelScope] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await peer.receive_close()
            scopes[0].cancel()

    outcome = await stage.play(block, script, scope=scope, with_reader=True)
    assert [str(each) for each in outcome.peer.frames] == ["Close 1001"]
    assert outcome.event == event(1006, "cancelled")
    assert scope.cancelled_caught


async def test_end_cancelled_by_a_crashed_sibling_sends_1001(stage: Stage) -> None:
    """The group of the caller's nursery holds the sibling's exception, and nothing of ours."""

    async def crash() -> None:
        raise KeyError("sibling")

    async def play() -> None:
        async with trio.open_nursery() as nursery:

            async def block(ws: AdaptedWebSocket) -> None:
                nursery.start_soon(crash)
                await ws.receive()

            outcome.append(await stage.play(block, echo_close, scope=trio.CancelScope()))

    outcome: list[object] = []
    with pytest.raises(ExceptionGroup) as caught:
        await play()
    assert [type(each) for each in caught.value.exceptions] == [KeyError]


async def test_end_cancelled_with_a_silent_peer_waits_for_cancel_timeout(stage: Stage) -> None:
    """The time that a cancelled block may take is cancel_timeout, not close_timeout."""
    scope = trio.CancelScope()

    async def block(ws: AdaptedWebSocket) -> None:
        scope.cancel()
        await ws.receive()

    outcome = await stage.play(block, only_read, scope=scope)
    assert outcome.peer.record == ["Close 1001", "FIN"]
    assert stage.took(outcome, stage.wire.cancel_timeout)
    assert outcome.event == event(1006, "cancelled")
    assert scope.cancelled_caught


async def test_end_cancelled_in_a_group_of_nothing_else(stage: Stage) -> None:
    """A group of nothing but cancellations is a cancellation."""
    scope = trio.CancelScope()

    async def block(ws: AdaptedWebSocket) -> None:
        scope.cancel()
        cancellations: list[BaseException] = []
        for _ in range(2):
            try:
                await ws.receive()
            except trio.Cancelled as cancelled:
                cancellations.append(cancelled)
        raise BaseExceptionGroup("all cancelled", cancellations)

    outcome = await stage.play(block, echo_close, scope=scope)
    assert outcome.peer.record == ["Close 1001", "FIN"]
    assert outcome.event == event(1001, "cancelled")
    assert outcome.raised is None
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(3), BaseExceptionGroup("no Exception in it", [KeyboardInterrupt()])],
    ids=["ctrl-c", "exit", "group"],
)
async def test_end_interrupt_sends_1001(stage: Stage, error: BaseException) -> None:
    """Any other BaseException ends the connection as a cancellation does, and goes on bare."""

    async def block(ws: AdaptedWebSocket) -> None:
        raise error

    outcome = await stage.play(block, echo_close, raises=True)
    assert outcome.peer.record == ["Close 1001", "FIN"]
    assert outcome.event == event(1001, "cancelled")
    assert outcome.raised is error
    assert error.__context__ is None


async def test_end_interrupt_with_a_silent_peer_waits_for_cancel_timeout(stage: Stage) -> None:
    """An interrupted block has no patience either."""

    async def block(ws: AdaptedWebSocket) -> None:
        raise SystemExit

    outcome = await stage.play(block, only_read, raises=True)
    assert stage.took(outcome, stage.wire.cancel_timeout)


async def test_end_aclose_sends_its_code_and_reason(stage: Stage) -> None:
    """The first call counts, and has run the whole ending when it returns; leaving the block adds nothing."""

    async def block(ws: AdaptedWebSocket) -> None:
        await ws.aclose(4000, "bye")
        assert ws.close_event is not None
        await ws.aclose(4001, "again")

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close 4000 'bye'", "FIN"]
    assert outcome.event == event(4000, "closed", reason="bye")


async def test_end_aclose_without_a_code_sends_an_empty_close(stage: Stage) -> None:
    """`aclose(None)` sends an empty Close frame; its empty echo is code 1005."""

    async def block(ws: AdaptedWebSocket) -> None:
        await ws.aclose(None)

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close", "FIN"]
    assert outcome.event == event(1005, "closed")


async def test_end_aclose_with_a_silent_peer_waits_for_close_timeout(stage: Stage) -> None:
    """`aclose` raises nothing when the peer never answers."""
    took: list[float] = []

    async def block(ws: AdaptedWebSocket) -> None:
        began = trio.current_time()
        await ws.aclose(4000, "x")
        took.append(trio.current_time() - began)

    outcome = await stage.play(block, only_read)
    assert took[0] == pytest.approx(stage.wire.close_timeout, abs=stage.wire.tolerance)
    assert outcome.peer.record == ["Close 4000 'x'", "FIN"]
    assert outcome.event == event(1006, "closed")


async def test_end_aclose_cancelled_finishes_first(stage: Stage) -> None:
    """`aclose` in a cancelled scope sends its own code, finishes within cancel_timeout, then raises Cancelled."""

    async def block(ws: AdaptedWebSocket) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.aclose(4000)
        assert scope.cancelled_caught
        assert ws.close_event is not None

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close 4000", "FIN"]
    assert outcome.event == event(4000, "closed")


async def test_end_aclose_cancelled_with_a_silent_peer_is_bounded(stage: Stage) -> None:
    """A cancelled `aclose` waits for at most cancel_timeout."""
    took: list[float] = []

    async def block(ws: AdaptedWebSocket) -> None:
        began = trio.current_time()
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.aclose(4000)
        took.append(trio.current_time() - began)

    await stage.play(block, only_read)
    assert took[0] == pytest.approx(stage.wire.cancel_timeout, abs=stage.wire.tolerance)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (1005, "", ValueError),
        (1006, "", ValueError),
        (2000, "", ValueError),
        (70000, "", ValueError),
        (1000, "é" * 62, ValueError),
        (None, "why", ValueError),
        ("1000", "", TypeError),
        (1000, b"why", TypeError),
    ],
)
async def test_end_aclose_with_what_may_not_travel_leaves_the_connection_open(
    stage: Stage, code: int, reason: str, kind: type[Exception]
) -> None:
    """Code and reason are checked before anything is sent, where the package sends something else."""

    async def block(ws: AdaptedWebSocket) -> None:
        with pytest.raises(kind):
            await ws.aclose(code, reason)
        assert ws.close_event is None
        await ws.send("still open")

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Text b'still open'", "Close 1000", "FIN"]


async def test_end_return_cancelled_during_the_ending_raises_cancelled(stage: Stage) -> None:
    """A second cancellation shortens the wait to cancel_timeout, counted from then; the transport is gone after it."""
    scope = trio.CancelScope()
    delay = 0.2

    async def block(ws: AdaptedWebSocket) -> None:
        scope.deadline = trio.current_time() + delay

    outcome = await stage.play(block, only_read, scope=scope)
    assert outcome.peer.record == ["Close 1000", "FIN"]
    assert stage.took(outcome, delay + stage.wire.cancel_timeout)
    assert scope.cancelled_caught
    assert outcome.event == event(1006, "exit")


async def test_end_error_cancelled_during_the_ending_lets_the_error_go_on(stage: Stage) -> None:
    """One that ended by an exception lets that exception go on; the wait is shortened all the same."""
    scope = trio.CancelScope()
    error = ValueError("mine")
    delay = 0.2

    async def block(ws: AdaptedWebSocket) -> None:
        scope.deadline = trio.current_time() + delay
        raise error

    outcome = await stage.play(block, only_read, scope=scope, raises=True)
    assert stage.took(outcome, delay + stage.wire.cancel_timeout)
    assert outcome.raised is error
    assert error.__context__ is None
    assert not scope.cancelled_caught


async def test_end_policy_chooses_the_close_frame(stage: Stage) -> None:
    """A policy changes what is sent, and neither the cause nor the limit."""
    policy = ClosePolicy({PermissionError: (4403, "forbidden")}, on_exit=None)

    async def fail(ws: AdaptedWebSocket) -> None:
        raise PermissionError

    outcome = await stage.play(fail, echo_close, policy=policy, raises=True)
    assert outcome.peer.record == ["Close 4403 'forbidden'", "FIN"]
    assert outcome.event == event(4403, "error", reason="forbidden")
    outcome = await stage.play(leave, answer_close(4001, "mine"), policy=policy)
    assert outcome.peer.record == ["Close", "FIN"]
    assert outcome.event == event(4001, "exit", reason="mine")
