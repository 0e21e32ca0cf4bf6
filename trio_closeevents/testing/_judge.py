"""What came of one run of a scenario that was cancelled somewhere, and whether it is as the contract has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

import trio

from trio_closeevents import CloseEvent, CloseFrame, ReadyState, WebSocket
from trio_closeevents.diagram import draw

from ._frames import BINARY, CLOSE, CONTINUATION, TEXT, Frame
from ._peer import ScriptedPeer

__all__ = ["CancelledRun", "Judge", "tally"]

Moment: TypeAlias = Literal["opening", "open", "closing", "never"]

GOING_AWAY: Final = CloseFrame(1001)
ABNORMAL: Final = 1006
NO_STATUS: Final = 1005
HTTP: Final = b"HTTP/1.1 "


@dataclass(slots=True)
class CancelledRun:
    """One run of a scenario, and what came of it. What is not named here is there for the judge.

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
    was_ready: bool = False
    returned: bool = False
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
        limit: seconds from the cancellation to the end.
        tolerance: how much longer it may take.
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
            early = run.peer.frames or (run.peer.unread and not HTTP.startswith(run.peer.unread[: len(HTTP)]))
            run.check(not early, "a frame was sent, and there was no connection yet")
            return
        run.check(run.event is not None, "there is no CloseEvent")
        run.check(run.events_logged == 1, f"the CloseEvent was logged {run.events_logged} times")
        event = cast("CloseEvent", run.event)
        self._judge_event(run, event)
        self._judge_messages(run, run.websocket, event)
        if run.moment != "never":
            self._judge_close(run, event)

    def _out_of_time(self, run: CancelledRun) -> bool:
        return run.seconds >= self.limit - self.tolerance

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
        """Compare the event with what the peer saw and did (section 1 of the contract)."""
        peer, saw = run.peer, close_frame(run.close)
        if event.sent is not None and peer.ended is not None:
            run.check(saw == event.sent, f"the event has sent {event.sent}, and the peer saw {saw}")
        run.check(saw is None or event.sent is not None, f"the peer saw {saw}, and the event has sent nothing")
        received, theirs = event.received, close_frame(peer.closed_with)
        told = received is None or received == theirs
        run.check(told, f"the event has received {received}, and the peer has sent {theirs}")
        code, reason = (ABNORMAL, "") if received is None else (received.code or NO_STATUS, received.reason)
        fits = (event.code, event.reason) == (code, reason)
        run.check(fits, f"the event has {event.code} {event.reason!r}, and received {received}")
        both = None not in (event.sent, received)
        run.check(event.was_clean is both, f"was_clean is {event.was_clean}, sent {event.sent}, received {received}")

    def _judge_messages(self, run: CancelledRun, websocket: WebSocket, event: CloseEvent) -> None:
        """What was queued goes before the Close (section 6), and TCP is ended so that both arrive (section 2)."""
        if event.sent is None or run.peer.ended is None:
            return
        queued = websocket.stats.messages_sent
        seen = sum(each.fin for each in run.peer.frames if each.opcode in (CONTINUATION, TEXT, BINARY))
        run.check(seen == queued, f"{queued} messages were queued before the Close, and the peer saw {seen}")
        in_order = run.peer.ended == "FIN" or run.peer.has_gone or self._out_of_time(run)
        run.check(in_order, "the peer saw a reset, though it went on reading")

    def _judge_close(self, run: CancelledRun, event: CloseEvent) -> None:
        saw = close_frame(run.close)
        if saw is None:
            hindered = run.peer.unread or self._out_of_time(run)
            run.check(hindered, "no Close frame was sent, though nothing was in its way")
            return
        allowed: list[CloseFrame | None] = [CloseFrame(code, saw.reason) for code in self.own_codes]
        if event.initiated_by == "remote":
            allowed.append(event.received)
        elif run.moment != "closing":
            allowed.append(GOING_AWAY)
        if run.told_at == "closing" or (run.was_ready and run.returned):
            allowed.append(close_frame(self.baseline.close))
        listed = " or ".join(map(str, allowed))
        run.check(saw in allowed, f"the peer saw Close {saw}, and the contract has {listed} for that moment")
        if saw == GOING_AWAY and event.initiated_by == "local" and GOING_AWAY.code not in self.own_codes:
            run.check(event.cause == "cancelled", f"the cause is {event.cause}, not cancelled")


def close_frame(frame: Frame | None) -> CloseFrame | None:
    return None if frame is None else CloseFrame(frame.code, frame.payload[2:].decode(errors="replace"))


def tally(runs: Sequence[CancelledRun]) -> str:
    """Tell in a table how many of *runs* ended how, by the moment of the cancellation."""
    counts = Counter((run.moment, str(run.close or "no Close"), str(run.event or "no connection")) for run in runs)
    return "\n".join(f"{count:6} {moment:8} {saw}; {event}" for (moment, saw, event), count in counts.items())
