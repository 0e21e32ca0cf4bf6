"""Frames on the wire, read without judging them (RFC 6455 §5.2): enough to unmask, to count and to compare."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["CLOSE", "Frame", "header_of", "inflated", "read_frames", "split_head", "unmasked"]

END_OF_HEAD: Final = b"\r\n\r\n"
CONTINUATION: Final = 0x0
CLOSE: Final = 0x8
CONTROL: Final = 0x8
RSV1: Final = 0x4
EMPTY_BLOCK: Final = b"\x00\x00\xff\xff"  # that a sender takes off the end of a message (RFC 7692 §7.2.1)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, its payload as it stands there.

    Attributes:
        start, body, end: where it begins, where its payload does, and where it ends.
        key: the masking key; empty if there is none.
    """

    fin: bool
    rsv: int
    opcode: int
    payload: bytes
    key: bytes
    start: int
    body: int
    end: int

    @property
    def is_control(self) -> bool:
        """Close, Ping, Pong, or a reserved opcode of that half."""
        return bool(self.opcode & CONTROL)


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """Split what one side sent into the head of its opening handshake and the frames."""
    head, end, frames = data.partition(END_OF_HEAD)
    return head + end, frames


def header_of(head: bytes, name: str) -> str | None:
    """Return the value of the header *name*, `None` if *head* has none."""
    for line in head.decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.strip().lower() == name.lower():
            return value.strip()
    return None


def read_frames(data: bytes) -> Iterator[Frame]:
    """Read frame after frame; what is not whole at the end is left out."""
    start = 0
    while start + 2 <= len(data):
        first, second = data[start], data[start + 1]
        body, length = start + 2, second & 0x7F
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[body : body + size])
            body += size
        key = data[body : body + 4] if second & 0x80 else b""
        body += len(key)
        end = body + length
        if end > len(data):
            return
        yield Frame(bool(first & 0x80), first >> 4 & 0x7, first & 0xF, data[body:end], key, start, body, end)
        start = end


def masked(payload: bytes, key: bytes) -> bytes:
    """Apply the masking key, or take it off again (RFC 6455 §5.3)."""
    if not key:
        return payload
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(len(payload))


def unmasked(data: bytes) -> bytes:
    """Unmask the payloads where they stand, and leave the rest as it is; done twice, everything is as it was."""
    frames = bytearray(data)
    for frame in read_frames(data):
        frames[frame.body : frame.end] = masked(frame.payload, frame.key)
    return bytes(frames)


def inflated(data: bytes) -> list[tuple[bool, int, int, bytes]]:
    """Return fin, rsv, opcode and payload of each frame of one side, with the payload of compressed messages inflated.

    Two deflaters need not agree on the bytes of a message, only on what they mean (RFC 7692 §7.2). Payloads are taken
    to be unmasked.
    """
    inflater = zlib.decompressobj(-15)
    is_compressed = False
    frames = []
    for frame in read_frames(data):
        payload = frame.payload
        if not frame.is_control:
            if frame.opcode != CONTINUATION:
                is_compressed = bool(frame.rsv & RSV1)
            if is_compressed:
                payload = inflater.decompress(payload + (EMPTY_BLOCK if frame.fin else b""))
                if inflater.eof:
                    inflater = zlib.decompressobj(-15)
        frames.append((frame.fin, frame.rsv, frame.opcode, payload))
    return frames
