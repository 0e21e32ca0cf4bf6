"""Section 5: the transport died. (That it never lived is in the tests of the opening handshake.)"""

from __future__ import annotations

import pytest
import trio

from trio_closeevents import ConnectionBroken, ReadyState, WebSocket
from trio_closeevents.testing import TEXT, ScriptedPeer

from .stage import Stage, event


async def read_all_until_broken(ws: WebSocket) -> None:
    assert [await ws.receive() for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(ConnectionBroken) as raised:
        await ws.receive()
    assert raised.value.event is ws.close_event is not None


async def late(ws: WebSocket) -> None:
    await ws.wait_closed()
    await read_all_until_broken(ws)


def three_messages(peer: ScriptedPeer) -> bytes:
    return b"".join(peer.frame(TEXT, b"%d" % number) for number in range(3))


@pytest.mark.parametrize("block", [read_all_until_broken, late])
@pytest.mark.parametrize("tail", [b"", b"\x81"], ids=["between-frames", "inside-a-frame"])
async def test_transport_eof(stage: Stage, block: object, tail: bytes) -> None:
    """FIN without any Close: the messages first, then 1006, `transport`, cause eof; on TLS without close_notify."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(three_messages(peer), tail)
        await peer.fin()
        await peer.drain()
        await peer.aclose()

    outcome = await stage.play(block, script)  # type: ignore[arg-type]
    assert outcome.event == event(1006, "eof", "transport")
    assert outcome.peer.frames == []
    assert stage.was_quick(outcome)


async def test_transport_eof_with_close_notify(stage: Stage) -> None:
    """On TLS an end in order is no Close frame either."""
    if stage.wire.tls is None:
        pytest.skip("only TLS has a close_notify")

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(three_messages(peer))
        await peer.stream.aclose()

    outcome = await stage.play(read_all_until_broken, script)
    assert outcome.event == event(1006, "eof", "transport")


@pytest.mark.parametrize("waits", ["in receive", "elsewhere"])
async def test_transport_reset(stage: Stage, waits: str) -> None:
    """RST without any Close: 1006, cause reset, and the error is the `__cause__` of what receive() raises."""

    async def block(ws: WebSocket) -> None:
        assert await ws.receive() == "0"
        go_on.set()
        if waits == "elsewhere":
            await ws.wait_closed()
        with pytest.raises(ConnectionBroken) as raised:
            await ws.receive()
        assert isinstance(raised.value.__cause__, OSError | trio.BrokenResourceError)
        with pytest.raises(ConnectionBroken):
            await ws.send("x")

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, b"0"))
        await go_on.wait()
        await peer.reset()

    if stage.wire.memory:
        pytest.skip("memory has no RST: see FIN")
    outcome = await stage.play(block, script)
    assert outcome.event == event(1006, "reset", "transport")
    assert outcome.ws.state is ReadyState.CLOSED


async def test_transport_lost_under_a_send(stage: Stage) -> None:
    """A failed write is not the end: what the peer had sent is read first, a Close behind a full queue too."""
    if stage.wire.memory:
        pytest.skip("memory takes everything")

    async def block(ws: WebSocket) -> None:
        await trio.sleep(0.1)
        with pytest.raises(ConnectionBroken):
            while True:
                await ws.send(bytes(100_000))
        assert [await ws.receive() for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(ConnectionBroken):
            await ws.receive()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(three_messages(peer), peer.close_frame(4002))
        await peer.aclose()

    outcome = await stage.play(block, script, max_queue=1)
    assert outcome.event == event(4002, "remote", "remote", received=4002)


async def test_transport_that_breaks_under_a_full_queue_is_noticed_by_a_write(stage: Stage) -> None:
    """While the queue is full nothing of the peer is seen; a failed write lifts that."""
    if stage.wire.memory:
        pytest.skip("memory takes everything")

    async def block(ws: WebSocket) -> None:
        await trio.sleep(0.1)
        assert ws.close_event is None  # FIN stands behind the queue
        with pytest.raises(ConnectionBroken):
            while True:
                await ws.send(bytes(100_000))
        assert ws.close_event is not None
        assert len([message async for message in ws.events()]) == 101

    async def script(peer: ScriptedPeer) -> None:
        for number in range(100):
            await peer.send(peer.frame(TEXT, b"%d" % number))
        await peer.aclose()

    outcome = await stage.play(block, script, max_queue=2)
    assert outcome.event is not None
    assert outcome.event.initiated_by == "transport"
