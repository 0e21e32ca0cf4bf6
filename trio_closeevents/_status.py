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

    Sent counts what was queued. Received counts what the program got or can still get. Dropped is what the peer sent
    after our Close frame, control frames included in the bytes, and the rest of messages that were left half read.
    """

    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int
    messages_dropped: int
    bytes_dropped: int
