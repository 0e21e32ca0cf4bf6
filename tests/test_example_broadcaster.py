"""`examples/broadcaster.py`: slow listeners are dropped or miss ticks, as they want it, and nobody waits for them."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import pytest
import trio
import websockets.exceptions
from programs import run_program
from websockets.trio.client import connect as connect_peer

from examples.broadcaster import send_to_all, watch
from trio_closeevents import CloseEvent, ReadyState, Server, WebSocket, connect, open_server

HOST: Final = "127.0.0.1"
MOST: Final = 2000  # ticks; far more than the buffers of a network hold
SIZE: Final = 2**14


class Ticks(AsyncIterator[str]):
    """Numbered ticks, each as soon as an attentive listener has had the last, until *server* drops somebody."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.number = 0
        self.wanted: trio.MemorySendChannel[None]
        self.wanted, self._wants = trio.open_memory_channel[None](1)

    async def __anext__(self) -> str:
        if self.number:
            await self._wants.receive()
        is_over = any(ws.state is not ReadyState.OPEN for ws in self._server.connections)
        if is_over or self.number == MOST:
            raise StopAsyncIteration
        self.number += 1
        return f"{self.number} ".ljust(SIZE, ".")


async def test_slow_listeners_get_what_they_want() -> None:
    """1013, or fewer ticks; an attentive one hears all of them."""
    ends: list[tuple[str, CloseEvent]] = []
    ended = trio.Event()
    heard: list[int] = []

    def note(ws: WebSocket, event: CloseEvent) -> None:
        ends.append((ws.request.query, event))
        ended.set()

    async def listen(ws: WebSocket, ticks: Ticks) -> None:
        async for tick in ws:
            heard.append(int(str(tick).split()[0]))
            await ticks.wanted.send(None)

    async with open_server(watch, HOST, 0, on_close=note, close_timeout=1, ping_interval=None) as server:
        ticks = Ticks(server)
        address = f"ws://{HOST}:{server.port}/"
        lazy = partial(connect, max_queue=1, close_timeout=1, ping_interval=None)
        async with lazy(address) as dropped, lazy(address + "?slow=skip") as skipped:
            async with connect(address) as attentive, trio.open_nursery() as nursery:
                nursery.start_soon(listen, attentive, ticks)
                with trio.fail_after(60):
                    await send_to_all(server, ticks)
                    await ended.wait()
                nursery.cancel_scope.cancel()
            assert ticks.number < MOST
            assert heard == list(range(1, ticks.number + 1))
            ((query, event),) = ends[:1]
            assert query == ""
            assert str(event.cause) == "closed"
            assert skipped.state is ReadyState.OPEN
            first = [int(str(await skipped.receive()).split()[0]) for _ in range(10)]
            assert first == list(range(1, 11))
            dropped.abort()


async def test_program_ticks_for_a_peer_of_another_library() -> None:
    """`python examples/broadcaster.py`; Ctrl-C tells 1001."""
    async with run_program("examples/broadcaster.py", "--port", "0", "--seconds", "0.01") as program:
        await program.wait_for("The time is at")
        async with connect_peer(f"ws://{HOST}:{program.port}/", proxy=None) as ws:
            for _ in range(3):
                tick = await ws.recv()
                assert [len(part) for part in str(tick).split(":")] == [2, 2, 2]
            assert await program.end(signal.SIGINT) == 0
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                while True:
                    await ws.recv()
            assert ws.close_code == 1001
    assert "Traceback" not in program.said
