"""What docs/coming_from_websockets.rst says of the end of a connection, beside the tables: in websockets, and here."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest
import trio
import trio.testing
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ProtocolError,
)

import trio_closeevents
from trio_closeevents import (
    ConnectionBroken,
    LocallyClosed,
)
from trio_closeevents.testing import CLOSE, PING, PONG, TEXT, ScriptedPeer

from .libraries import connect, connect_asyncio, connect_trio
from .witness import cancel_in_the_middle, on_asyncio, play

pytestmark = pytest.mark.once  # websockets leans on private names of trio, which older versions do not have

NORMAL: Final = (1000).to_bytes(2)
BIG: Final = bytes(8_000_000)  # more than the kernel takes


async def test_iteration_when_this_side_has_closed() -> None:
    """There it ends; here it raises, and `events()` ends."""

    @on_asyncio
    async def on_the_first(url: str) -> list[object]:
        async with connect_asyncio(url) as ws:
            await ws.close()
            return [message async for message in ws]

    async def on_the_second(url: str) -> list[object]:
        async with connect_trio(url) as ws:
            await ws.aclose()
            return [message async for message in ws]

    async def here(url: str) -> list[object]:
        async with connect(url) as ws:
            await ws.aclose()
            with pytest.raises(LocallyClosed):
                async for _ in ws:
                    pass
            return [event async for event in ws.events()]

    assert await play(on_the_first, ScriptedPeer.be_polite) == []
    assert await play(on_the_second, ScriptedPeer.be_polite) == []
    (event,) = await play(here, ScriptedPeer.be_polite)
    assert isinstance(event, trio_closeevents.CloseEvent)


async def close_first(peer: ScriptedPeer) -> None:
    await peer.send(peer.frame(CLOSE, NORMAL))
    await peer.receive_close()
    await peer.fin()
    await peer.drain()


async def test_send_when_the_peer_has_closed() -> None:
    """With 1000, which is fine there."""

    @on_asyncio
    async def on_the_first(url: str) -> None:
        async with connect_asyncio(url) as ws:
            await ws.wait_closed()
            with pytest.raises(ConnectionClosedOK):
                await ws.send("late")

    async def on_the_second(url: str) -> None:
        async with connect_trio(url) as ws:
            await ws.wait_closed()
            with pytest.raises(ConnectionClosedOK):
                await ws.send("late")

    async def here(url: str) -> None:
        async with connect(url) as ws:
            await ws.wait_closed()
            with pytest.raises(ConnectionBroken):
                await ws.send("late")

    for program in (on_the_first, on_the_second, here):
        await play(program, close_first)


async def test_code_of_a_close_that_nobody_answers() -> None:
    """1006 in all of them; what was sent is in the exception there, and in the event here."""

    @on_asyncio
    async def on_the_first(url: str) -> tuple[int | None, Any]:
        async with connect_asyncio(url, close_timeout=0.2) as ws:
            await ws.close(4000)
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            return ws.close_code, caught.value.sent

    async def on_the_second(url: str) -> tuple[int | None, Any]:
        async with connect_trio(url, close_timeout=0.2) as ws:
            await ws.aclose(4000)
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            return ws.close_code, caught.value.sent

    async def here(url: str) -> tuple[int | None, Any]:
        async with connect(url, close_timeout=0.2) as ws:
            await ws.aclose(4000)
        assert ws.close_event is not None
        return ws.close_event.code, ws.close_event.sent

    for program in (on_the_first, on_the_second, here):
        code, sent = await play(program, ScriptedPeer.drain)
        assert (code, sent.code) == (1006, 4000)


async def test_code_that_may_not_be_sent() -> None:
    """Three answers; only here is the connection as it was."""
    peers: list[ScriptedPeer] = []

    async def remember(peer: ScriptedPeer) -> None:
        peers.append(peer)
        await peer.be_polite()

    @on_asyncio
    async def on_the_first(url: str) -> None:
        async with connect_asyncio(url) as ws:
            with pytest.raises(ProtocolError):
                await ws.close(1005)

    async def on_the_second(url: str) -> None:
        async with connect_trio(url) as ws:
            await ws.aclose(1005)

    async def here(url: str) -> None:
        async with connect(url) as ws:
            with pytest.raises(ValueError, match="1005"):
                await ws.aclose(1005)
            await ws.send("still open")

    for program in (on_the_first, on_the_second, here):
        await play(program, remember)
    assert [peer.record for peer in peers] == [
        ["Close 1000", "FIN"],
        ["FIN"],
        ["Text b'still open'", "Close 1000", "FIN"],
    ]


async def test_send_is_cancelled_in_the_middle() -> None:
    """While the peer does not read. Then another message is sent, and the peer reads."""
    peers: list[ScriptedPeer] = []

    async def read_late(peer: ScriptedPeer) -> None:
        peers.append(peer)
        await may_read.wait()
        await peer.be_polite()

    @on_asyncio
    async def on_the_first(url: str) -> None:
        async with connect_asyncio(url, compression=None) as ws:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await ws.send(BIG)
            trio.from_thread.run_sync(may_read.set)
            await ws.send("after")

    async def on_the_second(url: str) -> None:
        async with connect_trio(url, compression=None, close_timeout=0.5) as ws:
            await cancel_in_the_middle(ws.send, BIG)
            may_read.set()
            await ws.send("after")

    async def here(url: str) -> None:
        async with connect(url) as ws:
            await cancel_in_the_middle(ws.send, BIG)
            may_read.set()
            await ws.send("after")

    for program in (on_the_first, on_the_second, here):
        may_read = trio.Event()
        await play(program, read_late)
    first, second, third = peers
    assert first.record == third.record == [f"Binary of {len(BIG)} B", "Text b'after'", "Close 1000", "FIN"]
    assert second.record == ["FIN"]
    assert second.unread[:10] == b"\x82\xff" + len(BIG).to_bytes(8)
    assert len(second.unread) < len(BIG)
    head, key, text = second.unread[-19:-17], second.unread[-17:-13], second.unread[-13:-8]  # a Close is behind it
    assert head == b"\x81\x85"
    assert bytes(a ^ b for a, b in zip(text, key + key, strict=False)) == b"after"


async def test_ping_waits_when_the_connection_ends() -> None:
    """The peer answers it with a Close."""

    async def answer_with_a_close(peer: ScriptedPeer) -> None:
        assert (received := await peer.receive()) is not None
        assert received.opcode == PING
        await close_first(peer)

    @on_asyncio
    async def on_the_first(url: str) -> None:
        async with connect_asyncio(url) as ws:
            with pytest.raises(ConnectionClosed):
                await (await ws.ping())

    async def on_the_second(url: str) -> None:
        async with connect_trio(url) as ws:
            pong_received = await ws.ping()
            await ws.wait_closed()
            await trio.testing.wait_all_tasks_blocked()
            assert not pong_received.is_set()

    async def here(url: str) -> None:
        async with connect(url) as ws:
            with pytest.raises(ConnectionBroken):
                await ws.ping()

    for program in (on_the_first, on_the_second, here):
        await play(program, answer_with_a_close)


async def test_slow_program_has_a_live_peer() -> None:
    """It takes 40 ms for each of eighty messages, and the peer answers every Ping at once."""
    peers: list[ScriptedPeer] = []
    limits: dict[str, Any] = {"ping_interval": 0.5, "ping_timeout": 0.4, "max_queue": 16, "close_timeout": 0.5}

    async def send_and_answer(peer: ScriptedPeer) -> None:
        peers.append(peer)
        for _ in range(80):
            await peer.send(peer.frame(TEXT, b"message"))
        while (received := await peer.receive()) is not None and received.opcode != CLOSE:
            await peer.send(peer.frame(PONG, received.payload))
        await peer.fin()
        await peer.drain()

    @on_asyncio
    async def on_the_first(url: str) -> None:
        async with connect_asyncio(url, **limits) as ws:
            with pytest.raises(ConnectionClosedError):
                async for _ in ws:
                    await asyncio.sleep(0.04)

    async def on_the_second(url: str) -> None:
        with trio.CancelScope() as scope:
            async with connect_trio(url, **limits) as ws:
                with pytest.raises(ConnectionClosedError):
                    async for _ in ws:
                        await trio.sleep(0.04)
                scope.cancel()  # or this would not end, with messages that were not received

    async def here(url: str) -> None:
        async with connect(url, **limits) as ws:
            for _ in range(80):
                await ws.receive()
                await trio.sleep(0.04)

    for program in (on_the_first, on_the_second, here):
        await play(program, send_and_answer)
    codes = [peer.close.code if peer.close is not None else None for peer in peers]
    assert codes == [1011, 1011, 1000]
