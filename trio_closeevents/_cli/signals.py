"""What ends a command from outside: signals, and a stdout that nobody reads."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

from .status import Status, status_of_signal

__all__ = ["Stop", "stopping"]

NUMBERS: Final = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
]


class Stop:
    """A scope that is cancelled from outside, and the exit status that comes of it."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.status: int | None = None

    def stop(self, status: int) -> None:
        """Cancel the scope, if nobody has yet."""
        if self.status is None:
            self.status = status
        self.scope.cancel()

    def on_lost_stdout(self) -> None:
        self.stop(Status.PIPE)


@asynccontextmanager
async def stopping(stop: Stop) -> AsyncGenerator[None]:
    """Run a block in the scope of *stop*, which every signal that ends a program cancels.

    The signals are watched until the block has ended, so that a second Ctrl-C does not tear the ending. Those that were
    ignored, as by nohup, still are.
    """
    numbers = [number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(watch, numbers, stop)
        with stop.scope:
            try:
                yield
            except Exception as error:  # which the nursery would wrap
                failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def watch(
    numbers: list[signal.Signals], stop: Stop, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    if not numbers:
        task_status.started()
        return
    with trio.open_signal_receiver(*numbers) as received:
        task_status.started()
        async for number in received:
            stop.stop(status_of_signal(number))
