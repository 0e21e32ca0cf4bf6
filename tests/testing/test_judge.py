"""The judge of `cancel_at_every_checkpoint` has teeth: the library, broken on purpose, does not pass."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

import pytest
import trio

from trio_closeevents import CloseEvent, CloseFrame, WebSocket, _block, _driver, _policy
from trio_closeevents._life import Life
from trio_closeevents._opening import Opening
from trio_closeevents._protocol.session import Session
from trio_closeevents._writer import Writer
from trio_closeevents.testing import CLOSE, PING, ScriptedPeer, cancel_at_every_checkpoint, frame, tally

pytestmark = [pytest.mark.once, pytest.mark.measured]

LIMIT: Final = 0.5

send_close = Writer.send_close


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> Any:
    """That of the side that is broken."""
    return request.param


async def receive_idle(websocket: WebSocket) -> None:
    with trio.move_on_after(0.01):
        await websocket.receive()


def verdict(role: Any, scenario: Any = receive_idle, **options: Any) -> str:
    """Return what is said against the library."""
    with pytest.raises(AssertionError) as caught:
        cancel_at_every_checkpoint(scenario, role=role, cancel_timeout=LIMIT, **options)
    return str(caught.value)


def test_judge_sees_another_code(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """1000 in place of 1001."""
    monkeypatch.setitem(_policy.DEFAULTS, BaseException, CloseFrame(1000))
    assert "the peer saw Close 1000, and the contract has 1001" in verdict(role)


def test_judge_sees_a_missing_close(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Close frame at all, though it is in the session."""

    def send_nothing(_: Writer, __: bytes) -> None:
        pass

    monkeypatch.setattr(Writer, "send_close", send_nothing)
    assert "no Close frame was sent, though nothing was in its way" in verdict(role)


def test_judge_sees_a_close_that_is_missing_at_once(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport is dropped in place of a Close frame."""
    monkeypatch.setattr(Life, "close_for", lambda life, _: life.driver.abort())
    assert "no Close frame was sent, though nothing was in its way" in verdict(role)


@pytest.mark.parametrize(
    "behind", [frame(CLOSE, b"\x03\xe9", masked=True), frame(PING, b"", masked=True)], ids=["Close", "Ping"]
)
def test_judge_sees_a_frame_behind_the_close(role: str, behind: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Close frame, or anything else."""
    if role == "server":
        behind = bytes([behind[0], behind[1] & 0x7F]) + (b"\x03\xe9" if behind[0] == 0x88 else b"")
    monkeypatch.setattr(Writer, "send_close", lambda writer, close: send_close(writer, close + behind))
    assert "something came behind the Close frame" in verdict(role)


def test_judge_sees_a_frame_that_was_torn(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a frame, and the Close frame inside of it."""
    half = b"\x81\xfe\x00\x80" if role == "client" else b"\x81\x7e\x00\x80"
    monkeypatch.setattr(Writer, "send_close", lambda writer, close: send_close(writer, half + close))
    message = verdict(role)
    assert "no Close frame was sent" in message or "the event has sent" in message


def test_judge_sees_a_frame_with_the_wrong_mask(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a client masks."""
    wrong = frame(CLOSE, b"\x03\xe9", masked=role == "server")
    monkeypatch.setattr(Writer, "send_close", lambda writer, _: send_close(writer, wrong))
    assert "no legal frames, as behind one that was torn: ['Close 1001']" in verdict(role)


def test_judge_sees_a_swallowed_cancellation(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that absorbs the cancellation of a scope outside."""
    leave = _block.WebSocketBlock.__aexit__

    async def absorb(block: Any, kind: Any, error: Any, trace: Any) -> bool:
        await leave(block, kind, error, trace)
        return True

    monkeypatch.setattr(_block.WebSocketBlock, "__aexit__", absorb)
    assert "the cancellation was swallowed" in verdict(role)


def test_judge_sees_a_cancellation_that_is_swallowed_at_the_end(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes in the last turns of the ending, which nothing tells but a checkpoint."""

    async def nothing() -> None:
        pass

    class Without:
        def __init__(self, module: Any, **others: Any) -> None:
            self.module = module
            self.__dict__.update(others)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.module, name)

    lowlevel = Without(trio.lowlevel, checkpoint_if_cancelled=nothing)
    monkeypatch.setattr(_block, "trio", Without(trio, lowlevel=lowlevel))
    with pytest.raises(AssertionError, match="the cancellation was swallowed"):
        for _ in range(20):  # trio is free to choose between tasks: not every play has such a turn
            cancel_at_every_checkpoint(receive_idle, role=role, cancel_timeout=LIMIT)  # type: ignore[arg-type]


def test_judge_sees_a_replaced_exception(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block's exception must go on as the object that it is."""
    see_it_through = Life.see_it_through

    async def fail(life: Life) -> None:
        await see_it_through(life)
        raise LookupError("of the library")

    async def raise_own(_: WebSocket) -> None:
        raise LookupError("of the scenario")

    monkeypatch.setattr(Life, "see_it_through", fail)
    message = verdict(role, raise_own, raises=(LookupError,))
    assert "LookupError('of the scenario') was replaced by LookupError('of the library')" in message


def test_judge_sees_a_missing_event(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection that was open ends in one."""
    monkeypatch.setattr(WebSocket, "close_event", None)
    assert "there is no CloseEvent" in verdict(role)


@pytest.mark.parametrize("times", [0, 2])
def test_judge_counts_log_records(role: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One record for one ending."""
    logger = logging.getLogger("trio_closeevents")
    info = logger.info

    def log(*arguments: Any, **options: Any) -> None:
        for _ in range(times):
            info(*arguments, **options)

    monkeypatch.setattr(logger, "info", log)
    assert f"the CloseEvent was logged {times} times" in verdict(role)


def test_judge_sees_an_ending_without_limit(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that answers nothing may hold up an ending for `cancel_timeout` and no longer."""
    limit = _driver.Driver.limit
    monkeypatch.setattr(_driver.Driver, "limit", lambda driver, seconds: limit(driver, seconds + 3))
    assert "s to end, and the limit is 0.5 s" in verdict(role, peer=ScriptedPeer.drain, close_timeout=0.2)


def test_judge_sees_an_event_that_lies(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the event says was sent, the peer must have seen."""
    lie = frame(CLOSE, b"\x0f\xa0", masked=role == "client")
    monkeypatch.setattr(Writer, "send_close", lambda writer, _: send_close(writer, lie))
    assert "the event has sent 1000, and the peer saw 4000" in verdict(role)


@pytest.mark.parametrize("role", ["client"])  # a server's frame in place of its answer is no answer to the peer
def test_judge_sees_a_frame_in_the_opening(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is cancelled there sends no frame."""
    abandon = Opening.abandon

    async def say_goodbye(opening: Opening) -> None:
        if opening._transport is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await opening._transport.write_all(frame(CLOSE, b"\x03\xe9", masked=role == "client"))
        await abandon(opening)

    monkeypatch.setattr(Opening, "abandon", say_goodbye)
    assert "a frame was sent, and there was no connection yet" in verdict(role)


def test_tally_counts_endings_by_moment(role: Any) -> None:
    """A line for each kind of ending."""
    runs = cancel_at_every_checkpoint(receive_idle, role=role, cancel_timeout=LIMIT, stride=4)
    lines = tally(runs).splitlines()
    assert lines[0] == "     1 never    Close 1000; 1000 normal closure, after we sent 1000: exit"
    assert sum(int(line.split()[0]) for line in lines) == len(runs)


@pytest.mark.parametrize(
    "change", [{"was_clean": False}, {"code": 1000}, {"reason": "made up"}, {"cause": "exit"}], ids=str
)
def test_judge_sees_a_field_that_lies(role: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field of the event is compared with what the peer saw and did."""
    decide = Session._decide

    def lie(session: Session) -> CloseEvent:
        return replace(decide(session), **change)

    monkeypatch.setattr(Session, "_decide", lie)
    assert verdict(role)


def test_judge_sees_a_close_with_a_reason(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the program leaks into the Close frame."""
    monkeypatch.setitem(_policy.DEFAULTS, BaseException, CloseFrame(1001, "secret"))
    assert "the peer saw Close 1001 'secret', and the contract has 1001" in verdict(role)


def test_judge_sees_a_message_that_was_dropped(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `send` has queued goes before the Close."""

    async def send(websocket: WebSocket) -> None:
        await websocket.send("queued")

    def close_instead(writer: Writer, close: bytes) -> None:
        writer.outbox.clear()
        send_close(writer, close)

    monkeypatch.setattr(Writer, "send_close", close_instead)
    assert "messages were queued before the Close, and the peer saw" in verdict(role, send)


def test_judge_sees_a_frame_in_place_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is cancelled in the opening handshake sends no frame: nobody could tell what it is."""

    async def send_a_frame(opening: Opening) -> None:
        with trio.CancelScope(shield=True):
            if opening._transport is not None:
                await opening._transport.write_all(frame(CLOSE, b"\x03\xe9", masked=False))
            await abandon(opening)

    abandon = Opening.abandon
    monkeypatch.setattr(Opening, "abandon", send_a_frame)
    assert "a frame was sent, and there was no connection yet" in verdict("server")
