"""Messages and Pings, to and from other libraries."""

from __future__ import annotations

import random
from typing import Final

import pytest
from tls import Wire

from .process import Meeting, PeerProcess, Role
from .script import PONGED, describe

# Every form that the length of a frame has, at its limits (RFC 6455 §5.2), and more than any buffer holds.
SIZES: Final = (0, 1, 125, 126, 65535, 65536, 5 * 10**6)
LETTERS: Final = "aé€😀"  # 1, 2, 3 and 4 bytes of UTF-8


def text_of(size: int) -> str:
    """Return a text of *size* bytes, in which characters of every width stand across every boundary."""
    return LETTERS * (size // 10) + "z" * (size % 10)


def binary_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def test_messages_of_any_size_are_echoed_whole(peer: PeerProcess, role: Role, wire: Wire) -> None:
    """Text and binary of 0 B to 5 MB arrive at the peer as they were sent, and come back the same."""
    messages = [make(size) for size in SIZES for make in (text_of, binary_of)]
    meeting = Meeting(peer, role, wire)

    async with await meeting.block() as ws:
        for message in messages:
            await ws.send(message)
            echo = await ws.receive()
            assert type(echo) is type(message)
            assert echo == message, f"{type(message).__name__} of {len(message)}"

    assert (await meeting.report()).messages == [describe(message) for message in messages]
    assert ws.close_event is not None
    assert ws.close_event.was_clean


async def test_ping_is_answered_by_peer(peer: PeerProcess, role: Role) -> None:
    """Each library answers our Ping, and `ping()` returns the round trip."""
    meeting = Meeting(peer, role, Wire("plain"))

    async with await meeting.block() as ws:
        assert 0 < await ws.ping() < 10
        assert 0 < await ws.ping(b"x" * 125) < 10

    assert (await meeting.report()).code == 1000


@pytest.mark.parametrize("reading", [True, False], ids=["in receive", "elsewhere"])
async def test_ping_of_peer_is_answered(peer: PeerProcess, role: Role, reading: bool) -> None:
    """The peer's Ping is answered, whether or not the program is in `receive()` when it comes."""
    meeting = Meeting(peer, role, Wire("plain"), "ping")

    async with await meeting.block() as ws:
        if not reading:
            while not ws.stats.messages_received:
                await ws.ping()
        assert await ws.receive() == PONGED

    assert (await meeting.report()).code == 1000
