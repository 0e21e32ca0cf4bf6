"""A server to run behind HAProxy, nginx or systemd: `python -m examples.behind_proxy --port 8001 --proxy haproxy`.

It writes every message into a journal, then acknowledges it: what was acknowledged is not lost, however the connection
ends. What was not, the client sends again, so a line may stand there twice. On SIGTERM, all connections are closed with
1012 ("service restart"), and clients that use `stay_connected` go to another server.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from trio_closeevents import (
    CloseCode,
    Listen,
    Request,
    Response,
    TrustedProxies,
    WebSocket,
    close_on_signals,
    inherited_sockets,
    open_server,
)
from trio_closeevents.routing import Router

# How each proxy tells where a client comes from; both run on this machine.
LISTENS: dict[str, Callable[..., Listen]] = {
    "haproxy": partial(Listen, proxy_protocol=["127.0.0.1"]),
    "nginx": Listen,
    "none": Listen,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "haproxy": {},
    "nginx": {"trusted_proxies": TrustedProxies(["127.0.0.1"], header="X-Forwarded-For")},
    "none": {},
}


def routes(journal: Path) -> Router:
    """Return what is served; *journal* is appended to."""
    router = Router()

    @router.route("/")
    async def keep(ws: WebSocket) -> None:
        with journal.open("ab", buffering=0) as file:
            async for message in ws:
                file.write(f"{message!s}\n".encode())
                await ws.send(f"{message!s} is safe")

    @router.route("/where")
    async def tell(ws: WebSocket) -> None:
        await ws.send(str(ws.remote_address[0]))

    @router.http("/health")
    def health(request: Request) -> Response:
        return Response(200, body="fine\n")

    return router


async def main(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    make = LISTENS[arguments.proxy]
    places = [make(each) for each in inherited_sockets()] or [make(("127.0.0.1", arguments.port))]
    options = OPTIONS[arguments.proxy]
    opening = open_server(routes(arguments.journal), listen=places, **options)
    async with opening as server, trio.open_nursery() as nursery:
        await nursery.start(partial(close_on_signals, server, CloseCode.SERVICE_RESTART, grace=5))
        print(server.port, flush=True)  # from now on it may be asked to end


def parse() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m examples.behind_proxy")
    parser.add_argument("--port", type=int, default=8001, help="not needed when systemd hands over a socket")
    parser.add_argument("--proxy", choices=sorted(LISTENS), default="none")
    parser.add_argument("--journal", type=Path, default=Path("journal"))
    return parser.parse_args()


if __name__ == "__main__":
    trio.run(main, parse())
