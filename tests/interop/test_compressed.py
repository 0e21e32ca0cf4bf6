"""Compression with other libraries, which have an implementation of their own."""

from __future__ import annotations

from typing import Any, Final

import pytest
from tls import Wire

from trio_closeevents import CloseCause, CloseFrame, Deflate, WebSocket

from .process import Meeting, PeerProcess, Role
from .script import PONGED, describe
from .test_close_codes import clean, greet, seen
from .test_messages import binary_of, text_of

pytestmark = [pytest.mark.once, pytest.mark.unmeasured]

PLAIN: Final = Wire("plain")
FIELD: Final = "sec-websocket-extensions"
OFF: Final = "permessage-deflate"

SIZES: Final = (0, 1, 63, 64, 125, 126, 65535, 65536, 10**6)
WISHES: Final[dict[str, Any]] = {
    "defaults": "deflate",
    "no context takeover": Deflate(server_no_context_takeover=True, client_no_context_takeover=True),
    "small windows": Deflate(server_max_window_bits=9, client_max_window_bits=9, memory_level=1),
    "everything compressed": Deflate(threshold=0, level=9),
}


@pytest.fixture(params=["websockets_trio", "websockets_asyncio"])
def library(request: pytest.FixtureRequest) -> str:
    """Those that compress, and do so by default."""
    name: str = request.param
    return name


def check_agreed(ws: WebSocket) -> None:
    """Check that the headers at our end tell of compression, both what was offered and what was answered."""
    assert ws.request.headers[FIELD].startswith(OFF)
    assert ws.response.headers[FIELD].startswith(OFF)


@pytest.mark.parametrize("compression", WISHES.values(), ids=WISHES)
async def test_messages_of_any_size_are_echoed_whole(peer: PeerProcess, role: Role, compression: Any) -> None:
    """Text and binary that shrink, and some that do not, arrive at the peer as they were sent, and come back."""
    messages: list[str | bytes] = [make(size) for size in SIZES for make in (text_of, binary_of, bytes)]
    meeting = Meeting(peer, role, PLAIN)

    async with await meeting.block(compression=compression) as ws:
        check_agreed(ws)
        for message in messages:
            await ws.send(message)
            echo = await ws.receive()
            assert type(echo) is type(message)
            assert echo == message, f"{type(message).__name__} of {len(message)}"

    assert (await meeting.report()).messages == [describe(message) for message in messages]
    assert ws.close_event == clean(CloseCause.EXIT, 1000)


async def test_fragments_are_echoed_whole(peer: PeerProcess, role: Role, wire: Wire) -> None:
    """What is sent in parts, empty ones among them, arrives as one message; the echo comes in pieces."""
    meeting = Meeting(peer, role, wire)

    async with await meeting.block(compression="deflate") as ws:
        check_agreed(ws)
        for size in SIZES:
            text = text_of(size)
            await ws.send([text[: size // 10], "", text[size // 10 :]])
            async with ws.receive_stream() as pieces:
                assert "".join([str(piece) async for piece in pieces]) == text

    assert (await meeting.report()).messages == [describe(text_of(size)) for size in SIZES]


async def test_compression_of_the_peer_alone_is_none(peer: PeerProcess, role: Role) -> None:
    """Without the option, the connection is as it was: the peer offers in vain, or is not asked."""
    meeting = Meeting(peer, role, PLAIN)

    async with await meeting.block() as ws:
        assert (FIELD in ws.request.headers) is (role == "server")
        assert FIELD not in ws.response.headers
        await ws.send("x" * 1000)
        assert await ws.receive() == "x" * 1000

    assert (await meeting.report()).messages == [describe("x" * 1000)]


async def test_ping_of_peer_is_answered(peer: PeerProcess, role: Role) -> None:
    """Control frames pass by the compression."""
    meeting = Meeting(peer, role, PLAIN, "ping")

    async with await meeting.block(compression=Deflate(threshold=0)) as ws:
        check_agreed(ws)
        assert await ws.receive() == PONGED
        assert 0 < await ws.ping(b"x" * 125) < 10

    assert (await meeting.report()).code == 1000


async def test_close_codes_arrive_as_ever(peer: PeerProcess, role: Role) -> None:
    """Ours at the peer, and the peer's here, with their reasons."""
    meeting = Meeting(peer, role, PLAIN)
    async with await meeting.block(compression="deflate") as ws:
        check_agreed(ws)
        await greet(ws)
        await ws.aclose(4001, "schön 😀" * 5)
    assert await meeting.report() == seen(4001, "schön 😀" * 5)
    assert ws.close_event == clean(CloseCause.CLOSED, 4001, "schön 😀" * 5)

    meeting = Meeting(peer, role, PLAIN, "close", code=1000, reason="x" * 100)
    async with await meeting.block(compression="deflate") as ws:
        check_agreed(ws)
        await ws.send("hello")
        event = await ws.wait_closed()
    assert await meeting.report() == seen(1000, "x" * 100)
    assert (event.sent, event.received, event.was_clean) == (CloseFrame(1000, "x" * 100),) * 2 + (True,)
