"""The command line's own text: what is shown of what comes from the network, JSON, and lines that are typed."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from trio_closeevents._cli.acts import Act, Bad, Close, Help, Nothing, Ping, Send, filtered, typed
from trio_closeevents._cli.clean import hexdump, shorten, visible
from trio_closeevents._cli.editor import Editor, Key, window
from trio_closeevents._cli.json_text import compact, pretty

# -- what is shown ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("日本語 é \u00a0 👩\u200d💻", "日本語 é \u00a0 👩\u200d💻"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\x07\x00\x7f", "a\\rb\\x07\\x00\\x7f"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("a\nb\tc\u2028", "a\\nb\\tc\\u2028"),
    ],
)
def test_visible_spells_out_what_steers_a_terminal(text: str, shown: str) -> None:
    """Control and format characters are spelled out; letters, wide ones and emoji stay."""
    assert visible(text) == shown


def test_visible_keeps_lines_if_told_to() -> None:
    """A message of several lines is shown in several lines, and nothing else that steers gets through."""
    assert visible("a\n\tb\r\x1b", lines=True) == "a\n\tb\\r\\x1b"


@given(st.text())
def test_visible_leaves_no_control_character(text: str) -> None:
    """Whatever the text is, what is shown of it has no character that a terminal obeys."""
    assert not any(each < " " or "\x7f" <= each <= "\x9f" for each in visible(text))


def test_hexdump_shows_offset_bytes_and_text() -> None:
    """Sixteen bytes a line, with what is printable beside them."""
    assert hexdump(b"Hello, world!\x00\xff\n~") == [
        "00000000  48 65 6c 6c 6f 2c 20 77 6f 72 6c 64 21 00 ff 0a  Hello, world!...",
        "00000010  7e                                               ~",
    ]


def test_hexdump_says_how_much_it_does_not_show() -> None:
    """A large message does not flood the terminal."""
    assert hexdump(bytes(5000), 16)[1:] == ["... and 4,984 bytes more"]
    assert hexdump(b"") == []


def test_shorten_marks_where_it_cut() -> None:
    """A text that is too long loses its end."""
    assert (shorten("abcd", 4), shorten("abcde", 4)) == ("abcd", "abc…")


# -- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{ "a" : [ 1, 2.50, 1e999, {} ],\n "a": "x  \\" y" }', '{"a":[1,2.50,1e999,{}],"a":"x  \\" y"}'),
        (" null ", "null"),
        (b"\xef\xbb\xbf1"[3:], "1"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"\\ud800"', '"\\ud800"'),
    ],
)
def test_compact_keeps_every_token(text: str | bytes, line: str) -> None:
    """Only the spaces between tokens go: no number is rounded, no key is lost."""
    assert compact(text) == line


def test_pretty_has_one_item_a_line() -> None:
    """What is empty stays in one line."""
    assert pretty('{"a":[1,{"b":null}],"c":{},"d":[]}') == (
        '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ],\n  "c": {},\n  "d": []\n}'
    )


json_values: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values, st.booleans(), st.sampled_from([None, 0, 3]))
def test_json_is_the_same_value_in_either_form(value: Any, ascii_only: bool, indent: int | None) -> None:
    """A value survives both ways to set it, and the compact one has no line end."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert json.loads(compact(text)) == json.loads(pretty(text)) == value
    assert "\n" not in compact(text)
    assert compact(pretty(text)) == compact(text)


@pytest.mark.parametrize("text", ["", "hello", "{", "NaN", "[1,]", "-Infinity", b"\xff", "[" * 200_000, "1 2"])
def test_compact_refuses_what_is_no_json(text: str | bytes) -> None:
    """What Python's own module takes too easily is refused too, and depth does not break anything."""
    with pytest.raises(ValueError, match=r".+"):
        compact(text)


# -- lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "act"),
    [
        ("hello", Send("hello")),
        (" ", Send(" ")),
        ("", Nothing()),
        ("//hello", Send("/hello")),
        ("/ping", Ping()),
        ("/help", Help()),
        ("/close", Close(1000, "")),
        ("/close 4000", Close(4000, "")),
        ("/close 4000 so long  now", Close(4000, "so long  now")),
        ("/binary 00 ff0A", Send(b"\x00\xff\n")),
        ("/binary", Send(b"")),
    ],
)
def test_typed_line_is_a_message_or_a_command(line: str, act: Act) -> None:
    """Text is sent as it is; a slash begins a command, two of them text."""
    assert typed(line, as_json=False) == act


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/foo bar", "/foo is no command: /help lists them, and //foo sends it as text"),
        ("/binary 0x", "these are not pairs of hexadecimal digits: "),
        ("/close soon", "/close soon: a close code is a number"),
    ],
)
def test_typed_line_that_makes_no_sense_says_why(line: str, why: str) -> None:
    """Nothing is sent of it."""
    act = typed(line, as_json=False)
    assert isinstance(act, Bad)
    assert act.why.startswith(why)


def test_line_of_json_is_checked_and_compact() -> None:
    """With --json only JSON is sent, in one line."""
    assert typed('{"a": 1}', as_json=True) == Send('{"a":1}')
    assert typed("//x", as_json=True) == Bad("this is not JSON: Expecting value: line 1 column 1 (char 0)")
    assert filtered(b"[1, 2]", as_json=True, as_hex=False) == Send("[1,2]")


def test_filtered_line_is_always_a_message() -> None:
    """In a pipe there are no commands, and an empty line is an empty message."""
    assert filtered(b"/close", as_json=False, as_hex=False) == Send("/close")
    assert filtered(b"", as_json=False, as_hex=False) == Send("")
    assert filtered(b"00ff", as_json=False, as_hex=True) == Send(b"\x00\xff")
    assert isinstance(filtered(b"0", as_json=False, as_hex=True), Bad)
    assert isinstance(filtered(b"\xff", as_json=False, as_hex=False), Bad)


# -- the line that is being typed ------------------------------------------------------------------------------------

LEFT: Final = "\x1b[D"
RIGHT: Final = "\x1b[C"
UP: Final = "\x1b[A"
DOWN: Final = "\x1bOB"


@pytest.mark.parametrize(
    ("keys", "text", "cursor"),
    [
        ("abc", "abc", 3),
        (f"abc{LEFT}{LEFT}X{RIGHT}Y", "aXbYc", 4),
        (f"{LEFT}a{RIGHT}{RIGHT}", "a", 1),
        ("abc\x01X\x05Y", "XabcY", 5),
        ("abc\x1b[HX\x1b[FY", "XabcY", 5),
        ("abc\x7f\x08", "a", 1),
        ("\x7fa", "a", 1),
        ("abc\x02\x02\x04", "ac", 1),
        ("abc\x01\x1b[3~", "bc", 0),
        ("abc\x02\x0b", "ab", 2),
        ("abc\x02\x15", "c", 0),
        ("two words \x17", "two ", 4),
        ("two words\x1b\x7f", "two ", 4),
        ("two words\x1bb\x1b[1;5DX", "Xtwo words", 1),
        ("two words\x01\x1bfX\x1b[1;5C\x06", "twoX words", 10),
        ("\x1b[1;5C\x17", "", 0),
        ("日本\x7f語", "日語", 2),
        ("a\x1b[5~b\x1b[38;5;1mc\x1bxd\x1bOPe", "abcde", 5),
        ("a\x00\x1fb\u202e", "ab", 2),
        ("\x1b[200~one\r\n\ttwo\x1b[A\x03\x1b[201~!", "one\n\ttwo[A!", 11),
    ],
)
def test_editor_does_what_keys_say(keys: str, text: str, cursor: int) -> None:
    """The keys of a shell's line do the same here, all at once or byte by byte; what is unknown does nothing."""
    for pieces in ([keys.encode()], [bytes([byte]) for byte in keys.encode()]):
        editor = Editor()
        assert [done for piece in pieces for done in editor.feed(piece)] == []
        assert (editor.text, editor.cursor) == (text, cursor)


def test_editor_hands_out_lines() -> None:
    """Enter finishes a line, be it one or three in one read."""
    editor = Editor()
    assert editor.feed(b"one\ntwo\r\nthr") == ["one", "two", ""]
    assert editor.text == "thr"


def test_editor_tells_the_end_on_an_empty_line_only() -> None:
    """Ctrl-D deletes, and ends where there is nothing to delete; Ctrl-L is for the screen."""
    editor = Editor()
    assert editor.feed(b"a\x01\x04") == []
    assert editor.feed(b"\x0c\x04") == [Key.CLEAR, Key.END]


def test_editor_remembers_lines() -> None:
    """Up and down go through what was typed, without what is empty or the same again, and come back to the draft."""
    editor = Editor()
    editor.feed(b"one\ntwo\ntwo\n \ndraft")
    seen: list[str] = []
    for key in (UP, UP, UP, DOWN, "\x0e", "\x0e", "\x10"):
        editor.feed(key.encode())
        seen.append(editor.text)
    assert seen == ["two", "one", "one", "two", "draft", "draft", "two"]
    assert editor.cursor == 3


@given(st.text("ab日🎉\n\t\u0301", max_size=40), st.data(), st.integers(1, 20))
def test_window_fits_and_has_the_cursor(text: str, data: st.DataObject, width: int) -> None:
    """However long the line is, a part round the cursor fits, with the cursor inside or just behind it."""
    cursor = data.draw(st.integers(0, len(text)))
    shown, column = window(text, cursor, width)
    assert cell_len(shown) <= width
    assert 0 <= column <= cell_len(shown)
    assert "\n" not in shown


@given(st.binary())
def test_editor_survives_any_bytes(data: bytes) -> None:
    """No bytes break it, and what stands in the line is printable."""
    editor = Editor()
    editor.feed(data)
    assert all(each.isprintable() or each in "\n\t" for each in editor.text)
