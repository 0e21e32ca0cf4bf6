"""`TLSTransport`: TLS over a socket, with a peer that says by hand what goes over the wire."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio
import trio.testing
import trustme
from tls import TLS_VERSIONS, RawTls, server_context, socket_pair

from trio_closeevents import CloseCause, HandshakeError, accept, connect
from trio_closeevents._outbox import Outbox
from trio_closeevents._tls import MUCH_TO_SAY, TLSTransport

UPGRADE: Final = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

pytestmark = pytest.mark.parametrize("tls_version", TLS_VERSIONS, ids=lambda version: version.name)


@asynccontextmanager
async def tls_pair(ours: ssl.SSLContext, theirs: ssl.SSLContext) -> AsyncGenerator[tuple[TLSTransport, RawTls]]:
    """Our server's end and a client, after their TLS handshake."""
    near, far = await socket_pair()
    transport = TLSTransport(near, ours, server_side=True, server_hostname=None)
    peer = RawTls(far, theirs, server_side=False)
    async with peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.handshake)
            nursery.start_soon(peer.do_handshake)
        yield transport, peer
        await transport.aclose()


async def test_data_before_garbage_is_delivered_first(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """Both come in one segment. The error comes with every later read, and the peer gets an alert."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        await peer.below.send_all(peer.encrypt(b"last words") + b"\x17\x03\x03\x00\x20" + bytes(32))
        assert await transport.read() == b"last words"
        for _ in range(2):
            with pytest.raises(ssl.SSLError):
                await transport.read()
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            await peer.receive_some()


async def test_garbage_alone_is_an_error(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """So it is at once."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        await peer.below.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ssl.SSLError):
            await transport.read()


async def test_data_before_close_notify_is_delivered_first(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """Both come in one segment; then it is the end, as often as one asks."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        words = peer.encrypt(b"last words")
        await peer.below.send_all(words + peer.close_notify())
        assert await transport.read() == b"last words"
        assert [await transport.read() for _ in range(2)] == [b"", b""]


async def test_part_of_a_record_is_a_sign_of_life(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """It is no data yet, but it came from the peer; that nothing more has come is told too."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        record = peer.encrypt(b"slowly")
        for part in (record[:3], record[3:-1]):
            await peer.below.send_all(part)
            await transport.wait_input()
            assert transport.take() is None
            assert transport.has_part
            assert transport.take() is None
            assert not transport.has_part
        await peer.below.send_all(record[-1:])
        assert await transport.read() == b"slowly"


@pytest.mark.parametrize("begun_with", ["try_send", "write_nowait"])
async def test_what_the_network_does_not_take_goes_on_where_it_was(
    begun_with: str, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """Nothing twice, nothing left out; and it counts as queued until its last byte is gone."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        outbox = Outbox()
        number = 0

        def message() -> bytes:
            return number.to_bytes(4) * 10_000

        if begun_with == "try_send":
            while transport.try_send(message()):
                number += 1
            outbox.append(message())
            outbox.heads(0)
        else:
            while not outbox.size:
                outbox.append(message())
                transport.write_nowait(outbox)
                number += not outbox.size
        number += 1
        assert transport.try_send(b"others wait") == 0
        assert outbox.size == 40_000
        outbox.append(b"end")

        received = bytearray()

        async def receive() -> None:
            async for part in peer:
                received.extend(part)
            await peer.below.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            while outbox.size:
                await transport.write(outbox)
            await transport.finish()
        assert received == b"".join(each.to_bytes(4) * 10_000 for each in range(number)) + b"end"


async def test_end_of_tls_is_sent_behind_what_waits(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """`finish` does not tear a record that is half written."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        sent = 0
        while transport.try_send(bytes(100_000)):
            sent += 100_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.finish)
            await trio.testing.wait_all_tasks_blocked()
            received = 0
            async for part in peer:
                received += len(part)
            await peer.below.send_eof()
        assert received == sent + 100_000


async def test_slow_record_keeps_the_connection_alive(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """§6: any byte from the peer is a sign of life, that of an unfinished record too."""
    ours, theirs = await socket_pair()
    peer = RawTls(theirs, client_ssl_context, server_side=False)

    async def trickle() -> None:
        await peer.do_handshake()
        await peer.send_all(UPGRADE)
        while b"\r\n\r\n" not in await peer.receive_some():
            pass
        for byte in peer.encrypt(b"\x82\x84\0\0\0\0four"):
            await trio.sleep(0.02)
            await peer.below.send_all(bytes([byte]))

    async with peer, trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        async with accept(
            ours, ssl_context=server_ssl_context, ping_interval=0.1, ping_timeout=0.15, close_timeout=0
        ) as ws:
            assert await ws.receive() == b"four"
            assert ws.close_event is None


async def test_answers_of_tls_that_are_not_read_do_not_pile_up(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """A peer that asks for new keys without end, and reads nothing, is dropped; what it said before is delivered."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        while transport.try_send(bytes(100_000)):
            pass
        transport._encrypted.write(bytes(MUCH_TO_SAY))  # as OpenSSL does
        await peer.send_all(b"a")
        assert await transport.read() == b"a"
        transport._encrypted.write(b"one more")
        await peer.send_all(b"b")
        assert await transport.read() == b"b"
        with pytest.raises(ConnectionAbortedError, match="does not read them"):
            await transport.read()


async def test_answer_of_tls_goes_out_when_there_is_room_for_it(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """Although nobody has anything to send."""
    ours, theirs = await socket_pair()
    peer = RawTls(theirs, client_ssl_context, server_side=False)
    async with peer, trio.open_nursery() as nursery:

        async def open_peer() -> None:
            await peer.do_handshake()
            await peer.send_all(UPGRADE)
            await peer.receive_some()

        nursery.start_soon(open_peer)
        async with accept(ours, ssl_context=server_ssl_context, close_timeout=0) as ws:
            transport = ws._driver.transport
            assert isinstance(transport, TLSTransport)
            transport._tls.write(b"an answer")
            transport._unsent = memoryview(transport._encrypted.read())  # the network had no room for it
            await trio.testing.wait_all_tasks_blocked()
            await peer.send_all(b"\x8a\x80\0\0\0\0")
            assert await peer.receive_some() == b"an answer"


@pytest.mark.parametrize("woken_by", ["input", "interrupt"])
async def test_renegotiation_holds_writing_up_until_something_is_read(
    woken_by: str, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """TLS 1.2: what cannot be written meanwhile is not lost, and nobody turns in circles."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        tls = transport._tls

        class Renegotiating:
            def write(self, _: bytes) -> int:
                raise ssl.SSLWantReadError

            def read(self, size: int, buffer: memoryview) -> int:
                transport._tls = tls
                return tls.read(size, buffer)  # type: ignore[return-value]  # what it returns with a buffer

        transport._tls = Renegotiating()  # type: ignore[assignment]  # as far as it is used
        outbox = Outbox()
        outbox.append(b"late")
        assert transport.try_send(b"more") == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.write, outbox)
            await trio.testing.wait_all_tasks_blocked()
            if woken_by == "interrupt":
                transport.interrupt()
            else:
                await peer.send_all(b"done")
                assert await transport.read() == b"done"
        assert outbox.size == 4
        transport._tls = tls
        await transport.write(outbox)
        assert await peer.receive_some() == b"late"


async def test_end_takes_the_socket_from_who_still_waits_to_write(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """A write may wait for room that has come meanwhile; `finish` sends its own behind it all the same."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        outbox = Outbox()
        while not outbox.size:
            outbox.append(bytes(100_000))
            transport.write_nowait(outbox)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.write, outbox)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(transport.finish)
            await trio.testing.wait_all_tasks_blocked()
            async for _ in peer:
                pass
            await peer.below.send_eof()


async def test_name_that_cannot_be_one_is_told(client_ssl_context: ssl.SSLContext) -> None:
    """TLS has a limit on names that DNS does not have; nothing of the socket is left."""
    ours, theirs = await socket_pair()
    async with theirs:
        with pytest.raises(HandshakeError, match="the TLS handshake cannot begin") as caught:
            async with connect(f"wss://{'a.' * 130}com", stream=ours, ssl_context=client_ssl_context):
                pytest.fail("opened")
        assert caught.value.close_event.code == 1015
        assert await theirs.receive_some() == b""


async def test_closed_stream_is_told(client_ssl_context: ssl.SSLContext, server_ssl_context: ssl.SSLContext) -> None:
    """As without TLS."""
    ours, theirs = await socket_pair()
    await ours.aclose()
    await theirs.aclose()
    with pytest.raises(HandshakeError, match="closed already"):
        async with connect("wss://localhost", stream=ours, ssl_context=client_ssl_context):
            pytest.fail("opened")
    with pytest.raises(HandshakeError, match="closed already"):
        async with accept(theirs, ssl_context=server_ssl_context):
            pytest.fail("opened")


async def test_context_of_the_other_side_is_refused_at_the_call(
    client_ssl_context: ssl.SSLContext, server_ssl_context: ssl.SSLContext
) -> None:
    """The text names the way out."""
    with pytest.raises(ValueError, match="made for clients, and this is a server"):
        accept(trio.testing.memory_stream_pair()[0], ssl_context=client_ssl_context)
    with pytest.raises(ValueError, match=r"made for servers, .*Purpose\.SERVER_AUTH"):
        connect("wss://localhost", ssl_context=server_ssl_context)


async def test_never_secured_without_a_client_certificate(
    client_ssl_context: ssl.SSLContext, server_certificate: trustme.LeafCert, tls_version: ssl.TLSVersion
) -> None:
    """With TLS 1.3 the refusal comes only after the client's handshake is complete: 1015 all the same."""
    demanding = server_context(server_certificate, tls_version)
    demanding.verify_mode = ssl.CERT_REQUIRED
    ours, theirs = await socket_pair()

    async def serve() -> None:
        with pytest.raises(HandshakeError):
            async with accept(theirs, ssl_context=demanding):
                pytest.fail("opened")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(HandshakeError) as caught:
            async with connect("wss://127.0.0.1", stream=ours, ssl_context=client_ssl_context):
                pytest.fail("opened")
    assert caught.value.close_event.code == 1015
    assert caught.value.close_event.cause is CloseCause.TLS


async def test_peer_that_ends_without_close_notify_gets_ours(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """It is the end like any other, and no failure of which the peer would be told."""
    async with tls_pair(server_ssl_context, client_ssl_context) as (transport, peer):
        await peer.send_all(b"last words")
        await peer.below.send_eof()
        assert [await transport.read() for _ in range(3)] == [b"last words", b"", b""]
        await transport.write_all(b"good-bye")
        await transport.finish()
        assert await peer.receive_some() == b"good-bye"
        assert await peer.receive_some() == b""
