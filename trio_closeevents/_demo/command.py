"""The demo as a command: plays the rows, prints what came of them, and returns the exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Final

import trio

from .playing import play_rows
from .row import Row
from .rows import ROWS
from .terminal import show
from .verdict import Verdict

__all__ = ["play"]

# Exit statuses.
FINE: Final = 0
WRONG: Final = 1  # a row is not as the contract has it
INTERRUPTED: Final = 130  # as a shell has it: 128 and the number of SIGINT


def play(rows: Sequence[Row] = ROWS, *, as_json: bool = False) -> int:
    """Play *rows*, and print a table, or JSON."""
    try:
        return in_json(rows) if as_json else status(show(rows))
    except* KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    return INTERRUPTED


def in_json(rows: Sequence[Row]) -> int:
    began = perf_counter()
    verdicts = trio.run(play_rows, rows)
    result = {
        "as_expected": status(verdicts) == FINE,
        "seconds": round(perf_counter() - began, 3),
        "rows": [verdict.to_dict() for verdict in verdicts],
    }
    print(json.dumps(result, indent=2))
    return status(verdicts)


def status(verdicts: Sequence[Verdict]) -> int:
    """Return the exit status that *verdicts* come to. No rows would prove nothing."""
    return FINE if verdicts and all(verdict.as_expected for verdict in verdicts) else WRONG
