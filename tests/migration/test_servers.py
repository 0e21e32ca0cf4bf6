"""What docs/coming_from_websockets.rst says of servers and their handlers: in websockets, and here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
import trio
import trio.testing
import websockets.asyncio.server as asyncio_server
import websockets.trio.server as trio_server
from trio.testing import MockClock

import trio_closeevents
from trio_closeevents import (
    open_server,
)
from trio_closeevents.testing import CLOSE, ScriptedPeer

from .libraries import HOST, connect, connect_asyncio, port_of

pytestmark = pytest.mark.once  # websockets leans on private names of trio, which older versions do not have

NORMAL: Final = (1000).to_bytes(2)


async def call(port: int) -> ScriptedPeer:
    """Be a client that closes with 1000."""
    async with await trio.open_tcp_stream(HOST, port) as stream:
        peer = ScriptedPeer(stream, client=True)
        await peer.open()
        await peer.send(peer.frame(CLOSE, NORMAL))
        await peer.be_polite()
    return peer


async def test_handler_lets_the_end_out(caplog: pytest.LogCaptureFixture) -> None:
    """It sends when the client has gone: an error in the log there, and nothing of the sort here."""
    caplog.set_level(logging.INFO)

    async def serve_asyncio(told: Callable[[int], None]) -> None:
        over = asyncio.Event()

        async def handler(ws: asyncio_server.ServerConnection) -> None:
            over.set()
            await ws.wait_closed()
            await ws.send("late")

        async with asyncio_server.serve(handler, HOST, 0) as server:
            told(server.sockets[0].getsockname()[1])
            await over.wait()

    async def on_the_second(ws: trio_server.ServerConnection) -> None:
        await ws.wait_closed()
        await ws.send("late")

    async def here(ws: trio_closeevents.WebSocket) -> None:
        await ws.wait_closed()
        await ws.send("late")

    async with trio.open_nursery() as nursery:
        ports = trio.open_memory_channel[int](1)
        run = partial(asyncio.run, serve_asyncio(lambda port: trio.from_thread.run_sync(ports[0].send_nowait, port)))
        nursery.start_soon(trio.to_thread.run_sync, run)
        await call(await ports[1].receive())
    assert [each.levelname for each in caplog.records if each.exc_info] == ["ERROR"]
    caplog.clear()
    async with trio.open_nursery() as nursery:
        server: trio_server.Server = await nursery.start(partial(trio_server.serve, on_the_second, 0, host=HOST))
        await call(port_of(server.listeners[0]))
        await server.aclose()
    assert [each.levelname for each in caplog.records if each.exc_info] == ["ERROR"]
    caplog.clear()
    async with open_server(here, HOST, 0) as ours:
        await call(ours.port)
        await trio.testing.wait_all_tasks_blocked()
    assert {each.levelname for each in caplog.records} == {"INFO"}


async def test_handler_does_not_return(autojump_clock: MockClock) -> None:
    """`aclose()` of a server waits for it there; here until `grace` is over, and the handler is cancelled."""
    autojump_clock.autojump_threshold = 0.05  # the kernel may take a moment
    cancelled: list[str] = []

    async def never_return(ws: object) -> None:
        opened.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(type(ws).__module__)
            raise

    opened = trio.Event()
    async with trio.open_nursery() as nursery:
        server: trio_server.Server = await nursery.start(partial(trio_server.serve, never_return, 0, host=HOST))
        async with connect(f"ws://{HOST}:{port_of(server.listeners[0])}/"):
            await opened.wait()
            with trio.move_on_after(1000) as scope:
                await server.aclose()
            assert scope.cancelled_caught
        assert not cancelled
        nursery.cancel_scope.cancel()
    cancelled.clear()
    opened = trio.Event()
    async with open_server(never_return, HOST, 0) as ours, connect(f"ws://{HOST}:{ours.port}/"):
        await opened.wait()
        started = trio.current_time()
        await ours.aclose(grace=5)
        assert trio.current_time() - started == pytest.approx(5)
        assert cancelled


async def test_handler_does_not_return_on_asyncio() -> None:
    """`close()` waits for it: here only for a second, since that is real."""

    async def main() -> bool:
        opened = asyncio.Event()

        async def never_return(ws: asyncio_server.ServerConnection) -> None:
            opened.set()
            await asyncio.sleep(3600)

        server = await asyncio_server.serve(never_return, HOST, 0)
        async with connect_asyncio(f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/"):
            await opened.wait()
            server.close()
            try:
                async with asyncio.timeout(1):
                    await server.wait_closed()
            except TimeoutError:
                return False
        return True

    assert not await trio.to_thread.run_sync(asyncio.run, main())
