"""`SocketTransport`: what a socket does that is woken for nothing, or has no names any more."""

from __future__ import annotations

import math
import socket

import pytest
import trio
import trio.testing
from tls import socket_pair

from trio_closeevents import LocallyClosed, _transport, accept
from trio_closeevents._outbox import Outbox
from trio_closeevents._transport import MUCH, SocketTransport, socket_names
from trio_closeevents.testing import ScriptedPeer


async def test_interrupt_wakes_who_waits_and_closes_nothing() -> None:
    """A reader returns without input, a writer without room; both can wait again."""
    ours, theirs = await socket_pair()
    transport, outbox = SocketTransport(ours), Outbox()
    async with theirs:
        outbox.append(bytes(50_000_000))
        transport.write_nowait(outbox)
        assert transport.try_send(b"more") == 0
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.wait_input)
                nursery.start_soon(transport.write, outbox)
                await trio.testing.wait_all_tasks_blocked()
                transport.interrupt()
        assert outbox.size > 0
        await transport.aclose()


@pytest.mark.parametrize("taken", [0, 1, 7])
async def test_first_message_of_a_turn_may_go_in_parts(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the network did not take at once goes out behind it, and before the next message."""
    ours, theirs = await socket_pair()
    peer = ScriptedPeer(theirs, client=True)
    opened = trio.Event()

    async def open_peer() -> None:
        await peer.open()
        opened.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_peer)
        async with accept(ours) as websocket:
            await opened.wait()
            transport = websocket._driver.transport
            whole = transport.try_send

            def take_some(data: bytes) -> int:
                monkeypatch.undo()
                return whole(data[:taken]) if taken else 0

            monkeypatch.setattr(transport, "try_send", take_some)
            websocket._turns.until = math.inf  # or the rest may be gone when `send` returns
            await websocket.send("a message")
            assert websocket.buffered > 0
            await websocket.send("the next")
            frames = [await peer.receive(), await peer.receive()]
            assert [frame and frame.payload for frame in frames] == [b"a message", b"the next"]
            assert websocket.buffered == 0
            websocket.abort()
    await peer.aclose()


@pytest.mark.parametrize("has_sendmsg", [True, False])
async def test_large_message_goes_out_behind_its_header(has_sendmsg: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one call, also where a socket cannot send several parts at once."""
    monkeypatch.setattr(_transport, "HAS_SENDMSG", has_sendmsg)
    ours, theirs = await socket_pair()
    transport, outbox = SocketTransport(ours), Outbox()
    async with theirs:
        outbox.put(b"header", b"x" * 10_000, 10_000)
        transport.write_nowait(outbox)
        assert outbox.size == 0
        received = b""
        while len(received) < 10_006:
            received += await theirs.receive_some()
        assert received == b"header" + b"x" * 10_000
        await transport.aclose()


async def test_connection_that_ends_in_the_last_look_before_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written on the way to waiting may end the connection: then nobody waits for its socket any more."""
    ours, theirs = await socket_pair()
    peer = ScriptedPeer(theirs, client=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open)
        async with accept(ours) as websocket:
            websocket._writer.outbox.append(b"what makes the receiver flush")
            monkeypatch.setattr(websocket._writer, "flush", websocket.abort)
            with trio.fail_after(5), pytest.raises(LocallyClosed):
                await websocket.receive()
    await peer.aclose()


async def test_names_of_a_socket_that_has_none_are_none() -> None:
    """A peer that is gone already has no address any more."""
    with socket.socket() as sock:
        local, remote = socket_names(sock)
    assert local is not None
    assert remote is None


async def test_network_that_takes_everything_does_not_hold_the_loop() -> None:
    """A write stops by itself after a while, and gives others their turn."""
    ours, theirs = await socket_pair()
    transport, outbox = SocketTransport(ours), Outbox()

    class Eager:
        def send(self, data: memoryview) -> int:
            return len(data)

    real, transport._socket = transport._socket, Eager()  # type: ignore[assignment]  # as far as it is used
    async with theirs:
        outbox.append(bytes(3 * MUCH))
        assert transport.write_nowait(outbox)
        assert outbox.size == 2 * MUCH
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.write(outbox)
        assert scope.cancelled_caught
        assert outbox.size == MUCH
        await transport.write(outbox)
        assert not outbox.size
        transport._socket = real
        await transport.aclose()
