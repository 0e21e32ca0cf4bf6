"""How many connections a server takes: what counts, who is refused, and how many refusals there may be.

Theory. Every accepted connection takes a seat, and leaves it when its handler is done and its transport gone: until
then it has a task and a socket, be it opening, open or closing. It is counted in two steps, since behind a proxy the
client's address is told later than the connection is accepted: in all and as a handshake when it is accepted, for its
address when that is known. Who finds a limit reached is refused, and counts no more: nobody loses a place to a refusal.

A refusal is a handshake too, whose answer is 503, and has a bound of its own: one more than `MOST_REFUSALS` pushes out
the oldest, which had more time than any other. So a flood of clients who take their time fills neither memory nor
descriptors, and never holds up the listener, behind which good clients wait. Who is pushed out is told 503 all the
same, if TLS is ready for it, and hung up on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address
from typing import Any, Final, TypeAlias, cast

from ._http import Response
from ._options import check_limit

__all__ = ["Excess", "Limits", "Seat", "Seats"]

MOST_REFUSALS: Final = 512  # at once
LONGEST_WAIT: Final = 10  # seconds: refused clients are told to come back at different times within it
WARN_EVERY: Final = 60.0  # seconds: a flood of clients must not be one of log records

Key: TypeAlias = str | bytes  # an IPv4 address, or the first half of one of IPv6


class Excess(Enum):
    """The limit that was reached, and what its client is told."""

    CONNECTIONS = "max_connections", "the server has as many connections as it takes"
    HANDSHAKES = "max_handshakes", "the server is busy with other opening handshakes"
    ADDRESS = "max_connections_per_address", "there are as many connections from your address as the server takes"

    def __init__(self, option: str, why: str) -> None:
        self.option = option
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one server; `open_server` has the meaning of each."""

    max_connections: int | None = None
    max_connections_per_address: int | None = None
    max_handshakes: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_connections", "max_connections_per_address", "max_handshakes"):
            check_limit(name, getattr(self, name), 1)

    @property
    def max_handshakes_per_address(self) -> int | None:
        """With both limits, one address gets half of the handshakes: slow ones of a single client stop nobody else."""
        if self.max_handshakes is None or self.max_connections_per_address is None:
            return None
        return max(1, self.max_handshakes // 2)


class Seat:
    """The place of one connection.

    Attributes:
        excess: why it is refused; `None` if it is not.
        is_handshake: it is not open yet.
        key: what it is counted for, if it is counted for its address.
    """

    __slots__ = ("excess", "is_handshake", "key")

    def __init__(self) -> None:
        self.excess: Excess | None = None
        self.is_handshake = True
        self.key: Key | None = None


class Seats:
    """All seats of one server.

    Attributes:
        limits: how many there are.
        connections: how many are taken, by handshakes too.
        handshakes: how many of these are not open yet.
        refused: how many connections were refused so far.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.connections = self.handshakes = self.refused = 0
        self._handshakes_per_address = limits.max_handshakes_per_address
        self._connections_of: dict[Key, int] = {}
        self._handshakes_of: dict[Key, int] = {}
        self._refusals: dict[Seat, Callable[[], None]] = {}  # the oldest first, each with what ends it
        self._warn_from = -math.inf
        self._told = 0  # how many were refused until the last warning

    def take(self) -> Seat:
        """Return a seat for a connection that was accepted; its `excess` tells if there was none left."""
        seat = Seat()
        limits = self.limits
        if limits.max_connections is not None and self.connections >= limits.max_connections:
            seat.excess = Excess.CONNECTIONS
        elif limits.max_handshakes is not None and self.handshakes >= limits.max_handshakes:
            seat.excess = Excess.HANDSHAKES
        else:
            self.connections += 1
            self.handshakes += 1
        return seat

    def identify(self, seat: Seat, address: Any) -> bool:
        """Count *seat* for its client's *address*, as a socket has it; false, and `excess` set, if it has too many."""
        most = self.limits.max_connections_per_address
        if most is None or seat.excess is not None or (key := key_of(address)) is None:
            return True
        connections, handshakes = self._connections_of.get(key, 0), self._handshakes_of.get(key, 0)
        most_handshakes = self._handshakes_per_address
        if connections >= most or (most_handshakes is not None and handshakes >= most_handshakes):
            self.leave(seat)
            seat.excess = Excess.ADDRESS
            return False
        seat.key = key
        self._connections_of[key] = connections + 1
        self._handshakes_of[key] = handshakes + 1
        return True

    def open(self, seat: Seat) -> None:
        """The handshake of *seat* is over, and its connection is open."""
        seat.is_handshake = False
        self.handshakes -= 1
        if seat.key is not None:
            count_down(self._handshakes_of, seat.key)

    def leave(self, seat: Seat) -> None:
        """The connection of *seat* is gone."""
        if seat.excess is not None:
            self._refusals.pop(seat, None)
            return
        if seat.is_handshake:
            self.open(seat)
        self.connections -= 1
        if seat.key is not None:
            count_down(self._connections_of, seat.key)

    def refuse(self, seat: Seat, drop: Callable[[], None]) -> Response:
        """Return what the client of *seat* is answered; end the oldest refusal if there are too many.

        Args:
            drop: ends this refusal at once.
        """
        assert seat.excess is not None
        if len(self._refusals) >= MOST_REFUSALS:
            drop_oldest = self._refusals.pop(next(iter(self._refusals)))
            drop_oldest()
        self._refusals[seat] = drop
        self.refused += 1
        return Response(503, [("Retry-After", str(1 + self.refused % LONGEST_WAIT))], f"{seat.excess.why}\n")

    def due_warning(self, now: float) -> int:
        """Return how many refusals the log was not told of, if it is time for that; else 0."""
        if now < self._warn_from:
            return 0
        number = self.refused - self._told
        self._warn_from, self._told = now + WARN_EVERY, self.refused
        return number


def count_down(counts: dict[Key, int], key: Key) -> None:
    if counts[key] == 1:
        del counts[key]
    else:
        counts[key] -= 1


def key_of(address: Any) -> Key | None:
    """Return what is one client's: an IPv4 address, a /64 of IPv6; `None` of what has neither, as a Unix socket.

    Who has one address of IPv6 has a /64 of them at least. One that IPv4 is mapped into is that of IPv4.
    """
    if not isinstance(address, tuple):
        return None
    host = cast("str", address[0])
    if ":" not in host:
        return host
    parsed = IPv6Address(host.partition("%")[0])
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped is not None else parsed.packed[:8]
