"""What the suite talks to: a server and a client that send every message back, with the public API alone.

`python -m autobahn.echo server` prints its port and serves until its input ends. `python -m autobahn.echo client URL`
opens a connection for each of the cases that the suite's server at URL offers, one after the other.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import trio

from trio_closeevents import ConnectionClosed, HandshakeError, WebSocket, connect, open_server

__all__ = ["AGENT", "HOST", "OPTIONS", "echo"]

HOST: Final = "127.0.0.1"
AGENT: Final = "trio-closeevents"  # the name under which the suite reports
OPTIONS: Final[dict[str, Any]] = {
    "compression": "deflate",
    "max_message_size": 2**24,  # section 9 goes up to that
    "max_fragments": None,  # and sends 65,536 of them
    "ping_interval": None,  # the suite counts frames
}


async def echo(ws: WebSocket) -> None:
    """Send back what arrives, until nothing more does."""
    try:
        async for message in ws:
            await ws.send(message)
    except ConnectionClosed:
        pass  # most cases are about that; the suite has its own opinion of how it happened


async def serve() -> None:
    """Be the suite's server until the input ends, which it also does when whoever started this has died."""
    async with open_server(echo, HOST, 0, **OPTIONS) as server:
        print(server.port, flush=True)
        await trio.lowlevel.wait_readable(sys.stdin)


async def run_cases(url: str) -> None:
    """Be the suite's client: ask how many cases there are, run each, and have the reports written."""
    async with connect(f"{url}/getCaseCount") as ws:
        count = await ws.receive()
    for number in range(1, int(count) + 1):
        try:
            async with connect(f"{url}/runCase?case={number}&agent={AGENT}", **OPTIONS) as ws:
                await echo(ws)
        except HandshakeError as error:
            print(f"case number {number}: {error}", flush=True)  # the suite has no report of it, and that is noticed
    async with connect(f"{url}/updateReports?agent={AGENT}") as ws:
        await ws.wait_closed()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["server"]:
            trio.run(serve)
        case ["client", url]:
            trio.run(run_cases, url)
        case _:
            sys.exit(__doc__)
