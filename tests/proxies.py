"""Real proxies on the loopback, of several kinds, in a process of their own: `python proxies.py SERVER_CERTIFICATE`.

They end with the standard input. The first line of the output is the port of each, as JSON.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import anyio.streams.tls
from tiny_proxy import HttpProxyHandler, Socks4ProxyHandler, Socks5ProxyHandler

__all__ = ["PASSWORD", "USER"]

USER: Final = "ada"
PASSWORD: Final = "p:ss word"

HANDLERS: Final[dict[str, Any]] = {
    "http": HttpProxyHandler(),
    "http-auth": HttpProxyHandler(USER, "secret"),
    "https": HttpProxyHandler(),
    "socks4": Socks4ProxyHandler(),
    "socks5": Socks5ProxyHandler(),
    "socks5-auth": Socks5ProxyHandler(USER, PASSWORD),
}


def forgiving(handler: Any) -> Callable[[Any], Awaitable[None]]:
    """Return *handler* without its habit of failing when a client resets."""

    async def handle(stream: Any) -> None:
        try:
            await handler.handle(stream)
        except Exception as error:
            print(f"{type(handler).__name__}: {error!r}", file=sys.stderr)

    return handle


async def main(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ports: dict[str, int] = {}
    async with anyio.create_task_group() as tasks:
        for name, handler in HANDLERS.items():
            listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1")
            ports[name] = listener.extra(anyio.abc.SocketAttribute.local_port)
            if name == "https":
                listener = anyio.streams.tls.TLSListener(listener, context)
            tasks.start_soon(listener.serve, forgiving(handler))
        print(json.dumps(ports), flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
