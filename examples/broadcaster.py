"""A ticker: one message after the other to everyone who listens, and none of them can slow down the others.

`python examples/broadcaster.py` serves the time, twice a second, at ws://127.0.0.1:8000/. Who comes with `?slow=skip`
and does not read fast enough misses ticks; everybody else who does not is closed with 1013, try again later.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import AsyncIterator

import trio

from trio_closeevents import CloseFrame, Server, WebSocket, broadcast, open_server

__all__ = ["TOO_SLOW", "send_to_all", "serve_ticks", "watch"]

TOO_SLOW = CloseFrame(1013, "you could not keep up")


async def watch(ws: WebSocket) -> None:
    """Be the handler of one listener, who has nothing to say: whatever comes is dropped."""
    async for _ in ws:
        pass


async def send_to_all(server: Server, ticks: AsyncIterator[str]) -> None:
    """Send each of *ticks* to all who have room for it. For those who have none, see the top."""
    async for tick in ticks:
        patient = {ws for ws in server.connections if ws.request.query == "slow=skip"}
        await broadcast(patient, tick, slow_after=0, slow="skip")
        await broadcast(server.connections - patient, tick, slow_after=0, slow=TOO_SLOW)


class Clock(AsyncIterator[str]):
    """The time, every *seconds*."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = -math.inf

    async def __anext__(self) -> str:
        self._next = max(self._next + self._seconds, trio.current_time())
        await trio.sleep_until(self._next)
        return time.strftime("%H:%M:%S")


async def serve_ticks(host: str, port: int, seconds: float) -> None:
    """Serve the time until somebody presses Ctrl-C: then everybody is told 1001."""
    async with open_server(watch, host, port, max_message_size=1024) as server:
        print(f"The time is at ws://{host}:{server.port}/", flush=True)
        await send_to_all(server, Clock(seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A ticker for many listeners.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--seconds", type=float, default=0.5, help="between two ticks")
    try:
        trio.run(serve_ticks, *vars(parser.parse_args()).values())
    except KeyboardInterrupt:
        pass
