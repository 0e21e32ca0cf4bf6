"""Surroundings for fragments of any page: a connection, a server, the web."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
import trustme

from surroundings import Fragment, autojump
from trio_closeevents import Listen, Server, WebSocket, open_server
from trio_closeevents.testing import open_websocket_pair

__all__ = ["connection", "echo", "nothing", "open_web", "served", "url", "url_of", "web"]


async def echo(ws: WebSocket) -> None:
    """Be a server that sends everything back."""
    async for message in ws:
        await ws.send(message)


def url_of(server: Server) -> str:
    """Return where a client finds a server that listens on one port."""
    return f"ws://127.0.0.1:{server.port}/"


async def nothing(fragment: Fragment) -> None:
    """Nothing: the fragment needs trio and the public names of the library, and ends by itself."""
    await trio.lowlevel.checkpoint()
    await fragment()


async def url(fragment: Fragment) -> None:
    """`url`: where an echo server is."""
    async with open_server(echo, "127.0.0.1", 0) as server:
        await fragment(url=url_of(server))


@autojump
async def connection(fragment: Fragment) -> None:
    """`ws`: a connection to an echo, in memory."""
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(echo, server)
        await fragment(ws=client)
        await client.aclose()


async def web(fragment: Fragment) -> None:
    """Whatever host a URL names, it is an echo server."""
    async with open_web(echo):
        await fragment()


@asynccontextmanager
async def open_web(handler: Any, host: str = "example.org", **options: Any) -> AsyncGenerator[Server]:
    """Run a server, and let all hosts be that one; for `wss:` it has a certificate for *host* that everybody trusts."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    places = [Listen(("127.0.0.1", 0)), Listen(("127.0.0.1", 0), ssl_context=context)]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = Path(folder) / "authority.pem"
        authority.cert_pem.write_to_path(file)
        patch.setenv("SSL_CERT_FILE", str(file))
        async with open_server(handler, listen=places, **options) as server:
            plain, secure = (address[1] for address in server.addresses)
            trio.socket.set_custom_hostname_resolver(Web({80: plain, 443: secure}))
            try:
                yield server
            finally:
                trio.socket.set_custom_hostname_resolver(None)


class Web(trio.abc.HostnameResolver):
    """Finds every host here, on other ports."""

    def __init__(self, ports: dict[int, int]) -> None:
        self._ports = ports

    async def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", self._ports.get(int(port), int(port))))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@asynccontextmanager
async def served(fragment: Fragment, **names: object) -> AsyncGenerator[str]:
    """Run a fragment that serves on 8000 until it is cancelled; give the URL when it is up, and cancel it."""
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await fragment(**names)

        nursery.start_soon(run)
        with trio.fail_after(10):
            while True:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", fragment.port)
                except OSError:
                    await trio.sleep(0.01)
                else:
                    await stream.aclose()
                    break
        yield f"ws://127.0.0.1:{fragment.port}/"
        nursery.cancel_scope.cancel()
