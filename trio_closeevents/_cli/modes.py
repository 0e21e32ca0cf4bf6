"""What a terminal does with keys; not on Windows, which has no `termios`."""

from __future__ import annotations

import termios
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

__all__ = ["Modes", "restore", "switch_off", "unechoed"]

Modes: TypeAlias = list[Any]


def switch_off(descriptor: int, modes: Modes, *, local: int, incoming: int = 0) -> None:
    """Set the terminal to *modes* without some of its local and input flags."""
    changed = [*modes]
    changed[0] &= ~incoming
    changed[3] &= ~local
    termios.tcsetattr(descriptor, termios.TCSADRAIN, changed)


def restore(descriptor: int, modes: Modes) -> None:
    """Set the terminal to *modes*, if it is still there."""
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, modes)
    except termios.error:
        pass


@contextmanager
def unechoed(descriptor: int) -> Generator[None]:
    """Show no keys for a block, on a screen where they would be in the way."""
    modes = termios.tcgetattr(descriptor)
    switch_off(descriptor, modes, local=termios.ECHO)
    try:
        yield
    finally:
        restore(descriptor, modes)
