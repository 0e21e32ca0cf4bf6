"""Cookies of a client, which the standard library's jar keeps: whom they belong to, and for how long (RFC 6265)."""

from __future__ import annotations

import sys
from email.message import Message
from typing import TYPE_CHECKING, cast

from ._http import Response
from ._url import URL

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from http.cookiejar import CookieJar
    from urllib.request import Request

__all__ = ["cookies_for", "is_jar", "take_cookies"]


def is_jar(cookies: object) -> bool:
    """Tell whether *cookies* is a jar; nobody has one who has not imported the module."""
    module = sys.modules.get("http.cookiejar")
    return module is not None and isinstance(cookies, module.CookieJar)


def cookies_for(target: URL, jar: CookieJar) -> str | None:
    """Return the value of the `Cookie` header of a request to *target*; `None` if there is nothing to say."""
    request = request_to(target)
    jar.add_cookie_header(request)
    return request.get_header("Cookie")


def take_cookies(response: Response, target: URL, jar: CookieJar) -> None:
    """Put what *response* of *target* sets into *jar*."""
    jar.extract_cookies(cast("HTTPResponse", Answer(response)), request_to(target))


def request_to(target: URL) -> Request:
    """Return a request as the jar wants to see it."""
    from urllib.request import Request  # the jar has imported it

    return Request(f"http{'s' * target.secure}://{target.host_header}{target.target}")


class Answer:
    """What the jar wants to see of a response."""

    def __init__(self, response: Response) -> None:
        self._headers = Message()
        for name, value in response.headers.pairs:
            self._headers[name] = value

    def info(self) -> Message:
        return self._headers
