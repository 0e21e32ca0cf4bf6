"""Peers that are slow, hasty, gone or silent: our side tells what happened, in time.

All of it in both roles, on plain TCP, TLS 1.2 and TLS 1.3. The peer shares the event loop with our side, and does what
it does to a real socket.
"""

from __future__ import annotations

import time
from typing import Final

import pytest
import trio
import trio.testing
from nasty import (
    GIVE_UP,
    LIMIT,
    MARGIN,
    Collect,
    NastyPeer,
    Return,
    Script,
    Stage,
    closed,
    connected,
    each_ending,
    leave,
    mid_request,
    mid_tls,
    never,
    secured,
    wait_closed,
)

from trio_closeevents import (
    CloseCause,
    CloseFrame,
    ConnectionBroken,
    HandshakeError,
    HandshakeTimeout,
    WebSocket,
)
from trio_closeevents.testing import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, ScriptedPeer

BYE: Final = CloseFrame(4000, "bye")
CLOSED_BY_PEER: Final = closed(4000, "remote", CloseCause.REMOTE, sent=BYE, received=BYE, clean=True)


# -- slow, and hasty ---------------------------------------------------------------------------------------------------


class Dribble(trio.abc.HalfCloseableStream):
    """Sends each byte in a packet of its own, when our side has read the one before."""

    def __init__(self, tcp: trio.SocketStream) -> None:
        self.tcp = tcp

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for byte in bytes(data):
            await self.tcp.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()

    async def wait_send_all_might_not_block(self) -> None:
        await self.tcp.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.tcp.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self.tcp.send_eof()

    async def aclose(self) -> None:
        await self.tcp.aclose()


def one_of_each(peer: NastyPeer) -> list[bytes]:
    """Return frames of all kinds, which carry the messages of `ONE_OF_EACH`; the last is a Close."""
    return [
        peer.frame(TEXT, "größe".encode()),
        peer.frame(BINARY, b"a", fin=False),
        peer.frame(PING, b"between"),
        peer.frame(CONTINUATION, b"", fin=False),
        peer.frame(CONTINUATION, b"b"),
        peer.frame(TEXT),
        peer.frame(BINARY, bytes(126)),
        peer.frame(PONG, b"unasked"),
        peer.close_frame(4000, "bye"),
    ]


ONE_OF_EACH: Final = ["größe", b"ab", "", bytes(126)]


async def test_peer_that_sends_byte_by_byte_is_understood(stage: Stage) -> None:
    """A peer may send each byte in a packet of its own, from the first of the handshake to the last of its Close."""

    async def script(peer: NastyPeer) -> None:
        dribble = Dribble(peer.tcp)
        if peer.wire.secure:
            tls = peer.tls(dribble)
            await tls.do_handshake()
            peer.stream = tls
        else:
            peer.stream = dribble  # type: ignore[assignment]
        await ScriptedPeer.open(peer)
        for frame in one_of_each(peer):
            await peer.send(frame)
        peer.stream = peer.tcp if not peer.wire.secure else peer.stream
        await peer.receive_close()
        await peer.fin()

    collect = Collect()
    outcome = await stage.play(script, collect)

    assert collect.messages == ONE_OF_EACH
    assert outcome.event == CLOSED_BY_PEER
    assert isinstance(outcome.raised, ConnectionBroken)
    assert outcome.peer.frames == [Frame(PONG, b"between"), Frame(0x8, b"\x0f\xa0bye")]


@pytest.mark.parametrize("fin", [False, True], ids=["", "with FIN"])
async def test_peer_that_glues_everything_into_one_segment_is_understood(stage: Stage, fin: bool) -> None:
    """Its half of the handshake, messages and Close may come in one segment, and the FIN with them."""

    async def script(peer: NastyPeer) -> None:
        await peer.open(behind=b"".join(one_of_each(peer)))
        if fin:
            await peer.fin()
        await peer.receive_close()
        await peer.fin()

    collect = Collect()
    outcome = await stage.play(script, collect)

    assert collect.messages == ONE_OF_EACH
    assert outcome.event == CLOSED_BY_PEER
    assert outcome.peer.frames[-1] == Frame(0x8, b"\x0f\xa0bye")


async def test_first_frame_in_the_packet_of_the_handshake_is_received(stage: Stage) -> None:
    """A message that comes in one packet with the request, or with the 101, is the first message."""

    async def script(peer: NastyPeer) -> None:
        await peer.open(behind=peer.frame(TEXT, b"early"))
        assert await peer.receive() == Frame(TEXT, b"early too")
        await peer.receive_close()
        await peer.send(peer.close_frame(1000))
        await peer.fin()

    async def block(ws: WebSocket) -> None:
        assert await ws.receive() == "early"
        await ws.send("early too")

    outcome = await stage.play(script, block)

    frame = CloseFrame(1000)
    assert outcome.event == closed(1000, "local", CloseCause.EXIT, sent=frame, received=frame, clean=True)


# -- stages of the opening, at which a peer vanishes or falls silent ---------------------------------------------------


# On a plain wire there are but two of them.
STAGES_OF_OPENING: Final = [
    *(("plain", reach) for reach in (connected, mid_request)),
    *((name, reach) for name in ("TLS 1.2", "TLS 1.3") for reach in (connected, mid_tls, secured, mid_request)),
]

each_stage_of_opening = pytest.mark.parametrize(("wire", "reach"), STAGES_OF_OPENING, indirect=["wire"])


@each_stage_of_opening
async def test_never_opened_by_peer_that_resets(stage: Stage, reach: Script) -> None:
    """RST before the handshake is done: the operating system's error, told as what it broke; nothing is left."""

    async def script(peer: NastyPeer) -> None:
        await reach(peer)
        await trio.testing.wait_all_tasks_blocked()
        peer.reset_now()

    outcome = await stage.play(script, never)

    assert isinstance(outcome.raised, HandshakeError)
    if stage.wire.secure and reach in (connected, mid_tls):
        assert outcome.raised.close_event == closed(1015, "transport", CloseCause.TLS)
    else:
        assert outcome.raised.close_event == closed(1006, "transport", CloseCause.RESET)
    assert isinstance(outcome.raised.__cause__, OSError)


@each_stage_of_opening
async def test_never_opened_by_peer_that_hangs_up(stage: Stage, reach: Script) -> None:
    """FIN before the handshake is done is told as what it broke."""

    async def script(peer: NastyPeer) -> None:
        await reach(peer)
        await trio.testing.wait_all_tasks_blocked()
        await peer.tcp.send_eof()

    outcome = await stage.play(script, never)

    assert isinstance(outcome.raised, HandshakeError)
    if stage.wire.secure and reach in (connected, mid_tls):
        assert outcome.raised.close_event == closed(1015, "transport", CloseCause.TLS)
        assert isinstance(outcome.raised.__cause__, OSError)  # ssl.SSLError is one
    else:
        assert outcome.raised.close_event == closed(1006, "transport", CloseCause.EOF)


@each_stage_of_opening
async def test_never_opened_by_peer_that_is_silent(stage: Stage, reach: Script) -> None:
    """Silence before the handshake is done lasts `open_timeout`, then the peer is hung up on."""
    outcome = await stage.play(reach, never, open_timeout=LIMIT)

    assert isinstance(outcome.raised, HandshakeTimeout)
    assert isinstance(outcome.raised, trio.TooSlowError)
    assert outcome.raised.close_event == closed(1006, "transport", CloseCause.TIMEOUT)
    assert LIMIT - 0.05 < outcome.seconds < LIMIT + MARGIN
    with trio.fail_after(GIVE_UP):
        await outcome.peer.read_rest()


# -- vanishing from an open connection ---------------------------------------------------------------------------------


@pytest.mark.parametrize("receiving", [True, False], ids=["in receive", "elsewhere"])
@pytest.mark.parametrize("left_half", [False, True], ids=["between frames", "in a frame"])
async def test_transport_reset_by_peer_is_1006(stage: Stage, receiving: bool, left_half: bool) -> None:
    """RST without a Close: 1006, and the socket's error is the cause of what `receive()` raises."""

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        if left_half:
            await peer.stream.send_all(peer.half_a_frame())
        await trio.testing.wait_all_tasks_blocked()
        peer.reset_now()

    outcome = await stage.play(script, Collect() if receiving else wait_closed)

    assert outcome.event == closed(1006, "transport", CloseCause.RESET)
    assert outcome.seconds < MARGIN
    if receiving:
        assert isinstance(outcome.raised, ConnectionBroken)
        assert outcome.raised.event is outcome.event
        assert isinstance(outcome.raised.__cause__, OSError)
    else:
        assert outcome.raised is None


@pytest.mark.parametrize("receiving", [True, False], ids=["in receive", "elsewhere"])
@pytest.mark.parametrize("left_half", [False, True], ids=["between frames", "in a frame"])
async def test_transport_eof_is_1006(stage: Stage, receiving: bool, left_half: bool) -> None:
    """FIN without a Close (on TLS: without close_notify): 1006, cause eof."""

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        if left_half:
            await peer.stream.send_all(peer.half_a_frame())
        await peer.fin()

    outcome = await stage.play(script, Collect() if receiving else wait_closed)

    assert outcome.event == closed(1006, "transport", CloseCause.EOF)
    assert outcome.seconds < MARGIN
    assert isinstance(outcome.raised, ConnectionBroken if receiving else type(None))


MANY: Final = [f"{number:040}" for number in range(1000)]  # more than wait in the queue, fewer than the kernel holds


async def send_many_then(peer: NastyPeer, ending: str, last: bytes) -> None:
    """Send `MANY` and *last*, when our side reads no more if its program does not, and end the transport."""
    frames = [peer.frame(TEXT, each.encode()) for each in MANY]
    await trio.testing.wait_all_tasks_blocked()
    peer.send_now(b"".join(frames[:100]))
    await trio.testing.wait_all_tasks_blocked()
    peer.send_now(b"".join(frames[100:]) + last)
    if ending == "RST":
        peer.reset_now()
    else:
        await peer.fin()


@pytest.mark.parametrize("ending", ["FIN", "RST"])
@pytest.mark.parametrize("has_close", [True, False], ids=["Close", "no Close"])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
async def test_messages_before_the_loss_are_delivered(stage: Stage, ending: str, has_close: bool, late: bool) -> None:
    """What was sent before the transport was lost is received in order, late or not, and the peer's Close counts."""
    gone = trio.Event()
    collect = Collect()

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        await send_many_then(peer, ending, peer.close_frame(4000, "bye") if has_close else b"")
        gone.set()

    async def block(ws: WebSocket) -> None:
        if late:
            await gone.wait()
            await trio.testing.wait_all_tasks_blocked()
        await collect(ws)

    outcome = await stage.play(script, block)

    assert collect.messages == MANY
    assert isinstance(outcome.raised, ConnectionBroken)
    if has_close:
        assert outcome.event.code == 4000
        assert outcome.event.was_clean == (ending == "FIN")
    else:
        assert (outcome.event.code, outcome.event.was_clean) == (1006, False)


@pytest.mark.parametrize("has_close", [True, False], ids=["Close", "no Close"])
async def test_messages_before_a_failed_send_are_delivered(stage: Stage, has_close: bool) -> None:
    """A send that fails while the queue is full: what the kernel still holds is read, the peer's Close may be in it.

    On TLS only what was read before: `trio.SSLStream` reads nothing any more when a write of it has failed.
    """
    gone = trio.Event()
    collect = Collect()

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        await send_many_then(peer, "RST", peer.close_frame(4000, "bye") if has_close else b"")
        gone.set()

    async def block(ws: WebSocket) -> None:
        await gone.wait()
        begin = trio.current_time()
        with pytest.raises(ConnectionBroken):
            while True:
                await ws.send("too late")
        assert trio.current_time() - begin < MARGIN
        await collect(ws)

    outcome = await stage.play(script, block, cancel_timeout=2 * MARGIN)

    assert isinstance(outcome.raised, ConnectionBroken)
    assert not outcome.event.was_clean
    if stage.wire.secure:
        assert len(collect.messages) >= 100
        assert collect.messages == MANY[: len(collect.messages)]
    else:
        assert collect.messages == MANY
        assert outcome.event.code == (4000 if has_close else 1006)


async def test_peer_close_and_gone_is_told_with_its_code(stage: Stage) -> None:
    """A Close with RST right behind it: the peer's code and reason, and not clean, for ours cannot be sent."""

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        await trio.testing.wait_all_tasks_blocked()
        peer.send_now(peer.frame(TEXT, b"last") + peer.close_frame(4000, "bye"))
        peer.reset_now()

    collect = Collect()
    outcome = await stage.play(script, collect)

    assert collect.messages == ["last"]
    assert outcome.event == closed(4000, "remote", CloseCause.REMOTE, received=BYE)
    assert isinstance(outcome.raised, ConnectionBroken)


async def test_peer_lost_by_reset_after_our_close_is_1006(stage: Stage) -> None:
    """RST in answer to our Close: 1006, not clean, and our Close was sent."""

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        await peer.receive_close()
        peer.reset_now()

    outcome = await stage.play(script, leave)

    assert outcome.event == closed(1006, "local", CloseCause.EXIT, sent=CloseFrame(1000))
    assert outcome.raised is None
    assert outcome.seconds < MARGIN


async def test_peer_tcp_after_both_reset_changes_nothing(stage: Stage) -> None:
    """RST behind both Close frames is no news."""

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        await peer.receive_close()
        peer.send_now(peer.close_frame(1000))
        peer.reset_now()

    outcome = await stage.play(script, leave)

    frame = CloseFrame(1000)
    assert outcome.event == closed(1000, "local", CloseCause.EXIT, sent=frame, received=frame, clean=True)
    assert outcome.seconds < MARGIN


# -- silence on an open connection -------------------------------------------------------------------------------------


@each_ending
@pytest.mark.parametrize("left_half", [False, True], ids=["between frames", "in a frame"])
async def test_peer_silent_is_waited_for_up_to_the_limit(stage: Stage, ending: type[Return], left_half: bool) -> None:
    """A peer that does not answer our Close costs the limit: 1006, ours was sent, and FIN behind it."""

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        if left_half:
            await peer.stream.send_all(peer.half_a_frame())

    end = ending()
    outcome = await stage.play(script, end, scope=end.scope, **end.limits)

    assert LIMIT - 0.05 < outcome.seconds < LIMIT + MARGIN
    assert outcome.event == closed(1006, "local", end.cause, sent=end.frame)
    await outcome.peer.drain()
    assert outcome.peer.record == [f"Close {end.frame.code}", "FIN"]


@each_ending
async def test_peer_first_and_silent_is_waited_for_up_to_the_limit(stage: Stage, ending: type[Return]) -> None:
    """A peer that leaves TCP open behind both Close frames costs the limit, and the event stays clean."""

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        await peer.send(peer.close_frame(4000, "bye"))

    end = ending(wait_closed)
    outcome = await stage.play(script, end, scope=end.scope, **end.limits)

    assert outcome.event == CLOSED_BY_PEER
    assert outcome.seconds < LIMIT + MARGIN
    await outcome.peer.drain()
    assert outcome.peer.record == ["Close 4000 'bye'", "FIN"]


async def test_keepalive_hears_what_came_while_the_loop_was_held(stage: Stage) -> None:
    """A program that holds the loop for longer than the limit finds the Pong in the socket, not a dead peer."""
    interval = timeout = 0.05

    async def script(peer: NastyPeer) -> None:
        await peer.open()
        for _ in range(5):
            ping = await peer.receive()
            assert ping is not None
            peer.send_now(peer.frame(PONG, ping.payload))
            time.sleep(2 * timeout)  # noqa: ASYNC251  # which is what a program should not do
        peer.send_now(peer.close_frame(4000, "bye"))
        await peer.receive_close()
        await peer.fin()

    outcome = await stage.play(script, wait_closed, ping_interval=interval, ping_timeout=timeout)
    assert outcome.event == CLOSED_BY_PEER
