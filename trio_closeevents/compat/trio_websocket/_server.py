"""The server: a handler for each request, a nursery for each connection."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeAlias, cast

import trio
from wsproto import ConnectionType, WSConnection

from ._connection import WebSocketConnection, WebSocketRequest, owner_of, proposal
from ._errors import ConnectionClosed, HandshakeError
from ._limits import CONN_TIMEOUT, MAX_MESSAGE_SIZE, MESSAGE_QUEUE_SIZE, RECEIVE_BYTES, core_options, patience
from ._values import Endpoint, address_of

__all__ = ["WebSocketServer", "serve_websocket", "wrap_server_stream"]

Handler: TypeAlias = Callable[[WebSocketRequest], Awaitable[None]]
SSLListener: TypeAlias = "trio.SSLListener[trio.SocketStream]"

logger = logging.getLogger("trio-websocket")
protected = trio.lowlevel.enable_ki_protection


async def wrap_server_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> WebSocketRequest:
    """Wait for a client's request on *stream*. The connection lives in *nursery*, where it has a task until it ends.

    If the nursery is cancelled, the connection closes with 1001.

    Args:
        nursery: where it lives.
        stream: any connected stream; it belongs to the connection from now on.
        message_queue_size: as for `serve_websocket`, like all that follow.

    Raises:
        TypeError, ValueError: an argument that cannot work.
        HandshakeError: there was no request, or a malformed one, which was answered. The stream is closed.
    """
    connection = server_connection(stream, message_queue_size, max_message_size, receive_buffer_size)
    owner_of(connection).is_lent = True
    request: WebSocketRequest = await owner_of(connection).propose_in(nursery, partial(proposal, connection))
    return request


async def serve_websocket(
    handler: Handler,
    host: str | bytes | None,
    port: int,
    ssl_context: ssl.SSLContext | None,
    *,
    handler_nursery: trio.Nursery | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    connect_timeout: float = CONN_TIMEOUT,
    disconnect_timeout: float = CONN_TIMEOUT,
    task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Serve over TCP until it is cancelled: `server = await nursery.start(serve_websocket, handler, host, port, None)`.

    If it is cancelled, all peers see 1001, and everything is gone within a second, except what lives in
    *handler_nursery*.

    Args:
        handler: an async function that is called with the `WebSocketRequest` of each client. When it returns or raises,
            the connection closes with 1000; what it raises goes up to the nursery, `ConnectionClosed` alone does not.
        host: the interface to listen on; `None`: all of them.
        port: the TCP port; 0: the system chooses one, for each interface another.
        ssl_context: for TLS; `None`: there is none.
        handler_nursery: where connections and handlers live, if not in a nursery of the server's own.
        message_queue_size: how many messages may wait for `get_message`; then the peer feels backpressure.
        max_message_size: the largest message that is received, as `len` has it; a larger one fails the connection with
            1009.
        receive_buffer_size: has no effect.
        connect_timeout: seconds that a client has until its request is whole, TLS included.
        disconnect_timeout: seconds for the closing handshake.
        task_status: gets the `WebSocketServer` when it listens.

    Raises:
        TypeError, ValueError: an argument that cannot work.
        OSError: one cannot listen there.
    """
    sizes = (message_queue_size, max_message_size, receive_buffer_size)
    check_arguments(sizes, connect_timeout, disconnect_timeout)  # before there are listeners that somebody has to close
    listeners: Sequence[trio.SocketListener | SSLListener]
    if ssl_context is None:
        listeners = await trio.open_tcp_listeners(port, host=host)
    else:
        listeners = await trio.open_ssl_over_tcp_listeners(port, ssl_context, host=host, https_compatible=True)
    server = WebSocketServer(
        handler,
        listeners,
        handler_nursery=handler_nursery,
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
    )
    server._ssl_context = ssl_context  # pyright: ignore[reportPrivateUsage]  # the signature is another library's
    await server.run(task_status=task_status)


class WebSocketServer:
    """A server on listeners of the program; `serve_websocket` makes one on TCP.

    Args:
        handler: as for `serve_websocket`, like all that are not told here.
        listeners: where to accept connections; any `trio.abc.Listener`.

    Raises:
        ValueError: there are no listeners, or another argument cannot work.
    """

    def __init__(
        self,
        handler: Handler,
        listeners: Sequence[SSLListener | trio.SocketListener],
        *,
        handler_nursery: trio.Nursery | None = None,
        message_queue_size: int = MESSAGE_QUEUE_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
        receive_buffer_size: int | None = RECEIVE_BYTES,
        connect_timeout: float = CONN_TIMEOUT,
        disconnect_timeout: float = CONN_TIMEOUT,
    ) -> None:
        if len(listeners) == 0:
            raise ValueError("Listeners must contain at least one item.")
        self._handler = handler
        self._listeners = listeners
        self._handler_nursery = handler_nursery
        self._sizes = (message_queue_size, max_message_size, receive_buffer_size)
        self._timeouts = check_arguments(self._sizes, connect_timeout, disconnect_timeout)
        # For the core to speak the TLS of the listeners, which is faster than that of trio's streams.
        self._ssl_context: ssl.SSLContext | None = None

    @property
    def port(self) -> int:
        """The TCP port.

        Raises:
            RuntimeError: there are several listeners, or the one that there is has no port.
        """
        if len(self._listeners) > 1:
            raise RuntimeError("Cannot get port because this server has more than 1 listener.")
        (listener,) = self.listeners
        if isinstance(listener, str):
            raise RuntimeError(f"This socket does not have a port: {listener!r}")
        return listener.port

    @property
    def listeners(self) -> list[Endpoint | str]:
        """Where the server listens; of a listener that is no TCP, its `repr`."""
        return [place_of(listener) for listener in self._listeners]

    @protected
    async def run(self, *, task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Serve until it is cancelled: `await nursery.start(server.run)`."""
        listeners: list[Any] = list(self._listeners)
        if self._ssl_context is not None:
            listeners = [listener.transport_listener for listener in listeners]
        async with trio.open_nursery() as nursery:
            serve = partial(
                trio.serve_listeners, self._handle_connection, listeners, handler_nursery=self._handler_nursery
            )
            await nursery.start(serve)
            logger.debug("listening on %s", ", ".join(map(str, self.listeners)))
            task_status.started(self)
            await trio.sleep_forever()
        raise AssertionError  # pragma: no cover  # for type checkers, which think that a nursery may swallow something

    @protected
    async def _handle_connection(self, stream: trio.abc.Stream) -> None:
        connect_timeout, disconnect_timeout = self._timeouts
        async with trio.open_nursery() as nursery:
            connection = server_connection(stream, *self._sizes)
            request: WebSocketRequest | None = None
            try:
                with trio.move_on_after(connect_timeout):
                    request = await owner_of(connection).propose_in(
                        nursery,
                        partial(proposal, connection),
                        self._ssl_context,
                        close_timeout=disconnect_timeout,
                    )
            except HandshakeError as error:
                logger.debug("%s: %s", connection, error)
            if request is not None:
                await self._handle_request(connection, request)

    async def _handle_request(self, connection: WebSocketConnection, request: WebSocketRequest) -> None:
        try:
            async with connection:
                await call_handler(self._handler, request)
        except ConnectionClosed as error:
            logger.debug("the handler of %s: %s", connection, error)
        except BaseExceptionGroup as group:
            if group.split(ConnectionClosed)[1] is not None:
                raise
            logger.debug("the handler of %s: %s", connection, group)


@trio.lowlevel.disable_ki_protection
async def call_handler(handler: Handler, request: WebSocketRequest) -> None:
    """Call the program's handler, which Ctrl-C may interrupt anywhere."""
    await handler(request)


def check_arguments(
    sizes: tuple[int, int, int | None], connect_timeout: float, disconnect_timeout: float
) -> tuple[float, float]:
    """Check what a server's connections will be given; return both timeouts.

    Raises:
        TypeError, ValueError: one of them is wrong.
    """
    core_options(*sizes)
    return patience("connect_timeout", connect_timeout), patience("disconnect_timeout", disconnect_timeout)


def server_connection(
    stream: trio.abc.Stream, message_queue_size: int, max_message_size: int, receive_buffer_size: int | None
) -> WebSocketConnection:
    return WebSocketConnection(
        stream,
        WSConnection(ConnectionType.SERVER),
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
    )


def place_of(listener: trio.abc.Listener[Any]) -> Endpoint | str:
    is_ssl = isinstance(listener, trio.SSLListener)
    below: Any = cast("SSLListener", listener).transport_listener if is_ssl else listener
    address = address_of(below.socket.getsockname) if isinstance(below, trio.SocketListener) else None
    return repr(listener) if address is None else Endpoint(*address, is_ssl)
