"""`trio-closeevents connect`: talk to a server."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click
import trio

from trio_closeevents.trace import Trace

from .client import client_options, make_connecting
from .conversation import Conversation
from .face import Face, Form
from .pipe import Pipe
from .show import console_of, report
from .signals import Stop
from .status import table_for_help

__all__ = ["connect"]

DUMB: Final = frozenset({"", "dumb", "unknown"})  # terminals that cannot move their cursor


@click.command(epilog=table_for_help())
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Messages are JSON: set in lines for people, compact in a pipe.")
@click.option("--hex", "as_hex", is_flag=True, help="In a pipe: every line is hexadecimal digits, of binary messages.")
@click.option("-0", "--null", is_flag=True, help="In a pipe: NUL and not a line end stands behind each message.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=1,
    show_default=True,
    metavar="SECONDS",
    help="In a pipe: close when stdin has ended and no message came for so long; inf waits for the server to close.",
)
@click.option("--reconnect", is_flag=True, help="Come back after an ending that may be better the next time.")
@click.option("--trace", "has_trace", is_flag=True, help="Draw at the end, on stderr, what travelled.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr, not how it ended either, but for --trace.")
@client_options
def connect(
    url: str,
    *,
    as_json: bool,
    as_hex: bool,
    null: bool,
    wait: float,
    reconnect: bool,
    has_trace: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Talk to the server at URL.

    On a terminal there is a prompt: each line is sent as a text message, /help lists what else can be typed. Otherwise
    it is a filter: each line of stdin is sent, each message that is received is a line of stdout; of binary messages
    the hexadecimal digits.

    At the end stderr tells how the connection ended, and so does the exit status.
    """
    if as_json and as_hex:
        raise click.UsageError("give either --json or --hex")
    trace = Trace() if has_trace else None
    connecting = make_connecting(url, options, trace)
    form = Form(as_json=as_json, as_hex=as_hex, separator=b"\0" if null else b"\n")
    stop = Stop()
    face = choose_face(form, stop, quiet=quiet)

    async def talk() -> int:
        return await Conversation(connecting, face, stop, wait=wait, reconnect=reconnect, quiet=quiet).run()

    status = trio.run(talk)
    if trace is not None:
        report(console_of(sys.stderr), str(trace), fill=False)
    return status


def choose_face(form: Form, stop: Stop, *, quiet: bool) -> Face:
    """Return a prompt on a terminal that can have one, and a filter everywhere else."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "") not in DUMB
    if is_terminal and sys.platform != "win32":
        from .prompt import Prompt  # where there is no `termios`, there is no such module

        return Prompt(form, stop.on_lost_stdout)
    return Pipe(form, stop.on_lost_stdout, quiet=quiet)
