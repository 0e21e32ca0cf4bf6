"""Connections without a network: two `WebSocket`s, or one and a `ScriptedPeer`, over streams in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Final, Literal, NamedTuple, TypeAlias, Unpack
from weakref import WeakKeyDictionary

import trio
import trio.testing

from trio_closeevents import HandshakeError, Options, OptionsDict, WebSocket, accept, connect

from ._diagram import Arrow
from ._peer import ScriptedPeer
from ._traffic import Traffic, Witness

__all__ = [
    "PeerPair",
    "Role",
    "Script",
    "Streams",
    "WebSocketPair",
    "log_of",
    "nothing",
    "open_scripted_pair",
    "open_websocket_pair",
]

Role: TypeAlias = Literal["client", "server"]
Script: TypeAlias = Callable[[ScriptedPeer], Awaitable[object]]
Streams: TypeAlias = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]

URL: Final = "ws://test/"
MARGIN: Final = 1.0  # seconds that the other end's task has beyond its own limit, which is what acts

logs: WeakKeyDictionary[WebSocket, list[Arrow]] = WeakKeyDictionary()


def log_of(websocket: WebSocket) -> list[Arrow] | None:
    """Return what travelled on a connection that was made here, with the client on the left; `None` on others."""
    return logs.get(websocket)


class WebSocketPair(NamedTuple):
    """Both ends of a connection: `client, server = pair`."""

    client: WebSocket
    server: WebSocket

    @property
    def log(self) -> list[Arrow]:
        """What travelled behind the opening handshake, in order, with the client on the left."""
        return logs[self.client]


class PeerPair(NamedTuple):
    """A connection and the scripted peer at its other end: `websocket, peer = pair`."""

    websocket: WebSocket
    peer: ScriptedPeer


class Beside(AbstractAsyncContextManager[None]):
    """Runs the other end in a task of its own, beside a block and beyond it: it sees the block's ending through.

    Theory: as `WebSocketBlock` does it, so that an exception that leaves the block is not wrapped.
    """

    def __init__(self, run: Callable[[], Awaitable[None]], patience: float) -> None:
        self._run = run
        self._patience = patience
        self._scope = trio.CancelScope(shield=True)  # its deadline comes with the ending
        self._over = trio.Event()

    async def __aenter__(self) -> None:
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._nursery.start_soon(self._run_to_the_end)

    async def _run_to_the_end(self) -> None:
        try:
            with self._scope:
                await self._run()
        finally:
            self._over.set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.deadline = trio.current_time() + self._patience
        with trio.CancelScope(shield=True, deadline=self._scope.deadline + MARGIN):
            await self._over.wait()
        while self._nursery.child_tasks:
            await trio.lowlevel.cancel_shielded_checkpoint()
        await self._manager.__aexit__(None, None, None)


class OpeningPair(AbstractAsyncContextManager[WebSocketPair]):
    """The block of `open_websocket_pair`."""

    def __init__(
        self,
        client: AbstractAsyncContextManager[WebSocket],
        server: AbstractAsyncContextManager[WebSocket],
        options: Options,
        traffic: Traffic,
    ) -> None:
        self._client = client
        self._server = server
        self._options = options
        self._traffic = traffic
        self._left = trio.Event()
        self._opened = trio.Event()
        self._websocket: WebSocket | None = None
        self._failure: HandshakeError | None = None

    async def _be_server(self) -> None:
        try:
            async with self._server as self._websocket:
                self._opened.set()
                await self._left.wait()
        except HandshakeError as error:
            self._failure = error
            self._opened.set()

    async def __aenter__(self) -> WebSocketPair:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(Beside(self._be_server, self._options.close_timeout + MARGIN))
            stack.callback(self._left.set)
            client = await stack.enter_async_context(self._client)
            await self._opened.wait()
            if self._websocket is None:
                assert self._failure is not None
                raise self._failure
            logs[client] = logs[self._websocket] = self._traffic.log
            self._stack = stack.pop_all()
        return WebSocketPair(client, self._websocket)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)


def open_websocket_pair(
    *, subprotocols: Iterable[str] = (), streams: Streams | None = None, **options: Unpack[OptionsDict]
) -> AbstractAsyncContextManager[WebSocketPair]:
    """Open two connected WebSockets in memory: `async with open_websocket_pair() as (client, server): ...`.

    No socket is involved, so the autojump clock works. Leaving the block ends the client's side as `connect` does:
    1000 if it returned, 1011 if an exception left it, 1001 if it was cancelled. The server's side stays open for that,
    answers, and ends too. Either side may end earlier, in any way.

    Args:
        subprotocols: what both sides speak.
        streams: use these two connected streams, the client's first; a `FaultyStream` is one.
        **options: see `Options`; for both sides.

    Raises:
        TypeError, ValueError: an argument is wrong.
        HandshakeError: at the start of the block, when a stream that was given breaks.
    """
    names = tuple(subprotocols)
    ours, theirs = trio.testing.memory_stream_pair() if streams is None else streams
    traffic = Traffic()
    client = connect(URL, stream=Witness(ours, traffic), subprotocols=names, **options)
    return OpeningPair(client, accept(theirs, subprotocols=names, **options), Options(**options), traffic)


class OpeningScripted(AbstractAsyncContextManager[PeerPair]):
    """The block of `open_scripted_pair`."""

    def __init__(self, block: AbstractAsyncContextManager[WebSocket], peer: ScriptedPeer, script: Script) -> None:
        self._block = block
        self._peer = peer
        self._script = script

    async def _be_peer(self) -> None:
        await self._peer.open()
        await self._script(self._peer)

    async def __aenter__(self) -> PeerPair:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(Beside(self._be_peer, 0))
            websocket = await stack.enter_async_context(self._block)
            logs[websocket] = self._peer.log
            self._stack = stack.pop_all()
        return PeerPair(websocket, self._peer)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)


async def nothing(_: ScriptedPeer) -> None:
    """The script of a peer that the test itself drives."""


def open_scripted_pair(
    script: Script = nothing, *, role: Role = "client", **options: Unpack[OptionsDict]
) -> AbstractAsyncContextManager[PeerPair]:
    """Open a WebSocket in memory with a scripted peer at its other end: `async with ... as (websocket, peer): ...`.

    Args:
        script: what the peer does after the opening handshake, in a task of its own; it is cancelled when the block is
            over. `ScriptedPeer.be_polite` is one. By default nothing: the test itself calls the peer's methods.
        role: that of the WebSocket.
        **options: see `Options`.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """
    if role not in ("client", "server"):
        raise ValueError(f"role must be 'client' or 'server', not {role!r}")
    ours, theirs = trio.testing.memory_stream_pair()
    block = connect(URL, stream=ours, **options) if role == "client" else accept(ours, **options)
    return OpeningScripted(block, ScriptedPeer(theirs, client=role == "server"), script)
