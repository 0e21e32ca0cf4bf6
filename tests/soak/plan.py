"""What shall happen to one connection. Who knows the seed and the number knows the plan: both sides, relay, judge."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["PATIENCE", "SERVER_PROCESSES", "Cut", "Door", "Ending", "Frame", "Plan", "draw"]

Door: TypeAlias = Literal["plain", "tls", "accept"]  # open_server, the same with TLS, or accept() on our own listener
Activity: TypeAlias = Literal["receive", "send", "fragments", "stream", "ping"]
Kind: TypeAlias = Literal["return", "error", "cancel", "deadline", "aclose", "abort", "wait"]
Frame: TypeAlias = tuple[int | None, str]

SERVER_PROCESSES: Final = 2
PATIENCE: Final = 1.0  # seconds that a side waits for the other to end the connection
LONGEST: Final = 0.25  # seconds from the opening to an ending of one's own
# Bytes up to the end of the opening, more or less: it is cut too, but not always.
OPENING: Final[dict[Door, int]] = {"plain": 300, "accept": 300, "tls": 2500}
DOORS: Final[tuple[Door, ...]] = ("plain", "plain", "tls", "accept")
ACTIVITIES: Final[tuple[Activity, ...]] = ("receive", "send", "fragments", "stream", "ping")
KINDS: Final[tuple[Kind, ...]] = ("return", "error", "cancel", "deadline", "aclose", "aclose", "abort", "wait", "wait")
# What goes on in a block is inside of its handler for `open_server`: a handler cannot be cancelled by itself.
HANDLER_KINDS: Final[tuple[Kind, ...]] = ("return", "error", "aclose", "aclose", "abort", "wait", "wait", "wait")
CODES: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
REASONS: Final = ("", "", "bye", "a reason of 123 bytes" + "…" * 34, "ünïcödé")


@dataclass(frozen=True, slots=True)
class Ending:
    """How one side ends the connection.

    Attributes:
        kind: `"wait"` is for the other side, at most `PATIENCE` seconds; then the block returns.
        after: seconds from the opening.
        activity: what this side does meanwhile.
        frame: for `aclose`.
        grouped: an error leaves the block in a group.
    """

    kind: Kind
    after: float
    activity: Activity
    frame: Frame = (1000, "")
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """How the relay cuts the connection, after so many bytes both ways."""

    kind: Literal["FIN", "RST", "silence"]
    after: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about one connection.

    Attributes:
        process: which of the server processes it goes to.
        relayed: it goes through the relay, which cuts it if `cut` says so.
        gives_up: seconds after which the client cancels the opening; `None`: never.
        sizes: of the messages that both sides send first.
    """

    number: int
    process: int
    door: Door
    relayed: bool
    cut: Cut | None
    compressed: bool
    gives_up: float | None
    sizes: tuple[int, ...]
    client: Ending
    server: Ending


def draw(seed: int, number: int) -> Plan:
    """Return the plan of the connection *number*."""
    chance = random.Random(f"{seed}-{number}")
    door = chance.choice(DOORS)
    relayed = chance.random() < 0.5
    client = draw_ending(chance, KINDS)
    server = draw_ending(chance, KINDS if door == "accept" else HANDLER_KINDS, client.after)
    if client.kind == server.kind == "wait":
        client = Ending("return", client.after, client.activity)
    return Plan(
        number=number,
        process=chance.randrange(SERVER_PROCESSES),
        door=door,
        relayed=relayed,
        cut=Cut(chance.choice(("FIN", "RST", "silence")), OPENING[door] + draw_size(chance))
        if relayed and chance.random() < 0.4
        else None,
        compressed=chance.random() < 0.3,
        gives_up=chance.uniform(0, 0.02) if chance.random() < 0.05 else None,
        sizes=tuple(draw_size(chance) for _ in range(chance.randrange(5))),
        client=client,
        server=server,
    )


def draw_ending(chance: random.Random, kinds: tuple[Kind, ...], other: float | None = None) -> Ending:
    """Draw one side's ending, often at the moment of the *other* one's: then the two cross."""
    after = chance.choice((0.0, chance.uniform(0, LONGEST), chance.uniform(0, LONGEST)))
    if other is not None and chance.random() < 0.4:
        after = other
    code = chance.choice((None, *CODES))
    return Ending(
        chance.choice(kinds),
        after,
        chance.choice(ACTIVITIES),
        (code, "" if code is None else chance.choice(REASONS)),
        chance.random() < 0.5,
    )


def draw_size(chance: random.Random) -> int:
    """Draw a number of bytes, from some to some hundred thousand."""
    return int(2 ** chance.uniform(0, 18))
