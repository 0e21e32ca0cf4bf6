"""`open_scripted_pair`: one WebSocket of a user, and at its other end a peer that does what the test says."""

from __future__ import annotations

from typing import Any, Final

import pytest
import trio
from trio.testing import MockClock

from trio_closeevents import ConnectionBroken, HandshakeTimeout, ReadyState
from trio_closeevents.testing import (
    TEXT,
    Frame,
    PeerPair,
    ScriptedPeer,
    assert_ended,
    assert_peer_saw,
    open_scripted_pair,
)

ROLES: Final = ["client", "server"]

pytestmark = pytest.mark.parametrize("role", ROLES)


def opened(pair: PeerPair | None) -> PeerPair:
    assert pair is not None
    return pair


def living() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_peer_without_a_script_is_played_by_the_test(role: Any) -> None:
    """The block has both ends; the peer stands in the other role."""
    before = living()
    async with open_scripted_pair(role=role) as (websocket, peer):
        assert peer.client is (role == "server")
        await websocket.send("hello")
        assert await peer.receive() == Frame(TEXT, b"hello")
        await peer.send(peer.frame(TEXT, b"hi"), peer.close_frame(4000, "bye"))
        assert await websocket.receive() == "hi"
        assert str(await peer.receive_close()) == "Close 4000 'bye'"
        await peer.aclose()
        await websocket.wait_closed()
    assert_ended(websocket, 4000, initiated_by="remote")
    assert living() == before


async def test_peer_with_a_script_plays_it_beside_the_block(role: Any) -> None:
    """A polite one ends the connection cleanly."""
    async with open_scripted_pair(ScriptedPeer.be_polite, role=role) as (websocket, peer):
        await websocket.ping()
    assert_ended(websocket, 1000, was_clean=True)
    assert peer.record[1:] == ["Close 1000", "FIN"]


async def test_peer_that_does_nothing_costs_the_limit(role: Any, autojump_clock: MockClock) -> None:
    """Options are those of the WebSocket."""
    async with open_scripted_pair(role=role, close_timeout=3) as (websocket, peer):
        pass
    assert_ended(websocket, 1006, sent=1000, received=None)
    assert trio.current_time() == 3
    await peer.drain()
    assert_peer_saw(peer, "Close 1000", "FIN")


async def test_script_is_cancelled_when_the_block_is_over(role: Any, autojump_clock: MockClock) -> None:
    """One that waits for ever does not hold up the test, and may clean up."""
    log: list[str] = []

    async def wait(peer: ScriptedPeer) -> None:
        try:
            await peer.receive_close()
            await peer.send(peer.close_frame(1000))
            await trio.sleep_forever()
        finally:
            log.append("cleaned up")

    async with open_scripted_pair(wait, role=role, close_timeout=2):
        pass
    assert log == ["cleaned up"]
    assert trio.current_time() <= 2


async def test_script_sees_the_end_of_the_transport_before_it_is_cancelled(role: Any) -> None:
    """What it asserts at the very end is asserted."""
    reached: list[list[str]] = []

    async def watch(peer: ScriptedPeer) -> None:
        await peer.be_polite()
        reached.append(peer.record)

    async with open_scripted_pair(watch, role=role):
        pass
    assert reached == [["Close 1000", "FIN"]]


async def test_script_with_a_shield_is_waited_for(role: Any, autojump_clock: MockClock) -> None:
    """Its own shield is its own time; nothing is left behind."""

    async def take_time(peer: ScriptedPeer) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    before = living()
    async with open_scripted_pair(take_time, role=role):
        pass
    assert trio.current_time() == 30
    assert living() == before


# -- a script that raises --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [AssertionError, BaseException])
async def test_script_that_raises_reaches_the_test(
    role: Any, kind: type[BaseException], autojump_clock: MockClock
) -> None:
    """The block is cancelled, so that nothing hangs, and the script's exception comes out of it, in no group."""
    before = living()
    error = kind("the script found something")

    async def fail(peer: ScriptedPeer) -> None:
        await peer.receive()
        raise error

    pair: PeerPair | None = None
    with pytest.raises(kind, match="found something") as caught:
        async with open_scripted_pair(fail, role=role) as pair:
            await pair.websocket.send("go")
            await trio.sleep_forever()
    websocket, peer = opened(pair)
    assert caught.value is error
    assert caught.value.__context__ is None
    assert websocket.state is ReadyState.CLOSED
    await peer.drain()
    assert_peer_saw(peer, "Text b'go'", "Close 1001", "FIN")
    assert living() == before
    assert trio.current_time() == 1  # `cancel_timeout`: nobody answers


async def test_script_that_raises_while_the_block_ends_reaches_the_test(role: Any, autojump_clock: MockClock) -> None:
    """Nor does it get lost in the ending."""

    async def check_at_the_end(peer: ScriptedPeer) -> None:
        await peer.be_polite()
        assert peer.record == [], "it saw something"

    with pytest.raises(AssertionError, match="it saw something"):
        async with open_scripted_pair(check_at_the_end, role=role):
            pass


async def test_script_and_block_that_raise_are_both_told(role: Any, autojump_clock: MockClock) -> None:
    """Which of them is the reason for the other, only the reader can tell."""

    async def fail(peer: ScriptedPeer) -> None:
        await peer.aclose()
        raise LookupError("of the script")

    with pytest.raises(ExceptionGroup, match="both the block and the other end failed") as caught:
        async with open_scripted_pair(fail, role=role) as (websocket, _):
            with trio.CancelScope(shield=True, deadline=60):
                await websocket.receive()
    first, second = caught.value.exceptions
    assert isinstance(first, ConnectionBroken)
    assert isinstance(second, LookupError)


async def test_script_that_raises_takes_its_cancellation_out_of_a_group(role: Any, autojump_clock: MockClock) -> None:
    """A block with a nursery of its own, of which one task fails in clean-up."""

    async def fail(peer: ScriptedPeer) -> None:
        await trio.sleep(1)
        raise LookupError("of the script")

    async def clean_up_badly() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in clean-up")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_scripted_pair(fail, role=role), trio.open_nursery() as nursery:
            nursery.start_soon(clean_up_badly)
            nursery.start_soon(trio.sleep_forever)
    block, script = caught.value.exceptions
    assert isinstance(block, ExceptionGroup)
    assert [repr(each) for each in block.exceptions] == ["ValueError('in clean-up')"]
    assert repr(script) == "LookupError('of the script')"


# -- leaving, and not opening ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "code"), [(ValueError("on purpose"), 1011), (KeyboardInterrupt(), 1001)], ids=repr)
async def test_exception_of_the_block_goes_on_unchanged(role: Any, error: BaseException, code: int) -> None:
    """The very object, in no group, with no new context."""
    pair: PeerPair | None = None
    with pytest.raises(type(error)) as caught:
        async with open_scripted_pair(ScriptedPeer.be_polite, role=role) as pair:
            raise error
    websocket, peer = opened(pair)
    assert caught.value is error
    assert caught.value.__context__ is None
    assert_ended(websocket, code)
    assert_peer_saw(peer, f"Close {code}", "FIN")


async def test_cancelled_block_ends_with_1001(role: Any, autojump_clock: MockClock) -> None:
    """By a deadline outside."""
    pair: PeerPair | None = None
    with trio.move_on_after(7) as scope:
        async with open_scripted_pair(ScriptedPeer.be_polite, role=role) as pair:
            await pair.websocket.receive()
    assert scope.cancelled_caught
    assert trio.current_time() == 7
    assert_ended(opened(pair).websocket, 1001)


async def test_cancellation_before_the_block_goes_on(role: Any) -> None:
    """What the peer finds then is no error of the test."""
    before = living()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_scripted_pair(ScriptedPeer.be_polite, role=role):
            raise AssertionError("the block has begun")
    assert scope.cancelled_caught
    assert living() == before


async def test_block_that_does_not_open_tells_why(role: Any) -> None:
    """The exception of our side counts."""
    with pytest.raises(HandshakeTimeout):
        async with open_scripted_pair(role=role, open_timeout=0):
            raise AssertionError("the block has begun")


async def test_scripted_pair_entered_twice_says_so(role: Any) -> None:
    """A block is for one use."""
    opening = open_scripted_pair(ScriptedPeer.be_polite, role=role)
    async with opening:
        with pytest.raises(RuntimeError, match="this pair was opened already: every `async with` needs one of its own"):
            await opening.__aenter__()


def test_wrong_argument_says_why(role: str) -> None:
    """Told at the call."""
    wrong: Any = role.upper()
    with pytest.raises(ValueError, match=f"^role must be 'client' or 'server', not '{wrong}'$"):
        open_scripted_pair(role=wrong)
    with pytest.raises(ValueError, match="cancel_timeout must be finite"):
        open_scripted_pair(cancel_timeout=-1)
