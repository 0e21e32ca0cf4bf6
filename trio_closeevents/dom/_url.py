"""URLs as the web platform understands them (WHATWG URL), and what a WebSocket makes of one; names of subprotocols.

The parser is `ada`, which browsers and Node.js trust. The standard library's parser knows another standard: it takes
`ws://h/a b`, `ws:\\\\h`, `ws://0x7f.1` or `ws://[` for something else than a browser does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, cast

from ._exceptions import SyntaxError
from ._webidl import dom_string, usv_string

__all__ = ["Place", "checked_protocols", "parse_url"]

LIKE_HTTP: Final = {"http": "ws", "https": "wss"}
SCHEMES: Final = frozenset({"ws", "wss"})
TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 6455 §4.1, item 10


class Place(NamedTuple):
    """Where a WebSocket connects to: the URL, serialised, and its origin."""

    href: str
    origin: str


def parse_url(url: str) -> Place:
    """Parse *url* (WHATWG WebSockets, the constructor, steps 1 to 6).

    Raises:
        TypeError: it is no `str`.
        SyntaxError: it is no URL, it has another scheme or a fragment, or it is relative: there is no base URL.
        ImportError: the extra `dom` is missing.
    """
    if not isinstance(url, str):
        raise TypeError(f"URL must be a str, not {type(url).__name__}: {url!r}")
    try:
        from ada_url import URL
    except ImportError as error:
        text = 'trio_closeevents.dom parses URLs with ada-url: pip install "trio-closeevents[dom]"'
        raise ImportError(text) from error
    try:
        record = URL(usv_string(url, "URL"))
    except ValueError:
        raise SyntaxError(f"{shown(url)} is no URL by itself, and there is no base URL here") from None
    scheme, _, rest = record.href.partition(":")
    scheme = LIKE_HTTP.get(scheme, scheme)
    if scheme not in SCHEMES:
        raise SyntaxError(f"URL {shown(url)} has scheme {scheme!r}: use ws:, wss:, http: or https:")
    if "#" in rest:
        raise SyntaxError(f"URL {shown(url)} has a fragment, which a WebSocket URL may not have (RFC 6455 §3)")
    return Place(f"{scheme}:{rest}", f"{scheme}://{record.host}")


def shown(url: str) -> str:
    """Return *url* as an error may show it, without what may be a password."""
    before, at, behind = url.rpartition("@")
    if not at:
        return repr(url)
    return repr(f"{before.partition(':')[0]}:...@{behind}")


def checked_protocols(protocols: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of the subprotocols to ask for (the constructor, steps 7 and 8).

    Raises:
        TypeError: *protocols* is neither a `str` nor a list of them.
        SyntaxError: a name is empty, has a character that none may have, or is there twice; case does not count.
    """
    if isinstance(protocols, str):
        protocols = (protocols,)
    if not isinstance(protocols, Iterable):
        raise TypeError(f"protocols must be a str or a list of them, not {type(protocols).__name__}: {protocols!r}")
    names = tuple(dom_string(each, "subprotocol") for each in cast("Iterable[object]", protocols))
    seen: set[str] = set()
    for name in names:
        if TOKEN.fullmatch(name) is None:
            raise SyntaxError(f"subprotocol {name!r} is no token: letters, digits and !#$%&'*+-.^_`|~ make one")
        if name.lower() in seen:
            raise SyntaxError(f"subprotocol {name!r} is there twice in {names!r}")
        seen.add(name.lower())
    return names
