"""The short way: whole, unfragmented, uncompressed data frames, read and written without wsproto.

Most frames of most programs are such. What is read here is exactly what wsproto would have made of it, and whatever
else comes next, a fragment, a control frame, a broken rule, a text that is not UTF-8, is left where it stands, for the
long way to judge. A property test holds both ways to each other.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable
from struct import Struct
from typing import Final, TypeAlias

from .masking import MaskKeys, mask

__all__ = ["BINARY_FRAME", "TEXT_FRAME", "Frame", "PlainFrames", "PlainPayload", "Shared"]

TEXT_FRAME: Final = 0x81  # FIN and the opcode, no reserved bit
BINARY_FRAME: Final = 0x82
MASKED: Final = 0x80
make_decoder: Final = codecs.getincrementaldecoder("utf-8")

LONG: Final = 126  # from here on the length stands in two bytes of its own, and with one more in eight

SHORT_HEADS: Final = {first: [bytes((first, size)) for size in range(LONG)] for first in (TEXT_FRAME, BINARY_FRAME)}

HEAD_OF_2: Final = Struct(">BBH").pack  # by the width of the length
HEAD_OF_8: Final = Struct(">BBQ").pack

# By the second byte of a masked frame with a short length: the bytes of the frame, what takes it apart into its first
# byte, its key and its payload, and how the key becomes as long as the payload, as an integer: times, then shifted.
Short: TypeAlias = tuple[int, Callable[[bytes, int], tuple[int, int, bytes]], int, int, int]
NOT_SHORT: Final[Short] = (sys.maxsize, lambda _data, _at: (0, 0, b""), 0, 0, 0)  # as much never comes
MASKED_SHORT: Final[list[Short]] = [NOT_SHORT] * 256
for _size in range(LONG):
    _words = (_size + 3) // 4
    _repeat = sum(1 << 32 * word for word in range(_words))
    MASKED_SHORT[MASKED | _size] = (
        6 + _size,
        Struct(f">BxI{_size}s").unpack_from,
        _repeat,
        8 * (4 * _words - _size),
        _size,
    )


Frame: TypeAlias = tuple[bytes, bytes, int]  # in two parts, and the bytes of the message that it carries


class Shared:
    """A message for many, and its frame as soon as there is one that fits all of them.

    Attributes:
        message: what is sent.
        frame: neither masked nor compressed; `None` before anybody needed it.
    """

    __slots__ = ("frame", "message")

    def __init__(self, message: str | bytes) -> None:
        self.message = message
        self.frame: Frame | None = None


class PlainFrames:
    """Reads the frames of one side, and writes those of the other.

    Args:
        client: this side is the client, which masks; the server does not.
    """

    def __init__(self, *, client: bool) -> None:
        self._keys = MaskKeys() if client else None
        self.read = read_bare if client else read_masked

    def write(self, message: str | bytes) -> Frame:
        """Return the frame for a whole message: its header, its payload as it travels, and the bytes of that."""
        if isinstance(message, str):
            first, payload = TEXT_FRAME, message.encode()
        else:
            first, payload = BINARY_FRAME, message
        size = len(payload)
        if self._keys is None:
            return SHORT_HEADS[first][size] if size < LONG else head(first, size, 0), payload, size
        key = self._keys.next()
        return head(first, size, MASKED) + key, mask(payload, key), size


def head(first: int, size: int, mask_bit: int) -> bytes:
    """Return the first bytes of a frame, up to its mask key."""
    if size < LONG:
        return bytes((first, mask_bit | size))
    if size < 2**16:
        return HEAD_OF_2(first, mask_bit | LONG, size)
    return HEAD_OF_8(first, mask_bit | LONG + 1, size)


def read_masked(data: bytes, at: int, messages: list[str | bytes], most: int, max_size: int | None) -> tuple[int, int]:
    """Append up to *most* messages of a client that stand in *data* from *at* on.

    Args:
        data: what was read from the network.
        at: where a frame begins.
        messages: empty; what comes out is appended here.
        max_size: the most bytes that a message may have; a larger one is left, and a limit below all that have a short
            length leaves everything.

    Returns:
        Where the next frame begins, and the bytes of the messages.
    """
    begin, end = at, len(data)
    more_header = 0  # than 6 bytes each
    from_bytes, append = int.from_bytes, messages.append
    if max_size is not None and max_size < LONG:
        most = 0
    try:
        for _ in range(most):
            length, take_apart, repeat, shift, size = MASKED_SHORT[data[at + 1]]
            after = at + length
            if after <= end:
                first, key, masked = take_apart(data, at)
                payload = (from_bytes(masked) ^ key * repeat >> shift).to_bytes(size)
                if first == BINARY_FRAME:
                    append(payload)
                elif first == TEXT_FRAME:
                    append(str(payload, "utf-8"))
                else:
                    break
            else:
                start, size = long_frame(data, at, end, 4)
                after = start + size
                if not start or after > end or (max_size is not None and size > max_size):
                    break
                message = message_of(data[at], memoryview(data)[start:after], data[start - 4 : start])
                if message is None:
                    break
                append(message)
                more_header += start - at - 6
            at = after
            if at == end:
                break
    except (IndexError, UnicodeDecodeError):
        pass  # there are no two bytes more, or what comes next is for the long way to judge
    return at, at - begin - more_header - 6 * len(messages)


def message_of(first: int, masked: memoryview, key: bytes) -> str | bytes | None:
    """Return the message of a whole frame; `None` if it is something else."""
    if first not in (BINARY_FRAME, TEXT_FRAME):
        return None
    payload = mask(masked, key)
    return payload if first == BINARY_FRAME else str(payload, "utf-8")


def read_bare(data: bytes, at: int, messages: list[str | bytes], most: int, max_size: int | None) -> tuple[int, int]:
    """As `read_masked`, of a server, whose frames are not masked."""
    end = len(data)
    payload = 0
    try:
        for _ in range(most):
            size = data[at + 1]
            start = at + 2
            if size >= LONG:
                start, size = long_frame(data, at, end, 0)
                if not start:
                    break
            after = start + size
            if after > end or (max_size is not None and size > max_size):
                break
            first = data[at]
            if first == BINARY_FRAME:
                messages.append(data[start:after])
            elif first == TEXT_FRAME:
                messages.append(str(data[start:after], "utf-8"))
            else:
                break
            payload += size
            at = after
            if at == end:
                break
    except (IndexError, UnicodeDecodeError):
        pass  # as above
    return at, payload


class PlainPayload:
    """The payload of one frame that arrives in parts: unmasked, and text checked, as it arrives."""

    def __init__(self, is_text: bool, key: bytes) -> None:
        self._decoder = make_decoder() if is_text else None
        self._key = key

    def read(self, part: memoryview, *, last: bool) -> str | bytes:
        """Return what *part* means.

        Raises:
            UnicodeDecodeError: this is no UTF-8, whatever may follow.
        """
        data = mask(part, self._key) if self._key else bytes(part)
        turned = len(part) % 4
        self._key = self._key[turned:] + self._key[:turned]
        return data if self._decoder is None else self._decoder.decode(data, last)


LENGTH_OF_2: Final = Struct(">H").unpack_from
LENGTH_OF_8: Final = Struct(">Q").unpack_from


def long_frame(data: bytes, at: int, end: int, key: int) -> tuple[int, int]:
    """Return where the payload of a frame with a long length begins, and its bytes.

    Nowhere, which is 0, if the header is wrong or not all there. *key* is the length of the mask key, which has to be
    there or must not.
    """
    short = data[at + 1] - (MASKED if key else 0)
    if short == LONG and at + 4 + key <= end:
        (size,) = LENGTH_OF_2(data, at + 2)
        return (at + 4 + key, size) if size >= LONG else (0, 0)
    if short == LONG + 1 and at + 10 + key <= end:
        (size,) = LENGTH_OF_8(data, at + 2)
        return (at + 10 + key, size) if 2**16 <= size < 2**63 else (0, 0)
    return 0, 0
