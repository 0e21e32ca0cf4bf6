"""`examples/chat` without a browser: what its server takes from strangers, and what it does with slow ones."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio
import websockets.exceptions
from programs import run_program
from trio.testing import MockClock
from websockets.trio.client import connect as connect_peer

from examples.chat.page import answer
from examples.chat.room import MAX_MESSAGE_BYTES, MAX_NAME, MAX_OUTBOX, MAX_PEOPLE, MAX_TEXT, Room
from examples.chat.words import in_words
from trio_closeevents import (
    CloseEvent,
    Headers,
    Request,
    Server,
    WebSocket,
    accept,
    connect,
    open_server,
)

HOST: Final = "127.0.0.1"
JOIN: Final[dict[str, Any]] = {"type": "join", "name": "Ada", "token": "t", "again": False}


@pytest.fixture
async def chat() -> AsyncIterator[Server]:
    """A chat that nobody is in."""
    room = Room()
    async with open_server(
        room.serve, HOST, 0, process_request=answer, on_close=room.left, max_message_size=MAX_MESSAGE_BYTES
    ) as server:
        yield server


@asynccontextmanager
async def join(server: Server, name: str, token: str = "t") -> AsyncGenerator[WebSocket]:
    """Come in as *name*."""
    async with connect(f"ws://{HOST}:{server.port}/socket") as ws:
        await ws.send(json.dumps({**JOIN, "name": name, "token": token}))
        yield ws


async def news(ws: WebSocket, kind: str) -> dict[str, Any]:
    """Return the next news of a kind."""
    while True:
        message: dict[str, Any] = json.loads(await ws.receive())
        if message["type"] == kind:
            return message


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("", 4000),
        ("no JSON", 4000),
        ("[" * 10_000, 4000),
        (b"\xff", 4000),
        ("null", 4000),
        (json.dumps({**JOIN, "name": 5}), 4000),
        (json.dumps({**JOIN, "token": ""}), 4000),
        (json.dumps({**JOIN, "name": "   "}), 4000),
        (json.dumps({**JOIN, "name": "A" * (MAX_NAME + 1)}), 4000),
        (json.dumps({**JOIN, "name": "A\u202eB"}), 4000),
        (json.dumps({**JOIN, "name": "A\x00"}), 4000),
        ("x" * (MAX_MESSAGE_BYTES + 1), 1009),
    ],
)
async def test_what_is_no_name_is_refused(chat: Server, first: str | bytes, code: int) -> None:
    """With a reason that people can read; what is too large is not even looked at."""
    async with connect(f"ws://{HOST}:{chat.port}/socket") as ws:
        await ws.send(first)
        event = await ws.wait_closed()
    assert event.code == code
    assert event.reason


@pytest.mark.parametrize(
    "message",
    [
        {"type": "say", "text": "x" * (MAX_TEXT + 1)},
        {"type": "say", "text": " \n"},
        {"type": "say"},
        {"type": "?"},
        [],
        1,
    ],
)
async def test_what_is_no_message_ends_the_connection(chat: Server, message: Any) -> None:
    """4003; the others hear that, and of the message nothing."""
    async with join(chat, "Ada") as ada, join(chat, "Bob", "b") as bob:
        await news(bob, "joined")
        await ada.send(json.dumps(message))
        assert (await ada.wait_closed()).code == 4003
        left = await news(bob, "left")
        assert left["words"] == f"was disconnected: a message has 1 to {MAX_TEXT} characters"


class Memory:
    """A chat without a network, so that time can jump."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.room = Room(heartbeat=1000)
        self.nursery = nursery

    async def _serve(self, stream: trio.abc.Stream) -> None:
        async with accept(stream, ping_interval=None, close_timeout=1, on_close=self.room.left) as ws:
            await self.room.serve(ws)

    @asynccontextmanager
    async def join(self, name: str) -> AsyncGenerator[WebSocket]:
        """Come in as *name*, by a stream in which nothing waits."""
        ours, theirs = trio.testing.lockstep_stream_pair()
        self.nursery.start_soon(self._serve, theirs)
        async with connect("ws://chat/socket", stream=ours, ping_interval=None, close_timeout=1, max_queue=1) as ws:
            await ws.send(json.dumps({**JOIN, "name": name, "token": name}))
            yield ws


@pytest.fixture
async def memory() -> AsyncIterator[Memory]:
    """A chat that nobody is in."""
    async with trio.open_nursery() as nursery:
        yield Memory(nursery)


async def test_nobody_waits_for_a_name_for_ever(memory: Memory, autojump_clock: MockClock) -> None:
    """3008, after half a minute."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    memory.nursery.start_soon(memory._serve, theirs)
    async with connect("ws://chat/socket", stream=ours, ping_interval=None) as ws:
        event = await ws.wait_closed()
    assert (event.code, trio.current_time()) == (3008, 30)


async def test_fast_talkers_are_slowed_down(memory: Memory, autojump_clock: MockClock) -> None:
    """Ten messages a second and no more: so nobody can talk the others out of the room."""
    async with memory.join("Ada") as ada:
        await news(ada, "joined")
        for _ in range(31):
            await ada.send(json.dumps({"type": "say", "text": "spam"}))
            await news(ada, "said")
        assert trio.current_time() == pytest.approx(3)


async def test_slow_peer_is_let_go_of_and_nobody_waits_for_it(memory: Memory, autojump_clock: MockClock) -> None:
    """When its outbox and the library's are full; meanwhile all others hear everything, without a delay."""
    async with memory.join("Ada") as ada, memory.join("Slow"):
        assert (await news(ada, "joined"))["people"] == ["Ada"]
        assert (await news(ada, "joined"))["people"] == ["Ada", "Slow"]
        number = 0
        while True:
            number += 1
            await ada.send(json.dumps({"type": "say", "text": "x" * MAX_TEXT}))
            message = json.loads(await ada.receive())
            if message["type"] == "left":
                break
            assert message["n"] == number
            assert trio.current_time() <= 0.1 * number
        assert message["name"] == "Slow"
        assert message["people"] == ["Ada"]
        assert MAX_OUTBOX < number < MAX_OUTBOX + 100


async def test_room_is_full_at_some_time(chat: Server) -> None:
    """1013: it is worth another try."""
    async with trio.open_nursery() as nursery:
        for number in range(MAX_PEOPLE):
            await nursery.start(stay, chat, f"P{number}")
        async with join(chat, "One more") as ws:
            event = await ws.wait_closed()
        nursery.cancel_scope.cancel()
    assert (event.code, event.reason) == (1013, "the room is full")


async def stay(server: Server, name: str, *, task_status: trio.TaskStatus[None]) -> None:
    async with join(server, name, name) as ws:
        await news(ws, "joined")
        task_status.started()
        await ws.wait_closed()


# -- plain HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/chat.js", "text/javascript; charset=utf-8"),
        ("/chat.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
def test_page_is_served_with_its_headers(path: str, kind: str) -> None:
    """Its type, no sniffing, no storing, and a policy that lets nothing in from elsewhere."""
    response = answer(Request(path, Headers({"Host": f"{HOST}:8000"})))
    assert response is not None
    assert (response.status, response.headers["content-type"]) == (200, kind)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("origin", "is_welcome"),
    [
        (f"http://{HOST}:8000", True),
        (f"https://{HOST}:8000", True),
        (None, True),
        ("http://evil.example", False),
        (f"http://{HOST}", False),
        ("null", False),
        (f"http://{HOST}:8000.evil.example", False),
    ],
)
def test_only_its_own_page_may_connect(origin: str | None, is_welcome: bool) -> None:
    """Pages of other sites would speak with a visitor's voice; programs have no page."""
    fields = {"Host": f"{HOST}:8000"} if origin is None else {"Host": f"{HOST}:8000", "Origin": origin}
    response = answer(Request("/socket", Headers(fields)))
    assert (None if response is None else response.status) == (None if is_welcome else 403)


def test_nothing_else_is_served() -> None:
    """404 for other paths, and 405 for other methods; a folder's parent has no way in."""
    for target, method, status in (("/none", "GET", 404), ("/../room.py", "GET", 404), ("/", "POST", 405)):
        response = answer(Request(target, Headers({"Host": "a"}), method=method))
        assert response is not None
        assert response.status == status


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "code", "words"),
    [
        ("remote", 1000, "said goodbye"),
        ("remote", 1005, "said goodbye"),
        ("remote", 1001, "closed the tab, or left the page"),
        ("remote", 4999, "left"),
        ("eof", 1006, "lost the connection, without a goodbye"),
        ("reset", 1006, "lost the connection, without a goodbye"),
        ("keepalive_timeout", 1006, "has fallen silent: the network is gone, or the machine sleeps"),
        ("message_too_big", 1006, "sent what nobody may send, and was disconnected"),
        ("cancelled", 1001, "was disconnected by the server"),
    ],
)
def test_every_end_has_its_words(cause: Any, code: int, words: str) -> None:
    """Without a number in them."""
    assert in_words(CloseEvent("close", code=code, cause=cause)) == words


# -- the program -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_program_tells_that_it_restarts(number: int) -> None:
    """`python -m examples.chat`, with a peer of another library: 1012 at a signal, and no traceback."""
    async with run_program("-m", "examples.chat", "--port", "0") as program:
        await program.wait_for("The chat is at")
        async with connect_peer(f"ws://{HOST}:{program.port}/socket", proxy=None) as ws:
            await ws.send(json.dumps(JOIN))
            assert json.loads(await ws.recv())["type"] == "welcome"
            assert json.loads(await ws.recv())["people"] == ["Ada"]
            assert await program.end(number) == 0
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (1012, "the server restarts")
    assert "Traceback" not in program.said
