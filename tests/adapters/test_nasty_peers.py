"""Peers that flood, trickle, read nothing or drop TCP: an adapted connection ends in time, and its event is true."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import product

import pytest
import trio
from stages import Role, Script, Wire

from trio_closeevents import CloseEvent, ConnectionBroken
from trio_closeevents.adapters import AdaptedWebSocket
from trio_closeevents.testing import BINARY, CONTINUATION, ScriptedPeer

from .stage import Stage

HOUSE = Wire("tcp", None, 0.6, 0.3, 2.0)
FLOOD = b"x" * 2**16


async def flood(peer: ScriptedPeer, *, reads: bool) -> None:
    """Send as fast as the network takes it, until it takes nothing."""

    async def write() -> None:
        while not (peer.ended or peer.has_gone):
            with trio.move_on_after(0.5):
                await peer.send(peer.frame(BINARY, FLOOD), label="a lot")
            await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        if reads:
            await peer.drain()
            nursery.cancel_scope.cancel()
        else:
            await trio.sleep(3)
            nursery.cancel_scope.cancel()


async def flood_and_read(peer: ScriptedPeer) -> None:
    await flood(peer, reads=True)


async def flood_and_read_nothing(peer: ScriptedPeer) -> None:
    await flood(peer, reads=False)


async def flood_without_a_message(peer: ScriptedPeer) -> None:
    """Empty fragments, for ever."""
    await peer.send(peer.frame(BINARY, b"", fin=False))
    with trio.move_on_after(3):
        while not peer.ended:
            await peer.send(peer.frame(CONTINUATION, b"", fin=False) * 100, label="fragments")
            await trio.sleep(0.001)


async def trickle(peer: ScriptedPeer) -> None:
    """Answer the Close a byte at a time, slower than any limit."""
    close = await peer.receive_close()
    assert close is not None
    for byte in peer.frame(close.opcode, close.payload):
        await peer.send(bytes([byte]), label="a byte")
        await trio.sleep(0.5)


async def answer_by_half(peer: ScriptedPeer) -> None:
    close = await peer.receive_close()
    assert close is not None
    await peer.send(peer.frame(close.opcode, close.payload)[:3], label="half a Close")
    await peer.drain()


async def answer_and_stay(peer: ScriptedPeer) -> None:
    """Answer, and leave TCP open."""
    close = await peer.receive_close()
    assert close is not None
    await peer.send(peer.frame(close.opcode, close.payload))
    await trio.sleep(1)


async def reset_at_once(peer: ScriptedPeer) -> None:
    await peer.reset()


async def reset_behind_a_close(peer: ScriptedPeer) -> None:
    await peer.send(peer.close_frame(4001))
    await peer.reset()


async def close_and_stay(peer: ScriptedPeer) -> None:
    """Close first, read nothing, leave TCP open."""
    await peer.send(peer.close_frame(4001))
    await trio.sleep(1)


async def leave(ws: AdaptedWebSocket) -> None:
    await trio.sleep(0.1)


async def fail(ws: AdaptedWebSocket) -> None:
    await trio.sleep(0.1)
    raise KeyError


async def be_cancelled(ws: AdaptedWebSocket) -> None:
    await trio.sleep_forever()


async def send(ws: AdaptedWebSocket) -> None:
    with trio.move_on_after(0.1), suppress(ConnectionBroken):
        await ws.send(FLOOD * 100)


SCRIPTS: dict[str, tuple[Script, Callable[[CloseEvent], bool]]] = {
    "flood_and_read": (flood_and_read, lambda it: it.code == 1006),
    "flood_and_read_nothing": (flood_and_read_nothing, lambda it: it.code == 1006),
    "flood_without_a_message": (flood_without_a_message, lambda it: it.code == 1006),
    "trickle": (trickle, lambda it: it.code == 1006),
    "answer_by_half": (answer_by_half, lambda it: it.code == 1006),
    "answer_and_stay": (answer_and_stay, lambda it: it.code in (1000, 1001, 1006, 1011)),
    "reset_at_once": (reset_at_once, lambda it: it.code == 1006),
    "reset_behind_a_close": (reset_behind_a_close, lambda it: it.code in (1006, 4001) and it.cause is None),
    "close_and_stay": (close_and_stay, lambda it: it.code == 4001 and it.cause is None),
}


Block = Callable[[AdaptedWebSocket], Awaitable[object]]
BLOCKS: dict[str, tuple[Block, bool]] = {
    "leave": (leave, False),
    "fail": (fail, False),
    "send": (send, False),
    "be-cancelled": (be_cancelled, False),
    "be-cancelled-with-the-reader": (be_cancelled, True),
}
# All of these wait for real limits; with a role each in turn, every script and every block meets both.
ROLES: list[Role] = ["client", "server"]
CASES = [
    pytest.param(role, name, *BLOCKS[block], id=f"{role}-{name}-{block}")
    for (row, name), (column, block) in product(enumerate(SCRIPTS), enumerate(BLOCKS))
    for role in [ROLES[(row + column) % 2]]
]


@pytest.mark.once
@pytest.mark.parametrize(("role", "name", "block", "with_reader"), CASES)
async def test_bounded_whatever_the_peer_does(role: Role, name: str, block: Block, with_reader: bool) -> None:
    """The block is over within its limit, its exception goes on, and the event claims nothing that is not so."""
    script, fits = SCRIPTS[name]
    scope = trio.CancelScope()
    if block is be_cancelled:
        scope.deadline = trio.current_time() + 0.2
    stage = Stage(role, HOUSE)
    outcome = await stage.play(block, script, scope=scope, with_reader=with_reader, raises=block is fail)
    limit = HOUSE.cancel_timeout if block is be_cancelled else HOUSE.close_timeout
    assert outcome.seconds <= limit + HOUSE.tolerance
    assert isinstance(outcome.raised, KeyError) is (block is fail)
    assert scope.cancelled_caught is (block is be_cancelled)
    assert outcome.event is not None
    assert fits(outcome.event), outcome.event
    assert with_reader or outcome.event.cause is None or outcome.reader_is_over
    close = outcome.peer.close
    if outcome.event.cause is not None:
        assert close is None or close.code == (1011 if block is fail else 1001 if block is be_cancelled else 1000)
    if name in ("flood_and_read", "trickle", "answer_by_half", "answer_and_stay"):
        assert close is not None
