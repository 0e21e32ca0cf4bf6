"""`SocketTransport`: what a socket does that is woken for nothing, or has no names any more."""

from __future__ import annotations

import socket

import trio
import trio.testing

from trio_closeevents._outbox import Outbox
from trio_closeevents._transport import SocketTransport, socket_names


async def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        return await trio.testing.open_stream_to_socket_listener(listener), await listener.accept()


async def test_interrupt_wakes_who_waits_and_closes_nothing() -> None:
    """A reader returns without input, a writer without room; both can wait again."""
    ours, theirs = await socket_pair()
    transport, outbox = SocketTransport(ours), Outbox()
    async with theirs:
        outbox.append(bytes(50_000_000))
        transport.write_nowait(outbox)
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.wait_input)
                nursery.start_soon(transport.write, outbox)
                await trio.testing.wait_all_tasks_blocked()
                transport.interrupt()
        assert outbox.size > 0
        await transport.aclose()


async def test_names_of_a_socket_that_has_none_are_none() -> None:
    """A peer that is gone already has no address any more."""
    with socket.socket() as sock:
        local, remote = socket_names(sock)
    assert local is not None
    assert remote is None
