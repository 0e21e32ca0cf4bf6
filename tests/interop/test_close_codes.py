"""Each end that a connection can take, as both sides tell it."""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest
import trio
from tls import HOST, CertificateFiles, Wire

from trio_closeevents import (
    CloseCause,
    CloseEvent,
    CloseFrame,
    ConnectionBroken,
    RemoteClosed,
    WebSocket,
    open_server,
    serve,
)

from .process import LIBRARIES, Meeting, PeerProcess, Report, Role
from .script import describe

PLAIN: Final = Wire("plain")


def clean(cause: CloseCause, code: int, reason: str = "") -> CloseEvent:
    """Return the event of a connection that this side closed, and whose Close came back."""
    frame = CloseFrame(code, reason)
    return CloseEvent(
        "close",
        code=code,
        reason=reason,
        was_clean=True,
        initiated_by="local",
        cause=cause,
        sent=frame,
        received=frame,
    )


async def greet(ws: WebSocket) -> None:
    """Exchange a message, so that the peer's own program is running.

    A Close frame that reaches websockets' trio server in the moment between its 101 and its handler is lost there: it
    hangs up without an answer, and calls no handler.
    """
    await ws.send("hello")
    assert await ws.receive() == "hello"


def seen(code: int, reason: str = "") -> Report:
    """Return what a peer reports that was greeted, and saw this end."""
    return Report([describe("hello")], code, reason)


async def test_end_return_is_1000_at_both_ends(peer: PeerProcess, role: Role) -> None:
    """A block that returns closes with 1000."""
    meeting = Meeting(peer, role, PLAIN)

    async with await meeting.block() as ws:
        await greet(ws)

    assert await meeting.report() == seen(1000)
    assert ws.close_event == clean(CloseCause.EXIT, 1000)


async def test_end_error_is_1011_at_both_ends(peer: PeerProcess, role: Role) -> None:
    """A block that an exception leaves closes with 1011, and tells nothing of the exception."""
    meeting = Meeting(peer, role, PLAIN)
    block = await meeting.block()
    error = KeyError("secret")

    with pytest.raises(KeyError) as caught:
        async with block as meeting.ws:
            await greet(meeting.ws)
            raise error

    assert caught.value is error
    assert await meeting.report() == seen(1011)
    assert meeting.ws.close_event == clean(CloseCause.ERROR, 1011)


async def test_end_cancelled_is_1001_at_both_ends(peer: PeerProcess, role: Role, wire: Wire) -> None:
    """A block that is cancelled closes with 1001."""
    meeting = Meeting(peer, role, wire)

    with trio.CancelScope() as scope:
        async with await meeting.block() as meeting.ws:
            await greet(meeting.ws)
            scope.cancel()
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert await meeting.report() == seen(1001)
    assert meeting.ws.close_event == clean(CloseCause.CANCELLED, 1001)


async def test_end_aclose_code_and_reason_arrive_at_both_ends(peer: PeerProcess, role: Role) -> None:
    """`aclose(4001, "…")` gives its code and reason to the peer."""
    meeting = Meeting(peer, role, PLAIN)

    async with await meeting.block() as ws:
        await greet(ws)
        await ws.aclose(4001, "schön 😀")

    assert await meeting.report() == seen(4001, "schön 😀")
    assert ws.close_event == clean(CloseCause.CLOSED, 4001, "schön 😀")


async def test_end_aclose_empty_is_1005_at_both_ends(peer: PeerProcess, role: Role) -> None:
    """`aclose(None)` sends an empty Close frame, which comes back empty."""
    meeting = Meeting(peer, role, PLAIN)

    async with await meeting.block() as ws:
        await greet(ws)
        await ws.aclose(None)

    assert await meeting.report() == seen(1005)
    assert ws.close_event is not None
    assert (ws.close_event.code, ws.close_event.was_clean) == (1005, True)
    assert ws.close_event.sent == ws.close_event.received == CloseFrame()


async def test_end_abort_is_1006_at_both_ends(peer: PeerProcess, role: Role) -> None:
    """`abort()` drops the transport: there was no Close frame for anyone."""
    meeting = Meeting(peer, role, PLAIN)

    async with await meeting.block() as ws:
        await greet(ws)
        ws.abort()

    assert await meeting.report() == seen(1006)
    assert ws.close_event == CloseEvent(
        "close", code=1006, initiated_by="transport", cause=CloseCause.ABORTED, sent=None, received=None
    )


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, ""), (1000, "done"), (4002, "bis später")])
async def test_peer_first_is_told_as_it_came(peer: PeerProcess, role: Role, code: int, reason: str) -> None:
    """The peer's code and reason are ours, and it gets them back: 1000 and 1001 end an iteration, 4002 breaks it."""
    meeting = Meeting(peer, role, PLAIN, "close", code=code, reason=reason)

    async with await meeting.block() as ws:
        await ws.send("hello")
        with pytest.raises(RemoteClosed if code < 4000 else ConnectionBroken) as caught:
            await ws.receive()

    frame = CloseFrame(code, reason)
    assert ws.close_event == CloseEvent(
        "close",
        code=code,
        reason=reason,
        was_clean=True,
        initiated_by="remote",
        cause=CloseCause.REMOTE,
        sent=frame,
        received=frame,
    )
    assert caught.value.event is ws.close_event
    assert await meeting.report() == seen(code, reason)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_transport_lost_when_process_is_killed_is_1006(
    library: str, role: Role, certificate_files: CertificateFiles
) -> None:
    """A peer whose process is killed is gone without a Close frame."""
    with PeerProcess(library, certificate_files) as peer:
        meeting = Meeting(peer, role, PLAIN)
        async with await meeting.block() as ws:
            await greet(ws)
            peer.kill()
            with pytest.raises(ConnectionBroken), trio.fail_after(5):
                await ws.receive()

    event = ws.close_event
    assert event is not None
    assert (event.code, event.was_clean, event.initiated_by) == (1006, False, "transport")
    assert event.cause in (CloseCause.EOF, CloseCause.RESET)
    assert (event.sent, event.received) == (None, None)


class Crowd:
    """Our server's handler, which waits until *size* connections are open."""

    def __init__(self, size: int) -> None:
        self.complete = trio.Event()
        self.events: list[CloseEvent] = []
        self._missing = size

    async def handle(self, ws: WebSocket) -> None:
        await greet(ws)
        self._missing -= 1
        if not self._missing:
            self.complete.set()
        await trio.sleep_forever()

    def note(self, ws: WebSocket, event: CloseEvent) -> None:
        self.events.append(event)


async def test_server_cancelled_is_1001_at_all_clients(peer: PeerProcess, wire: Wire) -> None:
    """When our server is cancelled, each of its clients sees 1001."""
    crowd = Crowd(3)
    meetings = [Meeting(peer, "server", wire) for _ in range(3)]
    patience = meetings[0].patience
    start = partial(serve, ssl_context=wire.server_ssl_context, on_close=crowd.note, cancel_timeout=patience)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(start, crowd.handle, HOST, 0)
        for meeting in meetings:
            meeting.call(server.port)
        with trio.fail_after(20):
            await crowd.complete.wait()
        nursery.cancel_scope.cancel()

    assert [await meeting.report() for meeting in meetings] == [seen(1001)] * 3
    assert crowd.events == [clean(CloseCause.CANCELLED, 1001)] * 3


async def test_server_aclose_code_and_reason_arrive_at_all_clients(peer: PeerProcess) -> None:
    """`server.aclose(1012, "…")` gives its code and reason to each client."""
    crowd = Crowd(3)
    meetings = [Meeting(peer, "server", PLAIN) for _ in range(3)]

    async with open_server(crowd.handle, HOST, 0, on_close=crowd.note) as server:
        for meeting in meetings:
            meeting.call(server.port)
        with trio.fail_after(20):
            await crowd.complete.wait()
        await server.aclose(1012, "back soon", grace=0)

    assert [await meeting.report() for meeting in meetings] == [seen(1012, "back soon")] * 3
    assert crowd.events == [clean(CloseCause.CLOSED, 1012, "back soon")] * 3
