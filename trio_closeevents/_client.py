"""The client: `connect`."""

from __future__ import annotations

import ssl as stdlib_ssl
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Final, Unpack

import trio

from ._block import WebSocketBlock
from ._connection import WebSocket
from ._errors import HandshakeError, HandshakeRejected, HandshakeTimeout, raise_unchanged, unwrapped
from ._events import CloseCause
from ._http import Headers, HeadersLike, Response
from ._opening import Opening, Unopened, check_ssl_context, check_subprotocols, open_session, unopened
from ._options import Options, OptionsDict, takes_options
from ._policy import leaves
from ._protocol.handshake import BadResponse, ClientHandshake
from ._transport import LOST, Transport, os_error
from ._url import URL, parse_url

__all__ = ["connect"]

# What the opening handshake itself sends (RFC 6455 §4.1), or what would turn the request into another one.
OWN_HEADERS: Final = frozenset({"connection", "upgrade", "content-length", "transfer-encoding"})


@takes_options
def connect(
    url: str,
    *,
    stream: trio.abc.Stream | None = None,
    ssl_context: stdlib_ssl.SSLContext | None = None,
    subprotocols: Iterable[str] = (),
    headers: HeadersLike = (),
    origin: str | None = None,
    **options: Unpack[OptionsDict],
) -> AbstractAsyncContextManager[WebSocket]:
    """Open a WebSocket connection for a block: `async with connect("wss://host/path") as ws: ...`.

    Leaving the block ends the connection, whatever the peer does: 1000 if it returned, 1011 if an exception left it,
    1001 if it was cancelled. If the opening is cancelled, nothing of the WebSocket protocol was sent but the
    handshake's request, and nothing is left behind.

    Args:
        url: `ws:` or `wss:`.
        stream: use this connected stream in place of TCP. It belongs to the connection from now on. For `wss:`, TLS is
            spoken over it, unless it is a `trio.SSLStream` already.
        ssl_context: for `wss:`; `ssl.create_default_context()` if `None`.
        subprotocols: what to offer, in order of preference.
        headers: header fields to add to the request; `Host` replaces the URL's.
        origin: the value of the `Origin` header.
        **options: see `Options`; the same for `serve`, `open_server` and `accept`.

    Raises:
        TypeError, ValueError: at the call, for an argument that cannot work; nothing was sent.
        HandshakeError: at the start of the block, if no connection came about; `close_event.cause` tells why.
    """
    checked = Options(**options)
    target = parse_url(url)
    if ssl_context is not None:
        check_ssl_context(ssl_context, server_side=False)
    if ssl_context is not None and not target.secure:
        raise ValueError(f"ssl_context goes with wss:, and the URL is {url!r}")
    if stream is not None and not isinstance(stream, trio.abc.Stream):
        raise TypeError(f"stream must be a trio.abc.Stream, not {type(stream).__name__}: {stream!r}")
    fields = request_headers(headers, origin)
    return Connecting(url, target, stream, ssl_context, check_subprotocols(subprotocols), fields, checked)


class Connecting(WebSocketBlock):
    """A client's connection, from the first packet on."""

    def __init__(
        self,
        url: str,
        target: URL,
        stream: trio.abc.Stream | None,
        ssl_context: stdlib_ssl.SSLContext | None,
        subprotocols: tuple[str, ...],
        headers: Headers,
        options: Options,
    ) -> None:
        super().__init__(options)
        self._url = url
        self._target = target
        self._stream = stream
        self._ssl_context = ssl_context
        others = [(name, value) for name, value in headers.pairs if name.lower() != "host"]
        self._handshake = ClientHandshake(
            headers.get("host", target.host_header), target.target, subprotocols, Headers(others), options.deflate
        )

    def __repr__(self) -> str:
        return f"connect({self._url!r})"

    async def _open(self) -> WebSocket:
        websocket: WebSocket | None = None
        opening = Opening(self._stream)
        try:
            with trio.move_on_after(self._options.open_timeout):
                websocket = await self._shake_hands(await self._reach(opening))
        finally:
            if websocket is None:
                await opening.abandon()
        if websocket is not None:
            del self._handshake  # it is large, and this lives as long as the connection
            return websocket
        if self._handshake.rejection is not None:
            raise self._rejected(self._handshake.rejection)  # its body was late, its status was not
        raise self._failed("open_timeout passed", CloseCause.TIMEOUT)

    async def _reach(self, opening: Opening) -> Transport:
        """Connect, and secure what is connected."""
        if opening.stream is None:
            try:
                opening.stream = await trio.open_tcp_stream(self._target.host, self._target.port)
            except OSError as error:
                raise self._failed(str(error), CloseCause.REFUSED) from plain_cause(error)
            except BaseExceptionGroup as group:  # Ctrl-C in one of trio's attempts
                raise_unchanged(unwrapped(group))
        context: stdlib_ssl.SSLContext | None = None
        if self._target.secure and not isinstance(opening.stream, trio.SSLStream):
            context = self._ssl_context or stdlib_ssl.create_default_context()
        try:
            if context is not None:
                opening.secure(context, server_hostname=self._target.host)
            return await opening.take_transport()
        except Unopened as error:
            raise self._failed(str(error), error.cause) from error.__cause__

    async def _shake_hands(self, transport: Transport) -> WebSocket:
        handshake = self._handshake
        await trio.lowlevel.checkpoint()
        try:
            await transport.write_all(handshake.request_bytes)
            while True:
                data = await transport.read()
                response = handshake.receive_data(data) if data else handshake.rejection
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

    def _lost(self, error: BaseException) -> HandshakeError:
        # With TLS 1.3 the refusal of a client's certificate comes only now.
        if isinstance(error, stdlib_ssl.SSLError) and "ALERT" in (error.reason or ""):
            return self._failed(f"the TLS handshake failed: {error}", CloseCause.TLS)
        return self._failed(f"the connection was lost: {error}", CloseCause.RESET)

    def _failed(self, why: str, cause: CloseCause) -> HandshakeError:
        kind = HandshakeTimeout if cause is CloseCause.TIMEOUT else HandshakeError
        return kind(f"no connection to {self._url}: {why}", unopened(cause))

    def _rejected(self, response: Response) -> HandshakeRejected:
        status = f"{response.status} {response.phrase}".rstrip()
        return HandshakeRejected(
            f"no connection to {self._url}: the server answered {status}", unopened(CloseCause.REJECTED), response
        )


def request_headers(headers: HeadersLike, origin: str | None) -> Headers:
    fields = Headers(headers)
    for name in fields:
        if name in OWN_HEADERS or name.startswith("sec-websocket-"):
            raise ValueError(f"header {name!r} belongs to the opening handshake: it cannot be given")
    if len(fields.get_all("host")) > 1:
        raise ValueError("header 'host' may be given once only")
    if origin is None:
        return fields
    if "origin" in fields:
        raise ValueError("give the origin either as origin=... or among the headers")
    return Headers([*fields.pairs, ("Origin", origin)])


def plain_cause(error: OSError) -> BaseException:
    """Return the operating system's own error, if all attempts to connect ended in the same kind."""
    causes = leaves(error.__cause__ or error)
    first = next(causes)
    return first if isinstance(first, OSError) and all(type(each) is type(first) for each in causes) else error
