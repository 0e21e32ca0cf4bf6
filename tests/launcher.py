"""Runs programs as `python -W error` does, in processes that begin with the library imported.

Theory. Python takes half a second to start and to import trio and the library, and a few milliseconds to fork. So one
process does the former, this file as a script, and forks for every program that is to run: each has a process, a
`__main__`, an exit status and an end of its own, and shares nothing with the others but what was imported. The two ends
talk in lines of JSON; what a program is to have as its standard streams goes along. A program that does not end is
ended by an alarm that it is born with.
"""

from __future__ import annotations

import array
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

__all__ = ["LIMIT", "Launcher", "Running"]

LIMIT: Final = 30  # seconds; a busy machine is slow
FLAGS: Final = ("-W", "error", "-X", "utf8")
TIMED_OUT: Final = -signal.SIGALRM
SHARED: Final = ("asyncio", "logging", "trio", "trio_closeevents")
CHUNK: Final = 2**16


class Launcher:
    """The process that forks; a block owns it.

    Args:
        shared: names of more modules to import first.
        is_measured: what the programs reach counts, where coverage is measured.
    """

    def __init__(self, *shared: str, is_measured: bool = False) -> None:
        self._shared = shared
        self._is_measured = is_measured

    def __enter__(self) -> Launcher:
        is_left_out = () if self._is_measured else ("COVERAGE",)
        env = {name: value for name, value in os.environ.items() if not name.startswith(is_left_out)}
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, *FLAGS, __file__, str(theirs.fileno()), *SHARED, *self._shared]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=env)
        theirs.close()
        self._answers = self._socket.makefile("r", encoding="utf-8")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._answers.close()
        self._socket.close()
        self._process.wait()

    def start(self, script: Path) -> Running:
        """Run *script* in its own folder; what it prints goes into a file beside it."""
        output = script.with_suffix(".out")
        with output.open("wb", buffering=0) as printed, open(os.devnull, "rb") as nothing:
            streams = (nothing.fileno(), printed.fileno(), printed.fileno())
            pid = self.ask(do="start", script=str(script), streams=streams)
        return Running(self, pid, output)

    def start_module(
        self, name: str, arguments: Sequence[str], streams: Sequence[int], env: Mapping[str, str]
    ) -> Running:
        """Run a module as `python -m` does, here, with *streams* as the standard ones; they stay the caller's.

        If there is but one, it is the terminal that Ctrl-C and the like come from.
        """
        request = {"module": name, "arguments": list(arguments), "env": dict(env)}
        return Running(self, self.ask(do="start", streams=streams, **request))

    def ask(self, *, streams: Sequence[int] = (), **request: object) -> Any:
        """Send a request, and return the answer."""
        line = json.dumps(request).encode() + b"\n"
        along = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))] if streams else []
        sent = self._socket.sendmsg([line], along)
        self._socket.sendall(line[sent:])
        return json.loads(self._answers.readline())


class Running:
    """A program that was started."""

    def __init__(self, launcher: Launcher, pid: int, output: Path | None = None) -> None:
        self.pid = pid
        self._launcher = launcher
        self._output = output
        self._status: int | None = None

    @property
    def printed(self) -> str:
        """What it has printed so far, on both of its outputs."""
        assert self._output is not None
        return self._output.read_text(encoding="utf-8")

    @property
    def has_ended(self) -> bool:
        if self._status is None:
            self._status = self._launcher.ask(do="poll", pid=self.pid)
        return self._status is not None

    def wait(self) -> int:
        """Wait until it has ended, at most `LIMIT` seconds; return the exit status, or minus a signal."""
        if self._status is None:
            self._status = int(self._launcher.ask(do="wait", pid=self.pid))
        return self._status

    def end(self, number: signal.Signals) -> None:
        """Send a signal, and wait."""
        if not self.has_ended:
            os.kill(self.pid, number)
        self.wait()


def main(descriptor: int) -> None:
    """Fork for every program that is asked for; in the child, be it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    with socket.socket(fileno=descriptor) as asker:
        while request := receive(asker):
            match request:
                case {"do": "start", "streams": [*streams]}:
                    if (pid := os.fork()) == 0:
                        asker.close()
                        take(streams)
                        return be(request)
                    for each in streams:
                        os.close(each)
                    answer: object = pid
                case {"do": action, "pid": pid}:
                    ended, status = os.waitpid(pid, os.WNOHANG if action == "poll" else 0)
                    answer = os.waitstatus_to_exitcode(status) if ended else None
                case _:
                    raise ValueError(request)
            asker.sendall(json.dumps(answer).encode() + b"\n")


def receive(asker: socket.socket) -> dict[str, Any]:
    """Return the next request, with the descriptors that came along; nothing if there are no more."""
    line, streams, _, _ = socket.recv_fds(asker, CHUNK, 3)
    while line and not line.endswith(b"\n"):
        line += asker.recv(CHUNK)
    return {**json.loads(line), "streams": streams} if line else {}


def take(streams: Sequence[int]) -> None:
    """Have *streams* as the standard ones, as a process that begins now has them."""
    if len(streams) == 1:
        os.login_tty(streams[0])
    else:
        for wanted, each in enumerate(streams):
            os.dup2(each, wanted)
            os.close(each)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", 1, closefd=False)  # who asks may look at any time
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)


def be(request: Mapping[str, Any]) -> None:
    """Be a process that runs what was asked for, and nothing else."""
    signal.alarm(LIMIT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    match request:
        case {"script": script}:
            os.chdir(Path(script).parent)
            sys.argv, sys.path[0] = [script], str(Path(script).parent)
            runpy.run_path(script, run_name="__main__")
        case {"module": module, "arguments": arguments, "env": env}:
            os.environ.clear()
            os.environ.update(env)
            sys.argv, sys.path[0] = ["-m", *arguments], os.getcwd()
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case _:
            raise ValueError(request)


if __name__ == "__main__":
    for each in sys.argv[2:]:
        import_module(each)
    gc.freeze()  # what was imported need not be looked through at the end of each child
    main(int(sys.argv[1]))
