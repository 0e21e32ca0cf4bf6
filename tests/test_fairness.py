"""A task that never has to wait for its connection leaves others their turn: at least every five milliseconds.

What counts is the time that this thread has really run, so a busy machine does not decide.
"""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from time import thread_time
from typing import Final

import pytest
import trio

from trio_closeevents import WebSocket, accept
from trio_closeevents.testing import BINARY, TEXT, ScriptedPeer, frame

pytestmark = pytest.mark.once

LONGEST: Final = 0.005  # seconds between two turns of another task
MESSAGES: Final = 20_000

FLOODS: Final = {
    "tiny messages": frame(TEXT, b"x" * 32, masked=True) * 200,
    "empty messages": frame(BINARY, b"", masked=True) * 500,
    "larger messages": frame(BINARY, b"x" * 5000, masked=True) * 10,
}


@pytest.fixture(autouse=True)
def collect_later() -> Generator[None]:
    """A collection of garbage in the middle of a test would be the test process's own doing."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@contextmanager
def flooded(sock: socket.socket, data: bytes) -> Generator[None]:
    """Let a thread write *data* over and over, until the block is over."""
    over = threading.Event()
    view = memoryview(data)

    def write() -> None:
        at = 0
        while not over.is_set():
            try:
                at = (at + sock.send(view[at:])) % len(data)
            except BlockingIOError:
                over.wait(0.0005)
            except OSError:
                return

    with running(write, over):
        yield


@contextmanager
def running(work: Callable[[], None], over: threading.Event) -> Generator[None]:
    """Let a thread do *work* until the block is over, which it learns by *over*."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Ticker:
    """Has its turn as often as it can, and notes the longest time between two."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.turns = 0

    async def run(self) -> None:
        last = thread_time()
        while True:
            await trio.lowlevel.checkpoint()
            now = thread_time()
            self.longest, self.turns, last = max(self.longest, now - last), self.turns + 1, now


async def receive_all(websocket: WebSocket) -> None:
    for _ in range(MESSAGES):
        await websocket.receive()


async def iterate(websocket: WebSocket) -> None:
    count = 0
    async for _ in websocket:
        count += 1
        if count == MESSAGES:
            return


@pytest.mark.parametrize("program", [receive_all, iterate])
@pytest.mark.parametrize("flood", FLOODS)
async def test_flooded_connection_leaves_others_their_turn(
    flood: str, program: Callable[[WebSocket], Awaitable[None]]
) -> None:
    """A peer that sends as fast as it can does not keep the loop for its connection."""
    await play(program, FLOODS[flood], at_least=3)


async def test_task_that_sends_all_the_time_leaves_others_their_turn() -> None:
    """`send` gives the loop back too, though the network takes all that it is given."""

    async def send_all(websocket: WebSocket) -> None:
        for _ in range(MESSAGES):
            await websocket.send("x" * 32)

    await play(send_all, b"", at_least=3)


async def play(program: Callable[[WebSocket], Awaitable[None]], data: bytes, at_least: int) -> None:
    """Run *program* on a connection whose peer floods it with *data*, beside a ticker."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        theirs = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        ours = await listener.accept()
    ticker = Ticker()
    opened = trio.Event()

    async def open_and_tell() -> None:
        await peer.open()
        opened.set()

    peer = ScriptedPeer(theirs, client=True)
    async with theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_and_tell)
            async with accept(ours, cancel_timeout=0.2, close_timeout=0.2, ping_interval=None) as websocket:
                await opened.wait()
                raw = socket.socket(fileno=theirs.socket.fileno())
                try:
                    with flooded(raw, data) if data else drained(raw):
                        async with trio.open_nursery() as tasks:
                            tasks.start_soon(ticker.run)
                            await program(websocket)
                            tasks.cancel_scope.cancel()
                finally:
                    raw.detach()
    assert ticker.turns >= at_least
    assert ticker.longest < LONGEST


@contextmanager
def drained(sock: socket.socket) -> Generator[None]:
    """Let a thread read what comes, until the block is over."""
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                sock.recv(2**16)
            except BlockingIOError:
                over.wait(0.0005)

    with running(read, over):
        yield
