"""The reader's task: when it keeps its hands off, and when it is there again."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_closeevents import CloseCause, WebSocket, _reader, connect, open_server
from trio_closeevents._hands_off import INTERVAL
from trio_closeevents._turns import turns_of_this_run
from trio_closeevents.testing import PING, TEXT, open_scripted_pair, open_websocket_pair


async def test_reader_goes_on_when_the_program_makes_room(autojump_clock: MockClock) -> None:
    """With a full inbox it sleeps; one message taken, by the short way, wakes it, and the Ping behind is answered."""
    async with open_scripted_pair(max_queue=2) as (websocket, peer):
        texts = [peer.frame(TEXT, b"%d" % number) for number in range(3)]
        await peer.send(*texts[:2], peer.frame(PING, b"?"), texts[2])
        await trio.testing.wait_all_tasks_blocked()
        assert websocket._reader._sleeper
        assert not websocket._reader.is_free

        turns_of_this_run().begin()
        assert await websocket.receive() == "0"

        pong = await peer.receive()
        assert pong is not None
        assert pong.payload == b"?"
        assert [await websocket.receive(), await websocket.receive()] == ["1", "2"]
        await peer.aclose()


async def test_reader_takes_over_soon_after_the_program_has_received(autojump_clock: MockClock) -> None:
    """A program that has stopped receiving is not waited for: a Ping has its Pong within `INTERVAL` or two."""
    async with open_scripted_pair() as (websocket, peer):
        await peer.send(peer.frame(TEXT, b"hello"))
        assert await websocket.receive() == "hello"
        began = trio.current_time()
        await peer.send(peer.frame(PING))
        assert await peer.receive() is not None
        assert trio.current_time() - began <= 2 * INTERVAL
        await peer.aclose()


async def test_messages_that_are_ready_wait_for_the_stream(autojump_clock: MockClock) -> None:
    """While a block receives a message piece by piece nobody takes the next one, though it needs no waiting."""
    async with open_scripted_pair() as (websocket, peer):
        await peer.send(*[peer.frame(TEXT, b"%d" % number) for number in range(4)])
        assert await websocket.receive() == "0"
        async with websocket.receive_stream() as pieces:
            assert await anext(pieces) == "1"
            turns_of_this_run().begin()
            with pytest.raises(trio.BusyResourceError):
                await websocket.receive()
            with pytest.raises(trio.BusyResourceError):
                await anext(websocket)
        turns_of_this_run().begin()
        assert await websocket.receive() == "2"
        assert await anext(websocket) == "3"
        await peer.aclose()


async def test_end_of_the_input_is_noted_once(autojump_clock: MockClock) -> None:
    """What comes first counts, and nothing is read behind it."""
    async with open_scripted_pair() as (websocket, peer):
        reader = websocket._reader
        reader.end_input(CloseCause.EOF, None)
        reader.end_input(CloseCause.RESET, OSError())
        assert reader._input_end == (CloseCause.EOF, None)
        assert not reader._take_input()
        await peer.aclose()


async def test_peer_that_answers_soon_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent has left before that; if no answer has come in a turn or two, the socket is waited for."""
    monkeypatch.setattr(_reader, "QUICK", math.inf)

    async def echo_twice(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)
            await trio.sleep(0.01)
            await ws.send("again")

    async with open_server(echo_twice, "127.0.0.1", 0) as server, connect(f"ws://127.0.0.1:{server.port}") as ws:
        await ws.send("first")
        assert [await ws.receive(), await ws.receive()] == ["first", "again"]
        ws._reader._is_quick = True
        turns_of_this_run().begin()
        turns_of_this_run().until = math.inf
        await ws.send("second")
        await ws.send("third")  # which is kept, for what may follow it
        kept = [ws._writer.outbox.size]

        async def checkpoint() -> None:
            kept.append(ws._writer.outbox.size)
            await trio.lowlevel.cancel_shielded_checkpoint()

        with monkeypatch.context() as patch:
            patch.setattr(trio.lowlevel, "checkpoint", checkpoint)
            assert await ws.receive() == "second"
        assert kept[0] > kept[1] == 0
        assert [await ws.receive() for _ in range(3)] == ["again", "third", "again"]


async def test_parts_of_a_connection_share_the_keys_of_their_attributes() -> None:
    """With more than thirty, each connection has a dict of its own: 1.3 KB for one class."""
    async with open_websocket_pair() as (websocket, _):
        driver = websocket._driver
        for part in (websocket, driver, driver.reader, driver.writer, driver.session):
            assert len(vars(part)) <= 30, type(part)
