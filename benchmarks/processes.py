"""Running servers, clients and the load client, each in a process of its own."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import trustme

from . import wire
from .load.job import Job, Reply
from .works import LIBRARIES, OURS, Work

__all__ = ["Failed", "Server", "make_certificate", "measure"]

ROOT: Final = Path(__file__).parents[1]
START_LIMIT: Final = 20.0  # seconds until a server has told its port
MEASURED_CORE: Final = 0  # what is measured has a core of its own
LOAD_CORE: Final = 1
NO_BYTECODE: Final = "PYTHONDONTWRITEBYTECODE"  # with it, an import would be a compilation
IMPORT: Final = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"


def on_core(core: int) -> list[str]:
    """Return what to put in front of a command that shall run on one core only, the *core*th that there is."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "--cpu-list", str(cores[core % len(cores)])]


class Failed(Exception):
    """A process did not do what it should; the text is the last line it wrote about that."""


def last_line(text: str, otherwise: str) -> str:
    lines = [line for line in text.splitlines() if line.strip(" |+-")]
    return lines[-1].strip(" |") if lines else otherwise


class Server:
    """A server's process, for a `with` block; it is killed at its end.

    Attributes:
        port: where it listens.
    """

    def __init__(self, module: str, *arguments: str, core: int = MEASURED_CORE) -> None:
        self.command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        self.core = core

    def __enter__(self) -> Self:
        self.errors: IO[str] = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*on_core(self.core), *self.command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_LIMIT)
        line = self.process.stdout.readline() if ready else ""
        if not line.strip().isdigit():
            self.end()
            raise Failed(f"the server did not start: {self.complaint()}")
        self.port = int(line)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()
        self.errors.close()

    def end(self, *, gently: bool = False) -> None:
        """Kill the process; *gently*: stop it, so that it can write its profile."""
        if gently:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                pass
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def complaint(self) -> str:
        self.errors.seek(0)
        return last_line(self.errors.read(), "without a word")


def make_certificate(folder: Path) -> Path:
    """Write a certificate for the loopback and its key into one PEM file, and return its path."""
    path = folder / "server.pem"
    trustme.CA().issue_cert(wire.HOST, "localhost").private_key_and_cert_chain_pem.write_to_path(path)
    return path


def run(command: list[str], limit: float, *, core: int = LOAD_CORE) -> str:
    """Run a process to its end and return what it printed."""
    try:
        done = subprocess.run(
            [*on_core(core), *command],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != NO_BYTECODE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {limit:.0f} s") from None
    if done.returncode:
        raise Failed(last_line(done.stderr, f"exit code {done.returncode}"))
    return done.stdout


def measure(
    work: Work, name: str, *, seconds: float, text: bool, certificate: Path, profile: Path | None = None
) -> Reply:
    """Measure the library *name* at *work* once.

    Args:
        profile: where the server writes cProfile's figures; the figure itself means nothing then.

    Raises:
        Failed: somebody did not do what they should.
    """
    limit = 30 + 10 * seconds
    if work.role == "import":
        what = "trio_closeevents" if name == OURS else name
        return {"value": float(run([sys.executable, "-c", IMPORT.format(what)], limit, core=MEASURED_CORE))}
    library = LIBRARIES[name]
    options: dict[str, Any] = dict(work.job)
    if work.role == "client":
        size = str(options["size"])
        with Server("neutral", size, *(["--text"] if text else []), core=LOAD_CORE) as server:
            given = json.dumps({"port": server.port, "seconds": seconds, "text": text, **options})
            command = [sys.executable, "-m", f"benchmarks.clients.{library.module}", given]
            reply: Reply = json.loads(run(command, limit, core=MEASURED_CORE))
            return reply
    arguments = ["--certificate", str(certificate)] if options.get("tls") else []
    arguments += ["--broadcast"] if options["kind"] == "broadcast" else []
    arguments += ["--profile", str(profile)] if profile is not None else []
    with Server(f"servers.{library.module}", *arguments) as server:
        job = Job(port=server.port, pid=server.process.pid, seconds=seconds, text=text, floor=library.floor, **options)
        try:
            reply = json.loads(run([sys.executable, "-m", "benchmarks.load", job.dumps()], limit))
        except Failed as error:
            if server.process.poll() is not None and server.process.returncode not in (0, -15):
                raise Failed(f"{error}; the server: {server.complaint()}") from None
            raise
        if profile is not None:
            server.end(gently=True)
        return reply
