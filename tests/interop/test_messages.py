"""Messages and Pings, to and from other libraries."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from itertools import cycle
from typing import Any, Final

import pytest
from tls import Wire

from .process import Meeting, PeerProcess, Role
from .script import PONGED, describe

pytestmark = [pytest.mark.once, pytest.mark.unmeasured]

# Every form that the length of a frame has, at its limits (RFC 6455 §5.2), and more than any buffer holds.
SIZES: Final = (0, 1, 125, 126, 65535, 65536, 5 * 10**6)
LETTERS: Final = "aé€😀"  # 1, 2, 3 and 4 bytes of UTF-8


def text_of(size: int) -> str:
    """Return a text of *size* bytes, in which characters of every width stand across every boundary."""
    return LETTERS * (size // 10) + "z" * (size % 10)


def binary_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def in_parts(data: bytes) -> AsyncIterator[bytes]:
    """Give *data* in parts of many sizes, empty ones among them."""
    at = 0
    for size in cycle((0, 1, 2, 7, 125, 2**16, 2**17 + 1)):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


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


@pytest.mark.parametrize("size", [0, 10**3, 5 * 10**6])
async def test_message_sent_in_parts_arrives_as_one(peer: PeerProcess, role: Role, wire: Wire, size: int) -> None:
    """Text and binary, cut anywhere, are one message for the peer; its echo comes back piece by piece."""
    meeting = Meeting(peer, role, wire)
    text, binary = text_of(size), binary_of(size)

    async with await meeting.block() as ws:
        for data, is_text in ((text.encode(), True), (binary, False)):
            await ws.send(in_parts(data), text=is_text)
            async with ws.receive_stream(max_size=size) as pieces:
                assert pieces.is_text is is_text
                taken: list[Any] = [piece async for piece in pieces]
            assert ("" if is_text else b"").join(taken) == (text if is_text else binary)
        await ws.send(text[::2], text=False)
        assert await ws.receive(decode=True) == text[::2]

    report = await meeting.report()
    assert report.messages == [describe(text), describe(binary), describe(text[::2].encode())]
    assert report.code == 1000


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
