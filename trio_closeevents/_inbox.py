"""Messages that arrived and nobody has asked for yet, or pieces of them, with their limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, cast

from ._protocol.assembly import Piece, size_of

__all__ = ["MANY", "Inbox"]

MANY: Final = 64  # messages that are read at once where nothing bounds them


class Inbox:
    """A queue of messages, bounded by number and by bytes; `None` is no bound.

    Who puts something in has to look at `is_full` before: a message more is not refused.

    Attributes:
        ready: the messages that come first, the oldest last, as long as they are whole ones that were read together.
            To take one is to `pop` it, and nothing more.
    """

    def __init__(self, max_messages: int | None, max_bytes: int | None) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.ready: list[str | bytes] = []
        self._wide = 0  # by how many bytes the ready ones were larger than their lengths: text that is not ASCII
        self._others: deque[tuple[str | bytes | Piece, int]] | None = None  # behind them, each with its bytes
        self._other_bytes = 0

    def __len__(self) -> int:
        return len(self.ready) + (len(self._others) if self._others else 0)

    def is_full(self, unfinished: int = 0) -> bool:
        """Tell whether a bound is reached, *unfinished* bytes of a message that is not here yet included."""
        return (self._max_messages is not None and len(self) >= self._max_messages) or (
            self._max_bytes is not None and self._bytes + unfinished >= self._max_bytes
        )

    @property
    def _bytes(self) -> int:
        """Bytes of all messages; rather too many than too few."""
        ready = sum(map(len, self.ready)) + self._wide if self.ready else 0
        return ready + self._other_bytes

    @property
    def room(self) -> int:
        """How many messages more there is room for, as far as their number goes."""
        return MANY if self._max_messages is None else max(0, self._max_messages - len(self))

    def make_ready(self, messages: Sequence[str | bytes], size: int) -> None:
        """Add whole messages of *size* bytes, if nothing is in the inbox."""
        self.ready += messages
        self.ready.reverse()
        self._wide = size - sum(map(len, messages))

    def put(self, message: str | bytes | Piece) -> None:
        """Add a message."""
        size = size_of(message)
        if self._others is None:
            self._others = deque()
        self._others.append((message, size))
        self._other_bytes += size

    def put_back(self, message: str | bytes | Piece) -> None:
        """Make *message* the oldest again, since the program could not use it."""
        for each in self.ready:
            self._put_first(each)
        self.ready.clear()
        self._put_first(message)

    def _put_first(self, message: str | bytes | Piece) -> None:
        size = size_of(message)
        if self._others is None:
            self._others = deque()
        self._others.appendleft((message, size))
        self._other_bytes += size

    @property
    def oldest(self) -> str | bytes | Piece | None:
        """What `take` would return."""
        if self.ready:
            return self.ready[-1]
        return self._others[0][0] if self._others else None

    def take_pieces(self) -> Iterator[Piece]:
        """Take what is left of a message of which pieces stand first."""
        last = False
        while not last and isinstance(self.oldest, Piece):
            piece = cast("Piece", self.take())
            last = piece.last
            yield piece

    def take(self) -> str | bytes | Piece | None:
        """Return the oldest message, `None` if there is none."""
        if self.ready:
            return self.ready.pop()
        if not self._others:
            return None
        message, size = self._others.popleft()
        self._other_bytes -= size
        return message

    def clear(self) -> None:
        """Forget all messages."""
        self.ready.clear()
        self._others = None
        self._other_bytes = 0
