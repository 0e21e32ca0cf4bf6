"""`ScriptedPeer`: polite in both roles to anybody, and honest about what it saw."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import trio
import trio.testing
from websockets.client import ClientProtocol
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from trio_closeevents import WebSocket, accept, connect
from trio_closeevents.testing import CLOSE, PING, TEXT, Frame, NotOpened, ScriptedPeer, assert_peer_saw

Ends = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]

ROLES: Final = ["client", "server"]


def block(role: str, stream: trio.abc.Stream) -> Any:
    return connect("ws://localhost/", stream=stream) if role == "client" else accept(stream)


def peers(pair: Ends) -> tuple[ScriptedPeer, ScriptedPeer]:
    return ScriptedPeer(pair[0], client=True), ScriptedPeer(pair[1], client=False)


async def open_both(client: ScriptedPeer, server: ScriptedPeer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.open)
        await client.open()


@pytest.mark.parametrize("role", ROLES)
async def test_polite_peer_ends_cleanly_whoever_closes(ends: Ends, role: str) -> None:
    """It opens, answers Pings, and echoes the Close frame, in memory and on sockets."""
    peer = ScriptedPeer(ends[1], client=role == "server")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def be_polite() -> None:
            await peer.open()
            await peer.be_polite()

        websocket: WebSocket
        async with block(role, ends[0]) as websocket:
            assert await websocket.ping(b"there?") >= 0
            await websocket.aclose(4000, "bye")
    event = websocket.close_event
    assert event is not None
    assert (event.code, event.reason, event.was_clean) == (4000, "bye", True)
    assert peer.record[:2] == ["Ping b'there?'", "Close 4000 'bye'"]
    assert peer.has_closed
    assert peer.has_gone
    assert peer.close == Frame(CLOSE, b"\x0f\xa0bye")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
async def test_polite_peer_that_has_closed_closes_once(ends: Ends, role: str, torn: bool) -> None:
    """Whether the Close frame went out whole, byte by byte, or under a label: there is no second one."""
    peer = ScriptedPeer(ends[1], client=role == "server")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def close_first() -> None:
            await peer.open()
            assert not peer.has_closed
            close = peer.close_frame(4001)
            for piece in [bytes([byte]) for byte in close] if torn else [close]:
                await peer.send(piece, label="a piece of the end" if torn else None)
            assert peer.has_closed
            await peer.be_polite()

        websocket: WebSocket
        async with block(role, ends[0]) as websocket:
            event = await websocket.wait_closed()
    assert (event.code, event.was_clean, event.initiated_by) == (4001, True, "remote")
    assert [str(each) for each in peer.frames] == ["Close 4001"]
    sent = [each.what for each in peer.log if not each.to_right]
    assert sent[0] == ("a piece of the end" if torn else "Close 4001")
    assert "Close 4001" not in sent[1:]


@pytest.mark.parametrize("role", ROLES)
async def test_polite_peers_get_along(ends: Ends, role: str) -> None:
    """One scripted peer and another, whoever begins."""
    client, server = peers(ends)
    await open_both(client, server)
    first = client if role == "client" else server
    async with trio.open_nursery() as nursery:
        await first.send(first.frame(PING, b"1") + first.frame(TEXT, b"2"), first.close_frame(1000, "done"))
        nursery.start_soon(client.be_polite)
        nursery.start_soon(server.be_polite)
    second = server if role == "client" else client
    assert second.record == ["Ping b'1'", "Text b'2'", "Close 1000 'done'", "FIN"]
    assert first.record[:2] == ["Pong b'1'", "Close 1000 'done'"]
    assert [str(each) for each in first.log[:3]] == ["← Ping b'1'", "← Text b'2'", "← Close 1000 'done'"]


@pytest.mark.parametrize("role", ROLES)
async def test_polite_peer_gets_along_with_another_library(role: str) -> None:
    """The sans-IO protocol of `websockets` at the other end, which closes."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=role == "server")
    protocol: Any = ClientProtocol(parse_uri("ws://localhost/")) if role == "client" else ServerProtocol()

    async def flush() -> None:
        for data in protocol.data_to_send():
            await (ours.send_all(data) if data else ours.send_eof())

    async def be_polite() -> None:
        await peer.open()
        await peer.be_polite()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_polite)
        if role == "client":
            protocol.send_request(protocol.connect())
            await flush()
        async for data in ours:
            protocol.receive_data(data)
            for event in protocol.events_received():
                if role == "server" and not hasattr(event, "opcode"):
                    protocol.send_response(protocol.accept(event))
                if protocol.state.name == "OPEN" and not peer.frames:
                    protocol.send_ping(b"x")
                    protocol.send_close(4000, "bye")
            await flush()
        protocol.receive_eof()
        await flush()
    assert (protocol.close_code, protocol.close_reason) == (4000, "bye")
    assert_peer_saw(peer, Frame(PING, b"x"), "Close 4000 'bye'", "FIN")


# -- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 10"])
async def test_open_that_is_cut_off_tells_what_came(ends: Ends, role: str, head: bytes) -> None:
    """The other side ends the transport in its half of the opening handshake."""
    await ends[0].send_all(head)
    await ends[0].send_eof()
    expected = re.escape(f"the transport ended (FIN) in the head {head!r}")
    with pytest.raises(NotOpened, match=expected):
        await ScriptedPeer(ends[1], client=role == "client").open()


async def test_open_without_an_upgrade_tells_the_answer() -> None:
    """A status other than 101."""
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"HTTP/1.1 426 Upgrade Required\r\n\r\n")
    with pytest.raises(NotOpened, match=r"no upgrade: b'HTTP/1\.1 426 Upgrade Required"):
        await ScriptedPeer(ours, client=True).open()


async def test_open_without_a_key_tells_the_request() -> None:
    """A request that is none for a WebSocket."""
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(NotOpened, match=r"no Sec-WebSocket-Key in the request b'GET / HTTP/1\.1"):
        await ScriptedPeer(ours, client=False).open()


@pytest.mark.parametrize("name", [b"Sec-WebSocket-Key: ", b"sec-websocket-key:"])
def test_upgrade_finds_the_key_however_it_is_spelled(name: bytes) -> None:
    """Names of header fields have no case (the example of RFC 6455 §1.3)."""
    response = ScriptedPeer.upgrade(b"GET / HTTP/1.1\r\n" + name + b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response


async def test_open_takes_extensions_and_bytes_behind() -> None:
    """Both sides see what the other offered, and what came in the same piece."""
    client, server = peers(trio.testing.memory_stream_pair())
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            await server.open(behind=b"\x89\x00", extensions="permessage-deflate")

        await client.open(behind=client.frame(TEXT, b"early"), extensions="permessage-deflate")
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" in server.request
    assert server.request == client.request
    assert (await client.receive(), await server.receive()) == (Frame(PING), Frame(TEXT, b"early"))


# -- what it saw -----------------------------------------------------------------------------------------------------


async def test_unread_is_half_a_frame(ends: Ends) -> None:
    """Bytes that are no frame yet stay; frames and endings are in the record."""
    client, server = peers(ends)
    await open_both(client, server)
    await client.send(client.frame(TEXT, b"whole"), b"\x81\x85abcd", label="one frame and a half")
    await client.fin()
    assert await server.receive_close() is None
    assert (server.record, server.unread, server.close) == (["Text b'whole'", "FIN"], b"\x81\x85abcd", None)
    assert [str(each) for each in client.log] == ["← one frame and a half", "← FIN"]
    assert await server.receive_bytes() == b""
    assert [str(each) for each in server.log] == ["→ Text b'whole'", "→ FIN"]


async def test_skip_reads_whatever_it_is(ends: Ends) -> None:
    """To the end of the transport, without a frame."""
    client, server = peers(ends)
    await client.stream.send_all(b"no frames " * 1000)
    await client.aclose()
    assert client.has_gone
    await server.skip()
    assert (server.record, server.unread) == (["FIN"], b"")


async def test_reset_is_seen_as_one_where_there_is_a_socket(ends: Ends) -> None:
    """In memory there is only the end. What is sent afterwards goes nowhere, quietly."""
    client, server = peers(ends)
    await client.reset()
    await server.drain()
    assert server.record == ["RST" if isinstance(ends[0], trio.SocketStream) else "FIN"]
    await client.send(b"\x81\x00")
    await client.fin()
    assert await client.receive() is None
    assert client.ended is None


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([b"\x89\x00\x88\x02\x03\xe8"], ["Ping", "Close 1000"]),
        ([b"\x89\x00\x88"], ["3 bytes"]),
        ([b"\x89\x00", b"", b"\xff"], ["Ping", "0 bytes", "1 bytes"]),
    ],
)
async def test_log_tells_the_frames_of_a_piece(pieces: list[bytes], words: list[str]) -> None:
    """Several in one piece too; what is no frame is told by its size."""
    ours, _ = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(ours, client=False)
    await peer.send(*pieces)
    assert [each.what for each in peer.log] == words
