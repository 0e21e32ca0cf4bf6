"""`Act`: one connection on the stage, a block of ours at one end and a raw peer at the other."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

import trio

from trio_closeevents import HandshakeError, Server, WebSocket
from trio_closeevents.testing import Arrow, ScriptedPeer

from .leaving import Leaving
from .row import Outcome

__all__ = ["Act", "Block", "Enter", "Script", "in_block", "in_generator"]

# What a raw peer that does not read takes at most; the rest stays with our side, whatever the system's own limit is.
SMALL_BUFFER: Final = 16 * 1024

Block = Callable[["Act"], Awaitable[object]]
Script = Callable[["Act"], Awaitable[object]]
Enter = Callable[["Act", AbstractAsyncContextManager[WebSocket]], Awaitable[object]]


@dataclass(eq=False, kw_only=True)
class Act:
    """One connection. Block and script know each other, so that one can wait until the other is where it wants it.

    Attributes:
        block: what our side does inside its block, or handler.
        scope: encloses the block; cancel it to cancel the block from outside.
        cue: for the order between block and script.
        begun: set when the inside of the block was entered.
        left: set when the inside of the block has been left.
        over: set when the block has been left, and the ending is over.
        messages: what the block received.
        server: ours, if there is one.
        leaving: how the block was left.
    """

    block: Block
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    cue: trio.Event = field(default_factory=trio.Event)
    begun: trio.Event = field(default_factory=trio.Event)
    left: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)
    messages: list[str | bytes] = field(default_factory=list[str | bytes])
    server: Server | None = None
    leaving: Leaving = field(default_factory=Leaving)
    _began: float = field(default_factory=trio.current_time)
    _seconds: float = 0
    _ws: WebSocket | None = None
    _peer: ScriptedPeer | None = None

    @property
    def ws(self) -> WebSocket:
        """Our side, once it is open."""
        assert self._ws is not None
        return self._ws

    @property
    def peer(self) -> ScriptedPeer:
        """The other side, once it is connected."""
        assert self._peer is not None
        return self._peer

    async def perform(self, websocket: WebSocket) -> None:
        """Be the inside of the block, or the handler."""
        self._ws = websocket
        self._began = trio.current_time()
        self.begun.set()
        try:
            with self.leaving.inside():
                await self.block(self)
        finally:
            self.left.set()

    async def own(self, opening: AbstractAsyncContextManager[WebSocket], enter: Enter) -> None:
        """Own the block: enter it and leave it."""
        with self.leaving.outside(self.scope):
            await enter(self, opening)
        self.finish()

    def finish(self) -> None:
        """Note that the ending is over."""
        self._seconds = trio.current_time() - self._began
        self.over.set()

    async def be_peer(self, stream: trio.SocketStream, script: Script, *, client: bool, opens: bool) -> None:
        """Be the raw peer, who *opens* the connection and then plays *script*."""
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self._peer = peer = ScriptedPeer(stream, client=client)
        try:
            if opens:
                await peer.open()
            await script(self)
        finally:
            await peer.aclose()

    def outcome(
        self,
        logged: Sequence[str],
        *,
        travelled: Sequence[Arrow] | None = None,
        other: WebSocket | None = None,
        leaving: Leaving | None = None,
    ) -> Outcome:
        """Return what came of it.

        Args:
            logged: the errors that were logged.
            travelled: the log of the relay, where there is no raw peer.
            other: the other side, where it is ours too.
            leaving: how the server was left, where the block is a handler.
        """
        leaving = leaving or self.leaving
        failed = leaving.raised if isinstance(leaving.raised, HandshakeError) else None
        response = failed.response if failed else None
        source = failed or self._ws
        return Outcome(
            event=source.close_event if source else None,
            travelled=tuple(map(str, self.peer.log if travelled is None else travelled)),
            other=other.close_event if other else None,
            raised=leaving.raised,
            left_by=self.leaving.left_by,
            unchanged=leaving.unchanged,
            logged=tuple(logged),
            messages=tuple(map(str, self.messages)),
            dropped=str(self._ws.stats.messages_dropped if self._ws else 0),
            status=response.status if response else None,
            seconds=self._seconds,
        )


async def in_block(act: Act, opening: AbstractAsyncContextManager[WebSocket]) -> None:
    """Enter the block that every program writes."""
    async with opening as websocket:
        await act.perform(websocket)


async def in_generator(act: Act, opening: AbstractAsyncContextManager[WebSocket]) -> None:
    """Let an async generator own the block, and close the generator."""

    async def generator() -> AsyncGenerator[WebSocket, None]:
        async with opening as websocket:
            await act.perform(websocket)
            yield websocket

    values = generator()
    await anext(values)
    await values.aclose()
