"""`broadcast`: one message to many connections."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

import trio

from ._connection import WebSocket
from ._errors import ConnectionClosed
from ._payload import BytesLike, checked_message
from ._protocol.plain import Shared
from ._turns import turns_of_this_run

__all__ = ["broadcast"]

protected = trio.lowlevel.enable_ki_protection


@protected
async def broadcast(connections: Iterable[WebSocket], message: str | BytesLike) -> None:
    """Send *message* to each of *connections*; it is put into a frame once for all of them.

    Returns when every one of them has it queued and no more than 64 KiB wait for its network, as `send` does; so it is
    as slow as the slowest peer. Use a scope with a deadline round it if that must not be. Connections that have ended,
    or are about to, are passed over. If cancelled, each connection either has the message whole or not at all.

    Args:
        connections: `Server.connections`, for example. A copy is made first.
        message: `str` is sent as text, anything bytes-like as binary.

    Raises:
        TypeError: *message* is neither `str` nor bytes-like. Nothing was sent.
        ValueError: text that UTF-8 cannot carry. Nothing was sent.
    """
    shared = Shared(checked_message(message))
    turns = turns_of_this_run()
    await turns.checkpoint()
    slow: list[WebSocket] = []
    for websocket in list(connections):
        if perf_counter() >= turns.until:
            await turns.checkpoint()
        if not websocket.offer(shared):
            slow.append(websocket)
    if slow:
        async with trio.open_nursery() as nursery:
            for websocket in slow:
                nursery.start_soon(send_if_open, websocket, shared.message)


async def send_if_open(websocket: WebSocket, message: str | bytes) -> None:
    try:
        await websocket.send(message)
    except ConnectionClosed:
        pass  # it has ended meanwhile
