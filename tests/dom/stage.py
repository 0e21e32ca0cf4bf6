"""A socket of this package in memory, with a scripted server at its other end, and a record of its events."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from trio_closeevents import dom
from trio_closeevents.testing import ScriptedPeer

__all__ = ["Stage"]

EVENTS = ("open", "message", "error", "close")


class Stage:
    """One socket that is not entered yet, and its server.

    Attributes:
        told: the events, in a short form.
        closed: set with the last of them.
    """

    def __init__(self, protocols: Any = (), **options: Any) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        self.peer = ScriptedPeer(theirs, client=False)
        self.told: list[Any] = []
        self.opened, self.closed = trio.Event(), trio.Event()
        self.socket = dom.WebSocket("ws://test/", protocols, stream=ours, **options)
        for kind in EVENTS:
            self.socket.addEventListener(kind, self._note)

    def _note(self, event: dom.Event) -> None:
        if isinstance(event, dom.MessageEvent):
            self.told.append(event.data)
        elif isinstance(event, dom.CloseEvent):
            self.told.append((event.code, event.reason, event.wasClean))
            self.closed.set()
        else:
            self.told.append(event.type)
            self.opened.set()

    async def open(self) -> None:
        """Let the server answer the handshake, and wait until the page knows."""
        await self.peer.open()
        await self.opened.wait()
