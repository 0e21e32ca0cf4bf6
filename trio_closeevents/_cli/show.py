"""Consoles of `rich`, as every command wants them. `NO_COLOR`, `TERM=dumb` and `COLUMNS` are honoured by `rich`."""

from __future__ import annotations

import io
import os
from typing import Final, TextIO, cast

import rich.console
from rich.text import Text

__all__ = ["Console", "console_of", "painted", "report"]

PIPE_WIDTH: Final = 200  # characters, where there is no terminal that has a width


class Console(rich.console.Console):
    """A console whose reader may go away, which is an error like others; `rich` would end the process with status 1."""

    def on_broken_pipe(self) -> None:
        """Let the `BrokenPipeError` go on, for which this is called."""
        raise


def console_of(stream: TextIO) -> Console:
    """Return the console on *stream*, on which an encoding without arrows spoils the arrows, and nothing else."""
    tolerate_any_encoding(stream)
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def tolerate_any_encoding(stream: TextIO) -> None:
    if isinstance(stream, io.TextIOWrapper):
        cast("io.TextIOWrapper", stream).reconfigure(errors="replace")


def painted(console: Console, text: str, style: str) -> str:
    """Return *text* with the escape sequences of *style*, as far as *console* has colours."""
    with console.capture() as capture:
        console.print(Text(text, style=style), end="", soft_wrap=True)
    return capture.get()


def report(console: Console, text: str, style: str = "", *, fill: bool = True) -> None:
    """Print *text*, and lose it if nobody can be told.

    Args:
        fill: fit it into the lines of a terminal; in a pipe it keeps its own.
    """
    try:
        console.print(Text(text, style=style), soft_wrap=not (fill and console.is_terminal))
    except OSError:
        pass
