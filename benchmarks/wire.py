"""Frames and handshakes as bytes (RFC 6455), for the load client and for the neutral server: nothing is shared with
the libraries that are measured.
"""

from __future__ import annotations

import base64
import hashlib
import resource
import struct
from typing import Final

__all__ = [
    "CLOSE",
    "HOST",
    "KEY",
    "MASK",
    "accept_token",
    "allow_many_files",
    "frame",
    "payload",
    "request",
    "response",
]

HOST: Final = "127.0.0.1"
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
FIN: Final = 0x80
MASKED: Final = 0x80
MASK: Final = b"\x37\xfa\x21\x3d"
KEY: Final = base64.b64encode(b"sixteen bytes of")
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def payload(size: int, number: int = 0) -> bytes:
    """Return *size* bytes of ASCII that begin with *number*, so that a lost or repeated message is seen."""
    head = b"%08x" % number
    return (head + b"abcdefghijklmnopqrstuvwxyz" * (size // 26 + 1))[:size]


def frame(data: bytes, *, text: bool = False, masked: bool = False, opcode: int | None = None) -> bytes:
    """Return one whole frame with *data*; the length is encoded as short as it can be (§5.2)."""
    first = FIN | (opcode if opcode is not None else TEXT if text else BINARY)
    bit = MASKED if masked else 0
    size = len(data)
    if size <= 125:
        head = bytes((first, bit | size))
    elif size <= 0xFFFF:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + data
    mask = int.from_bytes((MASK * (size // 4 + 1))[:size], "big")
    return head + MASK + (int.from_bytes(data, "big") ^ mask).to_bytes(size, "big")


def request(port: int) -> bytes:
    """Return a client's opening handshake."""
    return (
        b"GET / HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (HOST.encode(), port, KEY)
    )


def accept_token(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def response(key: bytes) -> bytes:
    """Return a server's opening handshake."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept_token(key)
    )


def allow_many_files() -> None:
    """Raise this process' limit of open descriptors as far as it goes: thousands of connections need it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
