"""The client: connecting, staying connected, and reading the end of a connection as a value."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal, Unpack, assert_never, assert_type

import trio

from trio_closeevents import (
    ByteStream,
    CloseCause,
    CloseCode,
    CloseEvent,
    CloseFrame,
    ConnectionBroken,
    HandshakeError,
    HandshakeRejected,
    JSONChannel,
    OptionsDict,
    ReconnectEvent,
    ReconnectPolicy,
    RemoteClosed,
    Response,
    WebSocket,
    connect,
    describe,
    stay_connected,
)


@asynccontextmanager
async def open_feed(url: str, **options: Unpack[OptionsDict]) -> AsyncGenerator[WebSocket]:
    """Pass the options of the library on."""
    async with connect(url, subprotocols=["prices"], headers={"X-Client": "feed"}, **options) as ws:
        assert_type(ws, WebSocket)
        yield ws


async def watch(url: str) -> str:
    """Read a feed to its end, and say how that was."""
    async with open_feed(url, max_message_size=2**10, compression="deflate") as ws:
        async for event in ws.events():
            match event:
                case str() as text:
                    assert_type(text, str)
                case bytes() as data:
                    assert_type(data, bytes)
                case CloseEvent(1001, reason):
                    return reason
                case CloseEvent() as end:
                    return in_words(end)
                case _:
                    assert_never(event)
    return "never"


def in_words(event: CloseEvent) -> str:
    """Read every field."""
    assert_type(event.code, int)
    assert_type(event.was_clean, bool)
    assert_type(event.cause, CloseCause | None)
    assert_type(event.sent, CloseFrame | None)
    match event.cause:
        case CloseCause.EOF | CloseCause.RESET:
            return "lost"
        case CloseCause.REMOTE if event.code == CloseCode.SERVICE_RESTART:
            return "restart"
        case _:
            pass
    match event.initiated_by:
        case "local" | "remote" | "transport" as who:
            return who
        case None:
            return describe(event.code)


async def receive_each_way(ws: WebSocket) -> None:
    """What `receive` returns depends on what it is asked for."""
    assert_type(await ws.receive(), str | bytes)
    assert_type(await ws.receive(decode=True), str)
    assert_type(await ws.receive(decode=False), bytes)
    async with ws.receive_stream(max_size=None) as pieces:
        async for piece in pieces:
            assert_type(piece, str | bytes)
    assert_type(ws.as_stream(), ByteStream)
    stream: trio.abc.HalfCloseableStream = ws.as_stream()
    await stream.send_all(b"bytes")
    channel: trio.abc.Channel[str | bytes] = ws
    await channel.send("text")


async def ask(ws: WebSocket, question: dict[str, Any]) -> Any:
    """Speak JSON, with any library."""
    channel = ws.as_json(dumps=lambda value: json.dumps(value, separators=(",", ":")), loads=json.loads)
    assert_type(channel, JSONChannel)
    await channel.send(question)
    return await channel.receive()


async def open_or_explain(url: str) -> str:
    """Tell why there is no connection."""
    try:
        async with connect(url, open_timeout=1) as ws:
            assert_type(ws.close_event, CloseEvent | None)
            return str(await ws.wait_closed())
    except HandshakeRejected as error:
        assert_type(error.response, Response)
        return f"{error.response.status} {error.response.body.decode()}"
    except HandshakeError as error:
        assert_type(error.response, Response | None)
        return str(error.close_event.cause)


async def listen(ws: WebSocket) -> None:
    """Be a session."""
    try:
        while True:
            print(await ws.receive(decode=True))
    except RemoteClosed:
        pass
    except ConnectionBroken as error:
        print(error.event)
        raise


def patient(outcome: CloseEvent | HandshakeError, failures: int) -> float | None:
    """Be a policy of one's own."""
    return None if isinstance(outcome, HandshakeError) else 0.1 * failures


def note(event: ReconnectEvent) -> None:
    """Be an `on_event`."""
    match event.outcome:
        case CloseEvent() as end:
            assert_type(end.reason, str)
        case HandshakeError() as error:
            assert_type(error.close_event, CloseEvent)
        case None:
            assert_type(event.phase, Literal["connecting", "open", "waiting", "stopped"])


async def keep(url: str) -> CloseEvent:
    """Stay connected, in both ways to say where."""
    await stay_connected(url, listen, policy=ReconnectPolicy(first=0.1, codes=frozenset({1012})), on_event=note)
    end = await stay_connected(lambda: connect(url, auth=("ada", "secret")), listen, policy=patient)
    assert_type(end, CloseEvent)
    return end
