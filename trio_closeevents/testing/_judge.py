"""What came of one run of a scenario that was cancelled somewhere, and whether it is as the contract has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import trio

from trio_closeevents import CloseEvent, CloseFrame, ReadyState, WebSocket

from ._diagram import draw
from ._frames import CLOSE, Frame
from ._peer import ScriptedPeer

__all__ = ["CancelledRun", "Judge", "summary"]

Moment: TypeAlias = Literal["opening", "open", "closing", "never"]

GOING_AWAY: Final = 1001


@dataclass(slots=True)
class CancelledRun:
    """One run of a scenario, and what came of it.

    Attributes:
        step: behind which step it was cancelled, `None` if it was not.
        moment: how far the connection was then: ``"opening"``, ``"open"``, ``"closing"``; ``"never"`` without a step.
        event: how our side ended; `None` if it did not get beyond the opening handshake.
        left_by: what left the scenario, apart from `trio.Cancelled`.
        peer: what stood at the other end, with what it saw.
        steps: how many steps it took in all.
    """

    step: int | None
    moment: Moment = "never"
    event: CloseEvent | None = None
    left_by: BaseException | None = None
    peer: ScriptedPeer = field(init=False)
    steps: int = 0
    websocket: WebSocket | None = None
    raised: BaseException | None = None
    told_at: Moment = "never"
    peer_error: Exception | None = None
    absorbed: bool = False
    cancelled_at: float = 0.0
    left_at: float = 0.0
    over_at: float = 0.0
    events_logged: int = 0

    @property
    def seconds(self) -> float:
        """From the cancellation, or from the end of the scenario if that came later, to the end of the connection."""
        return self.over_at - max(self.cancelled_at, self.left_at)

    @property
    def close(self) -> Frame | None:
        """The Close frame that the peer saw."""
        return self.peer.close

    def __str__(self) -> str:
        where = "not cancelled" if self.step is None else f"cancelled behind step {self.step} ({self.moment})"
        return f"{where}: the peer saw {self.close or 'no Close'}; we had {self.event or 'no connection'}"

    def note_moment(self) -> None:
        """Note how far the connection is, at the moment of the cancellation and when it is told of it."""
        moment: Moment = "opening"
        if self.websocket is not None:
            moment = "open" if self.websocket.state is ReadyState.OPEN else "closing"
        if self.moment == "never":
            self.moment, self.cancelled_at = moment, trio.current_time()
        self.told_at = moment

    def check(self, holds: object, what: str) -> None:
        """Raise an error that tells *what* is wrong, and shows what travelled, unless it *holds*."""
        if not holds:
            raise AssertionError(f"{self}\n{what}\n\n{draw(self.peer.log)}")


@dataclass(frozen=True)
class Judge:
    """Knows what the contract has for each moment.

    Attributes:
        baseline: the run that was not cancelled.
        own_codes: what the scenario itself may send.
        limit: seconds from the cancellation to the end, and how much longer it may take.
    """

    baseline: CancelledRun
    own_codes: tuple[int | None, ...]
    limit: float
    tolerance: float

    def judge(self, run: CancelledRun) -> None:
        """Raise if anything about *run* is not as it should be."""
        self._judge_leaving(run)
        self._judge_frames(run.peer.frames, run)
        if run.websocket is None:
            run.check(not run.peer.frames, "a frame was sent, and there was no connection yet")
            return
        if (event := run.event) is None:
            run.check(False, "there is no CloseEvent")
            return
        run.check(run.events_logged == 1, f"the CloseEvent was logged {run.events_logged} times")
        self._judge_event(run, event)
        if run.moment != "never":
            self._judge_close(run, event)

    def _judge_leaving(self, run: CancelledRun) -> None:
        run.check(run.raised is None or run.raised is run.left_by, f"{run.left_by!r} was replaced by {run.raised!r}")
        if run.moment == "never":
            return
        gone_on = run.absorbed or run.raised is not None
        run.check(gone_on, "the cancellation was swallowed")
        on_time = run.seconds <= self.limit + self.tolerance
        run.check(on_time, f"it took {run.seconds:.3f} s to end, and the limit is {self.limit} s")

    def _judge_frames(self, frames: list[Frame], run: CancelledRun) -> None:
        closes = [number for number, each in enumerate(frames) if each.opcode == CLOSE]
        run.check(closes in ([], [len(frames) - 1]), "something came behind the Close frame")
        broken = [str(each) for each in frames if not each.is_legal or each.masked is run.peer.client]
        run.check(not broken, f"no legal frames, as behind one that was torn: {broken}")

    def _judge_event(self, run: CancelledRun, event: CloseEvent) -> None:
        saw = run.close and close_frame(run.close)
        if event.sent is not None and run.peer.ended is not None:
            run.check(saw == event.sent, f"the event has sent {event.sent}, and the peer saw {saw}")
        run.check(saw is None or event.sent is not None, f"the peer saw {saw}, and the event has sent nothing")
        if event.received is not None:
            run.check(run.peer.has_closed, "the event has received a Close that the peer never sent")
        run.check(not event.was_clean or None not in (event.sent, event.received), "clean without two Close frames")

    def _judge_close(self, run: CancelledRun, event: CloseEvent) -> None:
        peer_first = event.received is not None and event.initiated_by == "remote"
        if run.close is None:
            hindered = run.peer.unread or run.seconds >= self.limit - self.tolerance
            run.check(hindered, "no Close frame was sent, though nothing was in its way")
            return
        allowed: list[int | None] = [*self.own_codes]
        if peer_first:
            allowed.append(event.received.code if event.received else None)
        elif run.moment != "closing":
            allowed.append(GOING_AWAY)
        if run.told_at == "closing":
            allowed.append(self.baseline.close.code if self.baseline.close else None)
        saw = run.close.code
        run.check(saw in allowed, f"the peer saw Close {saw}, and the contract has one of {allowed} for that moment")


def close_frame(frame: Frame) -> CloseFrame:
    return CloseFrame(frame.code, frame.payload[2:].decode())


def summary(runs: Sequence[CancelledRun]) -> str:
    """Tell in a table how many runs ended how, by the moment of the cancellation."""
    counts = Counter((run.moment, str(run.close or "no Close"), str(run.event or "no connection")) for run in runs)
    return "\n".join(f"{count:6} {moment:8} {saw}; {event}" for (moment, saw, event), count in counts.items())
