"""`HandsOff`: who looks whether the programs that receive still do.

Theory. While a program receives, its reader's task keeps its hands off the socket; when the program stops, the task
must take over. A timer for each connection would cost more than its messages do, where there are many. So all readers
of a run of trio share one: one of them watches for all, and hands the watch on when it leaves.
"""

from __future__ import annotations

from typing import Final, Protocol

import trio

from ._runs import PerRun

__all__ = ["INTERVAL", "HandsOff", "hands_off_of_this_run"]

INTERVAL: Final = 0.02  # seconds that a program which receives is left alone before somebody looks again


class Reader(Protocol):
    def was_used(self) -> bool:
        """Tell whether the program has received something since this was asked last."""
        ...

    def wake(self) -> None:
        """Cancel the wait."""
        ...


class HandsOff:
    """The readers of one run of trio that leave their transports to the program."""

    def __init__(self) -> None:
        self._readers: dict[Reader, None] = {}
        self._is_watched = False
        self._others = trio.lowlevel.ParkingLot()  # who do not watch

    async def wait(self, reader: Reader) -> None:
        """Wait until *reader* is woken: by somebody who needs it, or because its program has stopped receiving.

        Always ends by cancellation, of a scope that belongs to the reader.
        """
        reader.was_used()
        self._readers[reader] = None
        try:
            while self._is_watched:
                await self._others.park()
            await self._watch()
        finally:
            del self._readers[reader]

    async def _watch(self) -> None:
        self._is_watched = True
        try:
            while True:
                await trio.sleep(INTERVAL)
                for reader in [*self._readers]:
                    if not reader.was_used():
                        reader.wake()
        finally:
            self._is_watched = False
            self._others.unpark()


hands_off_of_this_run: Final = PerRun("hands_off", HandsOff).get
