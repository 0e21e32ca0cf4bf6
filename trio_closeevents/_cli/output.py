"""Bytes from and to the streams of the process, in threads: a terminal or pipe that is slow holds up nobody else.

Theory. No way to wait for stdin fits pipes, files and terminals on every system, but a thread that reads does. It is
abandoned when the program has enough: it ends with the process. The descriptor is read directly, since a thread that is
stuck in the buffer of `sys.stdin` would hold a lock that the interpreter wants when it exits.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

__all__ = ["Output", "read_some"]

CHUNK: Final = 2**16  # bytes
MOST: Final = 2**16  # bytes that may wait
PATIENCE: Final = 1.0  # seconds
NAP: Final = 0.05  # seconds, until a descriptor that does not block is asked again

# Apart from trio's own, so that a thread that is stuck keeps nobody from looking up a name.
limiter: Final = trio.CapacityLimiter(100)


async def read_some(descriptor: int) -> bytes:
    """Wait for bytes, and return them; none at the end, or when the terminal is gone."""
    while True:
        try:
            return await trio.to_thread.run_sync(os.read, descriptor, CHUNK, abandon_on_cancel=True, limiter=limiter)
        except BlockingIOError:  # somebody who shares it wants it like that
            await trio.sleep(NAP)
        except OSError:
            return b""


class Output:
    """A stream that is written to, by a task of its own: what waits is written in one go.

    Args:
        descriptor: where to.
        on_lost: called when nobody reads any more; what is written from then on is lost.
    """

    def __init__(self, descriptor: int, on_lost: Callable[[], object]) -> None:
        self._descriptor = descriptor
        self._on_lost = on_lost
        self._waiting = bytearray()
        self._is_lost = self._is_busy = False
        self._more = trio.lowlevel.ParkingLot()
        self._less = trio.lowlevel.ParkingLot()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Write for a block, and what is left behind it, if that takes no longer than `PATIENCE`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            yield
            with trio.move_on_after(PATIENCE):
                await self._wait_until_less(0)
            nursery.cancel_scope.cancel()

    async def write(self, data: bytes) -> None:
        """Have *data* written soon; wait if much is waiting already."""
        self._waiting += data
        self._more.unpark_all()
        await self._wait_until_less(MOST)

    async def _wait_until_less(self, limit: int) -> None:
        await trio.lowlevel.checkpoint()
        while not self._is_lost and (len(self._waiting) > limit or (self._is_busy and limit == 0)):
            await self._less.park()

    async def _run(self) -> None:
        while not self._is_lost:
            while not self._waiting:
                await self._more.park()
            batch, self._waiting = bytes(self._waiting), bytearray()
            self._is_busy = True
            try:
                await trio.to_thread.run_sync(
                    write_all, self._descriptor, batch, abandon_on_cancel=True, limiter=limiter
                )
            except OSError:
                self._is_lost = True
                self._on_lost()
            self._is_busy = False
            self._less.unpark_all()

    def write_now(self, data: bytes) -> None:
        """Write *data*, which is short, before the block or behind it."""
        if not self._is_lost:
            try:
                write_all(self._descriptor, data)
            except OSError:
                self._is_lost = True


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            time.sleep(NAP)
