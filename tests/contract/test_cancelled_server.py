"""A server can be cancelled at any step of the scheduler too: `server-cancelled`, `server-aclose`, `never-wanted`.

Each run is a server with three clients on real sockets, which is cancelled one step later than the one before: while
the clients connect, while they talk, while it shuts down. The clients are scripted peers, and are not cancelled.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import pytest
import trio

from trio_closeevents import CloseEvent, Server, WebSocket, open_server, serve
from trio_closeevents.testing import TEXT, NotOpened, ScriptedPeer
from trio_closeevents.testing._steps import Steps

pytestmark = pytest.mark.once

HOST: Final = "127.0.0.1"
CLIENTS: Final = 3
CANCEL_TIMEOUT: Final = 0.5
TOLERANCE: Final = 1.0

Handler = Callable[[WebSocket], Awaitable[object]]
Program = Callable[["Run"], Awaitable[object]]


@dataclass
class Client:
    """A client, and what became of it."""

    peer: ScriptedPeer
    opened: bool = False
    answer: str = ""


@dataclass
class Run:
    """One run of a server."""

    nursery: trio.Nursery
    clients: list[Client] = field(default_factory=list)
    ended: Counter[WebSocket] = field(default_factory=Counter)
    cancelled_at: float | None = None
    over_at: float = 0.0

    def note_cancelled(self) -> None:
        if self.cancelled_at is None:
            self.cancelled_at = trio.current_time()

    def note_end(self, websocket: WebSocket, event: CloseEvent) -> None:
        """Be the server's `on_close`."""
        assert websocket.close_event is event
        self.ended[websocket] += 1

    def let_clients_connect(self, server: Server) -> None:
        """Start the clients, outside of what is cancelled."""
        for _ in range(CLIENTS):
            self.nursery.start_soon(self._be_client, server.port)

    async def _be_client(self, port: int) -> None:
        with suppress(OSError):  # the server has stopped listening
            stream = await trio.open_tcp_stream(HOST, port)
            client = Client(ScriptedPeer(stream, client=True))
            self.clients.append(client)
            try:
                await client.peer.open()
            except (NotOpened, trio.BrokenResourceError) as error:
                client.answer = str(error)
            else:
                client.opened = True
                await client.peer.send(client.peer.frame(TEXT, b"hello"))
                await client.peer.be_polite()
            await client.peer.aclose()


# -- the programs --------------------------------------------------------------------------------------------------


async def greet(websocket: WebSocket) -> None:
    """The handler that returns: Close 1000."""
    await websocket.send("welcome")
    await websocket.receive()


async def stay(websocket: WebSocket) -> None:
    """The handler that reads on."""
    async for _ in websocket:
        pass


async def serve_all(run: Run) -> None:
    """Serve three clients to their end, then leave the server's block."""
    async with open_server(greet, HOST, 0, on_close=run.note_end, cancel_timeout=CANCEL_TIMEOUT) as server:
        run.let_clients_connect(server)
        while run.ended.total() < CLIENTS:
            await trio.sleep(0.001)


async def leave_server(run: Run) -> None:
    """Leave the server's block while handlers run: 1001 to all."""
    async with open_server(stay, HOST, 0, on_close=run.note_end, cancel_timeout=CANCEL_TIMEOUT) as server:
        run.let_clients_connect(server)
        while len(server.connections) < CLIENTS:
            await trio.sleep(0.001)


async def shut_down(run: Run) -> None:
    """Close the server in order, with a grace: 1001 to all."""
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(
            lambda task_status: serve(
                stay, HOST, 0, on_close=run.note_end, cancel_timeout=CANCEL_TIMEOUT, task_status=task_status
            )
        )
        run.let_clients_connect(server)
        while len(server.connections) < CLIENTS:
            await trio.sleep(0.001)
        await server.aclose(grace=0.2)


# program: the codes that a client may see, beside 1001
PROGRAMS: Final[dict[str, tuple[Program, set[int]]]] = {
    "handlers return": (serve_all, {1000}),
    "block is left": (leave_server, set()),
    "aclose with grace": (shut_down, set()),
}


# -- the runs ------------------------------------------------------------------------------------------------------


async def play(program: Program, codes: set[int], step: int) -> bool:
    """Run *program*, cancel it behind *step*, judge what became of it, and tell whether it was cancelled at all."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        run = Run(nursery)
        steps = Steps(step, run.note_cancelled)
        trio.lowlevel.add_instrument(steps)
        with trio.fail_after(20):
            steps.begin()
            with steps.scope:
                await program(run)
            steps.end()
            run.over_at = trio.current_time()
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.deadline = trio.current_time() + TOLERANCE
    judge(run, codes | {1001})
    if run.cancelled_at is not None and not steps.was_ready:  # else its last step was under way
        assert steps.scope.cancelled_caught, "Cancelled was swallowed"
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    return run.cancelled_at is not None


def judge(run: Run, codes: set[int]) -> None:
    """Every client that was let in was told the end, and every connection ended once."""
    if run.cancelled_at is not None:
        assert run.over_at - run.cancelled_at <= CANCEL_TIMEOUT + TOLERANCE
    for client in run.clients:
        if client.opened:
            assert client.peer.close is not None, "101, and then silence"
            assert client.peer.close.code in codes
            assert client.peer.frames[-1] is client.peer.close
        else:
            assert client.answer, "neither let in nor turned away"
            assert not client.peer.frames
    assert set(run.ended.values()) <= {1}, "a connection ended twice"
    assert run.ended.total() == sum(client.opened for client in run.clients)


async def play_all(program: Program, codes: set[int]) -> int:
    """Cancel *program* behind its first step, its second, and so on, until it is over before that."""
    descriptors = len(os.listdir("/dev/fd"))
    step = 1
    while await play(program, codes, step):
        step += 1
        assert len(os.listdir("/dev/fd")) <= descriptors, "a socket is left"
    return step


@pytest.mark.parametrize("name", PROGRAMS)
async def test_server_cancelled_at_every_step_tells_every_client(name: str) -> None:
    """Whoever was let in sees 1001, or what was under way; the others 503 or the end of TCP; and nothing is left."""
    assert await play_all(*PROGRAMS[name]) > 50
