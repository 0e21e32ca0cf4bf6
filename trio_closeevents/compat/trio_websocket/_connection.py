"""`WebSocketConnection` and `WebSocketRequest`: what programs for trio-websocket hold."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import ClassVar, Final, NoReturn

import trio
from wsproto import WSConnection
from wsproto.events import Request as UpgradeRequest

import trio_closeevents
from trio_closeevents import CloseEvent, Request

from ._errors import ConnectionClosed, is_ordinary
from ._limits import MAX_MESSAGE_SIZE, MESSAGE_QUEUE_SIZE, RECEIVE_BYTES, HeaderPairs, core_options, own_fields, wire
from ._owner import Handshake, Owner
from ._values import CloseReason, Endpoint

__all__ = ["WebSocketConnection", "WebSocketRequest", "owner_of", "proposal"]

SENT_AS_1000: Final = (1005, 1006, 1015)  # codes that no Close frame may have (RFC 6455 §7.4.1)

# Header fields that the opening handshake has used up: of the server's answer, and of the client's request.
OF_THE_ANSWER: Final = frozenset(
    {"connection", "upgrade", "sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol"}
)
OF_THE_REQUEST: Final = frozenset({"host", "sec-websocket-extensions", "sec-websocket-protocol"})

protected = trio.lowlevel.enable_ki_protection


class WebSocketConnection(trio.abc.AsyncResource):
    """A WebSocket connection; the functions of this module make it.

    Any number of tasks may send and receive. Everything that waits wakes when the connection ends.

    Args:
        stream: a connected stream.
        ws_connection: tells by its `client` which side this is.
        host: the value of the `Host` header. Only of a client, like the next three.
        path: the request target.
        client_subprotocols: what to offer, in order of preference.
        client_extra_headers: header fields to add to the request.
        message_queue_size: how many messages may wait for `get_message`; then the peer feels backpressure.
        max_message_size: the largest message that is received, as `len` has it; a larger one fails the connection with
            1009.
        receive_buffer_size: has no effect.
    """

    CONNECTION_ID: ClassVar[itertools.count[int]] = itertools.count()

    def __init__(
        self,
        stream: trio.abc.Stream,
        ws_connection: WSConnection,
        *,
        host: str | None = None,
        path: str | None = None,
        client_subprotocols: Iterable[str] | None = None,
        client_extra_headers: HeaderPairs | None = None,
        message_queue_size: int = MESSAGE_QUEUE_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
        receive_buffer_size: int | None = RECEIVE_BYTES,
    ) -> None:
        asks: Handshake | None = None
        if ws_connection.client:
            if host is None or path is None:
                raise ValueError("a client's connection needs host and path")
            asks = Handshake(host, path, tuple(client_subprotocols or ()), own_fields(client_extra_headers))
        self._id = next(self.CONNECTION_ID)
        self._owner = Owner(stream, asks, core_options(message_queue_size, max_message_size, receive_buffer_size))

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def close_event(self) -> CloseEvent | None:
        """How the connection ended, as this library tells it; `None` until that is decided, never changed then."""
        return None if self._owner.websocket is None else self._owner.websocket.close_event

    @property
    def closed(self) -> CloseReason | None:
        """Why the connection was closed, or is being closed; `None` as long as it is not."""
        return self._owner.closed

    @property
    def is_client(self) -> bool:
        """This side is the client."""
        return self._owner.is_client

    @property
    def is_server(self) -> bool:
        """This side is the server."""
        return not self._owner.is_client

    @property
    def local(self) -> Endpoint | str:
        """This end of the connection; the `repr` of the stream, if it is no TCP."""
        return self._owner.endpoint(local=True)

    @property
    def remote(self) -> Endpoint | str:
        """The peer's end of the connection; the `repr` of the stream, if it is no TCP."""
        return self._owner.endpoint(local=False)

    @property
    def path(self) -> str | None:
        """The request target, path and query; at a server `None` until the request was accepted."""
        return self._owner.path

    @property
    def subprotocol(self) -> str | None:
        """What both sides agreed on, `None` if nothing."""
        return None if self._owner.websocket is None else self._owner.websocket.subprotocol

    @property
    def handshake_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Header fields of the server's answer, without those of the handshake itself; at a server none."""
        if self._owner.websocket is None or not self._owner.is_client:
            return ()
        fields = ((name.lower(), value) for name, value in self._owner.websocket.response.headers.pairs)
        return tuple((wire(name), wire(value)) for name, value in fields if name not in OF_THE_ANSWER)

    def __str__(self) -> str:
        return f"{'client' if self.is_client else 'server'}-{self._id}"

    # -- messages ------------------------------------------------------------------------------------------------

    @protected
    async def get_message(self) -> str | bytes:
        """Return the next message. If cancelled, nothing is lost. Tasks that wait are served in order.

        What had arrived before the peer closed is handed out first; after a Close of this side nothing is.

        Raises:
            ConnectionClosed: there will be none any more.
        """
        try:
            return await self._owner.receive()
        except trio_closeevents.ConnectionClosed:
            self._raise_closed()

    async def send_message(self, message: str | bytes) -> None:
        """Send a message: a `str` as text, `bytes` as binary. If cancelled, it is sent as a whole or not at all.

        Raises:
            ValueError: *message* is neither; or text that UTF-8 cannot carry. Nothing was sent.
            ConnectionClosed: the connection is closed, or being closed by either side.
        """
        if not isinstance(message, str | bytes):
            if self.closed is not None:
                self._raise_closed()
            raise ValueError(f"message must be str or bytes, not {type(message).__name__}: {message!r:.80}")
        try:
            await self._owner.send(message)
        except trio_closeevents.ConnectionClosed:
            self._raise_closed()

    async def ping(self, payload: bytes | None = None) -> None:
        """Send a Ping and wait for its Pong. A Pong answers all older Pings too.

        Args:
            payload: at most 125 bytes; random if `None`.

        Raises:
            ValueError: *payload* is too long, or under way already.
            ConnectionClosed: the connection is closed, or being closed; also when that happens before the Pong.
        """
        try:
            await self._owner.opened.ping(payload)
        except trio_closeevents.ConnectionClosed:
            self._raise_closed()

    async def pong(self, payload: bytes | None = None) -> None:
        """Send an unsolicited Pong; Pings are answered without it.

        Raises:
            ValueError: *payload* is longer than 125 bytes.
            ConnectionClosed: the connection is closed, or being closed.
        """
        try:
            await self._owner.opened.pong(payload or b"")
        except trio_closeevents.ConnectionClosed:
            self._raise_closed()

    def _raise_closed(self) -> NoReturn:
        raise ConnectionClosed(self.closed) from None

    # -- the end -------------------------------------------------------------------------------------------------

    @protected
    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """Run the closing handshake, and close the stream. A second call sends nothing and waits too.

        Takes 60 seconds at most, or what `disconnect_timeout` says. If cancelled, it still finishes, within a second;
        an exception that is being handled is not replaced by `trio.Cancelled` then.

        Args:
            code: 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 §7.4); 1005, 1006 and 1015 are sent as 1000.
            reason: cut to 123 bytes of UTF-8.

        Raises:
            ValueError: *code* may not travel in a Close frame. Nothing was sent.
        """
        is_handling = sys.exception() is not None
        try:
            await self._owner.end(1000 if code in SENT_AS_1000 else code, reason)
        except trio.Cancelled:
            if not is_handling:
                raise
            # The exception goes on. Its scope stays cancelled: the next checkpoint tells.

    @protected
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close with 1000; with 1001 if the block was cancelled, or interrupted."""
        try:
            if is_ordinary(error):
                await self._owner.end(1000)
            else:
                await self._owner.end_at_once(1001)
        except trio.Cancelled:
            if error is None:
                raise


def owner_of(connection: WebSocketConnection) -> Owner:
    """Return what this package sees to, and a program must not."""
    return connection._owner  # pyright: ignore[reportPrivateUsage]


class WebSocketRequest:
    """The opening handshake of a client, for a server to `accept` or to `reject`."""

    def __init__(self, connection: WebSocketConnection, event: UpgradeRequest) -> None:
        self._connection = connection
        self._event = event

    @property
    def headers(self) -> HeaderPairs:
        """Pairs of name and value of the header fields; the names in lower case."""
        return self._event.extra_headers

    @property
    def path(self) -> str:
        """The request target, which is path and query."""
        return self._event.target

    @property
    def proposed_subprotocols(self) -> tuple[str, ...]:
        """What the client offers, in its order of preference."""
        return tuple(self._event.subprotocols)

    @property
    def local(self) -> Endpoint | str:
        """This end of the connection; the `repr` of the stream, if it is no TCP."""
        return self._connection.local

    @property
    def remote(self) -> Endpoint | str:
        """The client's end of the connection; the `repr` of the stream, if it is no TCP."""
        return self._connection.remote

    async def accept(
        self, *, subprotocol: str | None = None, extra_headers: HeaderPairs | None = None
    ) -> WebSocketConnection:
        """Finish the opening handshake; return the connection. If cancelled, the client is answered all the same.

        Args:
            subprotocol: one of `proposed_subprotocols`, or `None`.
            extra_headers: header fields to add to the answer; what the handshake writes itself is left out.

        Raises:
            wsproto.utilities.LocalProtocolError: the client has not proposed *subprotocol*; nothing was answered, and
                another call can. Or the request was answered already.
            TypeError, ValueError: a header may not travel; the same.
            ConnectionClosed: the connection was lost.
        """
        await owner_of(self._connection).accept(self.path, self.proposed_subprotocols, subprotocol, extra_headers)
        return self._connection

    async def reject(
        self, status_code: int, *, extra_headers: HeaderPairs | None = None, body: bytes | None = None
    ) -> None:
        """Answer with something else than the upgrade, and close the connection. If cancelled, it still does.

        Args:
            status_code: the HTTP status, 200-599.
            extra_headers: header fields; `Content-Length` is added.
            body: the body of the answer.

        Raises:
            wsproto.utilities.LocalProtocolError: the request was answered already.
            TypeError, ValueError: *status_code* or a header may not travel; nothing was answered.
        """
        await owner_of(self._connection).reject(status_code, extra_headers, body)


def proposal(connection: WebSocketConnection, request: Request) -> WebSocketRequest:
    """Return *request* as programs for trio-websocket know it."""
    fields = ((name.lower(), value) for name, value in request.headers.pairs)
    event = UpgradeRequest(
        host=request.headers["host"],
        target=request.target,
        subprotocols=list(request.subprotocols),
        extra_headers=[(wire(name), wire(value)) for name, value in fields if name not in OF_THE_REQUEST],
    )
    return WebSocketRequest(connection, event)
