"""A program that uses the browser's interfaces, cancelled behind each step of trio's scheduler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_closeevents import dom
from trio_closeevents.testing import TEXT, NotOpened, ScriptedPeer
from trio_closeevents.testing._steps import Steps

pytestmark = [pytest.mark.once, pytest.mark.unmeasured]

CANCEL_TIMEOUT: Final = 1.0
SILENT_STEPS: Final = 2000  # more than any run has

Program = Callable[[trio.abc.Stream, list[Any]], Awaitable[None]]


async def in_a_block(stream: trio.abc.Stream, told: list[Any]) -> None:
    """Talk, with handlers of both kinds, and close."""
    closed = trio.Event()

    async def handle(event: dom.MessageEvent) -> None:
        await trio.sleep(0.1)
        socket.close(4000, "bye")

    async with dom.WebSocket("ws://test/", stream=stream, cancel_timeout=CANCEL_TIMEOUT) as socket:
        socket.onopen = lambda _: socket.send("hello")
        socket.onmessage = handle
        socket.addEventListener("close", lambda event: told.append(event.code))
        socket.addEventListener("close", lambda _: closed.set())
        await closed.wait()


async def in_a_nursery(stream: trio.abc.Stream, told: list[Any]) -> None:
    """The same in a nursery."""
    async with trio.open_nursery() as nursery:
        socket = dom.WebSocket("ws://test/", stream=stream, nursery=nursery, cancel_timeout=CANCEL_TIMEOUT)
        socket.onopen = lambda _: socket.send("hello")
        socket.onmessage = lambda _: socket.close(4000, "bye")
        socket.onclose = lambda event: told.append(event.code)


async def as_a_stream(stream: trio.abc.Stream, told: list[Any]) -> None:
    """The same with what is awaited."""
    socket = dom.WebSocketStream("ws://test/", stream=stream, cancel_timeout=CANCEL_TIMEOUT)
    try:
        async with socket:
            opened = await socket.opened
            await opened.writable.send("hello")
            await opened.readable.receive()
            socket.close(closeCode=4000, reason="bye")
            await socket.closed
    finally:
        with trio.CancelScope(shield=True):
            try:
                told.append((await socket.closed).closeCode)
            except dom.WebSocketError as error:
                told.append(error.closeCode)


async def be_peer(peer: ScriptedPeer) -> None:
    try:
        await peer.open()
    except (NotOpened, trio.BrokenResourceError, trio.ClosedResourceError):
        return  # our side was cancelled in the opening handshake
    if await peer.receive() is not None and peer.close is None:
        await peer.send(peer.frame(TEXT, b"world"))
        await peer.be_polite()
    else:
        await peer.send(peer.frame(8, peer.frames[0].payload if peer.frames else b""))
        await peer.aclose()


@pytest.mark.parametrize("program", [in_a_block, in_a_nursery, as_a_stream])
def test_program_can_be_cancelled_anywhere(program: Program) -> None:
    """The cancellation goes on, nothing is left, there is one `close`, and the peer sees whole frames and 1001, or
    the program's own close."""
    codes: set[Any] = set()

    async def main(step: int) -> int:
        ours, theirs = trio.testing.memory_stream_pair()
        peer = ScriptedPeer(theirs, client=False)
        told: list[Any] = []
        steps = Steps(step, lambda: None)
        trio.lowlevel.add_instrument(steps)
        tasks = trio.lowlevel.current_statistics().tasks_living
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(be_peer, peer)
                steps.begin()
                with steps.scope:
                    await program(ours, told)
                steps.end()
                nursery.cancel_scope.deadline = trio.current_time() + CANCEL_TIMEOUT
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert peer.unread == b"" or not peer.frames
        assert len(told) <= 1
        if steps.count >= step:
            assert peer.close is None or peer.close.code in (1001, 4000)
            codes.add(None if peer.close is None else peer.close.code)
        else:
            assert told == [4000]
        return steps.count

    step = 1
    while trio.run(main, step, clock=MockClock(autojump_threshold=0)) >= step:
        step += 1
        assert step < SILENT_STEPS
    assert {None, 1001, 4000} <= codes
