"""Messages of several tasks are sent in the order of the calls, also when the loop is due to others."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair

from trio_closeevents import WebSocket, broadcast
from trio_closeevents._writer import HIGH_WATER
from trio_closeevents.testing import open_websocket_pair

Send = Callable[[WebSocket, str], Awaitable[object]]


async def send_whole(websocket: WebSocket, message: str) -> None:
    await websocket.send(message)


async def send_in_parts(websocket: WebSocket, message: str) -> None:
    await websocket.send([message[:1], message[1:]])


async def send_to_all(websocket: WebSocket, message: str) -> None:
    await broadcast([websocket], message)


@pytest.mark.parametrize("send", [send_whole, send_in_parts, send_to_all])
async def test_order_is_that_of_the_calls(send: Send, autojump_clock: MockClock) -> None:
    """Two tasks that change what they share and then send: the peer hears of it in that order."""
    async with open_websocket_pair() as (client, server):
        for _ in range(50):
            number = 0

            async def step() -> None:
                nonlocal number
                number += 1
                await send(server, str(number))

            time.sleep(0.0011)  # noqa: ASYNC251  # busy for more than a turn
            async with trio.open_nursery() as nursery:
                nursery.start_soon(step)
                nursery.start_soon(step)
            assert [await client.receive(), await client.receive()] == ["1", "2"]


async def test_order_of_a_broadcast_and_a_send(autojump_clock: MockClock) -> None:
    """Neither overtakes the other."""
    async with open_websocket_pair() as (client, server):
        for first, second in ((send_to_all, send_whole), (send_whole, send_to_all)) * 25:
            sends: Iterator[Send] = iter([first, second])

            async def step(sends: Iterator[Send] = sends) -> None:
                send = next(sends)
                await send(server, str(send))

            time.sleep(0.0011)  # noqa: ASYNC251
            async with trio.open_nursery() as nursery:
                nursery.start_soon(step)
                nursery.start_soon(step)
            assert [await client.receive(), await client.receive()] == [str(first), str(second)]


async def test_order_of_broadcasts_is_the_same_at_every_peer(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that gives the loop back in the middle is not overtaken by the next."""
    monkeypatch.setattr("trio_closeevents._turns.LENGTH", 0.0)
    async with open_websocket_pair() as one, open_websocket_pair() as two, open_websocket_pair() as three:
        pairs = (one, two, three)
        number = 0

        async def step() -> None:
            nonlocal number
            number += 1
            await broadcast([pair.server for pair in pairs], str(number))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(step)
        for pair in pairs:
            assert [await pair.client.receive() for _ in range(10)] == [str(each + 1) for each in range(10)]


async def test_order_of_broadcasts_to_a_slow_peer(autojump_clock: MockClock) -> None:
    """Those that wait for room go in the order of their calls too."""
    async with open_websocket_pair(streams=lockstep_stream_pair(), max_queue=1) as (client, server):
        with trio.move_on_after(1):
            while True:
                await server.send("x" * HIGH_WATER)
        waiting = server.stats.messages_sent
        number = 0

        async def step() -> None:
            nonlocal number
            number += 1
            await broadcast([server], str(number))

        received: list[str | bytes] = []
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(step)
            while len(received) < waiting + 10:
                received.append(await client.receive())
        assert received[-10:] == [str(each + 1) for each in range(10)]


async def test_order_of_a_broadcast_that_is_cancelled_in_the_middle_holds_nobody_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one goes."""
    monkeypatch.setattr("trio_closeevents._turns.LENGTH", 0.0)
    async with open_websocket_pair() as one, open_websocket_pair() as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(broadcast, [one.server] * 50, "cut off"))
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await broadcast([two.server], "next")
        assert await two.client.receive() == "next"


async def test_turn_that_is_given_after_sending_loses_no_cancellation(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is cancelled in that turn has sent its message, and learns of it at its next call."""
    monkeypatch.setattr("trio_closeevents._turns.LENGTH", 0.0)
    async with open_websocket_pair() as (client, server):
        sent: list[str] = []
        async with trio.open_nursery() as nursery:

            async def send_many() -> None:
                for number in range(50):
                    await server.send(str(number))
                    sent.append(str(number))

            nursery.start_soon(send_many)
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert 0 < len(sent) < 50
        assert [await client.receive() for _ in sent] == sent
        await server.send("next")
        assert await client.receive() == "next"
