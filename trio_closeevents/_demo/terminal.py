"""The demo on a terminal: progress while it runs, then the table. Needs `rich`, which is in the extra `cli`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Final, TextIO, cast

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from .playing import play_rows
from .row import Row
from .table import make_table
from .verdict import Verdict

__all__ = ["show"]

# In characters.
PIPE_WIDTH: Final = 140  # where there is no terminal that has a width
LEAST_WIDTH: Final = 80  # a narrower terminal may break the lines, but has them whole


def show(rows: Sequence[Row]) -> list[Verdict]:
    """Play *rows*, show progress on stderr, print the table on stdout, and return the verdicts."""
    tolerate_any_encoding(sys.stdout)
    began = perf_counter()
    verdicts = play_with_progress(rows)
    seconds = perf_counter() - began
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    console.width = max(console.width, LEAST_WIDTH)
    console.print(make_table(verdicts, console.width))
    console.print(summary(verdicts, seconds))
    return verdicts


def tolerate_any_encoding(stream: TextIO) -> None:
    """Let an encoding that has no arrows spoil the arrows, and not the demo."""
    if isinstance(stream, io.TextIOWrapper):
        cast("io.TextIOWrapper", stream).reconfigure(errors="replace")


def play_with_progress(rows: Sequence[Row]) -> list[Verdict]:
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("playing the closing contract", total=len(rows))
        return trio.run(play_rows, rows, lambda: progress.advance(task))


def summary(verdicts: Sequence[Verdict], seconds: float) -> str:
    wrong = [verdict.row.name for verdict in verdicts if not verdict.as_expected]
    played = f"{len(verdicts)} rows in {seconds:.2f} s"
    if not wrong:
        return f"[green]✓[/] {played}, all as the contract has them"
    return f"[bold red]✗[/] {played}, {len(wrong)} not as the contract has them: {', '.join(wrong)}"
