"""The command line as tests run it: in a pseudo-terminal whose screen they read, and in pipes.

`Terminal` is strict: an escape sequence that the command line has no business with is an error, so that whatever a test
sees on its screen was printed, and nothing of the network's steered it.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import pkgutil
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import cache
from typing import Any, Final

import trio
from launcher import Launcher
from rich.cells import cell_len

from trio_closeevents import _cli

__all__ = ["COMMAND", "GIVE_UP", "Terminal", "open_terminal", "run"]

COMMAND: Final = [sys.executable, "-W", "error", "-m", "trio_closeevents"]
# Makes the terminal, whose descriptor is the first argument, the one that Ctrl-C and the like come from.
LOGIN: Final = "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
GIVE_UP: Final = 30  # seconds
PERIOD: Final = 0.1  # seconds between two looks at whether something is true
TOKEN: Final = re.compile(r"\x1b\[([0-?]*)([@-~])|(\x1b.?)|([\x00-\x1f\x7f])|([^\x00-\x1f\x7f]+)")
COLOURS: Final = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the tests without what changes how things look, and with *changes*."""
    kept = {name: value for name, value in os.environ.items() if name not in COLOURS}
    return {**kept, "TERM": "xterm-256color", "PYTHONUTF8": "1", **changes}


async def run(
    *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in pipes, and return what came of it."""
    reading, writing = zip(*(os.pipe() for _ in range(3)), strict=True)
    process = Process(arguments, (reading[0], *writing[1:]), environment(env or {}))
    printed: list[bytes] = [b"", b""]

    async def feed(stream: trio.lowlevel.FdStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):  # it does not want it
                await stream.send_all(stdin)

    async def read(number: int, stream: trio.lowlevel.FdStream) -> None:
        async with stream:
            printed[number] = b"".join([each async for each in stream])

    with trio.fail_after(GIVE_UP):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, trio.lowlevel.FdStream(writing[0]))
            for number in range(2):
                nursery.start_soon(read, number, trio.lowlevel.FdStream(reading[1 + number]))
        status = await process.wait()
    return subprocess.CompletedProcess(arguments, status, *printed)


class Process:
    """The command line in a process that begins with its modules imported; otherwise a `trio.Process`."""

    def __init__(self, arguments: Sequence[str], streams: Sequence[int], env: Mapping[str, str]) -> None:
        """Begin; *streams* are closed here."""
        self._running = launcher().start_module("trio_closeevents", arguments, streams, env)
        self.pid = self._running.pid
        for each in streams:
            os.close(each)

    def poll(self) -> int | None:
        return self._running.wait() if self._running.has_ended else None

    async def wait(self) -> int:
        while (status := self.poll()) is None:
            await trio.sleep(0.001)
        return status

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def launcher() -> Launcher:
    """Start what the command line's processes fork from; it ends with this one."""
    modules = (each.name for each in pkgutil.iter_modules(_cli.__path__, f"{_cli.__name__}."))
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(Launcher(*modules, is_measured=True))


class Terminal:
    """A terminal with a program in it.

    Attributes:
        raw: all that the program has written.
        styles: the parameters of all `CSI m` in it.
    """

    def __init__(self, descriptor: int, process: Process | trio.Process, columns: int) -> None:
        self.raw = b""
        self.styles: list[str] = []
        self.process = process
        self._descriptor = descriptor
        self._columns = columns
        self._rows: list[list[str]] = [[]]
        self._row = self._column = 0
        self._undecided = b""

    @property
    def lines(self) -> list[str]:
        """What stands on the screen and above it, without what is empty at the end."""
        lines = ["".join(row).rstrip() for row in self._rows]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        """The same as one string; a line that was too wide is in two."""
        return "\n".join(self.lines)

    @property
    def last(self) -> str:
        """The last of these lines; an empty one if there is none."""
        return (self.lines or [""])[-1]

    @property
    def cursor(self) -> int:
        """The column of the cursor, which is in the last line."""
        assert self._row == len(self._rows) - 1
        return self._column

    async def type(self, keys: str | bytes) -> None:
        """Press keys."""
        data = keys.encode() if isinstance(keys, str) else keys
        while data:
            await trio.lowlevel.wait_writable(self._descriptor)
            data = data[os.write(self._descriptor, data) :]

    async def until(self, found: str | Callable[[], Any]) -> None:
        """Read until a text is on the screen, or something is true."""
        is_over = False
        with trio.move_on_after(GIVE_UP):
            while not is_over and not (found in self.text if isinstance(found, str) else found()):
                with trio.move_on_after(PERIOD):  # what is awaited may happen elsewhere
                    is_over = not await self._read()
        assert found in self.text if isinstance(found, str) else found(), f"{found!r} is not in\n{self.text}"

    async def wait(self) -> int:
        """Read to the end, and return the exit status."""
        with trio.fail_after(GIVE_UP):
            while await self._read():
                pass
            return await self.process.wait()

    def resize(self, columns: int, rows: int = 24) -> None:
        """Change the size."""
        self._columns = columns
        set_size(self._descriptor, columns, rows)

    def hang_up(self) -> None:
        """Be a terminal whose window was closed."""
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, self._descriptor)
        os.close(null)

    def local_modes(self) -> int:
        """Return the flags that say whether the terminal echoes and collects lines."""
        flags = termios.tcgetattr(self._descriptor)[3]
        assert isinstance(flags, int)
        return flags

    async def _read(self) -> bool:
        await trio.lowlevel.wait_readable(self._descriptor)
        try:
            data = os.read(self._descriptor, 2**16)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has the other side any more
                raise
            return False
        self.raw += data
        self._undecided += data
        # A character or sequence may come in pieces: what is not whole is looked at again with the next.
        try:
            text = self._undecided.decode()
        except UnicodeDecodeError as error:
            text = self._undecided[: error.start].decode()
        whole = re.sub(r"\x1b(\[[0-?]*)?$", "", text)
        self._undecided = self._undecided[len(whole.encode()) :]
        for parameters, final, other, control, printed in TOKEN.findall(whole):
            assert not other, f"escape sequence {other!r} in {data!r}"
            if final:
                self._obey(parameters, final)
            elif control:
                self._control(control)
            else:
                self._print(printed)
        return bool(data)

    def _obey(self, parameters: str, final: str) -> None:
        if final == "m":
            self.styles.append(parameters)
        elif (parameters, final) == ("", "K"):
            del self._rows[self._row][self._column :]
        elif (parameters, final) == ("2", "K"):  # from here on: what rich's live displays need
            self._rows[self._row].clear()
        elif final == "C":
            self._column += int(parameters or 1)
        elif final == "A":
            self._row -= int(parameters or 1)
        elif (parameters, final) == ("2", "J"):
            del self._rows[:]
            self._rows.append([])
            self._row = 0
        elif final == "H":
            assert not parameters
            self._row = self._column = 0
        else:
            assert (parameters, final) in {("?2004", "h"), ("?2004", "l"), ("?25", "h"), ("?25", "l")}, parameters

    def _control(self, control: str) -> None:
        if control == "\r":
            self._column = 0
        elif control == "\n":
            self._row += 1
            if self._row == len(self._rows):
                self._rows.append([])
        elif control == "\t":
            self._column += 8 - self._column % 8
        else:
            raise AssertionError(f"control character {control!r}")

    def _print(self, text: str) -> None:
        for each in text:
            cells = cell_len(each)
            if self._column + cells > self._columns:
                self._control("\n")
                self._column = 0
            row = self._rows[self._row]
            row.extend(" " * (self._column + cells - len(row)))
            row[self._column : self._column + cells] = [each, *[""] * (cells - 1)]
            self._column += cells


def set_size(descriptor: int, columns: int, rows: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@asynccontextmanager
async def open_terminal(
    *arguments: str,
    columns: int = 80,
    rows: int = 24,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
) -> AsyncGenerator[Terminal]:
    """Run the command line, or *command* with *arguments*, in a pseudo-terminal of its own, for a block."""
    ours, theirs = os.openpty()
    try:
        set_size(theirs, columns, rows)
        process: Process | trio.Process
        if command:
            login = [sys.executable, "-I", "-S", "-c", LOGIN, str(theirs), *command, *arguments]
            process = await trio.lowlevel.open_process(login, pass_fds=[theirs], env=environment(env or {}))
            os.close(theirs)
        else:
            process = Process(arguments, [theirs], environment(env or {}))
        try:
            yield Terminal(ours, process, columns)
        finally:
            if process.poll() is None:
                process.kill()
                with trio.CancelScope(shield=True, deadline=trio.current_time() + GIVE_UP):
                    await process.wait()
    finally:
        os.close(ours)
