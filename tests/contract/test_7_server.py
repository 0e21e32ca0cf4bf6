"""Section 7: the server's end. Real sockets: a server is listeners too."""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trio_closeevents import (
    CloseCause,
    CloseEvent,
    CloseFrame,
    LocallyClosed,
    Request,
    Server,
    WebSocket,
    connect,
    open_server,
    serve,
)
from trio_closeevents.testing import ScriptedPeer

from .stage import echo_close, event

LIMITS: dict[str, Any] = {"close_timeout": 1.0, "cancel_timeout": 0.5}
MANY = 20


async def sleep_forever(ws: WebSocket) -> None:
    await trio.sleep_forever()


async def read_until_closed(ws: WebSocket) -> None:
    async for _ in ws:
        pass


async def raw_client(port: int) -> ScriptedPeer:
    """Return a raw peer that has opened a connection to the server."""
    peer = ScriptedPeer(await trio.open_tcp_stream("127.0.0.1", port), client=True)
    await peer.open()
    return peer


@asynccontextmanager
async def clients(port: int, count: int = MANY) -> AsyncGenerator[list[ScriptedPeer], None]:
    """Connect raw peers that echo the Close frame which they get, and wait for their ends."""
    peers = [await raw_client(port) for _ in range(count)]
    try:
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(echo_close, peer)
            yield peers
    finally:
        for peer in peers:
            with trio.move_on_after(1, shield=True):
                await peer.aclose()


def records(peers: list[ScriptedPeer]) -> set[tuple[str, ...]]:
    return {tuple(peer.record) for peer in peers}


class Events:
    """An `on_close` that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[CloseEvent] = []

    def __call__(self, ws: WebSocket, event: CloseEvent) -> None:
        self.seen.append(event)


async def test_server_cancelled_sends_1001_to_all() -> None:
    """serve() is cancelled: handlers at once, and every peer sees 1001; cause cancelled, clean if the peer answers."""
    events = Events()
    cancelled: list[WebSocket] = []

    async def handler(ws: WebSocket) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(ws)
            raise

    done: list[ScriptedPeer] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def run(task_status: trio.TaskStatus[Server]) -> None:
                with scope:
                    await serve(handler, "127.0.0.1", 0, on_close=events, task_status=task_status, **LIMITS)

            server: Server = await nursery.start(run)
            async with clients(server.port) as peers:
                done += peers
                assert len(server.connections) == MANY
                scope.cancel()
    assert records(done) == {("Close 1001", "FIN")}
    assert events.seen == [event(1001, "cancelled", "local", clean=True, sent=1001, received=1001)] * MANY
    assert scope.cancelled_caught
    assert len(cancelled) == MANY


async def test_server_cancelled_with_silent_peers_is_gone_within_cancel_timeout() -> None:
    """Peers that never answer do not delay the shutdown, nor each other."""
    peers: list[ScriptedPeer] = []
    began = 0.0
    with trio.fail_after(10), trio.CancelScope() as scope:
        async with open_server(sleep_forever, "127.0.0.1", 0, **LIMITS) as server:
            peers += [await raw_client(server.port) for _ in range(MANY)]
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            scope.cancel()
            await trio.sleep_forever()
    assert LIMITS["cancel_timeout"] - 0.01 <= trio.current_time() - began < LIMITS["cancel_timeout"] + 1
    for peer in peers:
        await peer.drain()
        assert peer.record == ["Close 1001", "FIN"]
        await peer.aclose()


async def test_server_cancelled_by_an_exception_in_the_block_of_open_server() -> None:
    """The exception goes on bare, the same object; the peers see 1001."""
    error = ValueError("mine")
    done: list[ScriptedPeer] = []

    async def run(nursery: trio.Nursery) -> None:
        async with open_server(sleep_forever, "127.0.0.1", 0, **LIMITS) as server:
            for _ in range(3):
                done.append(await raw_client(server.port))
                nursery.start_soon(echo_close, done[-1])
            await trio.testing.wait_all_tasks_blocked()
            raise error

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            with pytest.raises(ValueError, match="mine") as raised:
                await run(nursery)
            assert raised.value is error
            assert error.__context__ is None
    assert records(done) == {("Close 1001", "FIN")}


async def test_server_aclose_on_leaving_open_server() -> None:
    """Leaving the block normally is aclose(1001, grace=0): cause closed at the server, handlers cancelled at once."""
    events = Events()
    done: list[ScriptedPeer] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async with open_server(sleep_forever, "127.0.0.1", 0, on_close=events, **LIMITS) as server:
                for _ in range(3):
                    done.append(await raw_client(server.port))
                    nursery.start_soon(echo_close, done[-1])
                await trio.testing.wait_all_tasks_blocked()
    assert records(done) == {("Close 1001", "FIN")}
    assert events.seen == [event(1001, "closed", "local", clean=True, sent=1001, received=1001)] * 3


async def test_server_aclose_sends_its_code_at_once_and_waits_for_handlers() -> None:
    """All peers see the code before any handler is done; handlers have their grace, and see LocallyClosed."""
    released = trio.Event()
    outcomes: list[str] = []

    async def handler(ws: WebSocket) -> None:
        with pytest.raises(LocallyClosed):
            await ws.receive()
        await released.wait()
        outcomes.append("finished")

    with trio.fail_after(10):
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server, clients(server.port) as peers:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def close() -> None:
                    await server.aclose(1012, "restart", grace=math.inf)
                    assert outcomes == ["finished"] * MANY

                while not all(peer.ended for peer in peers):
                    await trio.sleep(0.01)
                assert records(peers) == {("Close 1012 'restart'", "FIN")}
                assert outcomes == []
                released.set()
            assert not server.connections


async def test_server_aclose_cancels_stragglers_after_grace() -> None:
    """A handler that does not finish is cancelled when its grace is over; aclose returns then."""
    cancelled_after: list[float] = []

    async def handler(ws: WebSocket) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled_after.append(trio.current_time() - began)
            raise

    with trio.fail_after(10):
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server, clients(server.port, 2):
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            await server.aclose(grace=0.2)
            assert trio.current_time() - began < 1
    assert len(cancelled_after) == 2
    assert all(0.19 <= each < 0.7 for each in cancelled_after)


async def test_server_aclose_twice_the_shorter_grace_counts() -> None:
    """A second, more impatient call wins; the first code stays."""
    with trio.fail_after(10):
        async with open_server(sleep_forever, "127.0.0.1", 0, **LIMITS) as server, clients(server.port, 2) as peers:
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(server.aclose, 1012, grace=math.inf))
                await trio.testing.wait_all_tasks_blocked()
                await server.aclose(1001, grace=0.1)
                nursery.start_soon(partial(server.aclose, 1001, grace=math.inf))
            assert trio.current_time() - began < 1
    assert records(peers) == {("Close 1012", "FIN")}


async def test_server_aclose_default_grace_is_close_timeout() -> None:
    """`grace=None` gives the handlers close_timeout."""
    with trio.fail_after(10):
        async with open_server(sleep_forever, "127.0.0.1", 0, **LIMITS) as server, clients(server.port, 1):
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            await server.aclose()
            assert LIMITS["close_timeout"] - 0.01 <= trio.current_time() - began < LIMITS["close_timeout"] + 1


async def test_server_aclose_from_a_handler_does_not_wait_for_itself() -> None:
    """Nor for another handler that does the same; serve() returns when all are done."""
    returned: list[str] = []
    received: list[str | bytes] = []

    async def handler(ws: WebSocket) -> None:
        received.append(await ws.receive())
        while len(received) < 2:
            await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:  # a task of the handler is the handler, too
            nursery.start_soon(partial(server.aclose, grace=0.2))
        returned.append("returned")

    with trio.fail_after(10):
        async with trio.open_nursery() as outer:
            server: Server = await outer.start(partial(serve, handler, "127.0.0.1", 0, **LIMITS))
            async with clients(server.port, 2) as peers:
                for peer in peers:
                    await peer.send(peer.frame(1, b"close"))
    assert returned == ["returned"] * 2
    assert records(peers) == {("Close 1001", "FIN")}


async def test_server_aclose_answers_handshakes_in_progress_with_503() -> None:
    """A handshake in progress gets 503 or is dropped: never 101 followed by silence. New connections are refused."""
    with trio.fail_after(10):
        async with open_server(sleep_forever, "127.0.0.1", 0, **LIMITS) as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            await trio.sleep(0.05)
            await server.aclose(grace=0)
            answer = b"".join([chunk async for chunk in stream])
            assert answer.startswith(b"HTTP/1.1 503 ")
            await stream.aclose()
            with pytest.raises(OSError, match="all attempts"):
                await trio.open_tcp_stream("127.0.0.1", server.port)


async def test_server_aclose_hears_out_a_handshake_that_has_begun() -> None:
    """The 503 survives what its client still sends, and is there when that looks for it."""
    with trio.fail_after(10):
        async with (
            open_server(sleep_forever, "127.0.0.1", 0, cancel_timeout=5) as server,
            trio.open_nursery() as nursery,
        ):
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(b"GET / HTTP/1.1\r\n")
            await trio.sleep(0.05)
            nursery.start_soon(server.aclose)
            for _ in range(5):
                await trio.sleep(0.1)
                await stream.send_all(b"X: y\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")
            await stream.aclose()


async def test_server_aclose_does_not_wait_for_connections_that_say_nothing() -> None:
    """A browser keeps spare connections, on which nothing was asked for: they do not hold the end up."""
    with trio.fail_after(10):
        async with open_server(sleep_forever, "127.0.0.1", 0, cancel_timeout=8) as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await trio.sleep(0.05)
            start = trio.current_time()
            await server.aclose(grace=0)
            assert trio.current_time() - start < 4
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")
            await stream.aclose()


async def test_server_aclose_of_bad_arguments_closes_nothing() -> None:
    """Codes, reasons and graces are checked before anything happens."""
    async with open_server(sleep_forever, "127.0.0.1", 0) as server:
        wrong: list[dict[str, Any]] = [{"code": 1005}, {"reason": "x" * 124}, {"grace": -1}, {"grace": math.nan}]
        for arguments in wrong:
            with pytest.raises(ValueError, match=r"1005|124|grace"):
                await server.aclose(**arguments)
        with pytest.raises(TypeError, match="grace"):
            await server.aclose(grace="soon")  # type: ignore[arg-type]
        async with connect(f"ws://127.0.0.1:{server.port}/") as ws:
            await ws.ping()
            assert "1 connections, open" in repr(server)


async def test_server_handler_error_is_1011_on_its_own_connection(caplog: pytest.LogCaptureFixture) -> None:
    """One log record with traceback; other connections and the listener never notice."""
    events = Events()

    async def handler(ws: WebSocket) -> None:
        async for message in ws:
            if message == "crash":
                raise ZeroDivisionError("in the handler")
            await ws.send(message)

    with trio.fail_after(10):
        async with open_server(handler, "127.0.0.1", 0, on_close=events, **LIMITS) as server:
            async with clients(server.port, 1) as crashed, connect(f"ws://127.0.0.1:{server.port}/") as other:
                await crashed[0].send(crashed[0].frame(1, b"crash"))
                while not crashed[0].ended:
                    await trio.sleep(0.01)
                await other.send("still here")
                assert await other.receive() == "still here"
                async with connect(f"ws://127.0.0.1:{server.port}/") as new:
                    await new.ping()
    assert crashed[0].record == ["Close 1011", "FIN"]
    assert events.seen[0] == event(1011, "error", "local", clean=True, sent=1011, received=1011)
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert errors[0].exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("wrap", [False, True], ids=["alone", "in-a-group"])
async def test_server_handler_closed_is_an_ordinary_end(caplog: pytest.LogCaptureFixture, wrap: bool) -> None:
    """A handler that lets ConnectionClosed out, alone or as a group of nothing else: nothing new, no traceback."""

    async def handler(ws: WebSocket) -> None:
        if wrap:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.receive)
        else:
            await ws.receive()

    with trio.fail_after(10):
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server:
            for how in ("fin", "rst", "close"):
                peer = await raw_client(server.port)
                if how == "close":
                    await peer.send(peer.close_frame(4000))
                    await peer.drain()
                    assert peer.record == ["Close 4000", "FIN"]
                    await peer.aclose()
                else:
                    await (peer.fin() if how == "fin" else peer.reset())
                    await peer.aclose()
            while server.connections:
                await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
async def test_server_interrupt_leaves_through_serve(error: BaseException) -> None:
    """KeyboardInterrupt and SystemExit out of a handler: all peers see 1001, and it leaves serve() bare."""

    async def handler(ws: WebSocket) -> None:
        if await ws.receive() == "stop":
            raise error

    done: list[ScriptedPeer] = []
    caught: list[BaseException] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[Server]) -> None:
                try:
                    await serve(handler, "127.0.0.1", 0, task_status=task_status, **LIMITS)
                except (KeyboardInterrupt, SystemExit) as interrupt:
                    caught.append(interrupt)

            server: Server = await nursery.start(run)
            async with clients(server.port, 3) as peers:
                done += peers
                await peers[0].send(peers[0].frame(1, b"stop"))
    assert caught == [error]
    assert records(done) == {("Close 1001", "FIN")}


async def test_server_interrupt_leaves_through_open_server() -> None:
    """The block of open_server is cancelled, and the interrupt comes out of it bare."""

    async def handler(ws: WebSocket) -> None:
        raise SystemExit(3)

    reached: list[str] = []
    with trio.fail_after(10):
        with pytest.raises(SystemExit):
            async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server:
                async with connect(f"ws://127.0.0.1:{server.port}/"):
                    try:
                        await trio.sleep_forever()
                    finally:
                        reached.append("cancelled")
        assert reached == ["cancelled"]


@pytest.mark.parametrize("waits", [True, False], ids=["after-aclose", "by-leaving"])
async def test_server_interrupt_comes_out_although_the_block_is_left_already(waits: bool) -> None:
    """An interrupt out of a handler is not lost when the server is ended at the same time; nothing is added to it."""
    error = SystemExit(3)

    async def handler(ws: WebSocket) -> None:
        raise error

    with trio.fail_after(10), pytest.raises(SystemExit) as raised:
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server:
            peer = await raw_client(server.port)
            await peer.receive_close()
            if waits:
                await server.aclose(grace=math.inf)
            await peer.aclose()
    assert raised.value is error
    assert error.__context__ is None


async def test_server_survives_resets_of_its_peers() -> None:
    """A peer's RST never reaches the nursery."""
    with trio.fail_after(10):
        async with open_server(read_until_closed, "127.0.0.1", 0, **LIMITS) as server:
            for _ in range(10):
                peer = await raw_client(server.port)
                await peer.send(peer.frame(1, b"x"))
                await peer.reset()
            async with connect(f"ws://127.0.0.1:{server.port}/") as ws:
                await ws.ping()
            while server.connections:
                await trio.sleep(0.01)


async def test_server_connections_is_a_live_view() -> None:
    """`connections` has the open connections, for as long as their handlers run."""
    with trio.fail_after(10):
        async with open_server(read_until_closed, "127.0.0.1", 0, **LIMITS) as server:
            view = server.connections
            assert len(view) == 0
            async with connect(f"ws://127.0.0.1:{server.port}/") as ws:
                await ws.ping()
                (other,) = view
                assert other.remote_address == ws.local_address
            while view:
                await trio.sleep(0.01)


async def test_server_wait_closed_and_serve_return_after_aclose() -> None:
    """`serve` returns when the server was closed and the last handler is done."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(partial(serve, read_until_closed, "127.0.0.1", 0, **LIMITS))
            async with connect(f"ws://127.0.0.1:{server.port}/") as ws:
                await server.aclose(1001)
                await server.wait_closed()
                assert await ws.wait_closed() == event(
                    1001, CloseCause.REMOTE, "remote", clean=True, sent=1001, received=1001
                )


def test_server_arguments_are_checked_at_the_call() -> None:
    """A handler, host, port or hook that cannot work is refused before anything is opened."""
    for bad, error in (
        ({"handler": None}, TypeError),
        ({"host": 1}, TypeError),
        ({"port": "80"}, TypeError),
        ({"port": 70000}, ValueError),
        ({"subprotocols": "chat"}, TypeError),
        ({"subprotocols": ["a", "a"]}, ValueError),
        ({"process_request": 1}, TypeError),
        ({"on_close": 1}, TypeError),
        ({"ssl_context": True}, TypeError),
        ({"close_timeout": -1}, ValueError),
        ({"unknown_option": 1}, TypeError),
    ):
        arguments: dict[str, Any] = {"handler": sleep_forever, "host": "127.0.0.1", "port": 0, **bad}
        with pytest.raises(error, match=next(iter(bad)).rstrip("s")):
            open_server(arguments.pop("handler"), arguments.pop("host"), arguments.pop("port"), **arguments)


async def test_server_that_cannot_listen_raises_the_systems_error() -> None:
    """An address in use is an OSError at the start of the block; a block is for one use."""
    async with open_server(sleep_forever, "127.0.0.1", 0) as server:
        with pytest.raises(OSError, match=r"(?i)in use"):
            async with open_server(sleep_forever, "127.0.0.1", server.port):
                pass  # pragma: no cover
    once = open_server(sleep_forever, "127.0.0.1", 0)
    async with once:
        pass
    with pytest.raises(RuntimeError, match="one of its own"):
        await once.__aenter__()


async def test_server_aclose_of_another_server_leaves_the_calling_handler_alone() -> None:
    """A handler that closes some other server goes on: only its own server's grace is about it."""
    went_on: list[str] = []

    async def handler(ws: WebSocket) -> None:
        async with open_server(sleep_forever, "127.0.0.1", 0) as other:
            await other.aclose(grace=0)
        await trio.sleep(0.05)
        went_on.append(str(await ws.receive()))

    with trio.fail_after(10):
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server:
            async with connect(f"ws://127.0.0.1:{server.port}/") as ws:
                await ws.send("still here")
                await ws.wait_closed()
    assert went_on == ["still here"]


async def test_server_handler_error_beside_a_cancellation_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What a handler raises while the server is cancelled stays at its own connection: one record, nothing more."""

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError("on the way out")

    async def handler(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.sleep_forever()

    with trio.fail_after(10):
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server, clients(server.port, 1) as peers:
            await trio.testing.wait_all_tasks_blocked()
            await server.aclose(grace=0)
    assert records(peers) == {("Close 1001", "FIN")}
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


async def test_server_handler_error_of_a_connection_it_opened_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A HandshakeError out of a handler is an error like others."""

    async def handler(ws: WebSocket) -> None:
        async with connect("ws://127.0.0.1:1/"):
            pass  # pragma: no cover

    with trio.fail_after(10):
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server, clients(server.port, 1) as peers:
            pass
    assert peers[0].record == ["Close 1011", "FIN"]
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


async def test_server_aclose_while_a_rejection_is_on_its_way(caplog: pytest.LogCaptureFixture) -> None:
    """A handshake that was answered already gets no second answer."""
    with trio.fail_after(10):
        async with open_server(sleep_forever, "127.0.0.1", 0, cancel_timeout=5) as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 426 ")
            await server.aclose(grace=0)
            await stream.aclose()
    assert caplog.text == ""


async def test_server_aclose_shorter_grace_reaches_a_handler_that_called_aclose_itself() -> None:
    """A handler in its own patient aclose is bound by a later, shorter grace, too."""
    began = 0.0

    async def handler(ws: WebSocket) -> None:
        await server.aclose(grace=math.inf)
        await trio.sleep_forever()

    with trio.fail_after(10):
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server, clients(server.port, 1):
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            await server.aclose(grace=0.1)
            await server.wait_closed()
            assert trio.current_time() - began < 1


async def test_server_closing_reaches_a_connection_that_is_just_being_opened() -> None:
    """Never 101 followed by silence: what opens in the turn in which the server closes is closed at once."""

    def close_now(request: Request) -> None:
        server._closing = (CloseFrame(1012), trio.current_time())

    with trio.fail_after(10):
        async with open_server(sleep_forever, "127.0.0.1", 0, process_request=close_now, **LIMITS) as server:
            async with clients(server.port, 1) as peers:
                pass
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)  # accepted, but not served any more
            await stream.send_all(b"GET / HTTP/1.1\r\n")
            assert (b"".join([chunk async for chunk in stream])).startswith(b"HTTP/1.1 503 ")
            await stream.aclose()
    assert records(peers) == {("Close 1012", "FIN")}


async def test_server_handler_interrupted_in_a_group() -> None:
    """A group of a handler that holds an interrupt leaves through the server, too; one of cancellations does not."""

    async def handler(ws: WebSocket) -> None:
        if await ws.receive() == "interrupt":
            raise BaseExceptionGroup("in a task", [KeyboardInterrupt(), ValueError()])
        cancellations: list[BaseException] = []
        for _ in range(2):
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                cancellations.append(cancelled)
        raise BaseExceptionGroup("cancelled", cancellations)

    with trio.fail_after(10), pytest.raises(BaseExceptionGroup) as raised:
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server, clients(server.port, 2) as peers:
            await peers[0].send(peers[0].frame(1, b"go on"))
            await trio.sleep(0.05)
            await peers[1].send(peers[1].frame(1, b"interrupt"))
            await trio.sleep_forever()
    assert raised.group_contains(KeyboardInterrupt, depth=1)
    assert not raised.group_contains(trio.Cancelled)


async def test_server_handlers_interrupted_at_once() -> None:
    """Two interrupts that no handler could foresee leave through the server as one group."""
    interrupts = [KeyboardInterrupt("one"), KeyboardInterrupt("two")]
    unraised = list(interrupts)
    both_ready = trio.Event()

    async def handler(ws: WebSocket) -> None:
        mine = unraised.pop()
        if not unraised:
            both_ready.set()
        await both_ready.wait()
        raise mine

    with trio.fail_after(10), pytest.raises(BaseExceptionGroup) as raised:
        async with open_server(handler, "127.0.0.1", 0, **LIMITS) as server, clients(server.port, 2):
            await trio.sleep_forever()
    assert set(raised.value.exceptions) == set(interrupts)


async def test_server_aclose_without_any_connection() -> None:
    """Nobody is there to be waited for: serve() returns at once."""

    async def handler(ws: WebSocket) -> None:
        raise AssertionError("nobody connects")

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(serve, handler, "127.0.0.1", 0)
            await trio.testing.wait_all_tasks_blocked()
            await server.aclose()


async def test_server_left_normally_and_cancelled_then() -> None:
    """A cancellation while leaving waits for handlers goes on, when all is gone."""
    peers: list[ScriptedPeer] = []
    with trio.fail_after(10), trio.CancelScope() as scope:
        async with open_server(sleep_forever, "127.0.0.1", 0, close_timeout=5, cancel_timeout=0.4) as server:
            peers.append(await raw_client(server.port))
            await trio.testing.wait_all_tasks_blocked()
            scope.deadline = trio.current_time() + 0.1
    assert scope.cancelled_caught
    await peers[0].drain()
    assert peers[0].record == ["Close 1001", "FIN"]
    await peers[0].aclose()


class FailsToAccept:
    """Stands in for `SocketListener.accept`, which fails with *errors* first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: OSError) -> None:
        self.errors = list(errors)
        self._accept = trio.SocketListener.accept
        monkeypatch.setattr(trio.SocketListener, "accept", lambda listener: self.accept(listener))

    async def accept(self, listener: trio.SocketListener) -> trio.SocketStream:
        if self.errors:
            raise self.errors.pop(0)
        return await self._accept(listener)


async def test_server_without_room_for_a_connection_tries_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Too many open files are no end: the server says so, and accepts when there is room again."""
    FailsToAccept(monkeypatch, OSError(errno.EMFILE, "no room"))
    with trio.fail_after(10):
        async with open_server(sleep_forever, "127.0.0.1", 0, **LIMITS) as server:
            peer = await raw_client(server.port)
    assert "no connection can be accepted" in caplog.text
    await peer.drain()
    assert peer.record == ["Close 1001", "FIN"]
    await peer.aclose()


async def test_server_whose_listener_breaks_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other error of a listener leaves the server as it is, for there is nothing to go on with."""
    broken = OSError(errno.EBADF, "broken")
    FailsToAccept(monkeypatch, broken)
    with trio.fail_after(10), pytest.raises(OSError, match="broken") as raised:
        async with open_server(sleep_forever, "127.0.0.1", 0, **LIMITS):
            await trio.sleep_forever()
    assert raised.value is broken
