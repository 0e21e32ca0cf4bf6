"""Whatever a program does with an adapted connection, it can be cancelled at any step of the scheduler.

Each scenario is cancelled behind its first step, its second, and so on to its end; with a scope that holds the block
alone, and with one that holds the package's reader too. What the peer saw is compared with what the contract has.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
import trio
import trio.testing
import trio_websocket
from stages import Role, Wire

from trio_closeevents import CloseEvent, ConnectionClosed
from trio_closeevents.adapters import AdaptedWebSocket, from_trio_websocket
from trio_closeevents.diagram import draw
from trio_closeevents.testing import CLOSE, CONTINUATION, TEXT, Frame, ScriptedPeer
from trio_closeevents.testing._steps import Steps

from .stage import Stage

Scenario = Callable[[AdaptedWebSocket], Awaitable[object]]
Script = Callable[[ScriptedPeer], Awaitable[object]]

LARGE: Final = 2**20  # bytes of a message
GIVE_UP: Final = 100.0  # seconds for one run
STRIDE: Final = int(os.environ.get("CANCEL_STRIDE", "0"))  # 1 tries every step of all plays

# Real time is real: there the limits are short, and what is read from the clock is read generously.
IN_MEMORY: Final = Wire("memory")
ON_SOCKETS: Final = Wire("tcp", None, 0.3, 0.1, 1.5)


# -- what our side does --------------------------------------------------------------------------------------------


async def leave(_: AdaptedWebSocket) -> None:
    """Nothing but to end."""


async def converse(ws: AdaptedWebSocket) -> None:
    for number in range(3):
        await ws.send(f"{number}")
        assert await ws.receive() == f"{number}"


async def send_large(ws: AdaptedWebSocket) -> None:
    await ws.send(bytes(LARGE))
    await ws.send("and one behind it")


async def send_from_many(ws: AdaptedWebSocket) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(ws.send, f"{number}")


async def aclose(ws: AdaptedWebSocket) -> None:
    await ws.aclose(4000, "bye")


async def aclose_twice(ws: AdaptedWebSocket) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, 4000)
        nursery.start_soon(ws.aclose, 4000)


async def fail(ws: AdaptedWebSocket) -> None:
    await ws.send("before it fails")
    raise ValueError("on purpose")


async def read_on(ws: AdaptedWebSocket) -> None:
    async for _ in ws:
        pass


async def doze(_: AdaptedWebSocket) -> None:
    await trio.sleep(1)


async def watch(ws: AdaptedWebSocket) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_on, ws)
        await ws.wait_closed()


# -- what the peer does --------------------------------------------------------------------------------------------


async def echo(peer: ScriptedPeer) -> None:
    while (received := await peer.receive()) is not None:
        await peer.send(peer.frame(received.opcode, received.payload))
        if received.opcode == CLOSE:
            break
    await peer.drain()


async def dawdle(peer: ScriptedPeer) -> None:
    """Read and answer late, but in time."""
    await trio.sleep(0.3)
    await peer.be_polite()


async def ignore(peer: ScriptedPeer) -> None:
    """Read, and never answer."""
    await peer.drain()


async def read_nothing(peer: ScriptedPeer) -> None:
    """Nothing at all, until our side must have ended."""
    await trio.sleep(20)


async def close_first(peer: ScriptedPeer) -> None:
    await peer.send(peer.frame(TEXT, b"one"), peer.frame(TEXT, b"two"), peer.close_frame(1001, "theirs"))
    await peer.receive_close()
    await peer.fin()
    await peer.drain()


async def hang_up(peer: ScriptedPeer) -> None:
    await peer.send(peer.frame(TEXT, b"one"))
    await peer.fin()
    await peer.drain()


# -- a run, and what is right --------------------------------------------------------------------------------------


@dataclass
class Run:
    """One run of a scenario, cancelled behind a step, and what came of it."""

    step: int | None
    moment: str = "never"  # how far it was then: "opening", "open", "closing"
    told_at: str = "never"  # and when the task that runs the block was told
    was_ready: bool = False
    returned: bool = False
    ws: AdaptedWebSocket | None = None
    left_by: BaseException | None = None
    raised: BaseException | None = None
    absorbed: bool = False
    cancelled_at: float = 0.0
    left_at: float = 0.0
    over_at: float = 0.0
    peer: Any = None

    @property
    def seconds(self) -> float:
        return self.over_at - max(self.cancelled_at, self.left_at)

    @property
    def event(self) -> CloseEvent | None:
        return None if self.ws is None else self.ws.close_event

    def note_moment(self) -> None:
        moment = "opening"
        if self.ws is not None:
            is_open = self.ws.connection.closed is None and not self.ws._ending.is_closing
            moment = "open" if is_open else "closing"
        if self.moment == "never":
            self.moment, self.cancelled_at = moment, trio.current_time()
        self.told_at = moment

    def check(self, holds: object, what: str) -> None:
        if not holds:
            saw = self.peer.close or "no Close"
            told = f"cancelled behind step {self.step} ({self.moment}): the peer saw {saw}; we had {self.event}"
            raise AssertionError(f"{told}\n{what}\n\n{draw(self.peer.log)}")


@dataclass(frozen=True)
class Play:
    scenario: Scenario
    script: Script
    role: Role
    with_reader: bool
    wire: Wire = IN_MEMORY
    bounded: bool = False

    def cancel_everywhere(self, stride: int = 1) -> list[Run]:
        baseline = self.run(None)
        runs = [baseline]
        step = 1
        while True:
            run = self.run(step)
            self.judge(run, baseline)
            if run.moment == "never":
                return runs
            runs.append(run)
            step += stride

    def run(self, step: int | None) -> Run:
        run = Run(step)
        steps = Steps(step, run.note_moment)
        clock = trio.testing.MockClock(autojump_threshold=0) if self.wire.memory else None
        trio.run(self._play, run, steps, clock=clock, instruments=[steps])
        return run

    async def _play(self, run: Run, steps: Steps) -> None:
        stage = Stage(self.role, self.wire)
        ours, theirs = await stage.wire.pair(bounded=self.bounded)
        peer = run.peer = ScriptedPeer(theirs, client=not stage.is_client)
        tasks = trio.lowlevel.current_statistics().tasks_living

        peer_is_done = trio.Event()

        async def be_peer() -> None:
            try:
                await peer.open()
            except (AssertionError, trio.BrokenResourceError):
                pass  # we were cancelled in the opening handshake
            else:
                await self.script(peer)
                await peer.drain()
            peer_is_done.set()

        with trio.fail_after(GIVE_UP):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(be_peer)
                connection = None if self.with_reader else await stage.open(nursery, ours)
                steps.begin()
                with steps.scope:
                    if connection is None:
                        async with trio.open_nursery() as inner:
                            await self._block(run, steps, await stage.open(inner, ours))
                    else:
                        await self._block(run, steps, connection)
                run.absorbed, run.was_ready = steps.scope.cancelled_caught, steps.was_ready
                if run.ws is None or self.with_reader:
                    await trio.aclose_forcefully(ours)  # which the package may have left to whoever holds the stream
                with trio.move_on_after(30 if self.wire.memory else 1):
                    await peer_is_done.wait()
                nursery.cancel_scope.cancel()
        for stream in (ours, theirs):
            await trio.aclose_forcefully(stream)
        left = trio.lowlevel.current_statistics().tasks_living - tasks
        run.check(left == 0, f"{left} tasks are left")

    async def _block(self, run: Run, steps: Steps, connection: trio_websocket.WebSocketConnection) -> None:
        try:
            async with from_trio_websocket(connection, **self.wire.limits) as run.ws:
                try:
                    await self.scenario(run.ws)
                    run.returned = True
                finally:
                    run.left_at = trio.current_time()
                    left_by = sys.exception()
                    run.left_by = None if isinstance(left_by, trio.Cancelled) else left_by
        except (ConnectionClosed, ValueError, ExceptionGroup) as error:
            run.raised = error
        finally:
            steps.end()
            run.over_at = trio.current_time()

    def judge(self, run: Run, baseline: Run) -> None:
        frames: list[Frame] = run.peer.frames
        closes = [number for number, each in enumerate(frames) if each.opcode == CLOSE]
        run.check(closes in ([], [len(frames) - 1]), "something came behind the Close frame")
        broken = [str(each) for each in frames if not each.is_legal or each.opcode == CONTINUATION]
        run.check(not broken, f"no legal frames, as behind one that was torn: {broken}")
        run.check(run.raised is run.left_by or run.raised is None, f"{run.left_by!r} was replaced by {run.raised!r}")
        if run.moment == "opening" and run.ws is None:
            run.check(not frames, "a frame was sent, and there was no block yet")
            return
        event = run.event
        if event is None:
            raise AssertionError("there is no event")
        self.judge_event(run, event)
        if run.moment != "never":
            run.check(run.absorbed or run.raised is not None, "the cancellation was swallowed")
            limit = self.wire.cancel_timeout + self.wire.tolerance
            run.check(run.seconds <= limit, f"it took {run.seconds:.3f} s to end")
            self.judge_close(run, baseline, event)

    def is_in_time(self, run: Run) -> bool:
        """Tell whether the ending needed less than its limit, and so did not have to break anything off."""
        return run.seconds < self.wire.cancel_timeout - 0.01

    def judge_close(self, run: Run, baseline: Run, event: CloseEvent) -> None:
        close: Frame | None = run.peer.close
        theirs: Frame | None = run.peer.closed_with
        if close is None:
            out_of_time = not self.is_in_time(run)
            has_hung_up = event.initiated_by == "transport"
            unanswered = self.with_reader and theirs is not None and event.cause is None
            run.check(out_of_time or has_hung_up or unanswered, "no Close frame was sent")
            return
        allowed: list[int | None] = []
        if event.cause is None and theirs is not None:
            allowed.append(theirs.code)
        elif run.moment != "closing":
            allowed.append(1001)
        if (run.told_at == "closing" or (run.was_ready and run.returned)) and baseline.peer.close is not None:
            allowed.append(baseline.peer.close.code)
        if run.left_by is not None:
            allowed.append(1011)
        if self.scenario is aclose_twice:  # its tasks take their first step, whatever comes
            allowed.append(4000)
        run.check(close.code in allowed, f"the contract has {allowed}")
        if close.code == 1001 and event.cause is not None:
            run.check(event.cause == "cancelled", f"the cause is {event.cause}")

    def judge_event(self, run: Run, event: CloseEvent) -> None:
        theirs: Frame | None = run.peer.closed_with
        unread = self.with_reader and run.moment != "never"
        told = theirs is None if event.code == 1006 and not unread else True
        if event.code != 1006:
            told = theirs is not None and theirs.code == event.code
        run.check(told or not self.is_in_time(run), f"the peer has sent {theirs}, and the event is {event}")
        run.check((event.sent, event.received, event.was_clean) == (None, None, False), "the event claims too much")


PLAYS: Final[dict[str, tuple[Scenario, Script]]] = {
    "leave": (leave, echo),
    "leave-silent": (leave, ignore),
    "converse": (converse, echo),
    "send": (send_large, dawdle),
    "send-stuck": (send_large, read_nothing),
    "send-from-many": (send_from_many, ScriptedPeer.be_polite),
    "send-from-many-late": (send_from_many, dawdle),
    "aclose": (aclose, echo),
    "aclose-silent": (aclose, ignore),
    "aclose-twice": (aclose_twice, echo),
    "fail": (fail, echo),
    "close-first": (read_on, close_first),
    "close-first-watched": (watch, close_first),
    "close-first-unread": (doze, close_first),
    "hang-up": (read_on, hang_up),
}


SLOW_TO_TAKE: Final = ("send", "send-stuck", "close-first-unread", "leave")  # played in lockstep as well


def tell(runs: list[Run]) -> None:
    """Print how many runs ended how: for those who want to look."""
    for what, count in Counter((run.moment, str(run.peer.close or "no Close"), str(run.event)) for run in runs).items():
        print(f"{count:4} {what}")


@pytest.mark.once
@pytest.mark.parametrize("with_reader", [False, True], ids=["block", "reader-too"])
@pytest.mark.parametrize(
    ("name", "bounded"), [*((name, False) for name in PLAYS), *((name, True) for name in SLOW_TO_TAKE)]
)
@pytest.mark.parametrize("role", ["client", "server"])
def test_end_cancelled_anywhere(role: Role, name: str, bounded: bool, with_reader: bool) -> None:
    """The peer sees 1001 and nothing torn, in time, and the event says what can be known."""
    scenario, script = PLAYS[name]
    stride = STRIDE or (2 if bounded or with_reader else 1)
    tell(Play(scenario, script, role, with_reader, bounded=bounded).cancel_everywhere(stride))


@pytest.mark.once
@pytest.mark.parametrize("with_reader", [False, True], ids=["block", "reader-too"])
@pytest.mark.parametrize("name", ["leave", "converse", "close-first"])
@pytest.mark.parametrize("role", ["client", "server"])
def test_end_cancelled_anywhere_on_sockets(role: Role, name: str, with_reader: bool) -> None:
    """The same on TCP; with the reader alive, the peer sees FIN behind our Close and never RST."""
    scenario, script = PLAYS[name]
    runs = Play(scenario, script, role, with_reader, ON_SOCKETS).cancel_everywhere(STRIDE or 3)
    for run in runs:
        if not with_reader and run.event is not None and run.event.cause is not None:
            run.check(run.peer.ended == "FIN", f"the transport ended with {run.peer.ended}")
    tell(runs)
