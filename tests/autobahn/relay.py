"""A TCP relay that stands between the suite and our side, and keeps what travels in either direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import trio

__all__ = ["Side", "Step", "Tape", "relay"]

Side = Literal["suite", "us"]


class Step(NamedTuple):
    """What one side sent at once; no bytes: the end of its stream."""

    side: Side
    data: bytes


Tape = list[Step]
OTHER: Final[dict[Side, Side]] = {"suite": "us", "us": "suite"}


async def relay(
    listener: trio.SocketListener, host: str, port: int, caller: Side, keep: Callable[[int, Tape], None]
) -> None:
    """Hand on what comes from *listener* to *port* and back, until cancelled.

    Args:
        caller: who connects to *listener*.
        keep: called with the number of each connection, from 0, and its tape when it has ended.
    """
    numbers = iter(range(2**31))

    async def carry(near: trio.SocketStream) -> None:
        number, tape = next(numbers), Tape()
        async with near, await trio.open_tcp_stream(host, port) as far, trio.open_nursery() as nursery:
            nursery.start_soon(pump, near, far, caller, tape, nursery.cancel_scope)
            nursery.start_soon(pump, far, near, OTHER[caller], tape, nursery.cancel_scope)
        keep(number, tape)

    await trio.serve_listeners(carry, [listener])


async def pump(
    source: trio.SocketStream, sink: trio.SocketStream, side: Side, tape: Tape, both: trio.CancelScope
) -> None:
    """Carry one direction to its end."""
    try:
        async for data in source:
            tape.append(Step(side, bytes(data)))
            await sink.send_all(data)
        tape.append(Step(side, b""))
        await sink.send_eof()
    except trio.BrokenResourceError:
        both.cancel()  # a reset ends both directions
