"""The file of records, and what is left out of one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from .recording import Record, load, save, thinned
from .relay import Step
from .wire import inflated, unmasked

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
RESPONSE: Final = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
KEY: Final = b"\x37\xfa\x21\x3d"
HELLO: Final = b"\x81\x85" + KEY + b"\x7f\x9f\x4d\x51\x58"  # RFC 6455 §5.7
PLAIN_HELLO: Final = b"\x81\x05Hello"


def test_unmasked_unmasks_where_the_payload_stands_and_twice_is_once_back() -> None:
    """A frame that is not whole stays as it is."""
    assert unmasked(HELLO + PLAIN_HELLO + HELLO[:-1]) == b"\x81\x85" + KEY + b"Hello" + PLAIN_HELLO + HELLO[:-1]
    assert unmasked(unmasked(HELLO)) == HELLO


@pytest.mark.parametrize("size", [125, 126, 65535, 65536])
def test_unmasked_knows_all_forms_of_the_length(size: int) -> None:
    """7, 16 and 64 bits (RFC 6455 §5.2)."""
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 2**16 else b"\x7f" + size.to_bytes(8)
    header = bytes([0x82, length[0] | 0x80]) + length[1:] + KEY
    payload = (KEY * size)[:size]

    assert unmasked(header + payload + HELLO) == header + bytes(size) + b"\x81\x85" + KEY + b"Hello"


def test_inflated_follows_fragments_and_leaves_control_frames_alone() -> None:
    """The example of RFC 7692 §7.2.3.1, in two fragments with a Ping between, and once more by its context."""
    frames = b"\x41\x03\xf2\x48\xcd" + b"\x89\x01\xf2" + b"\x80\x04\xc9\xc9\x07\x00" + b"\xc1\x05\xf2\x00\x11\x00\x00"

    first, ping, second, again = inflated(frames)

    assert (first[3] + second[3], ping, again) == (b"Hello", (True, 0, 9, b"\xf2"), (True, 4, 1, b"Hello"))


def suite(data: bytes) -> Step:
    return Step("suite", data)


def us(data: bytes) -> Step:
    return Step("us", data)


def test_saved_records_are_loaded_as_they_were(tmp_path: Path) -> None:
    """Cuts, ends and masked bytes too."""
    steps = [suite(REQUEST), us(RESPONSE), suite(HELLO[:4]), suite(HELLO[4:]), us(PLAIN_HELLO), us(b""), suite(b"")]
    records = [Record("server", "1.1.1", steps), Record("client", "1.1.1", [us(REQUEST), suite(RESPONSE)])]

    save(records, tmp_path / "records.xz")

    assert load(tmp_path / "records.xz") == records


@pytest.mark.parametrize(("size", "count"), [(5, 50), (125, 30), (2000, 3)])
def test_thinned_keeps_the_first_messages_with_their_answers_and_the_end(size: int, count: int) -> None:
    """Of 1000 messages at most 50 are kept, of at most 4000 bytes with their headers, but 3 in any case."""
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2)
    question = suite(bytes([0x81, length[0] | 0x80]) + length[1:] + KEY + bytes(size))
    answer = us(b"\x81" + length + bytes(size))
    opening, closing = [suite(REQUEST), us(RESPONSE)], [suite(b"\x88\x80" + KEY), us(b"\x88\x00")]

    kept = thinned(Record("server", "9.7.2", [*opening, *[question, answer] * 1000, *closing]))

    assert kept.steps == [*opening, *[question, answer] * count, *closing]


def test_thinned_forgets_most_cuts_and_no_bytes() -> None:
    """What the suite sends at a stretch keeps at most 32 pieces; cuts in what we send mean nothing."""
    steps = [*(suite(bytes([number])) for number in range(100)), us(b"a"), us(b"b"), suite(b""), us(b"")]

    kept = thinned(Record("server", "2.6", steps))

    pieces = [bytes(range(start, min(start + 4, 100))) for start in range(0, 100, 4)]
    assert kept.steps == [*map(suite, pieces), us(b"ab"), suite(b""), us(b"")]
