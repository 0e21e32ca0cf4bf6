"""Section 3: what the peer does decides the event."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_closeevents import (
    CloseCode,
    CloseFrame,
    ConnectionBroken,
    LocallyClosed,
    ReadyState,
    RemoteClosed,
    WebSocket,
    connect,
)
from trio_closeevents.testing import PING, PONG, ScriptedPeer

from .stage import Stage, answer_close, do_nothing, echo_close, end_transport, event, leave, only_read, read_to_the_end

BIG = b"x" * 8_000_000


async def stay(ws: WebSocket) -> None:
    """Stay in the block until the connection has ended, without asking for anything."""
    await ws.wait_closed()


def close_first(code: int | None, reason: str = "") -> object:
    """Return the script of a peer that closes first, and ends the transport where it is its turn."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.close_frame(code, reason))
        await peer.receive_close()
        await end_transport(peer)

    return script


async def test_peer_answers_with_another_code(stage: Stage) -> None:
    """The event has the peer's code and reason, not ours."""

    async def block(ws: WebSocket) -> None:
        await ws.aclose(4001, "mine")

    outcome = await stage.play(block, answer_close(4002, "theirs"))
    assert outcome.peer.record == ["Close 4001 'mine'", "FIN"]
    assert outcome.event == event(
        4002,
        "closed",
        "local",
        reason="theirs",
        clean=True,
        sent=CloseFrame(4001, "mine"),
        received=CloseFrame(4002, "theirs"),
    )
    assert stage.was_quick(outcome)


async def test_peer_answers_empty(stage: Stage) -> None:
    """An empty answer is 1005, and clean."""
    outcome = await stage.play(leave, answer_close(None))
    assert outcome.event == event(1005, "exit", "local", clean=True, sent=1000, received=CloseFrame())


async def test_peer_first_is_known_before_the_event_is() -> None:
    """As long as our echo cannot be written, there is no event yet, but the frame of the peer can be looked at."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=False)
    may_write = trio.Event()

    async def hold() -> None:
        await may_write.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open)
        async with connect("ws://localhost/", stream=ours) as ws:
            before = ws.close_received
            ours.send_stream.send_all_hook = hold
            await peer.send(peer.close_frame(4001, "bye"))
            await trio.testing.wait_all_tasks_blocked()
            assert (before, ws.close_received, ws.close_event) == (None, CloseFrame(4001, "bye"), None)
            may_write.set()
            ours.send_stream.send_all_hook = None
            assert (await ws.wait_closed()).received is ws.close_received
            nursery.start_soon(peer.aclose)


@pytest.mark.parametrize("code", [1000, 1001, 1014, 3000, 4999])
async def test_peer_first_is_echoed(stage: Stage, code: int) -> None:
    """Code and reason of the peer's Close are echoed at once, without any call of the program."""
    outcome = await stage.play(stay, close_first(code, "so it is"))  # type: ignore[arg-type]
    assert outcome.peer.record == [f"Close {code} 'so it is'", "FIN"]
    theirs = CloseFrame(code, "so it is")
    assert outcome.event == event(code, "remote", "remote", reason="so it is", clean=True, sent=theirs, received=theirs)


async def test_peer_first_with_an_empty_close_is_echoed_empty(stage: Stage) -> None:
    """An empty Close is echoed empty, and is 1005."""
    outcome = await stage.play(stay, close_first(None))  # type: ignore[arg-type]
    assert outcome.peer.record == ["Close", "FIN"]
    assert outcome.event == event(1005, "remote", "remote", clean=True, sent=CloseFrame(), received=CloseFrame())


async def test_peer_first_ends_the_transport_while_the_program_stays(stage: Stage) -> None:
    """A server ends TCP at once after the peer's Close; a client waits for the server, for close_timeout."""
    ended_after: list[float] = []

    async def block(ws: WebSocket) -> None:
        await ws.wait_closed()
        assert ws.state is ReadyState.CLOSING
        while ws.state is ReadyState.CLOSING:
            await trio.sleep(0.05)

    async def script(peer: ScriptedPeer) -> None:
        began = trio.current_time()
        await peer.send(peer.close_frame(1000))
        await peer.receive_close()
        await peer.drain()
        ended_after.append(trio.current_time() - began)
        await peer.aclose()

    outcome = await stage.play(block, script)
    assert outcome.peer.record == ["Close 1000", "FIN"]
    expected = stage.wire.close_timeout if stage.is_client else 0
    tolerance = 0.01 if stage.wire.memory else stage.wire.tolerance
    assert expected - 0.01 <= ended_after[0] < expected + tolerance


async def test_peer_first_and_the_client_waits_for_its_fin(stage: Stage) -> None:
    """A client does not end TCP before the server does (RFC 6455 §7.1.1)."""
    if not stage.is_client:
        pytest.skip("a promise of the client's side")
    fin_sent = trio.Event()

    async def block(ws: WebSocket) -> None:
        await ws.wait_closed()
        await ws.aclose()
        assert fin_sent.is_set()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.close_frame(1000))
        await peer.receive_close()
        await trio.sleep(0.05)
        fin_sent.set()
        await end_transport(peer)

    await stage.play(block, script)


async def test_peer_crossing(stage: Stage) -> None:
    """Both Close frames cross: the peer's code counts, ours came first for us, one Close each."""

    async def script(peer: ScriptedPeer) -> None:
        await closing.wait()
        await peer.send(peer.close_frame(4002, "crossed"))
        await end_transport(peer)

    closing = trio.Event()

    async def block(ws: WebSocket) -> None:
        closing.set()
        await ws.aclose(4001)

    outcome = await stage.play(block, script)
    assert outcome.peer.record == ["Close 4001", "FIN"]
    assert outcome.event is not None
    assert (outcome.event.code, outcome.event.was_clean) == (4002, True)
    assert outcome.event.sent == CloseFrame(4001)
    assert outcome.event.received == CloseFrame(4002, "crossed")


async def test_peer_silent(stage: Stage) -> None:
    """No answer within the limit: 1006, not clean, with what we sent."""
    outcome = await stage.play(leave, only_read)
    assert stage.took(outcome, stage.wire.close_timeout)
    assert outcome.event == event(1006, "exit", "local", sent=1000)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_peer_lost_before_its_close(stage: Stage, how: str) -> None:
    """FIN or RST before the peer's Close, after ours: 1006; the cause stays the one that came first."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await (peer.fin() if how == "fin" else peer.reset())

    outcome = await stage.play(leave, script)
    assert outcome.event == event(1006, "exit", "local", sent=1000)
    assert stage.was_quick(outcome)


async def test_peer_close_and_gone(stage: Stage) -> None:
    """The peer's Close counts, though it is gone before ours was handed over whole; then it is not clean."""
    if stage.wire.memory:
        pytest.skip("a memory stream takes everything: see the session's tests")

    stuck, seen = trio.Event(), trio.Event()

    async def block(ws: WebSocket) -> None:
        async def send() -> None:
            with pytest.raises(ConnectionBroken):
                await ws.send(BIG)  # our answer stands behind it

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while not ws.buffered:
                await trio.sleep(0.01)
            stuck.set()
            while ws.state is ReadyState.OPEN:
                await trio.sleep(0.01)
            seen.set()
        assert ws.close_event == event(4005, "remote", "remote", received=4005)

    async def script(peer: ScriptedPeer) -> None:
        await stuck.wait()
        await peer.send(peer.close_frame(4005))
        await seen.wait()
        await peer.reset()

    outcome = await stage.play(block, script)
    assert outcome.event == event(4005, "remote", "remote", received=4005)


async def test_peer_close_and_fin_in_one_go_is_clean(stage: Stage) -> None:
    """A peer that has half-closed behind its Close can still read our answer."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.close_frame(4005))
        await peer.fin()
        await peer.drain()
        await peer.aclose()

    outcome = await stage.play(stay, script)
    assert outcome.peer.frames[0].code == 4005
    assert outcome.event == event(4005, "remote", "remote", clean=True, sent=4005, received=4005)


async def test_peer_data_after_ours_is_dropped_and_counted(stage: Stage) -> None:
    """Data, Pings and Pongs after our Close are not answered; the peer's Close counts."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(
            peer.frame(1, b"late"),
            peer.frame(PING, b"ping"),
            peer.frame(PONG, b"pong"),
            peer.frame(2, b"half", fin=False),
            peer.frame(0, b"whole"),
            peer.frame(1, b"\xff\xfe"),  # UTF-8 does not apply
            peer.close_frame(4002),
        )
        await end_transport(peer)

    outcome = await stage.play(leave, script)
    assert outcome.peer.record == ["Close 1000", "FIN"]
    assert outcome.event == event(4002, "exit", "local", clean=True, sent=1000, received=4002)
    assert outcome.ws.stats.messages_dropped == 3
    assert outcome.ws.stats.bytes_dropped == len(b"latepingponghalfwhole\xff\xfe")


async def test_peer_data_after_ours_is_under_no_limit(stage: Stage) -> None:
    """Dropped data is skipped, not stored: a message over every limit does not hide the peer's Close."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(peer.frame(2, bytes(3_000_000)), peer.close_frame(4002))
        await end_transport(peer)

    outcome = await stage.play(leave, script, max_message_size=1000, close_timeout=10)
    assert outcome.event == event(4002, "exit", "local", clean=True, sent=1000, received=4002)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xff", b"\x83\x00", b"\x88\x02\x03\xed", b"\x88\x01\x00"],
    ids=["framing", "opcode", "close-1005", "close-of-one-byte"],
)
async def test_peer_garbage_after_ours(stage: Stage, garbage: bytes) -> None:
    """Broken framing after our Close: 1006, no second Close; what we sent and the cause stay."""

    def spoiled(peer: ScriptedPeer) -> bytes:
        if not peer.client:
            return garbage + bytes(20)
        return garbage[:1] + bytes([garbage[1] | 0x80]) + bytes(4) + garbage[2:] + bytes(20)

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(spoiled(peer))
        await peer.drain()
        await peer.aclose()

    outcome = await stage.play(leave, script)
    assert outcome.peer.record[0] == "Close 1000"
    assert len(outcome.peer.frames) == 1
    assert outcome.event == event(1006, "exit", "local", sent=1000)


async def test_peer_after_its_own_is_ignored(stage: Stage) -> None:
    """Anything after the peer's own Close is ignored, garbage too."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.close_frame(4002), peer.frame(1, b"x"), peer.close_frame(4003), b"\xff" * 50)
        await peer.receive_close()
        await end_transport(peer)

    outcome = await stage.play(stay, script)
    assert outcome.peer.frames[0].code == 4002
    assert len(outcome.peer.frames) == 1
    assert outcome.event == event(4002, "remote", "remote", clean=True, sent=4002, received=4002)


@pytest.mark.parametrize("how", ["reset", "left open"])
async def test_peer_tcp_after_both_changes_nothing(stage: Stage, how: str) -> None:
    """How TCP ends after both Close frames has no say in the event."""

    async def script(peer: ScriptedPeer) -> None:
        close = await peer.receive_close()
        assert close is not None
        await peer.send(peer.frame(close.opcode, close.payload))
        if how == "reset":
            await trio.sleep(0.05)
            await peer.reset()
        else:
            await do_nothing(peer)

    outcome = await stage.play(leave, script)
    assert outcome.event == event(1000, "exit", "local", clean=True, sent=1000, received=1000)
    assert outcome.seconds <= stage.wire.close_timeout + stage.wire.tolerance


async def test_after_our_close_nothing_more_is_sent(stage: Stage) -> None:
    """Not by `send`, `ping` or `pong`, which raise at once, while `aclose` and `wait_closed` wait."""

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose, 4000)
            await trio.testing.wait_all_tasks_blocked()
            for use in (ws.ping, ws.pong, ws.receive):
                with pytest.raises(LocallyClosed) as raised:
                    await use()
                assert raised.value.event is None  # it is not decided yet
            with pytest.raises(LocallyClosed) as raised:
                await ws.send("too late")
            assert raised.value.event is None
            go_on.set()
            assert await ws.wait_closed() is raised.value.event

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        close = await peer.receive_close()
        assert close is not None
        await go_on.wait()
        await peer.send(peer.frame(PING, b"?"), peer.frame(close.opcode, close.payload))
        await end_transport(peer)

    outcome = await stage.play(block, script)
    assert outcome.peer.record == ["Close 4000", "FIN"]


async def test_peer_first_while_our_answer_is_stuck(stage: Stage) -> None:
    """While the answer to the peer's Close waits to be written, `send` raises ConnectionBroken, `receive` waits."""

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, BIG)
            while not ws.buffered:
                await trio.sleep(0.01)
            stuck.set()
            while ws.state is ReadyState.OPEN:
                await trio.sleep(0.01)
            with pytest.raises(ConnectionBroken) as raised:
                await ws.send("too late")
            assert raised.value.event is None
            go_on.set()
            with pytest.raises(RemoteClosed):
                await ws.receive()
            assert raised.value.event is ws.close_event

    stuck, go_on = trio.Event(), trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await stuck.wait()
        await peer.send(peer.close_frame(1000))
        await go_on.wait()
        await peer.receive_close()
        await end_transport(peer)

    outcome = await stage.play(block, script, bounded=True, close_timeout=10)
    assert [str(each) for each in outcome.peer.frames] == ["Binary of 8000000 B", "Close 1000"]
    assert outcome.event == event(1000, "remote", "remote", clean=True, sent=1000, received=1000)


@pytest.mark.parametrize("code", [1000, 1001, None])
async def test_remote_closed_ends_iteration(stage: Stage, code: int | None) -> None:
    """Iteration simply ends after a clean close with 1000, 1001 or no code; messages before it come first."""

    async def block(ws: WebSocket) -> None:
        assert await read_to_the_end(ws) == ["one", b"two"]
        with pytest.raises(RemoteClosed) as raised:
            await ws.receive()
        assert isinstance(raised.value, trio.EndOfChannel)
        assert raised.value.event is ws.close_event
        with pytest.raises(ConnectionBroken):
            await ws.send("x")
        with pytest.raises(ConnectionBroken):
            await ws.ping()

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(1, b"one"), peer.frame(2, b"two"), peer.close_frame(code))
        await peer.receive_close()
        await end_transport(peer)

    outcome = await stage.play(block, script)
    assert outcome.event is not None
    assert outcome.event.code == (code or CloseCode.NO_STATUS_RCVD)
    assert outcome.raised is None


async def test_connection_broken_by_any_other_code(stage: Stage) -> None:
    """Any other code of the peer is ConnectionBroken, which is a trio.BrokenResourceError."""

    async def block(ws: WebSocket) -> None:
        with pytest.raises(ConnectionBroken) as raised:
            await read_to_the_end(ws)
        assert isinstance(raised.value, trio.BrokenResourceError)
        assert raised.value.event is ws.close_event

    outcome = await stage.play(block, close_first(4002))  # type: ignore[arg-type]
    assert outcome.event == event(4002, "remote", "remote", clean=True, sent=4002, received=4002)


async def test_echo_close_from_the_peer_after_leaving_stays_remote(stage: Stage) -> None:
    """If the peer closed first and the block is left later, it stays RemoteClosed."""
    outcome = await stage.play(stay, close_first(1000))  # type: ignore[arg-type]
    with pytest.raises(RemoteClosed):
        await outcome.ws.receive()
    assert echo_close is not None
