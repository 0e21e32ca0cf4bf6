"""What a server does with every connection: names, defaults and checks of its options."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, Final, TypeAlias

from ._connection import WebSocket
from ._events import CloseEvent
from ._forwarded import TrustedProxies
from ._http import Headers, HeadersLike, Request, Response
from ._opening import check_subprotocols, checked_headers
from ._options import Function, Options, OptionsDict, spell_out
from ._version import USER_AGENT

__all__ = [
    "OnClose",
    "Origin",
    "ProcessRequest",
    "ProcessResponse",
    "SelectSubprotocol",
    "ServerOptions",
    "ServerOptionsDict",
    "server_options",
    "takes_server_options",
]

ProcessRequest: TypeAlias = Callable[[Request], "Response | Awaitable[Response | None] | None"]
ProcessResponse: TypeAlias = Callable[[Request, Response], "Response | None"]
SelectSubprotocol: TypeAlias = Callable[[Request], "str | Awaitable[str | None] | None"]
OnClose: TypeAlias = Callable[[WebSocket, CloseEvent], object]
Origin: TypeAlias = str | re.Pattern[str] | None

ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#A-Z\s]+")


class ServerOptionsDict(OptionsDict, total=False):
    """`ServerOptions` and `Options`, as keyword arguments."""

    origins: Iterable[Origin] | None
    subprotocols: Iterable[str]
    select_subprotocol: SelectSubprotocol | None
    headers: HeadersLike
    server_header: str | None
    process_request: ProcessRequest | None
    process_response: ProcessResponse | None
    on_close: OnClose | None
    trusted_proxies: TrustedProxies | None


@dataclass(kw_only=True, eq=False, repr=False)
class ServerOptions:
    """What a server does with every connection; `accept` has the meaning of each."""

    options: Options
    origins: Iterable[Origin] | None = None
    subprotocols: Iterable[str] = ()
    select_subprotocol: SelectSubprotocol | None = None
    headers: HeadersLike = ()
    server_header: str | None = USER_AGENT
    process_request: ProcessRequest | None = None
    process_response: ProcessResponse | None = None
    on_close: OnClose | None = None
    trusted_proxies: TrustedProxies | None = None

    def __post_init__(self) -> None:
        self.subprotocols = check_subprotocols(self.subprotocols)
        self.origins = None if self.origins is None else check_origins(self.origins)
        for name in ("select_subprotocol", "process_request", "process_response", "on_close"):
            hook = getattr(self, name)
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} must be a function, not {type(hook).__name__}: {hook!r}")
        if self.trusted_proxies is not None and not isinstance(self.trusted_proxies, TrustedProxies):
            raise TypeError(f"trusted_proxies must be TrustedProxies(...) or None, not {self.trusted_proxies!r}")
        if self.subprotocols and self.select_subprotocol is not None:
            raise ValueError("give either subprotocols or select_subprotocol")
        fields = checked_headers(self.headers)
        if self.server_header is not None and "server" not in fields:
            fields = Headers([*fields.pairs, ("Server", self.server_header)])
        self.fields = fields

    def allows(self, origin: str | None) -> bool:
        """Tell whether a request from *origin* is welcome."""
        if self.origins is None:
            return True
        return any(matches(each, origin) for each in self.origins)


def matches(allowed: Origin, origin: str | None) -> bool:
    if isinstance(allowed, re.Pattern):
        return origin is not None and allowed.fullmatch(origin) is not None
    return allowed == origin


def server_options(given: ServerOptionsDict) -> ServerOptions:
    """Check what `accept`, `open_server` or `serve` was told."""
    rest: dict[str, Any] = dict(given)
    own = {each.name: rest.pop(each.name) for each in dataclass_fields(ServerOptions) if each.name in rest}
    return ServerOptions(options=Options(**rest), **own)


def takes_server_options(function: Function) -> Function:
    """Let `help()` and editors show every option of a server that *function* takes as `**options`."""
    return spell_out(function, ServerOptions, Options)


def check_origins(origins: Iterable[Origin]) -> tuple[Origin, ...]:
    """Check an allow-list.

    Raises:
        TypeError: not an iterable of `str`, patterns of `str` and `None`; a single `str` is refused too.
        ValueError: a `str` is not as browsers write an origin (RFC 6454 §6.2).
    """
    if isinstance(origins, str):
        raise TypeError(f"origins must be a list, not one str: use [{origins!r}]")
    checked = tuple(origins)
    for each in checked:
        is_pattern = isinstance(each, re.Pattern) and isinstance(each.pattern, str)
        if each is not None and not isinstance(each, str) and not is_pattern:
            raise TypeError(f"an origin must be a str, a pattern of str, or None for none, not {each!r}")
        if isinstance(each, str) and each != "null" and not ORIGIN.fullmatch(each):
            raise ValueError(
                f"origin {each!r} can never match: write scheme://host or scheme://host:port, in lower case"
            )
    return checked
