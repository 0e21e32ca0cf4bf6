"""Round trips with an echo server, counted and timed."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import trio

from trio_closeevents import CloseEvent, ConnectionClosed, HandshakeError, WebSocket

from .client import Connecting

__all__ = ["Measuring", "NotAnEcho", "percentile"]

PERCENTILES: Final = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9}


@dataclass(frozen=True, slots=True)
class NotAnEcho:
    """The server has sent something else than what it was sent."""


class Measuring:
    """One measurement.

    Attributes:
        duration: seconds that it takes, from when all connections are open.
        latencies: seconds of each round trip, in the order in which they ended.
        error: what has ended it too early.
    """

    def __init__(self, connecting: Connecting, message: str | bytes, connections: int, duration: float) -> None:
        self.duration = duration
        self.latencies = array("d")
        self.error: CloseEvent | HandshakeError | NotAnEcho | None = None
        self._connecting = connecting
        self._message = message
        self._connections = connections
        self._open = 0
        self._all_open = trio.Event()
        self._began = self._ended = 0.0

    def seconds(self, now: float) -> float:
        """Return how long it has lasted at *now*."""
        return (self._ended or now) - self._began if self._began else 0.0

    async def run(self) -> None:
        """Measure, until the time is over or something goes wrong."""
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self._connections):
                    nursery.start_soon(self._connect, nursery.cancel_scope)
                await self._all_open.wait()
                self._began = perf_counter()
                await trio.sleep(self.duration)
                self._ended = perf_counter()
                nursery.cancel_scope.cancel()
        finally:
            if self._began and not self._ended:
                self._ended = perf_counter()

    async def _connect(self, all_of_them: trio.CancelScope) -> None:
        websocket: WebSocket | None = None
        try:
            async with self._connecting() as websocket:
                await self._measure(websocket)
        except HandshakeError as error:
            self._fail(error)
        except ConnectionClosed:
            assert websocket is not None
            assert websocket.close_event is not None
            self._fail(websocket.close_event)
        all_of_them.cancel()

    def _fail(self, error: CloseEvent | HandshakeError | NotAnEcho) -> None:
        if self.error is None:
            self.error = error

    async def _measure(self, websocket: WebSocket) -> None:
        self._open += 1
        if self._open == self._connections:
            self._all_open.set()
        await self._all_open.wait()
        message = self._message
        while True:
            began = perf_counter()
            await websocket.send(message)
            answer = await websocket.receive()
            self.latencies.append(perf_counter() - began)
            if answer != message:
                self._fail(NotAnEcho())
                return

    def result(self) -> dict[str, Any]:
        """Return what was measured, in a form that JSON has."""
        latencies = sorted(self.latencies)
        seconds = self.seconds(perf_counter())
        rate = len(latencies) / seconds
        found = {name: percentile(latencies, percent) for name, percent in PERCENTILES.items()}
        found = {"min": latencies[0], **found, "max": latencies[-1]}
        return {
            "connections": self._connections,
            "size": len(self._message),
            "seconds": round(seconds, 6),
            "round_trips": len(latencies),
            "round_trips_per_second": round(rate, 3),
            "bytes_per_second": round(rate * len(self._message), 3),
            "latency_ms": {name: round(1000 * value, 6) for name, value in found.items()},
        }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the least of *ordered* values that *percent* of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
