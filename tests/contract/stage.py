"""A stage for one connection: our side under test, and a raw peer at its other end.

It is played over memory streams under the autojump clock, where every limit is exact, and over real TCP and TLS,
where it is the kernel that says what arrived.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import trio
import trio.testing

from trio_closeevents import CloseCause, CloseEvent, CloseFrame, WebSocket, accept, connect
from trio_closeevents.testing import ScriptedPeer

Role = Literal["client", "server"]
Script = Callable[[ScriptedPeer], Awaitable[object]]
Block = Callable[[WebSocket], Awaitable[object]]

# What a block may be left by in these tests; trio.Cancelled is absorbed by the scope of the play.
LEFT_BY = (Exception, KeyboardInterrupt, SystemExit, BaseExceptionGroup)


# Set when the block of the play that a script belongs to has ended.
block_over: ContextVar[trio.Event] = ContextVar("block_over")


@dataclass(frozen=True)
class Wire:
    """What the bytes travel over, and the limits that suit its clock."""

    name: str
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None  # of the server, of the client
    close_timeout: float = 10.0
    cancel_timeout: float = 1.0
    tolerance: float = 0.05  # the ending may take that much longer than its limit

    @property
    def memory(self) -> bool:
        return self.name == "memory"

    @property
    def limits(self) -> dict[str, Any]:
        return {"close_timeout": self.close_timeout, "cancel_timeout": self.cancel_timeout}

    async def pair(self, *, bounded: bool = False) -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
        """Return two connected streams; with *bounded*, memory takes nothing that nobody reads, as sockets do."""
        if self.memory:
            return trio.testing.lockstep_stream_pair() if bounded else trio.testing.memory_stream_pair()
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            ours = await trio.testing.open_stream_to_socket_listener(listener)
            return ours, await listener.accept()


@dataclass
class Outcome:
    """What came of a play."""

    peer: ScriptedPeer
    websocket: WebSocket | None = None
    raised: BaseException | None = None
    block_left: float = 0.0  # when the block began to end
    seconds: float = 0.0  # from then until it had ended

    @property
    def ws(self) -> WebSocket:
        assert self.websocket is not None
        return self.websocket

    @property
    def event(self) -> CloseEvent | None:
        return self.ws.close_event


@dataclass(frozen=True)
class Stage:
    """Our side's role, and the wire."""

    role: Role
    wire: Wire

    @property
    def is_client(self) -> bool:
        return self.role == "client"

    def ours(self, stream: trio.abc.Stream, **options: Any) -> AbstractAsyncContextManager[WebSocket]:
        """Return the block of our side over *stream*, not entered yet."""
        options = {**self.wire.limits, **options}
        tls = self.wire.tls
        if self.is_client:
            if tls is None:
                return connect("ws://localhost/", stream=stream, **options)
            return connect("wss://localhost/", stream=stream, ssl_context=tls[1], **options)
        return accept(stream, ssl_context=tls[0] if tls else None, **options)

    async def peer_over(self, stream: trio.abc.HalfCloseableStream) -> ScriptedPeer:
        """Return the raw peer over *stream*, its TLS handshake done."""
        peer_stream: trio.abc.Stream = stream
        if self.wire.tls is not None:
            context = self.wire.tls[1] if not self.is_client else self.wire.tls[0]
            peer_stream = trio.SSLStream(
                stream, context, server_hostname=None if self.is_client else "localhost", server_side=self.is_client
            )
            await peer_stream.do_handshake()
        return ScriptedPeer(peer_stream, client=not self.is_client)

    async def play(
        self,
        block: Block,
        script: Script,
        *,
        scope: trio.CancelScope | None = None,
        bounded: bool = False,
        **options: Any,
    ) -> Outcome:
        """Run *block* with our side of a connection and *script* with the raw peer, which has opened it already.

        Our side runs in *scope*, for somebody to cancel it. Returns when both are done.
        """
        ours, theirs = await self.wire.pair(bounded=bounded)
        outcome = Outcome(ScriptedPeer(theirs, client=not self.is_client))

        async def run_peer() -> None:
            peer = await self.peer_over(theirs)
            outcome.peer = peer
            await peer.open()
            await script(peer)

        async def run_block(websocket: WebSocket) -> None:
            outcome.websocket = websocket
            try:
                await block(websocket)
            finally:
                outcome.block_left = trio.current_time()

        over = trio.Event()
        block_over.set(over)
        try:
            with trio.fail_after(60 if self.wire.memory else 15):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(run_peer)
                    try:
                        with scope or trio.CancelScope():
                            async with self.ours(ours, **options) as websocket:
                                await run_block(websocket)
                    except LEFT_BY as error:
                        outcome.raised = error
                    outcome.seconds = trio.current_time() - outcome.block_left
                    over.set()
        finally:  # also where a test failed: a socket left open would fail another one
            await outcome.peer.aclose()
        return outcome

    def took(self, outcome: Outcome, limit: float) -> bool:
        """Tell whether the ending took its whole *limit*, and not more."""
        return limit - 0.01 <= outcome.seconds <= limit + self.wire.tolerance

    def was_quick(self, outcome: Outcome) -> bool:
        """Tell whether the ending did not wait for any limit."""
        return outcome.seconds < self.wire.cancel_timeout * 0.9


def event(
    code: int,
    cause: CloseCause | str,
    by: Literal["local", "remote", "transport"],
    *,
    reason: str = "",
    clean: bool = False,
    sent: CloseFrame | int | None = None,
    received: CloseFrame | int | None = None,
) -> CloseEvent:
    """Return the CloseEvent that is expected; a frame without a reason may be given by its code."""
    return CloseEvent(
        "close",
        code=code,
        reason=reason,
        was_clean=clean,
        initiated_by=by,
        cause=CloseCause(cause),
        sent=CloseFrame(sent) if isinstance(sent, int) else sent,
        received=CloseFrame(received) if isinstance(received, int) else received,
    )


# -- what a peer does ----------------------------------------------------------------------------------------------


async def do_nothing(peer: ScriptedPeer) -> None:
    """Neither read nor write nor end TCP, until our side's block has ended."""
    await block_over.get().wait()


async def end_transport(peer: ScriptedPeer) -> None:
    """End TCP as RFC 6455 §7.1.1 has it: the server first."""
    if not peer.client:
        await peer.fin()
    await peer.drain()
    await peer.aclose()


async def echo_close(peer: ScriptedPeer) -> None:
    """Answer the Close frame as it came, and end the transport."""
    close = await peer.receive_close()
    if close is not None:
        await peer.send(peer.frame(close.opcode, close.payload))
        await end_transport(peer)


def answer_close(code: int | None, reason: str = "") -> Script:
    """Return the script of a peer that answers with a Close frame of its own choice."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(peer.close_frame(code, reason))
        await end_transport(peer)

    return script


async def only_read(peer: ScriptedPeer) -> None:
    """Read everything, say nothing."""
    await peer.drain()


def send_then(*pieces: Callable[[ScriptedPeer], bytes], then: Script = only_read) -> Script:
    """Return the script of a peer that sends what *pieces* make, in one go, and goes on with *then*."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(*(piece(peer) for piece in pieces))
        await then(peer)

    return script


# -- what a block does ---------------------------------------------------------------------------------------------


async def leave(websocket: WebSocket) -> None:
    """Return at once."""


async def read_to_the_end(websocket: WebSocket) -> list[str | bytes]:
    """Receive until iteration ends."""
    return [message async for message in websocket]
