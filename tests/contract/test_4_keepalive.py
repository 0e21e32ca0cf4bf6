"""Section 4, `fail-keepalive`, and what section 6 says of slow programs: who is silent, and who is only slow.

Over memory streams time is exact; over sockets the limits are short.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from stages import Script

from trio_closeevents import ConnectionBroken, WebSocket
from trio_closeevents.testing import PING, PONG, TEXT, ScriptedPeer

from .stage import Outcome, Stage, echo_close, end_transport, event, only_read

# Each of these waits; the two versions of TLS are the same to a clock.
pytestmark = pytest.mark.parametrize(
    "wire",
    [
        "memory",
        pytest.param("tcp", marks=[pytest.mark.once, pytest.mark.measured]),
        pytest.param("tls1.3", marks=pytest.mark.once),
    ],
    indirect=True,
)


def scaled(stage: Stage) -> tuple[float, float]:
    """Return interval and timeout for the clock of *stage*."""
    return (2.0, 2.0) if stage.wire.memory else (0.25, 0.25)


async def play(
    stage: Stage, block: Callable[[WebSocket], Awaitable[object]], script: Script, **options: Any
) -> Outcome:
    interval, timeout = scaled(stage)
    keepalive: dict[str, Any] = {"ping_interval": interval, "ping_timeout": timeout}
    return await stage.play(block, script, **keepalive | options)


def pings_before_close(stage: Stage, outcome: Outcome, count: int) -> list[bytes]:
    """Return the payloads of *count* Pings, all that came before the Close; on a busy machine about as many."""
    *pings, close = outcome.peer.frames
    assert close.opcode == 8
    assert {frame.opcode for frame in pings} == {PING}
    assert len(pings) == count if stage.wire.memory else 1 < len(pings) <= count + 2
    return [frame.payload for frame in pings]


async def read_until_broken(ws: WebSocket) -> None:
    with pytest.raises(ConnectionBroken):
        await ws.receive()


def answer_pings(delay: float = 0) -> Script:
    """Return the script of a peer that answers every Ping after *delay* seconds, and the Close."""

    async def script(peer: ScriptedPeer) -> None:
        sending = trio.Lock()
        async with trio.open_nursery() as nursery:

            async def answer(payload: bytes) -> None:
                await trio.sleep(delay)
                async with sending:
                    await peer.send(peer.frame(PONG, payload))

            while (frame := await peer.receive()) is not None:
                if frame.opcode == PING:
                    nursery.start_soon(answer, frame.payload)
                elif frame.opcode == 8:
                    async with sending:
                        await peer.send(peer.frame(8, frame.payload))
                    break
            nursery.cancel_scope.cancel()
        await end_transport(peer)

    return script


async def test_fail_keepalive_sends_1011(stage: Stage) -> None:
    """A peer that sends nothing at all for ping_timeout after our Ping is given up."""
    began = 0.0
    took = 0.0

    async def block(ws: WebSocket) -> None:
        nonlocal began, took
        began = trio.current_time()
        await read_until_broken(ws)
        took = trio.current_time() - began

    outcome = await play(stage, block, only_read)
    interval, timeout = scaled(stage)
    assert [frame.opcode for frame in outcome.peer.frames] == [PING, 8]
    assert outcome.peer.record[1:] == ["Close 1011 'keepalive timeout'", "FIN"]
    assert outcome.event is not None
    assert outcome.event.sent is not None
    assert outcome.event == event(1006, "keepalive_timeout", "local", sent=outcome.event.sent)
    assert (outcome.event.sent.code, outcome.event.sent.reason) == (1011, "keepalive timeout")
    assert interval + timeout - 0.05 <= took <= interval + timeout + stage.wire.tolerance


async def test_fail_keepalive_while_nobody_receives(stage: Stage) -> None:
    """The connection is watched although its program is busy elsewhere."""

    async def block(ws: WebSocket) -> None:
        await ws.wait_closed()

    outcome = await play(stage, block, only_read)
    assert outcome.event is not None
    assert outcome.event.cause == "keepalive_timeout"


async def test_fail_keepalive_wakes_everyone(stage: Stage) -> None:
    """A ping and a receive that wait end with the connection."""

    async def block(ws: WebSocket) -> None:
        async def ping() -> None:
            with pytest.raises(ConnectionBroken):
                await ws.ping()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            nursery.start_soon(read_until_broken, ws)

    outcome = await play(stage, block, only_read)
    assert outcome.event is not None
    assert outcome.event.cause == "keepalive_timeout"


async def test_keepalive_is_content_with_pongs(stage: Stage) -> None:
    """A peer that answers stays, for many intervals; `latency` is set then."""

    async def block(ws: WebSocket) -> None:
        assert ws.latency is None
        with trio.move_on_after(scaled(stage)[0] * 5.5):
            await ws.receive()
        assert ws.latency is not None
        assert 0 <= ws.latency <= stage.wire.tolerance

    outcome = await play(stage, block, answer_pings())
    pings = pings_before_close(stage, outcome, 5)
    assert len(set(pings)) == len(pings)
    assert outcome.event == event(1000, "exit", "local", clean=True, sent=1000, received=1000)


async def test_keepalive_is_content_with_any_byte(stage: Stage) -> None:
    """Half of a frame, byte by byte, is a sign of life; no Pong ever comes."""
    interval, timeout = scaled(stage)

    async def script(peer: ScriptedPeer) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo_close, peer)
            for byte in peer.frame(TEXT, b"hello")[:-1]:
                await peer.send(bytes([byte]))
                await trio.sleep(timeout / 2)

    async def block(ws: WebSocket) -> None:
        with trio.move_on_after(interval + 2.2 * timeout):
            await ws.receive()
        assert ws.latency is None

    outcome = await play(stage, block, script)
    assert outcome.event is not None
    assert outcome.event.cause == "exit"


async def test_keepalive_allows_round_trips_longer_than_the_interval(stage: Stage) -> None:
    """Several Pings are under way then, and their Pongs are matched."""
    interval, _ = scaled(stage)
    delay = interval * 2.5

    async def block(ws: WebSocket) -> None:
        with trio.move_on_after(interval * 8.2):
            await ws.receive()
        assert ws.latency is not None
        assert delay <= ws.latency <= delay + stage.wire.tolerance

    outcome = await play(stage, block, answer_pings(delay), ping_timeout=interval * 4)
    pings_before_close(stage, outcome, 8)
    assert outcome.event is not None
    assert outcome.event.cause == "exit"


@pytest.mark.parametrize("options", [{"ping_interval": None}, {"ping_timeout": None}])
async def test_keepalive_off(stage: Stage, options: dict[str, None]) -> None:
    """Without an interval no Ping is sent; without a timeout nothing comes of it."""
    interval, timeout = scaled(stage)

    async def block(ws: WebSocket) -> None:
        with trio.move_on_after(interval + timeout * 2.5):
            await ws.receive()

    outcome = await play(stage, block, echo_close, **options)
    assert outcome.event is not None
    assert outcome.event.cause == "exit"
    assert bool(outcome.peer.frames[:-1]) is ("ping_interval" not in options)


async def test_keepalive_clock_stands_while_the_program_lags_behind(stage: Stage) -> None:
    """With a full queue nothing is read, so nothing can be heard; then the clock goes on where it stood."""
    interval, timeout = scaled(stage)

    async def script(peer: ScriptedPeer) -> None:
        for text in (b"one", b"two", b"three"):
            await peer.send(peer.frame(TEXT, text))
        await answer_pings()(peer)

    async def block(ws: WebSocket) -> None:
        await trio.sleep(interval + timeout * 4)
        for text in ("one", "two", "three"):
            assert await ws.receive() == text
        with trio.move_on_after(interval * 2.2):
            await ws.receive()

    outcome = await play(stage, block, script, max_queue=1)
    assert outcome.event is not None
    assert outcome.event.cause == "exit"


async def test_fail_keepalive_after_the_program_has_caught_up(stage: Stage) -> None:
    """The rest of the limit is what a silent peer still has: no more and no less."""
    interval, timeout = scaled(stage)
    caught_up = failed = 0.0

    async def script(peer: ScriptedPeer) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.drain)
            await trio.sleep(interval + timeout / 2)  # half of the limit has passed
            await peer.send(*[peer.frame(TEXT, b"x")] * 2)

    async def block(ws: WebSocket) -> None:
        nonlocal caught_up, failed
        await trio.sleep(interval + timeout * 4)
        await ws.receive()
        await ws.receive()
        caught_up = trio.current_time()
        await read_until_broken(ws)
        failed = trio.current_time()

    outcome = await play(stage, block, script, max_queue=1, ping_interval=interval)
    assert outcome.event is not None
    assert outcome.event.cause == "keepalive_timeout"
    assert 0 < failed - caught_up <= interval + timeout + stage.wire.tolerance


async def test_keepalive_sends_nothing_after_our_close(stage: Stage) -> None:
    """A closing handshake that takes long is not disturbed."""
    interval, _ = scaled(stage)

    async def script(peer: ScriptedPeer) -> None:
        close = await peer.receive_close()
        await trio.sleep(interval * 3)
        assert close is not None
        await peer.send(peer.frame(8, close.payload))
        await end_transport(peer)

    async def block(ws: WebSocket) -> None:
        await ws.aclose(4000)

    outcome = await play(stage, block, script, close_timeout=interval * 4)
    assert outcome.peer.record == ["Close 4000", "FIN"]


async def test_keepalive_has_no_limit_after_our_close(stage: Stage) -> None:
    """A Ping without an answer does not shorten the closing handshake: the peer has close_timeout for that."""
    interval, timeout = scaled(stage)

    async def script(peer: ScriptedPeer) -> None:
        close = await peer.receive_close()
        await trio.sleep(timeout * 2)
        assert close is not None
        await peer.send(peer.frame(8, close.payload))
        await end_transport(peer)

    async def block(ws: WebSocket) -> None:
        await trio.sleep(interval + timeout / 2)

    outcome = await play(stage, block, script, close_timeout=interval + timeout * 4)
    assert outcome.event == event(1000, "exit", "local", clean=True, sent=1000, received=1000)


async def test_keepalive_remembers_only_so_many_pings(stage: Stage) -> None:
    """A peer that talks and never answers a Ping costs no memory."""
    interval = 1.0 if stage.wire.memory else 0.02

    async def script(peer: ScriptedPeer) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo_close, peer)
            for _ in range(30):
                await peer.send(peer.frame(TEXT, b"x"))
                await trio.sleep(interval)

    async def block(ws: WebSocket) -> None:
        for _ in range(30):
            await ws.receive()
        assert len(ws._driver.pings) <= 16

    outcome = await play(stage, block, script, ping_interval=interval, ping_timeout=None)
    assert sum(frame.opcode == PING for frame in outcome.peer.frames) > 16


async def test_pings_are_answered_while_the_program_is_busy(stage: Stage) -> None:
    """Up to the limit of what is read ahead, the peer's own keepalive is content."""
    done = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        for number in range(10):
            await peer.send(peer.frame(TEXT, b"x"), peer.frame(PING, b"%d" % number))
            pong = await peer.receive()
            assert pong is not None
            assert (pong.opcode, pong.payload) == (PONG, b"%d" % number)
        done.set()
        await echo_close(peer)

    async def block(ws: WebSocket) -> None:
        await done.wait()

    await play(stage, block, script, ping_interval=None)  # a slow machine must not slip in a Ping of ours
