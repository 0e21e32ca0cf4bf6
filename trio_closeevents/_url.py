"""WebSocket URLs (RFC 6455 §3)."""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

__all__ = [
    "URL",
    "authority_of",
    "basic_credentials",
    "checked_host",
    "checked_name",
    "detail",
    "parse_url",
    "shown",
    "take_credentials",
]

DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f]")
FORBIDDEN_IN_HOST: Final = re.compile(r"[^!-~]|[%<>\[\\\]^|]")
CREDENTIALS: Final = re.compile(r"[^/?#]*//[^/?#]*@")
# What a request may have as it is: more than RFC 3986 allows, since a URL that the web has serialised goes unchanged.
LEFT_IN_PATH: Final = "/%:@!$&'()*+,;=~-._[]|"
LEFT_IN_QUERY: Final = LEFT_IN_PATH + "?\\^`{}"
BRACKETED: Final = re.compile(r"\[[^\[\]]*\](:[0-9]*)?")


class URL(NamedTuple):
    """Where to connect to, and what to ask for there."""

    secure: bool
    host: str  # ASCII; an IPv6 address without brackets
    port: int
    target: str  # path and query, percent-encoded

    @property
    def host_header(self) -> str:
        """The value of the `Host` header: without the port if it is the scheme's own (RFC 6455 §4.1)."""
        return authority_of(self.host, self.port, default=DEFAULT_PORTS["wss" if self.secure else "ws"])

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What two URLs have in common that may share credentials (RFC 6454 §4)."""
        return self.secure, self.host, self.port

    def __str__(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self.host_header}{self.target}"


def parse_url(url: str) -> URL:
    """Take a `ws:` or `wss:` URL apart.

    Raises:
        TypeError: *url* is not a `str`.
        ValueError: it is not a WebSocket URL; the text names the rule.
    """
    if not isinstance(url, str):
        raise TypeError(f"URL must be a str, not {type(url).__name__}: {url!r}")
    if CREDENTIALS.match(url):  # before any message that would show them
        raise ValueError("URL has a user name or password where none may stand")
    if FORBIDDEN.search(url):
        raise ValueError(f"URL {shown(url)!r} has white space or control characters: percent-encode them")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        url.encode()
    except ValueError as error:
        raise ValueError(f"URL {shown(url)!r} is malformed{detail(url, error)}") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError(f"URL {shown(url)!r} has scheme {parts.scheme!r}: use ws: or wss:")
    if "#" in url:
        raise ValueError(f"URL {shown(url)!r} has a fragment, which a WebSocket URL may not have (RFC 6455 §3)")
    if not host:
        raise ValueError(f"URL {shown(url)!r} has no host")
    if port == 0:
        raise ValueError(f"URL {shown(url)!r} has port 0: the range is 1-65535")
    target = quote(parts.path or "/", safe=LEFT_IN_PATH)
    if parts.query or url.endswith("?"):
        target += "?" + quote(parts.query, safe=LEFT_IN_QUERY)
    host = checked_host(host, parts.netloc, url)
    return URL(parts.scheme == "wss", host, port or DEFAULT_PORTS[parts.scheme], target)


def take_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return *url* without the user name and password in it, and these (RFC 3986 §3.2.1), percent-decoded.

    So nothing that shows the URL later shows them.
    """
    if (found := CREDENTIALS.match(url)) is None:
        return url, None
    before, _, userinfo = found[0][:-1].partition("//")
    name, _, password = userinfo.partition(":")
    return f"{before}//{url[found.end() :]}", (unquote(name), unquote(password))


def shown(url: str) -> str:
    """Return *url* as an error may show it: what may be a password in one that is malformed is left out."""
    before, at, behind = url.rpartition("@")
    if not at:
        return url
    scheme, colon, _ = before.partition(":")
    return f"{scheme if colon else ''}{colon}...@{behind}"


def detail(url: str, error: Exception) -> str:
    """Return what an error adds to "malformed", unless that might be a piece of a password."""
    return "" if "@" in url else f": {error}"


def checked_name(host: str) -> str:
    """Return a host's name or address in ASCII, as it can be connected to.

    Raises:
        ValueError: it is neither.
    """
    if ":" in host:
        ipaddress.IPv6Address(host.partition("%")[0])
        return host
    name = host.encode("idna").decode("ascii")
    if not name:
        raise ValueError("it is empty")
    if (bad := FORBIDDEN_IN_HOST.search(name)) is not None:
        raise ValueError(f"no domain name has the character {bad[0]!r}")
    return name


def basic_credentials(username: str, password: str) -> str:
    """Return the header's value for HTTP basic authentication (RFC 7617).

    Raises:
        ValueError: *username* has a colon, or either has a control character.
    """
    if ":" in username:
        raise ValueError("a user name for basic authentication has no colon (RFC 7617 §2)")
    if not (username + password).isprintable():
        raise ValueError("a user name or password for basic authentication has no control characters (RFC 7617 §2)")
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def authority_of(host: str, port: int, *, default: int | None = None) -> str:
    """Return host and port as one text, the port only if it is not *default*."""
    host = f"[{host}]" if ":" in host else host
    return host if port == default else f"{host}:{port}"


def checked_host(host: str, netloc: str, url: str) -> str:
    """Return the *host* of a URL in ASCII.

    Raises:
        ValueError: it is neither a domain name nor an address.
    """
    return checked_address(host, netloc, url) if "[" in netloc else ascii_name(host, url)


def checked_address(host: str, netloc: str, url: str) -> str:
    try:
        if BRACKETED.fullmatch(netloc) and "%" not in host:
            ipaddress.IPv6Address(host)
            return host
    except ValueError:
        pass
    raise ValueError(f"URL {shown(url)!r} is malformed: only an IPv6 address, without a zone, may stand in brackets")


def ascii_name(host: str, url: str) -> str:
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"URL {shown(url)!r} has host {host!r}, which is no domain name: {error}") from None
    if (bad := FORBIDDEN_IN_HOST.search(name)) is not None:
        raise ValueError(f"URL {shown(url)!r} has host {host!r}, and no domain name has the character {bad[0]!r}")
    return name
