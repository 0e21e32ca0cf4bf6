"""Section 6: a message that is sent piece by piece, and what becomes of one that is broken off."""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import repeat
from types import MappingProxyType
from typing import Any, Final

import pytest
import trio
import trio.testing
from stages import Script

from trio_closeevents import (
    CloseCause,
    CloseFrame,
    ClosePolicy,
    ConnectionBroken,
    ConnectionClosed,
    LocallyClosed,
    ReadyState,
    WebSocket,
)
from trio_closeevents._errors import raise_unchanged
from trio_closeevents._writer import HIGH_WATER
from trio_closeevents.testing import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, ScriptedPeer

from .stage import Block, Outcome, Stage, do_nothing, echo_close, end_transport, event

LARGE: Final = 300_000  # bytes, with which the outbox is over its limit, and a socket's buffers soon full


def messages(frames: Iterable[Frame]) -> list[tuple[int, list[bytes]]]:
    """Put together what was received, as a strict peer does: each message's type and the payloads of its frames."""
    found: list[tuple[int, list[bytes]]] = []
    in_message = False
    for frame in frames:
        if frame.opcode >= 8:
            assert frame.fin
            continue
        assert (frame.opcode == CONTINUATION) is in_message, f"{frame} does not belong here"
        if not in_message:
            found.append((frame.opcode, []))
        found[-1][1].append(frame.payload)
        in_message = not frame.fin
    assert not in_message, "a message has no end"
    return found


class Gate:
    """Lets somebody through, once each time it is opened."""

    def __init__(self) -> None:
        self._in, self._out = trio.open_memory_channel[None](math.inf)

    def open(self) -> None:
        self._in.send_nowait(None)

    async def wait(self) -> None:
        await self._out.receive()


async def play(stage: Stage, block: Block, script: Script, **options: Any) -> Outcome:
    """Play, and let out what left the block: the stage itself only notes it."""
    outcome = await stage.play(block, script, **options)
    if outcome.raised is not None:
        raise_unchanged(outcome.raised)
    return outcome


async def asynchronously(parts: Iterable[Any]) -> AsyncIterator[Any]:
    """Give *parts*, without waiting for anything."""
    for part in parts:
        yield part


class OnlyAsyncNext:
    """What `async for` takes, although it is no `AsyncIterator` for `isinstance`: nobody asks for its `__aiter__`."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self._parts = iter(parts)

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint()
        for part in self._parts:
            return part
        raise StopAsyncIteration


class AsyncParts:
    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __aiter__(self) -> OnlyAsyncNext:
        return OnlyAsyncNext(self._parts)


class Source(AsyncIterator[Any]):
    """Gives *parts*, waits until it is told to go on, then ends or raises *end*; notes whether it was closed.

    Attributes:
        wait_before: how many parts it gives before it waits.
        asked: how many parts it was asked for.
        waiting: set when all *parts* were taken, and more is asked for.
    """

    def __init__(self, *parts: Any, end: BaseException | None = None) -> None:
        self.asked = 0
        self.waiting = trio.Event()
        self.go_on = trio.Event()
        self.closed = False
        self.wait_before = len(parts)
        self._parts = list(parts)
        self._end = end

    async def __anext__(self) -> Any:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.asked > self.wait_before:
            self.waiting.set()
            await self.go_on.wait()
        if self._parts:
            return self._parts.pop(0)
        raise StopAsyncIteration if self._end is None else self._end

    async def aclose(self) -> None:
        self.closed = True


# -- what goes out ---------------------------------------------------------------------------------------------------

BYTES: Final = [b"one", bytearray(b"two"), memoryview(b"a three")[2:], memoryview(b"f-o-u-r")[::2]]
KINDS: Final[list[Callable[[list[Any]], Any]]] = [
    list,
    tuple,
    iter,
    asynchronously,
    lambda parts: AsyncParts(*parts),
    lambda parts: (part for part in parts),
    deque,
]


async def test_send_iterable_is_one_fragmented_message(stage: Stage) -> None:
    """Of str or bytes-like parts, from any iterable: the first frame has the type, the others continue it."""

    async def block(ws: WebSocket) -> None:
        for kind in KINDS:
            await ws.send(kind(["é", "€", "", "😀"]))
            await ws.send(kind(list(BYTES)))
        assert ws.stats.messages_sent == 2 * len(KINDS)
        assert ws.stats.bytes_sent == len(KINDS) * (9 + 15)

    outcome = await play(stage, block, echo_close)
    assert messages(outcome.peer.frames) == [
        (TEXT, ["é".encode(), "€".encode(), "😀".encode(), b""]),
        (BINARY, [b"one", b"two", b"three", b"four", b""]),
    ] * len(KINDS)


async def test_send_text_decides_the_type(stage: Stage) -> None:
    """`text=True` sends bytes as text, `text=False` str as binary, whole or in parts; characters may be cut."""
    euro = "€".encode()
    cases: list[tuple[Any, bool | None, int, list[bytes]]] = [
        ("é", None, TEXT, ["é".encode()]),
        ("é", True, TEXT, ["é".encode()]),
        ("é", False, BINARY, ["é".encode()]),
        (euro, True, TEXT, [euro]),
        (bytearray(euro), True, TEXT, [euro]),
        (euro, False, BINARY, [euro]),
        (["a", "é"], True, TEXT, [b"a", "é".encode(), b""]),
        (["a", "é"], False, BINARY, [b"a", "é".encode(), b""]),
        ([euro], False, BINARY, [euro, b""]),
        ([b"a" + euro[:1], euro[1:2], euro[2:] + b"b"], True, TEXT, [b"a", euro + b"b", b""]),
        (iter([memoryview(euro)[:2], euro[2:]]), True, TEXT, [euro, b""]),
        (asynchronously([euro[i : i + 1] for i in range(3)]), True, TEXT, [euro, b""]),
    ]

    async def block(ws: WebSocket) -> None:
        for value, text, *_ in cases:
            await ws.send(value, text=text)

    outcome = await play(stage, block, echo_close)
    assert messages(outcome.peer.frames) == [(opcode, payloads) for _, _, opcode, payloads in cases]


async def test_send_of_nothing_but_empty_parts_is_an_empty_message(stage: Stage) -> None:
    """No fragment is empty but the last; a message without content is one empty frame, of the type that is known."""
    cases: list[tuple[Any, bool | None, int]] = [
        ([""], None, TEXT),
        ([b"", b""], None, BINARY),
        ([], True, TEXT),
        ((), False, BINARY),
        (iter([]), True, TEXT),
        (asynchronously([]), False, BINARY),
        (asynchronously(["", ""]), None, TEXT),
        ([b""], True, TEXT),
        ([""], False, BINARY),
    ]

    async def block(ws: WebSocket) -> None:
        for value, text, _ in cases:
            await ws.send(value, text=text)

    outcome = await play(stage, block, echo_close)
    assert messages(outcome.peer.frames) == [(opcode, [b""]) for _, _, opcode in cases]


def broken_generator() -> Iterator[str]:
    raise KeyError("mine")
    yield ""


WRONG: Final[list[tuple[Callable[[], Any], bool | None, type[Exception], str]]] = [
    (lambda: {"a": 1}, None, TypeError, "a dict is no message: send its keys or values"),
    (lambda: MappingProxyType({}), True, TypeError, "a mappingproxy is no message"),
    (lambda: ["a", b"b"], None, TypeError, "all be str or all be bytes-like: b'b'"),
    (lambda: (b"a", "b"), True, TypeError, "all be str or all be bytes-like: 'b'"),
    (lambda: ["a", 1], None, TypeError, "all be str or all be bytes-like: 1"),
    (lambda: [b"a", 1], None, TypeError, "not int: 1"),
    (lambda: range(3), None, TypeError, "not int: 0"),
    (lambda: [None], None, TypeError, "not NoneType: None"),
    (lambda: [["a"]], None, TypeError, r"not list: \['a'\]"),
    (lambda: iter([None, "a"]), None, TypeError, "not NoneType: None"),
    (lambda: asynchronously([{"a": 1}]), True, TypeError, "not dict"),
    (lambda: 7, True, TypeError, "not int: 7"),
    (list, None, ValueError, "give text=True or text=False"),
    (lambda: iter(()), None, ValueError, "give text=True or text=False"),
    (lambda: asynchronously([]), None, ValueError, "give text=True or text=False"),
    (lambda: ["ok", "\ud83d", "\ude00"], None, ValueError, "lone surrogate"),
    (lambda: "\ud800", False, ValueError, "lone surrogate"),
    (lambda: iter(["\ud800"]), False, ValueError, "lone surrogate"),
    (lambda: b"\xff", True, ValueError, "byte 0 is not"),
    (lambda: [b"a", b"\xe2\x82", b"a"], True, ValueError, "must be valid UTF-8"),
    (lambda: [b"a", b"\xe2\x82"], True, ValueError, "unexpected end"),
    (lambda: iter([b"\xff"]), True, ValueError, "must be valid UTF-8"),
    (lambda: iter([b"\xe2", b"\x82"]), True, ValueError, "unexpected end"),
    (lambda: asynchronously(["", 1]), None, TypeError, "all be str or all be bytes-like: 1"),
    (broken_generator, None, KeyError, "mine"),
]


async def test_send_of_what_is_no_message_sends_nothing(stage: Stage) -> None:
    """The error names what is wrong, nothing is on the wire, and the connection is as it was."""

    async def block(ws: WebSocket) -> None:
        for make, text, kind, match in WRONG:
            with pytest.raises(kind, match=match):
                await ws.send(make(), text=text)
        for wrong in (1, 0, "yes", b""):
            for value in ("x", ["x"]):
                with pytest.raises(TypeError, match=f"text must be True, False or None, not {type(wrong).__name__}"):
                    await ws.send(value, text=wrong)  # type: ignore[arg-type]
        await ws.send(["still", "open"])

    outcome = await play(stage, block, echo_close)
    assert messages(outcome.peer.frames) == [(TEXT, [b"still", b"open", b""])]


async def test_send_list_is_checked_whole_before_the_first_byte(stage: Stage) -> None:
    """Its buffers may be changed as soon as that was done; so may it itself."""
    buffer = bytearray(b"before")
    parts: list[Any] = [buffer, b"x" * LARGE, b"the end"]

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, parts)
            await trio.testing.wait_all_tasks_blocked()
            buffer[:] = b"after!"
            parts.clear()
            go_on.set()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await play(stage, block, script, bounded=True)
    assert messages(outcome.peer.frames) == [(BINARY, [b"before", b"x" * LARGE, b"the end", b""])]


async def test_send_parts_leave_when_they_are_given(stage: Stage) -> None:
    """The peer sees the first part while the iterable still waits for the second."""
    seen = Gate()

    async def parts() -> AsyncIterator[str]:
        for part in ("one", "two", "three"):
            yield part
            await seen.wait()

    async def block(ws: WebSocket) -> None:
        await ws.send(parts())

    async def script(peer: ScriptedPeer) -> None:
        for expected in ("Text... b'one'", "Continuation... b'two'", "Continuation... b'three'", "Continuation"):
            assert str(await peer.receive()) == expected
            seen.open()
        await echo_close(peer)

    await play(stage, block, script)


async def test_send_gives_others_their_turn_between_two_parts(stage: Stage) -> None:
    """An iterable that never waits does not hold the loop: its parts leave, and it can be cancelled."""
    scope = trio.CancelScope()

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, asynchronously(repeat("")))
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert ws.state is ReadyState.OPEN
        with scope:
            await ws.send(repeat(b"x"))

    async def script(peer: ScriptedPeer) -> None:
        for _ in range(10):
            await peer.receive()
        scope.cancel()
        await echo_close(peer)

    outcome = await play(stage, block, script)
    assert scope.cancelled_caught
    assert outcome.event == event(1001, "cancelled", "local", clean=True, sent=1001, received=1001)


async def test_send_of_a_long_list_gives_others_their_turn(stage: Stage) -> None:
    """Although all of it is here: others run while it is sent, and it can be cancelled in between."""
    turns = 0

    async def block(ws: WebSocket) -> None:
        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await ws.send(["x"] * 3000)
            nursery.cancel_scope.cancel()

    outcome = await play(stage, block, echo_close)
    assert turns > 20
    assert messages(outcome.peer.frames) == [(TEXT, [b"x"] * 3000 + [b""])]


async def test_send_iterable_is_asked_for_more_only_when_there_is_room(stage: Stage) -> None:
    """With more than 64 KiB queued, the iterable is not asked for the next part."""
    source = Source(*(bytes([number]) * LARGE for number in range(30)))
    source.go_on.set()

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, source)
            asked = -1
            while source.asked > asked:
                asked = source.asked
                await trio.testing.wait_all_tasks_blocked(0.05)
            assert 0 < asked < 31
            assert HIGH_WATER < ws.buffered <= LARGE
            go_on.set()
        assert source.asked == 31

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await play(stage, block, script, bounded=True)
    assert messages(outcome.peer.frames) == [(BINARY, [bytes([number]) * LARGE for number in range(30)] + [b""])]


async def test_send_by_others_waits_for_the_end_of_a_fragmented_message(stage: Stage) -> None:
    """Messages of other tasks come whole, before or behind it, in the order they were asked for."""
    source = Source("one")

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            await ws.send("before")
            nursery.start_soon(ws.send, source)
            await source.waiting.wait()
            later: tuple[Any, ...] = ("whole", ["in", "parts"], b"whole too", asynchronously([b"more", b"parts"]))
            for message in later:
                nursery.start_soon(ws.send, message)
                await trio.testing.wait_all_tasks_blocked()
            assert ws.stats.messages_sent == 1
            source.go_on.set()
        assert ws.stats.messages_sent == 6
        await ws.send("after")

    outcome = await play(stage, block, echo_close)
    assert messages(outcome.peer.frames) == [
        (TEXT, [b"before"]),
        (TEXT, [b"one", b""]),
        (TEXT, [b"whole"]),
        (TEXT, [b"in", b"parts", b""]),
        (BINARY, [b"whole too"]),
        (BINARY, [b"more", b"parts", b""]),
        (TEXT, [b"after"]),
    ]


async def test_many_fragmented_messages_never_interleave(stage: Stage) -> None:
    """Ten tasks send fragmented and whole messages at once: each arrives whole, however little room there is."""

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                part = bytes([number]) * 30_000
                nursery.start_soon(ws.send, asynchronously([part] * 5) if number % 2 else part)

    outcome = await play(stage, block, echo_close, bounded=True, close_timeout=10)
    found = messages(outcome.peer.frames)
    assert sorted(b"".join(payloads) for _, payloads in found) == [
        bytes([number]) * (150_000 if number % 2 else 30_000) for number in range(10)
    ]


async def test_control_frames_go_between_fragments(stage: Stage) -> None:
    """A Ping of ours, its round trip, a Pong, and the answer to the peer's Ping do not wait for the message."""
    source = Source("one")

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, source)
            await source.waiting.wait()
            await ws.ping(b"ours")
            await ws.pong(b"unasked")
            await answered.wait()
            source.go_on.set()

    answered = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        assert str(await peer.receive()) == "Text... b'one'"
        assert str(await peer.receive()) == "Ping b'ours'"
        await peer.send(peer.frame(PONG, b"ours"), peer.frame(PING, b"theirs"))
        assert {str(await peer.receive()) for _ in range(2)} == {"Pong b'unasked'", "Pong b'theirs'"}
        answered.set()
        assert str(await peer.receive()) == "Continuation"
        await echo_close(peer)

    await play(stage, block, script)


async def test_keepalive_goes_on_between_fragments(stage: Stage) -> None:
    """An iterable that takes its time does not keep the connection from asking whether the peer lives."""
    source = Source("one")

    async def block(ws: WebSocket) -> None:
        await ws.send(source)
        assert ws.latency is not None

    async def script(peer: ScriptedPeer) -> None:
        assert str(await peer.receive()) == "Text... b'one'"
        for _ in range(3):
            ping = await peer.receive()
            assert ping is not None
            assert ping.opcode == PING
            await peer.send(peer.frame(PONG, ping.payload))
        source.go_on.set()
        await echo_close(peer)

    await play(stage, block, script, ping_interval=0.1)


async def test_send_of_a_message_stream_passes_it_on(stage: Stage) -> None:
    """What is received piece by piece can be sent piece by piece, as it comes."""

    async def block(ws: WebSocket) -> None:
        for _ in range(3):
            async with ws.receive_stream() as pieces:
                await ws.send(pieces, text=pieces.is_text)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(TEXT, b"one", fin=False))
        assert str(await peer.receive()) == "Text... b'one'"
        await peer.send(peer.frame(CONTINUATION, b"two"), peer.frame(BINARY), peer.frame(BINARY, b"x" * 30_000))
        await echo_close(peer)

    outcome = await play(stage, block, script)
    *first_two, (opcode, payloads) = messages(outcome.peer.frames)
    assert first_two == [(TEXT, [b"one", b"two", b""]), (BINARY, [b""])]
    assert (opcode, b"".join(payloads)) == (BINARY, b"x" * 30_000)


async def test_send_by_the_iterable_itself_is_an_error(stage: Stage) -> None:
    """A part of a message cannot wait for the message's end: RuntimeError, in place of a task that hangs."""

    async def parts(ws: WebSocket) -> AsyncIterator[str]:
        await ws.send("before")
        yield "one"
        await ws.ping()
        with pytest.raises(RuntimeError, match="would wait for itself"):
            await ws.send("in between")
        with pytest.raises(RuntimeError, match="would wait for itself"):
            await ws.send(["in", "between"])
        yield "two"

    async def block(ws: WebSocket) -> None:
        await ws.send(parts(ws))

    async def script(peer: ScriptedPeer) -> None:
        while (received := await peer.receive()) is not None and received.opcode != 8:
            if received.opcode == PING:
                await peer.send(peer.frame(PONG, received.payload))
        await peer.send(peer.close_frame(1000))
        await end_transport(peer)

    outcome = await play(stage, block, script)
    assert messages(outcome.peer.frames) == [(TEXT, [b"before"]), (TEXT, [b"one", b"two", b""])]


# -- breaking off ----------------------------------------------------------------------------------------------------


def behind(outcome: Outcome, *frames: str) -> list[str]:
    """Return what the peer saw behind *frames*, which begin a message that has no end."""
    record = outcome.peer.record
    assert record[: len(frames)] == list(frames)
    return record[len(frames) :]


@pytest.mark.parametrize(
    ("error", "code", "cause"),
    [
        (KeyError("mine"), 1011, "error"),
        (PermissionError("mine"), 4403, "error"),
        (ExceptionGroup("", [PermissionError(), PermissionError()]), 4403, "error"),
        (BaseExceptionGroup("", [KeyError(), KeyboardInterrupt()]), 1011, "error"),
        (KeyboardInterrupt(), 1001, "cancelled"),
        (SystemExit(), 1001, "cancelled"),
    ],
    ids=repr,
)
async def test_send_whose_iterable_raises_ends_the_connection(
    stage: Stage, error: BaseException, code: int, cause: str
) -> None:
    """Close with the policy's code behind whole fragments; the exception goes on as it was, through the block too."""
    error.__traceback__ = error.__context__ = None
    source = Source("one", "", "two", end=error)
    source.go_on.set()

    async def block(ws: WebSocket) -> None:
        with pytest.raises(type(error)) as raised:
            await ws.send(source)
        assert raised.value is error
        assert (error.__cause__, error.__context__) == (None, None)
        with pytest.raises(LocallyClosed):
            await ws.send("never")
        with pytest.raises(LocallyClosed):
            await ws.send(iter(["never"]))
        raise error

    reason = "no" if code == 4403 else ""
    outcome = await stage.play(block, echo_close, policy=ClosePolicy({PermissionError: (4403, reason)}))
    assert outcome.raised is error
    assert error.__context__ is None
    close = f"Close {code}" + (f" {reason!r}" if reason else "")
    assert behind(outcome, "Text... b'one'", "Continuation... b'two'") == [close, "FIN"]
    frame = CloseFrame(code, reason)
    assert outcome.event == event(code, cause, "local", reason=reason, clean=True, sent=frame, received=frame)


@pytest.mark.parametrize("bad", [1, "text", b"\xff", None, {}, b"\xe2"], ids=repr)
async def test_send_with_a_bad_part_in_the_middle_ends_the_connection(stage: Stage, bad: Any) -> None:
    """As if the iterable had raised it: TypeError or ValueError, and 1011."""

    async def block(ws: WebSocket) -> None:
        with pytest.raises((TypeError, ValueError)):
            await ws.send(iter([b"one", bad]), text=True)

    outcome = await play(stage, block, echo_close)
    assert behind(outcome, "Text... b'one'") == ["Close 1011", "FIN"]
    assert outcome.event == event(1011, "error", "local", clean=True, sent=1011, received=1011)


@pytest.mark.parametrize("parts", [[], [""], ["", ""]], ids=repr)
async def test_send_whose_iterable_raises_before_anything_was_sent(stage: Stage, parts: list[str]) -> None:
    """The connection stays open, and nothing is on the wire: an empty part is none."""
    error = KeyError("mine")
    source = Source(*parts, end=error)

    async def block(ws: WebSocket) -> None:
        async def wait_for_turn() -> None:
            await source.waiting.wait()
            await ws.send("other")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_turn)
            await trio.testing.wait_all_tasks_blocked()
            source.go_on.set()
            with pytest.raises(KeyError) as raised:
                await ws.send(source)
            assert raised.value is error
        await ws.send(["still", "open"])

    outcome = await play(stage, block, echo_close)
    assert messages(outcome.peer.frames) == [(TEXT, [b"other"]), (TEXT, [b"still", b"open", b""])]


async def test_send_cancelled_between_two_parts_ends_the_connection(stage: Stage) -> None:
    """1001 behind whole fragments; Cancelled goes on; what had arrived stays receivable until the block is left."""
    source = Source("one")

    async def block(ws: WebSocket) -> None:
        assert await ws.receive() == "first"
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def cancel() -> None:
                    await source.waiting.wait()
                    scope.cancel()

                await ws.send(source)
        assert scope.cancelled_caught
        with pytest.raises(LocallyClosed):
            await ws.send("never")
        assert await ws.receive() == "second"
        assert await ws.receive() == "third"
        with pytest.raises(LocallyClosed) as raised:
            await ws.receive()
        assert raised.value.event is ws.close_event

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(*(peer.frame(TEXT, text) for text in (b"first", b"second", b"third")))
        await echo_close(peer)

    outcome = await play(stage, block, script)
    assert behind(outcome, "Text... b'one'") == ["Close 1001", "FIN"]
    assert outcome.event == event(1001, "cancelled", "local", clean=True, sent=1001, received=1001)


async def test_send_cancelled_while_a_part_waits_for_room_ends_the_connection(stage: Stage) -> None:
    """The part that was queued goes out whole, and the Close frame behind it."""
    large = 8_000_000

    async def block(ws: WebSocket) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send, Source(b"one", bytes(large), b"never"))
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert ws.buffered > 2**16
                scope.cancel()
        assert scope.cancelled_caught
        go_on.set()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await play(stage, block, script, bounded=True, close_timeout=10, cancel_timeout=10)
    assert behind(outcome, "Binary... b'one'", f"Continuation... of {large} B") == ["Close 1001", "FIN"]
    assert outcome.event == event(1001, "cancelled", "local", clean=True, sent=1001, received=1001)


async def test_send_broken_off_while_nothing_leaves_sends_no_torn_frame(stage: Stage) -> None:
    """A peer that does not read: the transport is dropped in the middle of a frame, with no Close inside it."""

    async def block(ws: WebSocket) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send, Source(b"one", bytes(8_000_000), b"never"))
                await trio.testing.wait_all_tasks_blocked(0.05)
                scope.cancel()
        await ws.wait_closed()

    outcome = await play(stage, block, do_nothing, bounded=True)
    await outcome.peer.drain()
    assert [str(each) for each in outcome.peer.frames] in (["Binary... b'one'"], [])
    assert outcome.event == event(1006, "cancelled", "transport")


async def test_send_cancelled_when_its_last_part_is_queued_leaves_the_connection_open(stage: Stage) -> None:
    """The message is whole then: it goes out, and the connection stays usable, as for any other send."""

    async def block(ws: WebSocket) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await trio.lowlevel.checkpoint()
            # more than anybody takes at once, as if other tasks had sent many Pings
            ws._driver.writer.outbox.append(ws._session.send_fragment(bytes(8_000_000), last=False))

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send, parts())
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert ws.stats.messages_sent == 1
                scope.cancel()
        assert scope.cancelled_caught
        assert ws.state is ReadyState.OPEN
        go_on.set()
        await ws.send("after")

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await play(stage, block, script, bounded=True, close_timeout=10)
    assert messages(outcome.peer.frames) == [(BINARY, [b"one", bytes(8_000_000), b""]), (TEXT, [b"after"])]


async def test_send_cancelled_while_it_waits_for_its_turn_sends_nothing(stage: Stage) -> None:
    """Behind another message that is under way: nothing was sent, and the connection stays usable."""
    first, second, third = Source("one"), Source("never"), Source("three")

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, first)
            await first.waiting.wait()
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_soon, scope)
                await ws.send(second)
            assert scope.cancelled_caught
            assert second.asked == 1
            nursery.start_soon(ws.send, third)
            first.go_on.set()
            third.go_on.set()
        await ws.send("after")

    async def cancel_soon(scope: trio.CancelScope) -> None:
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()

    outcome = await play(stage, block, echo_close)
    assert messages(outcome.peer.frames) == [(TEXT, [b"one", b""]), (TEXT, [b"three", b""]), (TEXT, [b"after"])]


async def test_send_that_waits_behind_a_message_that_is_broken_off(stage: Stage) -> None:
    """It wakes with LocallyClosed, whole or in parts, and so does whoever is in receive()."""
    error = KeyError("mine")
    source = Source("one", end=error)
    woken: list[CloseCause | None] = []

    async def block(ws: WebSocket) -> None:
        async def fail(call: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(LocallyClosed) as raised:
                await call()
            assert raised.value.event is not None
            assert raised.value.event is ws.close_event
            woken.append(raised.value.event.cause)

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def first() -> None:
                with pytest.raises(KeyError) as raised:
                    await ws.send(source)
                assert raised.value is error

            await source.waiting.wait()
            for call in (lambda: ws.send("never"), lambda: ws.send(Source("never")), ws.receive, ws.ping):
                nursery.start_soon(fail, call)
            await trio.testing.wait_all_tasks_blocked()
            source.go_on.set()

    outcome = await play(stage, block, echo_close)
    assert woken == [CloseCause.ERROR] * 4
    assert "Text b'never'" not in outcome.peer.record


Ending = Callable[[ScriptedPeer], Awaitable[object]]

# What an iterable gives until it waits for its next part, or send() for room.
PARTS_BEFORE: Final[dict[str, list[Any]]] = {"part": ["one"], "first part": [], "room": [bytes(8_000_000)]}


async def peer_closes(peer: ScriptedPeer) -> None:
    await peer.send(peer.close_frame(1000))
    await peer.receive_close()
    await end_transport(peer)


@pytest.mark.parametrize("waits_for", PARTS_BEFORE)
@pytest.mark.parametrize(
    "ending", [peer_closes, ScriptedPeer.aclose, ScriptedPeer.reset], ids=["close", "fin", "reset"]
)
async def test_send_in_parts_wakes_when_the_peer_ends_the_connection(
    stage: Stage, ending: Ending, waits_for: str
) -> None:
    """ConnectionBroken, although the iterable has nothing to give or the outbox no room."""
    source = Source(*PARTS_BEFORE[waits_for])

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_then_end)
            with pytest.raises(ConnectionBroken) as raised:
                await ws.send(source)
        assert raised.value.event is ws.close_event is not None

    async def wait_then_end() -> None:
        await trio.testing.wait_all_tasks_blocked(0.01)
        go_on.set()

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        if waits_for == "part":
            await peer.receive()
        await go_on.wait()
        await ending(peer)

    outcome = await play(stage, block, script, bounded=True)
    assert outcome.event is not None
    assert outcome.event.cause in (CloseCause.REMOTE, CloseCause.EOF, CloseCause.RESET)
    if waits_for == "part":
        assert [str(each) for each in outcome.peer.frames[:1]] == ["Text... b'one'"]


@pytest.mark.parametrize("waits_for", PARTS_BEFORE)
@pytest.mark.parametrize("how", ["aclose", "abort"])
async def test_send_in_parts_wakes_when_another_task_ends_the_connection(
    stage: Stage, how: str, waits_for: str
) -> None:
    """LocallyClosed; nothing more of the message is sent."""
    source = Source(*PARTS_BEFORE[waits_for])

    async def block(ws: WebSocket) -> None:
        async def end() -> None:
            await trio.testing.wait_all_tasks_blocked(0.01)
            go_on.set()
            if how == "aclose":
                await ws.aclose(4000)
            else:
                ws.abort()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            with pytest.raises(LocallyClosed) as raised:
                await ws.send(source)
        assert raised.value.event is ws.close_event is not None

    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await play(stage, block, script, bounded=True, close_timeout=10)
    if how == "aclose":
        assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)
    else:
        assert outcome.event == event(1006, "aborted", "transport")


@pytest.mark.parametrize("parts", [[], ["one"]], ids=["first part", "next part"])
async def test_send_in_parts_while_a_close_is_under_way(stage: Stage, parts: list[str]) -> None:
    """A part that is given then is not sent; send() waits for the event, and is LocallyClosed."""
    source = Source(*parts, "never")

    async def block(ws: WebSocket) -> None:
        async def close() -> None:
            await source.waiting.wait()
            nursery.start_soon(ws.aclose, 4000)
            await trio.testing.wait_all_tasks_blocked()
            source.go_on.set()
            await trio.testing.wait_all_tasks_blocked()
            assert ws.close_event is None
            assert not sent.cancel_called
            go_on.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            with trio.CancelScope() as sent:
                with pytest.raises(LocallyClosed) as raised:
                    await ws.send(source)
                assert raised.value.event is ws.close_event is not None
                assert source.asked == len(parts) + 1

    source.wait_before = len(parts)
    go_on = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await go_on.wait()
        await echo_close(peer)

    outcome = await play(stage, block, script)
    assert outcome.event == event(4000, "closed", "local", clean=True, sent=4000, received=4000)
    assert [str(each) for each in outcome.peer.frames] == [*(["Text... b'one'"] if parts else []), "Close 4000"]


async def test_aclose_by_the_iterable_itself(stage: Stage) -> None:
    """It may close the connection; the message is over then."""

    async def parts(ws: WebSocket) -> AsyncIterator[str]:
        yield "one"
        await ws.aclose(4000)
        yield "never"

    async def block(ws: WebSocket) -> None:
        with pytest.raises(LocallyClosed):
            await ws.send(parts(ws))

    outcome = await play(stage, block, echo_close)
    assert behind(outcome, "Text... b'one'") == ["Close 4000", "FIN"]


# -- what becomes of the iterable ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["complete", "bad part", "cancelled", "closed", "not sendable"])
async def test_send_closes_an_async_generator(stage: Stage, way: str) -> None:
    """It is closed before send() returns or raises, however that ends; its own `finally` has run."""
    ended: list[str] = []
    waiting = trio.Event()

    async def parts() -> AsyncIterator[Any]:
        try:
            yield "one"
            if way == "bad part":
                yield 2
            elif way != "complete":
                waiting.set()
                await trio.sleep_forever()
        finally:
            ended.append("finally")

    async def block(ws: WebSocket) -> None:
        generator = parts()
        if way == "not sendable":
            await anext(generator)
            await ws.aclose()
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                @nursery.start_soon
                async def end() -> None:
                    await waiting.wait()
                    if way == "cancelled":
                        scope.cancel()
                    else:
                        await ws.aclose()

                try:
                    await ws.send(generator)
                except (TypeError, ConnectionClosed) as error:
                    ended.append(type(error).__name__)
                except trio.Cancelled:
                    ended.append("Cancelled")
                    raise
                else:
                    ended.append("returned")
            nursery.cancel_scope.cancel()

    await play(stage, block, echo_close)
    kinds = {"complete": "returned", "bad part": "TypeError", "cancelled": "Cancelled"}
    assert ended == ["finally", kinds.get(way, "LocallyClosed")]


@pytest.mark.parametrize("end", [None, KeyError("mine")], ids=["complete", "broken off"])
async def test_send_leaves_open_what_is_no_generator(stage: Stage, end: Exception | None) -> None:
    """A channel, a stream, another connection: an iterable that can be closed is not ours to close."""
    source = Source("one", end=end)
    source.go_on.set()

    async def block(ws: WebSocket) -> None:
        try:
            await ws.send(source)
        except KeyError:
            pass

    await play(stage, block, echo_close)
    assert not source.closed


async def test_send_does_not_protect_the_iterable_from_ctrl_c(stage: Stage) -> None:
    """It is the user's code: a KeyboardInterrupt goes off in it, wherever it runs."""
    protected: list[bool] = []

    def note() -> None:
        protected.append(trio.lowlevel.currently_ki_protected())

    def parts() -> Iterator[str]:
        note()
        yield "one"

    async def async_parts() -> AsyncIterator[str]:
        try:
            note()
            await trio.lowlevel.checkpoint()
            note()
            yield "one"
        finally:
            note()

    class Parts:
        def __iter__(self) -> Iterator[str]:
            note()
            return iter(["one"])

    async def block(ws: WebSocket) -> None:
        for source in (parts(), async_parts(), Parts()):
            await ws.send(source)
        torn = async_parts()
        with trio.CancelScope() as scope:
            assert await anext(torn) == "one"
            scope.cancel()
            await ws.send(torn)
        assert scope.cancelled_caught
        assert ws.state is ReadyState.OPEN

    await play(stage, block, echo_close)
    assert protected == [False] * 8


async def test_send_with_a_generator_that_keeps_a_scope_open(stage: Stage) -> None:
    """An async generator with a timeout or a nursery round its parts is entered and left in one piece."""

    async def parts() -> AsyncIterator[str]:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                for part in ("one", "two"):
                    yield part
                if go_on.is_set():
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel()

    go_on = trio.Event()

    async def block(ws: WebSocket) -> None:
        await ws.send(parts())
        go_on.set()
        with pytest.raises(ConnectionBroken):
            await ws.send(parts())

    async def script(peer: ScriptedPeer) -> None:
        for _ in range(5):
            await peer.receive()
        await peer_closes(peer)

    outcome = await play(stage, block, script)
    assert messages(outcome.peer.frames[:3]) == [(TEXT, [b"one", b"two", b""])]


# -- compressed ------------------------------------------------------------------------------------------------------


class CompressingPeer(ScriptedPeer):
    async def open(self, *, behind: bytes = b"", extensions: str = "permessage-deflate") -> None:
        await super().open(behind=behind, extensions=extensions)


class CompressingStage(Stage):
    """A stage whose peer agrees to compression."""

    async def peer_over(self, stream: trio.abc.HalfCloseableStream) -> ScriptedPeer:
        peer = await super().peer_over(stream)
        return CompressingPeer(peer.stream, client=peer.client)


async def test_send_in_parts_is_compressed_as_one_message(stage: Stage) -> None:
    """Each part can be inflated when it comes; Pings in between are not compressed."""
    source = Source(*(["compress me " * 100] * 3))

    async def block(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, source)
            await source.waiting.wait()
            await ws.pong(b"in between")
            await seen.wait()
            source.go_on.set()
        await ws.send(["again", "and again"])

    seen = trio.Event()

    async def script(peer: ScriptedPeer) -> None:
        inflate = zlib.decompressobj(-15).decompress
        for _ in range(3):
            part = await peer.receive()
            assert part is not None
            assert len(part.payload) < 100
            assert inflate(part.payload) == b"compress me " * 100
        assert str(await peer.receive()) == "Pong b'in between'"
        seen.set()
        last = await peer.receive()
        assert last is not None
        assert inflate(last.payload + b"\0\0\xff\xff") == b""
        parts = [await peer.receive() for _ in range(3)]
        assert inflate(b"".join(each.payload for each in parts if each) + b"\0\0\xff\xff") == b"againand again"
        await echo_close(peer)

    outcome = await play(CompressingStage(stage.role, stage.wire), block, script, compression="deflate")
    assert [message[0] for message in messages(outcome.peer.frames)] == [TEXT, TEXT]


async def test_senders_that_waited_for_a_fragmented_message_all_go_on(stage: Stage) -> None:
    """One after the other, in their order, and before whoever comes later; none is forgotten."""
    names = [f"waits {number}" for number in range(5)]

    async def block(ws: WebSocket) -> None:
        for _ in range(10):
            go_on = trio.Event()

            async def parts(go_on: trio.Event = go_on) -> AsyncIterator[str]:
                yield "first"
                await go_on.wait()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send, parts())
                await trio.testing.wait_all_tasks_blocked()
                for name in names:
                    nursery.start_soon(ws.send, name)
                    await trio.testing.wait_all_tasks_blocked()
                go_on.set()
                await trio.lowlevel.checkpoint()
                await ws.send("later")

    outcome = await play(stage, block, echo_close)
    assert (
        messages(outcome.peer.frames)
        == [
            (TEXT, [b"first", b""]),
            *[(TEXT, [name.encode()]) for name in [*names, "later"]],
        ]
        * 10
    )
