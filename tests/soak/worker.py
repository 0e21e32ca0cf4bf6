"""A process that soaks: it takes commands on stdin, answers on stdout, and writes records to its journal.

Commands and answers are JSON lines. Every worker can take a `sample` of itself, for which it waits until no connection
is open. At the end of its input it exits in order.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from .record import Journal
from .side import Boom

__all__ = ["HOST", "Orders", "Worker", "say"]

HOST: Final = "127.0.0.1"
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
SETTLE_TIMEOUT: Final = 10.0  # seconds until no connection is open any more; then the sample shows what is left
LOOK_AGAIN: Final = 0.02  # seconds


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told at its start, as JSON.

    Attributes:
        index: of this process among its kind.
        journal: the path of its records.
        authority, certificate: PEM files.
        ports: of each server process, by door.
        relay: the relay's port.
    """

    seed: int
    index: int
    journal: str
    authority: str
    certificate: str
    ports: list[dict[str, int]]
    relay: int


def say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


class Worker(ABC):
    """One process of the soak.

    Attributes:
        busy: connections that are open, or about to be.
    """

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.journal = Journal(Path(orders.journal), Boom)
        self.busy = 0
        logger = logging.getLogger("trio_closeevents")
        logger.addHandler(self.journal)
        logger.propagate = False

    @abstractmethod
    async def work(self, nursery: trio.Nursery) -> None:
        """Start what runs all the time, then tell that it is there."""

    async def play_round(self, first: int, seconds: float, step: int) -> int:
        """Open connections for *seconds*, numbered from *first* in steps; return how many, when all are done."""
        raise NotImplementedError

    @property
    def settled(self) -> bool:
        """Nothing is open that need not be."""
        return not self.busy

    async def main(self) -> None:
        async with trio.open_nursery() as nursery:
            await self.work(nursery)
            async with lines_of(0) as commands:
                async for line in commands:
                    command = json.loads(line)
                    if command["do"] == "sample":
                        say(**await self.sample())
                    else:
                        say(done=await self.play_round(command["first"], command["seconds"], command["step"]))
            nursery.cancel_scope.cancel()
        self.journal.close()

    async def sample(self) -> dict[str, int]:
        """Return memory in bytes, open files and tasks, as they are when nothing is going on."""
        with trio.move_on_after(SETTLE_TIMEOUT):
            while not self.settled:
                await trio.sleep(LOOK_AGAIN)
        await trio.sleep(LOOK_AGAIN)
        gc.collect()
        return footprint() | {"tasks": trio.lowlevel.current_statistics().tasks_living, "busy": self.busy}


def footprint() -> dict[str, int]:
    return {
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
        "fds": len(os.listdir("/proc/self/fd")) - 1,  # that of the listing itself
    }


@asynccontextmanager
async def lines_of(file: int) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Read lines without a thread, which would be one more thing to leak."""
    async with trio.lowlevel.FdStream(os.dup(file)) as stream:

        async def lines() -> AsyncIterator[bytes]:
            unread = b""
            async for data in stream:
                *whole, unread = (unread + data).split(b"\n")
                for line in whole:
                    yield line

        yield lines()


def run(kind: type[Worker]) -> None:
    """Be a worker: `python -m soak.server ORDERS`."""
    trio.run(kind(Orders(**json.loads(sys.argv[1]))).main)
