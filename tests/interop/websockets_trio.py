"""A peer with the trio side of `websockets`: `python -m interop.websockets_trio AUTHORITY.pem SERVER.pem`."""

from __future__ import annotations

import json
import ssl
import sys
from functools import partial

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import connect
from websockets.trio.connection import Connection
from websockets.trio.server import Server, ServerConnection, serve

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
        pong_received = await self.websocket.ping(payload)
        await pong_received.wait()

    async def close(self, code: int, reason: str) -> None:
        await self.websocket.aclose(code, reason)

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
    number: int = server.listeners[0].socket.getsockname()[1]
    return number


async def main(authority: str, certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=authority)
    start = partial(serve, handle, 0, host=HOST, max_size=None)
    async with trio.open_nursery() as nursery:
        plain = await nursery.start(partial(start, ssl=None))
        secure = await nursery.start(partial(start, ssl=context))
        say(ws=port(plain), wss=port(secure))
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            nursery.start_soon(call, json.loads(line)["url"], trust)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
