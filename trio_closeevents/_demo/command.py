"""The command line: `python -m trio_closeevents`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Final

import trio

from .playing import play_rows
from .row import Row
from .rows import ROWS
from .verdict import Verdict

__all__ = ["main"]

PROGRAM: Final = "python -m trio_closeevents"
NO_RICH: Final = """\
the demo's table needs rich, which comes with the extra `cli`:

    pip install "trio-closeevents[cli]"

`demo --json` does without it.
"""

# Exit statuses.
FINE: Final = 0
WRONG: Final = 1  # a row is not as the contract has it
CANNOT: Final = 2
INTERRUPTED: Final = 130  # as a shell has it: 128 and the number of SIGINT


def main(arguments: Sequence[str] | None = None, rows: Sequence[Row] = ROWS) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: by default those of the process.
        rows: what the demo plays.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return FINE
    try:
        return demo_in_json(rows) if options.json else demo_on_terminal(rows)
    except* KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    return INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="WebSockets whose end is a value you can trust.")
    commands = parser.add_subparsers(dest="command", title="commands")
    about = "play every way in which a connection can end"
    demo = commands.add_parser(
        "demo",
        help=about,
        description=f"{about[0].upper()}{about[1:]}, on real sockets of the loopback, and tell whether each is as the "
        "closing contract has it. The exit status is 1 if one is not.",
    )
    demo.add_argument("--json", action="store_true", help="print JSON in place of the table; needs no rich")
    return parser


def demo_on_terminal(rows: Sequence[Row]) -> int:
    try:
        from .terminal import show
    except ModuleNotFoundError:
        print(NO_RICH, end="", file=sys.stderr)
        return CANNOT
    return status(show(rows))


def demo_in_json(rows: Sequence[Row]) -> int:
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
