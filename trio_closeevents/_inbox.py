"""Messages that arrived and nobody has asked for yet, or pieces of them, with their limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from ._protocol.assembly import Piece, size_of

__all__ = ["MANY", "Inbox"]


MANY: Final = 256  # messages that are read at once where nothing bounds them


class Inbox:
    """A queue of messages, bounded by number and by bytes; `None` is no bound.

    Who puts something in has to look at `is_full` before: a message more is not refused.
    """

    def __init__(self, max_messages: int | None, max_bytes: int | None) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[tuple[str | bytes | Piece, int]] = deque()  # each with its bytes
        self._bytes = 0

    def is_full(self, unfinished: int = 0) -> bool:
        """Tell whether a bound is reached, *unfinished* bytes of a message that is not here yet included."""
        return (self._max_messages is not None and len(self._messages) >= self._max_messages) or (
            self._max_bytes is not None and self._bytes + unfinished >= self._max_bytes
        )

    @property
    def room(self) -> int:
        """How many messages more there is room for, as far as their number goes."""
        return MANY if self._max_messages is None else max(0, self._max_messages - len(self._messages))

    def put_all(self, messages: Sequence[tuple[str | bytes, int]]) -> int:
        """Add messages, each with its bytes; return the bytes of all."""
        size = sum([size for _, size in messages])
        self._messages.extend(messages)
        self._bytes += size
        return size

    def put(self, message: str | bytes | Piece) -> None:
        """Add a message."""
        size = size_of(message)
        self._messages.append((message, size))
        self._bytes += size

    def put_back(self, message: str | bytes | Piece) -> None:
        """Make *message* the oldest again, since the program could not use it."""
        size = size_of(message)
        self._messages.appendleft((message, size))
        self._bytes += size

    @property
    def has_message(self) -> bool:
        """What `take` would return is a whole message."""
        return bool(self._messages) and not isinstance(self._messages[0][0], Piece)

    @property
    def oldest(self) -> str | bytes | Piece | None:
        """What `take` would return."""
        return self._messages[0][0] if self._messages else None

    def take_pieces(self) -> Iterator[Piece]:
        """Take what is left of a message of which pieces stand first."""
        last = False
        while not last and isinstance(piece := self.oldest, Piece):
            self.take()
            last = piece.last
            yield piece

    def take(self) -> str | bytes | Piece | None:
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
