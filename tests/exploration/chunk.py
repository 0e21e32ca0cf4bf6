"""What travels between the sides: pieces of frames, and the two ways in which TCP says that no more will come.

The masks of clients are random, so a chunk is known by what it means. The `Wire` keeps the bytes that a session made
for it first, and these are what the other session reads.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trio_closeevents import CloseCause, CloseFrame

__all__ = ["FIN", "MALFORMED", "RST", "Chunk", "Offence", "Wire"]

MESSAGE: Final = "hi"
NO_MASK: Final = b"\x00\x00\x00\x00"


class Chunk(NamedTuple):
    """A piece of a frame; *last*: the frame ends with it."""

    kind: str
    frame: CloseFrame | None = None  # of a Close
    last: bool = True

    def __str__(self) -> str:
        text = self.kind if self.frame is None else f"{self.kind} {self.frame}"
        return text if self.last else f"the first bytes of {text}"


FIN: Final = Chunk("FIN")
RST: Final = Chunk("RST")


class Offence(NamedTuple):
    """A malformed frame, and what it does to its reader."""

    header: bytes
    payload: bytes
    code: int  # what the reader fails the connection with
    cause: CloseCause
    as_data: bool = False  # it is dropped unjudged, as all data, once the reader has sent its Close

    def encode(self, *, masked: bool) -> bytes:
        """Return the frame as a client sends it, or as a server does."""
        if not masked:
            return self.header + self.payload
        return bytes([self.header[0], self.header[1] | 0x80]) + NO_MASK + self.payload


MALFORMED: Final = {
    "reserved opcode": Offence(b"\x83\x00", b"", 1002, CloseCause.PROTOCOL_ERROR),
    "text that is not UTF-8": Offence(b"\x81\x01", b"\xff", 1007, CloseCause.INVALID_PAYLOAD, as_data=True),
    "Close with code 1005": Offence(b"\x88\x02", b"\x03\xed", 1002, CloseCause.PROTOCOL_ERROR),
}


class Wire:
    """The bytes of the chunks, of both sides."""

    def __init__(self) -> None:
        self._bytes = {
            (client, Chunk(kind)): offence.encode(masked=client)
            for client in (True, False)
            for kind, offence in MALFORMED.items()
        }

    def bytes_of(self, chunk: Chunk, *, client: bool) -> bytes:
        """Return what is read when this *chunk* of the *client*'s, or of the server's, arrives."""
        return self._bytes[client, chunk]

    def split_message(self, raw: bytes, *, client: bool) -> tuple[Chunk, ...]:
        """Return the frame of a message in two chunks."""
        return self._split("message", None, raw, client)

    def split_close(self, raw: bytes, *, client: bool) -> tuple[Chunk, ...]:
        """Return a Close frame in two chunks, so that it can be half written."""
        return self._split("Close", read_close(raw, masked=client), raw, client)

    def _split(self, kind: str, frame: CloseFrame | None, raw: bytes, client: bool) -> tuple[Chunk, ...]:
        first, second = Chunk(kind, frame, last=False), Chunk(kind, frame)
        if (client, first) not in self._bytes:
            self._bytes[client, first], self._bytes[client, second] = raw[:1], raw[1:]
        return first, second


def read_close(raw: bytes, *, masked: bool) -> CloseFrame:
    """Read a Close frame without a session (RFC 6455 §5.2, §5.5.1)."""
    start = 6 if masked else 2
    key, payload = (raw[2:6], raw[6:]) if masked else (NO_MASK, raw[2:])
    if len(raw) < start or raw[0] != 0x88 or raw[1] != (masked << 7) + len(payload) or len(payload) == 1:
        raise ValueError(f"{raw!r} is no Close frame")
    text = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return CloseFrame(int.from_bytes(text[:2]), text[2:].decode()) if text else CloseFrame(None)
