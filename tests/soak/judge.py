"""The judge: do the two ends of each connection fit to one another, to the plan and to the closing contract?

Theory. A side's event says what it sent, what it received and what came first. Whatever one side received, the other
one sent. The opposite holds too unless something stands between: the transport was cut, a side aborted or failed the
connection, or never opened it. Without any such thing both sides must be clean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from trio_closeevents import CloseCause, CloseEvent, CloseFrame

from .plan import Ending, Frame, Plan
from .record import Record, Relayed, Remark, Side
from .side import LIMITS

__all__ = ["Judge", "misfits_in_event", "misfits_of"]

SLACK: Final = 1.5  # seconds more than the contract's limits that a busy machine may need
FAILURES: Final = frozenset(
    {
        CloseCause.PROTOCOL_ERROR,
        CloseCause.INVALID_PAYLOAD,
        CloseCause.MESSAGE_TOO_BIG,
        CloseCause.KEEPALIVE_TIMEOUT,
        CloseCause.INTERNAL_ERROR,
    }
)
LOSSES: Final = frozenset({CloseCause.EOF, CloseCause.RESET})
OWN: Final = frozenset({CloseCause.EXIT, CloseCause.ERROR, CloseCause.CANCELLED, CloseCause.CLOSED, CloseCause.ABORTED})
UNOPENED: Final = frozenset(
    {CloseCause.REFUSED, CloseCause.REJECTED, CloseCause.EOF, CloseCause.RESET, CloseCause.TIMEOUT, CloseCause.TLS}
)
CAUSES: Final = {
    "return": CloseCause.EXIT,
    "wait": CloseCause.EXIT,
    "error": CloseCause.ERROR,
    "cancel": CloseCause.CANCELLED,
    "deadline": CloseCause.CANCELLED,
    "aclose": CloseCause.CLOSED,
    "abort": CloseCause.ABORTED,
}
FRAMES: Final[dict[CloseCause, Frame]] = {
    CloseCause.EXIT: (1000, ""),
    CloseCause.ERROR: (1011, ""),
    CloseCause.CANCELLED: (1001, ""),
    CloseCause.KEEPALIVE_TIMEOUT: (1011, "keepalive timeout"),
}


class Judge:
    """Takes records as they come, and judges a round's connections when all of them have ended.

    Attributes:
        count: connections that were judged.
        outcomes: of the client's side: (ending, what its event says, clean or not).
        misfits: what did not fit, in full.
    """

    def __init__(self, plan_of: Callable[[int], Plan]) -> None:
        self.count = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.misfits: list[str] = []
        self._plan_of = plan_of

    def take(self, records: Iterable[Record], started: Iterable[int]) -> None:
        """Judge the connections that have the numbers *started*, of which *records* are all there is."""
        clients: dict[int, list[Side]] = {number: [] for number in started}
        servers: dict[int, list[Side]] = {}
        relayed: dict[int, list[Relayed]] = {}
        for record in records:
            if isinstance(record, Remark):
                self.misfits.append(f"logged: {record.text}")
            elif isinstance(record, Relayed):
                relayed.setdefault(record.number, []).append(record)
            else:
                sides = clients if record.role == "client" else servers
                sides.setdefault(record.number, []).append(record)
        for number in sorted(clients.keys() | servers.keys()):
            self.count += 1
            plan = self._plan_of(number)
            mine, theirs, between = clients.get(number, []), servers.get(number, []), relayed.get(number, [])
            cut = between[0].cut if between else ""
            found = list(misfits_of(plan, mine, theirs, cut))
            if found:
                lines = [*found, str(plan), *map(str, mine), *map(str, theirs), *map(str, between)]
                self.misfits.append("\n    ".join([f"connection {number}", *lines]))
            if mine:
                self.outcomes[plan.client.kind, outcome_of(mine[0])] += 1


def outcome_of(client: Side) -> str:
    event = client.close_event
    if not client.opened:
        return "never opened"
    if event is None:
        return "no event"
    return f"{event.code}{'' if event.was_clean else ', not clean'}"


def misfits_of(plan: Plan, clients: list[Side], servers: list[Side], cut: str) -> Iterator[str]:
    """Tell what is wrong with one connection, which the relay has *cut* (`""`: it has not)."""
    if len(clients) != 1:
        yield f"{len(clients)} records of the client"
    if len(servers) > 1:
        yield f"{len(servers)} records of the server"
    client = clients[0] if clients else None
    server = servers[0] if servers else None
    if client is not None and client.opened and server is None:
        yield "the client opened it, the server did not"
    if client is not None and not client.opened:
        yield from misfits_of_unopened(plan, client)
    sides = [
        (side, other, ending)
        for side, other, ending in ((client, server, plan.client), (server, client, plan.server))
        if side is not None and side.opened
    ]
    disturbed = bool(cut) or any(was_aborted(side, ending) for side, _, ending in sides)
    for side, other, ending in sides:
        event = side.close_event
        if event is None:
            yield f"the {side.role} has no event"
            continue
        other_event = other.close_event if other is not None and other.opened else None
        for misfit in (
            *misfits_in_event(event),
            *misfits_with_plan(plan, side, event, ending, cut, other_event),
            *misfits_between(event, other_event, disturbed=disturbed),
        ):
            yield f"{side.role}: {misfit}"


def misfits_of_unopened(plan: Plan, client: Side) -> Iterator[str]:
    event = client.close_event
    if event is None:
        if plan.gives_up is None:
            yield "the client was not cancelled, and did not open"
    elif event.was_clean or event.code not in (1006, 1015) or event.cause not in UNOPENED:
        yield f"a connection that never opened has {event!r}"


def misfits_in_event(event: CloseEvent) -> Iterator[str]:
    """Hold an event to sections 1 and 4 by itself."""
    sent, received, cause = event.sent, event.received, event.cause
    code = 1006 if received is None else received.code if received.code is not None else 1005
    if event.code != code:
        yield f"code {event.code} is not that of the Close that was received"
    if event.reason != ("" if received is None else received.reason):
        yield "the reason is not that of the Close that was received"
    if cause in FAILURES and received is not None:
        yield "a failed connection has accepted a Close"
    if event.was_clean != (sent is not None and received is not None):
        yield "it is clean exactly if both Close frames travelled"
    first = "remote" if cause is CloseCause.REMOTE else "transport" if sent is None else "local"
    if event.initiated_by != first and not (sent is None and received is not None):
        yield f"{event.initiated_by} is said to have begun, and it was {first}"
    if cause in LOSSES and (sent is not None or received is not None):
        yield "the transport is said to have been lost first, and Close frames travelled"


def misfits_with_plan(
    plan: Plan, side: Side, event: CloseEvent, ending: Ending, cut: str, other: CloseEvent | None
) -> Iterator[str]:
    """Hold one side to section 2, and to what its plan said."""
    cause = event.cause
    assert cause is not None
    own = {CAUSES[ending.kind]: ending.frame if ending.kind == "aclose" else None}
    if plan.gives_up is not None and side.role == "client":
        own[CloseCause.CANCELLED] = None  # between the opening and the block's first line
    if side.server_end is not None:
        own |= {CloseCause.CLOSED: own.get(CloseCause.CLOSED) or side.server_end, CloseCause.CANCELLED: None}
    if ending.activity == "fragments":
        own[CloseCause.CANCELLED] = None  # broken off in a message
    peer_is_gone = cut or other is None or other.cause is CloseCause.ABORTED or other.received is None
    allowed = set(own) | {CloseCause.REMOTE}
    if peer_is_gone:
        allowed |= LOSSES
    if cut == "silence":
        allowed.add(CloseCause.KEEPALIVE_TIMEOUT)
    if cause not in allowed:
        yield f"cause {cause}, and the plan was {ending.kind}"
    sent = frame_of(event.sent)
    if cause is CloseCause.REMOTE:
        if event.sent is not None and event.sent != event.received:
            yield "the answer is no echo"
    elif sent is not None:
        frames = {FRAMES.get(cause), own.get(cause), side.server_end if cause is CloseCause.CLOSED else None}
        if sent not in frames:
            yield f"it sent {sent}, and the cause is {cause}"
    elif cause is CloseCause.ABORTED and event.received is not None:
        yield "it was aborted, and received a Close"
    yield from misfits_in_leaving(side, event, ending, cancelled=CloseCause.CANCELLED in own)


def misfits_in_leaving(side: Side, event: CloseEvent, ending: Ending, *, cancelled: bool) -> Iterator[str]:
    expected = {"error": {"Boom"}, "cancel": {"Cancelled", ""}, "deadline": {"Cancelled", ""}}.get(ending.kind, {""})
    if cancelled:
        expected = expected | {"Cancelled"}
    if side.left_by not in expected:
        yield f"the block was left by {side.left_by or 'nothing'}"
    patient = side.left_by != "Cancelled" and event.cause not in FAILURES
    limit = LIMITS["close_timeout"] if patient else LIMITS["cancel_timeout"]
    if side.seconds is not None and side.seconds > limit + SLACK:
        yield f"the ending took {side.seconds:.2f} s, the limit is {limit} s"


def was_aborted(side: Side, ending: Ending) -> bool:
    """Tell whether `abort()` has changed anything.

    If the peer's Close came first, the cause is that, and the answer is dropped. On TLS it may have arrived even so:
    a stream that is cancelled does not tell what it has written.
    """
    return ending.kind == "abort" and side.close_event is not None and not side.close_event.was_clean


def misfits_between(event: CloseEvent, other: CloseEvent | None, *, disturbed: bool) -> Iterator[str]:
    """Hold one side's event to the other's (sections 3 and 5)."""
    if other is None:
        if event.received is not None:
            yield "it received a Close from a peer that never opened"
        return
    if event.received is not None:
        if event.received != other.sent and not (other.sent is None and disturbed):
            yield f"it received {event.received}, and the other sent {other.sent}"
    elif other.sent is not None and not disturbed and event.cause not in FAILURES:
        yield f"it received nothing, and the other sent {other.sent}"
    if not event.was_clean and not disturbed:
        yield "it is not clean, and nothing explains that"


def frame_of(frame: CloseFrame | None) -> Frame | None:
    return None if frame is None else (frame.code, frame.reason)
