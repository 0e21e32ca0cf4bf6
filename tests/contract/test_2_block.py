"""Section 2: how the block ends decides what is sent."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import pytest
import trio
import trio.testing
from stages import Script

from trio_closeevents import CloseFrame, ClosePolicy, LocallyClosed, WebSocket, connect
from trio_closeevents.testing import ScriptedPeer

from .stage import Stage, answer_close, do_nothing, echo_close, end_transport, event, leave, only_read

BIG = b"x" * 8_000_000


async def test_end_return_sends_1000(stage: Stage) -> None:
    """A block that returns sends 1000 without a reason, and the peer sees FIN after it."""
    outcome = await stage.play(leave, echo_close)
    assert outcome.peer.record == ["Close 1000", "FIN"]
    assert outcome.event == event(1000, "exit", "local", clean=True, sent=1000, received=1000)
    assert outcome.raised is None
    assert stage.was_quick(outcome)


async def test_end_return_by_break_sends_1000(stage: Stage) -> None:
    """A loop that is left by `break`, with messages unread, ends a block that returns."""

    async def block(ws: WebSocket) -> None:
        async for _ in ws:
            break

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(1, b"one"), peer.frame(1, b"two"))
        await echo_close(peer)

    outcome = await stage.play(block, script)
    assert outcome.peer.record == ["Close 1000", "FIN"]
    assert outcome.event == event(1000, "exit", "local", clean=True, sent=1000, received=1000)


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

    async def block(ws: WebSocket) -> None:
        raise error

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close 1011", "FIN"]
    assert outcome.event == event(1011, "error", "local", clean=True, sent=1011, received=1011)
    assert outcome.raised is error
    assert error.__context__ is None
    assert error.__cause__ is None


async def test_end_error_with_a_silent_peer_waits_for_close_timeout(stage: Stage) -> None:
    """An exception has the patience of an ordinary ending."""

    async def block(ws: WebSocket) -> None:
        raise ValueError

    outcome = await stage.play(block, only_read)
    assert stage.took(outcome, stage.wire.close_timeout)
    assert outcome.event == event(1006, "error", "local", sent=1011)


async def test_end_error_in_a_group_with_an_interrupt_has_no_patience(stage: Stage) -> None:
    """A group with an Exception and something that is none keeps 1011, but waits only cancel_timeout."""

    async def block(ws: WebSocket) -> None:
        raise BaseExceptionGroup("both", [ValueError(), KeyboardInterrupt()])

    outcome = await stage.play(block, only_read)
    assert outcome.peer.record[0] == "Close 1011"
    assert stage.took(outcome, stage.wire.cancel_timeout)
    assert outcome.event == event(1006, "error", "local", sent=1011)
    assert isinstance(outcome.raised, BaseExceptionGroup)


@pytest.mark.parametrize("wait", ["receive", "sleep", "ping"])
async def test_end_cancelled_sends_1001(stage: Stage, wait: str) -> None:
    """Whatever a cancelled block waits for: 1001 arrives at the peer, at once, and the cancellation goes on."""
    scope = trio.CancelScope()

    async def block(ws: WebSocket) -> None:
        scope.deadline = trio.current_time() + 0.05
        waits: dict[str, Callable[[], Awaitable[object]]] = {
            "receive": ws.receive,
            "sleep": trio.sleep_forever,
            "ping": ws.ping,
        }
        await waits[wait]()

    outcome = await stage.play(block, echo_close, scope=scope)
    assert outcome.peer.record[-2:] == ["Close 1001", "FIN"]
    assert outcome.event == event(1001, "cancelled", "local", clean=True, sent=1001, received=1001)
    assert scope.cancelled_caught
    assert stage.was_quick(outcome)


async def test_end_cancelled_by_a_crashed_sibling_sends_1001(stage: Stage) -> None:
    """The group of the caller's nursery holds the sibling's exception, and nothing of ours."""

    async def crash() -> None:
        raise KeyError("sibling")

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            await ws.receive()

    outcome = await stage.play(block, echo_close)
    assert isinstance(outcome.raised, ExceptionGroup)
    assert [type(each) for each in outcome.raised.exceptions] == [KeyError]
    assert outcome.peer.record == ["Close 1011", "FIN"]  # the nursery was inside: what left the block is an error


async def test_end_cancelled_with_a_silent_peer_waits_for_cancel_timeout(stage: Stage) -> None:
    """The time that a cancelled block may take is cancel_timeout, not close_timeout."""
    scope = trio.CancelScope()

    async def block(ws: WebSocket) -> None:
        scope.cancel()
        await ws.receive()

    outcome = await stage.play(block, only_read, scope=scope)
    assert outcome.peer.record[0] == "Close 1001"
    assert stage.took(outcome, stage.wire.cancel_timeout)
    assert outcome.event == event(1006, "cancelled", "local", sent=1001)
    assert scope.cancelled_caught


async def test_end_cancelled_in_a_group_of_nothing_else(stage: Stage) -> None:
    """A group of nothing but cancellations is a cancellation."""
    scope = trio.CancelScope()

    async def block(ws: WebSocket) -> None:
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
    assert outcome.event == event(1001, "cancelled", "local", clean=True, sent=1001, received=1001)
    assert outcome.raised is None
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(3), BaseExceptionGroup("no Exception in it", [KeyboardInterrupt()])],
    ids=["ctrl-c", "exit", "group"],
)
async def test_end_interrupt_sends_1001(stage: Stage, error: BaseException) -> None:
    """Any other BaseException ends the connection as a cancellation does, and goes on bare."""

    async def block(ws: WebSocket) -> None:
        raise error

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close 1001", "FIN"]
    assert outcome.event == event(1001, "cancelled", "local", clean=True, sent=1001, received=1001)
    assert outcome.raised is error
    assert error.__context__ is None


async def test_end_interrupt_with_a_silent_peer_waits_for_cancel_timeout(stage: Stage) -> None:
    """An interrupted block has no patience either."""

    async def block(ws: WebSocket) -> None:
        raise SystemExit

    outcome = await stage.play(block, only_read)
    assert stage.took(outcome, stage.wire.cancel_timeout)


async def test_end_aclose_sends_its_code_and_reason(stage: Stage) -> None:
    """The first call counts, and has run the whole ending when it returns; leaving the block adds nothing."""

    async def block(ws: WebSocket) -> None:
        await ws.aclose(4000, "bye")
        assert ws.close_event is not None
        await ws.aclose(4001, "again")

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close 4000 'bye'", "FIN"]
    bye = CloseFrame(4000, "bye")
    assert outcome.event == event(4000, "closed", "local", reason="bye", clean=True, sent=bye, received=bye)


async def test_end_aclose_without_a_code_sends_an_empty_close(stage: Stage) -> None:
    """`aclose(None)` sends an empty Close frame; its empty echo is code 1005, and clean."""

    async def block(ws: WebSocket) -> None:
        await ws.aclose(None)

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close", "FIN"]
    empty = CloseFrame(None)
    assert outcome.event == event(1005, "closed", "local", clean=True, sent=empty, received=empty)


async def test_end_aclose_with_a_silent_peer_waits_for_close_timeout(stage: Stage) -> None:
    """`aclose` raises nothing when the peer never answers."""
    took: list[float] = []

    async def block(ws: WebSocket) -> None:
        began = trio.current_time()
        await ws.aclose(4000, "x")
        took.append(trio.current_time() - began)

    outcome = await stage.play(block, only_read)
    assert took[0] == pytest.approx(stage.wire.close_timeout, abs=stage.wire.tolerance)
    assert outcome.event == event(1006, "closed", "local", sent=CloseFrame(4000, "x"))


async def test_end_abort_sends_nothing(stage: Stage) -> None:
    """`abort` is decided at once, without a Close frame: the peer sees the transport end."""

    async def block(ws: WebSocket) -> None:
        ws.abort()
        assert ws.close_event == event(1006, "aborted", "transport")
        ws.abort()

    outcome = await stage.play(block, only_read)
    assert outcome.peer.frames == []
    assert outcome.peer.ended is not None
    assert outcome.event == event(1006, "aborted", "transport")
    assert stage.was_quick(outcome)


async def messages(
    block: AbstractAsyncContextManager[WebSocket],
) -> AsyncGenerator[tuple[WebSocket, str | bytes], None]:
    async with block as ws:
        async for message in ws:
            yield ws, message


async def test_end_generator_sends_what_the_socket_takes_at_once(stage: Stage) -> None:
    """A generator that holds the block and is closed ends the connection at once, and its tasks with it."""
    ours, theirs = await stage.wire.pair()
    peers: list[ScriptedPeer] = []

    async def run_peer() -> None:
        peer = await stage.peer_over(theirs)
        peers.append(peer)
        await peer.open()
        await peer.send(peer.frame(1, b"one"))
        await peer.drain()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_peer)
            async with aclosing(messages(stage.ours(ours))) as generator:
                ws, message = await anext(generator)
                assert message == "one"
            began = trio.current_time()
        assert trio.current_time() - began < stage.wire.cancel_timeout
    at_once = stage.wire.name != "memory"
    assert peers[0].record[:1] == (["Close 1001"] if at_once else [str(peers[0].ended)])
    assert ws.close_event == event(
        1006, "cancelled", "local" if at_once else "transport", sent=1001 if at_once else None
    )
    await peers[0].aclose()


async def test_end_generator_by_the_garbage_collector_warns(stage: Stage) -> None:
    """Nothing is promised when the collector ends the block, and a ResourceWarning says so."""
    ours, theirs = await stage.wire.pair()

    async def run_peer() -> None:
        peer = await stage.peer_over(theirs)
        await peer.open()
        await peer.send(peer.frame(1, b"one"))
        await peer.drain()
        await peer.aclose()

    async def read_one_and_forget() -> None:
        async for _ in messages(stage.ours(ours)):
            return

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with trio.fail_after(20):
            async with trio.open_nursery() as outer:
                outer.start_soon(run_peer)
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(read_one_and_forget)
                except (Exception, BaseExceptionGroup):
                    pass  # trio finds the nursery stack corrupted; nothing is promised
                gc.collect()
    assert any(issubclass(each.category, ResourceWarning) for each in seen)


def test_end_generator_after_trio_has_ended_warns() -> None:
    """A generator that outlives trio's loop can still be finalised: nothing is sent, nothing raised but the warning."""

    async def open_and_leave() -> AbstractAsyncContextManager[WebSocket]:
        ours, theirs = trio.testing.memory_stream_pair()
        block = connect("ws://localhost/", stream=ours)
        async with trio.open_nursery() as nursery:
            peer = ScriptedPeer(theirs, client=False)
            nursery.start_soon(peer.open)
            async with block as ws:
                ws.abort()
        return block

    block = trio.run(open_and_leave)
    finalisation = block.__aexit__(GeneratorExit, GeneratorExit(), None)
    with pytest.warns(ResourceWarning, match="aclosing"), pytest.raises(StopIteration):
        finalisation.__await__().__next__()


# -- what comes out ------------------------------------------------------------------------------------------------


async def test_end_return_cancelled_during_the_ending_raises_cancelled(stage: Stage) -> None:
    """A second cancellation shortens the wait to cancel_timeout, counted from then; the transport is gone after it."""
    scope = trio.CancelScope()
    delay = 0.2

    async def block(ws: WebSocket) -> None:
        scope.deadline = trio.current_time() + delay

    outcome = await stage.play(block, only_read, scope=scope)
    assert outcome.peer.record[0] == "Close 1000"
    assert stage.took(outcome, delay + stage.wire.cancel_timeout)
    assert scope.cancelled_caught
    assert outcome.event == event(1006, "exit", "local", sent=1000)


async def test_end_error_cancelled_during_the_ending_lets_the_error_go_on(stage: Stage) -> None:
    """One that ended by an exception lets that exception go on; the wait is shortened all the same."""
    scope = trio.CancelScope()
    error = ValueError("mine")
    delay = 0.2

    async def block(ws: WebSocket) -> None:
        scope.deadline = trio.current_time() + delay
        raise error

    outcome = await stage.play(block, only_read, scope=scope)
    assert stage.took(outcome, delay + stage.wire.cancel_timeout)
    assert outcome.raised is error
    assert error.__context__ is None
    assert not scope.cancelled_caught


async def test_end_aclose_cancelled_finishes_first(stage: Stage) -> None:
    """`aclose` in a cancelled scope sends its own code, finishes within cancel_timeout, then raises Cancelled."""

    async def block(ws: WebSocket) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.aclose(4000)
        assert scope.cancelled_caught
        assert ws.close_event is not None

    outcome = await stage.play(block, echo_close)
    assert outcome.peer.record == ["Close 4000", "FIN"]
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)


async def test_end_aclose_cancelled_with_a_silent_peer_is_bounded(stage: Stage) -> None:
    """A cancelled `aclose` waits for at most cancel_timeout."""
    took: list[float] = []

    async def block(ws: WebSocket) -> None:
        began = trio.current_time()
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.aclose(4000)
        took.append(trio.current_time() - began)

    await stage.play(block, only_read)
    assert took[0] == pytest.approx(stage.wire.cancel_timeout, abs=stage.wire.tolerance)


# -- policy --------------------------------------------------------------------------------------------------------


async def test_policy_chooses_the_close_frame_of_an_exception(stage: Stage) -> None:
    """The policy's entry is looked up along the MRO; cause and exception stay as they are."""
    policy = ClosePolicy({OSError: (4403, "forbidden")})

    async def block(ws: WebSocket) -> None:
        raise PermissionError

    outcome = await stage.play(block, echo_close, policy=policy)
    assert outcome.peer.record == ["Close 4403 'forbidden'", "FIN"]
    assert outcome.event is not None
    assert outcome.event.cause == "error"
    assert isinstance(outcome.raised, PermissionError)


async def test_policy_chooses_the_close_frame_of_a_return(stage: Stage) -> None:
    """`on_exit` replaces 1000."""
    outcome = await stage.play(leave, echo_close, policy=ClosePolicy(on_exit=(4001, "done")))
    assert outcome.peer.record == ["Close 4001 'done'", "FIN"]


async def test_policy_sets_cancelled_aside_in_a_group(stage: Stage) -> None:
    """One answer from all leaves counts, trio's Cancelled aside."""

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise PermissionError

    outcome = await stage.play(block, echo_close, policy=ClosePolicy({PermissionError: 4403}))
    assert outcome.peer.record == ["Close 4403", "FIN"]


# -- bounds --------------------------------------------------------------------------------------------------------


async def answers_but_keeps_tcp_open(peer: ScriptedPeer) -> None:
    close = await peer.receive_close()
    assert close is not None
    await peer.send(peer.frame(close.opcode, close.payload))
    await do_nothing(peer)


@pytest.mark.parametrize("script", [only_read, answers_but_keeps_tcp_open, do_nothing])
@pytest.mark.parametrize("how", ["return", "cancel"])
async def test_bounds_hold_whatever_the_peer_does(stage: Stage, script: Script, how: str) -> None:
    """Leaving the block takes its limit at the most."""
    scope = trio.CancelScope()
    limit = stage.wire.close_timeout if how == "return" else stage.wire.cancel_timeout

    async def block(ws: WebSocket) -> None:
        if how == "cancel":
            scope.cancel()
            await trio.sleep_forever()

    outcome = await stage.play(block, script, scope=scope)
    assert outcome.seconds <= limit + stage.wire.tolerance


@pytest.mark.parametrize("name", ["close_timeout", "cancel_timeout"])
@pytest.mark.parametrize("value", [-1, float("inf"), float("nan")])
def test_bounds_must_be_finite_and_not_negative(stage: Stage, name: str, value: float) -> None:
    """A limit that would not bound the ending is refused at the call."""
    with pytest.raises(ValueError, match=name):
        stage.ours(trio.testing.memory_stream_pair()[0], **{name: value})


async def test_bounds_of_zero_send_only_what_is_taken_at_once(stage: Stage) -> None:
    """With cancel_timeout=0 the Close frame goes out if the socket takes it at once, and the transport is dropped."""
    scope = trio.CancelScope()

    async def block(ws: WebSocket) -> None:
        scope.cancel()
        await trio.sleep_forever()

    outcome = await stage.play(block, only_read, scope=scope, cancel_timeout=0)
    assert outcome.seconds < stage.wire.tolerance
    if stage.wire.tls is None:
        assert outcome.peer.record[0] == "Close 1001"
        assert outcome.event == event(1006, "cancelled", "local", sent=1001)
    else:  # TLS is only written to by awaiting, and has a few milliseconds for it
        assert outcome.event is not None
        assert (outcome.event.code, outcome.event.cause) == (1006, "cancelled")


async def test_bounds_unread_messages_do_not_delay_leaving(stage: Stage) -> None:
    """Leaving never waits for unread messages, however many: the ending discards them."""

    async def script(peer: ScriptedPeer) -> None:
        for number in range(100):
            await peer.send(peer.frame(1, b"%d" % number))
        await echo_close(peer)

    async def block(ws: WebSocket) -> None:
        await ws.receive()
        await trio.sleep(0.05)

    outcome = await stage.play(block, script, close_timeout=10)
    assert outcome.peer.record == ["Close 1000", "FIN"]
    assert outcome.event == event(1000, "exit", "local", clean=True, sent=1000, received=1000)
    assert outcome.seconds < 5


# -- half a frame --------------------------------------------------------------------------------------------------


async def test_half_a_frame_is_finished_first(stage: Stage) -> None:
    """A frame that was half written when the ending began is finished, and the Close frame comes behind it."""
    scope = trio.CancelScope()
    sending = trio.Event()

    async def block(ws: WebSocket) -> None:
        sending.set()
        scope.deadline = trio.current_time() + 0.05
        await ws.send(BIG)
        await trio.sleep_forever()

    async def script(peer: ScriptedPeer) -> None:
        await sending.wait()
        await trio.sleep(0.1)  # it is in the middle of a frame now, where the wire has an end to its buffers
        await echo_close(peer)

    outcome = await stage.play(block, script, scope=scope, bounded=True, cancel_timeout=5)
    assert [str(each) for each in outcome.peer.frames] == ["Binary of 8000000 B", "Close 1001"]
    assert outcome.event == event(1001, "cancelled", "local", clean=True, sent=1001, received=1001)


async def test_half_a_frame_that_cannot_be_finished_is_never_followed_by_a_close(stage: Stage) -> None:
    """If it cannot be finished within the limit, no Close frame is put inside it: the peer sees 1006, as we do."""
    scope = trio.CancelScope()

    async def block(ws: WebSocket) -> None:
        scope.deadline = trio.current_time() + 0.05
        await ws.send(BIG)

    async def script(peer: ScriptedPeer) -> None:
        await do_nothing(peer)
        await peer.drain()

    outcome = await stage.play(block, script, scope=scope, bounded=True)
    assert outcome.peer.frames == []
    assert stage.took(outcome, stage.wire.cancel_timeout)
    assert outcome.event == event(1006, "cancelled", "transport")


# -- the Close frame must survive ------------------------------------------------------------------------------------


async def test_close_frame_survives_unread_bytes(stage: Stage) -> None:
    """The peer sees FIN after our Close, not RST, although it had sent what we never read."""

    async def block(ws: WebSocket) -> None:
        raise ValueError

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(*[peer.frame(2, b"y" * 1000)] * 200)
        await peer.receive_close()
        await peer.send(peer.frame(2, b"late"), peer.close_frame(1000))
        await end_transport(peer)

    outcome = await stage.play(block, script)
    assert outcome.peer.record == ["Close 1011", "FIN"]


async def test_use_after_leaving_raises_locally_closed(stage: Stage) -> None:
    """After the block, every use says that this side closed."""
    outcome = await stage.play(leave, answer_close(1000))
    for use in (outcome.ws.receive, outcome.ws.ping, outcome.ws.pong):
        with pytest.raises(LocallyClosed):
            await use()
    with pytest.raises(LocallyClosed):
        await outcome.ws.send("x")
    await outcome.ws.aclose(4000)
    assert await outcome.ws.wait_closed() == outcome.event
