"""The server's side of one connection: `accept`, on any stream."""

from __future__ import annotations

import inspect
import re
import ssl as stdlib_ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any, Final, NamedTuple, TypeAlias, Unpack

import trio

from ._block import WebSocketBlock
from ._connection import WebSocket
from ._errors import HandshakeError, HandshakeRejected, HandshakeTimeout
from ._events import CloseCause, CloseEvent
from ._hooks import unprotected
from ._http import Headers, HeadersLike, Request, Response
from ._opening import (
    Opening,
    Unopened,
    check_ssl_context,
    check_subprotocols,
    checked_headers,
    open_session,
    unopened,
)
from ._options import Function, Options, OptionsDict, spell_out
from ._protocol.handshake import Extensions, RequestRefused, ServerHandshake, headers_of
from ._transport import LOST, Transport, os_error
from ._version import USER_AGENT

__all__ = [
    "Accepting",
    "OnClose",
    "Origin",
    "ProcessRequest",
    "ProcessResponse",
    "SelectSubprotocol",
    "ServerOptions",
    "ServerOptionsDict",
    "accept",
    "server_options",
    "takes_server_options",
]

ProcessRequest: TypeAlias = Callable[[Request], "Response | Awaitable[Response | None] | None"]
ProcessResponse: TypeAlias = Callable[[Request, Response], "Response | None"]
SelectSubprotocol: TypeAlias = Callable[[Request], "str | None"]
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

    def __post_init__(self) -> None:
        self.subprotocols = check_subprotocols(self.subprotocols)
        self.origins = None if self.origins is None else check_origins(self.origins)
        for name in ("select_subprotocol", "process_request", "process_response", "on_close"):
            hook = getattr(self, name)
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} must be a function, not {type(hook).__name__}: {hook!r}")
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
        select_subprotocol: in place of that, a function that gets the `Request` and returns one of its `subprotocols`,
            or `None`.
        headers: header fields to add to the answer that opens the connection.
        server_header: that of the `Server` header; `None` sends none.
        process_request: called with every well-formed `Request`, whatever its method, upgrade or not; a `Response`
            that it returns (or that the awaitable it returns comes to) is sent in place of the upgrade.
        process_response: called with the `Request` and the `Response` that is about to be sent; may return another.
            Of one with status 101, `headers` has what goes out beside the handshake's own.
        on_close: called with the connection and its `CloseEvent` when that is decided; what it raises is logged.
        **options: see `Options`.

    Raises:
        TypeError, ValueError: at the call, for an argument that cannot work.
        HandshakeError: at the start of the block, if no connection came about; its `response` is what was answered.
        Exception: what a hook raised; the client was answered 500.
    """
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
    """A server's connection, from its first byte on."""

    def __init__(
        self, stream: trio.abc.Stream, server: ServerOptions, ssl_context: stdlib_ssl.SSLContext | None
    ) -> None:
        super().__init__(server.options)
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
                    await self._respond(transport, Response(503, (), "the server is closing\n"))
                elif self._dropped and self._turned_away is not None:
                    with suppress(*LOST):
                        transport.try_send(self._handshake.respond(self._turned_away))
        finally:
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
            if self._ssl_context is not None:
                opening.secure(self._ssl_context, server_side=True)
            return await opening.take_transport()
        except Unopened as error:
            raise self._failed(str(error), error.cause) from error.__cause__

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
                self._request = replace(request, remote_address=transport.remote_address)
                return self._request

    async def _decide(self, request: Request) -> Decision:
        """Decide what is answered to a well-formed request."""
        if self._turned_away is not None and "upgrade" in request.headers:
            decision = Decision(self._turned_away, self._turned_away.body.decode().rstrip())
        elif answer := await self._ask_program(request):
            decision = Decision(answer, f"process_request answered {answer.status}")
        else:
            decision = self._upgrade(request)
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

    async def _ask_program(self, request: Request) -> Response | None:
        if self._server.process_request is None:
            return None
        answer = await ask(self._server.process_request, request)
        if answer is not None and not isinstance(answer, Response):
            raise TypeError(f"process_request must return a Response or None, not {answer!r}")
        if answer is not None and answer.status == 101:
            raise ValueError("process_request cannot answer 101: return None, and the upgrade goes on")
        return answer

    def _upgrade(self, request: Request) -> Decision:
        try:
            self._handshake.check_upgrade(request)
        except RequestRefused as refusal:
            return Decision(refusal.response, str(refusal), CloseCause.MALFORMED)
        origin = request.headers.get("origin")  # of two, both: which is none that is allowed
        if not self._server.allows(origin) or len(request.headers.get_all("origin")) > 1:
            return Decision(Response(403, (), "this origin is not allowed here\n"), f"origin {origin!r} is not allowed")
        return Decision(Response(101, self._server.fields), subprotocol=self._choose_subprotocol(request))

    def _choose_subprotocol(self, request: Request) -> str | None:
        if self._server.select_subprotocol is None:
            return next((name for name in self._server.subprotocols if name in request.subprotocols), None)
        name = unprotected(self._server.select_subprotocol, request)
        if name is not None and name not in request.subprotocols:
            raise ValueError(f"select_subprotocol must return one of {request.subprotocols} or None, not {name!r}")
        return name

    async def _respond(self, transport: Transport, response: Response) -> None:
        """Send *response*, and see to it that it arrives. Never longer than `cancel_timeout`; a lost peer is fine."""
        self._answered = True
        if self._server.server_header is not None and "server" not in response.headers:
            fields = [*response.headers.pairs, ("Server", self._server.server_header)]
            response = Response(response.status, fields, response.body)
        with trio.move_on_after(self._options.cancel_timeout), suppress(*LOST):
            await transport.write_all(self._handshake.respond(response))
            await transport.finish()

    def _failed(self, why: str, cause: CloseCause, response: Response | None = None) -> HandshakeError:
        kind: type[HandshakeError] = HandshakeError
        if cause is CloseCause.TIMEOUT:
            kind = HandshakeTimeout
        elif response is not None:
            kind = HandshakeRejected
        return kind(f"no connection was accepted: {why}", unopened(cause), response, request=self._request)


@trio.lowlevel.disable_ki_protection
async def ask(process_request: ProcessRequest, request: Request) -> Response | None:
    """Call the program's hook, which may be a plain function or an async one."""
    answer = process_request(request)
    return await answer if inspect.isawaitable(answer) else answer
