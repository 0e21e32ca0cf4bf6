"""The example `cores`: several processes on one port, with real processes and real signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio

from trio_closeevents import HandshakeError, connect

ROOT: Final = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")


@asynccontextmanager
async def cores(workers: int) -> AsyncGenerator[tuple[trio.Process, str]]:
    """Run the example; hand out its supervisor and its URL."""
    command = [sys.executable, "-m", "examples.cores", "--workers", str(workers)]
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process, command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, cwd=ROOT
        )
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
        try:
            yield process, line.decode().strip()
        finally:
            process.kill()


async def worker(url: str) -> int:
    """Ask a worker for its number."""
    while True:
        try:
            async with connect(url) as ws:
                await ws.send("")
                return int(str(await ws.receive()).split()[0])
        except HandshakeError:  # none listens yet, or it has just died
            await trio.sleep(0.05)


async def workers(url: str, number: int, without: frozenset[int] = frozenset()) -> frozenset[int]:
    """Wait until so many have answered."""
    found: set[int] = set()
    with trio.fail_after(60):
        while len(found - without) < number:
            found.add(await worker(url))
    return frozenset(found - without)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_supervisor_passes_its_end_on(number: signal.Signals) -> None:
    """All workers share the load; each peer sees 1012, and nothing is left."""
    async with cores(2) as (supervisor, url):
        pids = await workers(url, 2)
        async with connect(url) as ws:
            await ws.send("hello")
            assert str(await ws.receive()).partition(" ")[2] == "hello"
            supervisor.send_signal(number)
            assert (await ws.wait_closed()).code == 1012
        with trio.fail_after(30):
            assert await supervisor.wait() == 0
    assert not any(map(is_running, pids))


@pytest.mark.once
async def test_worker_that_dies_is_replaced() -> None:
    """The others go on meanwhile; a supervisor that is killed takes its workers along."""
    async with cores(2) as (supervisor, url):
        one, other = await workers(url, 2)
        os.kill(one, signal.SIGKILL)
        (new,) = await workers(url, 1, without=frozenset({one, other}))
        assert is_running(other)
        supervisor.kill()
        with trio.fail_after(30):
            while is_running(other) or is_running(new):
                await trio.sleep(0.05)
