"""`Waiters` and `Flag`: a parking lot and an event that cost next to nothing before somebody waits."""

from __future__ import annotations

import trio

__all__ = ["Flag", "Waiters"]


class Waiters:
    """Tasks that wait for something, in their order; false if there are none."""

    __slots__ = ("_lot",)

    def __init__(self) -> None:
        self._lot: trio.lowlevel.ParkingLot | None = None

    def __bool__(self) -> bool:
        return bool(self._lot)

    async def park(self) -> None:
        """Wait until woken."""
        if self._lot is None:
            self._lot = trio.lowlevel.ParkingLot()
        await self._lot.park()

    def wake_one(self) -> None:
        """Wake who has waited longest, if anybody does."""
        if self._lot:
            self._lot.unpark()

    def wake_all(self) -> None:
        """Wake everybody."""
        if self._lot:
            self._lot.unpark_all()


class Flag:
    """What happens once, as a `trio.Event`."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters = Waiters()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Wake everybody; whoever waits from now on does not."""
        self._is_set = True
        self._waiters.wake_all()

    async def wait(self) -> None:
        """Wait until it has happened. A checkpoint in every case."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
        else:
            await self._waiters.park()
