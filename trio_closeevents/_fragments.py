"""The parts of a message that a program sends piece by piece."""

from __future__ import annotations

import codecs
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

import trio

from ._payload import BytesLike, as_bytes, checked_message, not_utf8

__all__ = ["Fragments", "Sendable", "fragments_of"]

Sendable: TypeAlias = str | BytesLike | Iterable[str | BytesLike] | AsyncIterable[str | BytesLike]

PARTS_PER_TURN: Final = 100  # of a list that go out before others have their turn
WHOLE: Final = (str, bytes, bytearray, memoryview)


def fragments_of(value: object, text: bool | None) -> Fragments | None:
    """Return the parts of what is to be sent; `None` if it is one whole message, or nothing that can be sent."""
    if isinstance(value, WHOLE) or not isinstance(value, AsyncIterable | Iterable):
        return None
    if isinstance(value, Mapping):
        kind = cast("object", value).__class__.__name__
        raise TypeError(f"a {kind} is no message: send its keys or values, or encode it as JSON")
    return Fragments(cast("Iterable[object] | AsyncIterable[object]", value), text)


class Fragments:
    """What an iterable gives, as parts of one message.

    A list or tuple is checked at once. Of anything else, each part is checked when it comes.

    Raises:
        TypeError: a part is neither `str` nor bytes-like, or of another kind than the first.
        ValueError: a part cannot travel as text.
    """

    @trio.lowlevel.disable_ki_protection
    def __init__(self, parts: Iterable[object] | AsyncIterable[object], text: bool | None) -> None:
        self._conversion = Conversion(text)
        self._end: str | bytes | None = None  # of what was checked whole
        self._given = 0
        self._is_async = isinstance(parts, AsyncIterable)  # what it returns need be no AsyncIterator by name
        self._parts: Iterator[object] | AsyncIterator[object]
        if isinstance(parts, list | tuple):
            self._parts = iter([self._conversion.convert(part) for part in cast("list[object]", parts)])
            self._end = self._conversion.end()
        else:
            self._parts = aiter(parts) if isinstance(parts, AsyncIterable) else iter(parts)

    @trio.lowlevel.disable_ki_protection
    async def next(self) -> str | bytes | None:
        """Return the next part, `None` after the last one. Raises what the iterable raises, too."""
        # The iterable need not have a checkpoint: what it has given leaves now. Of a list everything is here already.
        if self._given and (self._end is None or self._given % PARTS_PER_TURN == 0):
            await trio.lowlevel.checkpoint()
        self._given += 1
        try:
            part = await anext(cast("Any", self._parts)) if self._is_async else next(cast("Any", self._parts))
        except (StopIteration, StopAsyncIteration):
            return None
        return self._conversion.convert(part) if self._end is None else cast("str | bytes", part)

    def end(self) -> str | bytes:
        """Return the empty part that ends the message. Only after `next` has returned `None`."""
        return self._conversion.end() if self._end is None else self._end

    @trio.lowlevel.disable_ki_protection
    async def aclose(self) -> None:
        """Close an asynchronous generator that was not exhausted. Whatever else can be closed is not ours to close."""
        if inspect.isasyncgen(self._parts):
            await self._parts.aclose()


class Conversion:
    """Makes parts of one kind what the message shall consist of: *text*, or what they are."""

    def __init__(self, text: bool | None) -> None:
        self._text = text
        self._kind: type[str] | type[bytes] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def convert(self, part: object) -> str | bytes:
        kind = str if isinstance(part, str) else bytes
        if self._kind not in (None, kind):
            raise TypeError(f"the parts of a message must all be str or all be bytes-like: {part!r:.80}")
        data = as_bytes(part) if self._text else None
        converted = checked_message(part, self._text, or_parts=False) if data is None else self._decode(data)
        self._kind = kind
        return converted

    def end(self) -> str | bytes:
        if self._kind is None and self._text is None:
            raise ValueError("nothing at all does not tell whether it is text: give text=True or text=False")
        self._decode(b"", final=True)
        is_text = self._kind is str if self._text is None else self._text
        return "" if is_text else b""

    def _decode(self, data: bytes, *, final: bool = False) -> str:
        try:
            return self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise not_utf8(error) from None
