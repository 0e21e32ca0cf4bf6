"""The parts of a message that is sent piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import pairwise
from types import MappingProxyType
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_closeevents._fragments import Fragments, fragments_of
from trio_closeevents._payload import as_bytes, check_choice, checked_control_payload, checked_message, decoded

LETTERS = "aé€😀"  # 1, 2, 3 and 4 bytes of UTF-8


async def all_of(fragments: Fragments) -> list[str | bytes]:
    """Take all parts, and the one that ends the message."""
    taken = []
    while (part := await fragments.next()) is not None:
        taken.append(part)
    return [*taken, fragments.end()]


async def parts_of(value: object, text: bool | None = None) -> list[str | bytes]:
    fragments = fragments_of(value, text)
    assert fragments is not None
    return await all_of(fragments)


async def asynchronously(parts: Iterable[Any]) -> AsyncIterator[Any]:
    for part in parts:
        yield part


@pytest.mark.parametrize("value", ["text", b"data", bytearray(b"x"), memoryview(b"x"), "", 1, None, object(), parts_of])
def test_fragments_of_what_is_one_message_or_none_at_all(value: object) -> None:
    """It has no parts; whether it can be sent is not asked here."""
    assert fragments_of(value, None) is None


@pytest.mark.parametrize("value", [{}, {"a": "b"}, MappingProxyType({"a": "b"})])
def test_fragments_of_a_mapping(value: object) -> None:
    """Its keys would be sent, its values lost: TypeError that names it and the way out."""
    with pytest.raises(TypeError, match=f"a {type(value).__name__} is no message: send its keys or values"):
        fragments_of(value, True)


@pytest.mark.parametrize(
    "kind", [list, tuple, iter, asynchronously, frozenset, lambda parts: dict.fromkeys(parts).keys()]
)
async def test_fragments_are_what_the_iterable_gives(kind: Any) -> None:
    """Of any kind but a mapping, with an empty part at the end."""
    assert await parts_of(kind(["one"])) == ["one", ""]
    assert await parts_of(kind([b"one"])) == [b"one", b""]


async def test_fragments_are_asked_for_one_by_one() -> None:
    """Nothing is taken out of an iterable before it is asked for; of a list or tuple everything is."""
    given_out: list[int] = []

    def parts() -> Iterator[bytes]:
        for number in range(3):
            given_out.append(number)
            yield b"%d" % number

    fragments = fragments_of(parts(), None)
    assert fragments is not None
    for number in range(3):
        assert given_out == list(range(number))
        assert await fragments.next() == b"%d" % number
    assert await fragments.next() is None
    assert fragments.end() == b""

    buffer = bytearray(b"before")
    for container in (list, tuple):
        fragments = fragments_of(container([buffer]), None)
        assert fragments is not None
        buffer[:] = b"after!"
        assert await fragments.next() == b"before"
        buffer[:] = b"before"


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("bad", [1, None, "text", "\ud800", [b"x"]], ids=ascii)
def test_fragments_of_a_list_are_checked_at_once(kind: Any, bad: object) -> None:
    """TypeError or ValueError before the first part is given."""
    with pytest.raises((TypeError, ValueError)):
        fragments_of(kind([b"good", bad]), None)


async def test_fragments_of_an_iterable_are_checked_one_by_one() -> None:
    """What comes before the bad one is given."""
    fragments = fragments_of(iter(["good", "\ud800"]), None)
    assert fragments is not None
    assert await fragments.next() == "good"
    with pytest.raises(ValueError, match="lone surrogate"):
        await fragments.next()


@given(
    st.lists(st.sampled_from([*LETTERS, "", "\0", "\uffff", "\U0010ffff"]), max_size=9).map("".join),
    st.lists(st.integers(0, 36), max_size=9),
)
def test_conversion_to_text_gives_whole_characters(text: str, cuts: list[int]) -> None:
    """Bytes cut anywhere give the text back, and every part of it by itself is text."""
    data = text.encode()
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[a:b] for a, b in pairwise(at)]
    fragments = Fragments(parts, True)
    converted: list[Any] = list(cast("Iterator[object]", fragments._parts))
    assert "".join(converted) == text
    assert fragments.end() == ""


@pytest.mark.parametrize(
    ("data", "tells"),
    [
        ([b"\xff"], "byte 0 is not"),
        ([b"ab\xff"], "byte 2 is not"),
        ([b"\xed\xa0\x80"], "must be valid UTF-8"),
        ([b"\xe2", b"\x28\xa1"], "must be valid UTF-8"),
        ([b"\xe2\x82"], "unexpected end of data"),
        ([b"\xf0\x9f", b"\x98"], "unexpected end of data"),
    ],
)
async def test_conversion_to_text_of_what_is_not_utf8(data: list[bytes], tells: str) -> None:
    """ValueError, with the part that makes it impossible or, if something is missing, at the end."""
    with pytest.raises(ValueError, match=tells):
        fragments_of(data, True)
    with pytest.raises(ValueError, match=tells):
        await parts_of(iter(data), True)


async def test_end_is_of_the_kind_of_the_message() -> None:
    """As the parts are, or as *text* says; of nothing at all, only *text* tells."""
    assert await parts_of([], True) == await parts_of(iter([]), True) == [""]
    assert await parts_of((), False) == await parts_of(asynchronously([]), False) == [b""]
    assert await parts_of(["é"], False) == ["é".encode(), b""]
    assert await parts_of(["é".encode()], True) == ["é", ""]
    assert await parts_of([""]) == ["", ""]
    with pytest.raises(ValueError, match="give text=True or text=False"):
        fragments_of([], None)
    with pytest.raises(ValueError, match="give text=True or text=False"):
        await parts_of(iter([]))


async def test_what_the_iterable_raises_goes_on() -> None:
    """From its making and from each of its steps, as the same object."""
    error = KeyError("mine")

    class Parts:
        def __iter__(self) -> Iterator[str]:
            raise error

    def parts() -> Iterator[str]:
        yield "one"
        raise error

    with pytest.raises(KeyError) as raised:
        fragments_of(Parts(), None)
    assert raised.value is error
    fragments = fragments_of(parts(), None)
    assert fragments is not None
    assert await fragments.next() == "one"
    with pytest.raises(KeyError) as raised:
        await fragments.next()
    assert raised.value is error


async def test_aclose_closes_an_async_generator_and_nothing_else() -> None:
    """What has an `aclose` of its own, a channel or a stream, may be used further."""
    closed: list[str] = []

    async def generator() -> AsyncIterator[str]:
        try:
            yield "one"
        finally:
            closed.append("generator")

    class Channel:
        def __aiter__(self) -> Channel:
            return self

        async def __anext__(self) -> str:
            return "one"

        async def aclose(self) -> None:
            closed.append("channel")

    for source in (generator(), Channel(), iter(["one"]), ["one"]):
        fragments = fragments_of(source, None)
        assert fragments is not None
        assert await fragments.next() == "one"
        await fragments.aclose()
        await fragments.aclose()
    assert closed == ["generator"]


# -- whole messages --------------------------------------------------------------------------------------------------


def test_checked_message_is_of_the_kind_that_is_asked_for() -> None:
    """Text or binary as it is, or as *text* says; a buffer is copied."""
    euro = "€".encode()
    for value in ("€", euro, bytearray(euro), memoryview(euro)):
        assert checked_message(value, True) == "€"
        assert checked_message(value, False) == euro
        assert type(checked_message(value)) is (str if isinstance(value, str) else bytes)


def test_checked_message_of_what_is_none() -> None:
    """The errors name what is wrong."""
    with pytest.raises(TypeError, match=r"or an iterable of such, not object: <object"):
        checked_message(object())
    for text in (None, True, False):
        with pytest.raises(ValueError, match=r"'\\ud800' at index 1 is a lone surrogate"):
            checked_message("a\ud800", text)
    with pytest.raises(ValueError, match="byte 1 is not"):
        checked_message(b"a\xff", True)


def test_check_choice_takes_a_bool() -> None:
    """And nothing that is only true or false."""
    check_choice("text", True)
    check_choice("text", False)
    for wrong in (1, 0, "", None):
        with pytest.raises(TypeError, match=f"text must be True, False or None, not {type(wrong).__name__}"):
            check_choice("text", wrong)


@pytest.mark.parametrize("value", [b"data", bytearray(b"data"), memoryview(b"data"), memoryview(b"d-a-t-a")[::2]])
def test_as_bytes_copies_what_can_be_changed(value: Any) -> None:
    """`bytes` are taken as they are."""
    assert as_bytes(value) == b"data"
    assert (as_bytes(value) is value) is isinstance(value, bytes)


def test_as_bytes_of_anything_else() -> None:
    """Not even what could be made into bytes."""
    assert as_bytes("data") is as_bytes(3) is as_bytes([1, 2]) is None


def test_decoded_tells_where_it_is_not_utf8() -> None:
    """And raises nothing but a plain ValueError, without the context of another."""
    assert decoded("é".encode()) == "é"
    with pytest.raises(ValueError, match="byte 2 is not") as raised:
        decoded("é".encode() + b"\xff")
    assert type(raised.value) is ValueError
    assert raised.value.__suppress_context__


def test_checked_control_payload_is_short_and_bytes_like() -> None:
    """125 bytes pass, 126 do not (RFC 6455 §5.5)."""
    assert checked_control_payload(bytearray(125)) == bytes(125)
    with pytest.raises(ValueError, match="is 126 bytes, the limit is 125"):
        checked_control_payload(bytes(126))
    with pytest.raises(TypeError, match="not str: 'text'"):
        checked_control_payload("text")
