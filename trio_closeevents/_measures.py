"""What ready-made observers measure: the size of a message, and the time from a Ping to its Pong."""

from __future__ import annotations

from typing import Final

import trio

__all__ = ["RoundTrips", "size_of"]

MOST_UNDER_WAY: Final = 64  # Pings that wait for their Pong; a peer may answer none


def size_of(data: str | bytes) -> int:
    """Count the bytes of *data*, text as UTF-8."""
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())


class RoundTrips:
    """The Pings of this side that wait for their Pong, on one connection."""

    def __init__(self) -> None:
        self._sent: dict[bytes, float] = {}

    def begin(self, payload: bytes) -> None:
        """Note a Ping that this side sends."""
        self._sent[payload] = trio.current_time()
        if len(self._sent) > MOST_UNDER_WAY:
            del self._sent[next(iter(self._sent))]

    def end(self, payload: bytes) -> float | None:
        """Return the seconds since the Ping that a Pong answers, `None` if that answers none; older ones are over."""
        if payload not in self._sent:
            return None
        while True:
            oldest = next(iter(self._sent))
            sent_at = self._sent.pop(oldest)
            if oldest == payload:
                return trio.current_time() - sent_at
