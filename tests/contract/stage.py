"""A stage for one connection: our side under test, and a raw peer at its other end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import trio
from stages import LEFT_BY, BaseOutcome, BaseStage, Script

from trio_closeevents import CloseCause, CloseEvent, CloseFrame, WebSocket, accept, connect
from trio_closeevents.testing import ScriptedPeer

Block = Callable[[WebSocket], Awaitable[object]]

# Set when the block of the play that a script belongs to has ended.
block_over: ContextVar[trio.Event] = ContextVar("block_over")


Outcome = BaseOutcome[WebSocket]


@dataclass(frozen=True)
class Stage(BaseStage):
    """Our side in its role, and over the wire."""

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
