"""`broadcast`: one message to many connections."""

from __future__ import annotations

import math
from collections.abc import Iterable
from time import perf_counter
from typing import Final, Literal, TypeAlias

import trio

from ._connection import WebSocket, life_of
from ._events import CloseFrame, sendable_frame
from ._options import check_seconds
from ._payload import BytesLike, check_choice, checked_message
from ._protocol.plain import Shared
from ._runs import PerRun
from ._status import ReadyState
from ._turns import turns_of_this_run

__all__ = ["SlowPeers", "broadcast"]

SlowPeers: TypeAlias = Literal["skip"] | CloseFrame

TURNS_TO_QUEUE: Final = 2  # of the loop, until every task has run that was started in this one

protected = trio.lowlevel.enable_ki_protection
lock_of_this_run: Final = PerRun("broadcast", trio.Lock).get


@protected
async def broadcast(
    connections: Iterable[WebSocket],
    message: str | BytesLike,
    *,
    text: bool | None = None,
    slow_after: float | None = None,
    slow: SlowPeers = "skip",
) -> tuple[WebSocket, ...]:
    """Send *message* to each of *connections*; it is put into a frame once for all of them.

    Returns when every one of them has it queued. A connection has no room for it while more than 64 KiB wait for its
    network, or while a message in parts is being sent on it: that peer is slow, and the others have the message long
    before it. Without *slow_after*, it is waited for. Connections that have ended, or are about to, are passed over.

    Broadcasts of several tasks go to each connection in the order of the calls. If cancelled, each connection either
    has the message whole or not at all, and nothing is done to slow peers.

    Args:
        connections: `Server.connections`, for example. A copy is made first.
        message: `str` is sent as text, anything bytes-like as binary.
        text: `True` sends bytes as text, `False` sends `str` as binary, in UTF-8; `None`: as it is.
        slow_after: seconds from the call that each peer has to make room, 0 for those only that have it now; `None`:
            as long as it takes.
        slow: what becomes of a peer that has none then. `"skip"`: this message is not for it. A `CloseFrame`: its
            connection is closed with that, as `CloseFrame(1008, "too slow")` or 1013, with the cause `closed`. That
            goes on without being awaited, for `close_timeout` at most; a peer that reads nothing until then sees 1006.

    Returns:
        The connections that the message was not sent to, since they were slow; none without *slow_after*.

    Raises:
        TypeError: *message* is neither `str` nor bytes-like, one of *connections* is no `WebSocket`, or another
            argument has the wrong type. Nothing was sent.
        ValueError: text that UTF-8 cannot carry, bytes as text that are not UTF-8, a *slow_after* below 0, or a *slow*
            that may not travel or that nobody could come to, without *slow_after*. Nothing was sent.
    """
    if text is not None:
        check_choice("text", text)
    connections = checked_connections(connections)
    shared = Shared(checked_message(message, text, or_parts=False))
    check_slow(slow_after, slow)
    deadline = math.inf if slow_after is None else trio.current_time() + slow_after
    turns = turns_of_this_run()
    await trio.lowlevel.checkpoint_if_cancelled()
    late: dict[WebSocket, None] = {}
    place = Place()
    await place.take()
    try:
        for websocket in connections:
            if not life_of(websocket).offer(shared):
                late[websocket] = None
            if perf_counter() >= turns.until:
                await turns.checkpoint()  # not before: others would send first what they were asked to send later
        if late and slow_after != 0:
            with trio.move_on_at(deadline):
                async with trio.open_nursery() as nursery:
                    for websocket in list(late):
                        nursery.start_soon(send_later, websocket, shared, late)
                    for _ in range(TURNS_TO_QUEUE):
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    place.leave()
    finally:
        place.leave()
    skipped = tuple(websocket for websocket in late if websocket.state is ReadyState.OPEN)
    if isinstance(slow, CloseFrame):
        for websocket in skipped:
            life_of(websocket).begin_close(slow)
    return skipped


class Place:
    """The place of one broadcast among those under way, which go to all connections one after the other."""

    def __init__(self) -> None:
        self._lock = lock_of_this_run()
        self._is_taken = False

    async def take(self) -> None:
        """Wait until those that were called before have gone; a checkpoint only if there are any."""
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        self._is_taken = True

    def leave(self) -> None:
        """Let the next one go, if it does not already."""
        if self._is_taken:
            self._is_taken = False
            self._lock.release()


@protected
async def send_later(websocket: WebSocket, shared: Shared, late: dict[WebSocket, None]) -> None:
    """Send the message as soon as there is room, and take *websocket* out of those that are late."""
    await life_of(websocket).offer_later(shared)
    late.pop(websocket, None)


def checked_connections(connections: Iterable[WebSocket]) -> list[WebSocket]:
    """Return a copy of *connections*, all of which are WebSockets."""
    if not isinstance(connections, Iterable):
        raise TypeError(f"broadcast takes an iterable of WebSockets, not {type(connections).__name__}: {connections!r}")
    copy = list(connections)
    if set(map(type, copy)) - {WebSocket}:
        for each in copy:
            if not isinstance(each, WebSocket):
                raise TypeError(f"broadcast takes WebSockets, not {type(each).__name__}: {each!r:.80}")
    return copy


def check_slow(slow_after: object, slow: object) -> None:
    if slow_after is not None:
        check_seconds("slow_after", slow_after, finite=False)
    if isinstance(slow, CloseFrame):
        sendable_frame(slow.code, slow.reason)
        if slow_after is None:
            raise ValueError(f"slow={slow!r} needs slow_after: without it every peer is waited for")
    elif slow != "skip":
        raise TypeError(f"slow must be 'skip' or a CloseFrame, not {slow!r}")
