"""`Turns`: when a task that never has to wait lets others have their turn.

Theory. A full checkpoint costs more than all else that a small message needs. So `send` and `receive` look at every
call whether they are cancelled, which is cheap, and only give the loop back when a millisecond has passed since they
last did, or when they have to wait. One clock serves all connections of a run: a task that goes round a thousand of
them holds the loop no longer than one that stays with one.
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

import trio

from ._runs import PerRun

__all__ = ["Turns", "turns_of_this_run"]

LENGTH: Final = 0.001  # seconds


class Turns:
    """The turns of the tasks of one run of trio.

    Attributes:
        until: when the turn that is on is over, by `time.perf_counter`.
        number: which one it is.
    """

    __slots__ = ("number", "until")

    def __init__(self) -> None:
        self.number = 0
        self.until = 0.0

    def begin(self) -> None:
        """Note that the task has waited: others had their turn."""
        self.number += 1
        self.until = perf_counter() + LENGTH

    async def checkpoint(self) -> None:
        """Check for cancellation, and let others have their turn if it is time."""
        if perf_counter() < self.until:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
            self.begin()

    async def give(self) -> None:
        """Let others have their turn, if it is time. The task has done its work: a cancellation has to wait."""
        if perf_counter() >= self.until:
            await trio.lowlevel.cancel_shielded_checkpoint()
            self.begin()


turns_of_this_run: Final = PerRun("turns", Turns).get
