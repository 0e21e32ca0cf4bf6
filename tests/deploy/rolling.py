"""A rolling restart under load: clients that stay connected, servers that are restarted one after the other.

Every client sends numbered messages, waits for the acknowledgement of each, and sends again, over the next connection,
what was not acknowledged when one has ended. The servers write what they acknowledge into a journal, which is what the
judge compares with what the clients were told.
"""

from __future__ import annotations

import ssl
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from trio_closeevents import (
    CloseEvent,
    HandshakeError,
    ReconnectEvent,
    ReconnectPolicy,
    WebSocket,
    connect,
    stay_connected,
)

from .front import Backend, free_ports, proxy

__all__ = ["Report", "roll"]

POLICY: Final = ReconnectPolicy(first=0.5, most=5)
PACE: Final = 0.02  # seconds from an acknowledgement to the next message
REPLY_LIMIT: Final = 10.0  # seconds for an acknowledgement
BETWEEN: Final = 2.5  # seconds from one restart to the next: until the proxy has noticed


@dataclass
class Client:
    """One client, and what it has seen.

    Attributes:
        acknowledged: the number of the last message that was.
        endings: how its connections ended, and which attempts came to nothing.
        away: seconds from the end of a connection to the beginning of the next, each with what the policy had drawn.
    """

    number: int
    finished: trio.Event
    acknowledged: int = 0
    endings: list[str] = field(default_factory=list)
    away: list[tuple[float, float]] = field(default_factory=list)
    _ended: float | None = None
    _drawn: float = 0.0

    async def run(self, url: str, ssl_context: ssl.SSLContext) -> None:
        await stay_connected(
            lambda: connect(url, ssl_context=ssl_context), self.session, policy=POLICY, on_event=self.note
        )

    async def session(self, ws: WebSocket) -> None:
        while not self.finished.is_set():
            message = f"{self.number} {self.acknowledged + 1}"
            await ws.send(message)
            with trio.fail_after(REPLY_LIMIT):
                answer = await ws.receive()
            assert answer == f"{message} is safe"
            self.acknowledged += 1
            with trio.move_on_after(PACE):
                await self.finished.wait()

    def note(self, event: ReconnectEvent) -> None:
        now = trio.current_time()
        if event.phase == "open" and self._ended is not None:
            self.away.append((now - self._ended, self._drawn))
            self._ended, self._drawn = None, 0.0
        elif event.phase == "waiting":
            assert event.delay is not None
            self._ended = now if self._ended is None else self._ended
            self._drawn += event.delay
            self.endings.append(word_for(event.outcome))


def word_for(outcome: CloseEvent | HandshakeError | None) -> str:
    if isinstance(outcome, CloseEvent):
        return str(outcome.code)
    assert outcome is not None
    return f"HTTP {outcome.response.status}" if outcome.response else f"{outcome.close_event.cause}"


@dataclass
class Report:
    """What a rolling restart has come to.

    Attributes:
        endings: of connections, by close code, and attempts that came to nothing, by what was the matter.
        longest_away, median_away: seconds.
        longest_beyond: seconds that a client was away longer than the policy had told it to wait.
        acknowledged: messages.
        lost: of those, how many are not in the journal.
        twice: lines that are in the journal again, since the acknowledgement did not arrive.
    """

    proxy: str
    clients: int
    restarts: int
    endings: Counter[str]
    longest_away: float
    median_away: float
    longest_beyond: float
    acknowledged: int
    lost: int
    twice: int


async def roll(
    name: str, folder: Path, certificate: Path, ssl_context: ssl.SSLContext, *, clients: int, rounds: int = 1
) -> Report:
    """Restart each of two servers behind the proxy *name*, so many rounds, under the load of *clients*."""
    ports = free_ports(2)
    journal = folder / "journal"
    finished = trio.Event()
    crowd = [Client(number, finished) for number in range(clients)]
    async with trio.open_nursery() as servers:
        backends = [Backend(servers, name, port, journal) for port in ports]
        for backend in backends:
            await backend.start()
        async with proxy(name, folder, certificate, ports) as port:
            async with trio.open_nursery() as nursery:
                for client in crowd:
                    nursery.start_soon(client.run, f"wss://localhost:{port}/", ssl_context)
                while not all(client.acknowledged for client in crowd):
                    await trio.sleep(0.05)
                for _ in range(rounds):
                    for backend in backends:
                        await backend.stop()
                        await backend.start()
                        await trio.sleep(BETWEEN)
                await until_all_go_on(crowd)
                finished.set()
        for backend in backends:
            await backend.stop()
    return judge(name, crowd, journal, restarts=2 * rounds)


async def until_all_go_on(crowd: list[Client]) -> None:
    """Wait until every client is back, and has had another message acknowledged."""
    before = [client.acknowledged for client in crowd]
    while any(client.acknowledged <= number for client, number in zip(crowd, before, strict=True)):
        await trio.sleep(0.05)


def judge(name: str, crowd: list[Client], journal: Path, *, restarts: int) -> Report:
    lines = Counter(journal.read_text().splitlines())
    acknowledged = [f"{client.number} {number}" for client in crowd for number in range(1, client.acknowledged + 1)]
    away = [each for client in crowd for each in client.away]
    return Report(
        proxy=name,
        clients=len(crowd),
        restarts=restarts,
        endings=Counter(word for client in crowd for word in client.endings),
        longest_away=max((seconds for seconds, _ in away), default=0.0),
        median_away=statistics.median([seconds for seconds, _ in away] or [0.0]),
        longest_beyond=max((seconds - drawn for seconds, drawn in away), default=0.0),
        acknowledged=len(acknowledged),
        lost=sum(line not in lines for line in acknowledged),
        twice=sum(number - 1 for number in lines.values()),
    )
