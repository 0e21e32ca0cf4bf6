"""The commands, and what becomes of what they raise."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import cast

import click

from trio_closeevents import __version__

from .bench import bench
from .codes import codes
from .connect import connect
from .demo import demo
from .serve import serve
from .status import Status

__all__ = ["commands", "run"]


class Unread(Exception):
    """Nobody reads stdout any more."""


class Commands(click.Group):
    """Commands whose output somebody may stop reading; click would end the process with status 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command, and return its exit status."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise Unread from error


@click.group(name="trio-closeevents", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="trio-closeevents %(version)s")
def commands() -> None:
    """WebSockets whose end is a value you can trust."""


for command in (connect, serve, codes, bench, demo):
    commands.add_command(command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: by default those of the process.
    """
    open_what_is_closed()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = cast("int | None", commands.main(given or ["--help"], standalone_mode=False))
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (BrokenPipeError, Unread):
        # Nobody reads any more. The interpreter would say so once again when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.PIPE
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return Status.INTERRUPTED
    return status or Status.FINE


def open_what_is_closed() -> None:
    """Put nothing in the place of a stream that the process was started without, as by `<&-`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # as long as the process lives
