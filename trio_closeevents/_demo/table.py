"""The demo's table, for people. Needs `rich`, which is in the extra `cli`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from rich.console import Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from .rows import SECTIONS
from .verdict import Verdict

__all__ = ["make_table"]

GAP: Final = 2  # between columns
LEAST_WIDTH: Final = 10  # of a column that wraps

MARKS: Final = {True: ("✓", "green"), False: ("✗", "bold red")}
OTHERS: Final = {"both": "server", "server": "another"}  # whose the other event is, by the role of the row


def make_table(verdicts: Sequence[Verdict], width: int) -> Group:
    """Return the table, a part for each section, all with the same columns.

    Args:
        width: of the whole, in characters; from 100 on it looks well.
    """
    widths = column_widths(verdicts, width)
    parts: list[Rule | Table | Text] = [header(widths)]
    for section, group in groupby(verdicts, lambda verdict: verdict.row.section):
        parts += [Rule(f"§ {section}  {SECTIONS[section]}", align="left", style="dim"), body(list(group), widths)]
    parts += [Rule(style="dim"), *footnotes()]
    return Group(*parts)


def column_widths(verdicts: Sequence[Verdict], width: int) -> list[int]:
    """Give to what was done, the events and what travelled what the columns that do not wrap leave of *width*."""
    id_width = max((len(verdict.row.id) for verdict in verdicts), default=LEAST_WIDTH)
    role, time, mark = len("client"), len("0.00 s"), 1
    rest = width - id_width - role - time - mark - 6 * GAP
    done = max(LEAST_WIDTH, rest * 28 // 100)
    travelled = max(LEAST_WIDTH, rest * 34 // 100)
    return [id_width, role, done, max(LEAST_WIDTH, rest - done - travelled), travelled, time, mark]


def grid(widths: Sequence[int]) -> Table:
    table = Table.grid(padding=(0, GAP, 0, 0))
    for width in widths:
        table.add_column(width=width, overflow="fold")
    table.columns[-2].justify = "right"
    return table


def header(widths: Sequence[int]) -> Table:
    table = grid(widths)
    titles = ("row", "side", "what was done", "how it ended", "what travelled", "time", "")
    table.add_row(*(Text(title, style="bold") for title in titles))
    return table


def body(verdicts: Sequence[Verdict], widths: Sequence[int]) -> Table:
    """Return the rows of one section; what is the same as above is not said again."""
    table = grid(widths)
    id_above = done_above = ""
    for verdict in verdicts:
        row = verdict.row
        if row.id != id_above:
            done_above = ""
        table.add_row(
            Text("" if row.id == id_above else row.id, style="cyan"),
            Text(row.role),
            Text("" if row.done == done_above else row.done),
            events(verdict),
            travelled(verdict, widths[4]),
            Text(f"{verdict.outcome.seconds:.2f} s", style="dim"),
            Text(*MARKS[verdict.as_expected]),
        )
        id_above, done_above = row.id, row.done
    return table


def events(verdict: Verdict) -> Text:
    """Return what the events say, and everything that is wrong but what travelled."""
    outcome = verdict.outcome
    text = Text("no connection, no event" if outcome.event is None else str(outcome.event))
    text.highlight_regex(r"^\d{4}\b", "bold")
    if outcome.other is not None:
        text.append(f"\n{OTHERS[verdict.row.role]}: {outcome.other}", style="dim")
    for mismatch in verdict.mismatches:
        if mismatch.what != "travelled":
            text.append(f"\n{mismatch}", style="red")
    return text


def travelled(verdict: Verdict, width: int) -> Text:
    text = Text(in_lines(verdict.outcome.travelled, width))
    for mismatch in verdict.mismatches:
        if mismatch.what == "travelled":
            text.append(f"\nexpected:\n{in_lines(verdict.row.expected.travelled, width)}", style="red")
    return text


def in_lines(frames: Sequence[str], width: int) -> str:
    """Return *frames* in lines of *width* characters, none of them torn if it fits into a line."""
    if not frames:
        return "nothing"
    lines = [frames[0]]
    for frame in frames[1:]:
        longer = f"{lines[-1]}  {frame}"
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(frame)
    return "\n".join(lines)


def footnotes() -> list[Text]:
    notes = (
        "what travelled: → from the side under test, ← to it, as the raw peer at the other end recorded it",
        "both: our client against our server, with a relay between them that keeps the record",
        "time: from the beginning of the block until the transport is gone",
    )
    return [Text(note, style="dim") for note in notes]
