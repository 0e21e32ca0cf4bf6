"""What `connect` looks like from outside: two forms, one for people and one for pipes."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import trio

from .acts import Act

__all__ = ["Face", "Form"]


@dataclass(frozen=True, slots=True)
class Form:
    """How messages look.

    Attributes:
        as_json: they are JSON.
        as_hex: they are bytes, and a pipe has them as hexadecimal digits.
        separator: what stands behind each in a pipe.
    """

    as_json: bool = False
    as_hex: bool = False
    separator: bytes = b"\n"


class Face(Protocol):
    """Where lines come from, and messages go to."""

    ends_at_once: bool  # the end of the input closes the connection, and does not wait for answers

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Take possession of the streams for a block."""
        ...

    async def read(self, acts: trio.MemorySendChannel[Act]) -> None:
        """Put what the input asks for into *acts*, and close that at the end."""
        ...

    async def message(self, message: str | bytes) -> None:
        """Show a message that was received."""
        ...

    async def note(self, text: str, style: str = "") -> None:
        """Tell something that is no message."""
        ...

    async def state(self, *, is_open: bool) -> None:
        """Tell whether there is a connection."""
        ...
