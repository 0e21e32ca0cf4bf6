"""The programs of docs/next_door.rst, run in this process: an ASGI application and a WebSocket server."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.request import urlopen

import trio
from documents import DOCS
from surroundings import free_ports

__all__ = ["Site", "listening", "load", "site"]


class Site(NamedTuple):
    """Where both servers are."""

    http: str
    ws: str

    async def fetch(self, path: str, data: bytes | None = None) -> str:
        """Ask the application something."""

        def blocking() -> str:
            with urlopen(self.http + path, data, timeout=10) as answer:
                return str(answer.read().decode())

        return await trio.to_thread.run_sync(blocking)


@asynccontextmanager
async def site(name: str, *, ends: bool = True) -> AsyncGenerator[Site]:
    """Run one of the applications until SIGTERM, which comes at the end of the block."""
    app, together = load(name), load("together")
    free = free_ports()
    ports = [int(free["8000"]), int(free["8001"])]
    async with trio.open_nursery() as nursery:
        serve = partial(together.serve_both, app.app, app.talk, port=ports[0], http_port=ports[1])
        nursery.start_soon(serve)
        for port in ports:
            await listening(port)
        yield Site(f"http://127.0.0.1:{ports[1]}", f"ws://127.0.0.1:{ports[0]}/")
        if ends:
            signal.raise_signal(signal.SIGTERM)


async def listening(port: int) -> None:
    """Wait until somebody takes connections on *port*."""
    with trio.fail_after(10):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)
            else:
                await stream.aclose()
                return


def load(name: str) -> Any:
    """Import one of the programs, which import each other."""
    folder = str(DOCS / "programs")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
