"""The assertions say what was wrong, and show what travelled."""

from __future__ import annotations

import re
from inspect import signature
from typing import Any

import pytest
import trio
import trio.testing

from trio_closeevents import CloseCause, CloseEvent, CloseFrame, accept, connect
from trio_closeevents.testing import (
    TEXT,
    Frame,
    PeerPair,
    ScriptedPeer,
    assert_ended,
    assert_peer_saw,
    open_scripted_pair,
    open_websocket_pair,
)

AS_IT_IS: dict[str, Any] = {
    "reason": "bye",
    "cause": "closed",
    "was_clean": True,
    "initiated_by": "local",
    "sent": 4000,
    "received": CloseFrame(4000, "bye"),
}
WRONG: dict[str, tuple[Any, str]] = {
    "reason": ("", "reason is bye, not "),
    "cause": ("exit", "cause is closed, not exit"),
    "was_clean": (False, "was_clean is True, not False"),
    "initiated_by": ("remote", "initiated_by is local, not remote"),
    "sent": (None, "sent is 4000 'bye', not None"),
    "received": (4001, "received is 4000 'bye', not 4001"),
}


async def closed() -> PeerPair:
    async with open_scripted_pair(ScriptedPeer.be_polite) as pair:
        await pair.websocket.aclose(4000, "bye")
    return pair


def told(caught: pytest.ExceptionInfo[AssertionError]) -> str:
    """Return the message without the connection's id."""
    return re.sub(r" [0-9a-f]{8} ", " ID ", str(caught.value))


async def test_assert_ended_as_it_is_returns_the_event() -> None:
    """Everything is compared, or only the code; a Close frame may be given as its code, or whole."""
    websocket, _ = await closed()
    event = assert_ended(websocket, 4000, **AS_IT_IS)
    assert isinstance(event, CloseEvent)
    assert event is websocket.close_event
    assert assert_ended(websocket, 4000, sent=CloseFrame(4000, "bye"), cause=CloseCause.CLOSED) is event


@pytest.mark.parametrize("name", WRONG)
async def test_assert_ended_looks_at_every_field(name: str) -> None:
    """One wrong field is told, and no other."""
    websocket, _ = await closed()
    value, words = WRONG[name]
    with pytest.raises(AssertionError) as caught:
        assert_ended(websocket, 4000, **AS_IT_IS | {name: value})
    assert str(caught.value).split("ended otherwise: ")[1].split("\n")[0] == words


async def test_assert_ended_tells_all_that_is_wrong_and_draws() -> None:
    """The whole message."""
    websocket, _ = await closed()
    with pytest.raises(AssertionError) as caught:
        assert_ended(websocket, 1000, cause="exit", sent=None)
    assert told(caught) == (
        "<WebSocket client / ID CLOSED, 4000 applications, private use 'bye', after we sent 4000 'bye': closed> "
        "ended otherwise: code is 4000, not 1000; cause is closed, not exit; sent is 4000 'bye', not None\n"
        "\n"
        "we                    the peer\n"
        " │── Close 4000 'bye' ───>│\n"
        " │<─── Close 4000 'bye' ──│\n"
        " │<──────────────── FIN ──│\n"
        " │── FIN ────────────────>│"
    )


@pytest.mark.parametrize("side", ["client", "server"])
async def test_assert_ended_draws_a_pair_with_the_client_on_the_left(side: str) -> None:
    """Whichever side is asked about."""
    async with open_websocket_pair() as pair:
        await pair.client.send("hi")
        await pair.server.receive()
        websocket = pair.client if side == "client" else pair.server
        with pytest.raises(AssertionError) as caught:
            assert_ended(websocket, 1000)
    assert told(caught) == (
        f"<WebSocket {side} / ID OPEN> has not ended\n\nclient                   server\n   │── Text b'hi' ─────────>│"
    )


async def test_assert_ended_of_any_other_connection_has_no_diagram() -> None:
    """Nobody has watched it."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            async with accept(theirs) as websocket:
                await websocket.wait_closed()

        async with connect("ws://localhost/", stream=ours) as websocket:
            with pytest.raises(AssertionError) as caught:
                assert_ended(websocket, 1000)
    assert told(caught) == "<WebSocket client / ID OPEN> has not ended"
    with pytest.raises(AssertionError, match=r"ended otherwise: code is 1000, not 1001$"):
        assert_ended(websocket, 1001)


def test_assert_ended_shows_in_its_signature_what_is_not_looked_at() -> None:
    """`None` is a value of `sent` and `received`: no frame."""
    assert str(signature(assert_ended).parameters["sent"]).endswith(" = anything")


async def test_assert_peer_saw_takes_frames_and_words() -> None:
    """All of them in order, and the end of the transport; nothing is nothing."""
    async with open_scripted_pair() as (websocket, peer):
        assert_peer_saw(peer)
        await websocket.send("hi")
        await peer.receive()
        assert_peer_saw(peer, "Text b'hi'")
        assert_peer_saw(peer, Frame(TEXT, b"hi"))
        await peer.reset()


async def test_assert_peer_saw_tells_both_and_draws() -> None:
    """What it saw, what was expected, and what travelled."""
    async with open_scripted_pair() as (websocket, peer):
        with pytest.raises(AssertionError) as nothing:
            assert_peer_saw(peer, Frame(TEXT, b"hi"), "FIN")
        await websocket.send("hi")
        await peer.receive()
        with pytest.raises(AssertionError) as something:
            assert_peer_saw(peer)
        await peer.reset()
    assert told(nothing) == "the peer saw nothing, not Text b'hi', FIN\n\nwe                    the peer"
    assert told(something) == (
        "the peer saw Text b'hi', not nothing\n\nwe                    the peer\n │── Text b'hi' ─────────>│"
    )
