"""The server's side of one connection: `accept`, on any stream."""

from __future__ import annotations

import inspect
import math
import ssl as stdlib_ssl
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import Any, Final, NamedTuple, Unpack, cast

import trio

from ._addresses import Addresses
from ._block import WebSocketBlock
from ._connection import WebSocket
from ._errors import HandshakeError, HandshakeRejected, HandshakeTimeout
from ._events import CloseCause
from ._hooks import unprotected
from ._http import Request, Response
from ._opening import (
    Opening,
    Unopened,
    check_ssl_context,
    checked_headers,
    open_session,
    unopened,
)
from ._options import check_names
from ._protocol.handshake import Extensions, RequestRefused, ServerHandshake, headers_of
from ._proxied import read_proxy_header
from ._routes import Handler, Routes
from ._runs import check_trio
from ._server_options import ServerOptions, ServerOptionsDict, server_options, takes_server_options
from ._transport import LOST, Transport, os_error

__all__ = ["Accepting", "accept", "http_date"]

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Seconds that a client has which has said nothing yet, when the server ends: its request may be on its way. A browser
# keeps spare connections, on which none is.
FOR_SILENCE: Final = 0.1


@takes_server_options
def accept(
    stream: trio.abc.Stream,
    *,
    ssl_context: stdlib_ssl.SSLContext | None = None,
    **options: Unpack[ServerOptionsDict],
) -> AbstractAsyncContextManager[WebSocket]:
    """Be the server of one connection for a block: `async with accept(stream) as ws: ...`.

    The opening handshake is awaited at the start of the block; leaving it ends the connection as with `connect`.

    Args:
        stream: a connected stream. It belongs to the connection from now on, and is closed if none comes about.
        ssl_context: speak TLS over *stream*, as the server.
        origins: the origins whose pages may connect (RFC 6455 §10.2), each as `str` or as a pattern that must match
            all of it; `None` among them allows requests without one, as programs make them. Others are answered 403.
            Without this list, everybody may.
        subprotocols: what is spoken here, in order of preference; the first that the client offers is agreed on.
        select_subprotocol: in place of that, a function, async or not, that gets the `Request` and returns one of its
            `subprotocols`, or `None`.
        headers: header fields to add to the answer that opens the connection.
        server_header: that of the `Server` header; `None` sends none.
        process_request: called with every well-formed `Request`, whatever its method, upgrade or not; a `Response`
            that it returns (or that the awaitable it returns comes to) is sent in place of the upgrade.
        process_response: called with the `Request` and the `Response` that is about to be sent; may return another.
            Of one with status 101, `headers` has what goes out beside the handshake's own.
        on_close: called with the connection and its `CloseEvent` when that is decided; what it raises is logged.
        trusted_proxies: whose word is taken for `remote_address`; without it, such headers are headers like others.
        **options: see `Options`.

    Raises:
        TypeError, ValueError: at the call, for an argument that cannot work.
        HandshakeError: at the start of the block, if no connection came about; its `response` is what was answered.
        Exception: what a hook raised; the client was answered 500.
    """
    check_names(accept, options)
    if not isinstance(stream, trio.abc.Stream):
        raise TypeError(f"stream must be a trio.abc.Stream, not {type(stream).__name__}: {stream!r}")
    if ssl_context is not None:
        check_ssl_context(ssl_context, server_side=True)
    return Accepting(stream, server_options(options), ssl_context)


class Decision(NamedTuple):
    """What is answered to a request: 101 with what goes out beside the handshake's own headers, or something else."""

    answer: Response
    why: str = ""
    cause: CloseCause = CloseCause.REJECTED
    subprotocol: str | None = None


class Accepting(WebSocketBlock):
    """A server's connection, from its first byte on.

    Attributes:
        handler: what the routes have found, if there are routes.
        on_address: called once with the client's address, as soon as that is known.
    """

    handler: Handler | None = None
    on_address: Callable[[Any], object] | None = None

    def __init__(
        self,
        stream: trio.abc.Stream,
        server: ServerOptions,
        ssl_context: stdlib_ssl.SSLContext | None,
        routes: Routes | None = None,
        proxies: Addresses | None = None,
    ) -> None:
        super().__init__(server.options)
        self._routes = routes
        self._proxies = proxies  # whose PROXY header comes first
        self._stream = stream
        self._ssl_context = ssl_context
        self._server = server
        self._handshake = ServerHandshake(Extensions(server.options.deflate, server.options.extensions))
        self._scope = trio.CancelScope()
        self._refused = False
        self._turned_away: Response | None = None
        self._dropped = False
        self._answered = False
        self._request: Request | None = None

    def turn_away(self, answer: Response) -> None:
        """Answer any request for an upgrade with *answer*; not after the request was read."""
        self._turned_away = answer

    def drop(self) -> None:
        """Say at once what `turn_away` was told, although nobody may have asked yet, and hang up."""
        self._dropped = True
        self._scope.cancel()

    def refuse(self) -> None:
        """Answer 503, since the server is closing."""
        self._refused = True
        self._scope.cancel()

    async def _open(self) -> WebSocket:
        check_trio()
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
            if websocket is None and transport is not None and not self._answered:
                if self._refused:
                    limit = math.inf if self._handshake.has_begun else FOR_SILENCE
                    await self._respond(transport, Response(503, (), "the server is closing\n"), limit)
                elif self._dropped and self._turned_away is not None:
                    with suppress(*LOST):
                        transport.try_send(self._handshake.respond(self._complete(self._turned_away)))
        finally:
            self.on_address = None
            if websocket is None:
                await opening.abandon()
        if websocket is not None:
            del self._handshake, self._stream, self._scope  # they are large, and this lives as long as the connection
            return websocket
        if self._refused:
            raise self._failed("the server is closing", CloseCause.REJECTED)
        if self._dropped:
            raise self._failed("too many connections are being refused", CloseCause.REJECTED)
        raise self._failed("open_timeout passed", CloseCause.TIMEOUT)

    async def _secure(self, opening: Opening) -> Transport:
        try:
            told = None if self._proxies is None else await read_proxy_header(self._stream, self._proxies)
            if self._ssl_context is not None:
                opening.secure(self._ssl_context, server_side=True)
            transport = await opening.take_transport()
            if told is not None:
                transport.remote_address = told
            if self._server.trusted_proxies is None:
                self._identify(transport.remote_address)
            return transport
        except Unopened as error:
            raise self._failed(str(error), error.cause) from error.__cause__

    def _identify(self, address: Any) -> None:
        if self.on_address is not None:
            self.on_address(address)
            self.on_address = None

    async def _shake_hands(self, transport: Transport) -> WebSocket:
        await trio.lowlevel.checkpoint()
        try:
            request = await self._read_request(transport)
            try:
                decision = await self._decide(request)
                answer = decision.answer
                switch = self._handshake.accept(decision.subprotocol, answer.headers) if answer.status == 101 else b""
            except Exception:
                await self._respond(transport, Response(500, (), "internal server error\n"))
                raise
            if not switch:
                await self._respond(transport, answer)
                raise self._failed(decision.why, decision.cause, answer)
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
            subprotocol=decision.subprotocol,
            on_close=self._server.on_close,
        )

    async def _read_request(self, transport: Transport) -> Request:
        while True:
            data = await transport.read()
            if not data:
                raise self._failed("the client hung up before its request was whole", CloseCause.EOF)
            request = self._handshake.receive_data(data)
            if request is not None:
                if self._server.trusted_proxies is not None:
                    told = self._server.trusted_proxies.client_address(transport.remote_address, request.headers)
                    transport.remote_address = told
                    self._identify(told)
                self._request = replace(request, remote_address=transport.remote_address)
                return self._request

    async def _decide(self, request: Request) -> Decision:
        """Decide what is answered to a well-formed request."""
        if self._turned_away is not None and "upgrade" in request.headers:
            decision = Decision(self._turned_away, self._turned_away.body.decode().rstrip())
        else:
            decision = await self._ask_program(request) or await self._upgrade(request)
        if self._server.process_response is None:
            return decision
        changed = unprotected(self._server.process_response, request, decision.answer)
        if changed is None:
            return decision
        if not isinstance(changed, Response):
            raise TypeError(f"process_response must return a Response or None, not {changed!r}")
        if changed.status == 101:
            if decision.answer.status != 101:
                raise ValueError(f"process_response cannot answer 101 in place of {decision.answer.status}")
            checked_headers(changed.headers)
            return decision._replace(answer=changed)
        return Decision(changed, f"process_response answered {changed.status}")

    async def _ask_program(self, request: Request) -> Decision | None:
        """Ask the hook, then the routes; return what they want to be answered in place of the upgrade."""
        if self._server.process_request is not None:
            answer = await ask(self._server.process_request, request)
            if answer is not None and not isinstance(answer, Response):
                raise TypeError(f"process_request must return a Response or None, not {answer!r}")
            if answer is not None:
                return rejection(answer, "process_request")
        if self._routes is not None:
            found = await ask(self._routes.find_handler, request)
            if isinstance(found, Response):
                return rejection(found, "find_handler")
            if not callable(found):
                raise TypeError(f"find_handler must return a handler or a Response, not {found!r}")
            self.handler = cast("Handler", found)
        return None

    async def _upgrade(self, request: Request) -> Decision:
        try:
            self._handshake.check_upgrade(request)
        except RequestRefused as refusal:
            return Decision(refusal.response, str(refusal), CloseCause.MALFORMED)
        origin = request.headers.get("origin")  # of two, both: which is none that is allowed
        if not self._server.allows(origin) or len(request.headers.get_all("origin")) > 1:
            return Decision(Response(403, (), "this origin is not allowed here\n"), f"origin {origin!r} is not allowed")
        return Decision(Response(101, self._server.fields), subprotocol=await self._choose_subprotocol(request))

    async def _choose_subprotocol(self, request: Request) -> str | None:
        if self._server.select_subprotocol is None:
            return next((name for name in self._server.subprotocols if name in request.subprotocols), None)
        name: str | None = await ask(self._server.select_subprotocol, request)
        if name is not None and name not in request.subprotocols:
            raise ValueError(f"select_subprotocol must return one of {request.subprotocols} or None, not {name!r}")
        return name

    async def _respond(self, transport: Transport, response: Response, limit: float = math.inf) -> None:
        """Send *response*, and see to it that it arrives. Never longer than `cancel_timeout`; a lost peer is fine."""
        self._answered = True
        with trio.move_on_after(min(limit, self._options.cancel_timeout)), suppress(*LOST):
            await transport.write_all(self._handshake.respond(self._complete(response)))
            await transport.finish()

    def _complete(self, response: Response) -> Response:
        """Return *response* with what every answer in place of the upgrade has, unless the program has said it."""
        fields = list(response.headers.pairs)
        if "date" not in response.headers:  # RFC 9110 §6.6.1
            fields.append(("Date", http_date(time.time())))
        if self._server.server_header is not None and "server" not in response.headers:
            fields.append(("Server", self._server.server_header))
        return Response(response.status, fields, response.body)

    def _failed(self, why: str, cause: CloseCause, response: Response | None = None) -> HandshakeError:
        kind: type[HandshakeError] = HandshakeError
        if cause is CloseCause.TIMEOUT:
            kind = HandshakeTimeout
        elif response is not None:
            kind = HandshakeRejected
        return kind(f"no connection was accepted: {why}", unopened(cause), response, request=self._request)


@trio.lowlevel.disable_ki_protection
async def ask(hook: Callable[[Request], Any], request: Request) -> Any:
    """Call a hook of the program that may be a plain function or an async one."""
    answer = hook(request)
    return await answer if inspect.isawaitable(answer) else answer


def http_date(seconds: float) -> str:
    """Return the time in the form of RFC 9110 §5.6.7, which knows no locale."""
    now = time.gmtime(seconds)
    day, month = DAYS[now.tm_wday], MONTHS[now.tm_mon - 1]
    return f"{day}, {now.tm_mday:02} {month} {now.tm_year:04} {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} GMT"


def rejection(answer: Response, by: str) -> Decision:
    """Return the decision for *answer*, which a hook of the program gave."""
    if answer.status == 101:
        instead = "a handler" if by == "find_handler" else "None"
        raise ValueError(f"{by} cannot answer 101: return {instead}, and the upgrade goes on")
    return Decision(answer, f"{by} answered {answer.status}")
