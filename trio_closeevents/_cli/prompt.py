"""`connect` for people: a prompt at the bottom, with what arrives above it.

Theory. The prompt is one row of the terminal, however long the line is: a window of it is shown. So to print something
above is to clear the row, print, and draw the row again. The terminal does not echo and does not collect lines, but it
still makes signals of Ctrl-C and Ctrl-Z.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import termios
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from .acts import Act, typed
from .clean import hexdump, visible
from .editor import Editor, Key, window
from .face import Form
from .json_text import pretty
from .modes import Modes, restore, switch_off
from .output import Output, read_some
from .show import console_of, painted

__all__ = ["Prompt"]

MOST_BYTES: Final = 1024  # of a binary message that are shown
CLEAR_ROW: Final = "\r\x1b[K"
CLEAR_SCREEN: Final = "\x1b[H\x1b[2J"
PASTE_ON: Final = "\x1b[?2004h"
PASTE_OFF: Final = "\x1b[?2004l"
OPEN: Final = "> "
WAITING: Final = ". "
RECEIVED: Final = "< "


class Prompt:
    """A face for a person at a terminal."""

    ends_at_once = True

    def __init__(self, form: Form, on_lost: Callable[[], object]) -> None:
        self._form = form
        self._input = sys.stdin.fileno()
        self._output = Output(sys.stdout.fileno(), on_lost)
        self._console = console_of(sys.stdout)
        self._editor = Editor()
        self._modes: Modes = []
        self._mark = WAITING

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        self._modes = termios.tcgetattr(self._input)
        try:
            self._seize()
            async with self._output.opened():
                yield
        finally:
            self._release()

    def _seize(self) -> None:
        keys = termios.ECHO | termios.ICANON | termios.IEXTEN
        switch_off(self._input, self._modes, local=keys, incoming=termios.IXON)  # Ctrl-S would stop the whole program
        self._output.write_now(PASTE_ON.encode())

    def _release(self) -> None:
        self._output.write_now(f"{CLEAR_ROW}{PASTE_OFF}".encode())
        restore(self._input, self._modes)

    async def read(self, acts: trio.MemorySendChannel[Act]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_signals)
            async with acts:
                await self._draw()
                while data := await read_some(self._input):
                    for done in self._editor.feed(data):
                        if done is Key.END:
                            return nursery.cancel_scope.cancel()
                        await self._take(done, acts)
                    await self._draw()

    async def _take(self, done: str | Key, acts: trio.MemorySendChannel[Act]) -> None:
        if isinstance(done, Key):
            await self._write(CLEAR_SCREEN)
            return
        if done:
            await self._show(OPEN, done, "bold")
        await acts.send(typed(done, as_json=self._form.as_json))

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGTSTP) as numbers:
            async for number in numbers:
                if number == signal.SIGTSTP:
                    self._release()
                    os.kill(os.getpid(), signal.SIGSTOP)
                    self._seize()  # somebody has let us go on
                await self._draw()

    # -- the screen ----------------------------------------------------------------------------------------------

    async def message(self, message: str | bytes) -> None:
        if self._form.as_json:
            try:
                await self._show(RECEIVED, visible(pretty(message), lines=True), "green")
                return
            except ValueError as error:
                await self.note(f"the next message is not JSON: {error}", "red")
        if isinstance(message, str):
            await self._show(RECEIVED, visible(message, lines=True), "green")
        else:
            lines = [f"binary, {len(message):,} bytes", *hexdump(message, MOST_BYTES)]
            await self._show(RECEIVED, "\n".join(lines), "cyan")

    async def note(self, text: str, style: str = "dim") -> None:
        await self._show("* ", text, style or "dim")

    async def state(self, *, is_open: bool) -> None:
        self._mark = OPEN if is_open else WAITING
        await self._draw()

    async def _show(self, mark: str, text: str, style: str) -> None:
        """Print *text* above the prompt, all lines but the first indented."""
        lines = (mark + text).split("\n")
        above = "\n".join([painted(self._console, lines[0], style), *(f"  {line}" for line in lines[1:])])
        await self._write(f"{CLEAR_ROW}{above}\n{self._row()}")

    async def _draw(self) -> None:
        await self._write(self._row())

    def _row(self) -> str:
        """Return what draws the prompt, and the cursor in it. The last column stays free: it makes terminals wrap."""
        width = max(1, (shutil.get_terminal_size().columns or 80) - len(self._mark) - 1)
        shown, column = window(self._editor.text, self._editor.cursor, width)
        return f"{CLEAR_ROW}{self._mark}{shown}\r\x1b[{len(self._mark) + column}C"

    async def _write(self, text: str) -> None:
        await self._output.write(text.encode(sys.stdout.encoding, errors="replace"))
