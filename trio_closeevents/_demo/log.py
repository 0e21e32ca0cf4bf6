"""`recorded`: what one play logs, although others are played at the same time."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["recorded"]

LOGGER: Final = logging.getLogger("trio_closeevents")

current: ContextVar[Recorder | None] = ContextVar("current", default=None)


class Recorder(logging.Handler):
    """Notes the errors that are logged in its own context, which is that of a play and of all tasks it starts."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        return current.get() is self

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        self.errors.append(record.getMessage() if kind is None else kind.__name__)


@contextmanager
def recorded() -> Generator[list[str]]:
    """Collect the class names of the exceptions that are logged as errors (where there is none, the message)."""
    recorder = Recorder()
    token = current.set(recorder)
    LOGGER.addHandler(recorder)
    try:
        yield recorder.errors
    finally:
        LOGGER.removeHandler(recorder)
        current.reset(token)
