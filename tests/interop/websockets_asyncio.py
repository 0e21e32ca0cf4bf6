"""A peer with the asyncio side of `websockets`: `python -m interop.websockets_asyncio AUTHORITY.pem SERVER.pem`."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from .script import HOST, play, say


class Link:
    def __init__(self, websocket: Connection) -> None:
        self.websocket = websocket

    async def receive(self) -> str | bytes | None:
        try:
            return await self.websocket.recv()
        except ConnectionClosed:
            await self.websocket.wait_closed()
            return None

    async def send(self, message: str | bytes) -> None:
        try:
            await self.websocket.send(message)
        except ConnectionClosed:
            pass  # receive() tells too

    async def ping(self, payload: bytes) -> None:
        await (await self.websocket.ping(payload))

    async def close(self, code: int, reason: str) -> None:
        await self.websocket.close(code, reason)

    def ended(self) -> tuple[int | None, str | None]:
        return self.websocket.close_code, self.websocket.close_reason


async def handle(websocket: ServerConnection) -> None:
    assert websocket.request is not None
    say(**await play(websocket.request.path, Link(websocket)))


async def call(url: str, trust: ssl.SSLContext) -> None:
    context = trust if url.startswith("wss:") else None
    async with connect(url, ssl=context, max_size=None, proxy=None) as websocket:
        report = await play(url, Link(websocket))
    say(**report)


def port(server: Server) -> int:
    number: int = server.sockets[0].getsockname()[1]
    return number


async def main(authority: str, certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=authority)
    calls = set()
    async with (
        serve(handle, HOST, 0, max_size=None) as plain,
        serve(handle, HOST, 0, max_size=None, ssl=context) as secure,
    ):
        say(ws=port(plain), wss=port(secure))
        while line := await asyncio.to_thread(sys.stdin.readline):
            calls.add(asyncio.create_task(call(json.loads(line)["url"], trust)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
