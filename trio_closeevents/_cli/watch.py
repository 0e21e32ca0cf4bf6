"""What `serve` shows: lines, or a table of the connections that is always up to date."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, Final

import trio
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trio_closeevents import CloseEvent, WebSocket

from .clean import visible
from .show import Console
from .status import Status, status_of

__all__ = ["Log", "Watch"]

PERIOD: Final = 0.25  # seconds between two pictures
ROWS_BESIDE: Final = 6  # of the terminal, which the table's own head and foot, and lines above it, need


def nobody() -> None:
    """Be told that stdout is lost, when nobody is there to be told."""


class Log:
    """A line for every connection that opens, and for every one that ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._opened: dict[WebSocket, tuple[int, float]] = {}  # its number, and since when it is open
        self._count = 0
        self.on_lost: Callable[[], object] = nobody

    def opened(self, websocket: WebSocket) -> None:
        """Note a new connection."""
        self._count += 1
        self._opened[websocket] = (self._count, trio.current_time())
        self._line(f"#{self._count} open    {place(websocket)} {visible(websocket.request.target)}")

    def closed(self, websocket: WebSocket, event: CloseEvent) -> None:
        """Note an end. A connection may have ended before its handler was called."""
        number, _ = self._opened.pop(websocket, (0, 0))
        style = "" if status_of(event) is Status.FINE else "red"
        self._line(f"#{number} closed  {visible(str(event))}", style)

    async def run(self, url: str) -> None:
        """Show what happens until this is cancelled."""
        self._line(f"listening on {url}")
        await trio.sleep_forever()

    def ended(self) -> None:
        """Note that all is over."""
        self._line("stopped")

    def _line(self, text: str, style: str = "") -> None:
        self._print(Text.assemble((datetime.now().strftime("%H:%M:%S "), "dim"), (text, style)))

    def _print(self, text: Text) -> None:
        try:
            self._console.print(text, soft_wrap=True)
            self._console.file.flush()
        except OSError:
            self.on_lost()


class Watch(Log):
    """The same, and below it a table of the connections that are open."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    async def run(self, url: str) -> None:
        await trio.lowlevel.checkpoint()
        self._line(f"listening on {url}")
        with unechoed_keys(), self._live:
            while True:
                self._live.update(self._table(), refresh=True)
                await trio.sleep(PERIOD)

    def _table(self) -> Table:
        room = max(1, self._console.height - ROWS_BESIDE)
        shown = list(self._opened.items())[-room:]
        table = Table(
            show_header=bool(shown),
            title=self._title(len(shown)),
            title_justify="left",
            box=None,
            pad_edge=False,
            expand=False,
        )
        for title in ("#", "peer", "path", "open", "in", "out", "bytes in", "bytes out", "ping"):
            right = title not in ("peer", "path")
            table.add_column(title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
        for websocket, (number, since) in shown:
            table.add_row(*map(Text, row(websocket, number, since)))
        return table

    def _title(self, shown: int) -> Text:
        number = len(self._opened)
        words = f"{number} connection{'' if number == 1 else 's'}"
        return Text(words if shown == number else f"{words}, the latest {shown}", style="bold")


def unechoed_keys() -> AbstractContextManager[None]:
    """Keep keys that somebody presses out of the table."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        return nullcontext()
    from .modes import unechoed  # where there is no `termios`, there is no such module

    return unechoed(sys.stdin.fileno())


def row(websocket: WebSocket, number: int, since: float) -> list[str]:
    stats = websocket.stats
    latency = websocket.latency
    return [
        str(number),
        place(websocket),
        visible(websocket.request.target),
        f"{trio.current_time() - since:.0f} s",
        f"{stats.messages_received:,}",
        f"{stats.messages_sent:,}",
        f"{stats.bytes_received:,}",
        f"{stats.bytes_sent:,}",
        "" if latency is None else f"{1000 * latency:.1f} ms",
    ]


def place(websocket: WebSocket) -> str:
    address: Any = websocket.remote_address
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
