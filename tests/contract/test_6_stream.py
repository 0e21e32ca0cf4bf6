"""Section 6: a message that is received piece by piece, and `receive(decode=)`."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, Final

import pytest
import trio
import trio.testing

from trio_closeevents import (
    CloseCause,
    CloseFrame,
    ConnectionBroken,
    ConnectionClosed,
    LocallyClosed,
    MessageStream,
    ReadyState,
    RemoteClosed,
    WebSocket,
)
from trio_closeevents.testing import BINARY, CONTINUATION, PING, TEXT, ScriptedPeer, frame

from .stage import Stage, echo_close, end_transport, event, send_then
from .test_6_fragments import CompressingStage, Gate, play

LETTERS: Final = "aé€😀"  # 1, 2, 3 and 4 bytes of UTF-8
LIMIT: Final = 1000  # bytes that a message may have, where a test has a limit


def fragments(peer: ScriptedPeer, opcode: int, *payloads: bytes) -> list[bytes]:
    """Return the frames of one fragmented message."""
    return [
        peer.frame(CONTINUATION if number else opcode, payload, fin=number == len(payloads) - 1)
        for number, payload in enumerate(payloads)
    ]


async def read_and_end(peer: ScriptedPeer) -> None:
    """Read to the end, then end the transport too."""
    await peer.drain()
    await peer.aclose()


def deflated(data: bytes) -> bytes:
    """Compress a message (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def rest_of(pieces: MessageStream) -> str | bytes:
    """Take all that comes, put together; no piece is empty."""
    taken: list[Any] = []
    async for piece in pieces:
        assert piece
        assert isinstance(piece, str) is pieces.is_text
        taken.append(piece)
    return ("" if pieces.is_text else b"").join(taken)


async def received(ws: WebSocket) -> str | bytes:
    """Receive a message in pieces."""
    async with ws.receive_stream() as pieces:
        return await rest_of(pieces)


class Waiting:
    """A peer that can tell when our side has looked at everything it has sent: a Ping was answered."""

    def __init__(self) -> None:
        self._seen = trio.Event()

    async def seen(self) -> None:
        await self._seen.wait()

    def is_done(self) -> None:
        self._seen.set()

    async def send(self, peer: ScriptedPeer, *pieces: bytes) -> None:
        await peer.send(*pieces, peer.frame(PING, b"seen?"))
        while (answer := await peer.receive()) is not None and answer.payload != b"seen?":
            pass
        self._seen.set()


async def wait_held(ws: WebSocket) -> None:
    """Wait until a message that is too large stands next."""
    with trio.fail_after(5):
        while not ws._session.held:
            await trio.sleep(0.01)


# -- pieces ----------------------------------------------------------------------------------------------------------


async def test_stream_gives_pieces_as_they_arrive(stage: Stage) -> None:
    """Long before the message ends: of each fragment, and of each part of one that comes by itself."""
    go_on = Gate()

    async def block(ws: WebSocket) -> None:
        async with ws.receive_stream() as pieces:
            taken = []
            async for piece in pieces:
                taken.append(piece)
                go_on.open()
        assert taken == ["one", "two, ", "in halves", "!"]
        assert pieces.is_text
        assert ws.stats.messages_received == 1
        assert ws.stats.bytes_received == 18

    async def script(peer: ScriptedPeer) -> None:
        one, two, three = fragments(peer, TEXT, b"one", b"two, in halves", b"!")
        for piece in (one, two[:-9], two[-9:], three):
            await peer.send(piece)
            await go_on.wait()
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_text_pieces_end_where_characters_end(stage: Stage) -> None:
    """Characters are cut by fragments and by segments; what comes out is text, and nothing empty."""
    text = LETTERS * 3
    data = text.encode()

    async def block(ws: WebSocket) -> None:
        for _ in range(2):
            async with ws.receive_stream() as pieces:
                taken = [piece async for piece in pieces]
            assert "".join(map(str, taken)) == text
            assert all(taken)
        assert await received(ws) == data

    async def script(peer: ScriptedPeer) -> None:
        for each in (
            b"".join(fragments(peer, TEXT, *(data[i : i + 1] for i in range(len(data))))),
            peer.frame(TEXT, data),
            b"".join(fragments(peer, BINARY, *(data[i : i + 3] for i in range(0, len(data), 3)))),
        ):
            for at in range(0, len(each), 5):
                await peer.send(each[at : at + 5])
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_of_an_empty_message_has_no_piece(stage: Stage) -> None:
    """The block begins all the same, and knows the type; however many empty fragments there are."""

    async def block(ws: WebSocket) -> None:
        for is_text in (True, False, True, False):
            async with ws.receive_stream() as pieces:
                assert pieces.is_text is is_text
                assert [piece async for piece in pieces] == []
                with pytest.raises(StopAsyncIteration):
                    await anext(pieces)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT), peer.frame(BINARY))
        await peer.send(*fragments(peer, TEXT, b"", b"", b""), *fragments(peer, BINARY, b"", b""))
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_of_a_message_that_waits_already(stage: Stage) -> None:
    """It comes as one piece; the messages before and behind it keep their places."""
    peer_is = Waiting()

    async def block(ws: WebSocket) -> None:
        await peer_is.seen()
        assert ws.stats.messages_received == 4
        assert await ws.receive() == "before"
        async with ws.receive_stream(max_size=4) as pieces:
            assert not pieces.is_text
            assert [piece async for piece in pieces] == [b"data"]
        assert await received(ws) == ""
        assert await ws.receive() == "behind"

    async def script(peer: ScriptedPeer) -> None:
        frames = (peer.frame(TEXT, b"before"), *fragments(peer, BINARY, b"da", b"ta"))
        await peer_is.send(peer, *frames, peer.frame(TEXT), peer.frame(TEXT, b"behind"))
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_of_a_message_that_is_half_here(stage: Stage) -> None:
    """What was put together of it comes first, in one piece; a character that is not whole yet comes later."""
    peer_is = Waiting()

    async def block(ws: WebSocket) -> None:
        await peer_is.seen()
        async with ws.receive_stream(max_size=12) as pieces:
            assert await anext(pieces) == "one, two"
            go_on.set()
            assert await rest_of(pieces) == "€!"

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        one, two, three, four = fragments(peer, TEXT, b"one, ", b"two", "€".encode()[:2], "€".encode()[2:] + b"!")
        await peer_is.send(peer, one, two, three)
        await go_on.wait()
        await peer.send(four)
        await echo_close(peer)

    await play(stage, block, script)


async def test_streams_one_after_another(stage: Stage) -> None:
    """Fifty, with whole messages in between, whatever way they were cut: none is lost, none mixed."""
    chance = random.Random(6)
    texts = [f"{number}: " + LETTERS * chance.randrange(200) for number in range(50)]

    async def block(ws: WebSocket) -> None:
        for number, text in enumerate(texts):
            assert await (received(ws) if number % 3 else ws.receive()) == text
        assert ws.stats.messages_received == 50
        assert ws.stats.bytes_received == sum(len(text.encode()) for text in texts)
        assert ws.stats.messages_dropped == ws.stats.bytes_dropped == 0

    async def script(peer: ScriptedPeer) -> None:
        wire = b""
        for text in texts:
            data = text.encode()
            cuts = sorted(chance.choices(range(len(data)), k=chance.randrange(5)))
            wire += b"".join(fragments(peer, TEXT, *(data[a:b] for a, b in pairwise([0, *cuts, len(data)]))))
        while wire:
            at = chance.randrange(1, 3000)
            await peer.send(wire[:at])
            wire = wire[at:]
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_outside_of_its_block(stage: Stage) -> None:
    """Before and behind `async with` there are no pieces: RuntimeError."""

    async def block(ws: WebSocket) -> None:
        pieces = ws.receive_stream()
        with pytest.raises(RuntimeError, match="only inside"):
            await anext(pieces)
        async with pieces:
            assert await anext(pieces) == "hello"
        with pytest.raises(RuntimeError, match="only inside"):
            await anext(pieces)

    await play(stage, block, send_then(lambda peer: peer.frame(TEXT, b"hello"), then=echo_close))


@pytest.mark.parametrize(("limit", "kind"), [(-1, ValueError), ("1", TypeError), (1.0, TypeError), (True, TypeError)])
async def test_stream_with_a_limit_that_is_none(stage: Stage, limit: Any, kind: type[Exception]) -> None:
    """Told at once, and by its name."""

    async def block(ws: WebSocket) -> None:
        with pytest.raises(kind, match="max_size"):
            ws.receive_stream(max_size=limit)

    await play(stage, block, echo_close)


# -- how large it may be ---------------------------------------------------------------------------------------------

Cut = Callable[[ScriptedPeer, bytes], list[bytes]]
CUTS: Final[dict[str, Cut]] = {
    "whole": lambda peer, data: [peer.frame(BINARY, data)],
    "in fragments": lambda peer, data: fragments(peer, BINARY, *(data[i : i + 100] for i in range(0, len(data), 100))),
    "one large fragment": lambda peer, data: fragments(peer, BINARY, data[:1], b"", data[1:], b""),
}


@pytest.mark.parametrize("before", [True, False], ids=["arrived before", "arrives later"])
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_stream_of_a_message_over_max_message_size(stage: Stage, cut: Cut, before: bool) -> None:
    """It is not judged before somebody asks for it, and then by the stream's limit alone."""
    data = random.Random(6).randbytes(50 * LIMIT)

    async def block(ws: WebSocket) -> None:
        if before:
            go_on.set()
            await wait_held(ws)
        async with ws.receive_stream(max_size=len(data)) as pieces:
            go_on.set()
            assert await rest_of(pieces) == data
        assert await ws.receive() == "behind"

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        if before:
            await go_on.wait()
        await peer.send(*cut(peer, data), peer.frame(TEXT, b"behind"))
        await echo_close(peer)

    await play(stage, block, script, max_message_size=LIMIT)


@pytest.mark.parametrize("before", [True, False], ids=["arrived before", "arrives later"])
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
async def test_receive_of_a_message_over_max_message_size_fails(stage: Stage, cut: Cut, before: bool) -> None:
    """Whoever asks for it whole fails the connection, and not before; what came before it is delivered."""

    async def block(ws: WebSocket) -> None:
        if before:
            go_on.set()
            await wait_held(ws)
            assert ws.state is ReadyState.OPEN
        go_on.set()
        assert await ws.receive() == "before"
        with pytest.raises(ConnectionBroken):
            await ws.receive()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await peer.send(peer.frame(TEXT, b"before"), *cut(peer, bytes(LIMIT + 1)))
        await read_and_end(peer)

    outcome = await play(stage, block, script, max_message_size=LIMIT)
    close = outcome.peer.close
    assert close is not None
    assert close.code == 1009
    sent = CloseFrame(1009, close.payload[2:].decode())
    assert str(LIMIT) in sent.reason
    assert outcome.event == event(1006, "message_too_big", "local", sent=sent)


@pytest.mark.parametrize("where", ["arrives", "queued", "half here"])
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
async def test_stream_max_size_at_the_limit_and_one_past_it(stage: Stage, size: int, cut: Cut, where: str) -> None:
    """`max_size` bytes pass; one byte more fails the connection with 1009, wherever the message is by then."""
    peer_is = Waiting()
    data = bytes(size)

    async def block(ws: WebSocket) -> None:
        await peer_is.seen()
        if size <= LIMIT:
            go_on.set()
            async with ws.receive_stream(max_size=LIMIT) as pieces:
                assert await rest_of(pieces) == data
            return
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        with pytest.raises(ConnectionBroken):
            async with ws.receive_stream(max_size=LIMIT) as pieces:
                await rest_of(pieces)
        with pytest.raises(ConnectionBroken):
            await ws.receive()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        frames = cut(peer, data)
        if where == "queued":
            await peer_is.send(peer, *frames)
        else:
            wire = b"".join(frames)
            at = 0 if where == "arrives" else len(wire) - 1
            await peer.send(wire[:at])
            peer_is.is_done()
            await go_on.wait()
            await peer.send(wire[at:])
        await echo_close(peer)

    outcome = await play(stage, block, script)
    close = outcome.peer.close
    assert close is not None
    if size <= LIMIT:
        assert close.code == 1000
        return
    assert close.code == 1009
    sent = CloseFrame(1009, close.payload[2:].decode())
    assert sent.reason.endswith(f"bytes is over the limit of {LIMIT}")
    assert outcome.event == event(1006, "message_too_big", "local", sent=sent)


async def test_stream_max_size_of_text_counts_bytes(stage: Stage) -> None:
    """Not characters, which may be a fourth of that; a limit of zero lets an empty message through."""

    async def block(ws: WebSocket) -> None:
        async with ws.receive_stream(max_size=0) as pieces:
            assert await rest_of(pieces) == ""
        async with ws.receive_stream(max_size=4) as pieces:
            assert await rest_of(pieces) == "😀"
        with pytest.raises(ConnectionBroken):
            async with ws.receive_stream(max_size=3) as pieces:
                await rest_of(pieces)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT), *[peer.frame(TEXT, "😀".encode())] * 2)
        await read_and_end(peer)

    outcome = await play(stage, block, script)
    assert outcome.peer.record == ["Close 1009 'message of 4 bytes is over the limit of 3'", "FIN"]


async def test_fail_fragments_counts_those_of_a_stream(stage: Stage) -> None:
    """`max_fragments` is a limit of its own, whatever the size."""

    async def block(ws: WebSocket) -> None:
        with pytest.raises(ConnectionBroken):
            await received(ws)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(*fragments(peer, TEXT, *[b""] * 11))
        await read_and_end(peer)

    outcome = await play(stage, block, script, max_fragments=10)
    assert outcome.peer.record == ["Close 1009 'message of 11 fragments is over the limit of 10'", "FIN"]


# -- left in the middle ----------------------------------------------------------------------------------------------


class Left(Exception):
    """What leaves a block in the middle."""


@asynccontextmanager
async def left_by(way: str) -> AsyncGenerator[trio.CancelScope]:
    """Leave what is inside by an exception, or by a cancellation of the scope that this gives."""
    with trio.CancelScope() as scope:
        try:
            yield scope
        except Left:
            assert way == "exception"
    assert scope.cancelled_caught is (way == "cancelled")


async def test_stream_cancelled_in_the_middle_goes_on(stage: Stage) -> None:
    """In the same block: nothing is lost, no piece comes twice, however often it was cancelled."""
    go_on = Gate()

    async def block(ws: WebSocket) -> None:
        async with ws.receive_stream() as pieces:
            for expected in ("one", "two", "three"):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await anext(pieces)
                if expected != "one":
                    with trio.move_on_after(0.02) as scope:
                        await anext(pieces)
                    assert scope.cancelled_caught
                    go_on.open()
                assert await anext(pieces) == expected
            for _ in range(2):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await anext(pieces)
                assert scope.cancelled_caught
            with pytest.raises(StopAsyncIteration):
                await anext(pieces)
        assert await ws.receive() == "behind"

    async def script(peer: ScriptedPeer) -> None:
        one, two, three = fragments(peer, TEXT, b"one", b"two", b"three")
        await peer.send(one)
        await go_on.wait()
        await peer.send(two)
        await go_on.wait()
        await peer.send(three, peer.frame(TEXT, b"behind"))
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_cancelled_before_its_message_began(stage: Stage) -> None:
    """It leaves nothing behind: the next call has the message whole, or in pieces."""

    async def block(ws: WebSocket) -> None:
        stream = ws.receive_stream()
        for wait in (True, False):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    if wait:
                        nursery.start_soon(cancel_soon, scope)
                    else:
                        scope.cancel()
                    async with stream:
                        pytest.fail("there is no message yet")
        go_on.open()
        assert await ws.receive() == "whole"
        async with stream as pieces:
            assert await anext(pieces) == "one"
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(pieces)
            go_on.open()
            assert await rest_of(pieces) == "two"
        with trio.move_on_after(0.02):
            async with stream:
                pytest.fail("there is no message yet")
        go_on.open()
        assert await ws.receive() == "behind"

    async def cancel_soon(scope: trio.CancelScope) -> None:
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()

    go_on = Gate()

    async def script(peer: ScriptedPeer) -> None:
        one, two = fragments(peer, TEXT, b"one", b"two")
        await go_on.wait()
        await peer.send(*fragments(peer, TEXT, b"who", b"le"), one)
        await go_on.wait()
        await peer.send(two)
        await go_on.wait()
        await peer.send(peer.frame(TEXT, b"behind"))
        await echo_close(peer)

    await play(stage, block, script)


@pytest.mark.parametrize("way", ["exception", "cancelled"])
@pytest.mark.parametrize("taken", [0, 1, 2, 3])
async def test_stream_left_in_the_middle_is_resumed(stage: Stage, way: str, taken: int) -> None:
    """The next stream goes on with the piece that was not handed out; receive() is an error that tells so."""
    go_on = Gate()

    async def block(ws: WebSocket) -> None:
        found: list[str | bytes] = []
        async with left_by(way) as scope:
            async with ws.receive_stream() as pieces:
                for _ in range(taken):
                    go_on.open()
                    found.append(await anext(pieces))
                if way == "exception":
                    raise Left
                scope.cancel()
                await trio.sleep_forever()
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"receive_stream\(\)"):
                await ws.receive()
        for _ in range(4):
            go_on.open()
        async with ws.receive_stream() as pieces:
            assert pieces.is_text
            found.append(await rest_of(pieces))
        assert "".join(map(str, found)) == "one, two, three!"
        assert await ws.receive() == "behind"
        assert ws.stats.messages_received == 2
        assert ws.stats.messages_dropped == 0

    async def script(peer: ScriptedPeer) -> None:
        for each in fragments(peer, TEXT, b"one, ", b"two, ", b"three", b"!"):
            await peer.send(each)
            await go_on.wait()
        await peer.send(peer.frame(TEXT, b"behind"))
        await echo_close(peer)

    await play(stage, block, script)


@pytest.mark.parametrize("way", ["exception", "cancelled"])
async def test_stream_left_before_a_message_that_had_waited_is_resumed(stage: Stage, way: str) -> None:
    """A message that was queued whole: its one piece is still to be had, the ones behind it too."""
    peer_is = Waiting()

    async def block(ws: WebSocket) -> None:
        await peer_is.seen()
        stream = ws.receive_stream()
        for _ in range(2):
            async with left_by(way) as scope:
                async with stream:
                    if way == "exception":
                        raise Left
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            async with left_by("cancelled") as scope:
                scope.cancel()
                async with stream:
                    pytest.fail("cancelled before it began")
        with pytest.raises(RuntimeError, match=r"receive_stream\(\)"):
            await ws.receive()
        assert await received(ws) == "one"
        assert await ws.receive() == "two"

    async def script(peer: ScriptedPeer) -> None:
        await peer_is.send(peer, peer.frame(TEXT, b"one"), peer.frame(TEXT, b"two"))
        await echo_close(peer)

    await play(stage, block, script)


@pytest.mark.parametrize("way", ["exception", "cancelled"])
@pytest.mark.parametrize("cut", [(b"\xc3\xa9",), (b"\xc3", b"\xa9"), (b"\xc3\xa9", b"")], ids=repr)
async def test_stream_left_before_its_end_was_told_is_resumed(stage: Stage, cut: tuple[bytes, ...], way: str) -> None:
    """All pieces were taken, and nobody was told that there are no more: the next stream does, with no piece."""

    async def block(ws: WebSocket) -> None:
        for opcode in (TEXT, BINARY):
            async with left_by(way) as scope:
                async with ws.receive_stream() as pieces:
                    taken = await anext(pieces)
                    while len(taken) < (1 if opcode == TEXT else 2):
                        taken += await anext(pieces)  # type: ignore[operator]
                    assert taken == ("é" if opcode == TEXT else b"\xc3\xa9")
                    if way == "exception":
                        raise Left
                    scope.cancel()
                    await anext(pieces)
            with pytest.raises(RuntimeError, match=r"receive_stream\(\)"):
                await ws.receive()
            async with left_by(way) as scope:
                async with ws.receive_stream() as pieces:
                    assert pieces.is_text is (opcode == TEXT)
                    if way == "exception":
                        raise Left
                    scope.cancel()
                    await anext(pieces)
            async with left_by("exception"):
                async with ws.receive_stream() as pieces:
                    assert not await rest_of(pieces)
                    raise Left
            assert await ws.receive() == "behind"
        assert ws.stats.messages_received == 4
        assert ws.stats.messages_dropped == 0

    async def script(peer: ScriptedPeer) -> None:
        for opcode in (TEXT, BINARY):
            await peer.send(*fragments(peer, opcode, *cut), peer.frame(TEXT, b"behind"))
        await echo_close(peer)

    await play(stage, block, script)


@pytest.mark.parametrize("arrived", ["nothing", "some", "everything"])
@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_stream_left_normally_skips_the_rest(stage: Stage, taken: int, arrived: str) -> None:
    """Wherever the rest is: queued, under way or not sent yet. It is counted as dropped, and not as received."""
    before, behind = Waiting(), Gate()

    async def block(ws: WebSocket) -> None:
        async with ws.receive_stream() as pieces:
            for _ in range(taken):
                await anext(pieces)
            go_on.set()
            await before.seen()
        behind.open()
        assert await ws.receive() == "behind"
        assert await received(ws) == b"more"
        assert ws.stats.messages_received == 2
        assert ws.stats.messages_dropped == 1
        assert ws.stats.bytes_received + ws.stats.bytes_dropped == 3 + 4 + 5 + 6 + 6 + 4

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        frames = fragments(peer, TEXT, b"one", b"two.", b"three", "é€!".encode())
        first = {"nothing": 2, "some": 3, "everything": 4}[arrived]
        await peer.send(*frames[:2])
        await go_on.wait()
        await before.send(peer, *frames[2:first])
        await behind.wait()
        await peer.send(*frames[first:], peer.frame(TEXT, b"behind"), peer.frame(BINARY, b"more"))
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_left_normally_before_its_only_piece_was_taken(stage: Stage) -> None:
    """A message that had arrived whole is skipped, too."""
    peer_is = Waiting()

    async def block(ws: WebSocket) -> None:
        await peer_is.seen()
        async with ws.receive_stream():
            pass
        assert await ws.receive() == "behind"
        assert ws.stats.messages_received == ws.stats.messages_dropped == 1
        assert ws.stats.bytes_dropped == 7

    async def script(peer: ScriptedPeer) -> None:
        await peer_is.send(peer, peer.frame(TEXT, b"skipped"), peer.frame(TEXT, b"behind"))
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_left_normally_skips_a_rest_that_is_too_large(stage: Stage) -> None:
    """What would be over the limit, had it been asked for, is skipped as well, and what is behind it is seen."""

    async def block(ws: WebSocket) -> None:
        async with ws.receive_stream(max_size=LIMIT) as pieces:
            assert await anext(pieces) == b"first"
            go_on.set()
            await wait_held(ws)
        await answered.wait()  # nobody is in receive()
        assert await ws.receive() == "behind"

    go_on, answered = trio.Event(), trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        first, second, third = fragments(peer, BINARY, b"first", bytes(LIMIT), b"third")
        await peer.send(first)
        await go_on.wait()
        await peer.send(second, third, peer.frame(TEXT, b"behind"), peer.frame(PING, b"seen?"))
        assert str(await peer.receive()) == "Pong b'seen?'"
        answered.set()
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_left_normally_still_checks_what_it_skips(stage: Stage) -> None:
    """The rest has to be UTF-8, and legal: 1007."""

    async def block(ws: WebSocket) -> None:
        async with ws.receive_stream() as pieces:
            assert await anext(pieces) == "first"
            go_on.set()
        with pytest.raises(ConnectionBroken):
            await ws.receive()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        first, second = fragments(peer, TEXT, b"first", b"\xff")
        await peer.send(first)
        await go_on.wait()
        await peer.send(second)
        await read_and_end(peer)

    outcome = await play(stage, block, script)
    assert outcome.event is not None
    assert outcome.event.cause is CloseCause.INVALID_PAYLOAD
    assert outcome.peer.frames[0].code == 1007


# -- who may receive -------------------------------------------------------------------------------------------------


async def test_stream_and_receive_at_once_are_busy(stage: Stage) -> None:
    """As long as a block is open nobody else receives, and the other way round; nothing is lost by trying."""

    async def block(ws: WebSocket) -> None:
        async def try_all() -> None:
            with pytest.raises(trio.BusyResourceError):
                await ws.receive()
            with pytest.raises(trio.BusyResourceError):
                await anext(ws)
            with pytest.raises(trio.BusyResourceError):
                await received(ws)

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                assert await ws.receive() == "one"

            await trio.testing.wait_all_tasks_blocked()
            await try_all()
            go_on.open()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def stream() -> None:
                async with ws.receive_stream() as pieces:
                    assert await anext(pieces) == "two"
                    await try_all()
                    other = pieces
                    async with trio.open_nursery() as inner:

                        @inner.start_soon
                        async def take() -> None:
                            assert await anext(pieces) == "three"

                        await trio.testing.wait_all_tasks_blocked()
                        with pytest.raises(trio.BusyResourceError):
                            await anext(other)
                        await try_all()
                        go_on.open()
                    with pytest.raises(StopAsyncIteration):
                        await anext(pieces)

            await trio.testing.wait_all_tasks_blocked()
            await try_all()
            go_on.open()
        assert await ws.receive() == "four"

    go_on = Gate()

    async def script(peer: ScriptedPeer) -> None:
        for each in (peer.frame(TEXT, b"one"), *fragments(peer, TEXT, b"two", b"three")):
            await go_on.wait()
            await peer.send(each)
        await peer.send(peer.frame(TEXT, b"four"))
        await echo_close(peer)

    await play(stage, block, script)


async def test_a_stream_may_be_taken_over_by_another_task(stage: Stage) -> None:
    """The block belongs to one task, the pieces to whoever asks for them."""
    send, receive = trio.open_memory_channel[str | bytes](0)

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def relay() -> None:
                async with ws.receive_stream() as pieces, send:
                    async for piece in pieces:
                        await send.send(piece)

            assert "".join([str(piece) async for piece in receive]) == "one, two"

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(*fragments(peer, TEXT, b"one, ", b"two"))
        await echo_close(peer)

    await play(stage, block, script)


# -- the end in the middle -------------------------------------------------------------------------------------------

Act = Callable[[ScriptedPeer], Awaitable[object]]


async def close_1000(peer: ScriptedPeer) -> None:
    await peer.send(peer.close_frame(1000))
    await peer.receive_close()
    await end_transport(peer)


async def close_4000(peer: ScriptedPeer) -> None:
    await peer.send(peer.close_frame(4000))
    await peer.receive_close()
    await end_transport(peer)


ENDS: Final[dict[str, tuple[Act, type[ConnectionClosed], CloseCause]]] = {
    "close 1000": (close_1000, RemoteClosed, CloseCause.REMOTE),
    "close 4000": (close_4000, ConnectionBroken, CloseCause.REMOTE),
    "fin": (ScriptedPeer.aclose, ConnectionBroken, CloseCause.EOF),
    "reset": (ScriptedPeer.reset, ConnectionBroken, CloseCause.RESET),
}


@pytest.mark.parametrize("waits_for", ["beginning", "piece", "nothing"])
@pytest.mark.parametrize(("ending", "kind", "cause"), ENDS.values(), ids=ENDS)
async def test_stream_when_the_peer_ends_the_connection(
    stage: Stage, ending: Act, kind: type[ConnectionClosed], cause: CloseCause, waits_for: str
) -> None:
    """What arrived is handed out; then the exception that receive() would raise, never an ordinary end."""

    async def block(ws: WebSocket) -> None:
        with pytest.raises(kind) as raised:
            if waits_for == "beginning":
                go_on.set()
            async with ws.receive_stream() as pieces:
                assert waits_for != "beginning"
                if waits_for == "nothing":
                    go_on.set()
                    if cause is not CloseCause.RESET:
                        await ws.wait_closed()
                assert await anext(pieces) == "one"
                go_on.set()
                await rest_of(pieces)
        assert raised.value.event is ws.close_event is not None
        with pytest.raises(kind):
            await ws.receive()
        with pytest.raises(kind):
            await received(ws)
        if cause is CloseCause.RESET and not stage.wire.memory:
            assert isinstance(raised.value.__cause__, OSError)

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        if waits_for != "beginning":
            await peer.send(fragments(peer, TEXT, b"one", b"two")[0])
        await go_on.wait()
        await ending(peer)

    outcome = await play(stage, block, script)
    assert outcome.event is not None
    if not stage.wire.memory or cause is not CloseCause.RESET:
        assert outcome.event.cause is cause


@pytest.mark.parametrize("waits_for", ["beginning", "piece", "nothing"])
@pytest.mark.parametrize("how", ["aclose", "abort"])
async def test_stream_when_we_end_the_connection(stage: Stage, how: str, waits_for: str) -> None:
    """LocallyClosed for whoever waits in a stream, in whatever task; what had arrived is handed out before."""

    async def block(ws: WebSocket) -> None:
        async def end() -> None:
            await trio.testing.wait_all_tasks_blocked(0.01)
            if how == "aclose":
                await ws.aclose(4000)
            else:
                ws.abort()

        async with trio.open_nursery() as nursery:
            if waits_for == "beginning":
                nursery.start_soon(end)
            with pytest.raises(LocallyClosed) as raised:
                async with ws.receive_stream() as pieces:
                    assert waits_for != "beginning"
                    if waits_for == "nothing":
                        await end()
                    else:
                        nursery.start_soon(end)
                    assert await anext(pieces) == "one"
                    await rest_of(pieces)
        assert raised.value.event is ws.close_event is not None

    async def script(peer: ScriptedPeer) -> None:
        if waits_for != "beginning":
            await peer.send(fragments(peer, TEXT, b"one", b"two")[0])
        await echo_close(peer)

    outcome = await play(stage, block, script)
    if how == "aclose":
        assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)
    else:
        assert outcome.event == event(1006, "aborted", "transport")


async def test_stream_after_our_close_what_had_arrived_stays_receivable(stage: Stage) -> None:
    """In pieces as well as whole, also a message that was half read; what comes later is dropped."""

    async def block(ws: WebSocket) -> None:
        async with ws.receive_stream() as pieces:
            assert await anext(pieces) == "one"
            await arrived.wait()
            await ws.aclose(4000)
            assert await rest_of(pieces) == "two"
        assert await received(ws) == "three"
        assert await ws.receive() == "four"
        with pytest.raises(LocallyClosed):
            await ws.receive()
        with pytest.raises(LocallyClosed):
            await received(ws)

    arrived = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        frames = (*fragments(peer, TEXT, b"one", b"two"), peer.frame(TEXT, b"three"), peer.frame(TEXT, b"four"))
        await peer.send(*frames, peer.frame(PING, b"seen?"))
        assert str(await peer.receive()) == "Pong b'seen?'"
        arrived.set()
        close = await peer.receive_close()
        assert close is not None
        await peer.send(*fragments(peer, TEXT, b"late", b"r"), peer.frame(close.opcode, close.payload))
        await end_transport(peer)

    outcome = await play(stage, block, script)
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)
    assert outcome.ws.stats.messages_received == 3
    assert outcome.ws.stats.messages_dropped == 1


async def test_stream_left_in_the_middle_does_not_hide_what_is_behind_it_when_the_connection_ends(
    stage: Stage,
) -> None:
    """Nobody has to go on with it then: receive() skips it, and hands out the whole messages behind it."""

    async def block(ws: WebSocket) -> None:
        async with left_by("exception"):
            async with ws.receive_stream() as pieces:
                assert await anext(pieces) == "one"
                raise Left
        go_on.set()
        await ws.wait_closed()
        assert await ws.receive() == "behind"
        with pytest.raises(RemoteClosed):
            await ws.receive()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        one, two = fragments(peer, TEXT, b"one", b"two")
        await peer.send(one)
        await go_on.wait()
        await peer.send(two, peer.frame(TEXT, b"behind"))
        await close_1000(peer)

    await play(stage, block, script)


@pytest.mark.parametrize("compressed", [False, True])
async def test_aclose_while_a_message_that_is_too_large_waits(stage: Stage, compressed: bool) -> None:
    """Nobody has asked for it, and nobody will: it is dropped, and the closing handshake is a clean one."""

    async def block(ws: WebSocket) -> None:
        go_on.set()
        await wait_held(ws)
        await ws.aclose(4000)
        assert await ws.receive() == "before"
        with pytest.raises(LocallyClosed):
            await ws.receive()
        with pytest.raises(LocallyClosed):
            await received(ws)

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        large = peer.frame(BINARY, bytes(LIMIT + 1))
        if compressed:
            large = peer.frame(BINARY, deflated(bytes(2000 * LIMIT)), rsv=4)
        await peer.send(peer.frame(TEXT, b"before"), large, *fragments(peer, TEXT, b"be", b"hind"))
        await echo_close(peer)

    if compressed:
        stage = CompressingStage(stage.role, stage.wire)
    compression = "deflate" if compressed else None
    outcome = await play(stage, block, script, max_message_size=LIMIT, compression=compression)
    assert outcome.peer.record == ["Close 4000", "FIN"]
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)
    assert outcome.ws.stats.messages_received == 1


async def test_aclose_while_many_frames_and_a_message_that_is_too_large_were_not_looked_at(stage: Stage) -> None:
    """What comes before it stays receivable, however much that is."""

    async def block(ws: WebSocket) -> None:
        assert await ws.receive() == "0"
        await ws.aclose(4000)
        assert [await ws.receive() for _ in range(1, 300)] == [str(number) for number in range(1, 300)]
        with pytest.raises(LocallyClosed):
            await ws.receive()

    async def script(peer: ScriptedPeer) -> None:
        small = [peer.frame(TEXT, b"%d" % number) for number in range(300)]
        await peer.send(*small, peer.frame(BINARY, bytes(LIMIT + 1)), peer.frame(TEXT, b"behind"))
        await echo_close(peer)

    outcome = await play(stage, block, script, max_message_size=LIMIT)
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)
    assert outcome.ws.stats.messages_dropped == 2


@pytest.mark.parametrize("where", ["queued", "half here"])
async def test_stream_max_size_after_our_close(stage: Stage, where: str) -> None:
    """A message that is too large for it is dropped, with what is behind it: the handshake goes on undisturbed."""
    peer_is = Waiting()

    async def block(ws: WebSocket) -> None:
        await peer_is.seen()
        ws._driver.close(CloseFrame(4000), CloseCause.CLOSED, 5, keep_arrived=True)
        with pytest.raises(LocallyClosed):
            async with ws.receive_stream(max_size=2):
                pytest.fail("it is too large")
        go_on.set()
        await ws.aclose()
        with pytest.raises(LocallyClosed):
            await ws.receive()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        frames = fragments(peer, TEXT, b"one", b"two")
        await peer_is.send(peer, *(frames[:1] if where == "half here" else (*frames, peer.frame(TEXT, b"behind"))))
        await go_on.wait()
        await echo_close(peer)

    outcome = await play(stage, block, script)
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)


async def test_stream_cancelled_in_the_turn_of_a_close(stage: Stage) -> None:
    """Another task looks at what has arrived, in that very turn: what it puts aside stays a message in pieces."""

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                @nursery.start_soon
                async def close() -> None:
                    await trio.testing.wait_all_tasks_blocked()
                    one, *others = fragments(peer_of[0], TEXT, *[b"x"] * (2 * LIMIT))
                    ws._session.receive_data(b"".join([one, *others, peer_of[0].frame(TEXT, b"behind")]))
                    ws._driver.close(CloseFrame(4000), CloseCause.CLOSED, 5, keep_arrived=True)
                    scope.cancel()

                async with ws.receive_stream():
                    pytest.fail("there is no message yet")
            assert scope.cancelled_caught
        with pytest.raises(RuntimeError, match=r"receive_stream\(\)"):
            await ws.receive()
        assert await received(ws) == "x" * (2 * LIMIT)
        assert await ws.receive() == "behind"
        go_on.set()

    go_on = trio.Event()
    peer_of: list[ScriptedPeer] = []

    async def script(peer: ScriptedPeer) -> None:
        peer_of.append(peer)
        await go_on.wait()
        await echo_close(peer)

    await play(stage, block, script, max_message_size=LIMIT)


# -- a slow consumer -------------------------------------------------------------------------------------------------


async def test_stream_pings_are_answered_while_the_consumer_is_slow(stage: Stage) -> None:
    """Between two pieces the connection lives on by itself, up to the limits of its queue."""

    async def block(ws: WebSocket) -> None:
        async with ws.receive_stream() as pieces:
            await answered.wait()
            assert await rest_of(pieces) == "one two three"
        assert await ws.receive() == "behind"

    answered = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        for each in (*fragments(peer, TEXT, b"one ", b"two ", b"three"), peer.frame(TEXT, b"behind")):
            await peer.send(each, peer.frame(PING, b"seen?"))
            assert str(await peer.receive()) == "Pong b'seen?'"
        answered.set()
        await echo_close(peer)

    await play(stage, block, script)


async def test_stream_backpressure_bounds_memory(stage: Stage) -> None:
    """A message without end, a consumer that takes nothing: reading stops, and goes on with it."""
    size, queue = 8 * 2**20, 2**18

    async def block(ws: WebSocket) -> None:
        tracemalloc.start()
        try:
            async with ws.receive_stream() as pieces:
                await anext(pieces)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert ws.stats.bytes_received < queue + 2**18
                tracemalloc.reset_peak()
                count = 0
                async for piece in pieces:
                    count += len(piece)
                    if count > size // 2:
                        break
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert ws.stats.bytes_received < count + queue + 2**18
                _, peak = tracemalloc.get_traced_memory()
            assert peak < 2 * queue + 2**20
        finally:
            tracemalloc.stop()
        assert await ws.receive() == "behind"

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(frame(BINARY, masked=peer.client, claim=size))
        portion = bytes(2**16)
        for _ in range(size // 2**16):
            await peer.stream.send_all(portion)
        await peer.send(peer.frame(TEXT, b"behind"))
        await echo_close(peer)

    await play(stage, block, script, bounded=True, max_queue_bytes=queue)


# -- compressed ------------------------------------------------------------------------------------------------------


async def test_stream_of_compressed_messages(stage: Stage) -> None:
    """Inflated piece by piece; of any size, cut anywhere, in between messages that are taken whole."""
    large = random.Random(6).randbytes(3000) * 1000

    async def block(ws: WebSocket) -> None:
        assert await ws.receive() == "small"
        async with ws.receive_stream() as pieces:
            taken = 0
            async for piece in pieces:
                assert isinstance(piece, bytes)
                assert large.startswith(piece, taken)
                assert len(piece) < 2**21
                taken += len(piece)
            assert taken == len(large)
        assert await ws.receive() == LETTERS * 100
        async with ws.receive_stream() as pieces:
            await anext(pieces)
        assert await received(ws) == "small"
        assert ws.stats.messages_dropped == 1
        with pytest.raises(ConnectionBroken):
            async with ws.receive_stream(max_size=LIMIT) as pieces:
                await rest_of(pieces)

    async def script(peer: ScriptedPeer) -> None:
        compressor = zlib.compressobj(wbits=-15)

        def compressed(opcode: int, data: bytes, size: int) -> list[bytes]:
            data = (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
            cut = fragments(peer, opcode, *(data[i : i + size] for i in range(0, len(data), size)))
            return [bytes([cut[0][0] | 0x40]) + cut[0][1:], *cut[1:]]

        for opcode, data, size in (
            (TEXT, b"small", 2),
            (BINARY, large, 10_000),
            (TEXT, (LETTERS * 100).encode(), 7),
            (BINARY, large, 10_000),
            (TEXT, b"small", 100),
            (BINARY, bytes(LIMIT + 1), 1),
        ):
            await peer.send(*compressed(opcode, data, size))
        await read_and_end(peer)

    outcome = await play(CompressingStage(stage.role, stage.wire), block, script, compression="deflate")
    close = outcome.peer.close
    assert close is not None
    assert close.code == 1009
    assert close.payload.endswith(f"{LIMIT + 1} bytes is over the limit of {LIMIT}".encode())


async def test_stream_between_two_of_us(stage: Stage) -> None:
    """Both sides compress: what one sends in parts, the other receives in pieces, and passes on."""
    parts = [LETTERS * number for number in range(200)]
    ours, theirs = await stage.wire.pair()
    other = Stage("server" if stage.is_client else "client", stage.wire)

    async def echo() -> None:
        async with other.ours(theirs, compression="deflate") as ws:
            with pytest.raises(RemoteClosed):
                while True:
                    async with ws.receive_stream() as pieces:
                        await ws.send(pieces, text=pieces.is_text)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            async with stage.ours(ours, compression="deflate") as ws:
                for text in (True, False):
                    await ws.send(parts, text=text)
                    assert await ws.receive(decode=True) == "".join(parts)
                    await ws.send((part for part in parts), text=text)
                    taken = await received(ws)
                    assert taken == ("".join(parts) if text else "".join(parts).encode())
    assert ws.close_event is not None
    assert ws.close_event.was_clean


# -- receive(decode=) ------------------------------------------------------------------------------------------------


async def test_receive_decode_decides_the_type(stage: Stage) -> None:
    """`decode=True` is a str and `decode=False` bytes, whatever the peer has sent."""

    async def block(ws: WebSocket) -> None:
        for opcode in (TEXT, BINARY):
            found = [await ws.receive(decode=decode) for decode in (None, True, False)]
            assert found == ["é" if opcode == TEXT else "é".encode(), "é", "é".encode()]
        assert await ws.receive(decode=True) == ""
        assert await ws.receive(decode=False) == b""

    async def script(peer: ScriptedPeer) -> None:
        messages = [peer.frame(opcode, "é".encode()) for opcode in (TEXT, BINARY) for _ in range(3)]
        await peer.send(*messages, peer.frame(BINARY), peer.frame(TEXT))
        await echo_close(peer)

    await play(stage, block, script)


async def test_receive_decode_of_what_is_not_utf8_loses_nothing(stage: Stage) -> None:
    """ValueError, as often as it is tried; the message can still be had, and is the next one all the same."""

    async def block(ws: WebSocket) -> None:
        for _ in range(2):
            with pytest.raises(ValueError, match="byte 1 is not"):
                await ws.receive(decode=True)
        assert await ws.receive() == b"a\xff"
        with pytest.raises(ValueError, match="byte 0 is not"):
            await ws.receive(decode=True)
        assert await received(ws) == b"\xfe"
        with pytest.raises(ValueError, match="unexpected end"):
            await ws.receive(decode=True)
        assert await ws.receive(decode=False) == b"\xc3"
        assert await ws.receive(decode=True) == "behind"
        assert ws.stats.messages_received == 4

    async def script(peer: ScriptedPeer) -> None:
        frames = (peer.frame(BINARY, data) for data in (b"a\xff", b"\xfe", b"\xc3", b"behind"))
        await peer.send(*frames)
        await echo_close(peer)

    await play(stage, block, script)


@pytest.mark.parametrize("wrong", [1, 0, "utf-8", b""], ids=repr)
async def test_receive_decode_of_a_wrong_type(stage: Stage, wrong: Any) -> None:
    """TypeError that names it; nothing is received."""

    async def block(ws: WebSocket) -> None:
        with pytest.raises(TypeError, match=f"decode must be True, False or None, not {type(wrong).__name__}"):
            await ws.receive(decode=wrong)
        assert await ws.receive() == "hello"

    await play(stage, block, send_then(lambda peer: peer.frame(TEXT, b"hello"), then=echo_close))


# -- by chance -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_stream_by_chance(stage: Stage, seed: int) -> None:
    """Whatever is cancelled, left, resumed or skipped, wherever the peer cuts: every message comes once, in order."""
    chance = random.Random(seed)
    texts = [LETTERS * int(chance.expovariate(0.02)) + f"{number}" for number in range(40)]
    scope = trio.CancelScope()

    async def cancel_now_and_then() -> None:
        while True:
            for _ in range(chance.randrange(20)):
                await trio.lowlevel.checkpoint()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()

    async def take(ws: WebSocket) -> str | None:
        nonlocal scope
        taken: list[Any] = []
        while True:
            with trio.CancelScope() as scope:
                try:
                    async with ws.receive_stream() as pieces:
                        async for piece in pieces:
                            assert piece
                            taken.append(piece)
                            if chance.random() < 0.1:
                                raise Left
                            if chance.random() < 0.05:
                                return None
                        return "".join(taken)
                except Left:
                    pass

    async def take_whole(ws: WebSocket) -> str | bytes:
        nonlocal scope
        while True:
            with trio.CancelScope() as scope:
                return await ws.receive()

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_now_and_then)
            for text in texts:
                is_large = len(text.encode()) > LIMIT
                taken = await (take(ws) if is_large or chance.random() < 0.5 else take_whole(ws))
                assert taken in (text, None)
            nursery.cancel_scope.cancel()
        assert await ws.receive() == "the end"
        stats = ws.stats
        assert stats.messages_received + stats.messages_dropped == len(texts) + 1
        assert stats.bytes_received + stats.bytes_dropped == sum(len(text.encode()) for text in texts) + 7

    async def script(peer: ScriptedPeer) -> None:
        cutting = random.Random(-seed)
        wire = b""
        for text in texts:
            data = text.encode()
            cuts = sorted(cutting.choices(range(len(data)), k=cutting.randrange(9)))
            wire += b"".join(fragments(peer, TEXT, *(data[a:b] for a, b in pairwise([0, *cuts, len(data)]))))
            wire += peer.frame(PING)
        while wire:
            at = cutting.randrange(1, 400)
            await peer.send(wire[:at])
            wire = wire[at:]
        await peer.send(peer.frame(TEXT, b"the end"))
        await echo_close(peer)

    await play(stage, block, script, max_message_size=LIMIT, max_queue=4)
