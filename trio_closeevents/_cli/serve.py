"""`trio-closeevents serve`: a server to talk to."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click
import trio

from trio_closeevents import WebSocket, open_server

from .chat import Chat
from .show import console_of
from .signals import Stop, stopping
from .status import Status
from .watch import Log, Watch

__all__ = ["serve"]

Handler = Callable[[WebSocket], Awaitable[None]]


@click.command()
@click.option("--echo", "kind", flag_value="echo", default="echo", help="Send every message back. The default.")
@click.option("--chat", "kind", flag_value="chat", help="Send everybody's messages to everybody, with names.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0: any that is free.")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="Speak TLS with this chain (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="The key, if it is not in --tls-cert.")
@click.option("--log", is_flag=True, help="A line for each connection and its end, on a terminal too.")
def serve(*, kind: str, host: str, port: int, tls_cert: str | None, tls_key: str | None, log: bool) -> int:
    """Run an echo server, or a chat.

    It runs until Ctrl-C or SIGTERM, and everybody then sees close code 1001. On a terminal a table shows the
    connections; elsewhere there is a line for each that opens, and for each that ends. In a chat a person's name is
    that of the URL, as in ws://localhost:8765/?name=anna. The exit status is 0, also after Ctrl-C, or 1 if the address
    cannot be listened on.
    """
    context = server_context(tls_cert, tls_key)
    handler: Handler = Chat().join if kind == "chat" else echo
    console = console_of(sys.stdout)
    log_lines = log or not console.is_terminal or console.is_dumb_terminal
    try:
        return trio.run(run_server, handler, host, port, context, Log(console) if log_lines else Watch(console))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}, port {port}: {error}") from error


def server_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise click.UsageError("--tls-key goes with --tls-cert")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise click.UsageError(f"--tls-cert and --tls-key are no certificate with its key: {error}") from error
    return context


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


async def run_server(handler: Handler, host: str, port: int, context: ssl.SSLContext | None, watch: Log | Watch) -> int:
    stop = Stop()
    watch.on_lost = stop.on_lost_stdout

    async def watched(websocket: WebSocket) -> None:
        watch.opened(websocket)
        await handler(websocket)

    options: dict[str, Any] = {"ssl_context": context, "on_close": watch.closed}
    async with stopping(stop), open_server(watched, host, port, **options) as server:
        scheme = "ws" if context is None else "wss"
        place = f"[{host}]" if ":" in host else host
        await watch.run(f"{scheme}://{place}:{server.port}/")
    watch.ended()
    return Status.PIPE if stop.status == Status.PIPE else Status.FINE
