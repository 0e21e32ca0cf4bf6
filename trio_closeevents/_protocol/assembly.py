"""The message being received: what is here of it, and how far it may grow."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, cast

from wsproto.events import BytesMessage, TextMessage
from wsproto.frame_protocol import Opcode

from .deflate import MAX_RATIO, PerMessageDeflate
from .frames import Header

__all__ = ["RSV1", "Assembly", "Excess", "Length", "Piece", "size_of"]

RSV1: Final = 0b100  # permessage-deflate's (RFC 7692 §6)
PORTION: Final = 1024  # compressed bytes to inflate at once, where nothing else bounds what they inflate to
MAX_BYTES_PER_CHARACTER: Final = 4  # in UTF-8


class Length(int):
    """A `max_message_size` as `len` measures it: characters of a text that is not compressed, bytes of all else.

    A message that is larger fails the connection at once: nobody can ask for it piece by piece.
    """


class Piece(NamedTuple):
    """A part of a message that is received piece by piece."""

    data: str | bytes
    last: bool


def size_of(message: str | bytes | bytearray | Piece) -> int:
    """Return the bytes of a message, or of a part of one, before compression."""
    data = message.data if isinstance(message, Piece) else message
    return len(data.encode()) if isinstance(data, str) and not data.isascii() else len(data)


class Excess(NamedTuple):
    """A limit, and how far a message goes beyond it."""

    what: str
    number: int
    limit: int


class Assembly:
    """Fragments in, messages out, or pieces of them. wsproto: it has no limit on messages and fragments.

    Args:
        is_foreign: an extension that is not ours makes of each frame what it likes; only what comes out has a size.

    Attributes:
        streaming: the message comes out piece by piece.
        discarding: nobody wants the rest of it.
        compressed: it is.
        kept: bytes of it that are kept here.
    """

    def __init__(
        self,
        max_size: int | None,
        max_fragments: int | None,
        deflate: PerMessageDeflate | None,
        *,
        is_foreign: bool = False,
    ) -> None:
        self._max_size = max_size
        self._max_fragments = max_fragments
        self._deflate = deflate
        self._is_foreign = is_foreign
        self._counts_characters = isinstance(max_size, Length)
        self._in_characters = False  # that is what the size of the message counts
        self._stream_limit: int | None = None  # the most bytes of a message that comes out piece by piece
        self._pieces: list[Any] = []
        self._size = 0  # its bytes so far, announced ones included
        self._fragments = 0
        self.streaming = False
        self.discarding = False
        self.compressed = False
        self.kept = 0

    @property
    def limit(self) -> int | None:
        """The most bytes that the message may have."""
        if self.discarding:
            return None
        return self._stream_limit if self.streaming else self._max_size

    @property
    def too_large(self) -> Excess | None:
        """How far the message is over the limit already."""
        limit = self.limit
        return None if limit is None or self._size <= limit else Excess("bytes", self._size, limit)

    def admit(self, header: Header) -> Excess | None:
        """Count a data frame as part of the message, unless it goes beyond a limit; tell which."""
        begins = header.opcode != Opcode.CONTINUATION
        if begins:
            self.compressed = self._deflate is not None and bool(header.rsv & RSV1)
            self._in_characters = self._counts_characters and header.opcode == Opcode.TEXT and not self.compressed
            self._size = self._fragments = 0
        least = 0 if self.compressed or self._is_foreign else header.length
        if self._in_characters:
            least = -(-least // MAX_BYTES_PER_CHARACTER)
        fragments, size = self._fragments + 1, self._size + least
        for what, count, limit in (("fragments", fragments, self._max_fragments), ("bytes", size, self.limit)):
            if limit is not None and count > limit:
                return Excess(what, count, limit)
        self._fragments = fragments
        if not self._in_characters:
            self._size = size
        return None

    @property
    def may_be_held(self) -> bool:
        """A message that is too large may wait for somebody who asks for it piece by piece."""
        return not self._counts_characters

    @property
    def is_measured_late(self) -> bool:
        """How large a part is, only tells what was made of it."""
        return self._is_foreign or self._in_characters

    def portion(self, remaining: int, *, ahead: bool) -> int | None:
        """Return how many of the *remaining* bytes of a compressed frame to inflate next.

        *ahead* of what the program has asked for: as many as cannot go over the limit; `None` if that is none at all.
        """
        deflate = cast("PerMessageDeflate", self._deflate)
        deflate.limit = limit = self.limit
        room = None if limit is None else limit - deflate.inflated
        if room is None or room > PORTION * MAX_RATIO:
            return min(PORTION, remaining)
        if not ahead or not remaining:
            return remaining  # `deflate.limit` is the bound
        return min(room // MAX_RATIO, remaining) or None

    def add(self, event: TextMessage | BytesMessage) -> str | bytes | Piece | None:
        """Take in what wsproto made of a part of the message; return what comes out."""
        piece = event.data if isinstance(event.data, str) else bytes(event.data)
        last = event.message_finished
        if self._is_foreign:
            self._size += size_of(piece)
        elif self._in_characters:
            self._size += len(piece)
        elif self.compressed:
            self._size = cast("PerMessageDeflate", self._deflate).inflated
        if self.streaming:
            self.streaming = not last
            return Piece(piece, last) if piece or last else None
        if last and not self._pieces:
            return piece
        if piece:
            self._pieces.append(piece)
            self.kept += size_of(piece)
        return self._take() if last else None

    def begin_stream(self, limit: int | None) -> None:
        """Let pieces of the message come out, up to *limit* bytes of it."""
        self.streaming = True
        self._stream_limit = limit

    def kept_piece(self) -> Piece | None:
        """Return what was kept before the message began to come out piece by piece."""
        return Piece(self._take(), last=False) if self.streaming and self._pieces else None

    def discard(self) -> None:
        """Let nothing more of the message come out."""
        self.streaming = False
        self.discarding = True
        self.forget()

    def _take(self) -> str | bytes:
        pieces = self._pieces
        self.forget()
        if isinstance(pieces[0], str):  # all are of one type
            return "".join(cast("list[str]", pieces))
        return b"".join(cast("list[bytes]", pieces))

    def forget(self) -> None:
        """Drop what is kept."""
        self._pieces = []
        self.kept = 0
