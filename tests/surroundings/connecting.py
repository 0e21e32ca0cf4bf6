"""What surrounds the fragments of the page about connecting."""

from __future__ import annotations

from http.cookiejar import Cookie, CookieJar

from surroundings import Fragment
from surroundings.common import echo, url_of
from trio_closeevents import Request, Response, WebSocket, open_server

__all__ = ["a_login", "a_refusal"]


async def a_login(fragment: Fragment) -> None:
    """`CookieJar`, `log_in(jar)`, and the `url` of a server that wants the cookie of it."""
    seen = []

    async def handler(ws: WebSocket) -> None:
        assert ws.request is not None
        seen.append(dict(ws.request.cookies))

    def log_in(jar: CookieJar) -> None:
        jar.set_cookie(
            Cookie(
                *(0, "session", "s3cret", None, False, "127.0.0.1", False, False, "/", True),
                *(False, None, True, None, None, {}),
            )
        )

    async with open_server(handler, "127.0.0.1", 0) as server:
        await fragment(url=url_of(server), CookieJar=CookieJar, log_in=log_in)
    assert seen == [{"session": "s3cret"}]


async def a_refusal(fragment: Fragment) -> None:
    """`url`: a server that wants a login."""

    def refuse(request: Request) -> Response:
        return Response(401, body="log in first\n")

    async with open_server(echo, "127.0.0.1", 0, process_request=refuse) as server:
        await fragment(url=url_of(server))
    assert fragment.printed == "log in first\n\n"
