"""Pings of this side, the Pongs they wait for, and how long a peer may be silent.

Theory. What counts is silence, not a missing Pong: any byte from the peer is a sign of life, so a round trip may take
longer than the interval. The limit runs from the first Ping after which nothing came. It does not run while we do not
read, since then we cannot hear. Hearing sets one variable; there is one timer, for the next Ping or the limit,
whichever comes first.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from typing import Final

import trio

__all__ = ["Keepalive", "Ping", "Pings"]

MOST_UNDER_WAY: Final = 16  # Pings of the keepalive that wait for their Pong; a peer may answer none


class Ping:
    """A Ping that was sent.

    Attributes:
        done: set when its Pong has come, or will not come any more.
        latency: seconds from queueing the Ping to its Pong; `None` as long as that has not come.
    """

    __slots__ = ("done", "latency", "sent_at")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.sent_at = trio.current_time()
        self.latency: float | None = None


class Pings:
    """The Pings under way, in the order they were sent.

    Attributes:
        latency: that of the latest Ping which was answered; `None` before the first Pong.
    """

    def __init__(self) -> None:
        self._under_way: dict[bytes, Ping] = {}
        self.latency: float | None = None

    def __len__(self) -> int:
        return len(self._under_way)

    def __contains__(self, payload: bytes) -> bool:
        return payload in self._under_way

    def new_payload(self) -> bytes:
        """Return a payload that no Ping under way has."""
        while (payload := os.urandom(4)) in self._under_way:
            pass  # pragma: no cover  # one in four billion
        return payload

    def begin(self, payload: bytes) -> Ping:
        """Note that a Ping with *payload* is queued."""
        ping = self._under_way[payload] = Ping()
        return ping

    def forget(self, payload: bytes) -> None:
        """Note that nobody waits for the Pong any more."""
        self._under_way.pop(payload, None)

    def answer(self, payload: bytes) -> None:
        """Note a Pong: it answers its Ping and all that are older (RFC 6455 §5.5.3); one for no Ping is ignored."""
        answered = None if payload in self._under_way else payload
        now = trio.current_time()
        while answered != payload:
            answered = next(iter(self._under_way))
            ping = self._under_way.pop(answered)
            ping.latency = self.latency = now - ping.sent_at
            ping.done.set()

    def end(self) -> None:
        """Wake everyone who waits for a Pong: none will come."""
        for ping in self._under_way.values():
            ping.done.set()


class Keepalive:
    """Sends a Ping every *interval* seconds, and fails a connection whose peer is silent for *timeout* after one."""

    def __init__(self, pings: Pings, interval: float | None, timeout: float | None) -> None:
        self._pings = pings
        self._interval = interval
        self._timeout = math.inf if timeout is None else timeout
        self._unheard: float | None = None  # when the first Ping was sent after which nothing came
        self._stopped: float | None = None  # since when the clock stands
        self._payloads: list[bytes] = []
        self._nap: trio.CancelScope | None = None

    def heard(self) -> None:
        """Note a sign of life."""
        self._unheard = None

    def set_clock(self, *, running: bool) -> None:
        """Stop the clock, or let it go on."""
        if running is (self._stopped is None):
            return
        now = trio.current_time()
        if not running:
            self._stopped = now
            return
        if self._unheard is not None and self._stopped is not None:
            self._unheard += now - max(self._stopped, self._unheard)
            assert self._nap is not None
            self._nap.cancel()
        self._stopped = None

    @property
    def _deadline(self) -> float:
        if self._unheard is None or self._stopped is not None:
            return math.inf
        return self._unheard + self._timeout

    @trio.lowlevel.enable_ki_protection
    async def run(
        self, send: Callable[[bytes], bool], hear: Callable[[], Awaitable[None]], fail: Callable[[], None]
    ) -> None:
        """Ping and watch, as long as the connection is open. Only with an interval.

        Args:
            send: sends a Ping with this payload; returns false when none may be sent any more.
            hear: sees to it that everything that has arrived by now was `heard`.
            fail: fails the connection.
        """
        assert self._interval is not None
        next_ping = trio.current_time() + self._interval
        while True:
            with trio.CancelScope() as self._nap:
                await trio.sleep_until(min(next_ping, self._deadline))
            now = trio.current_time()
            if now >= self._deadline:
                await hear()
                if now >= self._deadline:
                    fail()
                    return
            if now >= next_ping:
                if not send(self._new_payload()):
                    return
                if self._unheard is None:
                    self._unheard = now
                next_ping = now + self._interval

    def _new_payload(self) -> bytes:
        payload = self._pings.new_payload()
        self._pings.begin(payload)
        self._payloads.append(payload)
        if len(self._payloads) > MOST_UNDER_WAY:
            self._pings.forget(self._payloads.pop(0))
        return payload
