"""Peers on real sockets that do things by halves, and the stage on which they meet our side."""

from __future__ import annotations

import math
import os
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pytest
import trio
from tls import HOST, RawTls, Wire

from trio_closeevents import (
    CloseCause,
    CloseEvent,
    CloseFrame,
    ConnectionClosed,
    HandshakeError,
    WebSocket,
    accept,
    connect,
)
from trio_closeevents.testing import BINARY, ScriptedPeer

__all__ = [
    "GIVE_UP",
    "LIMIT",
    "MARGIN",
    "PATIENCE",
    "Block",
    "Cancel",
    "Collect",
    "NastyPeer",
    "Outcome",
    "Return",
    "Role",
    "Script",
    "Stage",
    "closed",
    "connected",
    "each_ending",
    "leave",
    "mid_request",
    "mid_tls",
    "never",
    "nothing_left",
    "read_all",
    "secured",
    "wait_closed",
]

LIMIT: Final = 0.2  # seconds: what our side may take, where the peer lets it take all
MARGIN: Final = 1.0  # how much longer it may take on a busy machine
PATIENCE: Final = 10.0  # a limit that must not be what ends a connection
GIVE_UP: Final = 30.0  # for a test that hangs
SMALL: Final = 2**15  # bytes of a socket's buffer that is soon full; a TLS record fits in

Role = Literal["client", "server"]  # ours


class NastyPeer(ScriptedPeer):
    """A raw peer on a socket, which also does by halves, or at once, what others do in order."""

    stream: trio.SocketStream | RawTls

    def __init__(self, tcp: trio.SocketStream, *, client: bool, wire: Wire) -> None:
        super().__init__(tcp, client=client)
        self.tcp = tcp
        self.wire = wire
        self.stopped = False

    def tls(self, below: trio.abc.HalfCloseableStream) -> RawTls:
        """Return this end of TLS, before its handshake."""
        context = self.wire.client_ssl_context if self.client else self.wire.server_ssl_context
        assert context is not None
        return RawTls(below, context, server_side=not self.client)

    async def secure(self) -> None:
        """Do the TLS handshake, if the wire is secured."""
        if self.wire.secure:
            self.stream = self.tls(self.tcp)
            await self.stream.do_handshake()

    async def open(self, *, behind: bytes = b"", extensions: str = "") -> None:
        """Run the opening handshake, that of TLS included."""
        await self.secure()
        await super().open(behind=behind, extensions=extensions)

    def half_a_frame(self) -> bytes:
        """Return a header and a tenth of what it announces."""
        return self.frame(BINARY, b"x" * 100)[:-90]

    def send_now(self, data: bytes) -> None:
        """Hand *data* to the kernel without a checkpoint; it must fit."""
        if isinstance(self.stream, RawTls):
            data = self.stream.encrypt(data)
        assert os.write(self.tcp.socket.fileno(), data) == len(data)

    def reset_now(self) -> None:
        """Drop the connection with RST, without a checkpoint."""
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.socket.close()

    async def read_rest(self) -> bytes:
        """Return all bytes up to the end of the transport, those that came with the opening handshake first."""
        data = bytearray(self.unread)
        while piece := await self.receive_bytes():
            data += piece
        return bytes(data)


Script = Callable[[NastyPeer], Awaitable[object]]
Block = Callable[[WebSocket], Awaitable[object]]


@dataclass
class Outcome:
    """What came of a play.

    Attributes:
        raised: what left our block, or kept it from being entered.
        seconds: how long our side took to end, or to find out that there is nothing to begin.
    """

    peer: NastyPeer
    raised: Exception | None = None
    seconds: float = math.nan
    websocket: WebSocket | None = None

    @property
    def event(self) -> CloseEvent:
        assert self.websocket is not None
        assert self.websocket.close_event is not None
        return self.websocket.close_event


@dataclass
class Stage:
    """Our role, what is under the connection, and all peers that have played here."""

    role: Role
    wire: Wire
    peers: list[NastyPeer] = field(default_factory=list)

    async def pair(self, *, small_buffers: bool = False) -> tuple[trio.SocketStream, NastyPeer]:
        """Return both ends of a TCP connection."""
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        async with listener:
            if small_buffers:
                listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            ours = await trio.open_tcp_stream(HOST, listener.socket.getsockname()[1])
            theirs = await listener.accept()
        if small_buffers:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        peer = NastyPeer(theirs, client=self.role == "server", wire=self.wire)
        self.peers.append(peer)
        return ours, peer

    async def aclose(self) -> None:
        """Close the peers' sockets."""
        for peer in self.peers:
            await trio.aclose_forcefully(peer.tcp)

    def block(self, stream: trio.SocketStream, **options: Any) -> AbstractAsyncContextManager[WebSocket]:
        """Return the block of our side over *stream*."""
        options = {"open_timeout": PATIENCE, "close_timeout": PATIENCE, "cancel_timeout": PATIENCE} | options
        if self.role == "client":
            return connect(self.wire.url(1), stream=stream, ssl_context=self.wire.client_ssl_context, **options)
        return accept(stream, ssl_context=self.wire.server_ssl_context, **options)

    async def play(
        self,
        script: Script,
        block: Block,
        *,
        scope: trio.CancelScope | None = None,
        small_buffers: bool = False,
        **options: Any,
    ) -> Outcome:
        """Run *script* and our side's *block*, in *scope*, until both are done; nothing of our side is left then.

        The peer's transport stays open.
        """
        descriptors = len(os.listdir("/proc/self/fd"))
        ours, peer = await self.pair(small_buffers=small_buffers)
        outcome = Outcome(peer)
        tasks = trio.lowlevel.current_statistics().tasks_living
        with trio.fail_after(GIVE_UP):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(script, peer)
                begin = trio.current_time()
                try:
                    with scope or trio.CancelScope():
                        async with self.block(ours, **options) as outcome.websocket:
                            try:
                                await block(outcome.websocket)
                            finally:
                                begin = trio.current_time()
                except (HandshakeError, ConnectionClosed) as error:
                    outcome.raised = error
                outcome.seconds = trio.current_time() - begin
                peer.stopped = True
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert len(os.listdir("/proc/self/fd")) - descriptors == (peer.tcp.socket.fileno() != -1)
        return outcome


# -- how far an opening gets -------------------------------------------------------------------------------------------


async def connected(peer: NastyPeer) -> None:
    """TCP only."""


async def mid_tls(peer: NastyPeer) -> None:
    """Half of a ClientHello, or of what answers it."""
    if peer.wire.secure:
        flight = await peer.tls(peer.tcp).first_flight()
        await peer.tcp.send_all(flight[: len(flight) // 2])


async def secured(peer: NastyPeer) -> None:
    """TLS, and not a byte of HTTP."""
    await peer.secure()


async def mid_request(peer: NastyPeer) -> None:
    """Half of the request, or of the 101."""
    await peer.secure()
    if not peer.client:
        await peer.read_head()
    await peer.stream.send_all(b"GET / HTTP/1.1\r\nHo" if peer.client else b"HTTP/1.1 101 Switching Protocols\r\nUpgr")


# -- what a block does -------------------------------------------------------------------------------------------------


class Collect:
    """A block that receives all messages, and keeps them."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []

    async def __call__(self, ws: WebSocket) -> None:
        while True:
            self.messages.append(await ws.receive())


async def leave(ws: WebSocket) -> None:
    """Return at once."""


async def wait_closed(ws: WebSocket) -> None:
    await ws.wait_closed()


async def never(ws: WebSocket) -> None:
    raise AssertionError("this connection must not open")


def closed(
    code: int,
    by: Literal["local", "remote", "transport"],
    cause: CloseCause,
    *,
    sent: CloseFrame | None = None,
    received: CloseFrame | None = None,
    clean: bool = False,
) -> CloseEvent:
    """Return the event that is expected; the reason is that of *received*."""
    reason = received.reason if received else ""
    return CloseEvent(
        "close",
        code=code,
        reason=reason,
        was_clean=clean,
        initiated_by=by,
        cause=cause,
        sent=sent,
        received=received,
    )


class Return:
    """A block that returns, and has `close_timeout` to end."""

    cause: Final = CloseCause.EXIT
    frame: Final = CloseFrame(1000)
    limits: Final[dict[str, Any]] = {"close_timeout": LIMIT, "cancel_timeout": PATIENCE}

    def __init__(self, when: Block = leave) -> None:
        self.scope = trio.CancelScope()
        self._when = when

    async def __call__(self, ws: WebSocket) -> None:
        await self._when(ws)


class Cancel(Return):
    """A block that is cancelled, and has `cancel_timeout` to end."""

    cause: Final = CloseCause.CANCELLED  # type: ignore[misc]
    frame: Final = CloseFrame(1001)  # type: ignore[misc]
    limits: Final[dict[str, Any]] = {"close_timeout": PATIENCE, "cancel_timeout": LIMIT}  # type: ignore[misc]

    async def __call__(self, ws: WebSocket) -> None:
        await self._when(ws)
        self.scope.cancel()
        await trio.sleep_forever()


each_ending = pytest.mark.parametrize("ending", [Return, Cancel], ids=["return", "cancel"])


# -- what is left, and what was said -----------------------------------------------------------------------------------


@asynccontextmanager
async def nothing_left() -> AsyncGenerator[None]:
    """Check that the block leaves no file descriptor and no task behind."""
    descriptors = os.listdir("/proc/self/fd")
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(GIVE_UP):
        yield
    assert os.listdir("/proc/self/fd") == descriptors
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Read up to the end, which may be a reset."""
    data = bytearray()
    try:
        while piece := await stream.receive_some():
            data += piece
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    return bytes(data)
