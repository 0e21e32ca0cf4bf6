"""Runs scripts as `python -W error SCRIPT` does, in processes that begin with the library imported.

Theory. Python takes half a second to start and to import trio and the library, and a few milliseconds to fork. So one
process does the former, this file as a script, and forks for every program that is to run: each has a process, a
`__main__`, an exit status and an end of its own, and shares nothing with the others but what was imported. The two ends
talk in lines of JSON. A program that does not end is ended by an alarm that it is born with.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

__all__ = ["LIMIT", "Launcher", "Running"]

LIMIT: Final = 30  # seconds; a busy machine is slow
FLAGS: Final = ("-u", "-W", "error", "-X", "utf8")
TIMED_OUT: Final = -signal.SIGALRM


class Launcher:
    """The process that forks; a block owns it."""

    def __enter__(self) -> Launcher:
        # What the programs reach is not measured: the tests of the library do that.
        env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        command = [sys.executable, *FLAGS, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.communicate()

    def start(self, script: Path) -> Running:
        """Run *script* in its own folder; what it prints goes into a file beside it."""
        output = script.with_suffix(".out")
        output.touch()
        return Running(self, self.ask(do="start", script=str(script), output=str(output)), output)

    def ask(self, **request: object) -> Any:
        """Send a request, and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


class Running:
    """A program that was started."""

    def __init__(self, launcher: Launcher, pid: int, output: Path) -> None:
        self._launcher = launcher
        self._pid = pid
        self._output = output
        self._status: int | None = None

    @property
    def printed(self) -> str:
        """What it has printed so far, on both of its outputs."""
        return self._output.read_text(encoding="utf-8")

    @property
    def has_ended(self) -> bool:
        if self._status is None:
            self._status = self._launcher.ask(do="poll", pid=self._pid)
        return self._status is not None

    def wait(self) -> int:
        """Wait until it has ended, at most `LIMIT` seconds; return the exit status, or minus a signal."""
        if self._status is None:
            self._status = int(self._launcher.ask(do="wait", pid=self._pid))
        return self._status

    def end(self, number: signal.Signals) -> None:
        """Send a signal, and wait."""
        if not self.has_ended:
            os.kill(self._pid, number)
        self.wait()


def main() -> None:
    """Fork for every program that is asked for; in the child, return its script and be it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    for line in sys.stdin:
        match json.loads(line):
            case {"do": "start", "script": script, "output": output}:
                if (pid := os.fork()) == 0:
                    become(script, output)
                    return
                answer: object = pid
            case {"do": action, "pid": pid}:
                ended, status = os.waitpid(pid, os.WNOHANG if action == "poll" else 0)
                answer = os.waitstatus_to_exitcode(status) if ended else None
            case request:
                raise ValueError(request)
        print(json.dumps(answer), flush=True)


def become(script: str, output: str) -> None:
    """Be a process that runs *script* and nothing else."""
    signal.alarm(LIMIT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, path, flags in ((0, os.devnull, os.O_RDONLY), (1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(1, 2)
    os.chdir(Path(script).parent)
    sys.argv, sys.path[0] = [script], str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    for shared in ("asyncio", "logging", "trio", "trio_closeevents"):
        import_module(shared)
    main()
