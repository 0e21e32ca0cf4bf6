"""What a peer in another process does with a connection, and what it reports; used at both ends of the pipe.

The URL of a connection names the script, whoever is its server: `/echo?id=7`, `/close?id=8&code=4002&reason=bye`. A
peer's process writes one JSON line when it is ready, and one for each connection that has ended. It reads one JSON
line for each connection that it shall open, and exits at the end of its input.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

__all__ = ["HOST", "PING", "PONGED", "Link", "describe", "play", "say"]

HOST: Final = "127.0.0.1"
PING: Final = b"are you there?"
PONGED: Final = "your pong has arrived"


class Link(Protocol):
    """A connection, as a script needs it: a library's API behind five names."""

    async def receive(self) -> str | bytes | None:
        """Return the next message, `None` when there will be none any more."""
        ...

    async def send(self, message: str | bytes) -> None: ...

    async def ping(self, payload: bytes) -> None:
        """Send a Ping, and wait for its Pong."""
        ...

    async def close(self, code: int, reason: str) -> None: ...

    def ended(self) -> tuple[int | None, str | None]:
        """Return the close code and reason that the library tells."""
        ...


async def play(url: str, link: Link) -> dict[str, Any]:
    """Do what *url* says until the connection has ended; return what was seen."""
    parts = urlsplit(url)
    options = {name: values[0] for name, values in parse_qs(parts.query).items()}
    messages = []
    if parts.path == "/ping":
        await link.ping(PING)
        await link.send(PONGED)
    while (message := await link.receive()) is not None:
        messages.append(describe(message))
        if parts.path == "/close":
            await link.close(int(options["code"]), options.get("reason", ""))
        else:
            await link.send(message)
    code, reason = link.ended()
    return {"id": options["id"], "messages": messages, "code": code, "reason": reason or ""}


def describe(message: str | bytes) -> list[Any]:
    """Return kind, bytes and digest of a message: what can be compared without sending it once more."""
    data = message.encode() if isinstance(message, str) else message
    return [type(message).__name__, len(data), hashlib.sha256(data).hexdigest()]


def say(**what: Any) -> None:
    """Write a JSON line for the tests."""
    print(json.dumps(what), flush=True)
