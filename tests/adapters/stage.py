"""A stage for one connection of `trio_websocket` in this library's block, and a raw peer at its other end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio
import trio_websocket
from stages import LEFT_BY, BaseOutcome, BaseStage, Script

from trio_closeevents import CloseCause, CloseEvent
from trio_closeevents.adapters import AdaptedWebSocket, from_trio_websocket
from trio_closeevents.testing import ScriptedPeer

Block = Callable[[AdaptedWebSocket], Awaitable[object]]

TIME_TO_DRAIN = 1.0  # seconds for a peer, when our side is over
TIME_TO_STOP = 0.2  # seconds for the package's reader, which then waits for nothing


@dataclass
class Outcome(BaseOutcome[AdaptedWebSocket]):
    """What came of a play."""

    reader_is_over: bool = False  # the package's, by itself, soon after the block; if it has a scope of its own


@dataclass(frozen=True)
class Stage(BaseStage):
    """Our side in its role, and over the wire."""

    options: dict[str, Any] = field(default_factory=dict)  # of the package's connection

    def secured(self, stream: trio.abc.HalfCloseableStream, *, server: bool) -> trio.abc.Stream:
        """Return *stream*, under TLS if that is the wire; as the package secures it."""
        if self.wire.tls is None:
            return stream
        context = self.wire.tls[0 if server else 1]
        name = None if server else "localhost"
        return trio.SSLStream(stream, context, server_side=server, server_hostname=name, https_compatible=True)

    async def open(
        self, nursery: trio.Nursery, stream: trio.abc.HalfCloseableStream
    ) -> trio_websocket.WebSocketConnection:
        """Return a live connection, whose reader is in *nursery*."""
        secured: Any = self.secured(stream, server=not self.is_client)
        if self.is_client:
            return await trio_websocket.wrap_client_stream(nursery, secured, "localhost", "/", **self.options)
        request = await trio_websocket.wrap_server_stream(nursery, secured, **self.options)
        return await request.accept()

    async def play(
        self,
        block: Block,
        script: Script,
        *,
        scope: trio.CancelScope | None = None,
        with_reader: bool = False,
        reader: trio.CancelScope | None = None,
        bounded: bool = False,
        raises: bool = False,
        **options: Any,
    ) -> Outcome:
        """Run *block* with our side of a connection and *script* with the raw peer, which has opened it already.

        Our side runs in *scope*, for somebody to cancel it. The package's reader runs there too *with_reader*, else in
        a scope of its own, *reader*. With *raises*, what leaves the block is kept. Returns when our side and the peer
        are done.
        """
        ours, theirs = await self.wire.pair(bounded=bounded)
        outcome = Outcome(ScriptedPeer(theirs, client=not self.is_client))
        options = {**self.wire.limits, **options}
        peer_is_done = trio.Event()
        reader_is_over = trio.Event()

        async def run_peer() -> None:
            try:
                outcome.peer.stream = self.secured(theirs, server=self.is_client)
                await outcome.peer.open()
                await script(outcome.peer)
            finally:
                peer_is_done.set()

        async def hold(task_status: trio.TaskStatus[trio_websocket.WebSocketConnection]) -> None:
            with reader or trio.CancelScope():
                async with trio.open_nursery() as inner:
                    task_status.started(await self.open(inner, ours))
            reader_is_over.set()

        async def run_block(connection: trio_websocket.WebSocketConnection) -> None:
            async with from_trio_websocket(connection, **options) as outcome.websocket:
                try:
                    await block(outcome.websocket)
                finally:
                    outcome.block_left = trio.current_time()

        try:
            with trio.fail_after(60 if self.wire.memory else 15):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(run_peer)
                    connection = None if with_reader else await nursery.start(hold)
                    try:
                        with scope or trio.CancelScope():
                            if connection is None:
                                async with trio.open_nursery() as inner:
                                    await run_block(await self.open(inner, ours))
                            else:
                                await run_block(connection)
                    except LEFT_BY as error:
                        if not raises:
                            raise
                        outcome.raised = error
                    outcome.seconds = trio.current_time() - outcome.block_left
                    with trio.move_on_after(TIME_TO_STOP):
                        await reader_is_over.wait()
                    outcome.reader_is_over = reader_is_over.is_set()
                    with trio.move_on_after(TIME_TO_DRAIN):
                        await peer_is_done.wait()
                    nursery.cancel_scope.cancel()
        finally:  # also where a test failed: a socket left open would fail another one
            await outcome.peer.aclose()
            await trio.aclose_forcefully(ours)
        return outcome


def event(code: int, cause: str | None = None, *, reason: str = "", lost: bool = False) -> CloseEvent:
    """Return the CloseEvent that is expected."""
    return CloseEvent(
        "close",
        code=code,
        reason=reason,
        initiated_by="transport" if lost else None,
        cause=None if cause is None else CloseCause(cause),
    )
