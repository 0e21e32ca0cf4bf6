"""`examples/relay.py`: messages both ways, and how each side's connection ended, told to the other."""

from __future__ import annotations

import math
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import pytest
import trio
import websockets.exceptions
from programs import run_program
from trio.testing import MockClock, wait_all_tasks_blocked
from websockets.trio.client import connect as connect_peer
from websockets.trio.server import Server, ServerConnection, serve

from examples.relay import across, join
from trio_closeevents import CloseCause, CloseEvent, WebSocket
from trio_closeevents.testing import open_websocket_pair

HOST: Final = "127.0.0.1"
End = Callable[[WebSocket], Awaitable[object]]


async def abort(ws: WebSocket) -> None:
    """Drop the transport."""
    ws.abort()


ENDS: Final[dict[str, tuple[End, int, str]]] = {
    "1000": (lambda ws: ws.aclose(1000, "done"), 1000, "done"),
    "1001": (lambda ws: ws.aclose(1001), 1001, ""),
    "4000": (lambda ws: ws.aclose(4000, "\u20ac" * 41), 4000, "\u20ac" * 41),
    "empty": (lambda ws: ws.aclose(None), 1005, ""),
    "abort": (abort, 1014, "the other side is gone: eof"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("who", ["client", "server"])
async def test_end_of_one_side_is_told_to_the_other(who: str, end: str, autojump_clock: MockClock) -> None:
    """Codes and reasons go across as they are; 1005 as an empty Close, 1006 as 1014."""
    act, code, reason = ENDS[end]
    async with open_websocket_pair() as (client, front), open_websocket_pair() as (back, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(join, front, back)
            first, other = (client, server) if who == "client" else (server, client)
            await first.send("before")
            assert await other.receive() == "before"
            await act(first)
            event = await other.wait_closed()
        assert (event.code, event.reason, event.was_clean) == (code, reason, True)


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (CloseEvent("close", code=1015, cause=CloseCause.TLS), (1014, "the other side is gone: tls")),
        (CloseEvent("close", code=1006, cause=CloseCause.RESET), (1014, "the other side is gone: reset")),
        (CloseEvent("close", code=1005), (None, "")),
        (CloseEvent("close", code=3008, reason="late"), (3008, "late")),
    ],
)
def test_codes_that_nobody_may_send_become_others(event: CloseEvent, answer: tuple[int | None, str]) -> None:
    """RFC 6455 §7.4.1."""
    assert across(event) == answer


async def test_messages_go_both_ways_at_once(autojump_clock: MockClock) -> None:
    """Text as text, binary as binary, in order."""
    sent: list[str | bytes] = ["text", b"binary", "", b"", "\u20ac" * 1000]
    async with open_websocket_pair() as (client, front), open_websocket_pair() as (back, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(join, front, back)
            for message in sent:
                await client.send(message)
                await server.send(message)
            for side in (client, server):
                assert [await side.receive() for _ in sent] == sent
            await client.aclose()


async def test_slow_reader_slows_down_the_sender(autojump_clock: MockClock) -> None:
    """What waits inside the relay is bounded by the limits of its connections."""
    size, sent = 2**16, 0
    left = partial(open_websocket_pair, streams=trio.testing.lockstep_stream_pair(), ping_interval=None)
    right = partial(open_websocket_pair, streams=trio.testing.lockstep_stream_pair(), ping_interval=None)
    async with left(max_queue=2) as (client, front), right(max_queue=2) as (back, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(join, front, back)
            with trio.move_on_after(60):
                while True:
                    await client.send(bytes(size))
                    sent += 1
            await wait_all_tasks_blocked()
            assert 4 <= sent <= 20
            for _ in range(sent):
                assert await server.receive() == bytes(size)
            await client.send("on it goes")
            while not isinstance(await server.receive(), str):
                pass
            await server.aclose()


# -- the program, between two peers of another library -----------------------------------------------------------------


class Backend:
    """A server made with `websockets`: it echoes, and closes as it is told."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._tell, self.endings = trio.open_memory_channel[tuple[int | None, str | None]](math.inf)

    async def handle(self, ws: ServerConnection) -> None:
        """Do what the first message says."""
        assert ws.request is not None
        self.paths.append(ws.request.path)
        try:
            while (message := await ws.recv()) != "close":
                await ws.send(message)
            await ws.aclose(4001, "as you wish")
        except websockets.exceptions.ConnectionClosed:
            pass
        self._tell.send_nowait((ws.close_code, ws.close_reason))


@pytest.mark.once
async def test_program_between_two_peers() -> None:
    """`python examples/relay.py URL`: path and query go along; both directions of an ending; and Ctrl-C is 1001."""
    backend = Backend()
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(partial(serve, backend.handle, 0, host=HOST))
        port = server.listeners[0].socket.getsockname()[1]
        async with run_program("examples/relay.py", f"ws://{HOST}:{port}/", "--port", "0") as program:
            await program.wait_for("leads to")
            url = f"ws://{HOST}:{program.port}/chat?room=1"
            async with connect_peer(url, proxy=None) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
                await ws.send(b"\x00")
                assert await ws.recv() == b"\x00"
                await ws.send("close")
                with pytest.raises(websockets.exceptions.ConnectionClosed):
                    await ws.recv()
                assert (ws.close_code, ws.close_reason) == (4001, "as you wish")
            assert await backend.endings.receive() == (4001, "as you wish")
            async with connect_peer(url, proxy=None) as ws:
                await ws.send("hello")
                await ws.recv()
                await ws.aclose(4002, "enough")
            assert await backend.endings.receive() == (4002, "enough")
            async with connect_peer(url, proxy=None) as ws:
                await ws.send("hello")
                await ws.recv()
                assert await program.end(signal.SIGINT) == 0
                with pytest.raises(websockets.exceptions.ConnectionClosed):
                    await ws.recv()
                assert ws.close_code == 1001
            assert await backend.endings.receive() == (1001, "")
        nursery.cancel_scope.cancel()
    assert backend.paths == ["/chat?room=1"] * 3
    assert "Traceback" not in program.said


async def test_program_without_a_server_behind_it() -> None:
    """1014, and a target that is no path leads nowhere."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with run_program("examples/relay.py", f"ws://{HOST}:{port}", "--port", "0") as program:
        await program.wait_for("leads to")
        async with connect_peer(f"ws://{HOST}:{program.port}/", proxy=None) as ws:
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (1014, "the server behind this proxy cannot be reached")
        assert "Traceback" not in program.said


async def say_upgrade(port: int, target: str) -> bytes:
    """Ask for an upgrade with any target; return what is answered."""
    async with await trio.open_tcp_stream(HOST, port) as stream:
        await stream.send_all(
            f"GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer: list[Any] = []
        with trio.fail_after(10):
            while not b"".join(answer).endswith(b"no path"):
                answer.append(await stream.receive_some())
        return b"".join(answer)


async def test_target_that_is_no_path_leads_nowhere() -> None:
    """`GET @evil.example` would make a host of its own."""
    async with run_program("examples/relay.py", f"ws://{HOST}:9", "--port", "0") as program:
        await program.wait_for("leads to")
        assert b"the target of the request is no path" in await say_upgrade(program.port, "@evil.example/")
