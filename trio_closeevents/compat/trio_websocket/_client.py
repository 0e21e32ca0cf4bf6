"""The client: a connection for a block, or in a nursery of the program."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection

from trio_closeevents import CloseCause, CloseEvent, WebSocket
from trio_closeevents import HandshakeError as Unopened

from ._connection import WebSocketConnection, owner_of
from ._errors import (
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    handshake_error,
    is_ordinary,
    one_of,
)
from ._limits import CONN_TIMEOUT, MAX_MESSAGE_SIZE, MESSAGE_QUEUE_SIZE, RECEIVE_BYTES, HeaderPairs, patience

__all__ = ["connect_websocket", "connect_websocket_url", "open_websocket", "open_websocket_url", "wrap_client_stream"]

DEFAULT_PORTS: Final = (80, 443)

logger = logging.getLogger("trio-websocket")
protected = trio.lowlevel.enable_ki_protection


def open_websocket(
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    connect_timeout: float = CONN_TIMEOUT,
    disconnect_timeout: float = CONN_TIMEOUT,
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Open a connection for a block: `async with open_websocket(host, port, "/", use_ssl=False) as connection: ...`.

    A block that returns or raises closes with 1000, and the exception goes on as it is; one that is cancelled closes
    with 1001, and takes a second at most. Leaving it takes at most *disconnect_timeout*, whatever the peer does.

    Args:
        host: the name or address of the server.
        port: its TCP port.
        resource: the request target: path and query.
        use_ssl: whether TLS is spoken, with a default context; or the context.
        subprotocols: what to offer, in order of preference.
        extra_headers: header fields to add to the request; what the opening handshake writes itself is left out.
        message_queue_size: how many messages may wait for `get_message`; then the peer feels backpressure.
        max_message_size: the largest message that is received, as `len` has it; a larger one fails the connection with
            1009.
        receive_buffer_size: has no effect.
        connect_timeout: seconds for DNS, TCP, TLS and the opening handshake together.
        disconnect_timeout: seconds for the closing handshake.

    Raises:
        TypeError, ValueError: an argument that cannot work.
        ConnectionTimeout: *connect_timeout* has passed.
        ConnectionRejected: the server has answered something else than an upgrade.
        HandshakeError: no connection came about for another reason; an `OSError`, if there was one, is its `__cause__`.
        DisconnectionTimeout: *disconnect_timeout* has passed, after a block that returned.
    """
    place = Place(host, port, use_ssl)
    build = Build(resource, subprotocols, extra_headers, message_queue_size, max_message_size, receive_buffer_size)
    return OpenWebSocket(place, build, connect_timeout, disconnect_timeout)


def open_websocket_url(
    url: str,
    ssl_context: ssl.SSLContext | None = None,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    connect_timeout: float = CONN_TIMEOUT,
    disconnect_timeout: float = CONN_TIMEOUT,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Open a connection to a URL for a block: `async with open_websocket_url("wss://host/") as connection: ...`.

    Args:
        url: `ws:` or `wss:`. User name, password and fragment are ignored.
        ssl_context: for `wss:`; the default one if `None`.
        subprotocols: as for `open_websocket`, like all that follow.

    Raises:
        ValueError: at the call: *url* is no WebSocket URL, or *ssl_context* goes with `ws:`.
        HandshakeError: as for `open_websocket`, and all else that it raises.
    """
    host, port, resource, use_ssl = parts_of(url, ssl_context)
    return open_websocket(
        host,
        port,
        resource,
        use_ssl=use_ssl,
        subprotocols=subprotocols,
        extra_headers=extra_headers,
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
    )


async def connect_websocket(
    nursery: trio.Nursery,
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> WebSocketConnection:
    """Open a connection that lives in *nursery*, where it has a task until it ends; close it with `aclose`.

    If the nursery is cancelled, the connection closes with 1001.

    Args:
        nursery: where it lives.
        host: as for `open_websocket`, like all that follow.

    Raises:
        TypeError, ValueError: an argument that cannot work.
        OSError: the server cannot be reached.
        ConnectionRejected: the server has answered something else than an upgrade.
        HandshakeError: no connection came about for another reason.
    """
    place = Place(host, port, use_ssl)
    build = Build(resource, subprotocols, extra_headers, message_queue_size, max_message_size, receive_buffer_size)
    context = place.ssl_context
    connection, block = await build.on(await place.dial(), place.host_header, context, host)
    await owner_of(connection).open_in(nursery, block)
    return connection


async def connect_websocket_url(
    nursery: trio.Nursery,
    url: str,
    ssl_context: ssl.SSLContext | None = None,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> WebSocketConnection:
    """Open a connection to a URL that lives in *nursery*: see `connect_websocket` and `open_websocket_url`."""
    host, port, resource, use_ssl = parts_of(url, ssl_context)
    return await connect_websocket(
        nursery,
        host,
        port,
        resource,
        use_ssl=use_ssl,
        subprotocols=subprotocols,
        extra_headers=extra_headers,
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
    )


async def wrap_client_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    host: str,
    resource: str,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> WebSocketConnection:
    """Open a connection over *stream* that lives in *nursery*: see `connect_websocket`.

    Args:
        nursery: where it lives.
        stream: any connected stream; it belongs to the connection from now on.
        host: the value of the `Host` header.
        resource: as for `open_websocket`, like all that follow.

    Raises:
        HandshakeError: no connection came about. The stream is closed.
    """
    build = Build(resource, subprotocols, extra_headers, message_queue_size, max_message_size, receive_buffer_size)
    connection, block = await build.on(stream, host, is_lent=True)
    await owner_of(connection).open_in(nursery, block)
    return connection


class Place(NamedTuple):
    """Where a server is."""

    host: str
    port: int
    use_ssl: bool | ssl.SSLContext

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """The context for TLS, `None` without TLS.

        Raises:
            TypeError: `use_ssl` is neither a bool nor a context.
        """
        if isinstance(self.use_ssl, ssl.SSLContext):
            return self.use_ssl
        if not isinstance(self.use_ssl, bool):
            raise TypeError(f"`use_ssl` argument must be bool or ssl.SSLContext, not {self.use_ssl!r}")
        return ssl.create_default_context() if self.use_ssl else None

    @property
    def host_header(self) -> str:
        """The value of the `Host` header: without the port if it is that of a scheme, whichever."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in DEFAULT_PORTS else f"{host}:{self.port}"

    async def dial(self) -> trio.SocketStream:
        """Connect.

        Raises:
            OSError: that failed.
        """
        logger.debug("connecting to %s, port %s", self.host, self.port)
        failure: BaseException
        try:
            return await trio.open_tcp_stream(self.host, self.port)
        except BaseExceptionGroup as group:  # Ctrl-C in one of trio's attempts
            failure = one_of(group)
        raise failure


class Build(NamedTuple):
    """What a connection is made of, beside its stream."""

    resource: str
    subprotocols: Iterable[str] | None
    extra_headers: HeaderPairs | None
    message_queue_size: int
    max_message_size: int
    receive_buffer_size: int | None

    async def on(
        self,
        stream: trio.abc.Stream,
        host: str,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str = "",
        *,
        is_lent: bool = False,
        **options: float,
    ) -> tuple[WebSocketConnection, AbstractAsyncContextManager[WebSocket]]:
        """Return the connection over *stream*, and the core's block for it.

        Raises:
            TypeError, ValueError: an argument that cannot work; the stream is closed.
        """
        try:
            connection = WebSocketConnection(
                stream,
                WSConnection(ConnectionType.CLIENT),
                host=host,
                path=self.resource,
                client_subprotocols=self.subprotocols,
                client_extra_headers=self.extra_headers,
                message_queue_size=self.message_queue_size,
                max_message_size=self.max_message_size,
                receive_buffer_size=self.receive_buffer_size,
            )
            owner_of(connection).is_lent = is_lent
            return connection, owner_of(connection).client_block(ssl_context, server_hostname, **options)
        except Exception:
            await trio.aclose_forcefully(stream)
            raise


class OpenWebSocket(AbstractAsyncContextManager[WebSocketConnection]):
    """A connection for a block. For one use."""

    def __init__(self, place: Place, build: Build, connect_timeout: float, disconnect_timeout: float) -> None:
        self._place = place
        self._build = build
        self._connect_timeout = connect_timeout
        self._disconnect_timeout = disconnect_timeout

    @protected
    async def __aenter__(self) -> WebSocketConnection:
        context = self._place.ssl_context
        close_timeout = patience("disconnect_timeout", self._disconnect_timeout)
        deadline = trio.current_time() + patience("connect_timeout", self._connect_timeout)
        try:
            with trio.fail_at(deadline):
                stream = await self._place.dial()
        except trio.TooSlowError:
            raise ConnectionTimeout from None
        except OSError as error:
            raise HandshakeError(str(error)) from error
        self._connection, self._block = await self._build.on(
            stream,
            self._place.host_header,
            context,
            self._place.host,
            open_timeout=max(0.0, deadline - trio.current_time()),
            close_timeout=close_timeout,
        )
        self._owner = owner_of(self._connection)
        try:
            websocket = await self._block.__aenter__()
        except Unopened as error:
            raise handshake_error(error) from error
        self._owner.attach(websocket)
        return self._connection

    @protected
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        limit = trio.current_time() + patience("disconnect_timeout", self._disconnect_timeout)
        try:
            if is_ordinary(error):
                await self._owner.end(1000)
                await self._owner.keep_arrived()
        except trio.Cancelled:
            if error is None:
                raise
            # The exception that left the block goes on. Its scope stays cancelled: the next checkpoint tells.
        finally:
            await self._block.__aexit__(kind, error, trace)
        if error is None and has_timed_out(self._connection.close_event) and trio.current_time() >= limit:
            raise DisconnectionTimeout


def has_timed_out(event: CloseEvent | None) -> bool:
    """Tell whether the peer has not answered our Close, if all that its ending was given had passed."""
    return event is not None and event.cause is CloseCause.CLOSED and event.received is None


def parts_of(url: str, ssl_context: ssl.SSLContext | None) -> tuple[str, int, str, ssl.SSLContext | bool]:
    """Take a URL apart: host, port, request target, and how TLS is spoken.

    Raises:
        ValueError: it is no WebSocket URL, or *ssl_context* does not go with it.
    """
    text = str(url)  # of a URL object of another library
    parts = urlsplit(text)
    if parts.scheme not in ("ws", "wss"):
        raise ValueError(f'WebSocket URL scheme must be "ws:" or "wss:", not {parts.scheme!r}')
    if ssl_context is not None and parts.scheme == "ws":
        raise ValueError("SSL context must be None for ws: URL scheme")
    if parts.hostname is None:
        raise ValueError("URL host must not be None")
    port = (443 if parts.scheme == "wss" else 80) if parts.port is None else parts.port
    query = f"?{parts.query}" if "?" in text.partition("#")[0] else ""
    return parts.hostname, port, (parts.path or "/") + query, ssl_context or parts.scheme == "wss"
