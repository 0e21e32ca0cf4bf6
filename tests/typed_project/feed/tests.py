"""The tests of the feed, with the library's helpers."""

from __future__ import annotations

from typing import assert_type

from feed.client import receive_each_way
from feed.server import subscribe
from trio_closeevents import CloseEvent, ClosePolicy, WebSocket
from trio_closeevents.testing import (
    Fault,
    FaultyStream,
    ScriptedPeer,
    assert_ended,
    assert_peer_saw,
    cancel_at_every_checkpoint,
    open_scripted_pair,
    open_websocket_pair,
)


async def test_both_sides() -> None:
    """Two ends in memory."""
    async with open_websocket_pair(max_queue=1, policy=ClosePolicy()) as (client, server):
        assert_type(client, WebSocket)
        await server.send("hello")
        await receive_each_way(client)
    event = client.close_event
    assert isinstance(event, CloseEvent)


async def say_little(peer: ScriptedPeer) -> None:
    """Be a script."""
    await peer.send(peer.close_frame(1001, "bye"))


async def test_peer() -> None:
    """A peer that does what the test says."""
    async with open_scripted_pair(say_little, role="server") as (ws, peer):
        assert_type(peer, ScriptedPeer)
        assert_type(await ws.wait_closed(), CloseEvent)
    assert_ended(ws, code=1001)
    assert_peer_saw(peer, "Close 1001", "FIN")


def break_it(stream: FaultyStream) -> FaultyStream:
    """Have a stream that breaks."""
    return FaultyStream(stream, sending=Fault(after=10, then="reset"))


HELPERS = (cancel_at_every_checkpoint, subscribe)
