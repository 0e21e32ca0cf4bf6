"""`trio-closeevents bench`: how fast an echo server is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

import click
import trio
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .client import client_options, make_connecting
from .measuring import Measuring, NotAnEcho
from .show import console_of, report
from .signals import Stop, stopping
from .status import Status, status_of, table_for_help
from .words import tell, tell_error

__all__ = ["bench"]

PERIOD: Final = 0.1  # seconds between two pictures of the progress


@click.command(epilog=table_for_help())
@click.argument("url")
@click.option("--size", type=click.IntRange(min=0), default=32, show_default=True, metavar="BYTES", help="A message's.")
@click.option("--connections", type=click.IntRange(min=1), default=1, show_default=True, help="Side by side.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="From when all connections are open.",
)
@click.option("--text", "as_text", is_flag=True, help="Text messages and not binary ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of the table.")
@client_options
def bench(
    url: str, *, size: int, connections: int, duration: float, as_text: bool, as_json: bool, **options: Any
) -> int:
    """Measure the echo server at URL.

    Each connection sends a message and waits until it is back, again and again. This program needs time too, often more
    than the server does: compare what it measured, and do not take it for the server's limit.
    """
    if options["max_size"] and options["max_size"] < size:
        options["max_size"] = size
    message: str | bytes = "x" * size if as_text else b"x" * size
    measuring = Measuring(make_connecting(url, options), message, connections, duration)
    stop = Stop()
    trio.run(run, measuring, stop)
    if measuring.latencies:
        result = measuring.result()
        print_json(result) if as_json else print_table(result)
    return tell_end(measuring, stop)


async def run(measuring: Measuring, stop: Stop) -> None:
    console = console_of(sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("connecting", total=measuring.duration)

        async def show() -> None:
            while True:
                done = measuring.seconds(perf_counter())
                bar.update(task, completed=done, description=f"{len(measuring.latencies):,} round trips", refresh=True)
                await trio.sleep(PERIOD)

        async with stopping(stop), trio.open_nursery() as nursery:
            nursery.start_soon(show)
            await measuring.run()
            nursery.cancel_scope.cancel()


def print_json(result: Mapping[str, Any]) -> None:
    click.echo(json.dumps(result, indent=2))


def print_table(result: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    latency = result["latency_ms"]
    for title, value in (
        ("connections", f"{result['connections']:,}"),
        ("size", f"{result['size']:,} bytes"),
        ("duration", f"{result['seconds']:.2f} s"),
        ("round trips", f"{result['round_trips']:,}"),
        ("round trips per second", f"{result['round_trips_per_second']:,.0f}"),
        ("each way", f"{result['bytes_per_second'] / 1e6:,.2f} MB/s"),
        *((f"latency, {name}", f"{value:,.3f} ms") for name, value in latency.items()),
    ):
        table.add_row(title, value)
    console_of(sys.stdout).print(table)


def tell_end(measuring: Measuring, stop: Stop) -> int:
    """Say what went wrong, if something did, and return the exit status."""
    console = console_of(sys.stderr)
    if stop.status is not None:
        report(console, "interrupted: what was measured is shown" if measuring.latencies else "interrupted")
        return stop.status
    if measuring.error is None:
        return Status.FINE
    if isinstance(measuring.error, NotAnEcho):
        report(console, "This is no echo server: it has sent something else than what it was sent.", "red")
        return Status.ERROR
    if isinstance(measuring.error, Exception):
        for line in tell_error(measuring.error):
            report(console, line, "red")
    else:
        report(console, f"A connection ended too early. {tell(measuring.error)}", "red")
    return status_of(measuring.error) or Status.ERROR
