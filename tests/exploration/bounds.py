"""How much may happen in one exploration, so that it ends. Each is complete within its bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .chunk import MALFORMED

__all__ = ["LARGE", "NARROW", "SMALL", "Bounds"]


@dataclass(frozen=True)
class Bounds:
    """The limits of an exploration. A peer's silence and deadlines have none.

    Attributes:
        faults: of the network in all: cut, drop and reset; at most one in each direction.
        spoils: malformed frames in all; at most one in each direction.
        malformed: what these may be.
        messages: that each side may send.
        bugs: of the library that each side may meet.
        aborts: there is `abort()`.
        all_endings: a block can be left in every way, and `aclose` be called twice; otherwise it returns, after an
            `aclose` or none.
        empty: there is `aclose(None)`.
    """

    faults: int = 1
    spoils: int = 1
    malformed: tuple[str, ...] = ("reserved opcode",)
    messages: int = 0
    bugs: int = 0
    aborts: bool = False
    all_endings: bool = True
    empty: bool = False


SMALL: Final = Bounds()
NARROW: Final = Bounds(faults=0, spoils=0, bugs=1, aborts=True, all_endings=False)
LARGE: Final = {
    "a fault, a malformed frame": SMALL,
    "two faults, a malformed frame": Bounds(faults=2),
    "a malformed frame of any kind each way": Bounds(faults=0, spoils=2, malformed=tuple(MALFORMED)),
    "a message each way, a fault": Bounds(spoils=0, messages=1),
    "abort(), aclose(None), a bug each": Bounds(faults=0, spoils=0, bugs=1, aborts=True, empty=True),
}
