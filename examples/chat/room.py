"""The room: who is here, what is said, and how each one's connection ended.

Theory. Whoever speaks never waits for those who listen: news goes into an outbox per person, and a task of that
person's own connection carries it from there. When an outbox is full, its owner cannot keep up and is let go of, with
1013. So one slow peer costs a bounded amount of memory, and nobody else a moment.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from typing import Any, Final

import trio

from trio_closeevents import CloseEvent, WebSocket

from .words import in_words

__all__ = ["MAX_MESSAGE_BYTES", "MAX_PEOPLE", "Room"]

MAX_NAME: Final = 24  # characters
MAX_TEXT: Final = 1000
MAX_MESSAGE_BYTES: Final = 16 * 1024  # the longest text as JSON, every character escaped, and some more
MAX_PEOPLE: Final = 100
MAX_OUTBOX: Final = 64  # news that wait for one person, beside the 64 KiB that wait for the network
HISTORY: Final = 50  # what those who come later are told
TIME_FOR_A_NAME: Final = 30.0  # seconds
PACE: Final = 0.1  # seconds between two messages of one person; who is faster than that has to wait

# Close codes of our own (RFC 6455 §7.4.2). The page knows them too.
BAD_NAME: Final = 4000
NAME_TAKEN: Final = 4001
CONTINUED: Final = 4002
BAD_MESSAGE: Final = 4003


class Person:
    """Somebody who is here, and the news on the way to them."""

    def __init__(self, name: str, token: str, ws: WebSocket) -> None:
        self.name = name
        self.token = token  # known to one tab alone: it proves that a second connection is the same person
        self.ws = ws
        self.welcome = trio.CancelScope()
        self.dismissal: tuple[int, str] | None = None
        self._put, self._take = trio.open_memory_channel[str](MAX_OUTBOX)

    def tell(self, news: str) -> None:
        """Put *news* into the outbox; a person whose outbox is full cannot keep up."""
        try:
            self._put.send_nowait(news)
        except trio.WouldBlock:
            self.dismiss(1013, "you could not keep up")

    def dismiss(self, code: int, reason: str) -> None:
        """Let go of this person, with a close code; the connection's own task does it."""
        self.dismissal = (code, reason)
        self.welcome.cancel()

    async def deliver(self, heartbeat: float) -> None:
        """Carry the outbox to the browser; a page hears no Pings, so it is sent something when there is no news."""
        while True:
            news = '{"type": "heartbeat"}'
            with trio.move_on_after(heartbeat):
                news = await self._take.receive()
            await self.ws.send(news)


class Room:
    """The people who are here, and the last things that were said.

    Args:
        heartbeat: seconds after which a page that has nothing to hear is told that the connection lives.
    """

    def __init__(self, heartbeat: float = 15) -> None:
        self._heartbeat = heartbeat
        self._people: dict[WebSocket, Person] = {}
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._said = 0
        self._run = f"{time.time():.6f}"  # tells a page whether its numbers of messages are still ours

    async def serve(self, ws: WebSocket) -> None:
        """Be the handler of one connection: first a name, then what is said, until it ends."""
        if (person := await self._admit(ws)) is None:
            return
        with person.welcome:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(person.deliver, self._heartbeat)
                await self._listen_to(person)
                nursery.cancel_scope.cancel()
        if person.dismissal is not None:
            await ws.aclose(*person.dismissal)

    def left(self, ws: WebSocket, event: CloseEvent) -> None:
        """Be the server's `on_close`: whoever was here is not any more, and the others are told why."""
        if (person := self._people.pop(ws, None)) is not None:
            end = {"code": event.code, "reason": event.reason, "wasClean": event.was_clean}
            self._tell({"type": "left", "name": person.name, "words": in_words(event), "event": end})

    async def _admit(self, ws: WebSocket) -> Person | None:
        """Wait for a name; return who that is, or close the connection and say why."""
        try:
            with trio.fail_after(TIME_FOR_A_NAME):
                first = await ws.receive()
        except trio.TooSlowError:
            await ws.aclose(3008, "nobody gave a name")
            return None
        match parsed(first):
            case {"type": "join", "name": str(name), "token": str(token), "again": bool(again)} if token:
                name = " ".join(name.split())
            case _:
                await ws.aclose(BAD_NAME, "first of all, a name")
                return None
        if not (0 < len(name) <= MAX_NAME and name.isprintable()):
            await ws.aclose(BAD_NAME, f"a name has 1 to {MAX_NAME} characters that can be seen")
            return None
        for other in list(self._people.values()):
            if other.name.casefold() != name.casefold():
                continue
            if other.token != token:
                await ws.aclose(NAME_TAKEN, "somebody here is called that already")
                return None
            # The same person, back before we have noticed that the old connection is dead; or in a copy of the tab.
            del self._people[other.ws]
            other.dismiss(CONTINUED, "you are here in another tab")
        if len(self._people) >= MAX_PEOPLE:
            await ws.aclose(1013, "the room is full")
            return None
        return self._welcome(Person(name, token, ws), again=again)

    def _welcome(self, person: Person, *, again: bool) -> Person:
        self._people[person.ws] = person
        person.tell(
            json.dumps(
                {
                    "type": "welcome",
                    "name": person.name,
                    "run": self._run,
                    "heartbeat": self._heartbeat,
                    "history": list(self._history),
                }
            )
        )
        self._tell({"type": "joined", "name": person.name, "again": again})
        return person

    async def _listen_to(self, person: Person) -> None:
        free = -math.inf
        async for message in person.ws:
            await trio.sleep_until(free)
            free = trio.current_time() + PACE
            match parsed(message):
                case {"type": "say", "text": str(text)} if 0 < len(text.strip()) <= MAX_TEXT:
                    self._say(person, text.strip())
                case _:
                    await person.ws.aclose(BAD_MESSAGE, f"a message has 1 to {MAX_TEXT} characters")

    def _say(self, person: Person, text: str) -> None:
        self._said += 1
        said = {"type": "said", "n": self._said, "name": person.name, "text": text, "at": time.time()}
        self._history.append(said)
        self._tell(said)

    def _tell(self, news: dict[str, Any]) -> None:
        if news["type"] != "said":
            news["people"] = [person.name for person in self._people.values()]
        line = json.dumps(news)
        for person in self._people.values():
            person.tell(line)


def parsed(message: str | bytes) -> object:
    """Return what a message says, `None` if that cannot be told."""
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        return None
