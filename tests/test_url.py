"""WebSocket URLs (RFC 6455 §3)."""

from __future__ import annotations

import re
from typing import Any

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trio_closeevents._url import URL, parse_url, shown, take_credentials


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "target"),
    [
        ("ws://example.com", False, "example.com", 80, "/"),
        ("wss://example.com", True, "example.com", 443, "/"),
        ("ws://example.com/", False, "example.com", 80, "/"),
        ("WS://EXAMPLE.com/Path", False, "example.com", 80, "/Path"),
        ("WsS://example.com:8443/chat?room=1&x", True, "example.com", 8443, "/chat?room=1&x"),
        ("ws://example.com:443", False, "example.com", 443, "/"),
        ("ws://example.com:", False, "example.com", 80, "/"),
        ("ws://example.com:065", False, "example.com", 65, "/"),
        ("ws://example.com:65535/", False, "example.com", 65535, "/"),
        ("ws://example.com?room=1", False, "example.com", 80, "/?room=1"),
        ("ws://example.com/a?", False, "example.com", 80, "/a?"),
        ("ws://example.com/a?b?c", False, "example.com", 80, "/a?b?c"),
        ("ws://example.com/?a@b", False, "example.com", 80, "/?a@b"),
        ("ws://example.com/@/x:y", False, "example.com", 80, "/@/x:y"),
        ("ws://example.com//a//../b/./", False, "example.com", 80, "//a//../b/./"),
        ("ws://example.com/a%20b%2F?c%20", False, "example.com", 80, "/a%20b%2F?c%20"),
        ("ws://example.com/;a=b!$&'()*+,~-._", False, "example.com", 80, "/;a=b!$&'()*+,~-._"),
        ('ws://example.com/"<>\\^`{|}', False, "example.com", 80, "/%22%3C%3E%5C%5E%60%7B|%7D"),
        ("ws://example.com/a[]|?b[]={c}|\\^`", False, "example.com", 80, "/a[]|?b[]={c}|\\^`"),
        ('ws://example.com/?"<>', False, "example.com", 80, "/?%22%3C%3E"),
        ("ws://example.com/\u00e4?\u20ac=\U0001f600", False, "example.com", 80, "/%C3%A4?%E2%82%AC=%F0%9F%98%80"),
        ("ws://b\u00fccher.example/", False, "xn--bcher-kva.example", 80, "/"),
        ("ws://\u4f8b\u3048\u3002jp/", False, "xn--r8jz45g.jp", 80, "/"),
        ("ws://xn--bcher-kva.example", False, "xn--bcher-kva.example", 80, "/"),
        ("ws://my_host-1.local", False, "my_host-1.local", 80, "/"),
        ("ws://example.com./", False, "example.com.", 80, "/"),
        ("ws://127.0.0.1:8080", False, "127.0.0.1", 8080, "/"),
        ("ws://[::1]", False, "::1", 80, "/"),
        ("wss://[2001:DB8::1]:8443/x", True, "2001:db8::1", 8443, "/x"),
        ("ws://[::ffff:1.2.3.4]/", False, "::ffff:1.2.3.4", 80, "/"),
    ],
)
def test_url_is_taken_apart(url: str, secure: bool, host: str, port: int, target: str) -> None:
    """Scheme and host ignore case, the port has the scheme's default, the target is ASCII and at least `/`."""
    assert parse_url(url) == URL(secure, host, port, target)


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("ws://example.com", "example.com"),
        ("ws://example.com:80", "example.com"),
        ("wss://example.com:443", "example.com"),
        ("ws://example.com:443", "example.com:443"),
        ("wss://example.com:80", "example.com:80"),
        ("ws://b\u00fccher.example:8080", "xn--bcher-kva.example:8080"),
        ("ws://[::1]", "[::1]"),
        ("wss://[::1]:8443", "[::1]:8443"),
    ],
)
def test_host_header_has_the_port_unless_it_is_the_schemes_own(url: str, header: str) -> None:
    """RFC 6455 §4.1: the port is left out if it is the default; an IPv6 address keeps its brackets."""
    assert parse_url(url).host_header == header


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com", "has scheme 'http': use ws: or wss:"),
        ("https://example.com", "has scheme 'https'"),
        ("//example.com", "has scheme ''"),
        ("example.com", "has scheme ''"),
        ("example.com:80", "has scheme 'example.com'"),
        ("", "has scheme ''"),
        ("wsx://example.com", "has scheme 'wsx'"),
        ("ws:", "has no host"),
        ("ws://", "has no host"),
        ("ws:///path", "has no host"),
        ("ws:/example.com", "has no host"),
        ("ws:example.com", "has no host"),
        ("ws://:80/", "has no host"),
        ("ws://?x", "has no host"),
        ("ws://example.com/#", "has a fragment"),
        ("ws://example.com/#top", "has a fragment"),
        ("ws://example.com#top", "has a fragment"),
        ("ws://example.com/?a#b", "has a fragment"),
        ("ws://example.com:0/", "has port 0: the range is 1-65535"),
        ("ws://example.com:65536/", "is malformed: Port out of range"),
        ("ws://example.com:-1/", "is malformed"),
        ("ws://example.com:x/", "is malformed"),
        ("ws://example.com:8_0/", "is malformed"),
        ("ws://example.com:\u0661/", "is malformed"),
        ("ws://a:b:80/", "is malformed"),
        ("ws://[::1/", "is malformed"),
        ("ws://::1]/", "is malformed"),
        ("ws://[::1]x/", "is malformed"),
        ("ws://x[::1]/", "is malformed"),
        ("ws://[::1]:x/", "is malformed"),
        ("ws://[]/", "is malformed"),
        ("ws://[example.com]/", "is malformed"),
        ("ws://[1.2.3.4]/", "is malformed"),
        ("ws://[v1.x]/", "is malformed"),
        ("ws://[fe80::1%25eth0]/", "is malformed: only an IPv6 address, without a zone"),
        ("ws://exa mple.com/", "has white space or control characters: percent-encode them"),
        (" ws://example.com/", "has white space"),
        ("ws://example.com/ ", "has white space"),
        ("ws://example.com/a b", "has white space"),
        ("ws://example.com/?a b", "has white space"),
        ("ws://example.com/\r\nX-Injected: 1", "has white space or control characters"),
        ("ws://example.com\r\n/", "has white space or control characters"),
        ("ws://example.com/\t", "has white space or control characters"),
        ("ws://example.com/\0", "has white space or control characters"),
        ("ws://example.com/\x7f", "has white space or control characters"),
        ("ws://example.com/\ud800", "is malformed"),
        ("ws://a..b/", "has host 'a..b', which is no domain name"),
        ("ws://.example.com/", "which is no domain name"),
        ("ws://" + "a" * 64 + ".com/", "which is no domain name"),
        ("ws://exa\u00a0mple.com/", "no domain name"),
        ("ws://a\\b/", "no domain name has the character '\\\\'"),
        ("ws://a%20b/", "no domain name has the character '%'"),
        ("ws://\uff05/", "no domain name has the character '%'"),
        ("ws://<a>/", "no domain name has the character '<'"),
        ("ws://a|b^c/", "no domain name has the character '|'"),
    ],
    ids=ascii,
)
def test_bad_url_is_refused_with_the_url_and_the_rule(url: str, words: str) -> None:
    """What is no WebSocket URL is a `ValueError` of our own words, before anything is sent."""
    with pytest.raises(ValueError) as caught:
        parse_url(url)

    assert type(caught.value) is ValueError
    assert words in str(caught.value)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize(
    ("url", "rest", "credentials"),
    [
        ("ws://user:secret@example.com/", "ws://example.com/", ("user", "secret")),
        ("ws://secret@example.com/", "ws://example.com/", ("secret", "")),
        ("ws://:secret@example.com", "ws://example.com", ("", "secret")),
        ("ws://a:b:c@example.com", "ws://example.com", ("a", "b:c")),
        ("ws://a%3Ab:%C3%A4%@example.com", "ws://example.com", ("a:b", "\u00e4%")),
        ("ws://a@b:c@example.com/?d@e", "ws://example.com/?d@e", ("a@b", "c")),
        ("ws://user:secret@", "ws://", ("user", "secret")),
        ("ws://example.com/@/x:y", "ws://example.com/@/x:y", None),
        ("ws://example.com?a@b", "ws://example.com?a@b", None),
        ("", "", None),
    ],
)
def test_credentials_are_taken_out_of_a_url(url: str, rest: str, credentials: tuple[str, str] | None) -> None:
    """What is left has none; they are percent-decoded."""
    assert take_credentials(url) == (rest, credentials)


def test_url_that_still_has_credentials_is_not_shown() -> None:
    """They are taken out first."""
    with pytest.raises(ValueError, match="where none may stand") as caught:
        parse_url("ws://user:secret@example.com/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ws://h/", "ws://h/"),
        ("ws://u:p/x@h/", "ws:...@h/"),
        ("http:/u:secret@h/", "http:...@h/"),
        ("//u:secret@h", "//u:...@h"),
        ("secret@h", "...@h"),
        ("ws://a@b@c", "ws:...@c"),
    ],
)
def test_url_is_shown_without_what_may_be_a_password(url: str, text: str) -> None:
    """However malformed it is."""
    assert shown(url) == text


@pytest.mark.parametrize("url", [b"ws://example.com", None, 5, ["ws://example.com"]], ids=str)
def test_url_of_a_wrong_type_is_refused(url: Any) -> None:
    """A URL is a `str`; the error has the value and its type."""
    with pytest.raises(TypeError) as caught:
        parse_url(url)

    assert str(caught.value) == f"URL must be a str, not {type(url).__name__}: {url!r}"


PIECES = [
    "ws://",
    "wss://",
    "ws:",
    "/",
    "?",
    "#",
    "@",
    ":",
    "[",
    "]",
    "%",
    "\\",
    " ",
    "\n",
    "\0",
    "h",
    ".",
    "1",
    "\u00e4",
]


@settings(deadline=None)
@given(url=st.text(max_size=20) | st.lists(st.sampled_from(PIECES) | st.characters(), max_size=12).map("".join))
@example(url="ws://\u2100/")
@example(url="ws://\ufdfa.example/")
@example(url="ws://xn--\u00e4/")
def test_any_text_is_a_url_or_a_value_error(url: str) -> None:
    """Nothing but `ValueError` comes out; and what is taken for a URL makes one request line and one Host header."""
    try:
        parsed = parse_url(url)
    except ValueError:
        return

    assert 1 <= parsed.port <= 65535
    assert re.fullmatch(r"/[!-~]*", parsed.target)
    assert re.fullmatch(r"[!-~]+", parsed.host)
    assert not re.search(r"[/?#@\\]", parsed.host)
    request = h11.Request(method="GET", target=parsed.target, headers=[("Host", parsed.host_header)])
    assert h11.Connection(h11.CLIENT).send(request) == (
        f"GET {parsed.target} HTTP/1.1\r\nHost: {parsed.host_header}\r\n\r\n".encode()
    )
