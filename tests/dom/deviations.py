"""Where `dom.WebSocket` does not do what Chromium did: the rules, the situations, and what it does instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

__all__ = ["DEVIATIONS", "Rule"]

Seen = dict[str, Any]


class Rule(NamedTuple):
    """Why some situations end otherwise, and how."""

    title: str
    why: str
    scenarios: frozenset[str]
    instead: Callable[[str, Seen], Seen]


DEVIATIONS: Final[list[Rule]] = []
