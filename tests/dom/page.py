"""A page, as the recordings describe it: a socket, lines that run on its events, and what came of them."""

from __future__ import annotations

import time
from typing import Any, Final

import trio

from trio_closeevents import dom

from .javascript import parse

__all__ = ["Page"]

EVENTS: Final = ("open", "message", "error", "close")
SHOWN: Final = 40  # bytes of a binary message that the recordings keep


class Page:
    """One page with one socket.

    Attributes:
        events: what was seen of each event.
        calls: what each line returned or raised.
    """

    def __init__(self, client: dict[str, Any], url: str, nursery: trio.Nursery, **options: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self._hooks: dict[str, list[str]] = client["hooks"]
        self._nursery = nursery
        self._closed = trio.Event()
        self._messages = 0
        try:
            self.socket = dom.WebSocket(url, client.get("protocols", []), nursery=nursery, **options)
        except (dom.DOMException, TypeError) as error:
            self.calls.append({"type": "constructor_threw", "threw": thrown(error)})
            self._closed.set()
            return
        for kind in EVENTS:
            self.socket.addEventListener(kind, self._see)
        self._run_hooks("create")

    async def wait_closed(self) -> None:
        """Wait until nothing more can happen."""
        await self._closed.wait()

    def _see(self, event: dom.Event) -> None:
        socket = self.socket
        seen: dict[str, Any] = {"type": event.type, "readyState": int(socket.readyState)}
        if event.type == "open":
            seen |= {"protocol": socket.protocol, "extensions": socket.extensions}
        if isinstance(event, dom.MessageEvent):
            self._messages += 1
            data = event.data
            kind = "text" if isinstance(data, str) else "binary"
            seen |= {"kind": kind, "len": len(data), "data": data if isinstance(data, str) else data[:SHOWN].hex()}
        if isinstance(event, dom.CloseEvent):
            seen |= {"code": event.code, "reason": event.reason, "wasClean": event.wasClean}
            seen |= {"bufferedAmount": socket.bufferedAmount, "messages": self._messages}
        if event.type in ("error", "close"):
            seen["ctor"] = type(event).__name__
        self.events.append(seen)
        self._run_hooks(event.type)
        if event.type == "close":
            self._closed.set()

    def _run_hooks(self, at: str) -> None:
        for line in self._hooks.get(at, ()):
            self._run(at, line)

    def _run(self, at: str, line: str) -> None:
        seen: dict[str, Any] = {"type": "call", "at": at, "code": line}
        try:
            result = self._call(line)
            if result is not None:
                seen["returned"] = str(result)
        except (dom.DOMException, TypeError) as error:
            seen["threw"] = thrown(error)
        seen |= {"readyState": int(self.socket.readyState), "bufferedAmount": self.socket.bufferedAmount}
        self.calls.append(seen)

    def _call(self, line: str) -> object:
        name, arguments = parse(line)
        if name == "h.busy":
            assert arguments is not None
            time.sleep(arguments[0] / 1000)
            return "was busy"
        if name == "h.after":
            assert arguments is not None
            self._nursery.start_soon(self._later, *arguments)
            return "scheduled"
        member = getattr(self.socket, name.removeprefix("ws."))
        return member if arguments is None else member(*arguments)

    async def _later(self, milliseconds: float, line: str) -> None:
        await trio.sleep(milliseconds / 1000)
        self._run("timer", line)


def thrown(error: Exception) -> dict[str, Any]:
    """Return what a page can tell of an exception."""
    if isinstance(error, dom.DOMException):
        return {"ctor": "DOMException", "name": error.name, "code": error.code}
    return {"ctor": type(error).__name__, "name": type(error).__name__}
