"""What waits to be written: whole frames, in order, and how many of their bytes the network has taken."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Outbox"]

SMALL: Final = 4 * 1024  # frames below this many bytes are put together, so that one system call takes many
SLICE: Final = 64 * 1024  # large frames go out in slices, so that progress shows while a slow peer reads


class Outbox:
    """Frames that were queued and not yet handed to the network.

    Attributes:
        size: their bytes.
    """

    def __init__(self) -> None:
        self._pieces: deque[tuple[bytes, int]] = deque()  # each with the number of its payload bytes
        self._small = bytearray()  # behind the pieces
        self._small_payload = 0
        self._written = 0  # bytes of the first piece that are gone already
        self.size = 0

    def append(self, frame: bytes, payload: int = 0) -> None:
        """Queue a whole frame that carries *payload* bytes of a message."""
        self.size += len(frame)
        if len(frame) < SMALL:
            self._small += frame
            self._small_payload += payload
        else:
            self._close_small()
            self._pieces.append((frame, payload))

    def _close_small(self) -> None:
        if self._small:
            self._pieces.append((bytes(self._small), self._small_payload))
            self._small.clear()
            self._small_payload = 0

    def head(self, most: int = SLICE) -> memoryview:
        """Return what goes out next, at most *most* bytes. Not when the outbox is empty."""
        if not self._pieces:
            self._close_small()
        return memoryview(self._pieces[0][0])[self._written : self._written + most]

    def advance(self, count: int) -> None:
        """Note that the network has taken *count* bytes of the `head`; nothing if the outbox was cleared meanwhile."""
        if not self._pieces:
            return
        self.size -= count
        self._written += count
        if self._written == len(self._pieces[0][0]):
            self._pieces.popleft()
            self._written = 0

    def clear(self) -> None:
        """Forget what is queued: it can no longer be written."""
        self._pieces.clear()
        self._small.clear()
        self._small_payload = self._written = self.size = 0

    @property
    def payload(self) -> int:
        """Bytes of messages that were not handed over yet; of a piece that is half gone, its headers went first."""
        if not self._pieces:
            return self._small_payload
        piece, payload = self._pieces[0]
        others = sum(size for _, size in self._pieces) - payload + self._small_payload
        return others + min(payload, len(piece) - self._written)
