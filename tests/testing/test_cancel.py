"""`cancel_at_every_checkpoint`: what it takes, what it returns, and which scenarios it does not let pass."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Generator
from typing import Any, Final

import pytest
import trio

from trio_closeevents import WebSocket
from trio_closeevents.testing import CLOSE, PING, TEXT, CancelledRun, ScriptedPeer, cancel_at_every_checkpoint

pytestmark = [pytest.mark.once, pytest.mark.measured]

ROLES: Final = ["client", "server"]
LIMIT: Final = 0.5


async def receive_idle(websocket: WebSocket) -> None:
    with trio.move_on_after(0.01):
        await websocket.receive()


async def leave(_: WebSocket) -> None:
    """Nothing but to open and to end."""


def play(scenario: Any, **options: Any) -> list[CancelledRun]:
    return cancel_at_every_checkpoint(scenario, cancel_timeout=LIMIT, **options)


# -- what it returns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_runs_are_returned_in_order(role: Any) -> None:
    """First the one that was not cancelled, then step by step; the moments follow the life of a connection."""
    first, *others = play(receive_idle, role=role)
    assert (first.step, first.moment, str(first.close)) == (None, "never", "Close 1000")
    assert [run.step for run in others] == list(range(1, len(others) + 1))
    moments = list(dict.fromkeys(run.moment for run in others))
    assert moments == ["opening", "open", "closing"]
    opening = [run for run in others if run.moment == "opening" and run.websocket is None]
    assert opening
    assert all((run.event, run.close, run.left_by) == (None, None, None) for run in opening)
    assert all(str(run.close) == "Close 1001" for run in others if run.moment == "open")
    assert first.steps > 10


def test_run_in_words_tells_step_and_ending() -> None:
    """`str()` of a run: where it was cancelled, and what both sides saw."""
    first, second, *_ = play(leave)
    assert str(first) == "not cancelled: the peer saw Close 1000; we had 1000 normal closure, after we sent 1000: exit"
    assert str(second) == "cancelled behind step 1 (opening): the peer saw no Close; we had no connection"


def test_stride_tries_every_so_many_steps() -> None:
    """For scenarios that are long."""
    steps = [run.step for run in play(receive_idle, stride=5)]
    assert steps == [None, *range(1, 5 * len(steps) - 5, 5)]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("wire", ["memory", "lockstep", "tcp"])
def test_every_wire_has_a_polite_peer(wire: Any, role: Any) -> None:
    """The same scenario passes everywhere."""
    assert len(play(leave, wire=wire, role=role, stride=3)) > 2


@pytest.mark.parametrize("role", ROLES)
def test_tls_can_be_spoken_over_a_wire(
    role: Any, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """Its handshake is a part of the opening."""
    runs = play(leave, role=role, ssl_contexts=(server_ssl_context, client_ssl_context), stride=10)
    assert [run.moment for run in runs[1:3]] == ["opening", "opening"]
    assert "Close 1000" in {str(run.close) for run in runs[1:]}


# -- exceptions ------------------------------------------------------------------------------------------------------


def test_exception_of_the_scenario_goes_on_with_a_note() -> None:
    """The very object, and the step at which it came."""
    error = LookupError("a bug in the program")

    async def fail(_: WebSocket) -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        play(fail)
    assert caught.value is error
    (note,) = error.__notes__
    assert note.startswith("not cancelled: the peer saw Close 1011; we had 1011")


def test_exception_that_only_a_cancellation_brings_out_names_the_step() -> None:
    """What goes wrong in one run alone is told with the run."""

    async def clean_up_badly(_: WebSocket) -> None:
        try:
            await trio.sleep(0.01)
        except trio.Cancelled:
            raise LookupError("in clean-up") from None

    with pytest.raises(LookupError, match="in clean-up") as caught:
        play(clean_up_badly)
    (note,) = caught.value.__notes__
    assert note.startswith("cancelled behind step ")


def test_exception_that_is_expected_is_part_of_the_run() -> None:
    """With `raises`, it ends the block with 1011 and is judged as an ending."""

    async def fail(_: WebSocket) -> None:
        raise LookupError

    first, *others = play(fail, raises=(LookupError,))
    assert isinstance(first.left_by, LookupError)
    assert isinstance(first.raised, LookupError)
    assert {str(run.close) for run in others if run.moment == "closing"} == {"Close 1011"}


def test_connection_closed_of_the_scenario_is_always_expected() -> None:
    """A program may let it out."""

    async def close_first(peer: ScriptedPeer) -> None:
        await peer.send(peer.close_frame(4000))
        await peer.be_polite()

    async def receive(websocket: WebSocket) -> None:
        await websocket.receive()

    assert len(play(receive, peer=close_first)) > 2


def test_interrupt_of_the_scenario_goes_through() -> None:
    """KeyboardInterrupt is for nobody here."""

    async def interrupt(_: WebSocket) -> None:
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)):
        play(interrupt)


def test_assertion_of_the_peer_reaches_the_caller() -> None:
    """Whatever the script finds is told, with the run in which it found it."""

    async def expect_a_ping(peer: ScriptedPeer) -> None:
        received = await peer.receive()
        assert received is not None
        assert received.opcode == PING, "no Ping"

    with pytest.raises(AssertionError, match="no Ping") as caught:
        play(leave, peer=expect_a_ping)
    (note,) = caught.value.__notes__
    assert note.startswith("not cancelled: the peer saw Close 1000")


# -- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wire": "pigeon"}, "wire must be one of memory, lockstep, tcp, not 'pigeon'"),
        ({"stride": 0}, "stride must be a number of steps from 1 on, not 0"),
        ({"stride": 1.5}, "stride must be a number of steps from 1 on, not 1.5"),
        ({"close_timeout": -1}, "close_timeout must be finite and not negative, not -1"),
    ],
)
def test_wrong_argument_says_why(arguments: dict[str, Any], message: str) -> None:
    """Told at once, by what was given."""
    with pytest.raises(ValueError) as caught:
        play(leave, **arguments)
    assert str(caught.value) == message


async def test_called_inside_trio_says_where_to_call_it() -> None:
    """It runs trio itself."""
    with pytest.raises(RuntimeError, match="call it from a test that is not async"):
        play(leave)


# -- what does not pass ----------------------------------------------------------------------------------------------


def rejected(scenario: Any, **options: Any) -> str:
    """Return the message with which *scenario* is rejected."""
    with pytest.raises(AssertionError) as caught:
        play(scenario, **options)
    return str(caught.value)


def test_scenario_that_waits_for_a_peer_that_never_closes_is_rejected() -> None:
    """Nobody cancels the first run: the message says so, and who has to end it."""

    async def wait(websocket: WebSocket) -> None:
        await websocket.wait_closed()

    text = rejected(wait)
    assert text.startswith("not cancelled: ")
    assert (
        "did not end within 60 s; nobody cancels the first run, so the scenario must return, or the peer close" in text
    )


def test_run_that_hangs_after_its_cancellation_is_rejected() -> None:
    """The message names the step."""

    async def hang(_: WebSocket) -> None:
        try:
            await trio.sleep(0.01)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(61)

    text = rejected(hang)
    assert text.startswith("cancelled behind step ")
    assert "did not end within 60 s\n" in text


@pytest.mark.parametrize("role", ROLES)
def test_swallowed_cancellation_is_rejected(role: Any) -> None:
    """A scenario that goes on as if nothing had been."""

    async def swallow(_: WebSocket) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.01)
        try:
            await trio.sleep(0.01)
        except trio.Cancelled:
            return

    # The scope that is cancelled is round the block, whose ending tells again: only the Close frame gives it away.
    assert "the peer saw Close 1000, and the contract has 1001" in rejected(swallow, role=role)


def test_replaced_exception_is_rejected() -> None:
    """With the scenario's own exception allowed, its code is still that of an error."""

    async def replace(_: WebSocket) -> None:
        try:
            await trio.sleep(0.01)
        except trio.Cancelled:
            raise LookupError from None

    message = rejected(replace, raises=(LookupError,))
    assert "the peer saw Close 1011, and the contract has 1001" in message
    assert "│── Close 1011 ─────────>│" in message


@pytest.fixture
def leaked() -> Generator[list[socket.socket]]:
    """Sockets that a scenario leaves open."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def test_leaked_socket_is_rejected(leaked: list[socket.socket]) -> None:
    """One that is held on to, so that no garbage collector helps."""

    async def leak(_: WebSocket) -> None:
        leaked.append(socket.socket())

    assert "1 file descriptors are left" in rejected(leak)


def test_forgotten_socket_is_rejected() -> None:
    """One that the garbage collector has closed, with a ResourceWarning."""

    async def leak(_: WebSocket) -> None:
        socket.socket()

    assert "left for the garbage collector: ['unclosed <socket.socket" in rejected(leak).replace('"', "'")


def test_task_that_goes_on_is_rejected() -> None:
    """A task outside of every nursery of the scenario."""

    async def leave_a_task(_: WebSocket) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep, 5)

    assert "1 tasks are left" in rejected(leave_a_task)


@pytest.mark.parametrize("role", ROLES)
def test_code_of_its_own_is_rejected_unless_it_is_told(role: Any) -> None:
    """A scenario that closes with another code when it is cancelled."""

    async def close_oneself(websocket: WebSocket) -> None:
        try:
            await trio.sleep(0.01)
        finally:
            await websocket.aclose(4000)

    assert "the peer saw Close 4000, and the contract has 1001" in rejected(close_oneself, role=role)
    assert len(play(close_oneself, role=role, own_codes=[4000])) > 2


def test_ending_that_takes_too_long_is_rejected() -> None:
    """The time of the ending counts, not what a scenario does behind a shield before it leaves."""

    async def take_time(_: WebSocket) -> None:
        try:
            await trio.sleep(0.01)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    # A cancellation that comes behind the shield alone is not seen by the scenario, which returns.
    runs = play(take_time, own_codes=[1000])
    assert max(run.over_at - run.cancelled_at for run in runs) >= 5
    assert max(run.seconds for run in runs if run.step) <= LIMIT


def test_shielded_aclose_of_the_scenario_is_its_own_time() -> None:
    """A silent peer holds an `aclose` behind a shield for `close_timeout`; the ending has nothing left to do."""

    async def close_slowly(websocket: WebSocket) -> None:
        try:
            await trio.sleep(0.01)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 60):
                await websocket.aclose()

    assert len(play(close_slowly, peer=ScriptedPeer.drain, own_codes=[1000], close_timeout=5)) > 2


def test_message_shows_what_travelled() -> None:
    """The run, what is wrong, and a diagram."""

    async def close_oneself(websocket: WebSocket) -> None:
        await websocket.send("hello")
        try:
            await trio.sleep(0.01)
        finally:
            await websocket.aclose(4000, "own")

    run, what, _, *diagram = rejected(close_oneself).splitlines()
    assert run.startswith("cancelled behind step ")
    assert "the peer saw Close 4000 'own'; we had 4000" in run
    assert what == "the peer saw Close 4000 'own', and the contract has 1001 for that moment"
    assert diagram[:4] == [
        "we                    the peer",
        " │── Text b'hello' ──────>│",
        " │── Close 4000 'own' ───>│",
        " │<─── Close 4000 'own' ──│",
    ]


@pytest.mark.parametrize("role", ROLES)
def test_peer_that_answers_nothing_or_goes_is_fine(role: Any) -> None:
    """It is our side that is judged."""

    async def reset(peer: ScriptedPeer) -> None:
        await peer.receive()
        await peer.reset()

    async def interleave(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, b"hi"), peer.frame(CLOSE, b"\x0f\xa0"))
        await peer.drain()

    for script in (ScriptedPeer.drain, reset, interleave):
        assert len(play(receive_idle, role=role, peer=script)) > 2
