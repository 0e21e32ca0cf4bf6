"""Results as tables of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from .results import Result, brief, figure, linearity, verdicts
from .works import OURS, WORKS

__all__ = ["bars_as_rst", "show_bars", "show_result"]

WIDTH: Final = 120  # columns, where the output is no terminal


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """Print a table; the first column is text, the others are figures."""
    print(title)
    try:
        draw_table(header, rows)
    except ImportError:
        align(header, rows)
    for note in notes:
        print(f"  {note}")
    print(flush=True)


def draw_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=max(Console().width, WIDTH)).print(table)


def align(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *others]).rstrip())


def show_result(results: Mapping[str, Result], name: str, *, compiled: bool) -> None:
    """Print one work: every library's figure, and ours divided by it."""
    result = results[name]
    work = result.work
    bars = {verdict.against: verdict for verdict in verdicts(results, name, compiled=compiled)}
    rows: list[list[str]] = []
    for library in work.libraries:
        if library not in result.replies:
            continue
        spread = result.spread(library)
        if spread is None:
            rows.append([library, "failed", "", "", "", "", ""])
            continue
        ratio = result.ratio(library)
        verdict = bars.get("itself" if library == OURS else library)
        rows.append(
            [
                library,
                figure(spread.median),
                f"{figure(spread.low)} – {figure(spread.high)}",
                "" if ratio is None or library == OURS else brief(ratio.median),
                "" if ratio is None or library == OURS else f"{brief(ratio.low)} – {brief(ratio.high)}",
                "" if verdict is None else verdict.bar,
                "" if verdict is None else "met" if verdict.met else "MISSED",
            ]
        )
    rounds = max((len(each) for each in result.replies.values()), default=0)
    title = f"{name}: {work.title}; {work.unit}, {'less' if work.less else 'more'} is better; rounds: {rounds}"
    header = ["", "median", "min – max", "ours / it", "min – max", "bar", ""]
    show(title, header, rows, result.notes())


def bar_rows(results: Mapping[str, Result], *, compiled: bool) -> list[list[str]]:
    return [
        [name, verdict.against, verdict.bar, verdict.measured, "met" if verdict.met else "MISSED"]
        for name in results
        for verdict in verdicts(results, name, compiled=compiled)
    ]


def bars_as_rst(results: Mapping[str, Result], *, compiled: bool) -> str:
    """Return every bar with what was measured, as a table for the documentation."""
    lines = [".. list-table::", "    :header-rows: 1", ""]
    header = ["work", "against", "bar", f"measured, {'with' if compiled else 'without'} the C extension", ""]
    titled = [[WORKS[name].title, *others] for name, *others in bar_rows(results, compiled=compiled)]
    for row in [header, *titled]:
        first, *others = row
        lines += [f"    * - {first}", *(f"      - {cell}" for cell in others)]
    return "\n".join(lines) + "\n"


def show_bars(results: Mapping[str, Result], *, compiled: bool) -> None:
    """Print every bar with what was measured."""
    rows = bar_rows(results, compiled=compiled)
    line = linearity(results)
    if rows or line:
        title = f"The bars, {'with' if compiled else 'without'} the C extension"
        show(title, ["work", "against", "bar", "measured", ""], rows, [line] if line else [])
