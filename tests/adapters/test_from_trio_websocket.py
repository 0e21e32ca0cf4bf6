"""`from_trio_websocket`: what it takes, what it refuses, and what its block does when all goes wrong."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
import trio_websocket
from trio.testing import MockClock, open_stream_to_socket_listener

from trio_closeevents import ClosePolicy, Options
from trio_closeevents.adapters import AdaptedWebSocket, from_trio_websocket
from trio_closeevents.compat import trio_websocket as drop_in
from trio_closeevents.testing import ScriptedPeer, open_websocket_pair

from .stage import event

ROOT = Path(__file__).parents[2]


class Meddling(trio.abc.Stream):
    """A stream that does something else in place of `send_all`, or before `aclose`, when it is told to."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.on_send: Callable[[], Awaitable[object]] | None = None
        self.on_close: Callable[[], Awaitable[object]] | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.on_send is not None:
            await self.on_send()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        try:
            if self.on_close is not None:
                await self.on_close()
        finally:
            await self.stream.aclose()


@asynccontextmanager
async def open_client(
    peer_does: Callable[[ScriptedPeer], Awaitable[object]] = ScriptedPeer.be_polite,
) -> AsyncGenerator[tuple[trio_websocket.WebSocketConnection, Meddling, ScriptedPeer], None]:
    """A client's connection in memory, with its reader outside; its stream, and the peer."""
    ours, theirs = trio.testing.memory_stream_pair()
    stream: Any = Meddling(ours)
    peer = ScriptedPeer(theirs, client=False)

    is_done = trio.Event()

    async def run_peer() -> None:
        await peer.open()
        await peer_does(peer)
        await peer.drain()
        is_done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_peer)
        connection = await trio_websocket.wrap_client_stream(nursery, stream, "localhost", "/")
        yield connection, stream, peer
        with trio.move_on_after(1):
            await is_done.wait()
        nursery.cancel_scope.cancel()


# -- arguments -----------------------------------------------------------------------------------------------------


async def test_wrong_argument_is_named(autojump_clock: MockClock) -> None:
    """Anything that is no connection is a TypeError, at the call, which tells what was given."""
    for wrong in (None, "ws://localhost/", trio_websocket.open_websocket_url("ws://localhost/")):
        with pytest.raises(TypeError) as caught:
            from_trio_websocket(wrong)  # type: ignore[arg-type]
        needed, given = "a trio_websocket.WebSocketConnection", f"{type(wrong).__name__}: {wrong!r:.80}"
        assert str(caught.value) == f"from_trio_websocket() needs {needed}, not {given}"


async def test_connection_of_this_library_needs_no_adapter(autojump_clock: MockClock) -> None:
    """The TypeError says that it has all that the adapter would give."""
    async with open_websocket_pair() as pair:
        with pytest.raises(TypeError, match=r"<WebSocket .*trio_closeevents, which needs no adapter"):
            from_trio_websocket(pair.client)  # type: ignore[arg-type]


async def test_connection_of_the_drop_in_needs_no_adapter(autojump_clock: MockClock) -> None:
    """The same for a connection of the drop-in."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=False)
    stream: Any = ours
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open)
        connection = await drop_in.wrap_client_stream(nursery, stream, "localhost", "/")
        with pytest.raises(TypeError, match=r"trio_closeevents\.compat\.trio_websocket, which needs no adapter"):
            from_trio_websocket(cast("Any", connection))
        nursery.start_soon(peer.be_polite)
        await connection.aclose()


async def test_adapted_connection_is_refused(autojump_clock: MockClock) -> None:
    """What a block has lent is no connection of the package."""
    async with open_client() as (connection, _, _), from_trio_websocket(connection) as ws:
        with pytest.raises(TypeError, match="not AdaptedWebSocket: <AdaptedWebSocket over client-"):
            from_trio_websocket(ws)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"close_timeout": -1}, ValueError),
        ({"cancel_timeout": float("inf")}, ValueError),
        ({"cancel_timeout": "1"}, TypeError),
        ({"policy": {}}, TypeError),
        ({"ping_interval": 1}, TypeError),
    ],
)
async def test_wrong_option_is_refused(options: Any, kind: type[Exception], autojump_clock: MockClock) -> None:
    """Limits and policy are checked as everywhere in the library; it has no other options."""
    async with open_client() as (connection, _, _):
        with pytest.raises(kind):
            from_trio_websocket(connection, **options)


def test_defaults_are_those_of_the_library() -> None:
    """The numbers in the signature are those of `Options`."""
    defaults = Options()
    assert from_trio_websocket.__kwdefaults__ == {
        "close_timeout": defaults.close_timeout,
        "cancel_timeout": defaults.cancel_timeout,
        "policy": ClosePolicy(),
    }


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_package_that_is_missing_is_an_import_error_that_names_the_extra() -> None:
    """Only the call needs the package; what it refuses without looking into the package needs none either."""
    program = """
        import sys
        sys.modules["trio_websocket"] = None
        from trio_closeevents.adapters import AdaptedWebSocket, from_trio_websocket
        try:
            from_trio_websocket(object())
        except ImportError as error:
            print(error)
    """
    expected = 'from_trio_websocket() needs trio-websocket: pip install "trio-closeevents[trio-websocket]"\n'
    assert run(program) == expected


def test_importing_does_not_load_the_package() -> None:
    """It is loaded by the first call."""
    program = "import sys, trio_closeevents.adapters; print('trio_websocket' in sys.modules)"
    assert run(program) == "False\n"


# -- the block -----------------------------------------------------------------------------------------------------


async def test_block_is_entered_once(autojump_clock: MockClock) -> None:
    """A second `async with` on the same object is a mistake, and says so; the first block goes on."""
    async with open_client() as (connection, _, peer):
        block = from_trio_websocket(connection)
        async with block as ws:
            with pytest.raises(RuntimeError, match="entered already"):
                await block.__aenter__()
            await ws.send("fine")
    assert peer.record == ["Text b'fine'", "Close 1000", "FIN"]


async def test_block_takes_over_even_in_a_cancelled_scope(autojump_clock: MockClock) -> None:
    """Entering is no checkpoint, so that whoever is cancelled behind the opening still tells the peer."""
    async with open_client() as (connection, _, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            async with from_trio_websocket(connection) as ws:
                await ws.wait_closed()
    assert scope.cancelled_caught
    assert peer.record == ["Close 1001", "FIN"]


async def test_block_over_a_connection_that_has_ended(autojump_clock: MockClock) -> None:
    """The event is there from the beginning, and the block adds nothing."""

    async def close(peer: ScriptedPeer) -> None:
        await peer.send(peer.close_frame(4001, "bye"))
        await peer.receive_close()
        await peer.fin()

    async with open_client(close) as (connection, _, peer):
        with pytest.raises(trio_websocket.ConnectionClosed):
            await connection.get_message()
        async with from_trio_websocket(connection) as ws:
            assert await ws.wait_closed() == event(4001, reason="bye")
    assert len(peer.frames) == 1


async def test_block_that_the_program_closes_by_itself_reports_what_the_package_does(
    autojump_clock: MockClock,
) -> None:
    """`connection.aclose(4000)` behind the adapter's back: whoever looks before the answer gets the package's 1000."""

    async def answer_later(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await trio.sleep(1)
        await peer.send(peer.close_frame(4001))

    async with open_client(answer_later) as (connection, _, peer):
        async with from_trio_websocket(connection) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(connection.aclose, 4000)
            assert await ws.wait_closed() == event(1000)
        assert connection.closed is not None
        assert connection.closed.code == 4001
        assert ws.close_event == event(1000)
    assert peer.record == ["Close 4000", "FIN"]


@pytest.mark.parametrize("role", ["client", "server"])
async def test_end_in_the_packages_own_blocks(role: str) -> None:
    """Inside `open_websocket_url` and in a handler, on a socket: 1011 leaves, and these blocks add nothing."""
    records: list[list[str]] = []

    async def break_off(connection: trio_websocket.WebSocketConnection) -> None:
        async with from_trio_websocket(connection) as ws:
            raise KeyError(await ws.receive())

    async def talk(peer: ScriptedPeer) -> None:
        await peer.open()
        await peer.send(peer.frame(1, b"go"))
        await peer.be_polite()
        records.append(peer.record)

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        with pytest.raises(KeyError, match="go"):
            await break_off(await request.accept())

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            if role == "server":
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
                server = trio_websocket.WebSocketServer(handle, [listener])
                await nursery.start(server.run)
                await talk(ScriptedPeer(await open_stream_to_socket_listener(listener), client=True))
            else:
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
                nursery.start_soon(
                    trio.serve_listeners, lambda stream: talk(ScriptedPeer(stream, client=False)), [listener]
                )
                port = listener.socket.getsockname()[1]
                with pytest.raises(KeyError, match="go"):
                    async with trio_websocket.open_websocket_url(f"ws://127.0.0.1:{port}/") as connection:
                        await break_off(connection)
                while not records:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert records == [["Close 1011", "FIN"]]


async def test_server_cancelled_tells_all_clients_at_once() -> None:
    """A server of the package that is cancelled: every client sees 1001, in parallel, within one cancel_timeout."""
    limit, clients = 0.5, 10

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        async with from_trio_websocket(await request.accept(), cancel_timeout=limit) as ws:
            await ws.receive()

    async def be_client(listener: trio.SocketListener, *, task_status: trio.TaskStatus[None]) -> None:
        peer = ScriptedPeer(await open_stream_to_socket_listener(listener), client=True)
        await peer.open()
        task_status.started()
        await peer.receive_close()
        told_at.append(trio.current_time())
        await peer.drain()
        await peer.aclose()
        records.append(peer.record)

    records: list[list[str]] = []
    told_at: list[float] = []
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as serving:
                await serving.start(trio_websocket.WebSocketServer(handle, [listener]).run)
                for _ in range(clients):
                    await nursery.start(be_client, listener)
                await trio.sleep(0.1)
                began = trio.current_time()
                serving.cancel_scope.cancel()
            seconds = trio.current_time() - began
    assert records == [["Close 1001", "FIN"]] * clients
    assert max(told_at) - began < limit
    assert seconds < limit + 1


async def messages(
    connection: trio_websocket.WebSocketConnection,
) -> AsyncGenerator[tuple[AdaptedWebSocket, str | bytes], None]:
    async with from_trio_websocket(connection) as ws:
        async for message in ws:
            yield ws, message


async def greet(peer: ScriptedPeer) -> None:
    await peer.send(peer.frame(1, b"one"))
    await peer.drain()


async def test_end_generator_sends_what_needs_no_waiting(autojump_clock: MockClock) -> None:
    """A generator that holds the block and is closed sends 1001, and waits for no answer."""
    async with open_client(greet) as (connection, _, peer):
        async with aclosing(messages(connection)) as generator:
            ws, message = await anext(generator)
            assert message == "one"
            began = trio.current_time()
        assert trio.current_time() - began < 0.1
    assert peer.record == ["Close 1001", "FIN"]
    assert ws.close_event == event(1006, "cancelled")


async def test_end_generator_by_the_garbage_collector_warns(autojump_clock: MockClock) -> None:
    """Nothing is promised when the collector ends the block, and a ResourceWarning says so."""

    async def read_one_and_forget(connection: trio_websocket.WebSocketConnection) -> None:
        async for _ in messages(connection):
            return

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        async with open_client(greet) as (connection, _, _):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read_one_and_forget, connection)
            except (Exception, BaseExceptionGroup):
                pass  # trio finds the nursery stack corrupted; nothing is promised
            gc.collect()
    assert any("aclosing" in str(each.message) for each in seen)


def test_end_generator_after_trio_has_ended_warns() -> None:
    """A generator that outlives trio's loop can still be finalised: nothing is sent, nothing raised but the warning."""

    async def open_and_leave() -> Any:
        async with open_client() as (connection, _, _):
            block = from_trio_websocket(connection)
            async with block:
                pass
        return block

    block = trio.run(open_and_leave, clock=MockClock(autojump_threshold=0))
    finalisation = block.__aexit__(GeneratorExit, GeneratorExit(), None)
    with pytest.warns(ResourceWarning, match="aclosing"), pytest.raises(StopIteration):
        finalisation.__await__().__next__()


async def test_end_with_no_patience_still_sends_what_needs_none(autojump_clock: MockClock) -> None:
    """With a cancel_timeout of 0 the Close frame leaves, and the answer is not waited for."""
    lent: list[AdaptedWebSocket] = []
    async with open_client(ScriptedPeer.drain) as (connection, _, peer):
        began = trio.current_time()
        with trio.CancelScope() as scope:
            scope.cancel()
            async with from_trio_websocket(connection, cancel_timeout=0) as ws:
                lent.append(ws)
                await ws.receive()
        assert trio.current_time() - began < 0.1
    assert peer.record == ["Close 1001", "FIN"]
    assert lent[0].close_event == event(1006, "cancelled")


# -- streams that misbehave ----------------------------------------------------------------------------------------


async def fail() -> None:
    raise RuntimeError("no stream any more")


async def fail_later() -> None:
    await trio.sleep(1)
    await fail()


async def test_send_hands_on_what_the_stream_raises(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that is not the end of the connection goes to the one who sends, as it is."""
    async with open_client() as (connection, stream, peer), from_trio_websocket(connection) as ws:
        stream.on_send = fail
        with pytest.raises(RuntimeError, match="no stream any more"):
            await ws.send("lost")
        stream.on_send = None
        await ws.send("fine")
    assert peer.record == ["Text b'fine'", "Close 1000", "FIN"]
    assert caplog.records == []


async def test_send_that_nobody_waits_for_logs_what_the_stream_raises(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """If the one who sends was cancelled, the error goes into the log, and the block goes on."""
    async with open_client() as (connection, stream, peer), from_trio_websocket(connection) as ws:
        stream.on_send = fail_later
        with trio.move_on_after(0.5):
            await ws.send("lost")
        await trio.sleep(2)
        stream.on_send = None
        await ws.send("fine")
    assert peer.record == ["Text b'fine'", "Close 1000", "FIN"]
    (record,) = caplog.records
    assert record.name == "trio_closeevents"
    assert record.getMessage() == f"{connection} could not send a message"
    assert record.exc_info is not None


async def test_send_that_nobody_waits_for_is_silent_at_the_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """If the connection ends meanwhile, there is nothing to say."""

    async def reset(peer: ScriptedPeer) -> None:
        await trio.sleep(0.2)
        await peer.reset()

    async with open_client(reset) as (connection, stream, _), from_trio_websocket(connection) as ws:
        stream.on_send = fail_later
        with trio.move_on_after(0.5):
            await ws.send("lost")
        await trio.sleep(2)
        assert ws.close_event == event(1006, lost=True)
    assert caplog.records == []


async def test_send_that_nobody_waits_for_is_silent_in_the_ending(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the ending has begun, the Close frame follows all the same, and tells enough."""

    async def fail_once() -> None:
        stream.on_send = None
        await fail_later()

    async with open_client() as (connection, stream, peer):
        async with from_trio_websocket(connection) as ws:
            stream.on_send = fail_once
            with trio.move_on_after(0.5):
                await ws.send("lost")
    assert peer.record == ["Close 1000", "FIN"]
    assert ws.close_event == event(1000, "exit")
    assert caplog.records == []


async def test_ending_logs_what_the_stream_raises(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the stream's `aclose` does not replace what leaves the block; the peer has answered."""
    lent: list[AdaptedWebSocket] = []
    async with open_client() as (connection, stream, peer):
        stream.on_close = fail
        with pytest.raises(KeyError):
            async with from_trio_websocket(connection) as ws:
                lent.append(ws)
                raise KeyError
    assert lent[0].close_event == event(1011, "error")
    assert peer.record == ["Close 1011", "FIN"]
    (record,) = caplog.records
    assert record.getMessage() == f"{connection} could not be closed in order"


async def test_ending_is_not_held_up_by_a_stream_that_is_slow_to_close(autojump_clock: MockClock) -> None:
    """The stream's `aclose` has no more time than the ending itself."""
    async with open_client() as (connection, stream, _):
        stream.on_close = trio.sleep_forever
        began = trio.current_time()
        async with from_trio_websocket(connection, close_timeout=3) as ws:
            pass
        assert trio.current_time() - began == pytest.approx(3)
    assert ws.close_event == event(1000, "exit")


async def test_ending_stops_the_reader_whatever_still_arrives(autojump_clock: MockClock) -> None:
    """Messages that arrive as the limit passes do not leave the package's reader waiting for somebody to take them."""

    async def send_the_last(peer: ScriptedPeer) -> None:
        await limit_has_passed.wait()
        for number in range(9):
            await peer.send(peer.frame(1, b"%d" % number))

    async def be_slow() -> None:
        limit_has_passed.set()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await trio.sleep(0.1)

    limit_has_passed = trio.Event()
    async with open_client(send_the_last) as (connection, stream, peer):
        async with from_trio_websocket(connection):
            stream.on_send = trio.sleep_forever
            stream.on_close = be_slow
        with pytest.raises(trio_websocket.ConnectionClosed), trio.fail_after(1):
            await connection.get_message()
    assert peer.record == ["FIN"]


# -- Ctrl-C --------------------------------------------------------------------------------------------------------

CTRL_C = """
    import os, signal, sys, threading, time, trio, trio_websocket
    from trio_closeevents.adapters import from_trio_websocket
    from trio_closeevents.testing import ScriptedPeer
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it as ignored
    where = sys.argv[1]
    peers = []

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    async def be_peer(stream):
        peer = ScriptedPeer(stream, client=False)
        peers.append(peer)
        await peer.open()
        await (peer.drain() if where == "ending" else peer.be_polite())

    async def main():
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, be_peer, [listener])
            url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
            try:
                async with trio_websocket.open_websocket_url(url) as connection:
                    async with from_trio_websocket(connection, close_timeout=20, cancel_timeout=20) as ws:
                        if where == "wait":
                            threading.Timer(0.2, interrupt).start()
                            await ws.receive()
                        elif where == "spin":
                            interrupt()
                            while True:
                                pass
                        else:
                            threading.Timer(0.3, interrupt).start()
                        began = time.monotonic()
            except KeyboardInterrupt as error:
                print("KeyboardInterrupt", error.__context__)
                print("in time", where != "ending" or time.monotonic() - began < 10)
            print(ws.close_event)
            while not peers[0].ended:
                await trio.sleep(0.01)
            print(peers[0].record)
            nursery.cancel_scope.cancel()

    trio.run(main)
"""


@pytest.mark.parametrize(
    ("where", "event", "record"),
    [
        ("wait", "1001 going away: cancelled", "['Close 1001', 'FIN']"),
        ("spin", "1001 going away: cancelled", "['Close 1001', 'FIN']"),
        ("ending", "1006 abnormal closure: exit", "['Close 1000', 'FIN']"),
    ],
)
def test_end_interrupt_by_ctrl_c(where: str, event: str, record: str) -> None:
    """A real Ctrl-C: in a block it sends 1001 and comes out bare; a running ending drops the transport at once."""
    lines = run(CTRL_C, where).splitlines()
    assert lines == ["KeyboardInterrupt None", "in time True", event, record]
