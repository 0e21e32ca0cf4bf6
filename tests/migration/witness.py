"""A raw peer, which sees what a library does at the end of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import pytest
import trio
import trio.testing

from trio_closeevents.testing import ScriptedPeer

from .libraries import HOST, Act, Library, ServerAct, port_of

__all__ = [
    "LEAVES_SOCKETS",
    "Script",
    "Seen",
    "cancel_in_the_middle",
    "on_asyncio",
    "play",
    "watch_client",
    "watch_server",
]

# trio-websocket leaves sockets to the garbage collector; with the fixture `swept`.
LEAVES_SOCKETS: Final = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Script = Callable[[ScriptedPeer], Awaitable[object]]
Result = TypeVar("Result")
Program = Callable[[str], Awaitable[Result]]

# What may come out of a program: of its own act, or of a library that says so when nobody answers its Close.
RAISED = (Exception, KeyboardInterrupt, asyncio.CancelledError)


@dataclass(frozen=True)
class Seen:
    """What came of a program.

    Attributes:
        peer: has the frames that came.
        seconds: how long a client took, its opening and its act included; infinite if it had no end.
        raised: what came out of it.
    """

    peer: ScriptedPeer
    seconds: float = 0.0
    raised: BaseException | None = None

    @property
    def code(self) -> int:
        """The code of the Close frame that came; 1006 if none did."""
        if self.peer.close is None:
            return 1006
        return 1005 if self.peer.close.code is None else self.peer.close.code


async def watch_client(
    library: Library, act: Act, script: Script = ScriptedPeer.be_polite, *, patience: float = 20, **limits: float
) -> Seen:
    """Let a client of *library* act against a peer that follows *script*, for *patience* seconds at most."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    raised: BaseException | None = None
    async with listener, trio.open_nursery() as nursery:
        over = trio.Event()
        peers: list[ScriptedPeer] = []

        async def run_peer() -> None:
            stream = await listener.accept()
            async with stream:
                peers.append(peer := ScriptedPeer(stream, client=False))
                await peer.open()
                await script(peer)
            over.set()

        nursery.start_soon(run_peer)
        started = trio.current_time()
        with trio.move_on_after(patience) as scope:
            try:
                await library.be_client(f"ws://{HOST}:{port_of(listener)}/", act, **limits)
            except RAISED as error:
                raised = error
        seconds = float("inf") if scope.cancelled_caught else trio.current_time() - started
        with trio.move_on_after(patience):
            await over.wait()
        nursery.cancel_scope.cancel()
    return Seen(peers[0], seconds, raised)


async def watch_server(library: Library, act: ServerAct) -> Seen:
    """Let a server of *library* act on the connection of a peer."""
    async with trio.open_nursery() as nursery:

        async def be_server(*, task_status: trio.TaskStatus[str]) -> None:
            try:
                await library.be_server(act, task_status=task_status)
            except* ZeroDivisionError:
                pass  # some let it out of the server

        url: str = await nursery.start(be_server)
        async with await trio.open_tcp_stream(HOST, int(url.rstrip("/").rpartition(":")[2])) as stream:
            peer = ScriptedPeer(stream, client=True)
            await peer.open()
            await peer.be_polite()
        nursery.cancel_scope.cancel()
    return Seen(peer)


async def play(program: Program[Result], script: Script) -> Result:
    """Let *program* connect to a peer that follows *script*; return what it returns, when both are done."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)

    async def run_peer() -> None:
        async with await listener.accept() as stream:
            peer = ScriptedPeer(stream, client=False)
            await peer.open()
            await script(peer)

    with trio.fail_after(60):
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(run_peer)
            return await program(f"ws://{HOST}:{port_of(listener)}/")


def on_asyncio(program: Program[Result]) -> Program[Result]:
    """Return *program* as one that trio awaits: it has a thread and a loop of its own."""

    async def run(url: str) -> Result:
        async def main() -> Result:
            return await program(url)

        return await trio.to_thread.run_sync(lambda: asyncio.run(main()))

    return run


async def cancel_in_the_middle(send: Callable[[bytes], Awaitable[object]], message: bytes) -> None:
    """Call *send* with a message that is larger than what the kernel takes, and cancel it when nothing moves."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, message)
        await trio.testing.wait_all_tasks_blocked(0.1)
        nursery.cancel_scope.cancel()
