"""Where frames begin and end, and whether a header may stand where it stands (RFC 6455 §5.2)."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection
from wsproto.frame_protocol import FrameDecoder, ParseFailed

from trio_closeevents._protocol.frames import Header, read_header, skip_short_frames, violation

KEY: Final = b"\x37\xfa\x21\x3d"  # RFC 6455 §5.7

HEADERS: Final = [
    # RFC 6455 §5.7, from the first example to the last
    (b"\x81\x05", Header(True, 0, 1, 5, True, b"", 2)),
    (b"\x81\x85\x37\xfa\x21\x3d", Header(True, 0, 1, 5, True, KEY, 6)),
    (b"\x01\x03", Header(False, 0, 1, 3, True, b"", 2)),
    (b"\x80\x02", Header(True, 0, 0, 2, True, b"", 2)),
    (b"\x89\x05", Header(True, 0, 9, 5, True, b"", 2)),
    (b"\x8a\x85\x37\xfa\x21\x3d", Header(True, 0, 10, 5, True, KEY, 6)),
    (b"\x82\x7e\x01\x00", Header(True, 0, 2, 256, True, b"", 4)),
    (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", Header(True, 0, 2, 65536, True, b"", 10)),
    # the ends of each form of the length
    (b"\x82\x00", Header(True, 0, 2, 0, True, b"", 2)),
    (b"\x82\x7d", Header(True, 0, 2, 125, True, b"", 2)),
    (b"\x82\x7e\x00\x7d", Header(True, 0, 2, 125, False, b"", 4)),
    (b"\x82\x7e\x00\x7e", Header(True, 0, 2, 126, True, b"", 4)),
    (b"\x82\x7e\xff\xff", Header(True, 0, 2, 65535, True, b"", 4)),
    (b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", Header(True, 0, 2, 65535, False, b"", 10)),
    (b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", Header(True, 0, 2, 2**63 - 1, True, b"", 10)),
    (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", Header(True, 0, 2, 2**64 - 1, True, b"", 10)),
    (b"\x82\xfe\x01\x00\x37\xfa\x21\x3d", Header(True, 0, 2, 256, True, KEY, 8)),
    (b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\x37\xfa\x21\x3d", Header(True, 0, 2, 65536, True, KEY, 14)),
    # each bit of the first byte
    (b"\x40\x00", Header(False, 4, 0, 0, True, b"", 2)),
    (b"\x20\x00", Header(False, 2, 0, 0, True, b"", 2)),
    (b"\x10\x00", Header(False, 1, 0, 0, True, b"", 2)),
    (b"\xff\x80\0\0\0\0", Header(True, 7, 15, 0, True, b"\0\0\0\0", 6)),
]

LENGTHS: Final = [0, 1, 2, 124, 125, 126, 127, 65535, 65536, 2**31, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize(
    ("raw", "header"), HEADERS, ids=lambda value: value.hex(" ") if isinstance(value, bytes) else ""
)
def test_header_is_read_as_it_stands(raw: bytes, header: Header) -> None:
    """Every field of every form is read, what stands behind the header is neither looked at nor taken."""
    for behind in (b"", b"\x00", b"\xff" * 20):
        buffer = bytearray(raw + behind)
        assert read_header(buffer) == header
        assert buffer == raw + behind
    assert header.size == len(raw)


@pytest.mark.parametrize("raw", [raw for raw, _ in HEADERS], ids=lambda raw: raw.hex(" "))
def test_header_that_is_not_all_there_is_none_yet(raw: bytes) -> None:
    """Cut at every byte, there is no header before its last one."""
    for size in range(len(raw)):
        assert read_header(bytearray(raw[:size])) is None, size


@pytest.mark.parametrize(("opcode", "control"), [(0, False), (1, False), (2, False), (7, False), (8, True), (15, True)])
def test_control_frames_are_told_by_a_bit(opcode: int, control: bool) -> None:
    """Opcodes 0x8-0xF are control frames, known or not (§5.2)."""
    assert Header(True, 0, opcode, 0, True, b"", 2).is_control is control


# -- the rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("from_client", [True, False], ids=["from client", "from server"])
@pytest.mark.parametrize(
    ("header", "in_message", "rule"),
    [
        (Header(True, 0, 1, 5, True, b"", 2), False, None),
        (Header(False, 0, 2, 0, True, b"", 2), False, None),
        (Header(False, 0, 0, 0, True, b"", 2), True, None),
        (Header(True, 0, 0, 2**63 - 1, True, b"", 10), True, None),
        (Header(True, 0, 9, 125, True, b"", 2), True, None),
        (Header(True, 0, 8, 0, True, b"", 2), False, None),
        (Header(True, 0, 10, 0, True, b"", 2), False, None),
        *((Header(True, 0, opcode, 0, True, b"", 2), False, f"invalid opcode {opcode:#x}") for opcode in range(3, 8)),
        *((Header(True, 0, opcode, 0, True, b"", 2), False, f"invalid opcode {opcode:#x}") for opcode in range(11, 16)),
        *((Header(True, rsv, 1, 0, True, b"", 2), False, "reserved bit set") for rsv in range(1, 8)),
        (Header(True, 4, 9, 0, True, b"", 2), False, "reserved bit set"),
        (Header(True, 0, 1, 125, False, b"", 4), False, "payload length not in its shortest form"),
        (Header(True, 0, 9, 5, False, b"", 4), False, "payload length not in its shortest form"),
        (Header(True, 0, 1, 2**63, True, b"", 10), False, "payload length over 2**63 - 1"),
        (Header(False, 0, 8, 0, True, b"", 2), False, "fragmented control frame"),
        (Header(False, 0, 9, 0, True, b"", 2), True, "fragmented control frame"),
        (Header(True, 0, 10, 126, True, b"", 4), False, "control frame of 126 bytes"),
        (Header(True, 0, 0, 0, True, b"", 2), False, "continuation without a message"),
        (Header(True, 0, 1, 0, True, b"", 2), True, "new message inside a fragmented one"),
        (Header(False, 0, 2, 0, True, b"", 2), True, "new message inside a fragmented one"),
    ],
    ids=str,
)
def test_violation_names_the_rule(header: Header, in_message: bool, rule: str | None, from_client: bool) -> None:
    """What RFC 6455 §5 forbids has a name, what it allows is `None`, whichever side sent it."""
    header = header._replace(key=KEY if from_client else b"")

    assert violation(header, from_client=from_client, in_message=in_message) == rule


def test_mask_belongs_to_the_client_alone() -> None:
    """A client masks every frame, a server none (§5.1)."""
    plain, masked = Header(True, 0, 1, 0, True, b"", 2), Header(True, 0, 1, 0, True, b"\0\0\0\0", 6)

    assert violation(plain, from_client=True, in_message=False) == "client frame without a mask"
    assert violation(masked, from_client=True, in_message=False) is None
    assert violation(masked, from_client=False, in_message=False) == "server frame with a mask"
    assert violation(plain, from_client=False, in_message=False) is None


@pytest.mark.parametrize("rsv", range(8))
@pytest.mark.parametrize("allowed", range(8))
def test_reserved_bits_are_allowed_one_by_one(rsv: int, allowed: int) -> None:
    """An extension may use the bits that were agreed on, and no others (§5.2)."""
    header = Header(True, rsv, 1, 0, True, b"", 2)
    subset = all(allowed & bit for bit in (1, 2, 4) if rsv & bit)

    assert (violation(header, from_client=False, in_message=False, rsv_allowed=allowed) is None) is subset


# -- the same as wsproto ---------------------------------------------------------------------------------------------


def raw_header(first: int, second: int, length: int, key: bytes = KEY) -> bytes:
    """Return a whole header whose first two bytes are given; *length* is cut to what its form holds."""
    extended = {126: 2, 127: 8}.get(second & 0x7F, 0)
    return bytes([first, second]) + (length % (1 << 8 * extended)).to_bytes(extended) + (key if second & 0x80 else b"")


def wsproto_accepts(raw: bytes, *, from_client: bool) -> bool:
    decoder = FrameDecoder(client=not from_client)
    decoder.receive_bytes(raw)
    try:
        assert decoder.parse_header(), "the header was not whole"
    except ParseFailed:
        return False
    return True


def assert_same_judgement(raw: bytes, *, from_client: bool) -> None:
    header = read_header(bytearray(raw))
    assert header is not None
    assert header.size == len(raw)
    in_message = header.opcode == 0  # wsproto judges the order of fragments with the payload only: see below
    accepted = violation(header, from_client=from_client, in_message=in_message) is None
    assert accepted is wsproto_accepts(raw, from_client=from_client), raw.hex(" ")


@pytest.mark.parametrize("from_client", [True, False], ids=["from client", "from server"])
def test_every_first_byte_is_judged_as_by_wsproto(from_client: bool) -> None:
    """All first bytes, masked or not, at the ends of every form of the length: `None` exactly if wsproto accepts."""
    for first in range(256):
        for mask in (0, 0x80):
            for short in (0, 1, 2, 124, 125):
                assert_same_judgement(raw_header(first, mask | short, 0), from_client=from_client)
            for form in (126, 127):
                for length in LENGTHS:
                    assert_same_judgement(raw_header(first, mask | form, length), from_client=from_client)


@settings(deadline=None)
@given(
    first=st.integers(0, 255),
    second=st.integers(0, 255),
    length=st.sampled_from(LENGTHS) | st.integers(0, 2**64 - 1),
    key=st.binary(min_size=4, max_size=4),
    from_client=st.booleans(),
)
def test_any_header_is_judged_as_by_wsproto(
    first: int, second: int, length: int, key: bytes, from_client: bool
) -> None:
    """Any two first bytes, any length in any form, any key, in both roles: `None` exactly if wsproto accepts."""
    assert_same_judgement(raw_header(first, second, length, key), from_client=from_client)


# -- the short way for what is dropped -------------------------------------------------------------------------------


def masked(frame: bytes) -> bytes:
    """Return a short frame as a client sends it; what its payload says does not matter here."""
    return bytes([frame[0], frame[1] ^ 0x80]) + KEY + frame[2:]


@pytest.mark.parametrize("from_client", [True, False], ids=["from client", "from server"])
@pytest.mark.parametrize(
    ("frames", "in_message", "skipped"),
    [
        ([], False, (0, 0, 0, False)),
        ([b"\x81\x05Hello"], False, (1, 5, 1, False)),
        ([b"\x82\x00", b"\x89\x02hi", b"\x8a\x00", b"\x81\x00"], False, (4, 2, 2, False)),
        ([b"\x01\x01a", b"\x89\x00", b"\x00\x01b", b"\x80\x01c"], False, (4, 3, 1, False)),
        ([b"\x02\x01a", b"\x00\x00"], False, (2, 1, 0, True)),
        ([b"\x00\x01a", b"\x80\x00", b"\x82\x00"], True, (3, 1, 2, False)),
        ([b"\x89\x00"], True, (1, 0, 0, True)),
        ([b"\x82\x7d" + b"x" * 125], False, (1, 125, 1, False)),
        # it stops at what it does not understand, and at what is wrong
        ([b"\x82\x00", b"\x88\x02\x03\xe8", b"\x82\x00"], False, (1, 0, 1, False)),
        ([b"\x82\x00", b"\x82\x7e\x00\x7e" + b"x" * 126], False, (1, 0, 1, False)),
        ([b"\x82\x00", b"\x82\x7f" + bytes(200)], False, (1, 0, 1, False)),
        ([b"\x82\x00", b"\x83\x00", b"\x82\x00"], False, (1, 0, 1, False)),
        ([b"\x82\x00", b"\xc2\x00"], False, (1, 0, 1, False)),
        ([b"\x82\x00", b"\x09\x00"], False, (1, 0, 1, False)),
        ([b"\x82\x00", b"\x80\x00"], False, (1, 0, 1, False)),
        ([b"\x82\x00", b"\x00\x00"], False, (1, 0, 1, False)),
        ([b"\x89\x00", b"\x82\x00"], True, (1, 0, 0, True)),
        ([b"\x89\x00", b"\x01\x00"], True, (1, 0, 0, True)),
        ([b"\x82\x00", b"\x82\x80\0\0\0\0"], False, (1, 0, 1, False)),
    ],
    ids=lambda value: "-".join(each[:2].hex() for each in value) if isinstance(value, list) else None,
)
def test_short_frames_are_skipped(
    frames: list[bytes], in_message: bool, skipped: tuple[int, int, int, bool], from_client: bool
) -> None:
    """Whole, short and legal frames are passed over and counted, up to the first that is not; nothing is taken out."""
    count, *rest = skipped
    wire = [masked(frame) if from_client else frame for frame in frames]
    size = len(b"".join(wire[:count]))
    for half in range(len(wire[-1]) if wire else 1):
        buffer = bytearray(b"".join(wire) + (wire[-1][:half] if wire else b""))
        before = bytes(buffer)

        assert skip_short_frames(buffer, from_client=from_client, in_message=in_message) == (size, *rest)
        assert buffer == before


@settings(deadline=None)
@given(
    frames=st.lists(
        st.tuples(
            st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A]) | st.integers(0, 255),
            st.integers(0, 3) | st.integers(0, 127),
            st.just(True) | st.booleans(),
        ),
        max_size=10,
    ),
    cut=st.integers(0, 40),
    from_client=st.booleans(),
    in_message=st.booleans(),
)
def test_short_frames_are_skipped_as_the_long_way_would(
    frames: list[tuple[int, int, bool]], cut: int, from_client: bool, in_message: bool
) -> None:
    """Any bytes: what `read_header` and `violation` let through, if it is whole, short and no Close."""
    data = b""
    for first, length, right_mask in frames:
        mask = 0x80 if from_client is right_mask else 0
        data += raw_header(first, mask | length, 130) + bytes(130 if length > 125 else length)
    buffer = bytearray(data[: max(0, len(data) - cut)])
    size = payload = messages = 0
    under_way = in_message
    while (header := read_header(buffer[size:])) is not None:
        whole = size + header.size + header.length <= len(buffer)
        legal = violation(header, from_client=from_client, in_message=under_way) is None
        if not (whole and legal and header.length <= 125) or header.opcode == 8:
            break
        size += header.size + header.length
        payload += header.length
        if not header.is_control:
            under_way = not header.fin
            messages += header.fin

    expected = (size, payload, messages, under_way)
    assert skip_short_frames(buffer, from_client=from_client, in_message=in_message) == expected


# -- the day wsproto changes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ConnectionType, ids=lambda role: role.name.lower())
def test_wsproto_judges_the_order_of_fragments_with_the_payload_only(role: ConnectionType) -> None:
    """wsproto takes the header of a continuation without a message; it complains at the first byte of payload.

    When this fails, `violation` may leave the order of fragments to wsproto, and lose `in_message`.
    """
    connection = Connection(role)
    connection.receive_data(b"\x80\x05" if role is ConnectionType.CLIENT else b"\x80\x85\0\0\0\0")
    assert list(connection.events()) == []
    connection.receive_data(b"x")
    assert [type(event) for event in connection.events()] == [CloseConnection]
    assert connection.state is ConnectionState.OPEN


def test_wsproto_does_not_tell_where_a_frame_ends() -> None:
    """Its decoder has no public way to ask how many bytes of a payload are missing, nor to skip them.

    When this fails, `read_header` may be a question to wsproto.
    """
    public = {name for name in dir(Connection) if not name.startswith("_")}

    assert public == {"events", "receive_data", "send", "state"}
