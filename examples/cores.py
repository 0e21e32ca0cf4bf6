"""One server process per core, on one port: `python -m examples.cores --port 8000`.

Python runs on one core at a time, so a server that shall use all of them is several processes. Each listens on the same
port (`SO_REUSEPORT`), and the system distributes the connections among them; no balancer stands in front.

Theory. The supervisor holds the port with a socket that is bound and never listens, so that the port stays when all
workers are gone, and the system gives it no connections. A worker that dies is replaced, but not more often than once
in `PAUSE` seconds. SIGTERM or Ctrl-C at the supervisor is passed on to the workers, which close their connections with
1012 ("service restart"); when the last one is gone, so is the supervisor. A worker sees the end of its standard input
when the supervisor is killed, and then does the same.

Connections are not moved: a worker that ends takes its own along, and `stay_connected` is the client for that.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import trio

from trio_closeevents import CloseCode, Listen, Server, WebSocket, close_on_signals, open_server

PAUSE = 1.0  # seconds from one start of a worker to the next in its place


async def echo(ws: WebSocket) -> None:
    """Send every message back, with the number of the process that has it."""
    async for message in ws:
        await ws.send(f"{os.getpid()} {message!s}")


async def work(host: str, port: int) -> None:
    """Be a worker."""
    place = Listen((host, port), reuse_port=True)
    async with open_server(echo, listen=[place]) as server, trio.open_nursery() as nursery:
        nursery.start_soon(close_without_supervisor, server)
        await close_on_signals(server, CloseCode.SERVICE_RESTART, grace=5)
        nursery.cancel_scope.cancel()


async def close_without_supervisor(server: Server) -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        async for _ in stdin:
            pass
    await server.aclose(CloseCode.SERVICE_RESTART, grace=5)


class Supervisor:
    """Keeps workers running until it is told to stop."""

    def __init__(self, host: str, port: int) -> None:
        self.command = [sys.executable, "-m", "examples.cores", "--worker", "--host", host, "--port", str(port)]
        self.running: set[trio.Process] = set()
        self.stopping = trio.Event()

    async def run(self, workers: int) -> None:
        """Return when SIGTERM or SIGINT came and the last worker is gone."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(self.keep_running, nursery)
                async for _ in signals:
                    break
                self.stopping.set()
                for process in self.running:
                    process.terminate()

    async def keep_running(self, nursery: trio.Nursery) -> None:
        """Start a worker, and another when it has died."""
        while not self.stopping.is_set():
            earliest = trio.current_time() + PAUSE
            start = partial(trio.run_process, self.command, stdin=subprocess.PIPE, check=False)
            process: trio.Process = await nursery.start(start)
            self.running.add(process)
            if self.stopping.is_set():
                process.terminate()
            code = await process.wait()
            self.running.remove(process)
            print(f"worker {process.pid} has ended with {code}", file=sys.stderr, flush=True)
            with trio.move_on_at(earliest):
                await self.stopping.wait()


@contextmanager
def held(host: str, port: int) -> Generator[int]:
    """Hold *port*, or one that the system chooses, without listening on it."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(address)
        yield holder.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.cores", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0, the default: one that the system chooses")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: one per core")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        trio.run(work, arguments.host, arguments.port)
        return
    with held(arguments.host, arguments.port) as port:
        print(f"ws://{arguments.host}:{port}", flush=True)
        trio.run(Supervisor(arguments.host, port).run, arguments.workers)


if __name__ == "__main__":
    main()
