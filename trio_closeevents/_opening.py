"""What both sides of the opening handshake need."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from socket import gaierror
from typing import Final

import trio

from ._events import CloseCause, CloseCode, CloseEvent
from ._http import TOKEN, Headers, HeadersLike, Response
from ._options import Options
from ._policy import leaves
from ._protocol.handshake import ClientHandshake, ServerHandshake
from ._protocol.observed import ObservedSession
from ._protocol.session import Session
from ._tls import TLSTransport
from ._transport import LOST, Transport, as_tls, is_open, open_transport, os_error

__all__ = [
    "Opening",
    "Unopened",
    "check_ssl_context",
    "check_subprotocols",
    "checked_headers",
    "open_session",
    "unopened",
    "why_unreachable",
]

OWN_HEADERS: Final = frozenset({"connection", "upgrade", "content-length", "transfer-encoding"})
DROP_TIMEOUT: Final = 1.0  # seconds for closing what has nothing to wait for


class Unopened(Exception):
    """Why no connection came about, for each side to tell in its own words; its `__cause__` is the error behind it."""

    def __init__(self, why: str, cause: CloseCause, response: Response | None = None) -> None:
        super().__init__(why)
        self.cause = cause
        self.response = response  # of a proxy


class Opening:
    """A stream on its way to become a connection, and the one who closes it if it never does."""

    def __init__(self, stream: trio.abc.Stream | None) -> None:
        self.stream = stream
        self._transport: Transport | None = None

    def secure(self, context: ssl.SSLContext, *, server_side: bool = False, server_hostname: str | None = None) -> None:
        """Put TLS on top of the stream.

        Raises:
            Unopened: it will not have that.
        """
        assert self.stream is not None
        try:
            if isinstance(self.stream, trio.SocketStream) and is_open(self.stream):
                self._transport = TLSTransport(
                    self.stream, context, server_side=server_side, server_hostname=server_hostname
                )
                self.stream = None
            else:
                self.stream = trio.SSLStream(
                    self.stream, context, server_side=server_side, server_hostname=server_hostname
                )
        except (OSError, ValueError) as error:  # a name that cannot be one, for example
            raise Unopened(f"the TLS handshake cannot begin: {error}", CloseCause.TLS) from error

    async def take_transport(self) -> Transport:
        """Run the TLS handshake, if there is one to run; return the transport, which uses up the stream.

        Raises:
            Unopened: TLS failed, or the stream is closed already.
        """
        try:
            if isinstance(self._transport, TLSTransport):
                await self._transport.handshake()
            elif (tls := as_tls(self.stream)) is not None:
                await tls.do_handshake()
        except trio.ClosedResourceError as error:
            raise Unopened("the stream is closed already", CloseCause.RESET) from error
        except (OSError, trio.BrokenResourceError) as error:
            reason = os_error(error)
            raise Unopened(f"the TLS handshake failed: {reason}", CloseCause.TLS) from reason
        if self._transport is None:
            assert self.stream is not None
            try:
                self._transport, self.stream = open_transport(self.stream), None
            except LOST as error:
                raise Unopened("the stream is closed already", CloseCause.RESET) from error
        return self._transport

    async def abandon(self) -> None:
        """Close whatever there is, without any ceremony."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + DROP_TIMEOUT):
            if self._transport is not None:
                await self._transport.aclose()
            if self.stream is not None:
                await trio.aclose_forcefully(self.stream)


def checked_headers(headers: HeadersLike) -> Headers:
    """Return the header fields that a program adds to a request or an answer.

    Raises:
        TypeError, ValueError: they are none; or one belongs to the opening handshake (RFC 6455 §4.1, §4.2.2), or would
            turn the message into another one.
    """
    fields = Headers(headers)
    for name in fields:
        if name in OWN_HEADERS or name.startswith("sec-websocket-"):
            raise ValueError(f"header {name!r} belongs to the opening handshake: it cannot be given")
    return fields


def check_ssl_context(context: object, *, server_side: bool, name: str = "ssl_context") -> None:
    """Check that *context* can be used on this side.

    Raises:
        TypeError: it is no `ssl.SSLContext`.
        ValueError: it is made for the other side.
    """
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"{name} must be an ssl.SSLContext, not {type(context).__name__}: {context!r}")
    if context.protocol is (ssl.PROTOCOL_TLS_CLIENT if server_side else ssl.PROTOCOL_TLS_SERVER):
        purpose = "CLIENT_AUTH" if server_side else "SERVER_AUTH"
        sides = "clients, and this is a server" if server_side else "servers, and this is a client"
        raise ValueError(f"{name} is made for {sides}: use ssl.create_default_context(ssl.Purpose.{purpose})")


def open_session(handshake: ServerHandshake | ClientHandshake, options: Options, *, client: bool) -> Session:
    """Return the session of what *handshake* has opened."""
    kind = Session if options.observer is None else ObservedSession
    session = kind(
        client=client,
        max_message_size=options.max_message_size,
        max_fragments=options.max_fragments,
        extensions=handshake.extensions,
    )
    session.receive_data(handshake.leftover)
    return session


def unopened(cause: CloseCause) -> CloseEvent:
    """Return the event of a connection that never opened."""
    code = CloseCode.TLS_HANDSHAKE if cause is CloseCause.TLS else CloseCode.ABNORMAL_CLOSURE
    return CloseEvent("close", code=code, initiated_by="transport", cause=cause)


def why_unreachable(error: OSError) -> str:
    """Tell why one cannot connect: each reason once, in the system's words, whatever number of addresses has it."""
    reasons = dict.fromkeys(reason_of(each) for each in leaves(error.__cause__ or error))
    return "; ".join(reasons)


def reason_of(error: BaseException) -> str:
    if isinstance(error, gaierror):  # whose numbers are of another kind
        return error.strerror or str(error)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)  # what trio writes beside it names the address
    return str(error)


def check_subprotocols(subprotocols: Iterable[str]) -> tuple[str, ...]:
    """Check names of subprotocols (RFC 6455 §4.1, item 10).

    Raises:
        TypeError: not an iterable of `str`; a single `str` is refused too, since it is taken for one by mistake.
        ValueError: a name is no token, or stands there twice.
    """
    if isinstance(subprotocols, str):
        raise TypeError(f"subprotocols must be a list of names, not one str: use [{subprotocols!r}]")
    names = tuple(subprotocols)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a subprotocol must be a str, not {type(name).__name__}: {name!r}")
        if not TOKEN.fullmatch(name):
            raise ValueError(f"subprotocol {name!r} is not a token (RFC 6455 §4.1)")
        if names.count(name) > 1:
            raise ValueError(f"subprotocol {name!r} is named twice")
    return names
