"""The values of the opening handshake: headers, the request, the response."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping
from typing import Any, Final

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_closeevents import Headers, Request, Response
from trio_closeevents._http import headers_from_lines, headers_from_wire

COOKIES: Final = Headers([("Set-Cookie", "a=1"), ("Host", "h"), ("set-cookie", "b=2"), ("SET-COOKIE", "c=3")])


# -- Headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Set-Cookie", "set-cookie", "SET-COOKIE", "sEt-cOOkie"])
def test_headers_ignore_case_and_keep_every_value(name: str) -> None:
    """However a name is spelled: `get_all` has each value in order, `[]` has them joined (RFC 9110 §5.2)."""
    assert COOKIES.get_all(name) == ("a=1", "b=2", "c=3")
    assert COOKIES[name] == "a=1, b=2, c=3"
    assert COOKIES.get(name) == "a=1, b=2, c=3"
    assert name in COOKIES


def test_headers_keep_order_and_spelling() -> None:
    """`pairs` has every field as it stood on the wire; iteration has each name once, in lower case."""
    assert COOKIES.pairs == (("Set-Cookie", "a=1"), ("Host", "h"), ("set-cookie", "b=2"), ("SET-COOKIE", "c=3"))
    assert list(COOKIES) == ["set-cookie", "host"]
    assert len(COOKIES) == 2
    assert dict(COOKIES) == {"set-cookie": "a=1, b=2, c=3", "host": "h"}


def test_headers_without_a_name_are_a_mapping_without_that_key() -> None:
    """What is not there is a `KeyError`, an empty tuple, a default, or simply not in it."""
    with pytest.raises(KeyError):
        COOKIES["x"]
    assert COOKIES.get_all("x") == ()
    assert COOKIES.get("x") is None
    assert COOKIES.get("x", "d") == "d"
    assert "x" not in COOKIES
    assert not COOKIES.__contains__(1)
    assert not Headers()


@pytest.mark.parametrize(
    "fields",
    [
        {"A": "1", "b": "2"},
        [("A", "1"), ("b", "2")],
        [["A", "1"], ["b", "2"]],
        (pair for pair in [("A", "1"), ("b", "2")]),
        Headers([("A", "1"), ("b", "2")]),
        {"A": "1", "b": "2"}.items(),
    ],
    ids=["dict", "tuples", "lists", "generator", "headers", "items"],
)
def test_headers_are_made_of_a_mapping_or_of_pairs(fields: Any) -> None:
    """Any mapping and any iterable of pairs will do."""
    assert Headers(fields).pairs == (("A", "1"), ("b", "2"))


@pytest.mark.parametrize("number", [3, 32, 33, 500])
def test_headers_are_the_same_however_many(number: int) -> None:
    """Few are searched one by one, many by an index: nobody can tell."""
    pairs = [(f"X-{at % (number - 1)}", str(at)) for at in range(number)]
    headers = Headers(pairs)
    assert headers.get_all("x-0") == ("0", str(number - 1))
    assert headers["X-1"] == "1"
    assert (headers.get("x-none"), "X-1" in headers, "x-none" in headers) == (None, True, False)
    assert len(headers) == len(dict(headers)) == number - 1
    assert [*headers][:2] == ["x-0", "x-1"]
    assert headers == Headers([(name.upper(), value) for name, value in pairs])
    assert hash(headers) == hash(Headers(pairs))
    with pytest.raises(KeyError):
        headers["x-none"]


def test_headers_of_headers_keep_every_value() -> None:
    """A copy of multi-valued headers is not joined."""
    assert Headers(COOKIES).pairs == COOKIES.pairs


def test_headers_are_equal_by_value() -> None:
    """Case of a name and the order of different names do not count; the order of one name's values does."""
    other = Headers([("host", "h"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Set-Cookie", "c=3")])
    swapped = Headers([("host", "h"), ("Set-Cookie", "b=2"), ("Set-Cookie", "a=1"), ("Set-Cookie", "c=3")])

    assert other == COOKIES
    assert hash(COOKIES) == hash(other)
    assert swapped != COOKIES
    assert Headers([("a", "1, 2")]) != Headers([("a", "1"), ("a", "2")])
    assert Headers([("a", "1")]) != {"a": "1"}
    assert Headers([("a", "A")]) != Headers([("a", "a")])


def test_headers_can_be_copied_pickled_and_written_down() -> None:
    """They are a value: copy, pickle and `repr` make equal ones."""
    assert isinstance(COOKIES, Mapping)
    assert repr(Headers([("A", "1")])) == "Headers([('A', '1')])"
    for twin in (copy.copy(COOKIES), copy.deepcopy(COOKIES), pickle.loads(pickle.dumps(COOKIES)), eval(repr(COOKIES))):
        assert twin == COOKIES
        assert twin.pairs == COOKIES.pairs


def test_headers_cannot_be_changed() -> None:
    """There is no way to set, to delete or to add."""
    for change in ("__setitem__", "__delitem__", "update", "pop", "clear"):
        assert not hasattr(COOKIES, change)
    with pytest.raises(AttributeError):
        COOKIES.pairs = ()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        COOKIES.note = "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize("bad", ["\r", "\n", "\r\n", "\0", "\x01", "\x7f", "\x0b", "\x1b"], ids=ascii)
@pytest.mark.parametrize("value", ["{}", "a{}", "{}b", "a{}X-Injected: 1"])
def test_headers_with_a_control_character_in_a_value_are_refused(value: str, bad: str) -> None:
    """CR, LF and NUL would end the field and begin another (RFC 9110 §5.5); the error has name and value."""
    value = value.format(bad)
    with pytest.raises(ValueError, match="may not travel in a header") as caught:
        Headers([("X-Name", value)])

    assert f"X-Name: {value!r}" in str(caught.value)


@pytest.mark.parametrize("value", ["\u0100", "\u20ac", "\U0001f600", "a\ud800", "\uff0d"], ids=ascii)
def test_headers_with_a_value_outside_latin_1_are_refused(value: str) -> None:
    """A header is bytes; what Latin-1 does not have cannot travel."""
    with pytest.raises(ValueError, match="may not travel in a header"):
        Headers({"X": value})


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\nb", "a\n", "\0", "a\0", "a\u00e4", "(a)", "a,b", 'a"'])
def test_headers_with_a_name_that_is_no_token_are_refused(name: str) -> None:
    """A name is a token (RFC 9110 §5.1): no space, colon or control character."""
    with pytest.raises(ValueError, match="is not a token") as caught:
        Headers([(name, "x")])

    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("ab", "a pair of name and value, not 'a'"),
        (["ab"], "a pair of name and value, not 'ab'"),
        ([("a",)], "a pair of name and value, not ('a',)"),
        ([("a", "b", "c")], "a pair of name and value, not ('a', 'b', 'c')"),
        ([("a", 1)], "must be str: 'a': 1"),
        ([(1, "a")], "must be str: 1: 'a'"),
        ({"a": None}, "must be str: 'a': None"),
        ([(b"a", b"b")], "must be str: b'a': b'b'"),
        (5, "int"),
        (None, "NoneType"),
    ],
    ids=str,
)
def test_headers_of_a_wrong_type_are_refused(fields: Any, words: str) -> None:
    """Names and values are `str`, and come in pairs; the error shows what came instead."""
    with pytest.raises(TypeError) as caught:
        Headers(fields)

    assert words in str(caught.value)


def test_headers_keep_what_may_travel() -> None:
    """White space round a value goes; inside it stays, and so does Latin-1."""
    headers = Headers([("A", " \t a \t b\xe4\xff \t"), ("B", ""), ("!#$%&'*+-.^_`|~09aZ", "\x21\x7e")])

    assert headers["a"] == "a \t b\xe4\xff"
    assert headers["b"] == ""
    assert headers["!#$%&'*+-.^_`|~09az"] == "!~"


@pytest.mark.parametrize("number", [0, 1, 40])
def test_headers_of_a_head_are_those_of_its_lines(number: int) -> None:
    """The quick way and the careful way make the same of them; many fields are found too."""
    lines = [f"X-{each}: {each} " for each in range(number)]
    headers = headers_from_lines("\n".join(lines))
    assert headers == Headers((f"X-{each}", str(each)) for each in range(number))
    assert len(headers) == number
    assert all(headers[f"x-{each}"] == str(each) for each in range(number))


@pytest.mark.parametrize("lines", ["A: 1\n folded", "A : 1", "A: \x00", "no colon", ": 1", "A: 1\n"])
def test_headers_of_a_malformed_head_are_refused(lines: str) -> None:
    """Line by line, by name."""
    with pytest.raises(ValueError, match="header"):
        headers_from_lines(lines)


def test_headers_from_wire_are_latin_1() -> None:
    """Bytes become text one by one: nothing that an HTTP parser takes for text is lost."""
    assert headers_from_wire([(b"a", b"\xe4"), (b"A", b"x")]).pairs == (("a", "\xe4"), ("A", "x"))


@settings(deadline=None)
@given(
    fields=st.lists(
        st.tuples(
            st.text("!#$%&'*+-.^_`|~09aZ", min_size=1, max_size=5),
            st.text(st.characters(max_codepoint=0x17F), max_size=8),
        )
    )
)
def test_headers_that_can_be_made_can_be_sent(fields: list[tuple[str, str]]) -> None:
    """Whatever is let in, h11 lets out, in one line for each field: there is no way to inject another."""
    try:
        headers = Headers(fields)
    except ValueError:
        return
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.pairs]
    request = h11.Request(method=b"GET", target=b"/", headers=[(b"Host", b"h"), *encoded])
    head = h11.Connection(h11.CLIENT).send(request)

    assert head is not None
    assert len(head.split(b"\r\n")) == len(["request line", "Host", *fields, "empty line", "behind it"])
    assert head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n")


# -- Request ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/chat?room=1", "/chat", "room=1"),
        ("/chat?", "/chat", ""),
        ("/a?b?c=d&e", "/a", "b?c=d&e"),
        ("/%C3%A4%3F?%20", "/%C3%A4%3F", "%20"),
        ("*", "*", ""),
    ],
)
def test_request_takes_its_target_apart(target: str, path: str, query: str) -> None:
    """The path ends at the first `?`, the query begins behind it; nothing is decoded."""
    request = Request(target, Headers())

    assert (request.path, request.query) == (path, query)


def test_request_is_a_value_but_for_its_address() -> None:
    """Two requests of the same fields are equal, wherever they came from."""
    one = Request("/", Headers({"A": "1"}), ("chat",), remote_address=("127.0.0.1", 1))
    other = Request("/", Headers({"a": "1"}), ("chat",), "GET", ("127.0.0.1", 2))

    assert one == other
    assert hash(one) == hash(other)
    assert one.method == "GET"
    assert one != Request("/", Headers({"A": "1"}), ("other",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.target = "/x"  # type: ignore[misc]


# -- Response --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [101, 200, 204, 302, 404, 426, 503, 599])
def test_response_takes_every_final_status_and_101(status: int) -> None:
    """101 is the upgrade itself, 200-599 are answers in its place."""
    assert Response(status).status == status


@pytest.mark.parametrize("status", [0, 1, 99, 100, 102, 103, 199, 600, 999, -200])
def test_response_with_another_status_is_refused(status: int) -> None:
    """An informational status ends nothing; the error has the value and the range."""
    with pytest.raises(ValueError, match=f"HTTP status {status} is out of the range 200-599"):
        Response(status)


@pytest.mark.parametrize("status", ["200", 200.0, None, True])
def test_response_with_a_status_of_a_wrong_type_is_refused(status: Any) -> None:
    """The error has the value and its type."""
    with pytest.raises(TypeError, match=f"must be an int, not {type(status).__name__}: {status!r}"):
        Response(status)


def test_response_has_defaults() -> None:
    """A status is enough."""
    assert Response(404) == Response(404, (), b"") == Response(404, Headers())
    assert (len(Response(404).headers), Response(404).body) == (0, b"")


def test_response_with_a_text_body_says_that_it_is_text() -> None:
    """A `str` is sent as UTF-8, and as plain text if the headers do not say otherwise."""
    response = Response(200, {"X": "1"}, "\u00e4")

    assert response.body == b"\xc3\xa4"
    assert response.headers.pairs == (("X", "1"), ("Content-Type", "text/plain; charset=utf-8"))
    assert Response(200, {"content-type": "text/html"}, "x").headers.pairs == (("content-type", "text/html"),)


@pytest.mark.parametrize("body", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_response_with_a_bytes_body_keeps_it(body: Any) -> None:
    """Anything bytes-like is copied; nobody can change it later, and no type is made up for it."""
    response = Response(200, (), body)
    if isinstance(body, bytearray):
        body[:] = b"yy"

    assert response.body == b"x"
    assert type(response.body) is bytes
    assert len(response.headers) == 0


@pytest.mark.parametrize("body", [None, 5, ["x"]])
def test_response_with_a_body_of_a_wrong_type_is_refused(body: Any) -> None:
    """The error has the type."""
    with pytest.raises(TypeError, match=f"HTTP body must be bytes or str, not {type(body).__name__}"):
        Response(200, (), body)


@pytest.mark.parametrize("body", ["OK\n", b"OK\n", ""])
def test_response_with_a_body_in_the_place_of_headers_says_where_it_goes(body: Any) -> None:
    """The second argument is not what one would think."""
    with pytest.raises(TypeError) as caught:
        Response(200, body)
    assert str(caught.value) == (
        f"headers must be a mapping or pairs, not {type(body).__name__}: write Response(200, body={body!r})"
    )


def test_response_with_a_bad_header_is_refused() -> None:
    """Its headers are checked as all headers are."""
    with pytest.raises(ValueError, match="may not travel"):
        Response(200, {"X": "a\r\nb"})


def test_response_with_lone_surrogates_is_refused() -> None:
    """A body that UTF-8 cannot carry is a `ValueError`."""
    with pytest.raises(ValueError, match="surrogates"):
        Response(200, (), "\ud800")


@pytest.mark.parametrize(("status", "phrase"), [(101, "Switching Protocols"), (404, "Not Found"), (599, ""), (299, "")])
def test_response_knows_its_phrase(status: int, phrase: str) -> None:
    """The registered reason phrase, or none."""
    assert Response(status).phrase == phrase


def test_response_is_a_value() -> None:
    """Equal by fields, hashable, copied and pickled whole, and not to be changed."""
    response = Response(404, [("A", "1"), ("a", "2")], b"no")

    assert response == Response(404, [("a", "1"), ("A", "2")], b"no")
    assert hash(response) == hash(Response(404, [("a", "1"), ("A", "2")], b"no"))
    assert response != Response(404, [("a", "1"), ("A", "2")], b"nothing")
    for twin in (copy.copy(response), copy.deepcopy(response), pickle.loads(pickle.dumps(response))):
        assert twin == response
    with pytest.raises(dataclasses.FrozenInstanceError):
        response.status = 200  # type: ignore[misc]
    with pytest.raises(TypeError):
        sorted([response, response])  # type: ignore[type-var]
