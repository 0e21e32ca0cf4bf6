"""The search: every world that a client, a server and the network between them can come to, breadth first.

A world is two nodes and two channels, as numbers in one integer. What a side can do depends on its node and on both
channels, what the network can do on the channels alone: so all moves are made once, and looked up from then on.

No world is a dead end. The search shows where nothing is owed any more, by nobody, and there both sides must be gone,
or be open still, or have somebody to blame: the network that dropped something. Nor can anything go round in circles:
the nodes of a side cannot (`Nodes.check_acyclic`), and a move that leaves both nodes alone uses something up for good.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from trio_closeevents._protocol.closing import State

from .bounds import Bounds
from .chunk import Chunk, Wire
from .network import Channel, Way, bury, events
from .nodes import Nodes
from .side import DEADLINE, END, WRITE, WRITE_FAILS, Violation, offers

__all__ = ["Ending", "Exploration", "Figures"]

BITS: Final = 20  # of each number
ONE: Final = (1 << BITS) - 1
CLIENT, SERVER = ONE, ONE << BITS
NODES: Final = CLIENT | SERVER
CHANNELS: Final = (ONE << 2 * BITS) | (ONE << 3 * BITS)

T = TypeVar("T", bound=Hashable)


class Numbers(Generic[T]):
    """Things, numbered as they are found."""

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}
        self.things: list[T] = []

    def number(self, thing: T) -> int:
        if (number := self._numbers.get(thing)) is None:
            number = self._numbers[thing] = len(self.things)
            self.things.append(thing)
        return number


class Move(NamedTuple):
    """What somebody can do. *owed*: it needs no user, no fault of the network and no time."""

    words: str
    owed: bool
    target: int  # the part of a world's number that it sets


class Moves(NamedTuple):
    targets: tuple[int, ...]
    owed: bool  # one of them is


class Ending(NamedTuple):
    """What tells one kind of CloseEvent from another."""

    code: int
    cause: str
    initiated_by: str
    clean: bool


@dataclass(frozen=True)
class Figures:
    """What an exploration has walked.

    Attributes:
        nodes: of the client and of the server.
        worlds: states of the whole.
        transitions: from one world to another.
        final: worlds in which nothing can happen any more.
        depth: transitions on the longest of the shortest ways to a world.
        endings: kinds of CloseEvent, with the number of final worlds in which a side has it.
        seconds: that it took.
    """

    nodes: tuple[int, int]
    worlds: int
    transitions: int
    final: int
    depth: int
    endings: Counter[Ending]
    seconds: float


class Exploration:
    """One search.

    Args:
        progress: called now and then with the worlds so far.
    """

    def __init__(self, bounds: Bounds, progress: Callable[[int], None] = lambda worlds: None) -> None:
        wire = Wire()
        self._bounds = bounds
        self._progress = progress
        self._client, self._server = (Nodes(wire, bounds, client=client) for client in (True, False))
        self._channels: Numbers[Channel] = Numbers()
        self._client_moves: dict[int, Moves] = {}
        self._server_moves: dict[int, Moves] = {}
        self._network_moves: dict[int, Moves] = {}
        self._came_from: dict[int, int] = {}
        self._agreed: set[tuple[int, int]] = set()  # events by `id`: they stay, and their hash takes long

    def run(self) -> Figures:
        """Walk all worlds.

        Raises:
            Violation: something does not hold; the text tells the shortest way to it.
        """
        began = time.monotonic()
        start = self._number(0, 0, Channel(), Channel())
        self._came_from[start] = start
        frontier, depth, transitions = [start], -1, 0
        finals: list[int] = []
        while frontier:
            depth += 1
            found: list[int] = []
            for world in frontier:
                try:
                    leaving = self._leave(world, found)
                except Violation as violation:
                    raise Violation("\n".join([*self._way_to(world), str(violation)])) from None
                transitions += leaving
                if not leaving:
                    finals.append(world)
            frontier = found
            self._progress(len(self._came_from))
        self._client.check_acyclic()
        self._server.check_acyclic()
        return Figures(
            nodes=(len(self._client.statuses), len(self._server.statuses)),
            worlds=len(self._came_from),
            transitions=transitions,
            final=len(finals),
            depth=depth,
            endings=self._count_endings(finals),
            seconds=time.monotonic() - began,
        )

    # -- one world -----------------------------------------------------------------------------------------------------

    def _leave(self, world: int, found: list[int]) -> int:
        """Append what *world* leads to and is new to *found*; return how many transitions leave it."""
        of_client = self._client_moves.get(world & ~SERVER)
        if of_client is None:
            of_client = self._client_moves[world & ~SERVER] = make_moves(self._moves_of_client(world))
        of_server = self._server_moves.get(world & ~CLIENT)
        if of_server is None:
            of_server = self._server_moves[world & ~CLIENT] = make_moves(self._moves_of_server(world))
        of_network = self._network_moves.get(world & CHANNELS)
        if of_network is None:
            of_network = self._network_moves[world & CHANNELS] = make_moves(self._moves_of_network(world))
        came_from = self._came_from
        for moves, kept in ((of_client, world & SERVER), (of_server, world & CLIENT), (of_network, world & NODES)):
            for target in moves.targets:
                new = target | kept
                if new not in came_from:
                    came_from[new] = world
                    found.append(new)
        leaving = len(of_client.targets) + len(of_server.targets) + len(of_network.targets)
        self._compare_events(world)
        if not (of_client.owed or of_server.owed or of_network.owed):
            self._check_rest(world, final=not leaving)
        return leaving

    def _compare_events(self, world: int) -> None:
        """Compare what the two sides tell of the ending, once both know."""
        client = self._client.statuses[world & ONE].event
        server = self._server.statuses[world >> BITS & ONE].event
        if client is None or server is None or (id(client), id(server)) in self._agreed:
            return
        for one, other in ((client, server), (server, client)):
            if one.received is not None and one.received != other.sent:
                raise Violation(f"one side received {one.received}, the other sent {other.sent}")
            if client.was_clean and server.was_clean:
                if other.sent is None:
                    raise Violation("a side is clean, and has sent nothing")
                said = (1005 if other.sent.code is None else other.sent.code, other.sent.reason)
                if (one.code, one.reason) != said:
                    raise Violation(f"both are clean, one has {(one.code, one.reason)}, the other sent {said}")
        self._agreed.add((id(client), id(server)))

    def _check_rest(self, world: int, *, final: bool) -> None:
        """Check a world in which nothing goes on by itself: only users, faults and time can change anything."""
        sides = (self._client.statuses[world & ONE], self._server.statuses[world >> BITS & ONE])
        if final and not all(side.gone and side.left for side in sides):
            raise Violation("this is a dead end")
        dropped = any(channel.way is Way.DROPPED for channel in self._channels_of(world))
        for side, other in (sides, sides[::-1]):
            if side.gone:
                continue
            if not dropped and not (side.state is other.state is State.OPEN):
                raise Violation("this rests, and the network is not to blame")
            if side.state is not State.OPEN and not side.limited:
                raise Violation("a side waits without a limit")

    # -- moves ---------------------------------------------------------------------------------------------------------

    def _number(self, client: int, server: int, sent: Channel, received: Channel) -> int:
        """Return a world's number; what the client sends comes first."""
        number = self._channels.number
        first, second = number(sent), number(received)
        if client > ONE or server > ONE or first > ONE or second > ONE:
            raise OverflowError(f"{BITS} bits are not enough for each of {(client, server, first, second)}")
        return client | server << BITS | first << 2 * BITS | second << 3 * BITS

    def _channels_of(self, world: int) -> tuple[Channel, Channel]:
        things = self._channels.things
        return things[world >> 2 * BITS & ONE], things[world >> 3 * BITS & ONE]

    def _moves_of_client(self, world: int) -> Iterator[Move]:
        sent, received = self._channels_of(world)
        for words, owed, node, new_sent, new_received in side_moves(self._client, world & ONE, sent, received):
            yield Move(f"client {words}", owed, self._number(node, 0, new_sent, new_received))

    def _moves_of_server(self, world: int) -> Iterator[Move]:
        received, sent = self._channels_of(world)
        for words, owed, node, new_sent, new_received in side_moves(self._server, world >> BITS & ONE, sent, received):
            yield Move(f"server {words}", owed, self._number(0, node, new_received, new_sent))

    def _moves_of_network(self, world: int) -> Iterator[Move]:
        before = self._channels_of(world)
        for words, owed, *after in events(*before, self._bounds):
            if sum(map(used_up, after)) <= sum(map(used_up, before)):
                raise Violation(f"{words}: nothing is used up")
            yield Move(words, owed, self._number(0, 0, *after))

    # -- what is told --------------------------------------------------------------------------------------------------

    def _way_to(self, world: int) -> list[str]:
        """Return the shortest way to *world*, in words."""
        steps: list[str] = []
        while (before := self._came_from[world]) != world:
            moves = [
                (kept, move)
                for kept, makers in (
                    (SERVER, self._moves_of_client),
                    (CLIENT, self._moves_of_server),
                    (NODES, self._moves_of_network),
                )
                for move in makers(before)
            ]
            steps.append(next(move.words for kept, move in moves if move.target | (before & kept) == world))
            world = before
        return steps[::-1]

    def _count_endings(self, worlds: list[int]) -> Counter[Ending]:
        counter: Counter[Ending] = Counter()
        for world in worlds:
            for event in {
                self._client.statuses[world & ONE].event,
                self._server.statuses[world >> BITS & ONE].event,
            }:
                if event is not None:
                    counter[Ending(event.code, str(event.cause), str(event.initiated_by), event.was_clean)] += 1
        return counter


def make_moves(moves: Iterator[Move]) -> Moves:
    listed = list(moves)
    return Moves(tuple({move.target for move in listed}), any(move.owed for move in listed))


def side_moves(
    nodes: Nodes, node: int, outgoing: Channel, incoming: Channel
) -> Iterator[tuple[str, bool, int, Channel, Channel]]:
    """Yield what a side can do; each with whether it is owed, and with the side's node and channels after it."""
    status = nodes.statuses[node]
    steps: list[tuple[str | Chunk, bool]] = [*offers(status, nodes.bounds, client=nodes.client)]
    if status.outbox:
        steps.append((WRITE_FAILS if outgoing.way is Way.RESET else WRITE, True))
    if status.reads and incoming.chunks:
        steps.append((incoming.chunks[0], True))
    for step, owed in steps:
        words = f"reads {step}" if isinstance(step, Chunk) else step
        try:
            new, given = nodes.take(node, step)
        except Violation as violation:
            raise Violation(f"{'client' if nodes.client else 'server'} {words}: {violation}") from None
        new_outgoing, new_incoming = outgoing, incoming
        for chunk in given:
            new_outgoing = new_outgoing.put(chunk)
        if isinstance(step, Chunk):
            new_incoming = incoming._replace(chunks=incoming.chunks[1:])
        elif step in (END, DEADLINE):
            new_incoming, new_outgoing = bury(incoming, new_outgoing)
        if new != node or isinstance(step, Chunk):
            yield words, owed, new, new_outgoing, new_incoming


def used_up(channel: Channel) -> int:
    """Return how much of what happens once only has happened to *channel*."""
    return channel.faulted + channel.spoiled + (channel.way is not Way.OPEN)
