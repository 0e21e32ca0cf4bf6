"""`trio-closeevents codes`: what close codes mean."""

from __future__ import annotations

import sys
from typing import Final

import click
from rich.table import Table
from rich.text import Text

from trio_closeevents import CloseCode

from .registry import RANGES, REGISTERED, Entry, explain
from .show import Console, console_of

__all__ = ["codes"]

MOST: Final = 0xFFFF
STYLES: Final = {"yes": "green", "no": "dim", "by cause": "yellow"}


def checked_code(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return the close code that was given as a number, or as the name that `CloseCode` has for it."""
    if value is None:
        return None
    name = value.upper().replace("-", "_").replace(" ", "_")
    if name in CloseCode.__members__:
        return CloseCode[name].value
    if not (value.isascii() and value.isdigit()) or int(value[:6]) > MOST:
        raise click.BadParameter(f"{value!r} is neither a number from 0 to {MOST} nor a name like going_away")
    return int(value)


@click.command()
@click.argument("code", callback=checked_code, required=False)
def codes(code: int | None) -> None:
    """Print the close codes, or explain one.

    CODE is a number, or a name like going_away. A code that "nobody" sends never travels in a Close frame; it is only
    told to the program. The column "retried" is what the default ReconnectPolicy makes of the code when the peer closes
    with it.
    """
    console = console_of(sys.stdout)
    if code is None:
        console.print(table(console))
    else:
        console.print(explanation(explain(code)), soft_wrap=True)


def table(console: Console) -> Table:
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("code", "name", "sent by", "retried", "defined in"):
        found.add_column(title, no_wrap=True)
    found.add_column("meaning")
    for entry in REGISTERED.values():
        found.add_row(
            Text(str(entry.code), style="bold cyan" if entry.travels else "cyan"),
            Text(entry.name),
            Text(entry.senders, style="" if entry.travels else "red"),
            Text(entry.retried, style=STYLES[entry.retried]),
            Text(entry.source, style="dim"),
            Text(entry.meaning),
        )
    for first, last, senders, meaning in RANGES:
        entry = explain(first if first not in REGISTERED else first + 4)
        found.add_row(
            Text(f"{first}-{last}", style="cyan"), Text("others"), Text(senders), Text(entry.retried, style="dim"),
            Text(entry.source, style="dim"), Text(meaning),
        )  # fmt: skip
    return found


def explanation(entry: Entry) -> Text:
    text = Text()
    text.append(f"{entry.code}", style="bold cyan")
    text.append(f"  {entry.name}", style="bold")
    if entry.constant is not None:
        text.append(f"  CloseCode.{entry.constant}", style="dim")
    text.append(f"\n{entry.meaning}\n\n")
    travels = (
        "yes, sent and received" if entry.travels else "no: it may not be sent, and one that is received is an error"
    )
    for title, value in (
        ("travels", travels),
        ("sent by", entry.senders),
        ("retried by ReconnectPolicy", entry.retried),
        ("defined in", entry.source),
    ):
        text.append(f"{title + ':':<28}", style="dim")
        text.append(f"{value}\n")
    text.right_crop()
    return text
