"""JSON as text: checked, and set in one line or in many, with every number and string as it was written.

Values are not made and written again: a number with more digits than a float has, or a key that comes twice, is shown
as it came.
"""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = ["compact", "pretty"]

TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"\[\]{}:,]+|[\[\]{}:,]')
INDENT: Final = "  "
OPENING: Final = {"[": "]", "{": "}"}


def compact(text: str | bytes) -> str:
    """Return the JSON value *text* in one line without spaces.

    Raises:
        ValueError: it is not JSON; the message says where, or why.
    """
    return "".join(tokens(text))


def pretty(text: str | bytes) -> str:
    """Return the JSON value *text* with one item a line, indented. Raises as `compact` does."""
    parts: list[str] = []
    depth = 0
    before = ""
    for token in tokens(text):
        if token in "]}":
            depth -= 1
            if before not in OPENING:
                parts.append("\n" + INDENT * depth)
        elif before in OPENING or before == ",":
            parts.append("\n" + INDENT * depth)
        parts.append(": " if token == ":" else token)
        depth += token in OPENING
        before = token
    return "".join(parts)


def tokens(text: str | bytes) -> list[str]:
    string = text if isinstance(text, str) else text.decode()
    try:
        json.loads(string, parse_int=str, parse_float=str, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return TOKEN.findall(string)


def refuse(name: str) -> None:
    raise ValueError(f"{name} is not in JSON")
