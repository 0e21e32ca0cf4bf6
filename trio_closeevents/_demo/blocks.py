"""What our side does inside its block, or in its handler."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .act import Act, Block

__all__ = [
    "abort",
    "aclose",
    "be_cancelled",
    "lag_and_be_cancelled",
    "leave",
    "read_on_cue",
    "read_to_the_end",
    "send_too_much",
    "stay",
    "throw",
]


async def leave(act: Act) -> None:
    """Return at once."""


async def stay(act: Act) -> None:
    """Never return."""
    await trio.sleep_forever()


async def read_to_the_end(act: Act) -> None:
    """Receive until there is nothing more."""
    async for message in act.ws:
        act.messages.append(message)


def throw(make: Callable[[], BaseException]) -> Block:
    """Leave by an exception."""

    async def block(act: Act) -> None:
        raise make()

    return block


async def be_cancelled(act: Act) -> None:
    """Be cancelled from outside, at once."""
    act.scope.cancel()
    await trio.sleep_forever()


def aclose(code: int | None, reason: str = "") -> Block:
    """Close from inside."""

    async def block(act: Act) -> None:
        await act.ws.aclose(code, reason)

    return block


async def abort(act: Act) -> None:
    """Drop the transport."""
    act.ws.abort()


async def lag_and_be_cancelled(act: Act) -> None:
    """Receive one message, then none until everything is full, then be cancelled."""
    await act.ws.receive()
    await trio.sleep(0.1)
    await be_cancelled(act)


async def send_too_much(act: Act) -> None:
    """Send more than the network takes from a peer that does not read."""
    await act.ws.send(bytes(8_000_000))


async def read_on_cue(act: Act) -> None:
    """Wait for the cue, then receive until there is nothing more."""
    await act.cue.wait()
    await read_to_the_end(act)
