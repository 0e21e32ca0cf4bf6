"""Proxies: which one a client goes through, and the tunnel that it asks for.

HTTP proxies are asked by CONNECT (RFC 9110 §9.3.6), over TLS if their URL says `https:`; SOCKS is the business of
python-socks. Whatever answers 2xx is a tunnel: what comes behind that answer belongs to the server, and since neither
TLS nor HTTP lets a server speak first, a proxy that sends something there is lying.
"""

from __future__ import annotations

import math
import os
import ssl as stdlib_ssl
import sys
from contextlib import suppress
from importlib import import_module
from typing import Final, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

import h11
import trio

from ._events import CloseCause
from ._http import Response, headers_from_wire
from ._opening import Unopened, why_unreachable
from ._transport import LOST, os_error
from ._url import URL, authority_of, basic_credentials, checked_host, detail, shown, take_credentials

__all__ = ["Proxy", "ProxyLike", "choose_proxy", "open_tunnel"]

ProxyLike: TypeAlias = str | Literal[True] | None

DEFAULT_PORTS: Final = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
RESOLVED_BY_PROXY: Final = frozenset({"socks4a", "socks5h"})
HAS_SETTINGS: Final = sys.platform in ("darwin", "win32")  # the system says it, and not only the environment
MOST_CREDENTIALS: Final = 255  # bytes of a user name, and of a password, for SOCKS
MAX_BODY: Final = 16 * 1024  # bytes of a refusing proxy's explanation that are kept
BODY_TIMEOUT: Final = 1.0  # seconds that it has for that
CHUNK: Final = 16 * 1024

# Which of the system's proxies serves a scheme, the first that there is.
BY_SCHEME: Final = {False: ("ws", "socks", "http", "all"), True: ("wss", "socks", "https", "all")}


class Proxy(NamedTuple):
    """Where a proxy is, and how it is spoken to."""

    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None

    def __repr__(self) -> str:
        return f"Proxy({str(self)!r})"

    def __str__(self) -> str:
        return f"{self.scheme}://{authority_of(self.host, self.port)}"  # without the password

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")


def parse_proxy(text: str, source: str = "proxy") -> Proxy:
    """Take a proxy's URL apart.

    Raises:
        ValueError: it is none; the text names the rule, and shows no password.
    """
    url, credentials = take_credentials(text if "://" in text else f"http://{text}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{source} {shown(url)!r} is malformed{detail(url, error)}") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError(f"{source} {shown(url)!r} has scheme {parts.scheme!r}: use one of {', '.join(DEFAULT_PORTS)}")
    if not host:
        raise ValueError(f"{source} {shown(url)!r} has no host")
    if port == 0:
        raise ValueError(f"{source} {shown(url)!r} has port 0: the range is 1-65535")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{source} {shown(url)!r} has more than scheme, host and port")
    if parts.scheme.startswith("socks"):
        check_socks(url, credentials)
    elif credentials is not None:
        basic_credentials(*credentials)  # raises if they cannot be sent
    return Proxy(parts.scheme, checked_host(host, parts.netloc, url), port or DEFAULT_PORTS[parts.scheme], credentials)


def check_socks(url: str, credentials: tuple[str, str] | None) -> None:
    if credentials is not None and max(map(len, credentials)) > MOST_CREDENTIALS:
        raise ValueError(f"proxy {url!r} has a user name or password over {MOST_CREDENTIALS} bytes (RFC 1929 §2)")
    if credentials is not None and not "".join(credentials).isascii():
        raise ValueError(
            f"proxy {url!r} has a user name or password that is not ASCII: python-socks has no way to send it"
        )
    try:
        import_module("python_socks")
    except ImportError as error:
        raise ImportError(
            f"proxy {url!r} needs python-socks: install trio-closeevents[proxy], or give proxy=None"
        ) from error


def choose_proxy(proxy: ProxyLike, target: URL) -> Proxy | None:
    """Return the proxy for *target*: the given one, with `True` the one that the system has for it, or none.

    Raises:
        TypeError, ValueError: *proxy* is no proxy's URL, or the system's is none.
        ImportError: it is a SOCKS proxy, and python-socks is not installed.
    """
    if proxy is None:
        return None
    if isinstance(proxy, str):
        return parse_proxy(proxy)
    if proxy is not True:
        raise TypeError(f"proxy must be a URL, True for that of the environment, or None, not {proxy!r}")
    return systems_proxy(target)


def systems_proxy(target: URL) -> Proxy | None:
    if not HAS_SETTINGS and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # it takes long to import

    proxies = getproxies()
    name = next((each for each in BY_SCHEME[target.secure] if proxies.get(each)), None)
    if name is None or proxy_bypass(authority_of(target.host, target.port)):
        return None
    return parse_proxy(proxies[name], f"the environment's {name}_proxy")


async def open_tunnel(
    proxy: Proxy, host: str, port: int, *, ssl_context: stdlib_ssl.SSLContext | None, user_agent: str | None
) -> trio.abc.Stream:
    """Connect to *host* and *port* through *proxy*.

    Raises:
        Unopened: that did not work; the text names the proxy.
    """
    if proxy.is_socks:
        return await open_socks(proxy, host, port)
    stream: trio.abc.Stream = await reach(proxy)
    done = False
    try:
        if proxy.scheme == "https":
            stream = await secure(stream, proxy, ssl_context)
        await ask_for_tunnel(stream, proxy, authority_of(host, port), user_agent)
        done = True
    except LOST as error:
        cause = os_error(error)
        raise Unopened(f"the proxy {proxy} was lost: {cause}", CloseCause.RESET) from cause
    except h11.ProtocolError as error:
        raise Unopened(f"the proxy {proxy} sent a malformed answer: {error}", CloseCause.MALFORMED) from error
    finally:
        if not done:
            await trio.aclose_forcefully(stream)
    return stream


async def open_socks(proxy: Proxy, host: str, port: int) -> trio.SocketStream:
    from python_socks import ProxyError, ProxyType
    from python_socks.async_.trio import Proxy as Socks

    version = ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5
    username, password = proxy.credentials or (None, None)
    socks = Socks(version, proxy.host, proxy.port, username, password, rdns=proxy.scheme in RESOLVED_BY_PROXY)
    try:
        return trio.SocketStream(await socks.connect(host, port, timeout=math.inf))
    except (ProxyError, ValueError) as error:  # python-socks: names that it cannot write, and answers it cannot read
        raise Unopened(f"the proxy {proxy} refused: {error}", CloseCause.REJECTED) from error
    except OSError as error:
        raise Unopened(f"the proxy {proxy} cannot be reached: {why_unreachable(error)}", CloseCause.REFUSED) from error


async def reach(proxy: Proxy) -> trio.SocketStream:
    try:
        return await trio.open_tcp_stream(proxy.host, proxy.port)
    except OSError as error:
        raise Unopened(f"the proxy {proxy} cannot be reached: {why_unreachable(error)}", CloseCause.REFUSED) from error


async def secure(
    stream: trio.abc.Stream, proxy: Proxy, ssl_context: stdlib_ssl.SSLContext | None
) -> trio.SSLStream[trio.abc.Stream]:
    secured = trio.SSLStream(stream, ssl_context or stdlib_ssl.create_default_context(), server_hostname=proxy.host)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        cause = os_error(error)
        raise Unopened(f"the TLS handshake with the proxy {proxy} failed: {cause}", CloseCause.TLS) from cause
    return secured


async def ask_for_tunnel(stream: trio.abc.Stream, proxy: Proxy, authority: str, user_agent: str | None) -> None:
    fields = [("Host", authority)]
    if user_agent is not None:
        fields.append(("User-Agent", user_agent))
    if proxy.credentials is not None:
        fields.append(("Proxy-Authorization", basic_credentials(*proxy.credentials)))
    http = h11.Connection(h11.CLIENT)
    request = http.send(h11.Request(method="CONNECT", target=authority, headers=fields))
    await stream.send_all((request or b"") + (http.send(h11.EndOfMessage()) or b""))
    event = await next_event(stream, http)
    while isinstance(event, h11.InformationalResponse):
        event = await next_event(stream, http)
    if not isinstance(event, h11.Response):
        raise Unopened(f"the proxy {proxy} hung up before its answer was whole", CloseCause.EOF)
    if not 200 <= event.status_code < 300:
        answer = await refusal(stream, http, event)
        status = f"{answer.status} {answer.phrase}".rstrip()
        raise Unopened(f"the proxy {proxy} answered {status}", CloseCause.REJECTED, answer)
    if behind := http.trailing_data[0]:
        raise h11.RemoteProtocolError(f"{len(behind)} bytes stand behind it")


async def next_event(stream: trio.abc.Stream, http: h11.Connection) -> h11.Event | type[h11.PAUSED] | None:
    """Return what comes next, `None` if the proxy has hung up."""
    while (event := http.next_event()) is h11.NEED_DATA:
        if not (data := bytes(await stream.receive_some(CHUNK))):
            return None
        http.receive_data(data)
    return cast("h11.Event | type[h11.PAUSED]", event)


async def refusal(stream: trio.abc.Stream, http: h11.Connection, head: h11.Response) -> Response:
    """Return what the proxy has to say, as far as it says it."""
    body = b""
    with trio.move_on_after(BODY_TIMEOUT), suppress(*LOST, h11.ProtocolError):
        while len(body) < MAX_BODY and isinstance(event := await next_event(stream, http), h11.Data):
            body += bytes(event.data)
    if not 200 <= head.status_code <= 599:
        raise h11.RemoteProtocolError(f"status {head.status_code}")
    try:
        return Response(head.status_code, headers_from_wire(head.headers.raw_items()), body[:MAX_BODY])
    except ValueError as error:
        raise h11.RemoteProtocolError(str(error)) from error
