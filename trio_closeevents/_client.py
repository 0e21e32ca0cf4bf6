"""The client: `connect`.

Theory. An attempt is one stream, one request and one answer. A redirect begins another attempt, with the same options
and the same time limit; what may not be shown to a stranger (credentials, cookies) stays behind when it leads to
another origin. Who reaches the server, and how, is decided before: a given stream, another address, a proxy, plain TCP.
"""

from __future__ import annotations

import os
import ssl as stdlib_ssl
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, Unpack, cast
from urllib.parse import urljoin

import trio

from ._attempt import Address, Attempt, Settings, check_stream_and_address, checked_cookies, request_headers
from ._block import WebSocketBlock
from ._connection import WebSocket
from ._errors import HandshakeError, HandshakeRejected, HandshakeTimeout, raise_unchanged, unwrapped
from ._events import CloseCause
from ._http import HeadersLike, Response
from ._opening import Opening, Unopened, check_ssl_context, check_subprotocols, open_session, unopened, why_unreachable
from ._options import Options, OptionsDict, check_names, takes_options
from ._policy import leaves
from ._protocol.handshake import BadResponse
from ._proxy import ProxyLike, open_tunnel
from ._runs import check_trio
from ._transport import LOST, Transport, os_error
from ._url import URL, checked_name, parse_url, take_credentials
from ._version import USER_AGENT

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

__all__ = ["connect"]

Error = TypeVar("Error", bound=HandshakeError)

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})  # RFC 9110 §15.4
LIKE_HTTP: Final = {"http": "ws", "https": "wss"}  # where the scheme of one is meant, the other is written


@takes_options
def connect(
    url: str,
    *,
    stream: trio.abc.Stream | None = None,
    address: Address | None = None,
    proxy: ProxyLike = True,
    ssl_context: stdlib_ssl.SSLContext | None = None,
    proxy_ssl_context: stdlib_ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    subprotocols: Iterable[str] = (),
    headers: HeadersLike = (),
    origin: str | None = None,
    user_agent: str | None = USER_AGENT,
    auth: tuple[str, str] | None = None,
    cookies: CookieJar | None = None,
    max_redirects: int = 10,
    **options: Unpack[OptionsDict],
) -> AbstractAsyncContextManager[WebSocket]:
    """Open a WebSocket connection for a block: `async with connect("wss://host/path") as ws: ...`.

    Leaving the block ends the connection, whatever the peer does: 1000 if it returned, 1011 if an exception left it,
    1001 if it was cancelled. If the opening is cancelled, nothing of the WebSocket protocol was sent but the
    handshake's request, and nothing is left behind.

    Redirects are followed (RFC 9110 §15.4), never from `wss:` to `ws:`. To another origin no credentials go along:
    neither *auth* nor *ssl_context*, nor `Authorization`, `Cookie`, `Proxy-Authorization` and `Host` of *headers*.

    Args:
        url: `ws:` or `wss:`; may have a user name and password, which is the same as *auth*. May be an IRI.
        stream: use this connected stream in place of TCP. It belongs to the connection from now on. For `wss:`, TLS is
            spoken over it, unless it is a `trio.SSLStream` already. Redirects are not followed, since there is but one.
        address: connect to this host and port, or to this Unix socket, in place of the URL's host; all else stays as
            the URL has it. Redirects to another origin are not followed.
        proxy: the URL of an HTTP proxy (`http:`, or `https:` for TLS to the proxy itself; CONNECT) or a SOCKS proxy
            (`socks4:`, `socks4a:`, `socks5:`, `socks5h:`; extra `proxy`), with user name and password if it wants some.
            `True`: what the environment says (`wss_proxy`, `https_proxy` and the like, `no_proxy`), on macOS and
            Windows also the system's settings; `None`: none. Not used for *stream* and Unix sockets.
        ssl_context: for `wss:`; `ssl.create_default_context()` if `None`.
        proxy_ssl_context: the same for TLS to an `https:` proxy.
        server_hostname: for `wss:`, the name that the server's certificate must have, if it is not the URL's host.
        subprotocols: what to offer, in order of preference.
        headers: header fields to add to the request; `Host` replaces the URL's.
        origin: the value of the `Origin` header.
        user_agent: that of the `User-Agent` header; `None` sends none.
        auth: user name and password for HTTP basic authentication (RFC 7617).
        cookies: a jar of the standard library: what is in it for the server, and for those that redirects lead to, is
            sent; what they set is put into it, by an answer that rejects too.
        max_redirects: how many redirects are followed; with 0 none is.
        **options: see `Options`; the same for `serve`, `open_server` and `accept`.

    Raises:
        TypeError, ValueError: at the call, for an argument that cannot work; nothing was sent.
        ImportError: at the call, for a SOCKS proxy without the extra `proxy`.
        HandshakeError: at the start of the block, if no connection came about; `close_event.cause` tells why.
    """
    check_names(connect, options)
    checked = Options(**options)
    if not isinstance(url, str):
        raise TypeError(f"URL must be a str, not {type(url).__name__}: {url!r}")
    url, credentials = take_credentials(url)
    target = parse_url(url)
    check_stream_and_address(stream, address)
    for name, context in (("ssl_context", ssl_context), ("proxy_ssl_context", proxy_ssl_context)):
        if context is not None:
            check_ssl_context(context, server_side=False, name=name)
    for name, value in (("ssl_context", ssl_context), ("server_hostname", server_hostname)):
        if value is not None and not target.secure:
            raise ValueError(f"{name} goes with wss:, and the URL is {url!r}")
    if server_hostname is not None and not isinstance(server_hostname, str):
        raise TypeError(f"server_hostname must be a str, not {type(server_hostname).__name__}: {server_hostname!r}")
    if not isinstance(max_redirects, int) or isinstance(max_redirects, bool):
        raise TypeError(f"max_redirects must be an int, not {type(max_redirects).__name__}: {max_redirects!r}")
    if max_redirects < 0:
        raise ValueError(f"max_redirects must not be negative, not {max_redirects}")
    if auth is not None and credentials is not None:
        raise ValueError("give user name and password either as auth=... or in the URL")
    settings = Settings(
        stream=stream,
        address=address,
        proxy=proxy,
        ssl_context=ssl_context,
        proxy_ssl_context=proxy_ssl_context,
        server_hostname=server_hostname,
        subprotocols=check_subprotocols(subprotocols),
        headers=request_headers(headers, origin=origin, user_agent=user_agent, auth=auth or credentials),
        user_agent=user_agent,
        cookies=checked_cookies(cookies, headers),
        max_redirects=max_redirects,
        options=checked,
    )
    return Connecting(url, target, settings)


class Connecting(WebSocketBlock):
    """A client's connection, from the first packet on."""

    def __init__(self, url: str, target: URL, settings: Settings) -> None:
        super().__init__(settings.options)
        self._url = url
        self._settings = settings
        self._first = target
        self._attempt = Attempt(target, settings)

    def __repr__(self) -> str:
        return f"connect({self._url!r})"

    # What other libraries have. `connect` does not promise these, so that type checkers refuse them as well.
    def __await__(self) -> NoReturn:
        raise TypeError("a connection cannot outlive its block: write `async with connect(...) as ws:`")

    def __aiter__(self) -> NoReturn:
        raise TypeError("connect opens one connection: `await stay_connected(url, session)` opens one after another")

    async def _open(self) -> WebSocket:
        check_trio()
        websocket: WebSocket | None = None
        with trio.move_on_after(self._options.open_timeout):
            redirects = 0
            while (websocket := await self._try()) is None:
                redirects += 1
                self._follow(redirects)
        if websocket is not None:
            del self._attempt, self._settings  # they are large, and this lives as long as the connection
            return websocket
        if self._attempt.handshake.rejection is not None:
            raise self._rejected(self._attempt.handshake.rejection)  # its body was late, its status was not
        raise self._failed("open_timeout passed", CloseCause.TIMEOUT)

    async def _try(self) -> WebSocket | None:
        """Return the connection, or `None` if the answer is a redirect."""
        opening = Opening(self._settings.stream)
        websocket: WebSocket | None = None
        try:
            websocket = await self._shake_hands(await self._reach(opening))
        except Unopened as error:
            raise self._failed(str(error), error.cause, error.response) from error.__cause__
        finally:
            if websocket is None:
                await opening.abandon()
        return websocket

    def _follow(self, number: int) -> None:
        """Make the next attempt one that goes where the answer points."""
        before = self._attempt.target
        response = cast("Response", self._attempt.handshake.rejection)
        base = f"http{'s' * before.secure}://{before.host_header}{before.target}"  # `urljoin` does not know ws:
        try:
            scheme, colon, rest = urljoin(base, response.headers["location"]).partition(":")
            place, _ = take_credentials(LIKE_HTTP.get(scheme.lower(), scheme) + colon + rest.partition("#")[0])
            target = parse_url(place)
        except ValueError as error:
            raise self._rejected(response, f"which leads nowhere: {error}") from error
        if number > self._settings.max_redirects:
            raise self._rejected(response, f"and max_redirects is {self._settings.max_redirects}")
        if before.secure and not target.secure:
            raise self._rejected(response, f"to {target}, which is not followed: it has no TLS")
        if self._settings.address is not None and target.origin != self._first.origin:
            raise self._rejected(response, f"to {target}, which is not followed: address was given for {self._first}")
        try:
            self._attempt = Attempt(target, self._settings, self._attempt)
        except (ValueError, ImportError) as error:  # the environment has a proxy for it that is none
            raise self._rejected(response, f"to {target}, which cannot be reached: {error}") from error

    async def _reach(self, opening: Opening) -> Transport:
        """Connect, and secure what is connected."""
        is_secured = isinstance(opening.stream, trio.SSLStream)  # by the program; a proxy's TLS is another matter
        if opening.stream is None:
            opening.stream = await self._dial()
        if self._attempt.target.secure and not is_secured:
            opening.secure(self._attempt.ssl_context, server_hostname=self._attempt.server_hostname)
        return await opening.take_transport()

    async def _dial(self) -> trio.abc.Stream:
        address = self._settings.address
        host, port = self._attempt.target.host, self._attempt.target.port
        if isinstance(address, tuple):
            host, port = checked_name(address[0]), address[1]
        if self._attempt.proxy is not None:
            return await open_tunnel(
                self._attempt.proxy,
                host,
                port,
                ssl_context=self._settings.proxy_ssl_context,
                user_agent=self._settings.user_agent,
            )
        try:
            if isinstance(address, str | os.PathLike):
                return await trio.open_unix_socket(address)
            return await trio.open_tcp_stream(host, port)
        except FileNotFoundError as error:
            why = f"address {address!r} is the path of a Unix socket, and there is none; for a host give (host, port)"
            raise self._failed(why, CloseCause.REFUSED) from error
        except OSError as error:
            raise self._failed(why_unreachable(error), CloseCause.REFUSED) from plain_cause(error)
        except BaseExceptionGroup as group:  # Ctrl-C in one of trio's attempts
            raise_unchanged(unwrapped(group))

    async def _shake_hands(self, transport: Transport) -> WebSocket | None:
        handshake = self._attempt.handshake
        await trio.lowlevel.checkpoint()
        self._attempt.is_sent = True
        try:
            await transport.write_all(handshake.request_bytes)
            while True:
                data = await transport.read()
                response = handshake.receive_data(data) if data else handshake.rejection
                if self._is_redirect(handshake.rejection):
                    self._attempt.take_cookies(handshake.rejection)
                    return None
                if response is not None:
                    break
                if not data:
                    raise self._failed("the server hung up before its answer was whole", CloseCause.EOF)
        except LOST as error:
            if handshake.rejection is None:
                raise self._lost(os_error(error)) from os_error(error)
            response = handshake.rejection
        except BadResponse as error:
            raise self._failed(str(error), CloseCause.MALFORMED) from error
        self._attempt.take_cookies(response)
        if response.status != 101:
            raise self._rejected(response)
        return WebSocket(
            open_session(handshake, self._options, client=True),
            transport,
            self._options,
            client=True,
            request=handshake.request,
            response=response,
            subprotocol=handshake.subprotocol,
        )

    def _is_redirect(self, response: Response | None) -> bool:
        return (
            response is not None
            and response.status in REDIRECTS
            and "location" in response.headers
            and self._settings.max_redirects > 0
            and self._settings.stream is None
        )

    @property
    def _place(self) -> str:
        """The URL, and where redirects have led from there."""
        target = self._attempt.target
        return self._url if target is self._first else f"{self._url}, redirected to {target}"

    def _lost(self, error: BaseException) -> HandshakeError:
        # With TLS 1.3 the refusal of a client's certificate comes only now.
        if isinstance(error, stdlib_ssl.SSLError) and "ALERT" in (error.reason or ""):
            return self._failed(f"the TLS handshake failed: {error}", CloseCause.TLS)
        return self._failed(f"the connection was lost: {error}", CloseCause.RESET)

    def _failed(self, why: str, cause: CloseCause, response: Response | None = None) -> HandshakeError:
        kind: type[HandshakeError] = HandshakeTimeout if cause is CloseCause.TIMEOUT else HandshakeError
        if response is not None:
            kind = HandshakeRejected
        return self._error(kind, f"no connection to {self._place}: {why}", cause, response)

    def _rejected(self, response: Response, where: str = "") -> HandshakeRejected:
        status = f"{response.status} {response.phrase}".rstrip()
        text = f"no connection to {self._place}: the server answered {status}" + (where and f", {where}")
        return self._error(HandshakeRejected, text, CloseCause.REJECTED, response)

    def _error(self, kind: type[Error], text: str, cause: CloseCause, response: Response | None) -> Error:
        attempt = self._attempt
        request = attempt.handshake.request if attempt.is_sent else None
        return kind(text, unopened(cause), response, request=request, url=str(attempt.target))


def plain_cause(error: OSError) -> BaseException:
    """Return the operating system's own error, if all attempts to connect ended in the same kind."""
    causes = leaves(error.__cause__ or error)
    first = next(causes)
    return first if isinstance(first, OSError) and all(type(each) is type(first) for each in causes) else error
