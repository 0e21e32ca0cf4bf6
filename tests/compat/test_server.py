"""A server: requests that are accepted, rejected or malformed, handlers that raise, and its end."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from wsproto.utilities import LocalProtocolError

import trio_closeevents.compat.trio_websocket as stand_in
from trio_closeevents.testing import TEXT, ScriptedPeer

HOST: Final = "127.0.0.1"
REQUEST: Final = (
    b"GET /a?b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Test: A b\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: one, two\r\n\r\n"
)


@asynccontextmanager
async def serving(library: Any, handler: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """A server for a block; cancelled in the end."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(library.serve_websocket, handler, HOST, 0, None, **options))
        nursery.cancel_scope.cancel()


async def ask(port: int, request: bytes = REQUEST) -> bytes:
    """Return all that the server says before it closes, or hangs up."""
    received = b""
    async with await trio.open_tcp_stream(HOST, port) as stream:
        await stream.send_all(request)
        while b"\x88" not in received and (data := await stream.receive_some()):
            received += data
    return received


dialled: list[trio.SocketStream] = []


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    """Close what a test has dialled."""
    yield
    while dialled:
        if (descriptor := dialled.pop().socket.detach()) != -1:
            os.close(descriptor)


async def dial(port: int) -> ScriptedPeer:
    """Return an open client."""
    dialled.append(await trio.open_tcp_stream(HOST, port))
    peer = ScriptedPeer(dialled[-1], client=True)
    await peer.open()
    return peer


# -- requests ----------------------------------------------------------------------------------------------------------


async def test_request_is_told(library: Any) -> None:
    """Headers in lower case, path, subprotocols, both ends; and after it was accepted, the path of the connection."""
    seen: list[Any] = []

    async def handler(request: Any) -> None:
        fields = [(bytes(name), bytes(value)) for name, value in request.headers]
        seen.append([fields, request.path, request.proposed_subprotocols, request.local, request.remote])
        connection = await request.accept(subprotocol="two", extra_headers=[(b"X-Mine", b"yes")])
        seen.append((connection.path, connection.subprotocol, connection.is_server, connection.handshake_headers))
        await connection.aclose(4000)

    async with serving(library, handler) as server:
        port = server.port
        answer = await ask(port)
    fields, path, subprotocols, local, remote = seen[0]
    assert fields == [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"x-test", b"A b"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"sec-websocket-version", b"13"),
    ]
    assert (path, subprotocols) == ("/a?b", ("one", "two"))
    assert (local.port, str(remote.address), remote.is_ssl) == (port, HOST, False)
    assert seen[1] == ("/a?b", "two", True, ())
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert {b"sec-websocket-protocol: two", b"x-mine: yes"} <= {line.lower() for line in head.split(b"\r\n")}
    assert not any(line.lower().startswith(b"server:") for line in head.split(b"\r\n"))
    assert rest.startswith(b"\x88\x02\x0f\xa0")


@pytest.mark.parametrize("body", [None, b"", b"because"])
async def test_request_is_rejected(library: Any, body: bytes | None) -> None:
    """With a status, headers and a body; `closed` says so."""
    closed: list[Any] = []

    async def handler(request: Any) -> None:
        await request.reject(418, extra_headers=[(b"X-Why", b"tea")], body=body)
        closed.append(request._connection.closed)

    answer = b""
    stream: Any = None
    async with serving(library, handler) as server:
        stream = await trio.open_tcp_stream(HOST, server.port)
        await stream.send_all(REQUEST)
        with trio.move_on_after(10 if library is stand_in else 0.3) as scope:  # 0.12.2 leaves the connection open
            while data := await stream.receive_some():
                answer += data
        assert scope.cancelled_caught == (library is not stand_in)
        await stream.aclose()
        while not closed:
            await trio.sleep(0.01)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 418")
    assert b"x-why: tea" in head.lower()
    assert rest == (body or b"")
    if body:
        assert b"content-length: 7" in head.lower()
    assert (closed[0].code, closed[0].reason) == (1006, "Rejected WebSocket handshake")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (REQUEST.replace(b"Version: 13", b"Version: 8"), 426),
        (REQUEST.replace(b"Connection: Upgrade", b"Connection: close"), 400),
    ],
)
async def test_malformed_request_is_answered(library: Any, request_bytes: bytes, status: int) -> None:
    """The handler is not called, and the server goes on."""

    async def handler(request: Any) -> None:
        pytest.fail("called")

    async with serving(library, handler) as server:
        for _ in range(2):
            async with await trio.open_tcp_stream(HOST, server.port) as stream:
                await stream.send_all(request_bytes)
                assert (await stream.receive_some()).startswith(f"HTTP/1.1 {status}".encode())


async def test_malformed_request_does_not_hang() -> None:
    """TCP is ended after the answer; `wrap_server_stream` raises, where 0.12.2 waits for ever."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def ask_badly() -> None:
            await theirs.send_all(b"garbage\r\n\r\n")
            received = b""
            while data := await theirs.receive_some():
                received += data
            assert received.startswith(b"HTTP/1.1 400")

        nursery.start_soon(ask_badly)
        with pytest.raises(stand_in.HandshakeError, match="malformed request"):
            await stand_in.wrap_server_stream(nursery, ours)


async def test_answers_are_checked() -> None:
    """What cannot be answered is refused, and can be put right; what was answered, is."""
    errors: list[type[Exception]] = []

    async def handler(request: Any) -> None:
        for answer in (
            partial(request.accept, subprotocol="three"),
            partial(request.accept, extra_headers=[(b"a b", b"c")]),
            partial(request.accept, extra_headers=[(b"a", b"c\r\nd")]),
            partial(request.reject, 101),
            partial(request.reject, 99),
            partial(request.reject, 404, extra_headers=[(b"", b"")]),
        ):
            with pytest.raises((ValueError, LocalProtocolError)) as caught:
                await answer()
            errors.append(type(caught.value))
        connection = await request.accept(extra_headers=[(b"Sec-WebSocket-Accept", b"x"), (b"Upgrade", b"y")])
        for again in (request.accept, partial(request.reject, 404)):
            with pytest.raises(LocalProtocolError, match="answered already"):
                await again()
        await connection.aclose()

    async with serving(stand_in, handler) as server:
        answer = await ask(server.port)
    assert answer.startswith(b"HTTP/1.1 101")
    assert answer.lower().count(b"sec-websocket-accept") == answer.lower().count(b"upgrade: ") == 1
    assert errors == [LocalProtocolError, *[ValueError] * 5]


async def test_client_that_is_gone_cannot_be_accepted(autojump_clock: MockClock) -> None:
    """`accept` raises, and `closed` tells."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, REQUEST)
        request = await stand_in.wrap_server_stream(nursery, ours)
        await ours.aclose()
        with pytest.raises(stand_in.ConnectionClosed, match="1006"):
            await request.accept()
        assert str(request._connection.closed) == "CloseReason<code=1006, name=ABNORMAL_CLOSURE, reason=None>"
        with pytest.raises(stand_in.ConnectionClosed, match="1006"):
            await request._connection.send_message("x")
        await request._connection.aclose()


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_request_whose_connection_was_ended_cannot_be_accepted(autojump_clock: MockClock, how: str) -> None:
    """Whether it was closed, or its nursery cancelled: it is closed with 1006, and everything says so."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, REQUEST)
        request = await stand_in.wrap_server_stream(nursery, ours)
        connection = request._connection
        if how == "closed":
            await connection.aclose()
        else:
            nursery.cancel_scope.cancel()
    assert connection.closed is not None
    assert connection.closed.code == 1006
    for call in (request.accept, connection.get_message, connection.ping, partial(connection.send_message, "a")):
        with pytest.raises(stand_in.ConnectionClosed) as caught:
            await call()
        assert caught.value.reason is connection.closed


@pytest.mark.parametrize("how", ["returns", "raises"])
async def test_request_that_nobody_answers_is_dropped(how: str) -> None:
    """The handler neither accepts nor rejects: TCP is ended without a word."""

    async def handler(request: Any) -> None:
        if how == "raises":
            raise stand_in.ConnectionClosed(None)

    async with serving(stand_in, handler) as server:
        assert await ask(server.port) == b""


async def test_silent_client_is_dropped(autojump_clock: MockClock, library: Any) -> None:
    """`connect_timeout` after it has come, without a word."""
    autojump_clock.autojump_threshold = 0.05  # real sockets

    async def handler(request: Any) -> None:
        pytest.fail("called")

    async with serving(library, handler, connect_timeout=5) as server:
        async with await trio.open_tcp_stream(HOST, server.port) as stream:
            began = trio.current_time()
            assert await stream.receive_some() == b""
            assert 5 <= trio.current_time() - began < 6


async def test_handler_may_take_its_time(autojump_clock: MockClock) -> None:
    """`connect_timeout` is the client's, not the handler's."""
    autojump_clock.autojump_threshold = 0.05

    async def handler(request: Any) -> None:
        await trio.sleep(100)
        await request.accept()

    async with serving(stand_in, handler, connect_timeout=5) as server:
        peer = await dial(server.port)
        await peer.be_polite()
        assert peer.record[0] == "Close 1000"


# -- handlers ----------------------------------------------------------------------------------------------------------


async def test_handler_that_returns_closes_with_1000(library: Any) -> None:
    """Whatever the client has sent."""

    async def handler(request: Any) -> None:
        await request.accept()

    async with serving(library, handler) as server:
        peer = await dial(server.port)
        await peer.send(peer.frame(TEXT, b"x"))
        await peer.be_polite()
    assert peer.record == ["Close 1000", "FIN"]


async def test_handler_that_raises_takes_the_server_down(library: Any) -> None:
    """With 1000, and its exception bare inside of trio's groups."""
    error = ValueError("mine")

    async def handler(request: Any) -> None:
        await request.accept()
        raise error

    peers: list[ScriptedPeer] = []
    with pytest.raises(BaseExceptionGroup) as caught:
        async with serving(library, handler) as server:
            peers.append(await dial(server.port))
            await peers[0].be_polite()
            await trio.sleep_forever()
    leaf: BaseException = caught.value
    depth = 0
    while isinstance(leaf, BaseExceptionGroup):
        (leaf,) = leaf.exceptions
        depth += 1
    assert (leaf, depth) == (error, 4)
    assert peers[0].record[0] == "Close 1000"


@pytest.mark.parametrize("in_a_group", [False, True])
async def test_connection_closed_does_not_take_the_server_down(in_a_group: bool) -> None:
    """It comes out of a handler that does not catch it, when a client resets; 0.12.2 ends with it."""
    closed: list[Any] = []

    async def handler(request: Any) -> None:
        connection = await request.accept()
        try:
            if in_a_group:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(connection.get_message)
                    nursery.start_soon(connection.ping)
            else:
                await connection.get_message()
        finally:
            closed.append(connection.close_event)

    async with serving(stand_in, handler) as server:
        for number in range(3):
            peer = await dial(server.port)
            await trio.testing.wait_all_tasks_blocked(0.02)
            await peer.reset()
            while len(closed) <= number:
                await trio.sleep(0.01)
    assert {str(event) for event in closed} == {"1006 abnormal closure: reset"}


async def test_group_with_another_exception_goes_up() -> None:
    """Not only `ConnectionClosed` is in it."""

    async def handler(request: Any) -> None:
        await request.accept()
        raise ExceptionGroup("", [stand_in.ConnectionClosed(None), KeyError("mine")])

    with pytest.raises(BaseExceptionGroup) as caught:
        async with serving(stand_in, handler) as server:
            await (await dial(server.port)).be_polite()
            await trio.sleep_forever()
    assert caught.value.subgroup(KeyError) is not None


async def test_disconnect_timeout_bounds_the_end(autojump_clock: MockClock, library: Any) -> None:
    """A client that does not answer: TCP is ended, and nothing is raised."""
    autojump_clock.autojump_threshold = 0.05

    async def handler(request: Any) -> None:
        await request.accept()

    async with serving(library, handler, disconnect_timeout=5) as server:
        peer = await dial(server.port)
        began = trio.current_time()
        await peer.drain()
        assert peer.record[0] == "Close 1000"
        assert 5 <= trio.current_time() - began < 6


# -- the server --------------------------------------------------------------------------------------------------------


async def test_server_cancelled_sends_1001() -> None:
    """To all, at once, which 0.12.2 does not; handlers see `Cancelled`."""
    seen: list[str] = []

    async def handler(request: Any) -> None:
        connection = await request.accept()
        try:
            await connection.get_message()
        except trio.Cancelled:
            seen.append("cancelled")
            raise

    async with trio.open_nursery() as clients:
        async with serving(stand_in, handler) as server:
            peers = [await dial(server.port) for _ in range(3)]
            for peer in peers:
                clients.start_soon(peer.be_polite)
            await trio.testing.wait_all_tasks_blocked(0.02)
    assert [peer.record for peer in peers] == [["Close 1001", "FIN"]] * 3
    assert seen == ["cancelled"] * 3


async def test_handlers_live_in_the_nursery_that_was_given(library: Any) -> None:
    """And go on when the server is cancelled."""
    done: list[str] = []
    go_on = trio.Event()

    async def handler(request: Any) -> None:
        connection = await request.accept()
        await go_on.wait()
        await connection.send_message("x")
        done.append(str(connection)[:6])

    async with trio.open_nursery() as handlers:
        async with serving(library, handler, handler_nursery=handlers) as server:
            peer = await dial(server.port)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert len(handlers.child_tasks) == 1
        go_on.set()
        await peer.be_polite()
    assert done == ["server"]
    assert peer.record == ["Text b'x'", "Close 1000", "FIN"]


async def test_listeners_are_told(library: Any) -> None:
    """One on TCP has a port; several, and others, have none."""

    class Listener(trio.abc.Listener[trio.abc.Stream]):
        async def accept(self) -> trio.abc.Stream:
            raise NotImplementedError

        async def aclose(self) -> None:
            raise NotImplementedError

        def __repr__(self) -> str:
            return "Listener()"

    async def handler(request: Any) -> None:
        raise NotImplementedError

    with pytest.raises(ValueError, match="at least one"):
        library.WebSocketServer(handler, [])
    (tcp,) = await trio.open_tcp_listeners(0, host=HOST)
    async with tcp:
        port = tcp.socket.getsockname()[1]
        server = library.WebSocketServer(handler, [tcp])
        assert server.port == port
        assert repr(server.listeners) == f'[Endpoint(address="{HOST}", port={port}, is_ssl=False)]'
        other = library.WebSocketServer(handler, [Listener()])
        assert other.listeners == ["Listener()"]
        with pytest.raises(RuntimeError, match=r"does not have a port: .*Listener\(\)"):
            other.port  # noqa: B018
        with pytest.raises(RuntimeError, match="more than 1 listener"):
            library.WebSocketServer(handler, [tcp, Listener()]).port  # noqa: B018


async def test_server_runs_on_listeners_of_the_program(library: Any) -> None:
    """Several at once."""

    async def handler(request: Any) -> None:
        await request.accept()

    listeners = [*await trio.open_tcp_listeners(0, host=HOST), *await trio.open_tcp_listeners(0, host=HOST)]
    async with trio.open_nursery() as nursery:
        server = await nursery.start(library.WebSocketServer(handler, listeners).run)
        for endpoint in server.listeners:
            async with library.open_websocket(HOST, endpoint.port, "/", use_ssl=False) as connection:
                with pytest.raises(library.ConnectionClosed):
                    await connection.get_message()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"connect_timeout": -1}, "connect_timeout"),
        ({"disconnect_timeout": -1}, "disconnect_timeout"),
        ({"max_message_size": -1}, "size"),
    ],
)
async def test_argument_of_a_server_is_checked_at_once(options: dict[str, Any], words: str) -> None:
    """Not for its first client."""

    async def handler(request: Any) -> None:
        raise NotImplementedError

    serve = partial(stand_in.serve_websocket, handler, HOST, 0, None, **options)
    with pytest.raises(ValueError, match=words):
        await serve()


async def test_listener_that_is_closed_is_told_as_it_is() -> None:
    """It has no address any more."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    await listener.aclose()
    server = stand_in.WebSocketServer(pytest.fail, [listener])  # type: ignore[arg-type]
    assert server.listeners == [repr(listener)]
