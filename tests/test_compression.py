"""Compression of whole connections: the option, what both sides make of it, and what a peer may do with it."""

from __future__ import annotations

import dataclasses
import random
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final, cast

import pytest
import trio
import trio.testing
from contract.stage import Stage, echo_close, event, send_then
from stages import Role, Script, Wire
from tls import HOST, Contexts

import trio_closeevents
from trio_closeevents import (
    CloseCause,
    CloseFrame,
    ConnectionBroken,
    Deflate,
    HandshakeError,
    HandshakeRejected,
    Options,
    WebSocket,
    accept,
    connect,
    open_server,
    serve,
)
from trio_closeevents.testing import BINARY, CONTINUATION, PING, TEXT, ScriptedPeer

OFF: Final = "permessage-deflate"
FIELD: Final = "sec-websocket-extensions"
RSV1: Final = 4
TAIL: Final = b"\x00\x00\xff\xff"
MIB: Final = 2**20


def deflated(*messages: bytes, level: int = 6) -> list[bytes]:
    """Return the payloads of *messages* as zlib compresses them, one after the other."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return [(compressor.compress(each) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)] for each in messages]


# -- the option ------------------------------------------------------------------------------------------------------

NUMBERS: Final = {
    "server_max_window_bits": (9, 15),
    "client_max_window_bits": (9, 15),
    "level": (0, 9),
    "memory_level": (1, 9),
    "threshold": (0, None),
}
SWITCHES: Final = ("server_no_context_takeover", "client_no_context_takeover")


def make(name: str, value: object) -> Deflate:
    arguments: dict[str, Any] = {name: value}
    return Deflate(**arguments)


def test_deflate_has_the_promised_defaults() -> None:
    """Both directions at their best; a level and a memory level that zlib itself takes."""
    assert dataclasses.asdict(Deflate()) == {
        "server_max_window_bits": 15,
        "client_max_window_bits": 15,
        "server_no_context_takeover": False,
        "client_no_context_takeover": False,
        "level": 6,
        "memory_level": 8,
        "threshold": 64,
    }


def test_deflate_is_a_value_made_by_keyword() -> None:
    """Equal by value, frozen, hashable, and nobody has to know the order of its fields; the package exports it."""
    assert trio_closeevents.Deflate is Deflate
    assert Deflate(level=1) == Deflate(level=1) != Deflate(level=2)
    assert len({Deflate(), Deflate(), Deflate(threshold=1)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Deflate().level = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Deflate(15)  # type: ignore[call-arg]


@pytest.mark.parametrize(("name", "bounds"), NUMBERS.items())
def test_deflate_takes_each_number_within_its_bounds(name: str, bounds: tuple[int, int | None]) -> None:
    """From the least to the most, both included."""
    least, most = bounds
    for value in (*range(least, (most or 9) + 1), most or 10**12):
        assert getattr(make(name, value), name) == value


@pytest.mark.parametrize(("name", "bounds"), NUMBERS.items())
def test_deflate_with_a_number_out_of_bounds_names_field_value_and_rule(
    name: str, bounds: tuple[int, int | None]
) -> None:
    """One less and one more; also the 8 bits that RFC 7692 knows and zlib does not."""
    least, most = bounds
    rule = f"at least {least}" if most is None else f"{least}-{most}"
    for value in (least - 1, -(10**9), *([] if most is None else [most + 1, 10**9])):
        with pytest.raises(ValueError) as caught:
            make(name, value)
        assert str(caught.value) == f"{name} must be {rule}, not {value}"


@pytest.mark.parametrize("value", ["9", 9.0, None, True, False, (9,)], ids=repr)
@pytest.mark.parametrize("name", NUMBERS)
def test_deflate_with_a_number_of_a_wrong_type_names_field_value_and_rule(name: str, value: object) -> None:
    """`True` is no number here."""
    with pytest.raises(TypeError) as caught:
        make(name, value)
    assert str(caught.value) == f"{name} must be an int, not {type(value).__name__}: {value!r}"


@pytest.mark.parametrize("value", [0, 1, None, "yes", 15], ids=repr)
@pytest.mark.parametrize("name", SWITCHES)
def test_deflate_with_a_switch_of_a_wrong_type_names_field_value_and_rule(name: str, value: object) -> None:
    """A switch is `True` or `False`."""
    with pytest.raises(TypeError) as caught:
        make(name, value)
    assert str(caught.value) == f"{name} must be a bool, not {value!r}"


def test_compression_may_be_none_a_word_or_a_value() -> None:
    """The word means the defaults."""
    assert Options().deflate is None
    assert Options(compression=None).deflate is None
    assert Options(compression="deflate").deflate == Deflate()
    assert Options(compression=Deflate(level=1)).deflate == Deflate(level=1)


# What no connection can be compressed with, and what the error says of it.
WRONG: Final[list[tuple[object, type[Exception], str]]] = [
    ("gzip", ValueError, "'gzip'"),
    ("", ValueError, "''"),
    ("Deflate", ValueError, "'Deflate'"),
    (True, TypeError, "bool: True"),
    (False, TypeError, "bool: False"),
    (15, TypeError, "int: 15"),
    (b"deflate", TypeError, "bytes: b'deflate'"),
    ({"level": 1}, TypeError, "dict: {'level': 1}"),
    (Deflate, TypeError, f"type: {Deflate!r}"),
]


@pytest.mark.parametrize(("value", "kind", "told"), WRONG, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("function", [connect, accept, serve, open_server], ids=lambda function: function.__name__)
def test_compression_that_is_none_is_refused_at_the_call(
    function: Callable[..., Any], value: object, kind: type[Exception], told: str
) -> None:
    """By all four alike, before anything is sent; the error names option, value and what would do."""
    positional = {connect: ("ws://h",), accept: (trio.testing.memory_stream_pair()[0],)}.get(function, (print, None, 0))
    with pytest.raises(kind) as caught:
        bound = function(*positional, compression=value)
        bound.send(None)  # `serve` is a coroutine function: its call is its first step
    assert str(caught.value) == f'compression must be "deflate", a Deflate or None, not {told}'


# -- two of us -------------------------------------------------------------------------------------------------------

WISHES: Final = {
    "defaults": ("deflate", "deflate"),
    "small windows": (Deflate(server_max_window_bits=9), Deflate(client_max_window_bits=9, memory_level=1)),
    "no context takeover": (Deflate(server_no_context_takeover=True), Deflate(client_no_context_takeover=True)),
    "everything compressed": (Deflate(threshold=0, level=9), Deflate(threshold=0, level=0)),
    "only the client": (None, "deflate"),
    "only the server": ("deflate", None),
    "nobody": (None, None),
}
MESSAGES: Final[list[str | bytes]] = [
    "",
    b"",
    "x" * 63,
    "x" * 64,
    "äöü€😀" * 1000,
    bytes(2**20),
    random.Random(7).randbytes(100_000),
    "äöü€😀" * 1000,
]


@asynccontextmanager
async def both(server: Any, client: Any, **options: Any) -> AsyncGenerator[tuple[WebSocket, WebSocket]]:
    """Connect our client to our server over memory."""
    ours, theirs = trio.testing.memory_stream_pair()
    opened = trio.Event()
    over = trio.Event()
    sides: list[WebSocket] = []

    async def run_server() -> None:
        async with accept(theirs, compression=server, **options) as ws:
            sides.append(ws)
            opened.set()
            await over.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_server)
        async with connect("ws://h/", stream=ours, compression=client, **options) as ws:
            await opened.wait()
            yield sides[0], ws
            over.set()


@pytest.mark.parametrize(("server", "client"), WISHES.values(), ids=WISHES)
async def test_messages_come_out_as_they_were_sent(
    autojump_clock: trio.testing.MockClock, server: Any, client: Any
) -> None:
    """Both ways, whole and in fragments, received whole and in pieces, whatever was agreed on; the end is clean."""
    async with both(server, client) as (left, right):
        for sender, receiver in ((left, right), (right, left)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all, sender)
                for message in MESSAGES:
                    for is_streamed in (False, True, False):
                        assert await received(receiver, streamed=is_streamed) == message
        sizes = sum(len(each.encode()) if isinstance(each, str) else len(each) for each in MESSAGES)
        assert left.stats.bytes_received == left.stats.bytes_sent == right.stats.bytes_sent == 3 * sizes
    for ws in (left, right):
        assert ws.close_event is not None
        assert ws.close_event.was_clean


async def send_all(ws: WebSocket) -> None:
    for message in MESSAGES:
        await ws.send(message)
        await ws.send(message)
        empty: Any = message[:0]
        await ws.send([message[: len(message) // 3], empty, message[len(message) // 3 :]])


async def received(ws: WebSocket, *, streamed: bool) -> str | bytes:
    if not streamed:
        return await ws.receive()
    async with ws.receive_stream() as pieces:
        parts = [part async for part in pieces]
        empty: Any = "" if pieces.is_text else b""
    whole: str | bytes = empty.join(parts)
    return whole


@pytest.mark.parametrize(("server", "client"), WISHES.values(), ids=WISHES)
async def test_headers_tell_what_was_agreed_on(
    autojump_clock: trio.testing.MockClock, server: Any, client: Any
) -> None:
    """`request` and `response` show it at both ends; without the option, nothing is offered and nothing accepted."""
    async with both(server, client) as (left, right):
        assert left.request.headers.get(FIELD) == right.request.headers.get(FIELD)
        assert left.response.headers.get(FIELD) == right.response.headers.get(FIELD)
        offer, answer = right.request.headers.get(FIELD), right.response.headers.get(FIELD)

    assert (offer is None) is (client is None)
    assert (answer is None) is (client is None or server is None)
    for value in (offer, answer):
        assert value is None or value.startswith(OFF)


@pytest.mark.parametrize("start", ["open_server", "serve"])
async def test_servers_take_the_option(start: str) -> None:
    """`open_server` and `serve` compress for each of their connections, each with a window of its own."""

    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async def visit(port: int) -> None:
        async with connect(f"ws://{HOST}:{port}/", compression="deflate") as ws:
            assert ws.response.headers[FIELD] == OFF
            for _ in range(3):
                await ws.send("Hello" * 100)
                assert await ws.receive() == "Hello" * 100

    async with trio.open_nursery() as nursery:
        if start == "serve":
            server = await nursery.start(partial(serve, compression="deflate"), echo, HOST, 0)
            async with trio.open_nursery() as visitors:
                for _ in range(3):
                    visitors.start_soon(visit, server.port)
            await server.aclose()
        else:
            async with open_server(echo, HOST, 0, compression="deflate") as server, trio.open_nursery() as visitors:
                for _ in range(3):
                    visitors.start_soon(visit, server.port)


# -- a raw peer ------------------------------------------------------------------------------------------------------


class Compressor(ScriptedPeer):
    """A raw peer that offers compression, or agrees to it."""

    async def open(self, *, behind: bytes = b"", extensions: str = OFF) -> None:
        """Run the opening handshake."""
        await super().open(behind=behind, extensions=extensions)

    def compressed(self, opcode: int, *payloads: bytes) -> bytes:
        """Return a message whose fragments are *payloads*, compressed already."""
        last = len(payloads) - 1
        frames = [
            self.frame(CONTINUATION if i else opcode, payload, fin=i == last, rsv=0 if i else RSV1)
            for i, payload in enumerate(payloads)
        ]
        return b"".join(frames)


class CompressedStage(Stage):
    """A stage whose peer compresses."""

    async def peer_over(self, stream: trio.abc.HalfCloseableStream) -> Compressor:
        """Return the raw peer over *stream*, its TLS handshake done."""
        return Compressor((await super().peer_over(stream)).stream, client=not self.is_client)


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> Role:
    """Our role."""
    ours: Role = request.param
    return ours


@pytest.fixture(params=["memory", "tcp", "tls1.3"])
def stage(
    role: Role, request: pytest.FixtureRequest, server_contexts: Contexts, client_contexts: Contexts
) -> CompressedStage:
    """Our side in both roles, over each kind of wire."""
    name: str = request.param
    version = ssl.TLSVersion.TLSv1_3
    tls = (server_contexts(version), client_contexts(version)) if name == "tls1.3" else None
    return CompressedStage(role, Wire(name, tls, close_timeout=1.0, cancel_timeout=0.5, tolerance=1.0))


@asynccontextmanager
async def opened(role: Role, extensions: str = OFF, **options: Any) -> AsyncGenerator[tuple[WebSocket, Compressor]]:
    """Open a connection over memory with a raw peer that offers or accepts *extensions*."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = Compressor(theirs, client=role == "server")
    options = {"compression": "deflate"} | options
    block = connect("ws://h/", stream=ours, **options) if role == "client" else accept(ours, **options)
    is_open = trio.Event()

    async def open_peer() -> None:
        await peer.open(extensions=extensions)
        is_open.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_peer)
        async with block as ws:
            await is_open.wait()
            yield ws, peer
            nursery.start_soon(answer_close, peer)


async def answer_close(peer: ScriptedPeer) -> None:
    """Be done with the connection."""
    await peer.drain()
    await peer.aclose()


@pytest.mark.parametrize("answer", ["", "x-unknown", f"{OFF}; server_max_window_bits=abc", f"{OFF};"])
async def test_peer_that_offers_nothing_of_use_gets_a_connection_without(
    autojump_clock: trio.testing.MockClock, answer: str
) -> None:
    """The server declines, says nothing of it, and both sides send as they are; a compressed frame is an error."""
    async with opened("server", answer) as (ws, peer):
        assert FIELD not in ws.response.headers
        await ws.send("x" * 1000)
        await peer.receive()
        assert peer.frames[0].payload == b"x" * 1000
        await peer.send(peer.frame(TEXT, b"plain"), peer.compressed(TEXT, *deflated(b"x")))
        assert await ws.receive() == "plain"
        with pytest.raises(ConnectionBroken) as caught:
            await ws.receive()
    assert caught.value.event is not None
    assert caught.value.event.cause is CloseCause.PROTOCOL_ERROR


async def test_server_that_declines_gets_messages_as_they_are(autojump_clock: trio.testing.MockClock) -> None:
    """What a client offered, it may not do before the server has agreed."""
    async with opened("client", "") as (ws, peer):
        assert ws.request.headers[FIELD] == f"{OFF}; client_max_window_bits"
        await ws.send("x" * 1000)
        await peer.receive()
        assert peer.frames[0].payload == b"x" * 1000


async def test_extensions_that_are_not_ascii_are_answered_400(autojump_clock: trio.testing.MockClock) -> None:
    """No bare exception at the server: the request is refused, and the block never begins."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=True)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def ask() -> None:
            with pytest.raises(AssertionError, match=r"no upgrade: b'HTTP/1\.1 400"):
                await peer.open(extensions=f"{OFF}; ä")
            await answer_close(peer)

        with pytest.raises(HandshakeRejected) as caught:
            async with accept(ours, compression="deflate"):
                pytest.fail("a connection was accepted")
    assert caught.value.close_event.cause is CloseCause.MALFORMED
    assert caught.value.response is not None
    assert caught.value.response.status == 400


@pytest.mark.parametrize(
    ("compression", "answer"),
    [
        ("deflate", f"{OFF}; server_max_window_bits=abc"),
        ("deflate", f"{OFF}; server_max_window_bits=20"),
        ("deflate", f"{OFF}; client_max_window_bits"),
        ("deflate", f"{OFF}; unknown"),
        ("deflate", f"{OFF}; server_no_context_takeover; server_no_context_takeover"),
        ("deflate", f"{OFF}, {OFF}"),
        ("deflate", f"{OFF}\r\nSec-WebSocket-Extensions: {OFF}"),
        ("deflate", "x-unknown"),
        ("deflate", f"{OFF}; ä"),
        (Deflate(server_no_context_takeover=True), OFF),
        (Deflate(server_max_window_bits=9), f"{OFF}; server_max_window_bits=10"),
        (None, OFF),
    ],
)
async def test_answer_that_makes_no_sense_is_a_handshake_error(
    autojump_clock: trio.testing.MockClock, compression: Any, answer: str
) -> None:
    """The client trusts no such server: cause `malformed`, no block, and nothing but the request was sent."""
    with pytest.RaisesGroup(pytest.RaisesExc(HandshakeError)) as caught:
        async with opened("client", answer, compression=compression):
            pytest.fail("a connection was made")
    error = cast("HandshakeError", caught.value.exceptions[0])
    assert error.close_event.cause is CloseCause.MALFORMED
    assert str(error).startswith("no connection to ws://h/: ")


async def test_frames_on_the_wire_are_compressed(autojump_clock: trio.testing.MockClock, role: Role) -> None:
    """From the threshold on, and the later ones refer to the earlier; a Ping is as it is."""
    async with opened(role, compression=Deflate(threshold=50)) as (ws, peer):
        await ws.send("x" * 49)
        await ws.send("Hello" * 10)
        await ws.send(b"Hello" * 10)
        await ws.send(iter(["Hel", "lo"]))
        await ws.pong(b"Hello" * 10)
        for _ in range(7):
            await peer.receive()
    plain, hello, again, *parts, pong = [each.payload for each in peer.frames[:7]]
    stream = zlib.decompressobj(-15)

    assert (plain, pong) == (b"x" * 49, b"Hello" * 10)
    assert stream.decompress(hello + TAIL) == stream.decompress(again + TAIL) == b"Hello" * 10
    assert len(again) < len(hello) < 20
    assert stream.decompress(b"".join(parts) + TAIL) == b"Hello"


# -- section 4: failing the connection -------------------------------------------------------------------------------

(HELLOS,) = deflated(b"Hello, hello" * 20)


async def read_until_broken(ws: WebSocket) -> None:
    """Take the good messages before the bad one; see everything end with it."""
    assert [await ws.receive(), await ws.receive()] == ["one", b"two" * 50]
    with pytest.raises(ConnectionBroken) as caught:
        await ws.receive()
    assert caught.value.event is ws.close_event is not None
    with pytest.raises(ConnectionBroken):
        await ws.send("x" * 100)


def offending(bad: Callable[[Compressor], bytes]) -> Script:
    """Return the script of a peer that sends two good messages and a bad one in one go, and then more."""

    async def script(peer: ScriptedPeer) -> None:
        assert isinstance(peer, Compressor)
        two, *_ = deflated(b"two" * 50)
        await peer.send(peer.frame(TEXT, b"one"), peer.compressed(BINARY, two), bad(peer), peer.frame(TEXT, b"after"))
        await peer.receive_close()
        await peer.send(peer.close_frame(1000))  # it does not count: nothing more is processed
        await answer_close(peer)

    return script


@pytest.mark.parametrize(
    "bad",
    [
        lambda peer: peer.compressed(BINARY, b"\xff\xff"),
        lambda peer: peer.compressed(TEXT, HELLOS[:9]),
        lambda peer: peer.compressed(BINARY, HELLOS[:9], b"\xff" * 50),
        lambda peer: peer.compressed(BINARY, b"\x03\x00" * 1000),
        lambda peer: peer.compressed(BINARY, HELLOS, HELLOS),
    ],
    ids=["no deflate", "cut", "second fragment", "too many last blocks", "two in one"],
)
async def test_fail_inflate_sends_1007(stage: CompressedStage, bad: Callable[[Compressor], bytes]) -> None:
    """Corrupt compressed data: the messages before it are delivered, then 1007 goes out, and FIN."""
    outcome = await stage.play(read_until_broken, offending(bad), compression="deflate")

    sent = CloseFrame(1007, "corrupt compressed data")
    assert outcome.event == event(1006, "invalid_payload", "local", sent=sent)
    assert outcome.peer.record == ["Close 1007 'corrupt compressed data'", "FIN"]


async def test_fail_inflate_is_noticed_before_the_frame_is_whole(stage: CompressedStage) -> None:
    """Compressed bytes are looked at as they arrive."""

    async def block(ws: WebSocket) -> None:
        with pytest.raises(ConnectionBroken):
            await ws.receive()

    outcome = await stage.play(
        block,
        send_then(lambda peer: peer.frame(BINARY, HELLOS + b"\xff" * 10_000, rsv=RSV1)[:1000], then=answer_close),
        compression="deflate",
    )
    assert outcome.peer.frames[0].code == 1007


async def test_fail_utf8_in_compressed_text_sends_1007(stage: CompressedStage) -> None:
    """What it inflates to is text, or is not."""
    bad = deflated(b"two" * 50, b"\xff" * 100)[1]
    outcome = await stage.play(
        read_until_broken, offending(lambda peer: peer.compressed(TEXT, bad)), compression="deflate"
    )
    assert outcome.peer.frames[0].code == 1007
    assert outcome.event == event(1006, "invalid_payload", "local", sent=outcome.ws.close_event.sent)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "bad",
    [
        lambda peer: peer.frame(TEXT, b"\xf2", fin=False, rsv=RSV1) + peer.frame(CONTINUATION, b"x", rsv=RSV1),
        lambda peer: peer.frame(PING, b"x", rsv=RSV1),
        lambda peer: peer.frame(TEXT, b"x", fin=False) + peer.frame(CONTINUATION, b"x", rsv=RSV1),
        lambda peer: peer.frame(TEXT, b"x", rsv=2),
        lambda peer: peer.frame(TEXT, b"x", rsv=1),
    ],
)
async def test_fail_frame_with_a_reserved_bit_sends_1002(
    stage: CompressedStage, bad: Callable[[Compressor], bytes]
) -> None:
    """RSV1 belongs to the first frame of a message, also where compression was agreed on."""
    outcome = await stage.play(read_until_broken, offending(bad), compression="deflate")

    sent = CloseFrame(1002, "reserved bit set")
    assert outcome.event == event(1006, "protocol_error", "local", sent=sent)


@pytest.mark.parametrize("parts", [1, 3], ids=["whole", "in fragments"])
async def test_fail_size_counts_after_inflation(stage: CompressedStage, parts: int) -> None:
    """A few bytes on the wire, one more than the limit inflated: 1009, and the reason names limit and size."""
    (payload,) = deflated(bytes(10_001))
    size = len(payload) // parts + 1
    pieces = [payload[begin : begin + size] for begin in range(0, size * parts, size)]
    outcome = await stage.play(
        read_until_broken,
        offending(lambda peer: peer.compressed(BINARY, *pieces)),
        compression="deflate",
        max_message_size=10_000,
    )

    sent = CloseFrame(1009, "message of at least 10001 bytes is over the limit of 10000")
    assert outcome.event == event(1006, "message_too_big", "local", sent=sent)


async def test_fail_size_spares_a_compressed_message_of_exactly_the_limit(stage: CompressedStage) -> None:
    """At the limit a message passes, and so does the next."""

    async def block(ws: WebSocket) -> None:
        assert [await ws.receive(), await ws.receive()] == [bytes(10_000), "Hello" * 2000]

    payloads = deflated(bytes(10_000), b"Hello" * 2000)
    script = send_then(
        lambda peer: peer.frame(BINARY, payloads[0], rsv=RSV1),
        lambda peer: peer.frame(TEXT, payloads[1], rsv=RSV1),
        then=echo_close,
    )
    outcome = await stage.play(block, script, compression="deflate", max_message_size=10_000)
    assert outcome.raised is None


# -- bombs -----------------------------------------------------------------------------------------------------------


@contextmanager
def memory_peak(most: int) -> Generator[None]:
    """Check that the block has never more than *most* bytes more than before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < most


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """200 MB in 200 KB."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    million = compressor.compress(bytes(10**6)) + compressor.flush(zlib.Z_FULL_FLUSH)
    data = million * 200 + b"\x00"
    assert len(data) < 220_000
    return data


async def test_bomb_ends_in_1009_and_costs_little(
    autojump_clock: trio.testing.MockClock, role: Role, bomb: bytes
) -> None:
    """On the whole connection: 200 MB in 200 KB cost less than 8 MB, whether or not the program waits for it."""
    for is_waiting in (True, False):
        async with opened(role) as (ws, peer):
            data = peer.compressed(BINARY, bomb)
            with memory_peak(8 * MIB):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(peer.send, data)
                    if not is_waiting:
                        await trio.sleep(5)
                        assert ws.close_event is None
                    with pytest.raises(ConnectionBroken) as caught:
                        await ws.receive()
        assert caught.value.event == event(
            1006,
            "message_too_big",
            "local",
            sent=CloseFrame(1009, f"message of at least {MIB + 1} bytes is over the limit of {MIB}"),
        )


async def test_bomb_as_a_stream_costs_little(autojump_clock: trio.testing.MockClock, role: Role, bomb: bytes) -> None:
    """In pieces it may be had whole, and memory holds a piece or two at a time; with a limit it ends in 1009."""
    for limit in (None, 10**7):
        total = 0
        async with opened(role) as (ws, peer):
            data = peer.compressed(BINARY, bomb)
            with memory_peak(8 * MIB):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(peer.send, data)
                    with nullcontext() if limit is None else pytest.raises(ConnectionBroken):
                        async with ws.receive_stream(max_size=limit) as pieces:
                            async for piece in pieces:
                                total += len(piece)
        if limit is None:
            assert total == 200 * 10**6
        else:
            assert total <= limit
            assert ws.close_event is not None
            assert ws.close_event.cause is CloseCause.MESSAGE_TOO_BIG


async def test_bomb_that_is_skipped_lets_others_run(
    autojump_clock: trio.testing.MockClock, role: Role, bomb: bytes
) -> None:
    """Nobody wants the rest of it: it is inflated in turns, and the next message comes out."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    hello = deflated(b"Hello" * 100)[0]
    async with opened(role) as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send, peer.compressed(BINARY, bomb), peer.compressed(TEXT, hello))
        async with ws.receive_stream() as pieces:
            assert await anext(pieces)
        nursery.start_soon(count)
        assert await ws.receive() == "Hello" * 100
        nursery.cancel_scope.cancel()
    assert turns > 200 // 5  # of 100 frames' worth of work each, about 3 MB, and a portion


async def test_message_over_the_limit_waits_for_a_stream(autojump_clock: trio.testing.MockClock, role: Role) -> None:
    """Looking ahead does not judge it: what was sent is larger than a message may be, and can be had in pieces."""
    message = random.Random(1).randbytes(3000) * 10
    payload, behind = deflated(message, b"behind" * 10)
    async with opened(role, max_message_size=1000) as (ws, peer):
        await peer.send(peer.compressed(BINARY, payload), peer.compressed(TEXT, behind))
        await trio.sleep(5)
        assert ws.close_event is None
        async with ws.receive_stream(max_size=len(message)) as pieces:
            assert b"".join([cast("bytes", piece) async for piece in pieces]) == message
        assert await ws.receive() == "behind" * 10


async def test_endless_blocks_of_nothing_let_others_run(autojump_clock: trio.testing.MockClock, role: Role) -> None:
    """A message that never grows and never ends: it costs no memory, and Pings inside it are answered."""
    nothing = b"\x00\x00\x00\xff\xff" * 13_000
    async with opened(role) as (ws, peer):
        first, later = peer.frame(BINARY, nothing, fin=False, rsv=RSV1), peer.frame(CONTINUATION, nothing, fin=False)
        with memory_peak(2 * MIB):
            await peer.send(first)
            for number in range(20):
                await peer.send(later, peer.frame(PING, b"%d" % number))
                pong = await peer.receive()
                assert pong is not None
                assert pong.payload == b"%d" % number
        assert ws.close_event is None
