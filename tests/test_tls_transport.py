"""`TLSTransport`: TLS over a socket, with a peer that says by hand what goes over the wire."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from tls import TLS_VERSIONS, RawTls, socket_pair

from trio_closeevents import accept
from trio_closeevents._outbox import Outbox
from trio_closeevents._tls import TLSTransport

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
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    upgrade += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

    async def trickle() -> None:
        await peer.do_handshake()
        await peer.send_all(upgrade)
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
