"""Masking (RFC 6455 §5.3), by the extension module if there is one, else in the ways that are fastest in pure Python.

Theory. Short data is one large integer, and XOR of two integers is one operation. From a few hundred bytes on that
loses to tables: each quarter of the data, every fourth byte of it, is XORed with one byte of the key by
`bytes.translate`, at about a gigabyte per second.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Final, TypeAlias, cast

__all__ = ["MaskKeys", "mask", "mask_in_python", "speedups_enabled"]

SHORT: Final = 500  # bytes up to which an integer is faster
BYTES: Final = int.from_bytes(bytes(range(256)))
EACH: Final = int.from_bytes(b"\1" * 256)  # times a byte of the key: that byte, 256 times
XOR: Final = [(BYTES ^ EACH * key).to_bytes(256) for key in range(256)]  # by a byte of the key: tables to translate by
PURE: Final = "TRIO_CLOSEEVENTS_PURE"  # set in the environment: do not use the extension module
KEYS_AT_ONCE: Final = 1024  # 4-byte keys that one call of the system makes


def mask_in_python(data: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """Return *data* XORed with *key*, which is 4 bytes, over and over."""
    size = len(data)
    if size <= SHORT:
        repeated = (key * (size // 4 + 1))[:size]
        return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")
    masked = bytearray(data)
    for offset in range(4):
        masked[offset::4] = masked[offset::4].translate(XOR[key[offset]])
    return bytes(masked)


Mask: TypeAlias = Callable[[bytes | bytearray | memoryview, bytes], bytes]


def find_mask() -> Mask:
    """Return the fastest way that there is: the extension module, unless it was not built, or is not wanted."""
    if not os.environ.get(PURE):
        with suppress(ImportError):
            return cast("Mask", import_module("trio_closeevents._speedups").mask)
    return mask_in_python


mask = find_mask()
speedups_enabled: Final = mask is not mask_in_python


class MaskKeys:
    """Random mask keys, which nobody can foresee (§10.3), cut out of larger portions of randomness."""

    def __init__(self) -> None:
        self._random = b""
        self._at = 0

    def next(self) -> bytes:
        """Return a key that was not used before."""
        at = self._at
        if at == len(self._random):
            self._random, at = os.urandom(4 * KEYS_AT_ONCE), 0
        self._at = at + 4
        return self._random[at : at + 4]
