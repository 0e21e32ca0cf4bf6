"""What every client does, given its library's `send` and `receive`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import trio

from .. import wire

__all__ = ["MAX_SIZE", "Task", "task", "under_asyncio", "under_trio"]

MAX_SIZE: Final = 2**21


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to do: ping-pong, or sending and receiving at once, for some seconds."""

    port: int
    size: int
    seconds: float
    text: bool
    pingpong: bool

    @property
    def url(self) -> str:
        return f"ws://{wire.HOST}:{self.port}/"

    @property
    def message(self) -> Any:
        data = wire.payload(self.size)
        return data.decode() if self.text else data

    @property
    def stride(self) -> int:
        """How many messages are sent between two looks at the clock."""
        return max(1, min(64, 2**16 // self.size))


def task() -> Task:
    return Task(**json.loads(sys.argv[1]))


Send = Callable[[Any], Awaitable[object]]
Receive = Callable[[], Awaitable[Any]]


class SideBySide(Protocol):
    """How a library's event loop runs two functions at once."""

    async def __call__(self, one: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]], /) -> None: ...


async def under_trio(given: Task, send: Send, receive: Receive) -> None:
    async def side_by_side(one: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await other()

    await measure(given, send, receive, side_by_side)


async def under_asyncio(given: Task, send: Send, receive: Receive) -> None:
    async def side_by_side(one: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]]) -> None:
        first = asyncio.ensure_future(one())
        await other()
        await first

    await measure(given, send, receive, side_by_side)


async def measure(given: Task, send: Send, receive: Receive, side_by_side: SideBySide) -> None:
    """Warm up, measure, and print the figure."""

    async def once(seconds: float) -> tuple[int, float]:
        begin = time.perf_counter()
        if given.pingpong:
            messages = await rally(given, send, receive, begin + seconds)
        else:
            messages = await flow(given, send, receive, begin + seconds, side_by_side)
        return messages, time.perf_counter() - begin

    await once(given.seconds / 5)
    messages, elapsed = await once(given.seconds)
    print(json.dumps({"value": messages / elapsed, "messages": messages, "seconds": elapsed}), flush=True)


async def rally(given: Task, send: Send, receive: Receive, stop: float) -> int:
    message = given.message
    rounds = 0
    while time.perf_counter() < stop:
        await send(message)
        if await receive() != message:
            raise ValueError("what came back is not what was sent")
        rounds += 1
    return rounds


async def flow(given: Task, send: Send, receive: Receive, stop: float, side_by_side: SideBySide) -> int:
    message = given.message
    sent = received = 0
    last = False

    async def sender() -> None:
        nonlocal sent, last
        stride = given.stride
        while time.perf_counter() < stop:
            for _ in range(stride):
                await send(message)
            sent += stride
        sent += 1
        last = True  # before it is sent: the receiver sees it when the echo comes
        await send(message)

    async def receiver() -> None:
        nonlocal received
        size = given.size
        echo: Any = None
        while not (last and received == sent):
            echo = await receive()
            if len(echo) != size:
                raise ValueError("what came back is not what was sent")
            received += 1
        if echo != message:
            raise ValueError("what came back last is not what was sent")

    await side_by_side(sender, receiver)
    return received
