"""A client that stays connected: `stay_connected`, and the `ReconnectPolicy` that decides.

Theory. Each connection is a block of its own, and the session is a function that runs in it. So a session that
returns, raises or is cancelled ends its connection as any block does, and no nursery of ours is ever left half-way, as
it would be by breaking out of an iterator that yields connections.

Whether to go on is decided by how the connection ended, which is a value, and not by how the session returned: a
program that has heard enough returns (cause `exit`), and one whose peer has gone away returns too (cause `remote`).
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from ssl import SSLEOFError, SSLError
from typing import Final, Literal, Protocol, TypeAlias, cast

import trio

from ._client import connect
from ._connection import WebSocket
from ._errors import ConnectionClosed, HandshakeError
from ._events import CloseCause, CloseCode, CloseEvent
from ._hooks import checked_awaitable
from ._http import Response
from ._options import check_limit, check_seconds
from ._policy import leaves

__all__ = ["Outcome", "Policy", "ReconnectEvent", "ReconnectPolicy", "Session", "stay_connected"]

Outcome: TypeAlias = CloseEvent | HandshakeError
Session: TypeAlias = Callable[[WebSocket], Awaitable[object]]

logger = logging.getLogger("trio_closeevents")

RETRIED_CODES: Final = frozenset(
    {
        CloseCode.GOING_AWAY,
        CloseCode.NO_STATUS_RCVD,
        CloseCode.INTERNAL_ERROR,
        CloseCode.SERVICE_RESTART,
        CloseCode.TRY_AGAIN_LATER,
        CloseCode.BAD_GATEWAY,
        3008,  # timeout, as registered with IANA
    }
)
RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
CAUSES: Final = tuple(each.value for each in CloseCause)
RETRIED_CAUSES: Final = frozenset(
    {
        CloseCause.EOF,
        CloseCause.RESET,
        CloseCause.KEEPALIVE_TIMEOUT,
        CloseCause.REFUSED,
        CloseCause.TIMEOUT,
    }
)


class Policy(Protocol):
    """Decides what follows an ending. `ReconnectPolicy` is one; any callable of this form is."""

    def __call__(self, outcome: Outcome, failures: int) -> float | None:
        """Return how many seconds to wait before the next attempt, or `None` to stop.

        Args:
            outcome: how the connection ended, or why none came about.
            failures: how often that happened in a row, from 1; a connection that was stable begins anew.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectPolicy:
    """When to try again, and how long to wait before: exponential backoff with full jitter.

    The wait before the n-th attempt in a row is a random number of seconds between 0 and `first` times 2 to the power
    of n - 1, at most `most`; so a thousand clients of a server that restarts do not come back all at once. A
    `Retry-After` header (RFC 9110 §10.2.3) makes it longer, up to `most_retry_after`, and never shorter.

    The cause is looked at first, then the code. Tried again by default: a server that cannot be reached or does not
    answer in time, one that answers 429, 502, 503 or 504, a transport that is lost, a peer that is silent, and the
    peer's Close with 1001, 1005, 1011-1014 or 3008. Everything else stops: what this side has asked for, what this
    side has found wrong, what the peer says is wrong with us, and a certificate that does not verify.

    Attributes:
        first: seconds.
        most: seconds.
        most_retry_after: seconds.
        jitter: whether the wait is random; without it, it is the upper end.
        codes: codes of a peer's Close after which to try again, 1000-4999; any iterable will do.
        statuses: the same for HTTP statuses in place of the upgrade, 100-599.
        causes: the same for causes other than `remote`, `rejected` and `tls`, which may be given by name: `"eof"`.
        max_failures: stop after so many in a row; `None`: never.

    Raises:
        TypeError, ValueError: a field has the wrong type, or is out of its range.
    """

    first: float = 1
    most: float = 60
    most_retry_after: float = 3600
    jitter: bool = True
    codes: frozenset[int] = RETRIED_CODES
    statuses: frozenset[int] = RETRIED_STATUSES
    causes: frozenset[CloseCause] = RETRIED_CAUSES
    max_failures: int | None = None

    def __init__(
        self,
        *,
        first: float = 1,
        most: float = 60,
        most_retry_after: float = 3600,
        jitter: bool = True,
        codes: Iterable[int] = RETRIED_CODES,
        statuses: Iterable[int] = RETRIED_STATUSES,
        causes: Iterable[CloseCause | str] = RETRIED_CAUSES,
        max_failures: int | None = None,
    ) -> None:
        for name, seconds in (("first", first), ("most", most), ("most_retry_after", most_retry_after)):
            check_seconds(name, seconds, finite=True)
        if first > most:
            raise ValueError(f"first must not be more than most, and {first} is more than {most}")
        if not isinstance(jitter, bool):
            raise TypeError(f"jitter must be a bool, not {jitter!r}")
        check_limit("max_failures", max_failures, 1)
        fields = {
            "first": first,
            "most": most,
            "most_retry_after": most_retry_after,
            "jitter": jitter,
            "codes": checked_numbers("codes", codes, 1000, 4999),
            "statuses": checked_numbers("statuses", statuses, 100, 599),
            "causes": checked_causes(causes),
            "max_failures": max_failures,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __call__(self, outcome: Outcome, failures: int) -> float | None:
        if not self.is_temporary(outcome) or (self.max_failures is not None and failures >= self.max_failures):
            return None
        limit = min(self.most, self.first * 2.0 ** min(failures - 1, 1000))
        wait = random.uniform(0, limit) if self.jitter else limit
        response = outcome.response if isinstance(outcome, HandshakeError) else None
        return wait if response is None else max(wait, min(self.most_retry_after, retry_after(response)))

    def is_temporary(self, outcome: Outcome) -> bool:
        """Tell whether another attempt may end otherwise."""
        if isinstance(outcome, HandshakeError):
            cause = outcome.close_event.cause
            if outcome.response is not None:
                return outcome.response.status in self.statuses
            if cause is CloseCause.TLS:
                return is_lost_connection(outcome.__cause__)
            return cause in self.causes
        if outcome.cause is CloseCause.REMOTE:
            return outcome.code in self.codes
        return outcome.cause in self.causes


def checked_set(name: str, values: object) -> list[object]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a set or a list, not {type(values).__name__}: {values!r}")
    return list(cast("Iterable[object]", values))


def checked_numbers(name: str, values: object, least: int, most: int) -> frozenset[int]:
    numbers: set[int] = set()
    for each in checked_set(name, values):
        if not isinstance(each, int) or isinstance(each, bool):
            raise TypeError(f"each of {name} must be an int, not {type(each).__name__}: {each!r}")
        if not least <= each <= most:
            raise ValueError(f"each of {name} must be from {least} to {most}, not {each!r}")
        numbers.add(each)
    return frozenset(numbers)


def checked_causes(values: object) -> frozenset[CloseCause]:
    causes = checked_set("causes", values)
    if strange := [each for each in causes if each not in CAUSES]:
        raise ValueError(f"each of causes must be one of {', '.join(CAUSES)}, not {strange[0]!r}")
    return frozenset(CloseCause(cast("str", each)) for each in causes)


def is_lost_connection(error: BaseException | None) -> bool:
    """Tell whether a TLS handshake failed because the connection did."""
    return isinstance(error, SSLEOFError) or (isinstance(error, OSError) and not isinstance(error, SSLError))


def retry_after(response: Response) -> float:
    """Return the seconds that the server asks for; 0 if it does not, or in words that nobody understands."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:10])
    from datetime import UTC, datetime  # these take long to import
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value)
        return max(0, (date - datetime.now(UTC)).total_seconds()) if date.tzinfo is not None else 0
    except (ValueError, OverflowError):
        return 0


@dataclass(frozen=True, slots=True)
class ReconnectEvent:
    """Something that `stay_connected` has come to.

    Attributes:
        phase: `"connecting"`: an attempt begins; `"open"`: it has led to a connection; `"waiting"`: the connection has
            ended, or none came about, and another attempt follows; `"stopped"`: none does.
        attempt: which attempt this is, from 1.
        failures: how many endings in a row there were, this one included; 0 as long as there was none.
        outcome: how it ended, when it has.
        delay: seconds until the next attempt; only in `"waiting"`.
    """

    phase: Literal["connecting", "open", "waiting", "stopped"]
    attempt: int
    failures: int = 0
    outcome: Outcome | None = None
    delay: float | None = None

    def __str__(self) -> str:
        if self.outcome is None:
            return f"attempt {self.attempt}: {self.phase}"
        follows = "no other follows" if self.delay is None else f"the next in {self.delay:.3g} s"
        return f"attempt {self.attempt}: {self.outcome}; {follows}"


async def stay_connected(
    target: str | Callable[[], AbstractAsyncContextManager[WebSocket]],
    session: Session,
    *,
    policy: Policy = ReconnectPolicy(),
    stable_after: float = 30,
    on_event: Callable[[ReconnectEvent], object] | None = None,
) -> CloseEvent:
    """Run *session* with a connection, and again with a new one when that has ended, as long as *policy* says so.

    Each connection is a block: it ends with 1000 if *session* returns, with 1011 if it raises, with 1001 if this is
    cancelled. `ConnectionClosed` out of *session* is an ending like others, alone or in a group of nothing else; any
    other exception goes on, unchanged. The log has an INFO record for every ending.

    Args:
        target: the URL; or a function that is called for every attempt and returns what `connect` returns, for
            options, and for headers that change.
        session: called with every connection.
        policy: decides by how the connection ended, or why none came about; see `ReconnectPolicy`.
        stable_after: seconds from which on a connection counts as a success, so that failures are counted anew.
        on_event: called with every `ReconnectEvent`; what it raises goes on.

    Returns:
        How the last connection ended; look at it, since a peer that refuses this side stops it too.

    Raises:
        TypeError: *target* or *session* is not what it has to be, or returns what it must not.
        HandshakeError: no connection came about, and the policy has stopped at that.
        ValueError: the policy has returned what is no number of seconds.
    """
    if not isinstance(target, str) and not callable(target):
        hint = "; write lambda: connect(...)" if isinstance(target, AbstractAsyncContextManager) else ""
        raise TypeError(
            f"target must be a URL or a function that returns what connect returns, "
            f"not {type(target).__name__}: {target!r}{hint}"
        )
    if not callable(session):
        raise TypeError(f"session must be an async function, not {type(session).__name__}: {session!r}")
    reconnecting = Reconnecting(session, policy, stable_after, on_event or ignore)
    while True:
        outcome = await reconnecting.attempt(connect(target) if isinstance(target, str) else target())
        if (delay := reconnecting.delay_after(outcome)) is not None:
            await trio.sleep(delay)
        elif isinstance(outcome, HandshakeError):
            raise outcome
        else:
            return outcome


def ignore(event: ReconnectEvent) -> None:
    """Be an `on_event` that nobody has given."""


class Reconnecting:
    """Counts attempts and failures, and tells of them."""

    def __init__(
        self,
        session: Session,
        policy: Policy,
        stable_after: float,
        on_event: Callable[[ReconnectEvent], object],
    ) -> None:
        self._session = session
        self._policy = policy
        self._stable_after = stable_after
        self._on_event = on_event
        self._attempt = self._failures = 0
        self._place = ""

    async def attempt(self, connecting: AbstractAsyncContextManager[WebSocket]) -> Outcome:
        """Connect, run the session, and return how that ended."""
        if not isinstance(connecting, AbstractAsyncContextManager):
            raise TypeError(f"target must return what connect returns, not {type(connecting).__name__}: {connecting!r}")
        self._attempt += 1
        self._place = repr(connecting)
        self._on_event(ReconnectEvent("connecting", self._attempt, self._failures))
        websocket: WebSocket | None = None
        opened = 0.0
        try:
            async with connecting as websocket:
                opened = trio.current_time()
                self._on_event(ReconnectEvent("open", self._attempt, self._failures))
                await checked_awaitable(self._session(websocket), self._session)
        except HandshakeError as error:
            if websocket is not None:  # of another connection, which the session wanted
                raise
            return error
        except (ConnectionClosed, BaseExceptionGroup) as error:
            if not is_ending(error, websocket):
                raise
        assert websocket is not None
        assert websocket.close_event is not None
        if trio.current_time() - opened >= self._stable_after:
            self._failures = 0
        return websocket.close_event

    def delay_after(self, outcome: Outcome) -> float | None:
        """Ask the policy, and tell what it says."""
        self._failures += 1
        delay = self._policy(outcome, self._failures)
        if delay is not None and (isinstance(delay, bool) or not 0 <= delay < math.inf):
            raise ValueError(f"the policy has returned {delay!r}: it must be seconds from 0 on, or None to stop")
        phase: Literal["waiting", "stopped"] = "stopped" if delay is None else "waiting"
        event = ReconnectEvent(phase, self._attempt, self._failures, outcome, delay)
        logger.info("%s, %s", self._place, event, extra={"reconnect_event": event})
        self._on_event(event)
        return delay


def is_ending(error: BaseException, websocket: WebSocket | None) -> bool:
    """Tell whether *error* only says that the connection has ended, and did not end it."""
    if websocket is None or websocket.close_event is None or websocket.close_event.cause is CloseCause.ERROR:
        return False
    ours = websocket.close_event
    return all(isinstance(leaf, ConnectionClosed) and leaf.event is ours for leaf in leaves(error))
