"""Pings of this side and the Pongs they wait for."""

from __future__ import annotations

import os

import trio

__all__ = ["Ping", "Pings"]


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
    """The Pings under way, in the order they were sent."""

    def __init__(self) -> None:
        self._under_way: dict[bytes, Ping] = {}

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
            ping.latency = now - ping.sent_at
            ping.done.set()

    def end(self) -> None:
        """Wake everyone who waits for a Pong: none will come."""
        for ping in self._under_way.values():
            ping.done.set()
