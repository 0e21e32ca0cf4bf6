"""What a connection tells of itself while it lives: its state, and what it has carried."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["ReadyState", "Stats"]


class ReadyState(enum.IntEnum):
    """Where a connection stands, in the browser's words (WHATWG WebSockets, `readyState`)."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class Stats:
    """What a connection has carried so far: messages, and bytes of payload before masking and framing.

    Attributes:
        messages_sent: messages that were queued to the end.
        bytes_sent: bytes that were queued, of a message that is not complete too.
        messages_received: messages that the program got, or can still get.
        bytes_received: the same in bytes.
        messages_dropped: what the peer sent after our Close frame, and messages that were left half read.
        bytes_dropped: the same in bytes: the rest of such a message, and control frames after our Close.
    """

    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int
    messages_dropped: int
    bytes_dropped: int
