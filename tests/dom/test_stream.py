"""`dom.WebSocketStream`: promises, channels, and how it ends."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_closeevents import dom
from trio_closeevents.testing import BINARY, TEXT, ScriptedPeer


class Pair:
    """A stream that is not entered yet, and its server."""

    def __init__(self, **options: Any) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        self.peer = ScriptedPeer(theirs, client=False)
        self.stream = dom.WebSocketStream("ws://test/", stream=ours, **options)

    async def open(self) -> dom.WebSocketOpenInfo:
        await self.peer.open()
        return await self.stream.opened


async def test_stream_opens_talks_and_closes(autojump_clock: MockClock) -> None:
    """What is awaited is told to all who await it, before and after; the channels carry text and bytes."""
    pair = Pair()
    told: list[Any] = []

    async def watch() -> None:
        told.append(await pair.stream.closed)

    assert (pair.stream.url, repr(pair.stream)) == ("ws://test/", "<dom.WebSocketStream ws://test>")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        async with pair.stream as stream:
            opened = await pair.open()
            assert await stream.opened is opened
            assert (opened.extensions, opened.protocol) == ("", "")
            assert repr(stream.opened) == "<Promise settled>"
            assert repr(opened.readable) == "<readable side of <dom.WebSocketStream ws://test>>"
            assert repr(opened.writable) == "<writable side of <dom.WebSocketStream ws://test>>"
            await opened.writable.send("é\ud800")
            buffer: Any = bytearray(b"x")
            await opened.writable.send(buffer)
            frames = [await pair.peer.receive() for _ in range(2)]
            assert [(each.opcode, each.payload) for each in frames if each] == [
                (TEXT, "é\ufffd".encode()),
                (BINARY, b"x"),
            ]
            await pair.peer.send(pair.peer.frame(TEXT, b"one"), pair.peer.frame(BINARY, b"two"))
            assert [await opened.readable.receive(), await opened.readable.receive()] == ["one", b"two"]
            stream.close(closeCode=4000, reason="bye")
            stream.close(closeCode=4001)
            await pair.peer.be_polite()
            info = await stream.closed
    assert told == [info]
    assert (info.closeCode, info.close_code, info.reason) == (4000, 4000, "bye")
    assert pair.peer.record[-2:] == ["Close 4000 'bye'", "FIN"]


async def test_messages_before_a_clean_close_are_not_lost(autojump_clock: MockClock) -> None:
    """They wait for whoever reads them, though the connection is over; then the iteration ends."""
    pair = Pair()
    async with pair.stream as stream:
        opened = await pair.open()
        await pair.peer.send(
            pair.peer.frame(TEXT, b"one"), pair.peer.frame(TEXT, b"two"), pair.peer.close_frame(4000, "done")
        )
        await pair.peer.be_polite()
        assert (await stream.closed).closeCode == 4000
        assert [message async for message in opened.readable] == ["one", "two"]
        with pytest.raises(trio.EndOfChannel):
            await opened.readable.receive()
        with pytest.raises(dom.WebSocketError) as caught:
            await opened.writable.send("late")
        assert (caught.value.closeCode, caught.value.reason) == (4000, "done")


async def test_stream_in_a_nursery_ends_when_it_was_read(autojump_clock: MockClock) -> None:
    """The nursery waits until the last message was received."""
    read: list[Any] = []
    async with trio.open_nursery() as nursery:
        pair = Pair(nursery=nursery)
        opened = await pair.open()
        await pair.peer.send(pair.peer.frame(TEXT, b"one"), pair.peer.close_frame())
        await pair.peer.be_polite()
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        read.append(await opened.readable.receive())
    assert read == ["one"]
    assert (await pair.stream.closed).closeCode == 1005


async def test_slow_reader_is_felt_by_the_server() -> None:
    """Nothing is read that nobody asks for, beyond the limits of the queue."""
    pair = Pair(max_queue=1)
    async with pair.stream:
        opened = await pair.open()
        for each in (b"1", b"2", b"3", b"4"):
            await pair.peer.send(pair.peer.frame(TEXT, each))
        await wait_all_tasks_blocked()
        assert [await opened.readable.receive() for _ in range(4)] == ["1", "2", "3", "4"]
        pair.stream.close()
        await pair.peer.be_polite()


@pytest.mark.parametrize("side", ["readable", "writable"])
async def test_closing_a_side_closes_the_connection(side: str, autojump_clock: MockClock) -> None:
    """With an empty Close frame, and waits for its end; messages that nobody wants any more keep nobody waiting."""
    pair = Pair()
    async with trio.open_nursery() as nursery:
        async with pair.stream as stream:
            opened = await pair.open()
            await pair.peer.send(pair.peer.frame(TEXT, b"unread"))
            await wait_all_tasks_blocked()
            nursery.start_soon(pair.peer.be_polite)
            await getattr(opened, side).aclose()
            assert (await stream.closed).closeCode == 1005
            with pytest.raises(trio.ClosedResourceError):
                await opened.writable.send("late")
            if side == "readable":
                with pytest.raises(trio.ClosedResourceError):
                    await opened.readable.receive()


async def test_reader_that_waits_is_told_of_its_closing(autojump_clock: MockClock) -> None:
    """`aclose()` of a channel wakes whoever is in it."""
    pair = Pair()
    told: list[str] = []

    async def read(channel: trio.abc.ReceiveChannel[str | bytes]) -> None:
        try:
            await channel.receive()
        except trio.ClosedResourceError:
            told.append("closed")

    async with trio.open_nursery() as nursery:
        async with pair.stream:
            opened = await pair.open()
            nursery.start_soon(read, opened.readable)
            await wait_all_tasks_blocked()
            nursery.start_soon(pair.peer.be_polite)
            await opened.readable.aclose()
    assert told == ["closed"]


async def test_lost_connection_is_an_error_everywhere(autojump_clock: MockClock) -> None:
    """Who reads, who writes and who awaits the end have a `WebSocketError` each, with code 1006."""
    pair = Pair()
    async with pair.stream as stream:
        opened = await pair.open()
        await pair.peer.aclose()
        for action in (opened.readable.receive, lambda: opened.writable.send("x"), stream.closed._wait):
            with pytest.raises(dom.WebSocketError) as caught:
                await action()
            assert (caught.value.closeCode, caught.value.reason, caught.value.name) == (1006, "", "WebSocketError")
            assert isinstance(caught.value, trio.BrokenResourceError)
        assert isinstance(await stream.opened, dom.WebSocketOpenInfo)


async def test_stream_that_never_opens_tells_so() -> None:
    """`opened` and `closed` raise, a new exception for each who awaits them."""
    async with dom.WebSocketStream("ws://127.0.0.1:1/") as stream:
        errors = []
        for promise in (stream.opened, stream.opened, stream.closed):
            with pytest.raises(dom.WebSocketError) as caught:
                await promise
            errors.append(caught.value)
    assert len(set(map(id, errors))) == 3


async def test_close_while_connecting_stops_that(autojump_clock: MockClock) -> None:
    """At once, and both promises tell."""
    pair = Pair()
    async with pair.stream as stream:
        await wait_all_tasks_blocked()
        stream.close({"closeCode": 4000})
        with pytest.raises(dom.WebSocketError):
            await stream.opened


async def test_cancelled_await_leaves_the_promise_as_it_is(autojump_clock: MockClock) -> None:
    """Somebody else, or the same task again, has it later."""
    pair = Pair()
    async with pair.stream as stream:
        with trio.move_on_after(1) as scope:
            await stream.opened
        assert scope.cancelled_caught
        assert (await pair.open()).protocol == ""


async def test_cancellation_aborts(autojump_clock: MockClock) -> None:
    """A cancelled block sends 1001, and the stream was not closed cleanly if nobody answers."""
    pair = Pair()
    with trio.move_on_after(1):
        async with pair.stream:
            await pair.open()
            await trio.sleep_forever()
    await pair.peer.drain()
    assert pair.peer.record[0] == "Close 1001"
    with pytest.raises(dom.WebSocketError):
        await pair.stream.closed


@pytest.mark.parametrize("options", [False, True])
async def test_signal_stops_connecting(options: bool, autojump_clock: MockClock) -> None:
    """With what it was told; of an open connection it knows nothing any more."""
    controller = dom.AbortController()
    pair = Pair(options={"signal": controller.signal}) if options else Pair(signal=controller.signal)
    async with pair.stream as stream:
        await wait_all_tasks_blocked()
        controller.abort(ValueError("why"))
        with pytest.raises(ValueError, match="why"):
            await stream.opened
        with pytest.raises(dom.WebSocketError):
            await stream.closed

    late = dom.AbortController()
    other = Pair(signal=late.signal)
    async with trio.open_nursery() as nursery:
        async with other.stream:
            await other.open()
            late.abort()
            nursery.start_soon(other.peer.be_polite)
    assert (await other.stream.closed).closeCode == 1000


def test_signal_that_was_aborted_is_raised_at_once() -> None:
    """As by the constructor of the standard; what is none is a TypeError."""
    controller = dom.AbortController()
    controller.abort()
    wrong: Any = 3
    with pytest.raises(dom.AbortError):
        dom.WebSocketStream("ws://h", signal=controller.signal)
    with pytest.raises(TypeError, match="signal must be an AbortSignal, not int: 3"):
        dom.WebSocketStream("ws://h", signal=wrong)


def test_protocols_are_checked_from_either_place() -> None:
    """From the keyword, or from the options as JavaScript has them."""
    for arguments in ({"protocols": ["a", "a"]}, {"options": {"protocols": ["a", "a"]}}):
        kinds: Any = arguments
        with pytest.raises(dom.SyntaxError):
            dom.WebSocketStream("ws://h", **kinds)


@pytest.mark.parametrize(
    ("init", "code", "reason"),
    [
        (None, None, ""),
        ({}, None, ""),
        ({"closeCode": 1000}, 1000, ""),
        ({"closeCode": "4000", "reason": "x"}, 4000, "x"),
        ({"reason": "x"}, 1000, "x"),
    ],
)
def test_error_made_by_hand_says_what_it_was_told(init: Any, code: int | None, reason: str) -> None:
    """A reason alone goes with 1000."""
    error = dom.WebSocketError("text", init)

    assert (error.message, error.closeCode, error.close_code, error.reason) == ("text", code, code, reason)


@pytest.mark.parametrize(
    ("init", "kind"),
    [
        ({"closeCode": 1001}, dom.InvalidAccessError),
        ({"closeCode": 65536}, TypeError),
        ({"closeCode": -1}, TypeError),
        ({"closeCode": []}, TypeError),
        ({"reason": "a" * 124}, dom.SyntaxError),
    ],
)
def test_error_cannot_say_what_may_not_travel(init: Any, kind: type[Exception]) -> None:
    """The same for `close`, in which `[EnforceRange]` does not clamp either."""
    with pytest.raises(kind):
        dom.WebSocketError("", init)
    with pytest.raises(kind):
        dom.WebSocketStream("ws://h").close(init)


def test_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for `WebSocket`."""
    monkeypatch.setitem(sys.modules, "ada_url", None)
    with pytest.raises(ImportError, match=r"trio-closeevents\[dom\]"):
        dom.WebSocketStream("ws://h")


async def test_close_after_the_block_does_nothing(autojump_clock: MockClock) -> None:
    """There is nothing left to close."""
    pair = Pair()
    async with trio.open_nursery() as nursery:
        async with pair.stream as stream:
            await pair.open()
            nursery.start_soon(pair.peer.be_polite)
    stream.close()
    assert (await stream.closed).closeCode == 1000
