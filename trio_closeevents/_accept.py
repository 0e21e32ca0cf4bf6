"""The server's side of one connection: `accept`, on any stream."""

from __future__ import annotations

import inspect
import ssl as stdlib_ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from typing import TypeAlias, Unpack

import trio

from ._block import WebSocketBlock
from ._connection import WebSocket
from ._errors import HandshakeError, HandshakeRejected, HandshakeTimeout
from ._events import CloseCause, CloseEvent
from ._http import Headers, Request, Response
from ._opening import Opening, Unopened, check_ssl_context, check_subprotocols, open_session, unopened
from ._options import Options, OptionsDict, takes_options
from ._protocol.handshake import RequestRefused, ServerHandshake, headers_of
from ._transport import LOST, Transport, os_error

__all__ = ["Accepting", "OnClose", "ProcessRequest", "ServerOptions", "accept"]

ProcessRequest: TypeAlias = Callable[[Request], "Response | Awaitable[Response | None] | None"]
OnClose: TypeAlias = Callable[[WebSocket, CloseEvent], object]


@dataclass(kw_only=True, eq=False, repr=False)
class ServerOptions:
    """What a server does with every connection."""

    options: Options
    subprotocols: tuple[str, ...] = ()
    process_request: ProcessRequest | None = None
    on_close: OnClose | None = None

    def __post_init__(self) -> None:
        self.subprotocols = check_subprotocols(self.subprotocols)
        for name in ("process_request", "on_close"):
            hook = getattr(self, name)
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} must be a function, not {type(hook).__name__}: {hook!r}")


@takes_options
def accept(
    stream: trio.abc.Stream,
    *,
    ssl_context: stdlib_ssl.SSLContext | None = None,
    subprotocols: Iterable[str] = (),
    process_request: ProcessRequest | None = None,
    on_close: OnClose | None = None,
    **options: Unpack[OptionsDict],
) -> AbstractAsyncContextManager[WebSocket]:
    """Be the server of one connection for a block: `async with accept(stream) as ws: ...`.

    The opening handshake is awaited at the start of the block; leaving it ends the connection as with `connect`.

    Args:
        stream: a connected stream. It belongs to the connection from now on, and is closed if none comes about.
        ssl_context: speak TLS over *stream*, as the server.
        subprotocols: what is spoken here, in order of preference; the first that the client offers is agreed on.
        process_request: called with every well-formed `Request`, upgrade or not; a `Response` that it returns (or
            that the awaitable it returns comes to) is sent in place of the upgrade.
        on_close: called with the connection and its `CloseEvent` when that is decided; what it raises is logged.
        **options: see `Options`.

    Raises:
        TypeError, ValueError: at the call, for an argument that cannot work.
        HandshakeError: at the start of the block, if no connection came about; its `response` is what was answered.
        Exception: what *process_request* raised; the client was answered 500.
    """
    if not isinstance(stream, trio.abc.Stream):
        raise TypeError(f"stream must be a trio.abc.Stream, not {type(stream).__name__}: {stream!r}")
    if ssl_context is not None:
        check_ssl_context(ssl_context, server_side=True)
    server = ServerOptions(
        options=Options(**options),
        subprotocols=check_subprotocols(subprotocols),
        process_request=process_request,
        on_close=on_close,
    )
    return Accepting(stream, server, ssl_context)


class Accepting(WebSocketBlock):
    """A server's connection, from its first byte on."""

    def __init__(
        self, stream: trio.abc.Stream, server: ServerOptions, ssl_context: stdlib_ssl.SSLContext | None
    ) -> None:
        super().__init__(server.options)
        self._stream = stream
        self._ssl_context = ssl_context
        self._server = server
        self._handshake = ServerHandshake(server.options.deflate)
        self._scope = trio.CancelScope()
        self._refused = False
        self._answered = False

    def refuse(self) -> None:
        """Answer 503, since the server is closing."""
        self._refused = True
        self._scope.cancel()

    async def _open(self) -> WebSocket:
        websocket: WebSocket | None = None
        opening = Opening(self._stream)
        transport: Transport | None = None
        try:
            with self._scope:
                self._scope.deadline = trio.current_time() + self._options.open_timeout
                transport = await self._secure(opening)
                try:
                    websocket = await self._shake_hands(transport)
                except RequestRefused as refusal:
                    await self._respond(transport, refusal.response)
                    raise self._failed(str(refusal), CloseCause.MALFORMED, refusal.response) from refusal
            if websocket is None and self._refused and transport is not None and not self._answered:
                await self._respond(transport, Response(503, (), "the server is closing\n"))
        finally:
            if websocket is None:
                await opening.abandon()
        if websocket is not None:
            del self._handshake, self._stream, self._scope  # they are large, and this lives as long as the connection
            return websocket
        if self._refused:
            raise self._failed("the server is closing", CloseCause.REJECTED)
        raise self._failed("open_timeout passed", CloseCause.TIMEOUT)

    async def _secure(self, opening: Opening) -> Transport:
        try:
            if self._ssl_context is not None:
                opening.secure(self._ssl_context, server_side=True)
            return await opening.take_transport()
        except Unopened as error:
            raise self._failed(str(error), error.cause) from error.__cause__

    async def _shake_hands(self, transport: Transport) -> WebSocket:
        await trio.lowlevel.checkpoint()
        try:
            request = await self._read_request(transport)
            answer = await self._ask_program(transport, request)
            if answer is not None:
                await self._respond(transport, answer)
                raise self._failed(f"process_request answered {answer.status}", CloseCause.REJECTED, answer)
            self._handshake.check_upgrade(request)
            subprotocol = next((name for name in self._server.subprotocols if name in request.subprotocols), None)
            switch = self._handshake.accept(subprotocol, Headers())
            await transport.write_all(switch)
        except LOST as error:
            cause = os_error(error)
            raise self._failed(f"the connection was lost: {cause}", CloseCause.RESET) from cause
        return WebSocket(
            open_session(self._handshake, self._options, client=False),
            transport,
            self._options,
            client=False,
            request=request,
            response=Response(101, headers_of(switch)),
            subprotocol=subprotocol,
            on_close=self._server.on_close,
        )

    async def _read_request(self, transport: Transport) -> Request:
        while True:
            data = await transport.read()
            if not data:
                raise self._failed("the client hung up before its request was whole", CloseCause.EOF)
            request = self._handshake.receive_data(data)
            if request is not None:
                return replace(request, remote_address=transport.remote_address)

    async def _ask_program(self, transport: Transport, request: Request) -> Response | None:
        if self._server.process_request is None:
            return None
        try:
            answer = await ask(self._server.process_request, request)
            if answer is not None and not isinstance(answer, Response):
                raise TypeError(f"process_request must return a Response or None, not {answer!r}")
            if answer is not None and answer.status == 101:
                raise ValueError("process_request cannot answer 101: return None, and the upgrade goes on")
        except Exception:
            await self._respond(transport, Response(500, (), "internal server error\n"))
            raise
        return answer

    async def _respond(self, transport: Transport, response: Response) -> None:
        """Send *response*, and see to it that it arrives. Never longer than `cancel_timeout`; a lost peer is fine."""
        self._answered = True
        with trio.move_on_after(self._options.cancel_timeout), suppress(*LOST):
            await transport.write_all(self._handshake.respond(response))
            await transport.finish()

    def _failed(self, why: str, cause: CloseCause, response: Response | None = None) -> HandshakeError:
        kind: type[HandshakeError] = HandshakeError
        if cause is CloseCause.TIMEOUT:
            kind = HandshakeTimeout
        elif response is not None:
            kind = HandshakeRejected
        return kind(f"no connection was accepted: {why}", unopened(cause), response)


@trio.lowlevel.disable_ki_protection
async def ask(process_request: ProcessRequest, request: Request) -> Response | None:
    """Call the program's hook, which may be a plain function or an async one."""
    answer = process_request(request)
    return await answer if inspect.isawaitable(answer) else answer
