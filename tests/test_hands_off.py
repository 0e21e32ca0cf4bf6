"""One timer for all readers that leave their transports to the program, and lots that cost nothing."""

from __future__ import annotations

import trio
import trio.testing
from trio.testing import MockClock

from trio_closeevents._hands_off import INTERVAL, HandsOff, hands_off_of_this_run
from trio_closeevents._waiters import Flag, Waiters


class Program:
    """A reader, and the program that it leaves its transport to until `stops`."""

    def __init__(self, stops: float) -> None:
        self.stops = stops
        self.woken_at: float | None = None
        self.scope = trio.CancelScope()

    def was_used(self) -> bool:
        return trio.current_time() < self.stops

    def wake(self) -> None:
        self.woken_at = trio.current_time()
        self.scope.cancel()

    async def run(self, hands_off: HandsOff) -> None:
        with self.scope:
            await hands_off.wait(self)


async def test_each_reader_is_woken_soon_after_its_program_has_stopped(autojump_clock: MockClock) -> None:
    """Whoever watches leaves first, last or between the others: the watch is handed on."""
    hands_off = HandsOff()
    programs = [Program(stops) for stops in (0.1, 0.5, 0.05, 0.3, 0.5)]
    async with trio.open_nursery() as nursery:
        for program in programs:
            nursery.start_soon(program.run, hands_off)
    for program in programs:
        assert program.woken_at is not None
        assert 0 <= program.woken_at - program.stops <= INTERVAL * 1.01


async def test_reader_that_is_woken_hands_the_watch_on(autojump_clock: MockClock) -> None:
    """Also one that somebody else has woken, and one that is cancelled at the moment it takes the watch over."""
    hands_off = HandsOff()
    first, second, third = (Program(stops) for stops in (9, 9, 0.2))
    async with trio.open_nursery() as nursery:
        for program in (first, second, third):
            nursery.start_soon(program.run, hands_off)
            await trio.testing.wait_all_tasks_blocked()
        first.scope.cancel()
        second.scope.cancel()
    assert third.woken_at is not None
    assert third.woken_at <= 0.2 + 2 * INTERVAL


async def test_one_run_has_one() -> None:
    """All connections of a run share it."""
    assert hands_off_of_this_run() is hands_off_of_this_run()


async def test_waiters_wake_in_their_order() -> None:
    """To wake where nobody waits is nothing."""
    waiters, woken = Waiters(), list[int]()
    waiters.wake_one()
    waiters.wake_all()
    assert not waiters

    async def wait(number: int) -> None:
        await waiters.park()
        woken.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
        assert waiters
        waiters.wake_one()
        await trio.testing.wait_all_tasks_blocked()
        assert woken == [0]
        waiters.wake_all()
    assert sorted(woken) == [0, 1, 2, 3]
    assert not waiters


async def test_flag_wakes_all_and_stays() -> None:
    """As `trio.Event`; to wait for what has happened is a checkpoint."""
    flag = Flag()
    assert not flag.is_set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flag.wait)
        nursery.start_soon(flag.wait)
        await trio.testing.wait_all_tasks_blocked()
        flag.set()
    assert flag.is_set()
    with trio.testing.assert_checkpoints():
        await flag.wait()
