"""Where frames begin and end, and whether a header may stand where it stands (RFC 6455 §5.2).

wsproto reads and judges what is in a frame. It does not tell where the frame ends in the stream, which is what a
connection needs to know that drops frames unread after its own Close.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wsproto.frame_protocol import Opcode

__all__ = ["Header", "Skipped", "read_header", "skip_short_frames", "violation"]

MAX_CONTROL_PAYLOAD: Final = 125  # RFC 6455 §5.5
OPCODES: Final = frozenset(int(opcode) for opcode in Opcode)
CONTROL_BIT: Final = 0x08
FIN: Final = 0x80

# First bytes of frames that may be skipped: (goes on with a message, begins one, ends one).
SHORT: Final = {
    Opcode.CONTINUATION: (True, False, False),
    Opcode.TEXT: (False, True, False),
    Opcode.BINARY: (False, True, False),
    FIN | Opcode.CONTINUATION: (True, False, True),
    FIN | Opcode.TEXT: (False, True, True),
    FIN | Opcode.BINARY: (False, True, True),
    FIN | Opcode.PING: (False, False, False),
    FIN | Opcode.PONG: (False, False, False),
}


class Header(NamedTuple):
    """A frame's header as it stands on the wire, not judged yet."""

    fin: bool
    rsv: int  # the three reserved bits, RSV1 first: 0-7
    opcode: int
    length: int  # payload bytes
    minimal: bool  # the shortest form of the length was used
    key: bytes  # the mask key, empty if the frame is not masked
    size: int  # bytes of the header itself, mask key included

    @property
    def is_control(self) -> bool:
        return bool(self.opcode & CONTROL_BIT)


def read_header(data: bytes | bytearray, at: int = 0) -> Header | None:
    """Read the header that stands in *data* from *at* on; `None` if it is not all there yet."""
    here = len(data) - at
    if here < 2:
        return None
    first, second = data[at], data[at + 1]
    length, size, smallest = second & 0x7F, 2, 0
    if length >= 126:
        size, smallest = (4, 126) if length == 126 else (10, 2**16)
        if here < size:
            return None
        length = int.from_bytes(data[at + 2 : at + size])
    key_at = size
    if second & 0x80:
        size += 4
    if here < size:
        return None
    return Header(
        fin=bool(first & 0x80),
        rsv=(first >> 4) & 0x07,
        opcode=first & 0x0F,
        length=length,
        minimal=length >= smallest,
        key=bytes(data[at + key_at : at + size]),
        size=size,
    )


def violation(header: Header, *, from_client: bool, in_message: bool, rsv_allowed: int = 0) -> str | None:
    """Tell which rule of RFC 6455 §5 *header* breaks, or `None`.

    Args:
        header: what was read.
        from_client: the sender is a client, which masks (§5.1).
        in_message: a fragmented message is under way (§5.4).
        rsv_allowed: reserved bits that a negotiated extension uses.
    """
    if header.opcode not in OPCODES:
        return f"invalid opcode {header.opcode:#x}"
    if header.rsv & ~rsv_allowed:
        return "reserved bit set"
    if bool(header.key) is not from_client:
        return "client frame without a mask" if from_client else "server frame with a mask"
    if not header.minimal:
        return "payload length not in its shortest form"
    if header.length >> 63:
        return "payload length over 2**63 - 1"
    if header.is_control:
        if not header.fin:
            return "fragmented control frame"
        if header.length > MAX_CONTROL_PAYLOAD:
            return f"control frame of {header.length} bytes"
    elif (header.opcode == Opcode.CONTINUATION) is not in_message:
        return "continuation without a message" if not in_message else "new message inside a fragmented one"
    return None


class Skipped(NamedTuple):
    """What `skip_short_frames` passed over."""

    size: int  # bytes, of whole frames
    payload: int  # bytes of their payloads
    messages: int  # messages that ended among them
    in_message: bool  # a fragmented message is under way behind them


def skip_short_frames(data: bytes | bytearray, begin: int = 0, *, from_client: bool, in_message: bool) -> Skipped:
    """Pass over the whole frames in *data*, from *begin* on, that are short, legal, and no Close frames.

    The short way for what a connection drops: of a flood of tiny frames, a thousand in less than a millisecond. It
    stops where it finds anything else, and `read_header` goes on from there.
    """
    payload = messages = 0
    at, end = begin, len(data) - 1
    mask, key = (0x80, 4) if from_client else (0, 0)
    while at < end:
        first, length = data[at], data[at + 1] ^ mask
        after = at + 2 + key + length
        if length > MAX_CONTROL_PAYLOAD or after > end + 1 or first not in SHORT:
            break
        continues, begins, ends = SHORT[first]
        if (continues and not in_message) or (begins and in_message):
            break
        if continues or begins:
            in_message = not ends
            messages += ends
        payload += length
        at = after
    return Skipped(at - begin, payload, messages, in_message)
