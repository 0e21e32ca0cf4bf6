"""What docs/coming_from_trio_websocket.rst says of trio-websocket, and of this library beside it."""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any, Final

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

import trio_closeevents
from trio_closeevents import (
    ConnectionBroken,
    ConnectionClosed,
    HandshakeError,
    Headers,
    LocallyClosed,
    Request,
    open_server,
)
from trio_closeevents.testing import CLOSE, TEXT, ScriptedPeer

from .libraries import HOST, connect, port_of
from .names import check_call, check_option, parameters
from .pages import literals, table
from .witness import LEAVES_SOCKETS, cancel_in_the_middle, play

PAGE: Final = "coming_from_trio_websocket"
BIG: Final = bytes(8_000_000)  # more than the kernel takes

CLIENTS: Final = (trio_websocket.open_websocket_url, trio_websocket.open_websocket)
THERE: Final = parameters(trio_websocket.serve_websocket, *CLIENTS)
HERE: Final = parameters(trio_closeevents.connect, trio_closeevents.open_server)

open_there = trio_websocket.open_websocket_url


# -- names -------------------------------------------------------------------------------------------------------------


def test_option_is_one_in_both_with_the_default_of_the_page() -> None:
    """And none of trio-websocket is left out."""
    told: set[str] = set()
    for there, here, _ in table(PAGE, "trio-websocket-options"):
        for option in literals(there):
            check_option(option, THERE)
            told.add(option.partition("=")[0])
        for option in literals(here):
            check_option(option, HERE)
    assert {*THERE} - {"task_status"} == told


class ObjectsThere:
    """What the table calls what, of trio-websocket."""

    ws = trio_websocket.WebSocketConnection
    request = trio_websocket.WebSocketRequest
    server = trio_websocket.WebSocketServer


class ObjectsHere:
    """The same of this library."""

    ws = trio_closeevents.WebSocket
    request = trio_closeevents.Request
    server = trio_closeevents.Server


def test_name_is_one_in_both() -> None:
    """With the parameters that stand there; and none of trio-websocket is left out."""
    text = ""
    for there, here, _ in table(PAGE, "trio-websocket-names"):
        text += there
        for told in literals(there):
            check_call(told, trio_websocket, ObjectsThere)
        for told in literals(here):
            check_call(told, trio_closeevents, ObjectsHere)
    public = {name for name in vars(trio_websocket) if not name.startswith("_")}
    assert {name for name in public if name not in text} == set()
    for word in ("ws", "request", "server"):
        members = {name for name in vars(vars(ObjectsThere)[word]) if name[0] != "_" and not name.isupper()}
        assert {name for name in members if f"{word}.{name}" not in text} == set()


async def test_remarks_on_options_are_true() -> None:
    """What the tables say of values."""
    with pytest.raises(ValueError, match="fragment"):
        trio_closeevents.connect("ws://localhost/#there")
    with pytest.raises(ValueError, match="max_queue"):
        trio_closeevents.connect("ws://localhost/", max_queue=0)
    with pytest.raises(TypeError, match="header"):
        trio_closeevents.connect("ws://localhost/", headers=[(b"a", b"b")])  # type: ignore[list-item]
    request = Request("/chat?room=1", Headers([("X-Room", "5")]))
    assert (request.target, request.path) == ("/chat?room=1", "/chat")
    assert request.headers["x-room"] == "5"
    assert trio_websocket.CloseReason(1001, None).name == "GOING_AWAY"
    assert trio_closeevents.describe(1001) == "going away"
    assert issubclass(trio_closeevents.HandshakeTimeout, trio.TooSlowError)


async def test_nobody_listens() -> None:
    """The `__cause__` is an OSError in both."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    url = f"ws://{HOST}:{port_of(listener)}/"
    await listener.aclose()
    with pytest.raises(trio_websocket.HandshakeError) as there:
        async with open_there(url):
            pass
    with pytest.raises(HandshakeError) as here:
        async with connect(url):
            pass
    assert isinstance(there.value.__cause__, OSError)
    assert isinstance(here.value.__cause__, OSError)


async def test_text_is_measured() -> None:
    """In characters there, in bytes here: 600 of two bytes each are over a limit of 1000 only here."""

    async def send_text(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, ("é" * 600).encode()))
        await peer.be_polite()

    async def there(url: str) -> int:
        async with open_there(url, max_message_size=1000) as ws:
            return len(await ws.get_message())

    async def here(url: str) -> Any:
        async with connect(url, max_message_size=1000) as ws:
            with pytest.raises(ConnectionBroken) as caught:
                await ws.receive()
        assert caught.value.event is not None
        return caught.value.event.sent

    assert await play(there, send_text) == 600
    sent = await play(here, send_text)
    assert sent.code == 1009


async def test_code_and_reason_that_may_not_be_sent() -> None:
    """There 1000 is sent, and a part of the reason; here nothing."""
    peers: list[ScriptedPeer] = []

    async def remember(peer: ScriptedPeer) -> None:
        peers.append(peer)
        await peer.be_polite()

    async def there(url: str) -> None:
        async with open_there(url) as ws:
            await ws.aclose(1005, "x" * 124)

    async def here(url: str) -> None:
        async with connect(url) as ws:
            for code, reason in ((1005, ""), (1000, "x" * 124)):
                with pytest.raises(ValueError, match="close"):
                    await ws.aclose(code, reason)
            assert ws.close_event is None
            await ws.aclose(1001)

    await play(there, remember)
    await play(here, remember)
    codes = [peer.close.payload for peer in peers if peer.close is not None]
    assert codes == [(1000).to_bytes(2) + b"x" * 123, (1001).to_bytes(2)]


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_closed_is_there_before_the_end() -> None:
    """`closed` is set when the end begins, `close_event` when it is decided; and so the exceptions."""

    async def answer_late(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        may_answer.set()
        await looked.wait()
        await peer.send(peer.frame(CLOSE, (1000).to_bytes(2)))
        await peer.fin()
        await peer.drain()

    async def there(url: str) -> None:
        async with open_there(url) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await may_answer.wait()
            assert ws.closed is not None
            looked.set()

    async def here(url: str) -> None:
        async with connect(url) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            await may_answer.wait()
            assert ws.close_event is None
            with pytest.raises(LocallyClosed) as caught:
                await ws.send("late")
            assert caught.value.event is None
            looked.set()

    for program in (there, here):
        may_answer, looked = trio.Event(), trio.Event()
        await play(program, answer_late)


async def test_messages_after_our_own_close() -> None:
    """One that had arrived is thrown away there, and received here."""

    async def send_one(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, b"arrived"))
        await peer.be_polite()

    async def there(url: str) -> None:
        async with open_there(url) as ws:
            await ws.ping(b"the message is here when this is back")
            await ws.aclose()
            with pytest.raises(trio_websocket.ConnectionClosed):
                await ws.get_message()

    async def here(url: str) -> None:
        async with connect(url) as ws:
            await ws.ping()
            await ws.aclose()
            assert await ws.receive() == "arrived"
            with pytest.raises(ConnectionClosed):
                await ws.receive()

    await play(there, send_one)
    await play(here, send_one)


async def test_send_is_cancelled_in_the_middle() -> None:
    """While the peer does not read. Then another message is sent, and the peer reads."""
    peers: list[ScriptedPeer] = []

    async def read_late(peer: ScriptedPeer) -> None:
        peers.append(peer)
        await may_read.wait()
        await peer.be_polite()

    async def there(url: str) -> None:
        with pytest.raises(trio_websocket.DisconnectionTimeout):
            async with open_there(url, disconnect_timeout=0.5) as ws:
                await cancel_in_the_middle(ws.send_message, BIG)
                may_read.set()
                await ws.send_message("after")

    async def here(url: str) -> None:
        async with connect(url) as ws:
            await cancel_in_the_middle(ws.send, BIG)
            may_read.set()
            await ws.send("after")

    for program in (there, here):
        may_read = trio.Event()
        await play(program, read_late)
    first, second = peers
    assert first.record == ["FIN"]
    assert second.record == [f"Binary of {len(BIG)} B", "Text b'after'", "Close 1000", "FIN"]
    head, key, text = first.unread[-19:-17], first.unread[-17:-13], first.unread[-13:-8]  # a Close is behind it
    assert head == b"\x81\x85"
    assert bytes(a ^ b for a, b in zip(text, key + key, strict=False)) == b"after"


async def test_handler_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It ends the server there; here it is logged, and the server goes on."""

    async def there(request: trio_websocket.WebSocketRequest) -> None:
        await request.accept()
        raise ZeroDivisionError

    async def here(ws: object) -> None:
        raise ZeroDivisionError

    async def be_client(port: int) -> ScriptedPeer:
        async with await trio.open_tcp_stream(HOST, port) as stream:
            peer = ScriptedPeer(stream, client=True)
            await peer.open()
            await peer.be_polite()
        return peer

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            serve = partial(trio_websocket.serve_websocket, there, HOST, 0, None)
            server: trio_websocket.WebSocketServer = await nursery.start(serve)
            nursery.start_soon(be_client, server.port)
    async with open_server(here, HOST, 0) as ours:
        for _ in range(2):
            peer = await be_client(ours.port)
            assert peer.record == ["Close 1011", "FIN"]
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 2
    assert all(each.exc_info is not None for each in errors)


@LEAVES_SOCKETS
async def test_server_closes(autojump_clock: MockClock, swept: None) -> None:
    """Before a client of 0.12.2, which has answered its Close and leaves TCP open."""
    autojump_clock.autojump_threshold = 0.05  # the kernel may take a moment

    async def handler(ws: trio_closeevents.WebSocket) -> None:
        await ws.send("hello")
        await ws.wait_closed()

    async with open_server(handler, HOST, 0, close_timeout=5) as server, trio.open_nursery() as nursery:
        ws = await trio_websocket.connect_websocket_url(nursery, f"ws://{HOST}:{server.port}/")
        assert await ws.get_message() == "hello"
        started = trio.current_time()
        await server.aclose(grace=math.inf)
        assert trio.current_time() - started == pytest.approx(5, abs=0.1)
        assert ws.closed is not None
        assert ws.closed.code == 1001
