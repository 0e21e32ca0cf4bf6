"""TLS on the loopback: contexts of a test's own authority, and wires that are plain or secured."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import trio
import trio.testing
import trustme

__all__ = [
    "HOST",
    "TLS_VERSIONS",
    "CertificateFiles",
    "Contexts",
    "RawTls",
    "Wire",
    "client_context",
    "server_context",
    "socket_pair",
]

HOST: Final = "127.0.0.1"
Contexts: TypeAlias = Callable[[ssl.TLSVersion], ssl.SSLContext]
TLS_VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def server_context(certificate: trustme.LeafCert, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a server's context with *certificate* that speaks *version* and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.minimum_version = context.maximum_version = version
    return context


def client_context(authority: trustme.CA, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a client's context that trusts *authority*, and speaks *version* and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    return context


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Return both ends of a TCP connection on the loopback."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        return await trio.testing.open_stream_to_socket_listener(listener), await listener.accept()


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """What a peer in another process needs: the authority's certificate, and a server's key with its chain (PEM)."""

    authority: Path
    server: Path


@dataclass(frozen=True, slots=True)
class Wire:
    """What is under a connection: plain TCP, or TLS of one version.

    Attributes:
        server_ssl_context: for the server's end; `None` on a plain wire.
        client_ssl_context: for the client's end; `None` on a plain wire.
    """

    name: str
    server_ssl_context: ssl.SSLContext | None = None
    client_ssl_context: ssl.SSLContext | None = None

    @property
    def secure(self) -> bool:
        return self.server_ssl_context is not None

    def url(self, port: int) -> str:
        """Return the URL of a server on the loopback."""
        return f"{'wss' if self.secure else 'ws'}://{HOST}:{port}/"

    async def dial(self, port: int) -> trio.abc.Stream:
        """Connect to a server on the loopback, TLS handshake included."""
        return await self.as_client(await trio.open_tcp_stream(HOST, port))

    async def as_client(self, stream: trio.SocketStream) -> trio.abc.Stream:
        """Secure *stream* as its client, if this wire is secured."""
        if self.client_ssl_context is None:
            return stream
        secured = trio.SSLStream(stream, self.client_ssl_context, server_hostname=HOST)
        await secured.do_handshake()
        return secured

    async def as_server(self, stream: trio.SocketStream) -> trio.abc.Stream:
        """Secure *stream* as its server, if this wire is secured."""
        if self.server_ssl_context is None:
            return stream
        secured = trio.SSLStream(stream, self.server_ssl_context, server_side=True)
        await secured.do_handshake()
        return secured


class RawTls(trio.abc.HalfCloseableStream):
    """TLS by hand, for peers that misbehave: it can be stopped half-way, and reads on when writing has failed.

    Attributes:
        below: what carries the ciphertext; may be used directly.
    """

    def __init__(self, below: trio.abc.HalfCloseableStream, context: ssl.SSLContext, *, server_side: bool) -> None:
        self.below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=None if server_side else HOST
        )
        self._server_side = server_side

    async def first_flight(self) -> bytes:
        """Return the first that this side has to say in the TLS handshake, without sending it."""
        if self._server_side:
            await self._feed()
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    async def do_handshake(self) -> None:
        done = False
        while not done:
            try:
                self._ssl.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            if self._outgoing.pending:
                await self.below.send_all(self._outgoing.read())
            if not done and not await self._feed():
                raise AssertionError("the transport ended in the TLS handshake")

    def encrypt(self, data: bytes) -> bytes:
        """Return *data* as it has to travel; nothing else may be sent before it."""
        self._ssl.write(data)
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """Return the end of what this side has to say."""
        with suppress(ssl.SSLWantReadError):
            self._ssl.unwrap()
        return self._outgoing.read()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.below.send_all(self.encrypt(bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        await self.below.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Shut down the sending side of the transport; there is no close_notify."""
        await self.below.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read; the end is the same, whether or not close_notify came before it."""
        while True:
            try:
                if data := self._ssl.read(max_bytes or 2**16):
                    return data
                break
            except ssl.SSLWantReadError:
                if not await self._feed():
                    return b""
        while await self.below.receive_some():  # behind close_notify: FIN, or RST
            pass
        return b""

    async def _feed(self) -> bool:
        data = await self.below.receive_some(2**16)
        self._incoming.write(data)
        return bool(data)

    async def aclose(self) -> None:
        await self.below.aclose()
