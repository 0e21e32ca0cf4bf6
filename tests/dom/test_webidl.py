"""Web IDL's conversions of arguments, and what may stand in a Close frame."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from trio_closeevents import dom
from trio_closeevents.dom._webidl import (
    byte_string,
    checked_close,
    clamped,
    dom_string,
    number,
    truncated,
    usv_string,
    within_range,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1000, 1000),
        (True, 1),
        (1000.5, 1000.5),
        (Decimal("1.5"), 1.5),
        (Fraction(1, 2), 0.5),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        ("", 0),
        (" \t\n\u00a0\ufeff1000\u2003", 1000),
        ("1e3", 1000),
        (".5", 0.5),
        ("-5.", -5),
        ("0x3E8", 1000),
        ("0b11", 3),
        ("0o17", 15),
        ("0x" + "f" * 400, math.inf),
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_number_is_that_of_javascript(value: Any, expected: float) -> None:
    """ToNumber, for what Python has: numbers of all kinds, truth values, and text."""
    assert number(value, "it") == expected


@pytest.mark.parametrize("text", ["abc", "1000n", "1 2", "infinity", "nan", "1_000", "0x", "-0x1", "."])
def test_text_that_is_no_number_is_nan(text: str) -> None:
    """Python's own spellings are none of JavaScript's."""
    assert math.isnan(number(text, "it"))


@pytest.mark.parametrize("value", [None, [], {}, object(), 1j, b"1000"], ids=lambda value: type(value).__name__)
def test_what_stands_for_no_number_is_a_type_error(value: Any) -> None:
    """The message names the argument and the value."""
    with pytest.raises(TypeError, match="close code must be a number, not"):
        number(value, "close code")


@pytest.mark.parametrize(
    ("value", "clamp", "cut"),
    [
        (0, 0, 0),
        (-1, 0, 65535),
        (65535, 65535, 65535),
        (65536, 65535, 0),
        (66536, 65535, 1000),
        (999.49, 999, 999),
        (999.5, 1000, 999),
        (1000.5, 1000, 1000),
        (1000.51, 1001, 1000),
        (-0.9, 0, 0),
        (-1.9, 0, 65535),
        (math.nan, 0, 0),
        (math.inf, 65535, 0),
        (-math.inf, 0, 0),
        (2**53 + 1, 65535, 0),
        ("1000", 1000, 1000),
    ],
)
def test_unsigned_short_with_and_without_clamp(value: Any, clamp: int, cut: int) -> None:
    """`[Clamp]` takes the nearest in range, ties to even; without it, towards zero and modulo 65536."""
    assert (clamped(value, "it"), truncated(value, "it")) == (clamp, cut)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535.9, 65535), (-0.5, 0), ("4000", 4000)])
def test_unsigned_short_within_range(value: Any, expected: int) -> None:
    """`[EnforceRange]` takes what is in range, towards zero."""
    assert within_range(value, "it") == expected


@pytest.mark.parametrize("value", [-1, 65536, math.nan, math.inf, "abc"])
def test_unsigned_short_out_of_range_is_a_type_error(value: Any) -> None:
    """`[EnforceRange]` refuses all else."""
    with pytest.raises(TypeError, match="must be in the range 0-65535"):
        within_range(value, "closeCode")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (123, "123"),
        (1.0, "1"),
        (1.5, "1.5"),
        (True, "true"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_text_is_that_of_javascript(value: Any, expected: str) -> None:
    """Numbers and truth values have their spelling."""
    assert dom_string(value, "it") == expected


@pytest.mark.parametrize("value", [None, b"x", [], object()], ids=lambda value: type(value).__name__)
def test_what_stands_for_no_text_is_a_type_error(value: Any) -> None:
    """JavaScript's "[object Object]" would help nobody."""
    with pytest.raises(TypeError, match="close reason must be a str, not"):
        dom_string(value, "close reason")


def test_surrogates_become_characters_or_u_fffd() -> None:
    """A pair in two halves is one character; a lone half is U+FFFD; a BOM and NUL stay."""
    assert usv_string("a\ud800b\ud83d\ude00\udc00\ud800", "it") == "a\ufffdb\U0001f600\ufffd\ufffd"
    assert usv_string("\ufeff\x00é", "it") == "\ufeff\x00é"


def test_bytes_are_copied() -> None:
    """What is bytes-like becomes `bytes`, whatever shape it has."""
    data = bytearray(b"abcd")
    copy = byte_string(memoryview(data)[::2], "data")
    data[:] = b"xxxx"

    assert copy == b"ac"
    with pytest.raises(TypeError, match="data must be a str or bytes-like, not int: 3"):
        byte_string(3, "data")


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (None, None, (None, "")),
        (1000, None, (1000, "")),
        (3000, "x", (3000, "x")),
        (4999, "a" * 123, (4999, "a" * 123)),
        (4999, "€" * 41, (4999, "€" * 41)),
        (None, "x", (1000, "x")),
        (None, "", (1000, "")),
        (999.5, None, (1000, "")),
        (1000, "a\ud800", (1000, "a\ufffd")),
    ],
)
def test_close_takes_what_may_travel(code: Any, reason: Any, expected: tuple[int | None, str]) -> None:
    """1000 and 3000-4999; a reason of up to 123 bytes, alone too."""
    assert checked_close(code, reason) == expected


@pytest.mark.parametrize("code", [0, 999, 1001, 1005, 1011, 2999, 5000, 65535, 65536, -1, 66536, math.nan, "abc"])
def test_close_refuses_other_codes_first(code: Any) -> None:
    """`InvalidAccessError` names the code and the way out, even if the reason is wrong as well."""
    with pytest.raises(dom.InvalidAccessError, match="use 1000, or 3000-4999") as caught:
        checked_close(code, "a" * 124)
    assert str(caught.value).startswith(f"close code {clamped(code, '')} ")


@pytest.mark.parametrize("reason", ["a" * 124, "€" * 42])
def test_close_refuses_a_long_reason(reason: str) -> None:
    """`SyntaxError` tells the size and the limit."""
    with pytest.raises(dom.SyntaxError, match=f"close reason is {len(reason.encode())} bytes as UTF-8"):
        checked_close(1000, reason)


def test_exceptions_have_names_and_codes() -> None:
    """As in Web IDL; all of them are `DOMException`s, none is Python's `SyntaxError`."""
    kinds = (dom.SyntaxError, dom.InvalidStateError, dom.InvalidAccessError, dom.AbortError)

    assert [(kind.name, kind.code) for kind in kinds] == [
        ("SyntaxError", 12),
        ("InvalidStateError", 11),
        ("InvalidAccessError", 15),
        ("AbortError", 20),
    ]
    assert all(issubclass(kind, dom.DOMException) for kind in kinds)
    assert not issubclass(dom.SyntaxError, SyntaxError)
    assert dom.InvalidStateError("why").message == "why"
