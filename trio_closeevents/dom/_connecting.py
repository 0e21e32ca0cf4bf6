"""What a socket of this package hands to `connect`: the options of a client, with a browser's defaults."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from trio_closeevents import Headers, Options, OptionsDict, WebSocket, connect

from ._url import Place

if TYPE_CHECKING:
    import ssl
    from http.cookiejar import CookieJar

__all__ = ["OPTIONS", "ClientOptions", "Connecting", "prepare"]

Connecting: TypeAlias = AbstractAsyncContextManager[WebSocket]


class ClientOptions(OptionsDict, total=False):
    """What `trio_closeevents.connect` takes, as keyword arguments."""

    stream: trio.abc.Stream | None
    address: tuple[str, int] | str | os.PathLike[str] | None
    proxy: str | bool | None
    ssl_context: ssl.SSLContext | None
    proxy_ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]]
    origin: str | None
    user_agent: str | None
    auth: tuple[str, str] | None
    cookies: CookieJar | None


# A page has no limits but these: Chromium 156 waits 240 s for a handshake, and 60 s for an answer to its Close.
DEFAULTS: Final[OptionsDict] = {
    "max_message_size": None,
    "max_fragments": None,
    "open_timeout": 240,
    "close_timeout": 60,
    "ping_interval": None,
    "compression": "deflate",
}
NOT_HERE: Final = {
    "subprotocols": "they are the argument protocols",
    "max_redirects": "redirects are never followed",
    "cancel_on_close": "the event 'close' tells of the end",
}
# What a socket of this package takes as `**options`, with the defaults that it has here.
OPTIONS: Final = [
    each.replace(default=DEFAULTS.get(name, each.default))
    for name, each in signature(connect).parameters.items()
    if name in ClientOptions.__optional_keys__ and name not in NOT_HERE
]


def prepare(
    place: Place, protocols: tuple[str, ...], options: Mapping[str, Any]
) -> tuple[Connecting | ValueError, Options]:
    """Return the connection to be opened, and its options; an error if nobody can connect to such a URL.

    Raises:
        TypeError, ValueError: an option cannot work.
    """
    for name, why in NOT_HERE.items():
        if name in options:
            raise TypeError(f"there is no option {name!r} here: {why}")
    given: dict[str, Any] = {**DEFAULTS, **options}
    arguments: dict[str, Any] = {"subprotocols": protocols, "max_redirects": 0, **given}
    checked = Options(**{name: value for name, value in given.items() if name in OptionsDict.__annotations__})
    try:
        return connect(place.href, **arguments), checked
    except ValueError as error:
        # Is it the URL (port 0, a user name with a colon), which makes a page's connection fail, or an option?
        connect(f"{place.href.partition(':')[0]}://localhost/", **arguments)
        return error, checked
