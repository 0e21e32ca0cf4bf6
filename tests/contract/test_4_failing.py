"""Section 4: failing the connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import trio

from trio_closeevents import CloseCause, ConnectionBroken, WebSocket
from trio_closeevents.testing import CLOSE, CONTINUATION, PING, TEXT, ScriptedPeer, frame

from .stage import Stage, do_nothing, event, read_to_the_end

Piece = Callable[[ScriptedPeer], bytes]


def non_minimal(peer: ScriptedPeer) -> bytes:
    return bytes([0x81, 126 | peer.client << 7, 0, 1]) + bytes(4 * peer.client) + b"x"


# What breaks the framing: the malformed bytes, as a peer of either role has to write them.
MALFORMED: dict[str, Piece] = {
    "rsv1": lambda peer: peer.frame(TEXT, b"x", rsv=4),
    "rsv2": lambda peer: peer.frame(TEXT, b"x", rsv=2),
    "rsv3": lambda peer: peer.frame(PING, rsv=1),
    "opcode-3": lambda peer: peer.frame(0x3, b"x"),
    "opcode-f": lambda peer: peer.frame(0xF),
    "masking": lambda peer: frame(TEXT, b"x", masked=not peer.client),
    "fragmented-control": lambda peer: peer.frame(PING, fin=False),
    "long-control": lambda peer: peer.frame(PING, bytes(126)),
    "continuation-out-of-place": lambda peer: peer.frame(CONTINUATION, b"x"),
    "message-inside-a-message": lambda peer: peer.frame(TEXT, b"x", fin=False) + peer.frame(TEXT, b"y"),
    "non-minimal-length": non_minimal,
    "close-of-one-byte": lambda peer: peer.frame(CLOSE, b"\x03"),
    **{f"close-{code}": partial(ScriptedPeer.close_frame, code=code) for code in (0, 999, 1004, 1005, 1006, 1015)},
    **{f"close-{code}": partial(ScriptedPeer.close_frame, code=code) for code in (1016, 2000, 2999, 5000, 65535)},
}


def failing_peer(bad: Piece, *, end: bool = True) -> Callable[[ScriptedPeer], object]:
    """Return the script of a peer that sends two good messages and bad bytes in one go, and then more."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, b"one"), peer.frame(2, b"two"), bad(peer), peer.frame(TEXT, b"after"))
        await peer.receive_close()
        await peer.send(peer.close_frame(1000))  # it does not count: nothing more is processed
        await peer.drain()
        if end:
            await peer.aclose()

    return script


async def read_until_broken(ws: WebSocket) -> None:
    messages = [await ws.receive(), await ws.receive()]
    assert messages == ["one", b"two"]
    with pytest.raises(ConnectionBroken) as raised:
        await ws.receive()
    assert raised.value.event is ws.close_event is not None
    with pytest.raises(ConnectionBroken):
        await ws.send("x")


@pytest.mark.parametrize("name", MALFORMED)
async def test_fail_frame_sends_1002(stage: Stage, name: str) -> None:
    """Malformed framing: the messages before it are delivered, then 1002 goes out, and FIN."""
    outcome = await stage.play(read_until_broken, failing_peer(MALFORMED[name]))  # type: ignore[arg-type]
    assert outcome.peer.frames[0].code == 1002
    assert outcome.peer.record[1:] == ["FIN"]
    assert outcome.event is not None
    assert outcome.event.sent is not None
    assert outcome.event == event(1006, "protocol_error", "local", sent=outcome.event.sent)
    assert outcome.event.sent.code == 1002


@pytest.mark.parametrize(
    "bad",
    [
        lambda peer: peer.frame(TEXT, b"\xff\xfe"),
        lambda peer: peer.frame(TEXT, b"\xce\xba\xed\xa0\x80"),
        lambda peer: peer.frame(TEXT, b"\xc3", fin=True),
        lambda peer: peer.frame(TEXT, b"ok", fin=False) + peer.frame(CONTINUATION, b"\xff"),
        lambda peer: peer.frame(CLOSE, b"\x03\xe8\xff\xfe"),
        lambda peer: peer.frame(CLOSE, b"\x03\xf6\xff\xfe"),
    ],
    ids=["text", "surrogate", "cut", "second-fragment", "close-reason", "close-reason-1014"],
)
async def test_fail_utf8_sends_1007(stage: Stage, bad: Piece) -> None:
    """Text, or a close reason, that is not UTF-8: 1007."""
    outcome = await stage.play(read_until_broken, failing_peer(bad))  # type: ignore[arg-type]
    assert outcome.peer.frames[0].code == 1007
    assert outcome.event is not None
    assert outcome.event == event(1006, "invalid_payload", "local", sent=outcome.event.sent)


async def test_fail_utf8_is_noticed_before_the_frame_is_whole(stage: Stage) -> None:
    """Text is validated as its bytes arrive."""

    def half(peer: ScriptedPeer) -> bytes:
        whole = peer.frame(TEXT, b"\xff" + bytes(10_000))
        return whole[:100]

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(half(peer))
        await peer.receive_close()
        await peer.drain()
        await peer.aclose()

    async def block(ws: WebSocket) -> None:
        with pytest.raises(ConnectionBroken):
            await ws.receive()

    outcome = await stage.play(block, script)
    assert outcome.peer.frames[0].code == 1007


@pytest.mark.parametrize(
    "bad",
    [
        lambda peer: peer.frame(2, bytes(101)),
        lambda peer: peer.frame(2, bytes(60), fin=False) + peer.frame(CONTINUATION, bytes(41)),
        lambda peer: frame(2, b"", masked=peer.client, claim=2**40),
        lambda peer: peer.frame(TEXT, "é".encode() * 51),
    ],
    ids=["frame", "fragments", "claimed", "text-in-bytes"],
)
async def test_fail_size_sends_1009_with_limit_and_size(stage: Stage, bad: Piece) -> None:
    """A message over the limit is failed on its header, with a reason that names limit and size."""
    outcome = await stage.play(read_until_broken, failing_peer(bad), max_message_size=100)  # type: ignore[arg-type]
    sent = outcome.peer.frames[0]
    assert sent.code == 1009
    assert b"100" in sent.payload
    assert outcome.event is not None
    assert outcome.event == event(1006, "message_too_big", "local", sent=outcome.event.sent)


async def test_fail_size_spares_a_message_of_exactly_the_limit(stage: Stage) -> None:
    """At the limit a message passes."""

    async def block(ws: WebSocket) -> None:
        assert await ws.receive() == bytes(100)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(2, bytes(60), fin=False), peer.frame(CONTINUATION, bytes(40)))
        await peer.drain()

    await stage.play(block, script, max_message_size=100)


async def test_fail_fragments_sends_1009(stage: Stage) -> None:
    """More fragments than max_fragments, empty ones too: 1009."""

    def many(peer: ScriptedPeer) -> bytes:
        return peer.frame(TEXT, b"x", fin=False) + peer.frame(CONTINUATION, fin=False) * 10

    outcome = await stage.play(read_until_broken, failing_peer(many), max_fragments=10)  # type: ignore[arg-type]
    assert outcome.peer.frames[0].code == 1009
    assert outcome.event is not None
    assert outcome.event == event(1006, "message_too_big", "local", sent=outcome.event.sent)


@pytest.mark.parametrize("where", ["next_messages", "_begin_frame"], ids=["short way", "long way"])
async def test_fail_internal_sends_1011_and_is_logged(
    stage: Stage, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of the library itself: 1011 without a reason, cause internal_error, one traceback in the log."""
    from trio_closeevents._protocol.session import Session

    def bug(self: Session, *raw: object, **more: object) -> None:
        raise ZeroDivisionError("a bug")

    async def block(ws: WebSocket) -> None:
        monkeypatch.setattr(Session, where, bug)
        ready.set()
        with pytest.raises(ConnectionBroken):
            await ws.receive()

    ready = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await ready.wait()
        await peer.send(peer.frame(TEXT, b"x", fin=False))
        await peer.drain()
        await peer.aclose()

    outcome = await stage.play(block, script)
    assert outcome.peer.record == ["Close 1011", "FIN"]
    assert outcome.event == event(1006, "internal_error", "local", sent=1011)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert errors[0].exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("peer_does", ["reads", "floods", "nothing"])
async def test_failing_is_bounded_by_cancel_timeout(stage: Stage, peer_does: str) -> None:
    """The transport is gone after cancel_timeout at the most, though the program stays in its block."""
    seconds: list[float] = []

    async def block(ws: WebSocket) -> None:
        await ws.wait_closed()
        assert ws.close_event is not None
        assert ws.close_event.cause is CloseCause.PROTOCOL_ERROR
        began = trio.current_time()
        await ws.aclose()
        seconds.append(trio.current_time() - began)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(0x3))
        if peer_does == "reads":
            await peer.drain()
        elif peer_does == "floods":
            with trio.move_on_after(stage.wire.cancel_timeout * 3):
                while True:
                    await peer.stream.send_all(peer.frame(2, bytes(60_000)))
                    await trio.sleep(0.001)
        else:
            await do_nothing(peer)

    async def tolerant(peer: ScriptedPeer) -> None:
        try:
            await script(peer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    outcome = await stage.play(block, tolerant)
    assert outcome.event is not None
    assert outcome.event.sent is not None
    assert outcome.event.sent.code == 1002
    assert seconds[0] <= stage.wire.cancel_timeout + stage.wire.tolerance


async def test_failing_delivers_what_came_before_even_to_a_late_program(stage: Stage) -> None:
    """Whole messages that came before the offending bytes are delivered first, in order."""

    async def block(ws: WebSocket) -> None:
        await trio.sleep(0.1)
        with pytest.raises(ConnectionBroken):
            await read_to_the_end(ws)
        assert ws.stats.messages_received == 10

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(*(peer.frame(TEXT, b"%d" % number) for number in range(10)), peer.frame(0x3))
        await peer.drain()
        await peer.aclose()

    await stage.play(block, script)
