"""What waits to be written: whole frames, in order, and how many of their bytes the network has taken."""

from __future__ import annotations

from typing import Final

__all__ = ["SMALL", "Outbox"]

SMALL: Final = 4 * 1024  # frames below this many bytes are put together, so that one system call takes many
SLICE: Final = 64 * 1024  # large frames go out in slices, so that progress shows while a slow peer reads


class Outbox:
    """Frames that were queued and not yet handed to the network.

    Attributes:
        size: their bytes.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[bytes, int]] = []  # few and large, each with the number of its payload bytes
        self._small: list[bytes] = []  # behind the pieces, to be put together
        self._small_payload = 0
        self._written = 0  # bytes of the first piece that are gone already
        self._lost_payload = 0
        self.size = 0

    def put(self, header: bytes, payload: bytes, length: int) -> int:
        """Queue a whole frame that carries a message of *length* bytes; return how much is queued now.

        The frame is both parts together; a large *payload* is not copied.
        """
        self.size = size = self.size + len(header) + len(payload)
        if len(payload) < SMALL:
            self._small += (header, payload)
            self._small_payload += length
        else:
            if header:
                self._small.append(header)
            self._close_small()
            self._pieces.append((payload, length))
        return size

    def append(self, frame: bytes, payload: int = 0) -> None:
        """Queue a whole frame, which may carry *payload* bytes of a message."""
        self.put(b"", frame, payload)

    def _close_small(self) -> None:
        if self._small:
            self._pieces.append((b"".join(self._small), self._small_payload))
            self._small.clear()
            self._small_payload = 0

    def heads(self, most: int) -> list[memoryview]:
        """Return what goes out next, in one or two parts of together at most *most* bytes. Not of an empty outbox."""
        if len(self._pieces) < 2:
            self._close_small()
        first = memoryview(self._pieces[0][0])[self._written : self._written + most]
        if len(self._pieces) == 1 or len(first) >= SMALL:
            return [first]
        return [first, memoryview(self._pieces[1][0])[: most - len(first)]]

    def head(self) -> bytes | memoryview:
        """Return what goes out next, at most a slice. Not of an empty outbox."""
        heads = self.heads(SLICE)
        return heads[0] if len(heads) == 1 else b"".join(heads)

    def advance(self, count: int) -> None:
        """Note that the network has taken *count* bytes of what was next; nothing if the outbox was cleared."""
        if not self._pieces:
            return
        self.size -= count
        self._written += count
        while self._pieces and self._written >= (length := len(self._pieces[0][0])):
            del self._pieces[0]
            self._written -= length

    def clear(self) -> None:
        """Forget what is queued, but for how much it was: it can no longer be written."""
        self._lost_payload = self.payload
        self._pieces.clear()
        self._small.clear()
        self._small_payload = self._written = self.size = 0

    @property
    def payload(self) -> int:
        """Bytes of messages that were not handed over; of a piece that is half gone, its headers went first."""
        if not self._pieces:
            return self._lost_payload + self._small_payload
        piece, payload = self._pieces[0]
        others = self._lost_payload + sum(size for _, size in self._pieces) - payload + self._small_payload
        return others + min(payload, len(piece) - self._written)
