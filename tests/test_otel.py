"""`OpenTelemetry`: what its spans and metrics tell, through the SDK's own exporters in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest
import trio
from opentelemetry import propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_closeevents import (
    CloseEvent,
    HandshakeError,
    HandshakeRejected,
    Headers,
    Listen,
    Request,
    Response,
    WebSocket,
    __version__,
    accept,
    connect,
    open_server,
)
from trio_closeevents.otel import OpenTelemetry
from trio_closeevents.testing import (
    CONTINUATION,
    PONG,
    TEXT,
    ScriptedPeer,
    open_scripted_pair,
    open_websocket_pair,
)

PARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # the example of W3C Trace Context


class Telemetry:
    """An SDK of its own for each test."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def observer(self, **options: Any) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def span(self, kind: trace.SpanKind = trace.SpanKind.CLIENT) -> ReadableSpan:
        [found] = [span for span in self.spans if span.kind is kind]
        return found

    def metrics(self) -> dict[str, dict[tuple[Any, ...], Any]]:
        """Return each metric's value by the values of its attributes; of a histogram, count and sum."""
        data = self.reader.get_metrics_data()
        found: dict[str, dict[tuple[Any, ...], Any]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                assert scope.scope.name == "trio_closeevents"
                assert scope.scope.version == __version__
                for metric in scope.metrics:
                    points = found.setdefault(metric.name, {})
                    for point in metric.data.data_points:
                        key = tuple((point.attributes or {}).values())
                        if isinstance(point, HistogramDataPoint):
                            points[key] = (point.count, point.sum)
                        elif isinstance(point, NumberDataPoint):
                            points[key] = point.value
        return found


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.tracer_provider.shutdown()
    telemetry.meter_provider.shutdown()


async def wait(websocket: WebSocket) -> None:
    await websocket.wait_closed()


# -- spans -----------------------------------------------------------------------------------------------------------


async def test_span_of_each_side_tells_where_and_how_it_ended(telemetry: Telemetry) -> None:
    """The semantic conventions' attributes where they have one, and `websocket.*`; no password, no query."""
    observer = telemetry.observer()

    async def handler(websocket: WebSocket) -> None:
        await websocket.send("two")
        await websocket.wait_closed()

    async with open_server(handler, "127.0.0.1", 0, observer=observer, subprotocols=["chat"]) as server:
        url = f"ws://me:secret@127.0.0.1:{server.port}/room?token=hidden"
        async with connect(url, observer=observer, subprotocols=["chat"], user_agent="tests", proxy=None) as websocket:
            assert await websocket.receive() == "two"
            await websocket.send(b"three")
            port = websocket.local_address[1]
            await websocket.aclose(4001, "enough")
        await wait_all_tasks_blocked()
    common = {
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "network.protocol.name": "websocket",
        "network.transport": "tcp",
        "network.peer.address": "127.0.0.1",
        "user_agent.original": "tests",
        "websocket.subprotocol": "chat",
        "websocket.close.code": "4001",
        "websocket.close.reason": "enough",
        "websocket.close.was_clean": True,
    }
    ours, theirs = telemetry.span(), telemetry.span(trace.SpanKind.SERVER)
    assert dict(ours.attributes or {}) == common | {
        "url.full": f"ws://127.0.0.1:{server.port}/room",
        "network.peer.port": server.port,
        "websocket.close.cause": "closed",
        "websocket.close.initiated_by": "local",
        "websocket.messages.sent": 1,
        "websocket.messages.received": 1,
        "websocket.bytes.sent": 5,
        "websocket.bytes.received": 3,
    }
    assert dict(theirs.attributes or {}) == common | {
        "url.scheme": "ws",
        "url.path": "/room",
        "client.address": "127.0.0.1",
        "network.peer.port": port,
        "websocket.close.cause": "remote",
        "websocket.close.initiated_by": "remote",
        "websocket.messages.sent": 1,
        "websocket.messages.received": 1,
        "websocket.bytes.sent": 3,
        "websocket.bytes.received": 5,
    }
    for span in (ours, theirs):
        assert span.name == "websocket"
        assert span.status.status_code is trace.StatusCode.UNSET
        assert span.parent is None
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.end_time > span.start_time


async def test_query_is_told_when_it_is_asked_for(telemetry: Telemetry) -> None:
    """In `url.full` of a client, in `url.query` of a server."""
    observer = telemetry.observer(query=True)
    async with open_server(wait, "127.0.0.1", 0, observer=observer) as server:
        async with connect(f"ws://127.0.0.1:{server.port}/?room=1", observer=observer, proxy=None):
            pass
        async with connect(f"ws://127.0.0.1:{server.port}/", proxy=None):
            pass
        await wait_all_tasks_blocked()
    ours = telemetry.span().attributes or {}
    assert str(ours["url.full"]).endswith("/?room=1")
    theirs = [dict(span.attributes or {}) for span in telemetry.spans if span.kind is trace.SpanKind.SERVER]
    assert [each.get("url.query") for each in theirs] == ["room=1", None]


@pytest.mark.parametrize("name", ["[::bad", ""])
async def test_span_without_a_socket_or_a_sensible_host_leaves_that_out(name: str, telemetry: Telemetry) -> None:
    """On a stream in memory there is no address; a `Host` that is none gives no server."""
    host = {"Host": name}
    ours, theirs = trio.testing.memory_stream_pair()
    observer = telemetry.observer()

    async def serve() -> None:
        async with accept(theirs, observer=observer) as websocket:
            await websocket.wait_closed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with connect("ws://test/", stream=ours, headers=host, user_agent=None):
            pass
    attributes = telemetry.span(trace.SpanKind.SERVER).attributes or {}
    assert [name for name in attributes if not name.startswith("websocket.")] == [
        "url.scheme",
        "network.protocol.name",
        "url.path",
    ]


async def test_span_on_a_unix_socket_says_so(telemetry: Telemetry, tmp_path: Any) -> None:
    """It has no address, and `unix` as its transport."""
    path = str(tmp_path / "socket")
    async with open_server(wait, listen=[Listen(path)]):
        async with connect("ws://test/", address=path, observer=telemetry.observer()):
            pass
    attributes = telemetry.span().attributes or {}
    assert attributes["network.transport"] == "unix"
    assert "network.peer.address" not in attributes
    assert attributes["server.port"] == 80


@pytest.mark.parametrize(
    ("end", "status", "described"),
    [
        ("return", trace.StatusCode.UNSET, None),
        ("remote", trace.StatusCode.UNSET, None),
        ("error", trace.StatusCode.ERROR, "1011 internal error: error"),
        ("refuse", trace.StatusCode.ERROR, "1008 policy violation: remote"),
        ("abort", trace.StatusCode.ERROR, "1006 abnormal closure: aborted"),
        ("garbage", trace.StatusCode.ERROR, "1006 abnormal closure: protocol_error"),
    ],
)
async def test_span_is_an_error_when_the_end_was(
    end: str, status: trace.StatusCode, described: str | None, telemetry: Telemetry, autojump_clock: MockClock
) -> None:
    """Unclean, by an exception of our block, or with a code that says so: with code and cause, and `error.type`."""

    async def play() -> None:
        async with open_scripted_pair(observer=telemetry.observer()) as (websocket, peer):
            if end == "error":
                peer_task.start_soon(peer.be_polite)
                raise ValueError("mine")
            if end == "return":
                peer_task.start_soon(peer.be_polite)
            elif end == "abort":
                websocket.abort()
            elif end == "garbage":
                await peer.send(peer.frame(0x3, b"reserved"))
            else:
                await peer.send(peer.close_frame(1008 if end == "refuse" else 4000))
            if end != "return":
                await websocket.wait_closed()

    async with trio.open_nursery() as peer_task:
        try:
            await play()
        except ValueError:
            assert end == "error"
    span = telemetry.span()
    assert span.status.status_code is status
    assert span.status.description == described
    assert (span.attributes or {}).get("error.type") == (described and described.rpartition(" ")[2])


async def test_parent_is_the_current_span_at_the_opening(telemetry: Telemetry) -> None:
    """At a client, and at a server that no client tells of a parent."""
    tracer = trace.get_tracer("tests", tracer_provider=telemetry.tracer_provider)
    with tracer.start_as_current_span("mine") as mine:
        async with open_websocket_pair(observer=telemetry.observer()):
            assert trace.get_current_span() is mine
    for kind in (trace.SpanKind.CLIENT, trace.SpanKind.SERVER):
        parent = telemetry.span(kind).parent
        assert parent is not None
        assert parent.span_id == mine.get_span_context().span_id


@pytest.mark.parametrize("trusted", [True, False])
async def test_server_takes_its_parent_from_the_request(trusted: bool, telemetry: Telemetry) -> None:
    """What a client injects into its headers is the parent of the server's span; or a link, if it is not trusted."""
    tracer = trace.get_tracer("tests", tracer_provider=telemetry.tracer_provider)
    async with open_server(wait, "127.0.0.1", 0, observer=telemetry.observer(trust_parent=trusted)) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        with tracer.start_as_current_span("mine") as mine:
            headers: dict[str, str] = {}
            propagate.inject(headers)
            async with connect(url, headers=headers, proxy=None):
                pass
        async with connect(url, headers={"traceparent": "nonsense"}, proxy=None):
            pass
        await wait_all_tasks_blocked()
    context = mine.get_span_context()
    with_parent, without = [span for span in telemetry.spans if span.kind is trace.SpanKind.SERVER]
    if trusted:
        assert with_parent.parent is not None
        assert with_parent.parent.span_id == context.span_id
        assert with_parent.context is not None
        assert with_parent.context.trace_id == context.trace_id
        assert not with_parent.links
    else:
        assert with_parent.parent is None
        assert [link.context.span_id for link in with_parent.links] == [context.span_id]
    assert without.parent is None
    assert not without.links


async def test_span_of_a_connection_can_be_used_until_it_ends(telemetry: Telemetry) -> None:
    """A program makes spans of its own under it, and renames it; afterwards there is one that records nothing."""
    tracer = trace.get_tracer("tests", tracer_provider=telemetry.tracer_provider)
    observer = telemetry.observer()
    async with open_websocket_pair(observer=observer) as (client, _):
        span = observer.span(client)
        span.update_name("websocket /chat")
        with trace.use_span(span), tracer.start_as_current_span("work"):
            await client.send("hello")
    assert observer.span(client) is trace.INVALID_SPAN
    [work] = [each for each in telemetry.spans if each.name == "work"]
    [renamed] = [each for each in telemetry.spans if each.name == "websocket /chat"]
    assert work.parent is not None
    assert renamed.context is not None
    assert work.parent.span_id == renamed.context.span_id


async def test_span_that_is_not_sampled_is_not_filled(telemetry: Telemetry) -> None:
    """The metrics are there all the same."""
    observer = OpenTelemetry(tracer_provider=trace.NoOpTracerProvider(), meter_provider=telemetry.meter_provider)
    async with open_websocket_pair(observer=observer):
        pass
    assert telemetry.spans == []
    assert telemetry.metrics()["websocket.active_connections"] == {("client",): 0, ("server",): 0}


# -- connections that never opened -------------------------------------------------------------------------------------


async def test_failed_handshake_is_a_span_without_length_and_a_count(telemetry: Telemetry) -> None:
    """On both sides, with the cause and the status; a client that found nobody tells the kind of error."""
    observer = telemetry.observer()

    def refuse(request: Request) -> Response:
        return Response(403)

    async with open_server(wait, "127.0.0.1", 0, observer=observer, process_request=refuse) as server:
        url = f"ws://me:secret@127.0.0.1:{server.port}/room?token=hidden"
        with pytest.raises(HandshakeRejected):
            async with connect(url, observer=observer, proxy=None, headers={"traceparent": PARENT}):
                raise AssertionError("it opened")
        await wait_all_tasks_blocked()
    ours, theirs = telemetry.span(), telemetry.span(trace.SpanKind.SERVER)
    assert (ours.attributes or {})["url.full"] == f"ws://127.0.0.1:{server.port}/room"
    assert (theirs.attributes or {})["url.path"] == "/room"
    assert (theirs.attributes or {})["client.address"] == "127.0.0.1"
    assert theirs.parent is not None
    assert f"{theirs.parent.span_id:016x}" == PARENT.split("-")[2]
    for span in (ours, theirs):
        assert span.status.description == "rejected: 403 Forbidden"
        assert (span.attributes or {})["error.type"] == "rejected"
        assert (span.attributes or {})["http.response.status_code"] == 403
        assert not [name for name, value in (span.attributes or {}).items() if "hidden" in str(value)]

    with pytest.raises(HandshakeError):
        async with connect("ws://127.0.0.1:1/", observer=observer, proxy=None):
            raise AssertionError("it opened")
    refused = telemetry.spans[-1]
    assert refused.status.status_code is trace.StatusCode.ERROR
    assert refused.status.description == "refused: ConnectionRefusedError"
    assert telemetry.metrics()["websocket.handshake.failures"] == {
        ("client", "rejected"): 1,
        ("server", "rejected"): 1,
        ("client", "refused"): 1,
    }


async def test_server_that_is_left_before_a_request_counts_that(telemetry: Telemetry) -> None:
    """There is no request to tell of."""
    async with open_server(wait, "127.0.0.1", 0, observer=telemetry.observer()) as server:
        (await trio.open_tcp_stream("127.0.0.1", server.port)).socket.close()
        while not telemetry.spans:
            await trio.sleep(0.001)
    span = telemetry.span(trace.SpanKind.SERVER)
    assert span.status.description == "eof"
    assert dict(span.attributes or {}) == {"error.type": "eof", "websocket.close.cause": "eof"}


async def test_plain_http_that_a_server_answers_is_no_failure(telemetry: Telemetry) -> None:
    """A health check once a second makes neither spans nor counts."""

    def healthy(request: Request) -> Response:
        return Response(200, Headers(), "well\n")

    async with open_server(wait, "127.0.0.1", 0, observer=telemetry.observer(), process_request=healthy) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"200 OK" in await stream.receive_some()
        await stream.aclose()
    assert telemetry.spans == []
    assert telemetry.metrics() == {}


# -- metrics -----------------------------------------------------------------------------------------------------------


async def test_metrics_count_messages_bytes_and_connections(telemetry: Telemetry, autojump_clock: MockClock) -> None:
    """By direction; bytes as UTF-8, of pieces too; the duration by the trio clock."""
    observer = telemetry.observer()

    async with open_scripted_pair(ScriptedPeer.be_polite, observer=observer, ping_interval=None) as (websocket, peer):
        await websocket.send("äö")
        await websocket.send([b"one", b"two"])
        await websocket.send("ascii")
        await peer.send(peer.frame(TEXT, b"a", fin=False), peer.frame(CONTINUATION, b"b"), peer.frame(TEXT, b"c"))
        assert [await websocket.receive(), await websocket.receive()] == ["ab", "c"]
        assert telemetry.metrics()["websocket.active_connections"] == {("client",): 1}
        await trio.sleep(30)
    found = telemetry.metrics()
    assert found["websocket.messages"] == {("client", "transmit"): 3, ("client", "receive"): 2}
    assert found["websocket.io"] == {("client", "transmit"): 15, ("client", "receive"): 3}
    assert found["websocket.active_connections"] == {("client",): 0}
    [(key, (count, total))] = found["websocket.connection.duration"].items()
    assert (key, count) == (("client", "1000", True), 1)
    assert total == pytest.approx(30)


async def test_metrics_have_messages_once_a_second(telemetry: Telemetry, autojump_clock: MockClock) -> None:
    """With the first of the next second, or with the next Ping; the end brings the rest."""
    observer = telemetry.observer()

    def sent() -> int:
        return int(telemetry.metrics().get("websocket.messages", {}).get(("client", "transmit"), 0))

    async with open_scripted_pair(ScriptedPeer.be_polite, observer=observer, ping_interval=None) as (websocket, _):
        for _ in range(3):
            await websocket.send("x")
        assert sent() == 0
        await trio.sleep(1)
        await websocket.send("x")
        assert sent() == 4
        await websocket.send("x")
        assert sent() == 4
        await websocket.ping()
        assert sent() == 5
        await websocket.send("x")
    assert sent() == 6


async def test_metrics_have_each_round_trip_once(telemetry: Telemetry, autojump_clock: MockClock) -> None:
    """Of Pongs that answer a Ping of ours; one that answers none, or an older Ping whose turn is over, has none."""
    observer = telemetry.observer()
    async with open_scripted_pair(observer=observer, ping_interval=None) as (websocket, peer):
        async with trio.open_nursery() as nursery:
            for payload in (b"1", b"2"):
                nursery.start_soon(websocket.ping, payload)
                await wait_all_tasks_blocked()
            await trio.sleep(0.25)
            await peer.send(peer.frame(PONG, b"none"), peer.frame(PONG, b"2"), peer.frame(PONG, b"1"))
        await websocket.pong(b"unasked")
        websocket.abort()
    [(key, (count, total))] = telemetry.metrics()["websocket.ping.duration"].items()
    assert (key, count) == (("client",), 1)
    assert total == pytest.approx(0.25)


async def test_metrics_forget_pings_that_nobody_answers(telemetry: Telemetry, autojump_clock: MockClock) -> None:
    """Of a hundred only the latest 64 wait for their Pong."""
    observer = telemetry.observer()
    async with open_scripted_pair(observer=observer, ping_interval=None) as (websocket, peer):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(websocket.ping, b"%d" % number)
                await wait_all_tasks_blocked()
            await peer.send(peer.frame(PONG, b"10"), peer.frame(PONG, b"50"), peer.frame(PONG, b"99"))
        websocket.abort()
    assert telemetry.metrics()["websocket.ping.duration"][("client",)][0] == 2


async def test_metrics_name_registered_codes_and_those_they_were_told_of(
    telemetry: Telemetry, autojump_clock: MockClock
) -> None:
    """Others count by their thousand, so that no peer makes as many series as it likes."""
    observer = telemetry.observer(codes=[4001])
    for code in (4001, 4002, 4999, 3000, 3456, 1001, None):
        async with open_scripted_pair(observer=observer) as (websocket, peer):
            await peer.send(peer.close_frame(code))
            await websocket.wait_closed()
    counts = {key[1]: value[0] for key, value in telemetry.metrics()["websocket.connection.duration"].items()}
    assert counts == {"4001": 1, "4xxx": 2, "3000": 1, "3xxx": 1, "1001": 1, "1005": 1}


@pytest.mark.parametrize(
    ("codes", "error", "text"),
    [
        (["4001"], TypeError, "a close code must be an int, not str: '4001'"),
        ([True], TypeError, "a close code must be an int, not bool: True"),
        ([1000], ValueError, "close code 1000 is not a program's own: codes takes those of 3000-4999"),
    ],
)
def test_codes_are_checked(codes: Any, error: type[Exception], text: str) -> None:
    """The error says which one, and what is allowed."""
    with pytest.raises(error, match=text):
        OpenTelemetry(codes=codes)


async def test_connection_that_is_not_known_is_passed_over(telemetry: Telemetry) -> None:
    """An observer that is told of a connection whose opening it did not see says nothing of it."""
    observer = telemetry.observer()
    async with open_websocket_pair() as (client, _):
        observer.ping(client, b"", sent=True)
        observer.pong(client, b"", sent=False)
        observer.close(client, CloseEvent("close", code=1000))
    assert telemetry.spans == []
    assert telemetry.metrics() == {}


async def test_without_an_sdk_nothing_happens() -> None:
    """The API alone has providers that do nothing."""
    observer = OpenTelemetry()
    async with open_websocket_pair(observer=observer) as (client, server):
        await client.send("hello")
        assert await server.receive() == "hello"
        await client.ping()
        assert not observer.span(client).is_recording()


def test_without_opentelemetry_the_import_names_the_extra() -> None:
    """The error says what to install."""
    program = "import sys; sys.modules['opentelemetry'] = None; import trio_closeevents.otel"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert done.stderr.splitlines()[-1] == (
        'ImportError: trio_closeevents.otel needs OpenTelemetry: pip install "trio-closeevents[otel]"'
    )
