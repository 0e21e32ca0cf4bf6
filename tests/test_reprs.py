"""What `repr` shows of everything public: enough to know a thing by in a log or a debugger, and no secrets."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
import trio
import trio.testing

import trio_closeevents
from trio_closeevents import (
    CloseCause,
    CloseCode,
    CloseEvent,
    CloseFrame,
    ClosePolicy,
    ConnectionBroken,
    ConnectionClosed,
    Deflate,
    HandshakeError,
    HandshakeRejected,
    HandshakeTimeout,
    Headers,
    Listen,
    LocallyClosed,
    Observer,
    Options,
    OptionsDict,
    ReadyState,
    ReconnectEvent,
    ReconnectPolicy,
    RemoteClosed,
    Request,
    Response,
    Routes,
    Stats,
    TrustedProxies,
    WebSocket,
    connect,
    diagram,
    open_server,
    otel,
    routing,
    testing,
    trace,
)
from trio_closeevents.testing import Arrow, Fault, FaultyStream, Frame, Note, Traffic, open_websocket_pair

EVENT: Final = CloseEvent("close", code=1001, reason="bye")
SHOWN: Final = "code=1001, reason='bye'"  # of EVENT
SECRET: Final = Headers({"Authorization": "Basic c2VjcmV0", "Cookie": "a=c2VjcmV0"})

# What has to be found in the repr of each class, in this order.
VALUES: Final[dict[type, tuple[Callable[[], object], list[str]]]] = {
    CloseCause: (lambda: CloseCause.EOF, ["CloseCause.EOF"]),
    CloseCode: (lambda: CloseCode.GOING_AWAY, ["CloseCode.GOING_AWAY", "1001"]),
    CloseEvent: (lambda: EVENT, ["CloseEvent(", SHOWN]),
    CloseFrame: (lambda: CloseFrame(1001, "bye"), ["CloseFrame(", SHOWN]),
    ClosePolicy: (
        lambda: ClosePolicy({KeyError: (4000, "key")}),
        ["ClosePolicy({KeyError: (4000, 'key')}", "on_exit="],
    ),
    ConnectionBroken: (lambda: ConnectionBroken(EVENT), ["ConnectionBroken(CloseEvent(", SHOWN]),
    ConnectionClosed: (lambda: ConnectionClosed(), ["ConnectionClosed(None)"]),
    Deflate: (lambda: Deflate(level=3), ["Deflate(", "level=3"]),
    HandshakeError: (lambda: HandshakeError("no", EVENT), ["HandshakeError('no', CloseEvent(", SHOWN]),
    HandshakeRejected: (
        lambda: HandshakeRejected("no", EVENT, Response(404)),
        ["HandshakeRejected('no', CloseEvent(", "Response(status=404"],
    ),
    HandshakeTimeout: (lambda: HandshakeTimeout("no", EVENT), ["HandshakeTimeout('no', CloseEvent("]),
    Headers: (lambda: Headers({"Host": "a"}), ["Headers([('Host', 'a')])"]),
    Listen: (lambda: Listen(("a", 1)), ["Listen(address=('a', 1)"]),
    LocallyClosed: (lambda: LocallyClosed(EVENT), ["LocallyClosed(CloseEvent("]),
    Options: (lambda: Options(max_queue=3), ["Options(", "max_queue=3", "policy=ClosePolicy("]),
    ReadyState: (lambda: ReadyState.OPEN, ["ReadyState.OPEN"]),
    ReconnectEvent: (lambda: ReconnectEvent("waiting", 2, 1, EVENT, 0.5), ["'waiting', attempt=2", SHOWN, "delay=0.5"]),
    ReconnectPolicy: (lambda: ReconnectPolicy(first=2), ["ReconnectPolicy(first=2"]),
    RemoteClosed: (lambda: RemoteClosed(EVENT), ["RemoteClosed(CloseEvent("]),
    Request: (lambda: Request("/a?b", Headers({"Host": "c"})), ["Request(target='/a?b'", "('Host', 'c')", "'GET'"]),
    Response: (
        lambda: Response(200, {"A": "b"}, b"fine"),
        ["Response(status=200, headers=Headers([('A', 'b')]), body=b'fine'"],
    ),
    Stats: (lambda: Stats(1, 2, 3, 4, 5, 6), ["Stats(messages_sent=1, bytes_sent=2"]),
    testing.Arrow: (lambda: Arrow("Text", to_right=True), ["Arrow(what='Text', to_right=True"]),
    testing.Fault: (lambda: Fault(after=3), ["Fault(", "after=3"]),
    testing.FaultyStream: (
        lambda: FaultyStream(trio.testing.memory_stream_pair()[0]),
        ["<FaultyStream over StapledStream(", "0 bytes received, 0 sent>"],
    ),
    testing.Frame: (lambda: Frame(1, b"hi"), ["Frame(", "b'hi'"]),
    testing.NotOpened: (lambda: testing.NotOpened("why"), ["NotOpened('why')"]),
    testing.Note: (lambda: Note("here"), ["Note(what='here'"]),
    testing.ScriptedPeer: (
        lambda: testing.ScriptedPeer(trio.testing.memory_stream_pair()[0], client=True),
        ["<ScriptedPeer client, received []>"],
    ),
    diagram.Diagram: (
        lambda: diagram.Diagram((Note("here"),), "us", "them", "title"),
        ["Diagram(", "Note(what='here'"],
    ),
    diagram.Remark: (lambda: diagram.Remark("later"), ["Remark(", "'later'"]),
    trace.Trace: (trace.Trace, ["<Trace of 0 connections>"]),
    testing.Traffic: (Traffic, ["<Traffic []>"]),
    TrustedProxies: (
        lambda: TrustedProxies(["10.0.0.0/8"], header="Forwarded"),
        ["TrustedProxies(addresses=('10.0.0.0/8',), header='Forwarded')"],
    ),
    routing.Router: (routing.Router, ["<Router []>"]),
    otel.OpenTelemetry: (otel.OpenTelemetry, ["<OpenTelemetry of 0 open connections>"]),
}

# Those that only a connection has, or a server: the tests below show them.
LIVING: Final = {
    "ByteStream",
    "CancelledRun",
    "JSONChannel",
    "MessageStream",
    "PeerPair",
    "Server",
    "WebSocket",
    "WebSocketPair",
}
OTHERS: Final[set[type]] = {Observer, OptionsDict, Routes}  # to be derived from, a dict, and a protocol


def public_classes() -> set[type]:
    """Return all that are promised."""
    names = [(trio_closeevents, name) for name in trio_closeevents.__all__]
    names += [(module, name) for module in (testing, diagram, trace, routing, otel) for name in module.__all__]
    found = (getattr(module, name) for module, name in names)
    return {each for each in found if inspect.isclass(each)}


def in_order(parts: list[str]) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def test_every_public_class_is_looked_at() -> None:
    """A new one comes with a row in this table."""
    assert {each for each in public_classes() if each.__name__ not in LIVING} == VALUES.keys() | OTHERS


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_repr_shows_what_a_value_is_made_of(kind: type) -> None:
    """Its name, and the fields that tell it from others."""
    make, parts = VALUES[kind]
    assert in_order(parts).search(repr(make()))


def test_no_repr_is_the_one_of_object() -> None:
    """`<... object at 0x7f...>` helps nobody."""
    poor = {
        each.__name__
        for each in public_classes() - OTHERS
        if vars(object)["__repr__"] is inspect.getattr_static(each, "__repr__")
    }
    assert poor == set()


async def test_repr_of_a_connection_and_what_is_made_of_it() -> None:
    """Role, path, id and state, and the end when there is one."""
    async with open_websocket_pair() as pair:
        client, server = pair
        assert re.fullmatch(r"<WebSocket client / [0-9a-f]{8} OPEN>", repr(client))
        assert repr(server) in repr(pair)
        assert repr(client.as_stream()) == f"<ByteStream over {client!r}>"
        assert repr(client.as_json()) == f"<JSONChannel over {client!r}>"
        pieces = client.receive_stream()
        assert repr(pieces) == "<MessageStream not open>"
        await server.send("text")
        async with pieces:
            assert repr(pieces) == "<MessageStream text, all of it here>"
            async for _ in pieces:
                pass
        assert repr(pieces) == "<MessageStream not open>"


async def test_repr_of_a_message_that_arrives() -> None:
    """Binary, and not all of it is here."""
    async with testing.open_scripted_pair() as pair:
        assert repr(pair.websocket) in repr(pair)
        assert "<ScriptedPeer server, received []>" in repr(pair)
        await pair.peer.send(testing.frame(testing.BINARY, b"ab", fin=False, masked=False))
        async with pair.websocket.receive_stream() as pieces:
            assert repr(pieces) == "<MessageStream binary, arriving>"
            pair.websocket.abort()


async def handle(ws: WebSocket) -> None:
    """Be a handler."""


async def test_repr_of_blocks_and_of_a_server() -> None:
    """What was asked for, and what it has become."""
    block = open_server(handle, "127.0.0.1", 0)
    assert in_order(["open_server(", "handle", "listen=[Listen(address=('127.0.0.1', 0)"]).match(repr(block))
    async with block as server:
        assert repr(server) == f"<Server at {server.port}, 0 connections, open>"
    assert repr(server).endswith("closing>")
    assert repr(connect("ws://a/b?c")) == "connect('ws://a/b?c')"


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        Request("/", SECRET),
        Response(200, SECRET),
        connect("ws://ada:c2VjcmV0@a/"),
        connect("ws://a/", headers=SECRET),
        connect("ws://a/", auth=("ada", "c2VjcmV0")),
    ],
    ids=["Headers", "Request", "Response", "connect by URL", "connect by header", "connect by auth"],
)
def test_repr_keeps_secrets(value: Any) -> None:
    """Passwords and cookies are not for logs."""
    assert "c2VjcmV0" not in repr(value)


def test_repr_of_a_long_body_is_short() -> None:
    """The beginning, and how much there is."""
    shown = repr(Response(200, body=b"x" * 100_000))
    assert len(shown) < 300
    assert "xxx'..., 100000 bytes" in shown
