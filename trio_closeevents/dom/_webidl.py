"""The conversions of Web IDL: what the web platform makes of the arguments that a program gives.

Python has one type for whole numbers and one for text, so some of JavaScript's rules have nothing to apply to. `None`
stands for an argument that is missing (`undefined`), as Python programs use it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, SupportsFloat, SupportsIndex, TypeVar, cast

from ._exceptions import InvalidAccessError, SyntaxError

__all__ = ["byte_string", "checked_close", "dictionary", "dom_string", "truncated", "usv_string", "within_range"]

T = TypeVar("T")

SHORT: Final = 2**16  # an `unsigned short` is less
WHITE_SPACE: Final = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"  # ECMAScript
DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
RADIX: Final = re.compile(r"0([xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")
INFINITE: Final = re.compile(r"([+-]?)Infinity")

MAX_REASON_BYTES: Final = 123  # what a Close frame has room for, behind its code (RFC 6455 §5.5)


def number(value: object, what: str) -> float:
    """Return what JavaScript's `Number(value)` would be (ECMAScript, ToNumber).

    Raises:
        TypeError: *value* stands for no number.
    """
    if isinstance(value, str):
        return number_in(value)
    if isinstance(value, SupportsIndex | SupportsFloat):
        try:
            return float(value)
        except OverflowError:
            return math.inf if cast("Any", value) > 0 else -math.inf
    raise TypeError(f"{what} must be a number, not {type(value).__name__}: {value!r}")


def number_in(text: str) -> float:
    """Return the number that *text* is; NaN if it is none."""
    text = re.sub(f"^[{WHITE_SPACE}]+|[{WHITE_SPACE}]+$", "", text)
    if not text:
        return 0.0
    if DECIMAL.fullmatch(text):
        return float(text)
    if RADIX.fullmatch(text):
        return number(int(text, 0), "")
    if (infinite := INFINITE.fullmatch(text)) is not None:
        return -math.inf if infinite[1] == "-" else math.inf
    return math.nan


def clamped(value: object, what: str) -> int:
    """Convert to `[Clamp] unsigned short`: to the nearest, ties to even; 0-65535."""
    converted = number(value, what)
    return 0 if math.isnan(converted) else round(min(max(converted, 0), SHORT - 1))


def truncated(value: object, what: str) -> int:
    """Convert to `unsigned short`: towards zero, modulo 65536."""
    converted = number(value, what)
    return int(converted) % SHORT if math.isfinite(converted) else 0


def within_range(value: object, what: str) -> int:
    """Convert to `[EnforceRange] unsigned short`: towards zero.

    Raises:
        TypeError: that is not in 0-65535.
    """
    converted = number(value, what)
    if not math.isfinite(converted) or not 0 <= (whole := math.trunc(converted)) < SHORT:
        raise TypeError(f"{what} must be in the range 0-{SHORT - 1}, not {value!r}")
    return whole


def dom_string(value: object, what: str) -> str:
    """Convert to `DOMString`: numbers and truth values as JavaScript spells them.

    Raises:
        TypeError: *value* is none of these. JavaScript knows a text for everything; it would be of no use here.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"{what} must be a str, not {type(value).__name__}: {value!r}")


def usv_string(value: object, what: str) -> str:
    """Convert to `USVString`: halves of surrogate pairs become a character, lone ones U+FFFD."""
    text = dom_string(value, what)
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def byte_string(value: object, what: str) -> bytes:
    """Return a copy of what is bytes-like.

    Raises:
        TypeError: *value* is not.
    """
    if isinstance(value, bytes):
        return value
    try:
        return bytes(memoryview(cast("Any", value)))
    except TypeError:
        raise TypeError(f"{what} must be a str or bytes-like, not {type(value).__name__}: {value!r}") from None


def dictionary(value: object, what: str, members: Mapping[str, Callable[[Any], T]]) -> dict[str, T]:
    """Convert the *members* of a dictionary that are given; others are ignored, as in Web IDL.

    Raises:
        TypeError: *value* is no mapping.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a dict, not {type(value).__name__}: {value!r}")
    given = cast("Mapping[object, object]", value)
    return {name: convert(given[name]) for name, convert in members.items() if given.get(name) is not None}


def checked_close(
    code: object, reason: object, to_code: Callable[[object, str], int] = clamped
) -> tuple[int | None, str]:
    """Check what `close()` was given (WHATWG WebSockets, `close()`), and return what goes into the Close frame.

    Args:
        to_code: how the code is converted.

    Raises:
        TypeError: *code* stands for no number, or *reason* for no text.
        InvalidAccessError: the code is not one that a program may use.
        SyntaxError: the reason is too long. A wrong code is told first.
    """
    number = None if code is None else to_code(code, "close code")
    text = None if reason is None else usv_string(reason, "close reason")
    if number is not None and number != 1000 and not 3000 <= number <= 4999:
        told = "" if number == code else f" (from {code!r})"
        raise InvalidAccessError(f"close code {number}{told} is not for programs: use 1000, or 3000-4999")
    if text is None:
        return number, ""
    if (size := len(text.encode())) > MAX_REASON_BYTES:
        raise SyntaxError(f"close reason is {size} bytes as UTF-8, the limit is {MAX_REASON_BYTES}: {text!r}")
    return (1000 if number is None else number), text  # a reason cannot stand without a code
