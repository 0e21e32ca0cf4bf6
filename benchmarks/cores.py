"""`python -m benchmarks.cores`: one process and several, on one port (`SO_REUSEPORT`), under the same load.

The load comes from processes on the same machine, which want their share of its cores; a machine that had them for the
servers alone would show more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from typing import Final

import trio

from trio_closeevents import Listen, WebSocket, serve

from . import wire
from .environment import environment
from .load.job import Job, Reply
from .processes import ROOT
from .servers.common import HOST, announce

CLIENTS: Final = 2  # processes of the load, which share the connections


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def be_server(port: int) -> None:
    run = partial(serve, compression=None, ping_interval=None)
    async with trio.open_nursery() as nursery:
        place = Listen((HOST, port), reuse_port=True)
        server = await nursery.start(partial(run, echo, listen=[place]))
        announce(server.port)


def measure(processes: int, *, connections: int, seconds: float) -> list[Reply]:
    """Run so many servers on one port, and the load; return what each process of the load has measured."""
    with ExitStack() as stack:
        port = 0
        pids: list[int] = []
        for _ in range(processes):
            command = [sys.executable, "-m", "benchmarks.cores", "--server", str(port)]
            server = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            port = int(server.stdout.readline())
            pids.append(server.pid)
        job = Job(
            kind="crowd", port=port, pid=pids[0], seconds=seconds, connections=connections // CLIENTS, spoken=True
        )
        load = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.load", job.dumps()], cwd=ROOT, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(CLIENTS)
        ]
        return [json.loads(each.communicate()[0]) for each in load]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cores", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", default="1,2", metavar="N,…", help="how many servers (default: 1,2)")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.server is not None:
        wire.allow_many_files()
        trio.run(be_server, arguments.server)
        return
    about = environment()
    print(f"{about['cpu']}, {about['cores']} cores; {arguments.connections} connections, {CLIENTS} processes of load")
    numbers = [int(each) for each in arguments.processes.split(",")]
    rates: dict[int, list[float]] = {number: [] for number in numbers}
    for _ in range(arguments.rounds):
        for number in numbers:
            replies = measure(number, connections=arguments.connections, seconds=arguments.seconds)
            rates[number].append(sum(reply["value"] for reply in replies))
    first = rates[numbers[0]]
    for number, rate in rates.items():
        ratios = [one / other for one, other in zip(rate, first, strict=True)]
        print(
            f"servers: {number}   {statistics.median(rate):9,.0f} echoes/s,"
            f" {statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(f"load average now: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
