"""Messages that arrived and nobody has asked for yet, with their limits."""

from __future__ import annotations

from collections import deque

__all__ = ["Inbox", "size_of"]


class Inbox:
    """A queue of messages, bounded by number and by bytes; `None` is no bound.

    Who puts something in has to look at `is_full` before: a message more is not refused.
    """

    def __init__(self, max_messages: int | None, max_bytes: int | None) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[tuple[str | bytes, int]] = deque()  # each with its bytes
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """One of the bounds is reached."""
        return (self._max_messages is not None and len(self._messages) >= self._max_messages) or (
            self._max_bytes is not None and self._bytes >= self._max_bytes
        )

    def put(self, message: str | bytes) -> None:
        """Add a message."""
        size = size_of(message)
        self._messages.append((message, size))
        self._bytes += size

    def take(self) -> str | bytes | None:
        """Return the oldest message, `None` if there is none."""
        if not self._messages:
            return None
        message, size = self._messages.popleft()
        self._bytes -= size
        return message

    def clear(self) -> None:
        """Forget all messages."""
        self._messages.clear()
        self._bytes = 0


def size_of(message: str | bytes) -> int:
    """Return the bytes of a message on the wire."""
    if isinstance(message, bytes):
        return len(message)
    return len(message) if message.isascii() else len(message.encode())
