"""One attempt of a client to open a connection, and what all of its attempts have in common."""

from __future__ import annotations

import os
import ssl as stdlib_ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import trio

from ._cookies import cookies_for, is_jar, take_cookies
from ._http import PRIVATE, Headers, HeadersLike, Response
from ._opening import checked_headers
from ._options import Options
from ._protocol.handshake import ClientHandshake, Extensions
from ._proxy import Proxy, ProxyLike, choose_proxy
from ._url import URL, basic_credentials, checked_name

if TYPE_CHECKING:
    from http.cookiejar import CookieJar  # it takes long to import, and few need it

__all__ = ["Address", "Attempt", "Settings", "check_stream_and_address", "checked_cookies", "request_headers"]

Address: TypeAlias = tuple[str, int] | str | os.PathLike[str]

OF_ONE_ORIGIN: Final = PRIVATE | {"host"}  # headers


@dataclass(kw_only=True, eq=False, repr=False)
class Settings:
    """What `connect` was told, checked; the same for every attempt."""

    stream: trio.abc.Stream | None
    address: Address | None
    proxy: ProxyLike
    ssl_context: stdlib_ssl.SSLContext | None
    proxy_ssl_context: stdlib_ssl.SSLContext | None
    server_hostname: str | None
    subprotocols: tuple[str, ...]
    headers: Headers
    user_agent: str | None
    cookies: CookieJar | None
    max_redirects: int
    options: Options

    def proxy_for(self, target: URL) -> Proxy | None:
        if self.stream is not None or isinstance(self.address, str | os.PathLike):
            return None
        return choose_proxy(self.proxy, target)


class Attempt:
    """One request to one server: where it goes, and on what way.

    Attributes:
        is_sent: something of the request may have gone out.
    """

    def __init__(self, target: URL, settings: Settings, before: Attempt | None = None) -> None:
        self.target = target
        self._settings = settings
        # For good: who comes back to the first origin comes on a path that a stranger has chosen.
        self._is_foreign: bool = before is not None and (before._is_foreign or before.target.origin != target.origin)
        self.proxy = settings.proxy_for(target)
        fields = settings.headers.pairs
        if self._is_foreign:
            fields = tuple((name, value) for name, value in fields if name.lower() not in OF_ONE_ORIGIN)
        if settings.cookies is not None and (cookies := cookies_for(target, settings.cookies)) is not None:
            fields = (*fields, ("Cookie", cookies))
        host = next((value for name, value in fields if name.lower() == "host"), target.host_header)
        self.handshake = ClientHandshake(
            host,
            target.target,
            settings.subprotocols,
            Headers((name, value) for name, value in fields if name.lower() != "host"),
            Extensions(settings.options.deflate, settings.options.extensions),
        )
        self.is_sent = False

    @property
    def server_hostname(self) -> str:
        given = self._settings.server_hostname
        return self.target.host if given is None or self._is_foreign else given

    @property
    def ssl_context(self) -> stdlib_ssl.SSLContext:
        """What was given; but strangers see no certificate of ours, and have to have one that everybody trusts."""
        given = self._settings.ssl_context
        return stdlib_ssl.create_default_context() if given is None or self._is_foreign else given

    def take_cookies(self, response: Response | None) -> None:
        """Put what *response* sets into the jar that was given."""
        if self._settings.cookies is not None and response is not None:
            take_cookies(response, self.target, self._settings.cookies)


def check_stream_and_address(stream: trio.abc.Stream | None, address: Address | None) -> None:
    if stream is not None and not isinstance(stream, trio.abc.Stream):
        raise TypeError(f"stream must be a trio.abc.Stream, not {type(stream).__name__}: {stream!r}")
    if address is None:
        return
    if stream is not None:
        raise ValueError("give either stream or address")
    if isinstance(address, str | os.PathLike):
        return
    pair = cast("Sequence[object]", address) if isinstance(address, tuple) else ()
    if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], int):
        raise TypeError(f"address must be (host, port) or the path of a Unix socket, not {address!r}")
    if isinstance(pair[1], bool) or not 1 <= pair[1] <= 0xFFFF:
        raise ValueError(f"address {address!r} has a port out of the range 1-65535")
    try:
        checked_name(pair[0])
    except ValueError as error:
        raise ValueError(f"address {address!r} has a host that is none: {error}") from None


def request_headers(
    headers: HeadersLike, *, origin: str | None, user_agent: str | None, auth: tuple[str, str] | None
) -> Headers:
    fields = checked_headers(headers)
    if len(fields.get_all("host")) > 1:
        raise ValueError("header 'host' may be given once only")
    added: list[tuple[str, str]] = []
    if origin is not None:
        if "origin" in fields:
            raise ValueError("give the origin either as origin=... or among the headers")
        added.append(("Origin", origin))
    if auth is not None:
        if "authorization" in fields:
            raise ValueError("give user name and password either as auth=... or among the headers")
        added.append(("Authorization", basic_credentials(*checked_auth(auth))))
    if user_agent is not None and "user-agent" not in fields:
        added.append(("User-Agent", user_agent))
    return Headers([*fields.pairs, *added]) if added else fields


def checked_auth(auth: object) -> tuple[str, str]:
    parts = cast("Sequence[object]", auth) if isinstance(auth, tuple) else ()
    if len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise TypeError("auth must be a tuple of user name and password, two str")
    return cast("tuple[str, str]", auth)


def checked_cookies(cookies: CookieJar | None, headers: HeadersLike) -> CookieJar | None:
    if cookies is None:
        return None
    if not is_jar(cookies):
        raise TypeError(f"cookies must be an http.cookiejar.CookieJar, not {type(cookies).__name__}: {cookies!r}")
    if "cookie" in Headers(headers):
        raise ValueError("give cookies either as cookies=... or among the headers")
    return cookies
