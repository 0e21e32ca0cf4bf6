"""What one side does in its block, in either role."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

import trio

from trio_closeevents import ConnectionClosed, WebSocket

from .plan import PATIENCE, Ending, Plan

__all__ = ["LIMITS", "Boom", "cancel_later", "names_of", "play"]

# They are long for an undisturbed connection, however busy the machine.
LIMITS: Final[dict[str, Any]] = {
    "open_timeout": 4.0,
    "close_timeout": 4.0,
    "cancel_timeout": 3.0,
    "ping_interval": 0.5,
    "ping_timeout": 3.0,
}
BIG: Final = b"soak" * 50_000
PART: Final = BIG[:10_000]
PAUSE: Final = 0.02  # seconds between the rounds of an activity


class Boom(Exception):
    """What a block is left by, if the plan says so."""


async def play(ws: WebSocket, ending: Ending, plan: Plan) -> None:
    """Be busy, then end the block as *ending* says; whoever cancels it is outside."""
    if ending.kind in ("cancel", "deadline"):
        await be_busy(ws, ending, plan)
    elif ending.kind in ("aclose", "abort"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_later, ws, ending)
            await be_busy(ws, ending, plan)
    else:
        with trio.move_on_after(PATIENCE if ending.kind == "wait" else ending.after):
            await be_busy(ws, ending, plan)
        if ending.kind == "error":
            await fail(grouped=ending.grouped)


async def fail(*, grouped: bool) -> None:
    if grouped:
        async with trio.open_nursery():
            raise Boom
    raise Boom


async def end_later(ws: WebSocket, ending: Ending) -> None:
    await trio.sleep(ending.after)
    if ending.kind == "abort":
        ws.abort()
    else:
        await ws.aclose(*ending.frame)


async def cancel_later(scope: trio.CancelScope, seconds: float) -> None:
    """Cancel from the outside, as a crashed sibling would."""
    await trio.sleep(seconds)
    scope.cancel()


async def be_busy(ws: WebSocket, ending: Ending, plan: Plan) -> None:
    """Send, receive and so on until the connection ends."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, ws, ending)
            await talk(ws, ending, plan)
    except* ConnectionClosed:
        pass


async def listen(ws: WebSocket, ending: Ending) -> None:
    if ending.activity != "stream":
        async for _ in ws:
            pass
        return
    while True:
        async with ws.receive_stream() as pieces:
            async for _ in pieces:
                pass


async def talk(ws: WebSocket, ending: Ending, plan: Plan) -> None:
    for size in plan.sizes:
        await ws.send(BIG[:size])
    while ending.activity in ("send", "fragments", "ping"):
        if ending.activity == "send":
            await ws.send(BIG)
        elif ending.activity == "fragments":
            await ws.send(parts())
        else:
            await ws.ping()
        await trio.sleep(PAUSE)


def parts() -> Iterator[bytes]:
    return itertools.repeat(PART, 20)


def names_of(error: BaseException | None) -> str:
    """Return the types of the exceptions in *error*, each once; `""` if there is none."""
    if isinstance(error, BaseExceptionGroup):
        return "+".join(sorted({names_of(each) for each in error.exceptions}))
    return "" if error is None else type(error).__name__
