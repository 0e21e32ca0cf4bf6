"""The opening handshake, sans-IO: HTTP/1.1 upgrade through wsproto, with its limits (RFC 6455 §4).

Both sides hold back what stands behind the head of the message they read: those bytes belong to the `Session`.
wsproto: as a server it would drop them.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData
from wsproto.events import Request as UpgradeRequest
from wsproto.extensions import Extension
from wsproto.utilities import ProtocolError

from .._compression import Deflate
from .._http import Headers, Request, Response, headers_from_lines, headers_from_wire
from .deflate import PerMessageDeflate

__all__ = [
    "MAX_HEAD_SIZE",
    "BadResponse",
    "ClientHandshake",
    "Extensions",
    "RequestRefused",
    "ServerHandshake",
    "headers_of",
]

MAX_HEAD_SIZE: Final = 16 * 1024  # bytes of request line or status line and headers
MAX_REJECTION_BODY: Final = 64 * 1024  # bytes of a rejecting response's body that are kept

END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
UPGRADE_LINE: Final = re.compile(rb"GET ([!-~]+) HTTP/1\.1\r\n")
BODILESS: Final = frozenset({204, 304})  # RFC 9110 §6.4.1
KEY_BYTES: Final = 16  # RFC 6455 §4.1: the key is 16 random bytes in base64

# What wsproto, h11 and the codecs raise on bytes of a peer: h11's remote errors come wrapped, the rest does not.
REFUSALS: Final = (ProtocolError, h11.ProtocolError, ValueError)


class RequestRefused(Exception):
    """The request cannot become a connection; `response` is the answer."""

    def __init__(self, status: int, why: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(why)
        self.response = Response(status, headers, f"{why}\n")


class BadResponse(Exception):
    """What the server sent is no answer to an opening handshake; `status`, if there was one that is none."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class Extensions(NamedTuple):
    """What one side would speak.

    Attributes:
        compression: permessage-deflate, and how.
        others: functions that return a new extension.
    """

    compression: Deflate | None = None
    others: Iterable[Callable[[], Extension]] = ()

    def make(self, *, client: bool) -> tuple[Extension, ...]:
        """Return them, for one connection.

        Raises:
            TypeError: what one of the functions returned is none.
        """
        made: list[Extension] = []
        if self.compression is not None:
            made.append(PerMessageDeflate(self.compression, client=client))
        for factory in self.others:
            if not isinstance(extension := factory(), Extension):
                raise TypeError(f"{factory!r} of extensions must return a wsproto Extension, not {extension!r}")
            made.append(extension)
        return tuple(made)


NO_EXTENSIONS: Final = Extensions()


class ServerHandshake:
    """The server's side: one request in, one answer out.

    Attributes:
        extensions: what was agreed on.
        leftover: what the client sent behind its request.
    """

    def __init__(self, extensions: Extensions = NO_EXTENSIONS) -> None:
        self._supported = extensions
        self.extensions: tuple[Extension, ...] = ()
        self.leftover = b""
        self._http: h11.Connection | None = None  # what reads a request that is no upgrade, and answers it
        self._upgrade = WSConnection(ConnectionType.SERVER)
        self._head = bytearray()
        self._method = b"GET"
        self._version = "1.1"
        self._is_upgrade = False  # wsproto has read the request, and takes it

    @property
    def has_begun(self) -> bool:
        """Something of a request was read."""
        return bool(self._head)

    def receive_data(self, data: bytes) -> Request | None:
        """Take in what was read; return the request once it is whole.

        Raises:
            RequestRefused: it is no request that a server of this library could answer otherwise: 400 (malformed),
                405 (CONNECT), 431 (head over `MAX_HEAD_SIZE`), 505 (neither HTTP/1.1 nor HTTP/1.0).
        """
        if not self._head and (request := self._read_upgrade(data)) is not None:
            return request
        self._head += data
        try:
            if self._http is None:
                self._http = h11.Connection(h11.SERVER)
            self._http.receive_data(data)
            event = self._http.next_event()
        except (h11.RemoteProtocolError, ValueError) as error:  # h11 before 0.15: `int` of too many digits
            status = 431 if getattr(error, "error_status_hint", 400) == 431 else 400  # h11: it would say 501, for one
            raise RequestRefused(status, f"malformed request: {error}") from error
        if isinstance(event, h11.Request):
            self._method = event.method  # an answer to HEAD has no body, a refusal neither
            self.leftover = self._http.trailing_data[0]
        size = len(self._head) - len(self.leftover)
        if size > MAX_HEAD_SIZE:
            raise RequestRefused(431, f"request line and headers are over the limit of {MAX_HEAD_SIZE} bytes")
        if not isinstance(event, h11.Request):
            return None
        del self._head[size:]
        self._version = event.http_version.decode()
        if self._version not in ("1.0", "1.1"):
            raise self._wrong_version()
        if event.method == b"CONNECT":  # h11: no answer to it can be sent that is one
            raise RequestRefused(405, "method CONNECT is not allowed: use GET", (("Allow", "GET"),))
        try:
            headers = headers_from_wire(event.headers.raw_items())  # h11: it lets control characters through
        except ValueError as error:
            raise RequestRefused(400, f"malformed request: {error}") from error
        return Request(
            event.target.decode("ascii"), headers, offered_subprotocols(headers), method=event.method.decode("ascii")
        )

    def _read_upgrade(self, data: bytes) -> Request | None:
        """Return the request if all of it is in *data*, and wsproto takes it; so it is parsed but once.

        Whatever is odd about it is left to be looked at more closely.
        """
        end = END_OF_HEAD.search(data)
        line = UPGRADE_LINE.match(data)
        if end is None or line is None or end.end() > MAX_HEAD_SIZE:
            return None
        head = data[: end.end()]
        try:
            self._upgrade.receive_data(head)
            headers = headers_of(head)
        except REFUSALS:
            self._upgrade = WSConnection(ConnectionType.SERVER)
            return None
        if "transfer-encoding" in headers or "content-length" in headers or not is_key(headers["sec-websocket-key"]):
            self._upgrade = WSConnection(ConnectionType.SERVER)
            return None
        self._is_upgrade = True
        self._head += head
        self.leftover = data[end.end() :]
        return Request(line[1].decode("ascii"), headers, offered_subprotocols(headers))

    def check_upgrade(self, request: Request) -> None:
        """Check that *request* asks for an upgrade to WebSocket.

        Raises:
            RequestRefused: 400 (malformed), 405 (not a GET), 413 (with a body), 426 (no upgrade asked for, or another
                version than 13), or 505 (HTTP/1.0, which balancers use for health checks, has no upgrade).
        """
        if self._is_upgrade:
            return
        if self._version != "1.1":
            raise self._wrong_version()
        if request.method != "GET":
            raise RequestRefused(405, f"method {request.method} is not allowed: use GET", (("Allow", "GET"),))
        if "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0":
            raise RequestRefused(413, "an opening handshake has no body")
        upgrade = (("Upgrade", "websocket"), ("Connection", "Upgrade"))
        if "upgrade" not in request.headers:
            raise RequestRefused(426, "this is a WebSocket server: ask for an upgrade", upgrade)
        try:
            self._upgrade.receive_data(bytes(self._head))
        except REFUSALS as error:
            hint = getattr(error, "event_hint", None)
            if isinstance(hint, RejectConnection) and hint.status_code == 426:
                version = ("Sec-WebSocket-Version", "13")
                raise RequestRefused(426, "the WebSocket version must be 13", (*upgrade, version)) from error
            raise RequestRefused(400, f"malformed opening handshake: {error}") from error
        if not is_key(request.headers["sec-websocket-key"]):
            # wsproto: it takes any key
            raise RequestRefused(400, "malformed opening handshake: Sec-WebSocket-Key is not 16 bytes in base64")

    def _wrong_version(self) -> RequestRefused:
        return RequestRefused(505, f"HTTP/{self._version} is not supported: use HTTP/1.1")

    def accept(self, subprotocol: str | None, headers: Headers) -> bytes:
        """Return the 101 response. Only after `check_upgrade`."""
        supported = self._supported.make(client=False)
        extra = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.pairs]
        answer = AcceptConnection(subprotocol=subprotocol, extensions=list(supported), extra_headers=extra)
        data = self._upgrade.send(answer)
        self.extensions = tuple(each for each in supported if each.enabled())
        return data

    def respond(self, response: Response) -> bytes:
        """Return *response* as bytes, to be sent in place of the upgrade; the connection is closed after it."""
        own = ("content-length", "transfer-encoding")
        fields = [(name, value) for name, value in response.headers.pairs if name.lower() not in own]
        if response.status != 426:  # which names Connection itself
            fields = [(name, value) for name, value in fields if name.lower() != "connection"]
        fields.append(("Connection", "close"))
        if response.status not in BODILESS:
            fields.append(("Content-Length", str(len(response.body))))
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        parts: list[h11.Event] = [
            h11.Response(status_code=response.status, headers=encoded, reason=response.phrase.encode())
        ]
        if response.status not in BODILESS and self._method != b"HEAD":
            parts.append(h11.Data(data=response.body))
        if self._http is None:
            self._http = h11.Connection(h11.SERVER)
            if self._is_upgrade:
                self._http.receive_data(bytes(self._head))
                self._http.next_event()
        return b"".join([self._http.send(part) or b"" for part in [*parts, h11.EndOfMessage()]])


class ClientHandshake:
    """The client's side: one request out, one answer in.

    Attributes:
        request: what is sent.
        leftover: what the server sent behind its 101.
        extensions: what was agreed on.
        rejection: the response that is no upgrade, as far as it has arrived.
    """

    def __init__(
        self,
        host: str,
        target: str,
        subprotocols: tuple[str, ...],
        headers: Headers,
        extensions: Extensions = NO_EXTENSIONS,
    ) -> None:
        self._upgrade = WSConnection(ConnectionType.CLIENT)
        extra = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.pairs]
        supported = extensions.make(client=True)
        self.request_bytes = self._upgrade.send(
            UpgradeRequest(
                host=host,
                target=target,
                extensions=list(supported),
                subprotocols=list(subprotocols),
                extra_headers=extra,
            )
        )
        self.extensions: tuple[Extension, ...] = ()
        self.request = Request(target, headers_of(self.request_bytes), subprotocols)
        self.subprotocol: str | None = None
        self.leftover = b""
        self.rejection: Response | None = None
        self._head = bytearray()

    def receive_data(self, data: bytes) -> Response | None:
        """Take in what was read; return the response once it is whole, be it 101 or a rejection.

        Raises:
            BadResponse: this is no answer to an opening handshake (RFC 6455 §4.1, page 19).
        """
        if self.rejection is not None:
            return self._read_body(data)
        searched = max(0, len(self._head) - 2)
        self._head += data
        end = END_OF_HEAD.search(self._head, searched)
        if (end.end() if end else len(self._head)) > MAX_HEAD_SIZE:
            raise BadResponse(f"status line and headers are over the limit of {MAX_HEAD_SIZE} bytes")
        behind = len(self._head) - end.end() if end else 0
        try:
            self._upgrade.receive_data(data[: len(data) - behind])
        except REFUSALS as error:
            raise BadResponse(f"malformed answer to the opening handshake: {error}") from error
        rest = data[len(data) - behind :]
        event = next(self._upgrade.events(), None)
        if isinstance(event, AcceptConnection):
            self.leftover, self.subprotocol = rest, event.subprotocol
            self.extensions = tuple(event.extensions)
            return self._accepted()
        return self._reject(event, rest) if isinstance(event, RejectConnection) else None

    def _reject(self, event: RejectConnection, rest: bytes) -> Response | None:
        if not 200 <= event.status_code <= 599:
            why = f"the server answered with status {event.status_code}, neither 101 nor 200-599"
            raise BadResponse(why, event.status_code)
        try:
            self.rejection = Response(event.status_code, headers_from_wire(event.headers))
        except ValueError as error:
            raise BadResponse(f"malformed answer to the opening handshake: {error}") from error
        return self._read_body(rest)

    def _accepted(self) -> Response:
        try:
            headers = headers_of(bytes(self._head))
        except ValueError as error:
            raise BadResponse(f"malformed answer to the opening handshake: {error}") from error
        if len(headers.get_all("sec-websocket-extensions")) > 1:  # wsproto: only the last of them counts
            raise BadResponse("malformed answer to the opening handshake: more extensions than the one that we offer")
        if len(headers.get_all("sec-websocket-protocol")) > 1:  # RFC 6455 §11.3.4; wsproto takes the last of them
            raise BadResponse("malformed answer to the opening handshake: it names more than one subprotocol")
        return Response(101, headers)

    def _read_body(self, data: bytes) -> Response | None:
        """Take in a part of the rejection's body; return the rejection when there is no more, or enough."""
        assert self.rejection is not None
        done = False
        try:
            if data:
                self._upgrade.receive_data(data)
        except REFUSALS:
            done = True  # the status was clear, the body is not, or has something behind it
        events = [event for event in self._upgrade.events() if isinstance(event, RejectData)]
        body = self.rejection.body + b"".join(bytes(event.data) for event in events)
        self.rejection = Response(self.rejection.status, self.rejection.headers, body[:MAX_REJECTION_BODY])
        done = done or any(event.body_finished for event in events) or len(body) >= MAX_REJECTION_BODY
        return self.rejection if done else None


def headers_of(head: bytes) -> Headers:
    """Return every header of a message's head. wsproto: it keeps those to itself that it has used.

    Raises:
        ValueError: a line is folded (RFC 9112 §5.2 has done away with that).
    """
    text = head.decode("latin-1").replace("\r\n", "\n").partition("\n\n")[0]
    return headers_from_lines(text.partition("\n")[2])


def offered_subprotocols(headers: Headers) -> tuple[str, ...]:
    offered = (name.strip() for name in headers.get("sec-websocket-protocol", "").split(","))
    return tuple(name for name in offered if name)


def is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False
