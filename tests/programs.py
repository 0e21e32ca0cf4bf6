"""Programs of `examples/`, run as a user would: a process of their own, with every warning an error."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

__all__ = ["ROOT", "Program", "run_program"]

ROOT: Final = Path(__file__).parent.parent
PATIENCE: Final = 20.0  # seconds; a busy machine imports slowly
PORT: Final = re.compile(r"//[\d.]+:(\d+)/")


class Program:
    """A process that runs; `run_program` starts it.

    Attributes:
        said: what it has printed so far.
        port: the one in the first URL that it has printed, which is its own.
    """

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.said = ""

    @property
    def port(self) -> int:
        match = PORT.search(self.said)
        assert match is not None
        return int(match[1])

    async def wait_for(self, pattern: str) -> None:
        """Wait until it has printed that."""
        assert self._process.stdout is not None
        with trio.move_on_after(PATIENCE):
            while not re.search(pattern, self.said):
                more = await self._process.stdout.receive_some()
                assert more, f"the program has ended:\n{self.said}"
                self.said += more.decode()
            return
        raise AssertionError(f"{pattern!r} was not printed:\n{self.said}")

    async def end(self, signal: int | None = None) -> int:
        """Send *signal*, and wait until it ends; return the exit status."""
        if signal is not None:
            self._process.send_signal(signal)
        assert self._process.stdout is not None
        with trio.fail_after(PATIENCE):
            while more := await self._process.stdout.receive_some():
                self.said += more.decode()
            return await self._process.wait()


@asynccontextmanager
async def run_program(*words: str) -> AsyncGenerator[Program]:
    """Run `python WORDS`; kill it at the end, if it is still there."""
    command = [sys.executable, "-u", "-W", "error", *words]
    process = await trio.lowlevel.open_process(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield Program(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
            await process.wait()
        assert process.stdout is not None
        await trio.aclose_forcefully(process.stdout)
