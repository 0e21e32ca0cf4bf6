"""`Traffic` reads frames out of the bytes of both directions; its witness is a stream like any other."""

from __future__ import annotations

import trio
import trio.testing

from trio_closeevents.testing import Traffic, frame
from trio_closeevents.testing._traffic import Witness

HEAD = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"


def test_traffic_notes_frames_behind_the_head_however_they_come() -> None:
    """In one piece or byte by byte; each direction has a head of its own."""
    sent = HEAD + frame(1, b"hi", masked=True) + frame(8, b"\x03\xe8", masked=True)
    came = b"HTTP/1.1 101 \r\n\r\n" + frame(9, b"", masked=False)
    whole, torn = Traffic(), Traffic()
    whole.feed(sent, to_right=True)
    whole.feed(came, to_right=False)
    for byte in sent:
        torn.feed(bytes([byte]), to_right=True)
    for byte in came:
        torn.feed(memoryview(bytes([byte])), to_right=False)
    whole.end("FIN", to_right=True)
    assert [str(each) for each in whole.log] == ["→ Text b'hi'", "→ Close 1000", "← Ping", "→ FIN"]
    assert torn.log == whole.log[:-1]


def test_traffic_without_the_end_of_a_head_is_none() -> None:
    """What is in it is no frame."""
    traffic = Traffic()
    traffic.feed(HEAD[:-1] + b"\x88\x00", to_right=True)
    assert traffic.log == []


async def test_witness_is_a_proper_stream() -> None:
    """It passes trio's own test of streams, with bytes that are no frames."""

    async def make() -> tuple[Witness, Witness]:
        ours, theirs = trio.testing.memory_stream_pair()
        return Witness(ours, Traffic()), Witness(theirs, Traffic())

    async def make_clogged() -> tuple[Witness, Witness]:
        ours, theirs = trio.testing.lockstep_stream_pair()
        return Witness(ours, Traffic()), Witness(theirs, Traffic())

    await trio.testing.check_half_closeable_stream(make, None)
    await trio.testing.check_two_way_stream(make, make_clogged)
