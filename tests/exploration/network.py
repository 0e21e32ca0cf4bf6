"""The network between the sides: two channels, and what can happen to them.

A channel holds what is on its way, what lies unread in the receiver's kernel included. Delay is everything else that
happens first. Losing what is on its way at any moment includes what TCP does with unread data when a reset comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from .bounds import Bounds
from .chunk import FIN, RST, Chunk

__all__ = ["OVER", "Channel", "Way", "bury", "events"]

LOST: Final = Chunk("something for nobody")  # whatever it is: the receiver is gone, its kernel will answer with RST


class Way(Enum):
    """What becomes of what is written."""

    OPEN = "open"
    CUT = "cut"  # it vanishes, and the receiver has been told FIN
    DROPPED = "dropped"  # it vanishes
    RESET = "reset"  # writing fails

    __hash__ = object.__hash__  # that of `Enum` is written in Python, and there are millions of channels to look up


class Channel(NamedTuple):
    """One direction.

    Attributes:
        way: what becomes of what is written.
        chunks: what is on its way.
        torn: the last of it is a part of a frame.
        ended: the sender has sent FIN.
        deaf: the receiver is gone.
        faulted: the network did something to it.
        spoiled: a malformed frame was put into it.
    """

    way: Way = Way.OPEN
    chunks: tuple[Chunk, ...] = ()
    torn: bool = False
    ended: bool = False
    deaf: bool = False
    faulted: bool = False
    spoiled: bool = False

    def put(self, chunk: Chunk) -> Channel:
        """Take what the sender writes; not if the way is reset."""
        torn, ended = not chunk.last, chunk == FIN
        if self.way is not Way.OPEN:
            return self._replace(ended=ended)
        if self.deaf:
            return self._replace(ended=ended, chunks=self.chunks if ended else (LOST,))
        return self._replace(chunks=(*self.chunks, chunk), torn=torn, ended=ended)

    def lose(self, way: Way, *, told: Chunk | None, faulted: bool) -> Channel:
        """Lose what is on its way; the receiver is told FIN, RST or nothing."""
        chunks = (told,) if told is not None and not self.deaf else ()
        return self._replace(way=way, chunks=chunks, torn=False, faulted=faulted)

    @property
    def matters(self) -> bool:
        """Something is on its way, or can still come, to somebody who may read it."""
        return not self.deaf and (not self.ended or bool(self.chunks))


OVER: Final = Channel(deaf=True)  # nobody is left


def bury(incoming: Channel, outgoing: Channel) -> tuple[Channel, Channel]:
    """Return the channels of a side that is gone from now on; what is unread makes its kernel answer with RST."""
    if outgoing.deaf:
        return OVER, OVER
    unread = incoming.way is Way.OPEN and any(chunk not in (FIN, RST) for chunk in incoming.chunks)
    return incoming._replace(chunks=(LOST,) if unread else (), torn=False, deaf=True), outgoing


def events(client: Channel, server: Channel, bounds: Bounds) -> Iterator[tuple[str, bool, Channel, Channel]]:
    """Yield what the network can do to what the client sends and to what the server sends.

    Each with whether it is owed, and no fault, and with the channels after it.
    """
    faults = client.faulted + server.faulted
    for flipped, channel, back in ((False, client, server), (True, server, client)):
        name = "server to client" if flipped else "client to server"
        for event, owed, new, new_back in one_way(channel, back, bounds, faults):
            yield f"{event}, {name}", owed, *((new_back, new) if flipped else (new, new_back))
    if faults < bounds.faults and not (client.faulted or server.faulted) and (client.matters or server.matters):
        yield (
            "the network resets the connection",
            False,
            client.lose(Way.RESET, told=RST, faulted=True),
            server.lose(Way.RESET, told=RST, faulted=True),
        )


def one_way(
    channel: Channel, back: Channel, bounds: Bounds, faults: int
) -> Iterator[tuple[str, bool, Channel, Channel]]:
    if channel.deaf and channel.chunks:
        told = back.lose(Way.RESET, told=RST, faulted=back.faulted) if back.way is Way.OPEN else back
        yield (
            "what nobody reads is answered with RST",
            True,
            channel.lose(Way.RESET if back.way is Way.OPEN else Way.DROPPED, told=None, faulted=channel.faulted),
            told,
        )
    if channel.way is not Way.OPEN or not channel.matters:
        return
    if faults < bounds.faults and not channel.faulted:
        yield "the network cuts", False, channel.lose(Way.CUT, told=FIN, faulted=True), back
        yield "the network drops", False, channel.lose(Way.DROPPED, told=None, faulted=True), back
    if channel.spoiled + back.spoiled < bounds.spoils and not (channel.spoiled or channel.torn or channel.ended):
        for kind in bounds.malformed:
            spoiled = channel._replace(chunks=(*channel.chunks, Chunk(kind)), spoiled=True)
            yield f"a malformed frame ({kind})", False, spoiled, back
