"""Frames by hand: written with any mistake in them, and read back.

No code is shared with the library, so that what is written may be wrong on purpose, and what is read is a witness of
its own.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import Final

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "Frame", "frame", "in_words", "take_frame"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NAMES: Final = {
    CONTINUATION: "Continuation",
    TEXT: "Text",
    BINARY: "Binary",
    CLOSE: "Close",
    PING: "Ping",
    PONG: "Pong",
}
MAX_CONTROL_PAYLOAD: Final = 125  # RFC 6455 §5.5


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was received, unmasked. Whether it was masked does not count when two are compared.

    Attributes:
        opcode: one of RFC 6455 §11.8, such as `TEXT`, or another.
        payload: without the mask.
        fin: the last fragment of a message, or a whole one.
        masked: as a client has to.
    """

    opcode: int
    payload: bytes = b""
    fin: bool = True
    masked: bool = field(default=False, compare=False)

    @property
    def is_legal(self) -> bool:
        """The opcode is one of RFC 6455, and a control frame is whole and short (§5.5)."""
        is_control = self.opcode >= CLOSE
        return self.opcode in NAMES and not (is_control and (not self.fin or len(self.payload) > MAX_CONTROL_PAYLOAD))

    @property
    def code(self) -> int | None:
        """The code of a Close frame, `None` if it is empty."""
        return int.from_bytes(self.payload[:2]) if self.payload else None

    def __str__(self) -> str:
        name = NAMES.get(self.opcode, f"opcode {self.opcode:#x}") + ("" if self.fin else "...")
        if self.opcode == CLOSE:
            reason = self.payload[2:].decode(errors="replace")
            return " ".join([name, *([str(self.code)] if self.payload else []), *([repr(reason)] if reason else [])])
        if len(self.payload) > 20:
            return f"{name} of {len(self.payload)} B"
        return f"{name} {self.payload!r}" if self.payload else name


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool, claim: int | None = None
) -> bytes:
    """Return a frame as bytes; *claim* is the length to announce, if it is not that of *payload*."""
    size = len(payload) if claim is None else claim
    first = fin << 7 | rsv << 4 | opcode
    if size < 126:
        head = struct.pack("!BB", first, masked << 7 | size)
    elif size < 2**16:
        head = struct.pack("!BBH", first, masked << 7 | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked << 7 | 127, size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    mask = (key * (len(payload) // 4 + 1))[: len(payload)]
    return head + key + (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(len(payload))


def take_frame(buffer: bytearray) -> Frame | None:
    """Take the first frame out of *buffer*; `None` if it is not whole yet."""
    if len(buffer) < 2:
        return None
    size, at = buffer[1] & 0x7F, 2
    if size >= 126:
        width = 2 if size == 126 else 8
        size, at = int.from_bytes(buffer[2 : 2 + width]), 2 + width
    masked = buffer[1] >> 7
    end = at + 4 * masked + size
    if len(buffer) < end:
        return None
    payload = bytes(buffer[at + 4 * masked : end])
    if masked:
        key = bytes(buffer[at : at + 4])
        mask = (key * (size // 4 + 1))[:size]
        payload = (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)
    taken = Frame(buffer[0] & 0x0F, payload, bool(buffer[0] & 0x80), bool(masked))
    del buffer[:end]
    return taken


def in_words(piece: bytes) -> list[str]:
    """Tell the frames that *piece* is, one by one, or its size if it is something else."""
    buffer, told = bytearray(piece), list[str]()
    while (taken := take_frame(buffer)) is not None:
        told.append(str(taken))
    return [f"{len(piece)} bytes"] if buffer or not told else told
