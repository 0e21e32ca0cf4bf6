"""What waits to be written: whole frames, in order."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_closeevents._outbox import SLICE, SMALL, Outbox

BIG: Final = bytes(range(256)) * 1024  # four slices


def test_outbox_begins_empty() -> None:
    """There is nothing to write, and no message under way."""
    outbox = Outbox()

    assert (outbox.size, outbox.payload) == (0, 0)


def test_small_frames_go_out_together() -> None:
    """What fits into one slice is one piece for the network, in the order it was queued."""
    outbox = Outbox()
    for frame in (b"\x81\x01a", b"\x89\x00", b"\x82\x02bc"):
        outbox.append(frame)

    assert outbox.size == 9
    assert bytes(outbox.head()) == b"\x81\x01a\x89\x00\x82\x02bc"


def test_large_frame_goes_out_uncopied() -> None:
    """A frame that is not small is a view of its own bytes."""
    outbox = Outbox()
    frame = b"x" * SMALL
    outbox.append(frame)

    (head,) = outbox.heads(SLICE)
    assert head.obj is frame


def test_large_frame_goes_out_in_slices() -> None:
    """No piece for the network is larger than a slice; the order stays, small frames behind a large one too."""
    outbox = Outbox()
    outbox.append(BIG + b"end")
    outbox.append(b"small")
    outbox.append(b"er")
    heads = []
    while outbox.size:
        heads.append(bytes(outbox.head()))
        outbox.advance(len(heads[-1]))

    assert max(map(len, heads)) == SLICE
    assert len(heads) == 5
    assert b"".join(heads) == BIG + b"endsmaller"


def test_many_small_frames_go_out_in_slices() -> None:
    """Put together, small frames are cut as a large one is."""
    outbox = Outbox()
    for _ in range(SLICE // 2):
        outbox.append(b"abc")
    heads = []
    while outbox.size:
        heads.append(bytes(outbox.head()))
        outbox.advance(len(heads[-1]))

    assert [len(head) for head in heads] == [SLICE, SLICE // 2]
    assert b"".join(heads) == b"abc" * (SLICE // 2)


def test_small_and_large_frames_keep_their_order() -> None:
    """A large frame goes behind the small ones that were queued before it, and before those queued after it."""
    outbox = Outbox()
    frames = [b"a", b"bb", b"c" * SMALL, b"d", b"e" * (SMALL - 1), b"f" * SMALL, b"g" * SMALL, b"h"]
    for frame in frames:
        outbox.append(frame)
    assert outbox.size == len(b"".join(frames))
    heads = []
    while outbox.size:
        heads.append(bytes(outbox.head()))
        outbox.advance(len(heads[-1]))

    assert heads == [b"abb" + frames[2], b"d" + frames[4], frames[5], frames[6], b"h"]


def test_partly_written_frame_is_finished_first() -> None:
    """What the network did not take is the start of the next piece; what is queued meanwhile comes behind it."""
    outbox = Outbox()
    outbox.append(b"abc")
    outbox.append(b"def")
    assert bytes(outbox.head()) == b"abcdef"
    outbox.advance(1)
    outbox.append(b"ghi")

    assert outbox.size == 8
    assert bytes(outbox.head()) == b"bcdefghi"
    outbox.advance(5)
    assert bytes(outbox.head()) == b"ghi"
    assert outbox.size == 3


def test_message_is_never_copied() -> None:
    """A large payload goes out behind its header, in one call and as it is; a small one is put together with others."""
    outbox = Outbox()
    payload = b"x" * SLICE
    outbox.put(b"\x81\x01", b"a", 1)
    outbox.put(b"\x82\x7f12345678", payload, SLICE)
    outbox.put(b"\x81\x01", b"b", 1)

    first, second = outbox.heads(SLICE)
    assert bytes(first) == b"\x81\x01a\x82\x7f12345678"
    assert second.obj is payload
    assert len(first) + len(second) == SLICE
    assert outbox.payload == SLICE + 2
    outbox.advance(SLICE)
    assert outbox.head() == b"x" * len(first) + b"\x81\x01b"


def test_payload_counts_messages_that_did_not_leave() -> None:
    """`payload` counts bytes of messages only, and is never less than what is still here of them."""
    outbox = Outbox()
    frames = [(b"\x81\x03abc", 3), (b"\x89\x01x", 0), (b"\x82\x02de", 2), (BIG, len(BIG) - 10), (b"\x82\x01f", 1)]
    for frame, payload in frames:
        outbox.append(frame, payload)

    assert outbox.payload == 3 + 0 + 2 + len(BIG) - 10 + 1
    left = []
    for count in (2, 10):
        outbox.head()
        outbox.advance(count)
        left.append(outbox.payload)
    assert left == [5 + len(BIG) - 10 + 1, len(BIG) - 10 + 1]
    outbox.head()
    outbox.advance(10)
    assert outbox.payload == len(BIG) - 10 + 1
    outbox.head()
    outbox.advance(100)
    assert outbox.payload == len(BIG) - 110 + 1


def test_payload_of_small_frames_needs_no_look_at_them() -> None:
    """Frames that wait to be put together are counted too."""
    outbox = Outbox()
    outbox.append(b"\x81\x03abc", 3)
    assert outbox.payload == 3
    outbox.append(b"\x81\x02de", 2)
    assert outbox.payload == 5


def test_clear_forgets_everything_but_how_much_it_was() -> None:
    """After `clear` the outbox is as new, in the middle of a frame too; only messages that never left still count."""
    outbox = Outbox()
    outbox.append(BIG, 3)
    outbox.append(b"\x81\x03abc", 3)
    outbox.head()
    outbox.advance(2)
    outbox.head()
    outbox.clear()

    assert (outbox.size, outbox.payload) == (0, 6)
    outbox.advance(7)
    assert (outbox.size, outbox.payload) == (0, 6)
    outbox.append(b"xyz", 1)
    assert (outbox.size, outbox.payload) == (3, 7)
    assert bytes(outbox.head()) == b"xyz"
    outbox.clear()
    assert (outbox.size, outbox.payload) == (0, 7)


@pytest.mark.parametrize("scale", [1, SMALL // 4, SLICE // 4])
def test_outbox_writes_what_was_queued(scale: int) -> None:
    """Whatever the sizes, and however much the network takes: the same bytes in the same order, counted right."""

    @settings(deadline=None)
    @given(
        frames=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=12),
        taken=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    )
    def check(frames: list[tuple[int, int]], taken: list[int]) -> None:
        outbox = Outbox()
        queued, payloads = b"", 0
        for number, (size, payload) in enumerate(frames):
            frame = bytes([number]) * (size * scale)
            outbox.append(frame, min(payload * scale, len(frame)))
            queued += frame
            payloads += min(payload * scale, len(frame))
        written = b""
        step = 0
        while outbox.size:
            assert outbox.size == len(queued) - len(written)
            assert 0 <= outbox.payload <= payloads
            payloads = outbox.payload
            head = bytes(outbox.head())
            assert 0 < len(head) <= SLICE
            count = min(len(head), taken[step % len(taken)] * scale)
            outbox.advance(count)
            written += head[:count]
            step += 1

        assert written == queued
        assert outbox.payload == 0

    check()
