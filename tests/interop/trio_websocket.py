"""A peer with `trio-websocket`: `python -m interop.trio_websocket AUTHORITY.pem SERVER.pem`."""

from __future__ import annotations

import json
import ssl
import sys
from functools import partial
from typing import Final

import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket_url,
    serve_websocket,
)

from .script import HOST, play, say

MAX_MESSAGE_SIZE: Final = 2**30  # there is no way to say: no limit


class Link:
    def __init__(self, websocket: WebSocketConnection) -> None:
        self.websocket = websocket

    async def receive(self) -> str | bytes | None:
        try:
            return await self.websocket.get_message()
        except ConnectionClosed:
            return None

    async def send(self, message: str | bytes) -> None:
        try:
            await self.websocket.send_message(message)
        except ConnectionClosed:
            pass  # receive() tells too

    async def ping(self, payload: bytes) -> None:
        await self.websocket.ping(payload)

    async def close(self, code: int, reason: str) -> None:
        await self.websocket.aclose(code, reason)

    def ended(self) -> tuple[int | None, str | None]:
        assert self.websocket.closed is not None
        return self.websocket.closed.code, self.websocket.closed.reason


async def handle(request: WebSocketRequest) -> None:
    async with await request.accept() as websocket:
        report = await play(request.path, Link(websocket))
    say(**report)


async def call(url: str, trust: ssl.SSLContext) -> None:
    context = trust if url.startswith("wss:") else None
    async with open_websocket_url(url, context, max_message_size=MAX_MESSAGE_SIZE) as websocket:
        report = await play(url, Link(websocket))
    say(**report)


async def main(authority: str, certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=authority)
    start = partial(serve_websocket, handle, HOST, 0, max_message_size=MAX_MESSAGE_SIZE)
    async with trio.open_nursery() as nursery:
        plain = await nursery.start(partial(start, ssl_context=None))
        secure = await nursery.start(partial(start, ssl_context=context))
        say(ws=plain.port, wss=secure.port)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            nursery.start_soon(call, json.loads(line)["url"], trust)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
