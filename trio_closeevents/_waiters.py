"""`Waiters`, `Flag` and `Sleeper`: a parking lot, an event and a nap that cost next to nothing."""

from __future__ import annotations

from collections.abc import Awaitable

import trio

__all__ = ["Flag", "Sleeper", "Waiters"]


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


class Sleeper:
    """One task that sleeps until it is needed; true while it does."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    def __bool__(self) -> bool:
        return self._task is not None

    def sleep(self) -> Awaitable[object]:
        """Let the task that awaits this at once wait until woken. If cancelled, nobody sleeps any more."""
        self._task = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._give_up)  # noqa: ASYNC105

    def _give_up(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> bool:
        """Wake the task; tell whether it slept."""
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)
        return task is not None
