"""Runs the suite, which is Python 2.7, against our server and our client.

Theory. Each role is a nursery of processes: one of the suite, one of ours. Whatever goes wrong in one of them ends all,
and leaving the nursery ends those that do not end by themselves (the suite's server, ours). The suite tells which case
it begins; if it is silent for longer than any case may take, something hangs, and the run is given up.

No port is fixed, and none is guessed: our server says which one it got, and the suite's server is handed a socket that
listens already.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from .cases import Case, Role
from .echo import AGENT, HOST
from .recording import Record, thinned
from .relay import Tape, relay

__all__ = ["GivenUp", "Suite"]

# The suite's `wstest`, with a listening socket of ours in place of a port, and with an end when its input ends: that is
# also when whoever started it was killed.
WSTEST: Final = """
import os, socket, sys, thread
from autobahntestsuite import wstest
from twisted.internet import reactor
thread.start_new_thread(lambda: (sys.stdin.read(), os._exit(1)), ())
listening = int(sys.argv.pop(1))
reactor.listenTCP = lambda port, factory, *more: reactor.adoptStreamPort(listening, socket.AF_INET, factory)
wstest.run()
"""
NOTHING: Final = -1  # the number of no socket, for a suite that does not listen
BEGINS: Final = re.compile(rb"^Running test case ID (\S+)", re.MULTILINE)
ECHO: Final = (sys.executable, "-m", f"{__package__}.echo")
HERE: Final = Path(__file__).parent.parent  # where the package is found
LAST_WORDS: Final = 10  # seconds for what the relay still has to carry when the suite has ended


class GivenUp(Exception):
    """The run was ended before its end."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A run of the suite in both roles.

    Attributes:
        python: a Python 2.7 with the suite.
        folder: for the suite's reports and for what it prints; emptied first.
        cases: what to run.
        patience: seconds; the suite lets no case take longer than that.
        records: where to put what travelled, thinned; `None`: nobody listens in.
    """

    python: Path
    folder: Path
    cases: Sequence[Case]
    patience: float
    records: list[Record] | None = None

    def reports(self, role: Role) -> Path:
        """Return the folder with the suite's reports on us in *role*."""
        return self.folder / role

    async def run(self) -> None:
        """Run all cases in both roles at once.

        Raises:
            GivenUp, subprocess.CalledProcessError: in a group. All processes were ended.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up_when_told)
            async with trio.open_nursery() as roles:
                roles.start_soon(self._test_server)
                roles.start_soon(self._test_client)
            nursery.cancel_scope.cancel()

    async def _test_server(self) -> None:
        async with trio.open_nursery() as nursery:
            port: int = await nursery.start(run_our_server)
            if self.records is not None:
                listener = await listen()
                nursery.start_soon(relay, listener, HOST, port, "suite", partial(self._keep, "server"))
                port = port_of(listener)
            servers = [{"agent": AGENT, "url": f"ws://{HOST}:{port}"}]
            await self._run_wstest("server", "fuzzingclient", NOTHING, servers=servers)
            await self._wait_for_records("server")
            nursery.cancel_scope.cancel()

    async def _test_client(self) -> None:
        async with trio.open_nursery() as nursery:
            listener = caller = await listen()
            if self.records is not None:
                caller = await listen()
                nursery.start_soon(relay, caller, HOST, port_of(listener), "us", partial(self._keep, "client"))
            url = f"ws://{HOST}:{port_of(caller)}"
            await nursery.start(partial(self._run_wstest, "client", "fuzzingserver", listener.socket.fileno(), url=url))
            await listener.aclose()  # it is the suite's now, and ends with it
            await trio.run_process([*ECHO, "client", url], cwd=HERE)
            await self._wait_for_records("client")
            nursery.cancel_scope.cancel()

    async def _run_wstest(
        self,
        role: Role,
        mode: str,
        listening: int,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
        **spec: Any,
    ) -> None:
        """Run the suite in *mode* until it ends by itself, write down what it prints, and see to it that it goes on."""
        spec |= {"outdir": str(self.reports(role)), "cases": self.cases, "exclude-cases": []}
        spec_file, log_file = self.folder / f"{role}.json", self.folder / f"{role}.log"
        spec_file.write_text(json.dumps(spec))
        run = partial(
            trio.run_process,
            [self.python, "-u", "-E", "-c", WSTEST, str(listening), "-m", mode, "-u", "0", "-s", spec_file],
            check=False,
            cwd=self.folder,
            pass_fds=[] if listening == NOTHING else [listening],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        async with trio.open_nursery() as nursery, await trio.open_file(log_file, "wb", buffering=0) as log:
            process: trio.Process = await nursery.start(run)
            task_status.started()
            assert process.stdout is not None
            case = b"the first case"
            with trio.CancelScope(deadline=trio.current_time() + self.patience) as waiting:
                async for data in process.stdout:
                    waiting.deadline = trio.current_time() + self.patience
                    case = next(reversed(BEGINS.findall(data)), case)
                    await log.write(data)
                if code := await process.wait():
                    raise GivenUp(f"{role}: the suite ended with code {code}; see {log_file}")
            if waiting.cancelled_caught:
                where = f"{role} {case.decode()}"
                raise GivenUp(f"{where}: nothing has happened for {self.patience} seconds; see {log_file}")

    def _keep(self, role: Role, number: int, tape: Tape) -> None:
        """Keep the tape of a case. The suite's client runs them in their order, and our client says which it wants."""
        assert self.records is not None
        if role == "client":
            request = re.match(rb"GET /runCase\?case=(\d+)&", next(data for side, data in tape if side == "us"))
            if request is None:
                return
            number = int(request[1]) - 1
        self.records.append(thinned(Record(role, self.cases[number], tape)))

    async def _wait_for_records(self, role: Role) -> None:
        """Wait until the relay has no connection any more."""
        if self.records is not None:
            with trio.move_on_after(LAST_WORDS):
                while sum(record.role == role for record in self.records) < len(self.cases):
                    await trio.sleep(0.01)


async def run_our_server(task_status: trio.TaskStatus[int]) -> None:
    """Run our server until cancelled; its port is the task's status."""
    async with trio.open_nursery() as nursery:
        pipe = subprocess.PIPE
        run = partial(trio.run_process, [*ECHO, "server"], cwd=HERE, stdin=pipe, stdout=pipe)
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        port = await process.stdout.receive_some()
        if not port:
            raise GivenUp("our server ended before it began")
        task_status.started(int(port))


async def give_up_when_told() -> None:
    """Let SIGTERM end the run, and all its processes with it."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise GivenUp("ended by SIGTERM")


async def listen() -> trio.SocketListener:
    """Listen on a port that is free."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    return listener


def port_of(listener: trio.SocketListener) -> int:
    """Return the port that *listener* got."""
    port: int = listener.socket.getsockname()[1]
    return port
