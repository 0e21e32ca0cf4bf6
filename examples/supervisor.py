"""Keeps several feeds alive, and shows in a table how their connections have ended.

`python examples/supervisor.py news=ws://127.0.0.1:8000/ prices=ws://127.0.0.1:8001/` prints what the feeds say, and the
table at the end, which Ctrl-C brings. Without arguments it plays against a small server of its own.

Two policies work together. `ReconnectPolicy` decides what follows the end of a connection. `Supervisor` decides what
follows an exception in the program that listens, which is another matter: it is tried again too, but not for ever.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import trio

from trio_closeevents import (
    CloseEvent,
    HandshakeError,
    ReconnectEvent,
    ReconnectPolicy,
    Request,
    Response,
    WebSocket,
    open_server,
    stay_connected,
)

__all__ = ["Feed", "Supervisor", "table"]

DEFAULT = ReconnectPolicy()


@dataclass
class Feed:
    """One place that is listened to.

    Attributes:
        state: `connecting`, `open`, `waiting`, `restarting`; or how it is over: `done`, `stopped`, `crashed`.
        connections: how many there were.
        ends: how they ended, and the attempts that led to none; the latest twenty.
        crashes: when the program raised, the latest few.
        ws: the connection that there is.
    """

    name: str
    url: str
    state: str = "connecting"
    connections: int = 0
    ends: deque[CloseEvent] = field(default_factory=lambda: deque(maxlen=20))
    crashes: deque[float] = field(default_factory=lambda: deque[float]())
    ws: WebSocket | None = None


class Supervisor:
    """Runs *session* with the name of each feed and its connection, and keeps it running.

    Args:
        session: returns when a feed has said all that it is wanted for.
        policy: decides about connections.
        restarts: how often *session* may raise, in each *period*.
        period: seconds.
        pause: seconds before it is run again.
        on_change: called with a feed when its state has changed.
    """

    def __init__(
        self,
        session: Callable[[str, WebSocket], Awaitable[object]],
        *,
        policy: ReconnectPolicy = DEFAULT,
        restarts: int = 3,
        period: float = 60,
        pause: float = 1,
        on_change: Callable[[Feed], object] = lambda feed: None,
    ) -> None:
        self._session = session
        self._policy = policy
        self._restarts = restarts
        self._period = period
        self._pause = pause
        self._on_change = on_change
        self.feeds: list[Feed] = []

    async def run(self, urls: Mapping[str, str]) -> None:
        """Listen to all of *urls*, until each of them is over."""
        async with trio.open_nursery() as nursery:
            for name, url in urls.items():
                self.feeds.append(feed := Feed(name, url))
                nursery.start_soon(self._keep, feed)

    async def _keep(self, feed: Feed) -> None:
        session = partial(self._listen, feed)
        note = partial(self._note, feed)
        while True:
            try:
                end = await stay_connected(feed.url, session, policy=self._policy, on_event=note)
            except HandshakeError:
                return  # `_note` has seen it
            except Exception as error:
                print(f"{feed.name}: {error!r}", file=sys.stderr)
                if not self._may_restart(feed):
                    self._change(feed, "crashed")
                    return
                self._change(feed, "restarting")
                await trio.sleep(self._pause)
            else:
                self._change(feed, "done" if end.initiated_by == "local" else "stopped")
                return
            finally:  # whatever has left the block, the connection has ended in one way
                if feed.ws is not None and feed.ws.close_event is not None:
                    feed.ends.append(feed.ws.close_event)
                feed.ws = None

    async def _listen(self, feed: Feed, ws: WebSocket) -> None:
        feed.ws = ws
        await self._session(feed.name, ws)

    def _may_restart(self, feed: Feed) -> bool:
        feed.crashes.append(now := trio.current_time())
        while feed.crashes[0] < now - self._period:
            feed.crashes.popleft()
        return len(feed.crashes) <= self._restarts

    def _note(self, feed: Feed, event: ReconnectEvent) -> None:
        match event.outcome:
            case CloseEvent() as end:
                feed.ends.append(end)
                feed.ws = None
            case HandshakeError(close_event=end):
                feed.ends.append(end)
            case None:
                feed.connections += event.phase == "open"
        self._change(feed, event.phase)

    def _change(self, feed: Feed, state: str) -> None:
        feed.state = state
        self._on_change(feed)


def table(feeds: list[Feed]) -> str:
    """Return a line for each feed, and how it ended the last times."""
    lines = [f"{'feed':<12} {'state':<11} {'opened':>6} {'crashes':>7}  ends, the latest last"]
    for feed in feeds:
        first, *others = [str(end) for end in list(feed.ends)[-3:]] or ["none so far"]
        lines.append(f"{feed.name:<12} {feed.state:<11} {feed.connections:>6} {len(feed.crashes):>7}  {first}")
        lines += [f"{'':<40}{other}" for other in others]
    return "\n".join(lines)


# -- the program -------------------------------------------------------------------------------------------------------


async def tell(name: str, ws: WebSocket) -> None:
    """Be a session that prints numbers; what is no number is a mistake, which it does not survive."""
    async for message in ws:
        print(f"{name}: {float(message)}")


async def behave(ws: WebSocket) -> None:
    """Be the small server: steady, restless, or broken, as the path says."""
    for number in range(1000):
        if ws.request.path == "/restless" and number == 2:
            await ws.aclose(1012, "back soon")
        await ws.send("many" if ws.request.path == "/broken" else str(number))
        await trio.sleep(0.2)


def is_there(request: Request) -> Response | None:
    """Be the small server's `process_request`: one feed is gone for good."""
    return Response(404, body="no such feed\n") if request.path == "/gone" else None


async def watch(urls: Mapping[str, str], seconds: float) -> None:
    """Supervise, and show the table at every change and at the end."""
    supervisor = Supervisor(
        tell,
        policy=ReconnectPolicy(first=0.5, most=30),
        restarts=2,
        pause=0.3,
        on_change=lambda feed: print(f"{feed.name} is {feed.state}"),
    )
    try:
        with trio.move_on_after(seconds):
            await supervisor.run(urls)
    finally:
        print(table(supervisor.feeds))


async def main(*words: str) -> None:
    """Supervise what the command line names, or play for three seconds."""
    if words:
        await watch(dict(word.split("=", 1) for word in words), float("inf"))
        return
    async with open_server(behave, "127.0.0.1", 0, process_request=is_there) as server:
        paths = ("steady", "restless", "broken", "gone")
        await watch({path: f"ws://127.0.0.1:{server.port}/{path}" for path in paths}, 3)


if __name__ == "__main__":
    try:
        trio.run(main, *sys.argv[1:])
    except* KeyboardInterrupt:
        pass
