"""`PerRun`: what all connections of one run of trio share; and whether there is a run at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

__all__ = ["PerRun", "check_trio"]

T = TypeVar("T")


class PerRun(Generic[T]):
    """Something that a run of trio has one of, made when it is first asked for.

    Args:
        name: for trio's debugging aids.
        make: makes it.
    """

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._var: trio.lowlevel.RunVar[T] = trio.lowlevel.RunVar(f"trio_closeevents.{name}")
        self._make = make

    def get(self) -> T:
        """Return that of the run that this is called in."""
        try:
            return self._var.get()
        except LookupError:
            self._var.set(made := self._make())
            return made


def check_trio() -> None:
    """Check that this is called in a task of trio, and not in one of asyncio, for example.

    Raises:
        RuntimeError: it is not.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise RuntimeError("trio_closeevents needs trio: run the program with trio.run(main)") from None
