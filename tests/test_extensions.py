"""Extensions of the protocol that users write: negotiated, applied to frames, held to the limits."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import pytest
import trio
from trio.testing import MockClock
from websockets.extensions import ClientExtensionFactory, ServerExtensionFactory
from websockets.extensions import Extension as PeerExtension
from websockets.frames import Frame as PeerFrame
from websockets.frames import Opcode as PeerOpcode
from websockets.trio.client import connect as peer_connect
from websockets.trio.server import serve as peer_serve
from websockets.typing import ExtensionName
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from trio_closeevents import (
    CloseCause,
    ConnectionBroken,
    ConnectionClosed,
    HandshakeError,
    HandshakeRejected,
    WebSocket,
    connect,
    open_server,
)
from trio_closeevents.testing import CLOSE, CONTINUATION, TEXT, ScriptedPeer, WebSocketPair, open_websocket_pair

PAGE: Final = Path(__file__).parent.parent / "docs" / "messages.rst"
RSV2: Final = 0b010


def extension_of_the_page() -> type[Extension]:
    """Return the class that the documentation shows."""
    page = PAGE.read_text(encoding="utf-8")
    code = page[
        page.index("    from wsproto.extensions import") : page.index(
            "    async with connect(", page.index("x-reverse")
        )
    ]
    names: dict[str, Any] = {}
    exec(dedent(code), names)
    kind: type[Extension] = names["Reverse"]
    return kind


Reverse: Final[Any] = extension_of_the_page()
MESSAGES: Final[list[str | bytes]] = ["hello", "Grüße, 世界", "", b"\x00\x01\x02", b"", b"x" * 100_000, "é" * 50_000]


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


# -- our own on both sides -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_extension_is_applied_both_ways(compression: Any, autojump_clock: MockClock) -> None:
    """Whole messages, in fragments, and piece by piece; beside compression too."""
    async with open_websocket_pair(extensions=[Reverse], compression=compression) as (client, server):
        assert "x-reverse" in client.response.headers["sec-websocket-extensions"]
        for sender, receiver in ((client, server), (server, client)):
            async with trio.open_nursery() as nursery:
                for message in MESSAGES:
                    nursery.start_soon(sender.send, message)
                    assert await receiver.receive() == message
                nursery.start_soon(sender.send, ["one", "zwei", "drei"])
                assert await receiver.receive() == "onezweidrei"
                nursery.start_soon(sender.send, [b"one", b"two"])
                async with receiver.receive_stream() as pieces:
                    assert [piece async for piece in pieces] == [b"one", b"two"]
                assert await sender.ping(b"as it is") >= 0
    assert client.close_event is not None
    assert client.close_event.was_clean
    assert client.close_event.code == 1000


async def test_extension_changes_what_travels(autojump_clock: MockClock) -> None:
    """The payload is turned round on the wire."""
    pair = open_websocket_pair(extensions=[Reverse])
    async with pair as (client, server):
        await client.send("abc")
        assert await server.receive() == "abc"
        log = [str(row) for row in WebSocketPair(client, server).log]
    assert [row for row in log if "cba" in row], log


async def test_extension_that_the_peer_does_not_know_is_not_used() -> None:
    """Then the short way is taken, and messages travel as they are."""
    async with open_server(echo, "127.0.0.1", 0) as server:
        async with connect(f"ws://127.0.0.1:{server.port}/", extensions=[Reverse]) as websocket:
            assert "sec-websocket-extensions" not in websocket.response.headers
            assert "x-reverse" in websocket.request.headers["sec-websocket-extensions"]
            await websocket.send("plain")
            assert await websocket.receive() == "plain"


async def test_extension_is_made_anew_for_each_connection() -> None:
    """Its state is that of one connection."""
    made: list[Extension] = []

    def make() -> Extension:
        made.append(Reverse())
        return made[-1]

    async with open_server(echo, "127.0.0.1", 0, extensions=[make]) as server:
        for _ in range(2):
            async with connect(f"ws://127.0.0.1:{server.port}/", extensions=[make]) as websocket:
                await websocket.send("abc")
                assert await websocket.receive() == "abc"
    assert len(set(map(id, made))) == 4
    assert all(each.enabled() for each in made)


# -- a peer of another make ------------------------------------------------------------------------------------------


class PeerReverse(PeerExtension):
    """The same, for `websockets`."""

    name = ExtensionName("x-reverse")

    def decode(self, frame: PeerFrame, *, max_size: int | None = None) -> PeerFrame:
        if not frame.rsv2:
            return frame
        return PeerFrame(frame.opcode, bytes(frame.data)[::-1], frame.fin)

    def encode(self, frame: PeerFrame) -> PeerFrame:
        if frame.opcode not in (PeerOpcode.TEXT, PeerOpcode.BINARY, PeerOpcode.CONT):
            return frame
        return PeerFrame(frame.opcode, bytes(frame.data)[::-1], frame.fin, rsv2=True)


class PeerFactory(ClientExtensionFactory, ServerExtensionFactory):
    name = ExtensionName("x-reverse")

    def get_request_params(self) -> Sequence[Any]:
        return []

    def process_response_params(self, params: Sequence[Any], accepted_extensions: Sequence[Any]) -> PeerExtension:
        return PeerReverse()

    def process_request_params(self, params: Sequence[Any], accepted_extensions: Sequence[Any]) -> Any:
        return [], PeerReverse()


async def test_extension_speaks_with_a_server_of_websockets() -> None:
    """What their extension reverses, ours turns round again."""

    async def peer_echo(peer: Any) -> None:
        async for message in peer:
            await peer.send(message)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: peer_serve(
                peer_echo, 0, host="127.0.0.1", extensions=[PeerFactory()], task_status=task_status
            )
        )
        port = server.listeners[0].socket.getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/", extensions=[Reverse]) as websocket:
            assert websocket.response.headers["sec-websocket-extensions"] == "x-reverse"
            for message in MESSAGES:
                await websocket.send(message)
                assert await websocket.receive() == message
        assert websocket.close_event is not None
        assert websocket.close_event.was_clean
        nursery.cancel_scope.cancel()


async def test_extension_speaks_with_a_client_of_websockets() -> None:
    """The other way round."""
    async with open_server(echo, "127.0.0.1", 0, extensions=[Reverse]) as server:
        async with peer_connect(f"ws://127.0.0.1:{server.port}/", extensions=[PeerFactory()], compression=None) as peer:
            for message in MESSAGES:
                await peer.send(message)
                assert await peer.recv() == message


# -- what can go wrong -----------------------------------------------------------------------------------------------


class Agreed(Extension):
    """Whatever is offered is agreed on; control frames are left alone, and what carries data goes through `change`."""

    name = "x-test"
    is_control = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        return True

    def accept(self, offer: str) -> bool | str | None:
        return True

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self.is_control = opcode.iscontrol()
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        return data if self.is_control else self.change(bytes(data))

    def change(self, data: bytes) -> bytes | CloseReason:
        return data


class Growing(Agreed):
    """Each byte is a thousand."""

    def change(self, data: bytes) -> bytes | CloseReason:
        return data * 1000


class Shrinking(Agreed):
    """A thousand bytes are one."""

    def change(self, data: bytes) -> bytes | CloseReason:
        return data[::1000]


class Refusing(Agreed):
    """Calls every frame a violation of its own."""

    reason = CloseReason.INVALID_FRAME_PAYLOAD_DATA

    def change(self, data: bytes) -> bytes | CloseReason:
        return self.reason


class Suspicious(Refusing):
    reason = CloseReason.POLICY_VIOLATION


class TooBig(Refusing):
    reason = CloseReason.MESSAGE_TOO_BIG


class Broken(Agreed):
    """Has a bug."""

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        raise LookupError("a bug")


async def play(kind: type[Extension], *frames: tuple[int, bytes, bool, int], **options: Any) -> tuple[Any, list[Any]]:
    """Let a peer with *kind* agreed on send *frames* of (opcode, payload, fin, rsv); return event and messages."""
    ours, theirs = trio.testing.memory_stream_pair()

    peer = ScriptedPeer(theirs, client=False)
    messages: list[Any] = []
    async with trio.open_nursery() as nursery:

        async def be_peer() -> None:
            await peer.open(extensions="x-test")
            for opcode, payload, fin, rsv in frames:
                await peer.send(peer.frame(opcode, payload, fin=fin, rsv=rsv))
            await peer.be_polite()

        nursery.start_soon(be_peer)
        async with connect("ws://test/", stream=ours, extensions=[kind], **options) as websocket:
            try:
                async for message in websocket:
                    messages.append(message)
            except ConnectionClosed:
                pass
            event = await websocket.wait_closed()
    return event, messages


CLOSING: Final = (CLOSE, b"\x03\xe8", True, 0)


async def test_extension_that_makes_much_of_little_is_held_to_max_message_size(autojump_clock: MockClock) -> None:
    """What comes out counts, not what travels: 1009, and what came before is delivered."""
    frames = [(TEXT, b"ab", True, 0), (TEXT, b"abcdef", True, 0)]
    event, messages = await play(Growing, *frames, max_message_size=2000)
    assert [len(message) for message in messages] == [2000]
    assert (event.sent.code, event.cause) == (1009, CloseCause.MESSAGE_TOO_BIG)
    assert event.sent.reason == "message of 6000 bytes is over the limit of 2000"


async def test_extension_that_makes_much_of_little_in_fragments(autojump_clock: MockClock) -> None:
    """The fragments count together."""
    frames = [(TEXT, b"ab", False, 0), (CONTINUATION, b"cd", True, 0)]
    event, messages = await play(Growing, *frames, max_message_size=3000)
    assert messages == []
    assert (event.sent.code, event.sent.reason) == (1009, "message of 4000 bytes is over the limit of 3000")


async def test_extension_that_makes_little_of_much_may_travel_long(autojump_clock: MockClock) -> None:
    """A frame larger than the limit is fine if what comes out of it is within."""
    event, messages = await play(Shrinking, (TEXT, b"abcde" * 2000, True, 0), CLOSING, max_message_size=100)
    assert messages == ["a" * 10]
    assert event.code == 1000


async def test_reserved_bit_that_no_extension_claims_fails_the_connection(autojump_clock: MockClock) -> None:
    """1002, of data and of control frames (fail-frame)."""
    for opcode in (TEXT, 0x9):
        event, messages = await play(Agreed, (TEXT, b"fine", True, 0), (opcode, b"odd", True, RSV2))
        assert messages == ["fine"]
        assert (event.sent.code, event.cause) == (1002, CloseCause.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("kind", "code", "cause"),
    [
        (Refusing, 1007, CloseCause.INVALID_PAYLOAD),
        (Suspicious, 1008, CloseCause.PROTOCOL_ERROR),
        (TooBig, 1009, CloseCause.PROTOCOL_ERROR),
    ],
)
async def test_extension_that_refuses_a_frame_fails_the_connection(
    kind: type[Extension], code: int, cause: CloseCause, autojump_clock: MockClock
) -> None:
    """With the code that it returns."""
    event, messages = await play(kind, (TEXT, b"x", True, 0))
    assert messages == []
    assert (event.sent.code, event.cause) == (code, cause)


async def test_extension_with_a_bug_fails_its_connection_with_1011(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """As a bug of the library does (fail-internal): logged with its traceback."""
    event, messages = await play(Broken, (TEXT, b"x", True, 0))
    assert messages == []
    assert (event.sent.code, event.cause) == (1011, CloseCause.INTERNAL_ERROR)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_extension_and_a_close_with_every_code(autojump_clock: MockClock) -> None:
    """Close frames go through wsproto and the extension too."""
    for code in (1000, 1012, 4999):
        event, _ = await play(Agreed, (CLOSE, code.to_bytes(2) + b"why", True, 0))
        assert (event.code, event.reason, event.was_clean) == (code, "why", True)


async def test_extension_drops_what_comes_after_our_close(autojump_clock: MockClock) -> None:
    """Skipped, not stored, and the peer's Close behind it counts (peer-data-after-ours)."""
    async with open_websocket_pair(extensions=[Reverse]) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, 4000)
            await server.send(["late", "message"])
    assert client.close_event is not None
    assert (client.close_event.code, client.close_event.was_clean) == (4000, True)


class Veiled(Agreed):
    """Veils every payload, control frames too: 1000 travels as the bytes of 1014, with a reserved bit."""

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        return RsvBits(False, True, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        return veil(data)

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        return RsvBits(False, True, False), veil(data)


def veil(data: bytes) -> bytes:
    return bytes(byte ^ 0x1E * (at % 2) for at, byte in enumerate(data))


async def test_extension_that_changes_control_frames_closes_cleanly(autojump_clock: MockClock) -> None:
    """What is read of a Close is what the extension makes of it, behind our own Close too."""
    async with open_websocket_pair(extensions=[Veiled]) as (client, server):
        await client.send("hello")
        assert await server.receive() == "hello"
        assert await server.ping() >= 0
        await client.aclose(1000, "bye")
    for websocket in (client, server):
        event = websocket.close_event
        assert event is not None
        assert (event.code, event.reason, event.was_clean) == (1000, "bye", True)


def no_extension() -> Any:
    return "x-reverse"


def broken_factory() -> Extension:
    raise LookupError("a bug")


@pytest.mark.parametrize(("factory", "kind"), [(no_extension, TypeError), (broken_factory, LookupError)])
async def test_factory_that_returns_no_extension_or_raises(
    factory: Any, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """At a client the call raises; a server answers 500, logs it, and serves on."""
    with pytest.raises(kind):
        connect("ws://test/", extensions=[factory])
    async with open_server(echo, "127.0.0.1", 0, extensions=[factory]) as server:
        for _ in range(2):
            with pytest.raises(HandshakeRejected) as caught:
                async with connect(f"ws://127.0.0.1:{server.port}/"):
                    raise AssertionError("it opened")
            assert caught.value.response is not None
            assert caught.value.response.status == 500
    errors = [record.exc_info for record in caplog.records if record.levelno >= logging.ERROR]
    assert [type(error[1]) for error in errors if error] == [kind, kind]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([Agreed()], "extensions needs a new Agreed for each connection: give the class, or a function"),
        (Agreed(), "extensions needs a new Agreed for each connection: give the class, or a function"),
        (["x-test"], "extensions must be a list of classes or functions that return one, not 'x-test'"),
        (1, "extensions must be a list of classes or functions that return one, not 1"),
    ],
)
def test_extensions_must_be_made_anew(value: Any, words: str) -> None:
    """What is no class or function is refused at the call, with what to do."""
    with pytest.raises(TypeError, match=re.escape(words)):
        connect("ws://test/", extensions=value)


async def test_server_that_agrees_on_what_was_not_offered_is_no_peer(autojump_clock: MockClock) -> None:
    """HandshakeError, malformed (RFC 6455 §4.1)."""
    ours, theirs = trio.testing.memory_stream_pair()

    peer = ScriptedPeer(theirs, client=False)
    async with trio.open_nursery() as nursery:

        async def be_peer() -> None:
            await peer.open(extensions="x-other")

        nursery.start_soon(be_peer)
        with pytest.raises(HandshakeError) as caught:
            async with connect("ws://test/", stream=ours, extensions=[Agreed]):
                raise AssertionError("it opened")
    assert caught.value.close_event.cause is CloseCause.MALFORMED


async def test_extension_of_one_side_that_goes_wrong_is_seen_by_the_other(autojump_clock: MockClock) -> None:
    """The reason travels in the Close frame."""
    async with open_websocket_pair(extensions=[Refusing]) as (client, server):
        await client.send("hello")
        with pytest.raises(ConnectionBroken):
            await client.receive()
        assert client.close_event is not None
        assert client.close_event.code == 1007
        await server.wait_closed()
