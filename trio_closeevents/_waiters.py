"""`Waiters`: a parking lot that costs nothing before somebody waits."""

from __future__ import annotations

import trio

__all__ = ["Waiters"]


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
