"""URLs as the web understands them, and the names of subprotocols."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from trio_closeevents import dom


@pytest.mark.parametrize(
    ("url", "href"),
    [
        ("ws://h", "ws://h/"),
        ("WSS://EXAMPLE.org:443/a", "wss://example.org/a"),
        ("http://h:80", "ws://h/"),
        ("https://h:443", "wss://h/"),
        ("http://h:443", "ws://h:443/"),
        ("https://h:80/x", "wss://h:80/x"),
        ("ws://h/a b?c=ä", "ws://h/a%20b?c=%C3%A4"),
        ("ws://h/%23", "ws://h/%23"),
        ("ws://bücher.example", "ws://xn--bcher-kva.example/"),
        ("ws://u:p@h/", "ws://u:p@h/"),
        (" ws://h\n/a\tb ", "ws://h/ab"),
        ("ws:\\\\h\\a", "ws://h/a"),
        ("ws:h", "ws://h/"),
        ("ws://0x7f.1/", "ws://127.0.0.1/"),
        ("ws://h/a/../b/./c", "ws://h/b/c"),
        ("ws://[::0:1]:80/", "ws://[::1]/"),
        ("ws://h/\ud800", "ws://h/%EF%BF%BD"),
        ("ws://h?a[]={b}|c", "ws://h/?a[]={b}|c"),
    ],
)
def test_url_is_serialised_as_the_web_does(url: str, href: str) -> None:
    """Lower case, default ports dropped, `/` for an empty path, percent-encoding; `http:` is `ws:`."""
    assert dom.WebSocket(url).url == href


@pytest.mark.parametrize("url", ["ws://h/a b", "ws:\\\\h", "ws:h", "ws://0x7f.1/", "ws://h/a/../b"])
def test_standard_library_reads_other_urls(url: str) -> None:
    """Why there is a parser more: `urllib.parse` takes another host or path out of these, or none."""
    ours, theirs = urlsplit(dom.WebSocket(url).url), urlsplit(url)

    assert (ours.netloc, ours.path) != (theirs.netloc, theirs.path)


@pytest.mark.parametrize(
    "url",
    ["/echo", "?x", "", "//h/", "h", "ws://", "ws://[", "ws://h:99999/", "ws://h:x/", "ws://a b/", "ws://1.2.3.256/"],
)
def test_what_is_no_url_is_a_syntax_error(url: str) -> None:
    """Relative ones too: there is no base URL. The message shows it."""
    with pytest.raises(dom.SyntaxError, match="is no URL by itself") as caught:
        dom.WebSocket(url)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://h/", "file:///x", "data:,x", "about:blank"])
def test_other_schemes_are_a_syntax_error(url: str) -> None:
    """Only four are understood."""
    with pytest.raises(dom.SyntaxError, match="has scheme"):
        dom.WebSocket(url)


@pytest.mark.parametrize("url", ["ws://h/#x", "ws://h/#", "https://h#a"])
def test_fragments_are_a_syntax_error(url: str) -> None:
    """The empty one too; the check follows the scheme's."""
    with pytest.raises(dom.SyntaxError, match="has a fragment"):
        dom.WebSocket(url)


def test_password_is_not_shown() -> None:
    """An error leaves it out."""
    with pytest.raises(dom.SyntaxError) as caught:
        dom.WebSocket("ws://user:secret@h:99999/")
    assert "secret" not in str(caught.value)
    assert "'ws:...@h:99999/'" in str(caught.value)


def test_url_must_be_text() -> None:
    """Bytes are none."""
    wrong: Any = b"ws://h"
    with pytest.raises(TypeError, match="URL must be a str, not bytes"):
        dom.WebSocket(wrong)


def test_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ada-url, the error says what to install; events do without it."""
    monkeypatch.setitem(sys.modules, "ada_url", None)
    with pytest.raises(ImportError, match=r'pip install "trio-closeevents\[dom\]"'):
        dom.WebSocket("ws://h")
    assert dom.CloseEvent("close").code == 0


@pytest.mark.parametrize(
    "protocols", [[], (), "chat", ["a", "b"], iter(["x!#$%&'*+-.^_`|~9"]), [5]], ids=lambda value: type(value).__name__
)
def test_protocols_are_tokens(protocols: Any) -> None:
    """One, several or none."""
    dom.WebSocket("ws://h", protocols)


@pytest.mark.parametrize("name", ["", " ", "a b", "a,b", "(", "é", "\x7f", 'a"', "a/b", "a\t"])
def test_protocol_that_is_no_token_is_a_syntax_error(name: str) -> None:
    """Alone or in a list."""
    for protocols in (name, [name], ["ok", name]):
        with pytest.raises(dom.SyntaxError, match="is no token"):
            dom.WebSocket("ws://h", protocols)


@pytest.mark.parametrize("names", [["a", "a"], ["echo", "eCho"], ["a", "b", "A"]])
def test_protocol_twice_is_a_syntax_error(names: list[str]) -> None:
    """Case does not count."""
    with pytest.raises(dom.SyntaxError, match="is there twice"):
        dom.WebSocket("ws://h", names)


def test_protocols_of_another_type_are_a_type_error() -> None:
    """Neither text nor a list of it."""
    for wrong in (3, [b"a"]):
        value: Any = wrong
        with pytest.raises(TypeError):
            dom.WebSocket("ws://h", value)
