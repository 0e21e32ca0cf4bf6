"""What comes from the network, made fit for a terminal: nothing of it steers the terminal, and bytes can be read.

Theory. A terminal obeys control characters: an escape sequence in a message could rename the window, move the cursor
over what stands there, or make the terminal type. So whatever is not printable is spelled out. Some characters that
are format and not control stay, since scripts and emoji need them.
"""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["hexdump", "shorten", "visible"]

JOINERS: Final = frozenset("\u200c\u200d")
SPACES: Final = "Zs"  # the category; a no-break space does no harm
PER_LINE: Final = 16  # bytes


def visible(text: str, *, lines: bool = False) -> str:
    """Return *text* with everything that is not printable spelled out as in Python.

    Args:
        lines: line ends and tabs stay.
    """
    if text.isprintable():
        return text
    kept = JOINERS | set("\n\t") if lines else JOINERS
    return "".join(
        each if each.isprintable() or each in kept or unicodedata.category(each) == SPACES else spelled_out(each)
        for each in text
    )


def spelled_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def hexdump(data: bytes, most: int | None = None) -> list[str]:
    """Return lines with offset, bytes and printable ASCII of *data*.

    Args:
        most: show so many bytes, and tell how many more there are; `None`: all.
    """
    shown = data[:most]
    found: list[str] = []
    for offset in range(0, len(shown), PER_LINE):
        part = shown[offset : offset + PER_LINE]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        found.append(f"{offset:08x}  {part.hex(' '):<{3 * PER_LINE - 1}}  {text}")
    if rest := len(data) - len(shown):
        found.append(f"... and {rest:,} bytes more")
    return found


def shorten(text: str, most: int) -> str:
    """Return at most *most* characters of *text*, with a mark where it was cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
