"""`basic_auth`: a server that asks for user name and password."""

from __future__ import annotations

import hmac
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from ._http import Request, Response

__all__ = ["CheckCredentials", "basic_auth"]

CheckCredentials: TypeAlias = Callable[[str, str], "bool | Awaitable[bool]"]


def basic_auth(
    known: Mapping[str, str] | CheckCredentials, *, realm: str = "WebSocket"
) -> Callable[[Request], Awaitable[Response | None]]:
    """Return a `process_request` that lets in who knows a password (RFC 7617); others are answered 401.

    A handler finds the user's name in `ws.request.credentials`. Without TLS everybody on the way can read the password.

    Args:
        known: passwords by user name, as they are now, which are compared in a time that tells nothing of them; or a
            function, async or not, that gets user name and password and returns whether they are right.
        realm: what the password is for; a browser shows it.

    Raises:
        TypeError, ValueError: an argument cannot be what it has to be.
    """
    if not isinstance(realm, str):
        raise TypeError(f"realm must be a str, not {type(realm).__name__}: {realm!r}")
    if not (realm.isascii() and realm.isprintable()) or {'"', "\\"} & set(realm):
        raise ValueError(f"realm {realm!r} has a character that may not stand between quotes in a header")
    check = known if callable(known) else among(known)
    challenge = {"WWW-Authenticate": f'Basic realm="{realm}", charset="UTF-8"'}

    async def process_request(request: Request) -> Response | None:
        credentials = request.credentials
        if credentials is not None:
            answer = check(*credentials)
            if await answer if inspect.isawaitable(answer) else answer:
                return None
        return Response(401, challenge, "user name and password, please\n")

    return process_request


def among(passwords: Mapping[str, str]) -> Callable[[str, str], bool]:
    if not isinstance(passwords, Mapping):
        raise TypeError(f"the passwords must be a mapping, or a function, not {type(passwords).__name__}")
    for name, password in passwords.items():
        if not isinstance(name, str) or not isinstance(password, str):
            raise TypeError(f"user names and passwords must be str, and those of {name!r} are not")
    encoded = {name: password.encode() for name, password in passwords.items()}

    def check(name: str, password: str) -> bool:
        right = encoded.get(name)
        # An unknown name takes as long as a wrong password.
        return hmac.compare_digest(b"" if right is None else right, password.encode()) and right is not None

    return check
