"""Connections without a network: two `WebSocket`s, or one and a `ScriptedPeer`, over streams in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from inspect import signature
from types import TracebackType
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar, Unpack
from weakref import WeakKeyDictionary

import trio
import trio.testing

from trio_closeevents import ConnectionClosed, HandshakeError, Options, OptionsDict, WebSocket, accept, connect
from trio_closeevents._public import spelled_out
from trio_closeevents.diagram import Arrow, draw

from ._peer import NotOpened, ScriptedPeer
from ._traffic import Traffic, Witness

__all__ = [
    "PeerPair",
    "Role",
    "Script",
    "Streams",
    "WebSocketPair",
    "diagram_of",
    "nothing",
    "open_scripted_pair",
    "open_websocket_pair",
]

Role: TypeAlias = Literal["client", "server"]
Script: TypeAlias = Callable[[ScriptedPeer], Awaitable[object]]
Streams: TypeAlias = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]

T = TypeVar("T")

URL: Final = "ws://test/"
MARGIN: Final = 1.0  # seconds that the other end's task has beyond its own limit, which is what acts


class Log(NamedTuple):
    """What travelled on a connection, and who stood where."""

    rows: list[Arrow]
    left: str
    right: str


logs: WeakKeyDictionary[WebSocket, Log] = WeakKeyDictionary()


def diagram_of(websocket: WebSocket) -> str | None:
    """Draw what travelled on a connection that was made here; `None` for others."""
    log = logs.get(websocket)
    return None if log is None else draw(log.rows, left=log.left, right=log.right)


class WebSocketPair(NamedTuple):
    """Both ends of a connection: `client, server = pair`."""

    client: WebSocket
    server: WebSocket

    @property
    def log(self) -> list[Arrow]:
        """What travelled behind the opening handshake, in order, with the client on the left."""
        return logs[self.client].rows


class PeerPair(NamedTuple):
    """A connection and the scripted peer at its other end: `websocket, peer = pair`."""

    websocket: WebSocket
    peer: ScriptedPeer


class Beside(AbstractAsyncContextManager[None]):
    """Runs the other end in a task of its own, beside a block and beyond it: it sees the block's ending through.

    Theory: as `WebSocketBlock` does it, so that an exception that leaves the block is not wrapped. What the other end
    raises cancels the block, and is raised in its place, as it is; if the block has raised too, both go on in a group.

    Args:
        run: the other end.
        patience: seconds that it has when the block was left.
        cancel_patience: the same when the block was cancelled or interrupted, or is while it ends.
    """

    def __init__(self, run: Callable[[], Awaitable[None]], patience: float, cancel_patience: float) -> None:
        self._run = run
        self._patience = patience
        self._cancel_patience = cancel_patience
        self._scope = trio.CancelScope(shield=True)  # its deadline comes with the ending
        self._block = trio.CancelScope()
        self._failure: BaseException | None = None
        self._over = trio.Event()

    async def __aenter__(self) -> None:
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._nursery.start_soon(self._run_to_the_end)
        self._block.__enter__()

    async def _run_to_the_end(self) -> None:
        try:
            with self._scope:  # no cancellation leaves it but its own, which it keeps
                await self._run()
        except BaseException as error:
            self._failure = error
            self._block.cancel()
        finally:
            self._over.set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left_by = self._leave_scope(kind, error, trace)
        is_patient = error is None or isinstance(error, Exception)
        self._limit(self._patience if is_patient else self._cancel_patience)
        await self._wait_until_over()
        await self._manager.__aexit__(None, None, None)
        if self._failure is not None and left_by is not None:
            raise BaseExceptionGroup("both the block and the other end failed", [left_by, self._failure]) from None
        if self._failure is not None:
            context = self._failure.__context__
            try:
                raise self._failure
            finally:
                self._failure.__context__ = context  # and not the cancellation that it has brought
        if left_by is None:
            await trio.lowlevel.checkpoint_if_cancelled()

    def _leave_scope(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> BaseException | None:
        """Take the cancellation by the other end's failure out of *error*; return what is left."""
        try:
            return None if self._block.__exit__(kind, error, trace) else error
        except BaseException as rest:  # a group out of which it was taken, or the one that a group was reduced to
            return rest

    def _limit(self, seconds: float) -> None:
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)

    async def _wait_until_over(self) -> None:
        try:
            await self._over.wait()
        except trio.Cancelled:  # the next checkpoint tells again
            self._limit(self._cancel_patience)
        while not self._over.is_set():  # the deadline above is what acts, unless the other end has a shield of its own
            deadline = max(self._scope.deadline, trio.current_time()) + MARGIN
            with trio.CancelScope(shield=True, deadline=deadline):
                await self._over.wait()
            await trio.lowlevel.cancel_shielded_checkpoint()


class Opening(AbstractAsyncContextManager[T]):
    """A block that can be entered once."""

    _entered = False

    def _enter_once(self) -> None:
        if self._entered:
            raise RuntimeError("this pair was opened already: every `async with` needs one of its own")
        self._entered = True


class OpeningPair(Opening[WebSocketPair]):
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
        except ConnectionClosed:
            pass  # `cancel_on_close`: nobody is in this block who should learn of it

    async def __aenter__(self) -> WebSocketPair:
        self._enter_once()
        limits = self._options.close_timeout + MARGIN, self._options.cancel_timeout + MARGIN
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(Beside(self._be_server, *limits))
            stack.callback(self._left.set)
            client = await stack.enter_async_context(self._client)
            await self._opened.wait()
            if self._websocket is None:
                assert self._failure is not None
                raise self._failure
            logs[client] = logs[self._websocket] = Log(self._traffic.log, "client", "server")
            self._stack = stack.pop_all()
        return WebSocketPair(client, self._websocket)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)


@spelled_out(signature(Options).parameters.values())
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
    ours, theirs = trio.testing.memory_stream_pair() if streams is None else checked_streams(streams)
    traffic = Traffic()
    client = connect(URL, stream=Witness(ours, traffic), subprotocols=names, **options)
    return OpeningPair(client, accept(theirs, subprotocols=names, **options), Options(**options), traffic)


def checked_streams(streams: Streams) -> Streams:
    if len(streams) != 2 or not all(isinstance(each, trio.abc.HalfCloseableStream) for each in streams):
        raise TypeError(f"streams must be two connected instances of trio.abc.HalfCloseableStream, not {streams!r}")
    return streams


class OpeningScripted(Opening[PeerPair]):
    """The block of `open_scripted_pair`."""

    def __init__(self, block: AbstractAsyncContextManager[WebSocket], peer: ScriptedPeer, script: Script) -> None:
        self._block = block
        self._peer = peer
        self._script = script
        self._peer_opened = trio.Event()

    async def _be_peer(self) -> None:
        try:
            await self._peer.open()
        except (NotOpened, trio.BrokenResourceError):
            return  # our side did not open, and tells why
        finally:
            self._peer_opened.set()
        await self._script(self._peer)

    async def __aenter__(self) -> PeerPair:
        self._enter_once()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(Beside(self._be_peer, 0, 0))
            websocket = await stack.enter_async_context(self._block)
            await self._peer_opened.wait()  # as a client it has yet to read our answer, and nobody else may read then
            logs[websocket] = Log(self._peer.log, "we", "the peer")
            self._stack = stack.pop_all()
        return PeerPair(websocket, self._peer)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)


async def nothing(_: ScriptedPeer) -> None:
    """The script of a peer that the test itself drives."""


@spelled_out(signature(Options).parameters.values())
def open_scripted_pair(
    script: Script = nothing, *, role: Role = "client", **options: Unpack[OptionsDict]
) -> AbstractAsyncContextManager[PeerPair]:
    """Open a WebSocket in memory with a scripted peer at its other end: `async with ... as (websocket, peer): ...`.

    Args:
        script: what the peer does after the opening handshake, in a task of its own; it is cancelled when the block is
            over. `ScriptedPeer.be_polite` is one. By default nothing: the test itself calls the peer's methods. What
            it raises cancels the block, and is raised in its place.
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
