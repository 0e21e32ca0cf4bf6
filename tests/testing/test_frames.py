"""Frames by hand: what is written can be read back, and what is no frame is told apart."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_closeevents.testing import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, frame, take_frame

payloads = st.binary(max_size=200) | st.sampled_from([bytes(size) for size in (125, 126, 65535, 65536)])
frames = st.builds(Frame, opcode=st.integers(0, 15), payload=payloads, fin=st.booleans(), masked=st.booleans())
LITERALS: Final = [
    (b"\x88\x02\x03\xe8", Frame(CLOSE, b"\x03\xe8"), "Close 1000"),
    (b"\x88\x05\x0f\xa0bye", Frame(CLOSE, b"\x0f\xa0bye"), "Close 4000 'bye'"),
    (b"\x88\x00", Frame(CLOSE), "Close"),
    (b"\x01\x02hi", Frame(TEXT, b"hi", fin=False), "Text... b'hi'"),
    (b"\x80\x00", Frame(CONTINUATION), "Continuation"),
    (b"\x82\x15" + b"x" * 21, Frame(BINARY, b"x" * 21), "Binary of 21 B"),
    (b"\x89\x01x", Frame(PING, b"x"), "Ping b'x'"),
    (b"\x8a\x00", Frame(PONG), "Pong"),
    (b"\x8b\x00", Frame(11), "opcode 0xb"),
    (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Frame(TEXT, b"Hello", masked=True), "Text b'Hello'"),  # §5.7
]


@pytest.mark.parametrize(("data", "expected", "words"), LITERALS, ids=[words for _, _, words in LITERALS])
def test_take_frame_reads_literal_bytes(data: bytes, expected: Frame, words: str) -> None:
    """Bytes that were written down by hand, whole and one by one."""
    buffer = bytearray(data)
    taken = take_frame(buffer)
    assert taken == expected
    assert (taken is not None and taken.masked, str(taken), bytes(buffer)) == (expected.masked, words, b"")
    for byte in data[:-1]:
        buffer.append(byte)
        assert take_frame(buffer) is None
    buffer.append(data[-1])
    assert take_frame(buffer) == expected


@given(st.lists(frames, max_size=3))
def test_frames_come_back_as_they_were_written(written: list[Frame]) -> None:
    """Of any length, masked or not, one behind the other."""
    buffer = bytearray()
    for each in written:
        buffer += frame(each.opcode, each.payload, fin=each.fin, masked=each.masked)
    read = [take_frame(buffer) for _ in written]
    assert read == written
    assert [each.masked for each in read if each] == [each.masked for each in written]
    assert (take_frame(buffer), bytes(buffer)) == (None, b"")


@given(frames, st.data())
def test_torn_frame_stays_in_the_buffer(written: Frame, data: st.DataObject) -> None:
    """However little is missing, nothing is taken."""
    whole = frame(written.opcode, written.payload, fin=written.fin, masked=written.masked)
    torn = bytearray(whole[: data.draw(st.integers(0, len(whole) - 1))])
    before = bytes(torn)
    assert take_frame(torn) is None
    assert torn == before


def test_masked_frames_compare_equal_to_bare_ones() -> None:
    """What counts is what was sent; who asks for the mask finds it."""
    assert Frame(TEXT, b"x", masked=True) == Frame(TEXT, b"x")


def test_frame_writes_what_it_is_told() -> None:
    """RSV bits, a fragmented Close, a length that is a lie."""
    assert frame(TEXT, b"x", rsv=4, masked=False) == b"\xc1\x01x"
    assert frame(CLOSE, fin=False, masked=False) == b"\x08\x00"
    assert frame(TEXT, b"x", masked=False, claim=5) == b"\x81\x05x"
    assert frame(TEXT, b"x", masked=False, claim=300) == b"\x81\x7e\x01\x2cx"


@pytest.mark.parametrize(
    ("received", "is_legal"),
    [
        (Frame(TEXT, bytes(70000)), True),
        (Frame(CONTINUATION, fin=False), True),
        (Frame(PING, bytes(125)), True),
        (Frame(PING, bytes(126)), False),
        (Frame(PONG, fin=False), False),
        (Frame(CLOSE, bytes(126)), False),
        (Frame(3), False),
        (Frame(11), False),
    ],
    ids=str,
)
def test_legal_frame_is_one_of_the_rfc(received: Frame, is_legal: bool) -> None:
    """Known opcodes, and control frames that are whole and short (RFC 6455 §5.5)."""
    assert received.is_legal is is_legal


def test_code_is_that_of_the_close_frame() -> None:
    """An empty one has none."""
    assert (Frame(CLOSE, b"\x03\xe9gone").code, Frame(CLOSE).code) == (1001, None)
