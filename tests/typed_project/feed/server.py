"""The server: every option of interest, and hooks of every kind."""

from __future__ import annotations

import re
from typing import assert_type
from uuid import UUID

import trio
import trio.lowlevel

from trio_closeevents import (
    CloseEvent,
    ClosePolicy,
    ConnectionClosed,
    Deflate,
    Listen,
    ReadyState,
    Request,
    Response,
    Server,
    Stats,
    WebSocket,
    basic_auth,
    broadcast,
    open_server,
    serve,
)

POLICY = ClosePolicy({PermissionError: (4403, "forbidden"), TimeoutError: 3008, KeyError: None}, on_exit=1000)


async def subscribe(ws: WebSocket) -> None:
    """Be the handler: anything that returns something awaitable is one."""
    assert_type(ws.request, Request)
    assert_type(ws.request.cookies, dict[str, str])
    assert_type(ws.subprotocol, str | None)
    assert_type(ws.id, UUID)
    assert_type(ws.state, ReadyState)
    assert_type(ws.stats, Stats)
    assert_type(ws.stats.bytes_sent, int)
    async for message in ws:
        assert_type(message, str | bytes)
        if isinstance(message, bytes):
            raise PermissionError
        await ws.send([message, " is subscribed"])
        await ws.send(message.encode(), text=True)


async def quote(ws: WebSocket) -> int:
    """What a handler returns does not matter."""
    latency = await ws.ping()
    assert_type(latency, float)
    assert_type(ws.latency, float | None)
    return round(latency)


def route(request: Request) -> Response | None:
    """Be `process_request`."""
    assert_type(request.credentials, tuple[str, str] | None)
    assert_type(request.headers["host"], str)
    assert_type(request.headers.get("origin"), str | None)
    assert_type(request.headers.get_all("cookie"), tuple[str, ...])
    return Response(200, {"Content-Type": "text/plain"}, "fine\n") if request.path == "/health" else None


async def route_later(request: Request) -> Response | None:
    """Be one that has to ask somebody."""
    await trio.lowlevel.checkpoint()
    return route(request)


def change(request: Request, response: Response) -> Response | None:
    """Be `process_response`."""
    return None if request.method == "GET" else Response(response.status, response.headers, response.body)


def note(ws: WebSocket, event: CloseEvent) -> None:
    """Be `on_close`."""
    print(ws.remote_address, event.to_dict())


async def main() -> None:
    """Serve in each of the ways."""
    async with open_server(
        subscribe,
        "127.0.0.1",
        0,
        origins=["https://example.com", re.compile(r"https://\w+\.example\.com"), None],
        process_request=route_later,
        process_response=change,
        on_close=note,
        policy=POLICY,
        compression=Deflate(),
        ping_interval=None,
    ) as server:
        assert_type(server, Server)
        assert_type(server.port, int)
        await broadcast(server.connections, "tick")
        await broadcast((ws for ws in server.connections if ws.buffered == 0), b"tick")
        await server.aclose(1012, "restart", grace=3)
    async with trio.open_nursery() as nursery:
        started: Server = await nursery.start(serve, quote, "127.0.0.1", 0)
        print(started.addresses)
        places = [Listen(("127.0.0.1", 0)), Listen("/tmp/feed.sock")]
        auth = basic_auth({"ada": "secret"})
        async with open_server(quote, listen=places, process_request=auth, headers=[("X-Feed", "1")]):
            nursery.cancel_scope.cancel()


async def tell(ws: WebSocket, text: str) -> bool:
    """Say whether somebody could be told."""
    try:
        await ws.send(text)
    except ConnectionClosed as error:
        assert_type(error.event, CloseEvent | None)
        return False
    return True
