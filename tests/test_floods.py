"""Peers that never stop talking, or never listen: they cost us no more than the limit, and others nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import thread_time
from typing import Final

import pytest
import trio
import trio.testing
from nasty import (
    GIVE_UP,
    LIMIT,
    MARGIN,
    PATIENCE,
    NastyPeer,
    Return,
    Script,
    Stage,
    closed,
    connected,
    each_ending,
    mid_request,
    mid_tls,
    secured,
)
from tls import HOST, Wire

from trio_closeevents import ConnectionClosed, WebSocket, connect, open_server
from trio_closeevents._writer import HIGH_WATER
from trio_closeevents.testing import BINARY, CONTINUATION, PING, PONG, TEXT, Frame

pytestmark = pytest.mark.once

# -- a flood -----------------------------------------------------------------------------------------------------------

FLOODS: Final[dict[str, Callable[[NastyPeer], bytes]]] = {
    "64 KiB frames": lambda peer: peer.frame(BINARY, bytes(2**16)),
    "empty frames": lambda peer: peer.frame(TEXT) * (2**16 // len(peer.frame(TEXT))),
    "pings": lambda peer: peer.frame(PING, bytes(125)) * 2**5,
}


class Flood:
    """Sends the same over and over, never reads, and stops when our side is gone.

    Attributes:
        running: set when it has sent *enough* bytes.
    """

    def __init__(self, make: Callable[[NastyPeer], bytes], enough: int) -> None:
        self.running = trio.Event()
        self._make = make
        self._enough = enough

    async def __call__(self, peer: NastyPeer) -> None:
        await peer.open()
        piece, sent = self._make(peer), 0
        try:
            while not peer.stopped:
                await peer.stream.send_all(piece)
                sent += len(piece)
                if sent > self._enough:
                    self.running.set()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.running.set()

    async def wait_running(self, ws: WebSocket) -> None:
        await self.running.wait()


@each_ending
@pytest.mark.parametrize("make", FLOODS.values(), ids=FLOODS.keys())
async def test_close_survives_a_flood(stage: Stage, ending: type[Return], make: Callable[[NastyPeer], bytes]) -> None:
    """A peer that floods and never reads keeps us no longer than the limit, and finds our Close when it does read."""
    flood = Flood(make, enough=2**14)  # fewer Pings than make Pongs that fill the way before our Close
    end = ending(flood.wait_running)
    outcome = await stage.play(flood, end, scope=end.scope, **end.limits)

    assert outcome.seconds < LIMIT + MARGIN
    assert outcome.event == closed(1006, "local", end.cause, sent=end.frame)
    with trio.fail_after(GIVE_UP):
        close = await outcome.peer.receive_close()
    assert close is not None
    assert close.code == end.frame.code
    assert {each.opcode for each in outcome.peer.frames[:-1]} <= {PONG}


# -- a peer that does not read -----------------------------------------------------------------------------------------

BIG: Final = 8 * 2**20


@each_ending
async def test_half_a_frame_has_no_close_inside(stage: Stage, ending: type[Return]) -> None:
    """A frame that the peer does not read is cut off at the limit, with no Close frame in it: sent is None."""
    failures: list[Exception] = []

    async def send(ws: WebSocket) -> None:
        try:
            await ws.send(bytes(BIG))
        except ConnectionClosed as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:

        async def block_the_wire(ws: WebSocket) -> None:
            nursery.start_soon(send, ws)
            await trio.testing.wait_all_tasks_blocked()
            assert ws.buffered

        end = ending(block_the_wire)
        outcome = await stage.play(NastyPeer.open, end, scope=end.scope, small_buffers=True, **end.limits)

    assert LIMIT - 0.05 < outcome.seconds < LIMIT + MARGIN
    assert outcome.event == closed(1006, "transport", end.cause)
    assert [type(each).__name__ for each in failures] == ["LocallyClosed"]
    with trio.fail_after(GIVE_UP):
        data = await outcome.peer.read_rest()
    head = 14 if stage.role == "client" else 10
    key = data[10:head] or bytes(4)
    assert data[:2] == bytes([0x82, 0xFF if stage.role == "client" else 0x7F])
    assert int.from_bytes(data[2:10]) == BIG
    assert data[head:] == (key * (len(data) // 4 + 1))[: len(data) - head]


@each_ending
async def test_pings_whose_pongs_are_not_read_take_bounded_memory(stage: Stage, ending: type[Return]) -> None:
    """However many Pings a peer sends that reads no Pong, the Pongs for it do not pile up; the ending is bounded."""
    flood = Flood(lambda peer: peer.frame(PING, bytes(125)) * 50, enough=2**21)
    most = 0

    async def watch(ws: WebSocket) -> None:
        nonlocal most
        while not flood.running.is_set():
            most = max(most, ws._driver.writer.outbox.size)
            await trio.lowlevel.checkpoint()
        assert ws.close_event is None

    end = ending(watch)
    outcome = await stage.play(flood, end, scope=end.scope, small_buffers=True, **end.limits)

    assert HIGH_WATER // 2 < most < 2 * HIGH_WATER
    assert outcome.seconds < LIMIT + MARGIN
    assert outcome.event == closed(1006, "transport", end.cause)
    with trio.fail_after(GIVE_UP):
        await outcome.peer.drain()
    assert set(outcome.peer.frames) == {Frame(PONG, bytes(125))}


# -- the others --------------------------------------------------------------------------------------------------------

STORMS: Final[dict[str, Callable[[NastyPeer], bytes]]] = FLOODS | {
    "empty pings": lambda peer: peer.frame(PING) * 2**15,
    "empty fragments": lambda peer: peer.frame(BINARY, fin=False) + peer.frame(CONTINUATION, fin=False) * 2**15,
}


@pytest.mark.parametrize("wire", ["plain"], indirect=True)  # TLS hands over less at once
@pytest.mark.parametrize("make", STORMS.values(), ids=STORMS.keys())
@pytest.mark.parametrize("moment", ["open", "leaving", "closing"])
async def test_flood_does_not_hold_up_others(stage: Stage, make: Callable[[NastyPeer], bytes], moment: str) -> None:
    """Other tasks get their turns, whatever a peer floods us with while we read, when we leave, or behind our Close."""
    worst = 0.0
    over, first_part_sent = trio.Event(), trio.Event()

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        if moment == "closing":
            await peer.receive_close()
        flood = make(peer)
        await peer.send(flood[: 2**15], label="flood")
        first_part_sent.set()
        await peer.send(flood[2**15 :] + peer.close_frame(4000, "bye"), label="flood")
        await peer.fin()

    async def block(ws: WebSocket) -> None:
        if moment == "open":
            for _ in range(1000):
                await ws.receive()
        elif moment == "leaving":
            await first_part_sent.wait()
            for _ in range(20):
                await trio.lowlevel.checkpoint()

    async def tick() -> None:
        nonlocal worst
        before = thread_time()  # CPU time, so that a busy machine does not count
        while not over.is_set():
            await trio.lowlevel.checkpoint()
            worst = max(worst, thread_time() - before)
            before = thread_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        outcome = await stage.play(script, block)
        over.set()

    assert outcome.event.code == 4000
    assert worst < 0.4


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


class Regular:
    """A well-behaved client, which asks after its server when somebody else has misbehaved."""

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws
        self._turn = trio.Lock()
        self.answers = 0

    async def ask(self) -> None:
        async with self._turn:
            with trio.fail_after(PATIENCE):
                await self._ws.send("how are you?")
                assert await self._ws.receive() == "how are you?"
            self.answers += 1


async def hit_and_run(peer: NastyPeer) -> None:
    peer.reset_now()


async def talk_nonsense(peer: NastyPeer) -> None:
    await peer.secure()
    await peer.stream.send_all(bytes(range(256)) * 10)
    await peer.read_rest()


async def break_a_rule(peer: NastyPeer) -> None:
    await peer.open()
    await peer.stream.send_all(b"\xff\xff" * 10)
    await peer.read_rest()


def then_reset(reach: Script) -> Script:
    async def script(peer: NastyPeer) -> None:
        await reach(peer)
        peer.reset_now()

    return script


def then_silence(reach: Script) -> Script:
    async def script(peer: NastyPeer) -> None:
        await reach(peer)
        await peer.read_rest()

    return script


def storm(make: Callable[[NastyPeer], bytes]) -> Script:
    async def script(peer: NastyPeer) -> None:
        await peer.open()
        piece = make(peer)
        with trio.move_on_after(LIMIT):
            while True:
                await peer.send(piece, label="flood")
        peer.reset_now()

    return script


async def half_a_frame(peer: NastyPeer) -> None:
    await peer.open()
    await peer.stream.send_all(peer.half_a_frame())


async def close_first(peer: NastyPeer) -> None:
    await peer.open(behind=peer.close_frame(4000, "bye"))


NASTY: Final[list[Script]] = [
    *[hit_and_run] * 20,
    *(then_reset(reach) for reach in (connected, mid_tls, secured, mid_request, NastyPeer.open)),
    *(then_reset(reach) for reach in (half_a_frame, close_first)),
    *(then_silence(reach) for reach in (connected, mid_tls, secured, mid_request, close_first)),
    *(storm(make) for make in STORMS.values()),
    talk_nonsense,
    break_a_rule,
]


async def test_server_keeps_serving_others(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    """While peers misbehave in all these ways at once, one that does not is served, and nothing of them remains."""
    caplog.set_level(logging.WARNING)
    context = wire.server_ssl_context

    async def visit(script: Script, regular: Regular) -> None:
        tcp = await trio.open_tcp_stream(HOST, server.port)
        peer = NastyPeer(tcp, client=True, wire=wire)
        try:
            await script(peer)
            await regular.ask()
        finally:
            await trio.aclose_forcefully(tcp)

    with trio.fail_after(GIVE_UP):
        async with open_server(
            echo, HOST, 0, ssl_context=context, open_timeout=2, close_timeout=LIMIT, cancel_timeout=LIMIT
        ) as server:
            async with connect(wire.url(server.port), ssl_context=wire.client_ssl_context) as ws:
                regular = Regular(ws)
                async with trio.open_nursery() as nursery:
                    for script in NASTY:
                        nursery.start_soon(visit, script, regular)
                while len(server.connections) > 1:
                    await trio.lowlevel.checkpoint()
                await regular.ask()

    assert regular.answers == len(NASTY) + 1
    assert caplog.records == []
