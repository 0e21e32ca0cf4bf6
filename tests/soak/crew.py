"""The processes of a soak, as their parent sees them."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from .plan import SERVER_PROCESSES
from .record import Reader
from .worker import Orders

__all__ = ["CLIENT_PROCESSES", "Crew", "Member"]

CLIENT_PROCESSES: Final = 2
START_TIMEOUT: Final = 30.0  # seconds; a busy machine imports slowly
EXIT_TIMEOUT: Final = 10.0


class Member:
    """One process of the crew.

    Attributes:
        name: the module and the number.
        records: what its journal has got since it was asked last.
    """

    def __init__(self, module: str, orders: Orders, folder: Path) -> None:
        self.name = f"{module} {orders.index}"
        self._stderr = folder / f"{module}-{orders.index}.stderr"
        path = Path(orders.journal)
        path.touch()
        self.records = Reader(path)
        with self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", f"soak.{module}", json.dumps(asdict(orders))],
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def tell(self, **command: Any) -> None:
        self._stdin.write(json.dumps(command).encode() + b"\n")

    def answer(self, seconds: float) -> dict[str, Any]:
        """Wait for the answer to a command."""
        if not select.select([self._stdout], [], [], seconds)[0]:
            raise TimeoutError(f"{self.name} has not answered for {seconds:g} s; stderr: {self.stderr()}")
        line = self._stdout.readline()
        if not line:
            raise ChildProcessError(f"{self.name} has exited; stderr: {self.stderr()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    def end(self) -> list[str]:
        """Let it exit; return what it did wrong."""
        self._stdin.close()
        try:
            status = self._process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            return [f"{self.name} does not exit"]
        said = self.stderr()
        return [f"{self.name} ended with status {status}, stderr: {said}"] if status or said else []

    def kill(self) -> None:
        """Leave nothing behind, whatever has happened."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._stdin.close()
        self._stdout.close()


class Crew:
    """All processes: they start with it, and none is left when its block is."""

    def __init__(self, seed: int, folder: Path, authority: Path, certificate: Path) -> None:
        self._seed = seed
        self._folder = folder
        self._authority = authority
        self._certificate = certificate
        self._cleanup = ExitStack()
        self.servers: list[Member] = []
        self.relays: list[Member] = []
        self.clients: list[Member] = []

    @property
    def members(self) -> list[Member]:
        return [*self.servers, *self.relays, *self.clients]

    def __enter__(self) -> Self:
        try:
            self.servers = [self._start("server", index, [], 0) for index in range(SERVER_PROCESSES)]
            ports: list[dict[str, int]] = [server.answer(START_TIMEOUT)["ports"] for server in self.servers]
            self.relays = [self._start("relay", 0, ports, 0)]
            relay: int = self.relays[0].answer(START_TIMEOUT)["port"]
            self.clients = [self._start("client", index, ports, relay) for index in range(CLIENT_PROCESSES)]
            for client in self.clients:
                client.answer(START_TIMEOUT)
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _start(self, module: str, index: int, ports: list[dict[str, int]], relay: int) -> Member:
        journal = self._folder / f"{module}-{index}.jsonl"
        orders = Orders(self._seed, index, str(journal), str(self._authority), str(self._certificate), ports, relay)
        member = Member(module, orders, self._folder)
        self._cleanup.callback(member.kill)
        return member
