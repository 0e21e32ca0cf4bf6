"""The few lines of JavaScript that the recorded pages ran, taken apart: calls, and the values that they are given.

    ws.close(1000, h.rep('\\u20ac', 42))

`ws` is the socket; `h.rep(s, n)` repeats a string, `h.bytes(n)` makes bytes, `h.busy(ms)` blocks everything else,
`h.after(ms, line)` runs a line later.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

__all__ = ["Line", "parse"]

TOKEN: Final = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>-?\d+(?:\.\d+)?)(?P<big>n)?"
    r"|(?P<name>[A-Za-z][\w.]*)|(?P<mark>[(),]))"
)
ESCAPE: Final = re.compile(r"\\(?:u\{([0-9A-Fa-f]+)\}|u([0-9A-Fa-f]{4})|(.))")
HELPERS: Final[dict[str, Callable[..., Any]]] = {"h.rep": lambda text, times: text * times, "h.bytes": bytes}
VALUES: Final = {"NaN": math.nan, "undefined": None}


class Line(NamedTuple):
    """One line: what it calls or reads, and the arguments of a call."""

    name: str
    arguments: tuple[Any, ...] | None


def parse(line: str) -> Line:
    """Take *line* apart."""
    tokens = list(TOKEN.finditer(line))
    assert "".join(match[0] for match in tokens) == line, line
    name = tokens[0]["name"]
    if len(tokens) == 1:
        return Line(name, None)
    arguments, end = take_arguments(tokens, 1)
    assert end == len(tokens), line
    return Line(name, arguments)


def take_arguments(tokens: list[re.Match[str]], at: int) -> tuple[tuple[Any, ...], int]:
    """Return what is between the brackets that begin at *at*, and where they end."""
    arguments: list[Any] = []
    assert tokens[at]["mark"] == "("
    at += 1
    while tokens[at]["mark"] != ")":
        value, at = take_value(tokens, at)
        arguments.append(value)
        at += tokens[at]["mark"] == ","
    return tuple(arguments), at + 1


def take_value(tokens: list[re.Match[str]], at: int) -> tuple[Any, int]:
    token = tokens[at]
    if token["string"] is not None:
        return unescaped(token["string"][1:-1]), at + 1
    if token["number"] is not None:  # Python has one type for JavaScript's `1000` and `1000n`
        return (float if "." in token["number"] else int)(token["number"]), at + 1
    if token["name"] in VALUES:
        return VALUES[token["name"]], at + 1
    arguments, end = take_arguments(tokens, at + 1)
    return HELPERS[token["name"]](*arguments), end


def unescaped(text: str) -> str:
    return ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)) if found[1] or found[2] else found[3], text)
