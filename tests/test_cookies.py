"""Cookies of a client: a jar of the standard library, filled and asked at every attempt."""

from __future__ import annotations

import subprocess
import sys
from http.cookiejar import Cookie, CookieJar
from typing import Any

import pytest

from trio_closeevents import HandshakeRejected, Request, Response, WebSocket, connect, open_server

HOST = "127.0.0.1"


async def leave(ws: WebSocket) -> None:
    """Be a server's handler that has nothing to do."""


class Shop:
    """A server that sets cookies and remembers those that it gets."""

    def __init__(self, *fields: tuple[str, str], status: int = 101) -> None:
        self.fields = fields
        self.status = status
        self.seen: list[dict[str, str]] = []

    def see(self, request: Request) -> Response | None:
        self.seen.append(dict(request.cookies))
        return None if self.status == 101 else Response(self.status, self.fields)

    def set(self, request: Request, response: Response) -> Response:
        return Response(response.status, [*response.headers.pairs, *self.fields], response.body)

    @property
    def hooks(self) -> dict[str, Any]:
        return {"process_request": self.see, "process_response": self.set if self.status == 101 else None}


def names(jar: CookieJar) -> dict[str, str | None]:
    return {cookie.name: cookie.value for cookie in jar}


async def test_cookies_that_a_server_sets_come_back_to_it() -> None:
    """Those of the answer that opens a connection too; a jar serves any number of connections."""
    jar = CookieJar()
    shop = Shop(("Set-Cookie", "session=abc; Path=/"), ("Set-Cookie", "theme=dark; Path=/deep"))
    async with open_server(leave, HOST, 0, **shop.hooks) as server:
        for path in ("", "deep/er"):
            async with connect(f"ws://{HOST}:{server.port}/{path}", cookies=jar):
                pass
    assert shop.seen == [{}, {"session": "abc", "theme": "dark"}]
    assert names(jar) == {"session": "abc", "theme": "dark"}


async def test_cookies_of_an_answer_that_rejects_are_taken() -> None:
    """A login page sets its cookie with 401 or 403, too."""
    jar = CookieJar()
    shop = Shop(("Set-Cookie", "csrf=1"), status=403)
    async with open_server(leave, HOST, 0, **shop.hooks) as server:
        with pytest.raises(HandshakeRejected):
            async with connect(f"ws://{HOST}:{server.port}/", cookies=jar):
                raise AssertionError("it opened")
    assert names(jar) == {"csrf": "1"}


async def test_cookies_of_a_redirect_are_taken_and_belong_to_their_host() -> None:
    """The next attempt sends what belongs there, and nothing of another host."""
    jar = CookieJar()
    there = Shop()
    async with open_server(leave, HOST, 0, **there.hooks) as server:
        here = Shop(("Set-Cookie", "mine=1; Path=/"), ("Location", f"ws://localhost:{server.port}/there"), status=302)
        async with open_server(leave, HOST, 0, **here.hooks) as first:
            async with connect(f"ws://{HOST}:{first.port}/", cookies=jar):
                pass
            back = Shop(("Set-Cookie", "again=2; Path=/"), ("Location", f"ws://{HOST}:{server.port}/back"), status=302)
            async with open_server(leave, HOST, 0, **back.hooks) as second:
                async with connect(f"ws://{HOST}:{second.port}/", cookies=jar):
                    pass
    assert there.seen == [{}, {"mine": "1", "again": "2"}]  # cookies know no ports (RFC 6265 §8.5)


async def test_cookies_that_need_tls_are_not_sent_without() -> None:
    """Secure ones stay in the jar."""
    jar = CookieJar()
    cookie = {
        "name": "s",
        "value": "1",
        "path": "/",
        "domain": HOST,
        "version": 0,
        "port": None,
        "port_specified": False,
    }
    rest = {"domain_specified": True, "domain_initial_dot": False, "path_specified": True, "expires": None}
    jar.set_cookie(Cookie(**cookie, **rest, secure=True, discard=True, comment=None, comment_url=None, rest={}))  # type: ignore[arg-type]
    shop = Shop()
    async with open_server(leave, HOST, 0, **shop.hooks) as server:
        async with connect(f"ws://{HOST}:{server.port}/", cookies=jar):
            pass
    assert shop.seen == [{}]
    assert names(jar) == {"s": "1"}


async def test_cookies_that_make_no_sense_are_ignored() -> None:
    """A server may write what it likes into Set-Cookie; the connection opens."""
    jar = CookieJar()
    fields = [("Set-Cookie", value) for value in ("", ";;;", "=", "a", "a=b; Expires=never; Max-Age=x", "\xff=\xfe")]
    shop = Shop(*fields, ("Set-Cookie", "good=1"), ("Set-Cookie", "other=2; Domain=example.org"))
    async with open_server(leave, HOST, 0, **shop.hooks) as server:
        for _ in range(2):
            async with connect(f"ws://{HOST}:{server.port}/", cookies=jar):
                pass
    assert shop.seen[1].get("good") == "1"
    assert "other" not in names(jar)


@pytest.mark.parametrize("value", [{"a": "b"}, "a=b", [], CookieJar])
def test_cookies_must_be_a_jar(value: Any) -> None:
    """The error says what it must be and what it got."""
    with pytest.raises(TypeError, match=r"cookies must be an http\.cookiejar\.CookieJar, not "):
        connect("ws://test/", cookies=value)


def test_cookies_twice() -> None:
    """As a jar and as a header: one of them would be lost."""
    with pytest.raises(ValueError, match=r"either as cookies=\.\.\. or among the headers"):
        connect("ws://test/", cookies=CookieJar(), headers={"Cookie": "a=b"})


def test_cookies_are_no_burden_for_those_who_have_none() -> None:
    """The jar's module is not imported, and what is none is refused all the same."""
    script = """
import sys, trio_closeevents
assert "http.cookiejar" not in sys.modules
try:
    trio_closeevents.connect("ws://test/", cookies={"a": "b"})
except TypeError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "cookies must be an http.cookiejar.CookieJar, not dict: {'a': 'b'}\n"
