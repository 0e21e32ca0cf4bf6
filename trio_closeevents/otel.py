"""`OpenTelemetry`: a span for each connection, and metrics of all. Needs the extra `otel`.

Theory. A span begins when its connection is open and ends when it is decided how that ended; a connection that never
opened has a span without length. Attributes are those of OpenTelemetry's semantic conventions where these have one, and
`websocket.*` where not. What may take many values (ids, paths, reasons, addresses) stands in spans alone. Attributes of
metrics take few: the role, the direction, the cause, and the close code, where codes that nobody registered count as
one for each thousand.

An instrument of the SDK takes longer for one number than a connection for a message. So messages are added up here, and
handed over at most once a second: with a message, a Ping, a Pong, an opening or an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import trio

from trio_closeevents import (
    CloseCause,
    CloseCode,
    CloseEvent,
    HandshakeError,
    Observer,
    Request,
    WebSocket,
    __version__,
    describe,
)

from ._measures import RoundTrips, size_of

try:
    from opentelemetry import metrics, propagate, trace
    from opentelemetry.context import get_current
except ImportError as error:
    raise ImportError('trio_closeevents.otel needs OpenTelemetry: pip install "trio-closeevents[otel]"') from error

__all__ = ["OpenTelemetry"]

Attributes: TypeAlias = dict[str, str | int | bool]

NAME: Final = "trio_closeevents"  # of the instrumentation
SPAN: Final = "websocket"  # a path in it would make too many different ones

DEFAULT_PORTS: Final[Mapping[str, int]] = {"ws": 80, "wss": 443}
KINDS: Final = {True: trace.SpanKind.CLIENT, False: trace.SpanKind.SERVER}  # by whether this side is the client
ROLES: Final = {True: "client", False: "server"}
DIRECTIONS: Final = {True: "transmit", False: "receive"}  # by whether this side has sent it

HAND_OVER_AFTER: Final = 1.0  # seconds

# Seconds. A connection lives for milliseconds or for days, a round trip takes what the network takes.
LIFETIMES: Final = (0.1, 1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600)
LATENCIES: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# Clean ends that are failures all the same.
FAILURES: Final = frozenset(
    {
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_FRAME_PAYLOAD_DATA,
        CloseCode.POLICY_VIOLATION,
        CloseCode.MESSAGE_TOO_BIG,
        CloseCode.MANDATORY_EXT,
        CloseCode.INTERNAL_ERROR,
        CloseCode.BAD_GATEWAY,
    }
)


@dataclass(slots=True)
class Way:
    """What travelled in one direction, and was not handed over yet."""

    attributes: Attributes
    messages: int = 0
    size: int = 0


@dataclass(slots=True)
class Connection:
    """What is known of one connection until it ends."""

    span: trace.Span
    opened_at: float
    round_trips: RoundTrips = field(default_factory=RoundTrips)


class OpenTelemetry(Observer):
    """Makes a span of each connection, and metrics of all: `serve(..., observer=OpenTelemetry())`.

    Without an SDK, or with one that is switched off, it does next to nothing. One of them is enough for all connections
    of a program, clients and servers.

    The parent of a span is the current one where the connection was opened; at a server it is what the request names
    in the headers of the global propagator (`traceparent`, unless that was changed), if it does. The connection's span
    is not made the current one: `trace.use_span(telemetry.span(ws))` does that for a block.

    Args:
        tracer_provider: the global one if `None`.
        meter_provider: the same for metrics.
        codes: close codes of 3000-4999 that metrics name, beside the registered ones; of all others they tell the
            thousand, as in `"4xxx"`.
        query: spans have the URL's query, which often carries a token.
        trust_parent: a server takes a client's word for the parent; if not, the span has a link to that.

    Raises:
        TypeError, ValueError: *codes* has something else.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        codes: Iterable[int] = (),
        query: bool = False,
        trust_parent: bool = True,
    ) -> None:
        self._tracer = trace.get_tracer(NAME, __version__, tracer_provider)
        self._codes = frozenset(checked_codes(codes)) | {int(code) for code in CloseCode}
        self._query = query
        self._trust_parent = trust_parent
        self._connections: WeakKeyDictionary[WebSocket, Connection] = WeakKeyDictionary()
        self._roles = {is_client: {"websocket.role": ROLES[is_client]} for is_client in (True, False)}
        self._ways = {
            (is_client, sent): Way({**self._roles[is_client], "network.io.direction": DIRECTIONS[sent]})
            for is_client in (True, False)
            for sent in (True, False)
        }
        self._hand_over_at = 0.0
        meter = metrics.get_meter(NAME, __version__, meter_provider)
        self._active = meter.create_up_down_counter(
            "websocket.active_connections", "{connection}", "Connections that are open"
        )
        self._messages = meter.create_counter("websocket.messages", "{message}", "Messages, by direction")
        self._bytes = meter.create_counter("websocket.io", "By", "Payload of messages, by direction, uncompressed")
        self._duration = meter.create_histogram(
            "websocket.connection.duration",
            "s",
            "From the opening to the end, by close code",
            explicit_bucket_boundaries_advisory=LIFETIMES,
        )
        self._latency = meter.create_histogram(
            "websocket.ping.duration",
            "s",
            "From a Ping of this side to its Pong",
            explicit_bucket_boundaries_advisory=LATENCIES,
        )
        self._failures = meter.create_counter(
            "websocket.handshake.failures", "{handshake}", "Connections that never opened, by cause"
        )

    def __repr__(self) -> str:
        return f"<OpenTelemetry of {len(self._connections)} open connections>"

    def span(self, websocket: WebSocket) -> trace.Span:
        """Return the span of a connection that has not ended; of any other, one that records nothing."""
        connection = self._connections.get(websocket)
        return trace.INVALID_SPAN if connection is None else connection.span

    # -- what it is told -------------------------------------------------------------------------------------------

    def open(self, websocket: WebSocket) -> None:
        """Begin the span."""
        is_client, request = websocket.is_client, websocket.request
        attributes = {
            **self._attributes_of_url(websocket.url, is_client=is_client),
            **self._attributes_of_request(request, is_client=is_client),
            **attributes_of_peer(websocket.remote_address, is_client=is_client),
        }
        if websocket.subprotocol is not None:
            attributes["websocket.subprotocol"] = websocket.subprotocol
        self._hand_over()
        span = self._start(request, attributes, is_client=is_client)
        self._connections[websocket] = Connection(span, trio.current_time())
        self._active.add(1, self._roles[is_client])

    def unopened(self, error: HandshakeError) -> None:
        """Make a span without length, and count the failure; not if a server has answered plain HTTP with success."""
        is_client, response = error.url is not None, error.response
        if not is_client and response is not None and response.status < 400:
            return
        cause = str(error.close_event.cause)
        attributes: Attributes = {"error.type": cause, "websocket.close.cause": cause}
        if error.url is not None:
            attributes |= self._attributes_of_url(error.url, is_client=True)
        if error.request is not None:
            attributes |= self._attributes_of_request(error.request, is_client=is_client)
            attributes |= attributes_of_peer(error.request.remote_address, is_client=is_client)
        told = cause
        if response is not None:
            attributes["http.response.status_code"] = response.status
            told += f": {response.status} {response.phrase}".rstrip()
        elif error.__cause__ is not None:
            told += f": {type(error.__cause__).__name__}"
        span = self._start(error.request, attributes, is_client=is_client)
        span.set_status(trace.StatusCode.ERROR, told)
        span.end()
        self._failures.add(1, {**self._roles[is_client], "error.type": cause})

    def message(self, websocket: WebSocket, data: str | bytes, *, sent: bool, last: bool) -> None:
        """Count it."""
        way = self._ways[websocket.is_client, sent]
        way.messages += last
        way.size += size_of(data)
        if trio.current_time() >= self._hand_over_at:
            self._hand_over()

    def ping(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
        """Remember when it was sent."""
        self._hand_over()
        connection = self._connections.get(websocket)
        if sent and connection is not None:
            connection.round_trips.begin(payload)

    def pong(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
        """Record the round trip."""
        self._hand_over()
        connection = self._connections.get(websocket)
        if sent or connection is None:
            return
        latency = connection.round_trips.end(payload)
        if latency is not None:
            self._latency.record(latency, self._roles[websocket.is_client])

    def close(self, websocket: WebSocket, event: CloseEvent) -> None:
        """End the span."""
        self._hand_over()
        connection = self._connections.pop(websocket, None)
        if connection is None:
            return
        role = self._roles[websocket.is_client]
        ended: Attributes = {
            **role,
            "websocket.close.code": self._name_of(event.code),
            "websocket.close.was_clean": event.was_clean,
        }
        self._active.add(-1, role)
        self._duration.record(trio.current_time() - connection.opened_at, ended)
        if connection.span.is_recording():
            connection.span.set_attributes(attributes_of_end(websocket, event))
            if not event.was_clean or event.cause is CloseCause.ERROR or event.code in FAILURES:
                connection.span.set_attribute("error.type", str(event.cause))
                connection.span.set_status(
                    trace.StatusCode.ERROR, f"{event.code} {describe(event.code)}: {event.cause}"
                )
        connection.span.end()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Add what has travelled to the counters."""
        self._hand_over_at = trio.current_time() + HAND_OVER_AFTER
        for way in self._ways.values():
            if way.messages:
                self._messages.add(way.messages, way.attributes)
            if way.size:
                self._bytes.add(way.size, way.attributes)
            way.messages = way.size = 0

    def _start(self, request: Request | None, attributes: Attributes, *, is_client: bool) -> trace.Span:
        """Begin a span where it belongs."""
        context = None
        links: list[trace.Link] = []
        if not is_client and request is not None:
            named = propagate.extract(request.headers, get_current())
            if self._trust_parent:
                context = named
            elif (theirs := trace.get_current_span(named).get_span_context()).is_remote:
                links = [trace.Link(theirs)]
        return self._tracer.start_span(SPAN, context, KINDS[is_client], attributes, links)

    def _attributes_of_url(self, url: str, *, is_client: bool) -> Attributes:
        shown = url if self._query else url.partition("?")[0]
        found: Attributes = {"url.full": shown} if is_client else {"url.scheme": url.partition(":")[0]}
        try:
            parts = urlsplit(url)
            if parts.hostname is not None:
                found["server.address"] = parts.hostname
                found["server.port"] = parts.port or DEFAULT_PORTS[parts.scheme]
        except ValueError:  # of a `Host` that is none
            pass
        return found

    def _attributes_of_request(self, request: Request, *, is_client: bool) -> Attributes:
        found: Attributes = {"network.protocol.name": "websocket"}
        if not is_client:
            found["url.path"] = request.path
            if self._query and request.query:
                found["url.query"] = request.query
        if "user-agent" in request.headers:
            found["user_agent.original"] = request.headers["user-agent"]
        return found

    def _name_of(self, code: int) -> str:
        return str(code) if code in self._codes else f"{code // 1000}xxx"


def attributes_of_peer(address: object, *, is_client: bool) -> Attributes:
    """Return what to tell of a socket's address."""
    if not isinstance(address, tuple):
        return {"network.transport": "unix"} if isinstance(address, str) else {}
    host, port = cast("tuple[str, int]", address)[:2]
    found: Attributes = {
        "network.transport": "tcp",
        "network.peer.address": host,
        "network.peer.port": port,
    }
    return found if is_client else {**found, "client.address": host}


def attributes_of_end(websocket: WebSocket, event: CloseEvent) -> Attributes:
    """Return what a span tells of the end of its connection."""
    stats = websocket.stats
    return {
        "websocket.close.code": str(event.code),
        "websocket.close.reason": event.reason,
        "websocket.close.cause": str(event.cause),
        "websocket.close.was_clean": event.was_clean,
        "websocket.close.initiated_by": str(event.initiated_by),
        "websocket.messages.sent": stats.messages_sent,
        "websocket.messages.received": stats.messages_received,
        "websocket.bytes.sent": stats.bytes_sent,
        "websocket.bytes.received": stats.bytes_received,
    }


def checked_codes(codes: Iterable[int]) -> Iterable[int]:
    """Check codes that metrics may name."""
    for code in codes:
        if not isinstance(code, int) or isinstance(code, bool):
            raise TypeError(f"a close code must be an int, not {type(code).__name__}: {code!r}")
        if not 3000 <= code <= 4999:
            raise ValueError(f"close code {code} is not a program's own: codes takes those of 3000-4999")
        yield code
