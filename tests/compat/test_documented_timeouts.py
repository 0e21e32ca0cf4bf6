"""What the documentation of trio-websocket shows of limits and of time: see `test_documented_examples.py`."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_closeevents.testing import CLOSE, PING, PONG, TEXT, ScriptedPeer

from .documented import HOST, echo_of, heartbeat, scripted, served, url_of

# -- docs/backpressure.rst ---------------------------------------------------------------------------------------------


async def played(peer: ScriptedPeer, answered: int, messages: int) -> None:
    """Send *messages*, then a Ping; the peer of a full queue has no Pong for it."""
    for number in range(messages):
        await peer.send(peer.frame(TEXT, str(number).encode()))
    await peer.send(peer.frame(PING, b"there?"))
    received = None
    with trio.move_on_after(1):
        received = await peer.receive()
    assert (received is not None and received.opcode == PONG) == bool(answered)


@pytest.mark.parametrize(
    ("size", "messages", "is_answered"), [(1, 1, True), (1, 3, False), (5, 3, True), (math.inf, 100, True)]
)
async def test_backpressure_message_queue_size(
    trio_websocket: Any, clock: MockClock, size: float, messages: int, is_answered: bool
) -> None:
    """With a full queue the background task pauses, Pings included; every message is there, in order."""

    async def script(peer: ScriptedPeer) -> None:
        await played(peer, is_answered, messages)
        asked.set()
        await peer.be_polite()

    asked = trio.Event()
    async with scripted(script) as url, trio_websocket.open_websocket_url(url, message_queue_size=size) as ws:
        await asked.wait()
        assert [await ws.get_message() for _ in range(messages)] == [str(number) for number in range(messages)]


async def test_backpressure_message_queue_of_none(trio_websocket: Any, clock: MockClock) -> None:
    """With 0 every message waits for `get_message`, and what stands behind it waits too."""

    async def script(peer: ScriptedPeer) -> None:
        await played(peer, False, 1)
        asked.set()
        received = await peer.receive()
        assert received is not None
        assert received.opcode == PONG
        await peer.be_polite()

    asked = trio.Event()
    async with scripted(script) as url, trio_websocket.open_websocket_url(url, message_queue_size=0) as ws:
        await asked.wait()
        assert await ws.get_message() == "0"
        await trio.sleep(1)  # nobody waits, and the Ping is answered


async def test_backpressure_message_is_too_large(trio_websocket: Any) -> None:
    """1009, on the wire and in the exception; one that is just as large passes."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, b"x" * 100))
        await peer.send(peer.frame(TEXT, b"x" * 101))
        close = await peer.receive_close()
        assert close is not None
        codes.append(close.code)
        await peer.send(peer.frame(CLOSE, close.payload))
        await peer.fin()

    codes: list[int | None] = []
    async with scripted(script) as url, trio_websocket.open_websocket_url(url, max_message_size=100) as ws:
        assert await ws.get_message() == "x" * 100
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await ws.get_message()
    assert codes == [1009]
    assert (caught.value.reason.code, caught.value.reason.name) == (1009, "MESSAGE_TOO_BIG")
    assert "100 bytes" in caught.value.reason.reason


async def test_backpressure_messages_of_any_size(trio_websocket: Any) -> None:
    """`math.inf` is no limit."""
    async with served(trio_websocket, echo_of(trio_websocket), max_message_size=math.inf) as server:
        async with trio_websocket.open_websocket_url(url_of(server), max_message_size=math.inf) as ws:
            message = b"x" * (2**20 + 1)
            await ws.send_message(message)
            assert await ws.get_message() == message


# -- docs/timeouts.rst -------------------------------------------------------------------------------------------------


async def say_nothing(peer: ScriptedPeer) -> None:
    """Be a server that answers a Close, and nothing else."""
    await peer.be_polite()


async def never_answer(peer: ScriptedPeer) -> None:
    """Be a server that reads, and says nothing at all."""
    await peer.drain()


async def test_timeouts_message_timeouts(trio_websocket: Any, clock: MockClock) -> None:
    """A scope around a message and its answer, inside the block: the connection is closed in order."""
    async with scripted(say_nothing) as url:
        with pytest.raises(trio.TooSlowError):
            async with trio_websocket.open_websocket_url(url) as ws:
                with trio.fail_after(15):
                    await ws.send_message("test")
                    await ws.get_message()
        assert trio.current_time() == pytest.approx(15, abs=1)


async def test_timeouts_scope_around_the_connection(trio_websocket: Any, clock: MockClock) -> None:
    """The deadline passes, and the exception is bare."""
    async with scripted(say_nothing) as url:
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(15):
                async with trio_websocket.open_websocket_url(url) as ws:
                    await ws.send_message("test")
                    await ws.get_message()


async def test_timeouts_for_each_message(trio_websocket: Any, clock: MockClock) -> None:
    """A message every 30 seconds, each of which has 15."""
    async with served(trio_websocket, echo_of(trio_websocket), patience=1000) as server:
        async with trio_websocket.open_websocket_url(url_of(server)) as ws:
            for _ in range(10):
                await trio.sleep(30)
                with trio.fail_after(15):
                    await ws.send_message("test")
                    assert await ws.get_message() == "test"


async def test_timeouts_deadline_that_is_moved(trio_websocket: Any, clock: MockClock) -> None:
    """One scope for opening and closing, and none between them."""
    async with scripted(never_answer) as url:
        started = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(10) as scope:
                async with trio_websocket.open_websocket_url(url) as ws:
                    scope.deadline = math.inf
                    await trio.sleep(30)
                    await ws.send_message("test")
                    scope.deadline = trio.current_time() + 5
        assert trio.current_time() - started == pytest.approx(35, abs=2)


async def test_timeouts_built_in(trio_websocket: Any, clock: MockClock) -> None:
    """`disconnect_timeout` is a DisconnectionTimeout, which is a HandshakeError."""
    async with scripted(never_answer) as url:
        with pytest.raises(trio_websocket.DisconnectionTimeout) as caught:
            async with trio_websocket.open_websocket_url(url, connect_timeout=10, disconnect_timeout=5) as ws:
                await ws.send_message("test")
        assert isinstance(caught.value, trio_websocket.HandshakeError)
        assert trio.current_time() == pytest.approx(5, abs=1)


async def test_timeouts_turned_off(trio_websocket: Any, clock: MockClock) -> None:
    """`math.inf` waits for as long as it takes."""

    async def answer_late(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await trio.sleep(3600)
        await peer.send(peer.frame(CLOSE, (1000).to_bytes(2)))
        await peer.fin()

    async with scripted(answer_late) as url:
        options = {"connect_timeout": math.inf, "disconnect_timeout": math.inf}
        async with trio_websocket.open_websocket_url(url, **options) as ws:
            pass
        assert ws.closed.code == 1000
        assert trio.current_time() >= 3600


async def test_timeouts_on_low_level_functions(trio_websocket: Any, clock: MockClock) -> None:
    """No timeouts but the program's own: here five seconds for a Close that is not answered."""
    async with scripted(never_answer) as url, trio.open_nursery() as nursery:
        with trio.fail_after(10):
            ws = await trio_websocket.connect_websocket_url(nursery, url)
        with pytest.raises(trio.TooSlowError):
            try:
                await ws.send_message("test")
            finally:
                with trio.fail_after(5):
                    await ws.aclose()
        assert trio.current_time() == pytest.approx(5, abs=2)


async def test_timeouts_server_connect_timeout(trio_websocket: Any, clock: MockClock) -> None:
    """A client that does not ask is hung up on, and no handler is called."""
    called: list[object] = []

    async def handler(request: object) -> None:
        called.append(request)

    async with served(trio_websocket, handler, connect_timeout=10, patience=100) as server:
        async with await trio.open_tcp_stream(HOST, server.port) as stream:
            started = trio.current_time()
            assert await stream.receive_some() == b""
            assert trio.current_time() - started == pytest.approx(10, abs=1)
    assert not called


async def test_timeouts_server_disconnect_timeout(trio_websocket: Any, clock: MockClock) -> None:
    """A client that does not answer the Close is hung up on; the server goes on."""

    async def handler(request: Any) -> None:
        await request.accept()

    async with served(trio_websocket, handler, disconnect_timeout=5, patience=100) as server:
        for _ in range(2):
            async with await trio.open_tcp_stream(HOST, server.port) as stream:
                peer = ScriptedPeer(stream, client=True)
                await peer.open()
                started = trio.current_time()
                await peer.drain()
                assert trio.current_time() - started == pytest.approx(5, abs=1)
            assert peer.record[0] == "Close 1000"


# -- docs/recipes.rst --------------------------------------------------------------------------------------------------


async def test_recipes_heartbeat(trio_websocket: Any, clock: MockClock) -> None:
    """The peer answers: the heart beats as long as the program runs."""
    pings: list[float] = []

    async def answer(peer: ScriptedPeer) -> None:
        while (received := await peer.receive()) is not None and received.opcode == PING:
            pings.append(trio.current_time())
            await peer.send(peer.frame(PONG, received.payload))
        await peer.send(peer.frame(CLOSE, (1000).to_bytes(2)))
        await peer.fin()

    async with scripted(answer) as url, trio_websocket.open_websocket_url(url) as ws:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heartbeat, ws, 5, 1)
            await trio.sleep(10.5)
            nursery.cancel_scope.cancel()
    assert 8 <= len(pings) <= 11


async def test_recipes_heartbeat_of_a_peer_that_is_stuck(trio_websocket: Any, clock: MockClock) -> None:
    """TooSlowError out of the heartbeat, in the group of its nursery."""

    async def be_stuck(peer: ScriptedPeer) -> None:
        while (received := await peer.receive()) is not None and received.opcode != CLOSE:
            pass
        await peer.fin()

    async with scripted(be_stuck) as url:
        with pytest.RaisesGroup(trio.TooSlowError):
            async with trio_websocket.open_websocket_url(url) as ws, trio.open_nursery() as nursery:
                nursery.start_soon(heartbeat, ws, 5, 1)
                await trio.sleep_forever()
        assert trio.current_time() == pytest.approx(5, abs=1)


async def test_recipes_heartbeat_of_a_connection_that_has_ended(trio_websocket: Any, clock: MockClock) -> None:
    """ConnectionClosed out of the heartbeat, at the next Ping."""

    async def close(peer: ScriptedPeer) -> None:
        received = await peer.receive()
        assert received is not None
        await peer.send(peer.frame(PONG, received.payload))
        await peer.send(peer.frame(CLOSE, (1001).to_bytes(2)))
        await peer.receive_close()
        await peer.fin()

    async with scripted(close) as url:
        async with trio_websocket.open_websocket_url(url) as ws:
            with pytest.RaisesGroup(trio_websocket.ConnectionClosed):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(heartbeat, ws, 5, 1)
                    await trio.sleep_forever()
            assert ws.closed.code == 1001
