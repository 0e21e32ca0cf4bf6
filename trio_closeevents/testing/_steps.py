"""`Steps`: cancels a scope at a step of the scheduler.

Theory. A step is the run of a task from one checkpoint to the next. Whatever a cancellation can come between lies
between two steps, of the task that is cancelled or of any other that runs with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

__all__ = ["Steps"]

OURS: Final = "trio_closeevents connection"  # the task that those of the library come from


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks from `begin` to `end`, and cancels `scope` behind the one that it is told.

    A task that could go on already takes one more step before it learns of the cancellation.

    Args:
        cancel_at: behind which step; `None`: count only.
        on_cancel: called just before; and again behind that one more step of the task that called `begin`.

    Attributes:
        was_ready: the task that called `begin`, or one that it has started, could go on already, and took that one more
            step.
    """

    def __init__(self, cancel_at: int | None, on_cancel: Callable[[], object]) -> None:
        self.scope = trio.CancelScope()
        self.count = 0
        self._cancel_at = cancel_at
        self._on_cancel = on_cancel
        self._task: trio.lowlevel.Task | None = None
        self._ready: set[trio.lowlevel.Task] = set()  # tasks that can go on
        self._is_late = False
        self.was_ready = False

    def begin(self) -> None:
        self._task = trio.lowlevel.current_task()

    def end(self) -> None:
        self._task = None

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self._ready.add(task)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._ready.discard(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._task is None:
            return
        self.count += 1
        if self._is_late and task is self._task:
            self._is_late = False
            self._on_cancel()
        if self.count == self._cancel_at:
            self._is_late = self._task in self._ready
            self.was_ready = any(map(self._is_ours, self._ready))
            self._on_cancel()
            self.scope.cancel()

    def _is_ours(self, task: trio.lowlevel.Task) -> bool:
        """Tell whether *task* is the one that called `begin`, or comes from it and is none of the library's own."""
        while task is not self._task:
            if task.name == OURS or task.parent_nursery is None:
                return False
            task = task.parent_nursery.parent_task
        return True
