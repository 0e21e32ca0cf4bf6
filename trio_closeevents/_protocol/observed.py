"""A session that tells what travels, frame by frame or message by message, to whoever watches.

A class of its own, so that a connection which nobody watches does not even ask.
"""

from __future__ import annotations

from typing import Protocol, cast

from .._events import CloseFrame
from .assembly import Piece
from .plain import Frame, Shared
from .session import Ping, Pong, Session, SessionEvent

__all__ = ["ObservedSession", "Watcher"]


class Watcher(Protocol):
    """Who is told; nothing of it raises."""

    def message(self, data: str | bytes, *, sent: bool, last: bool) -> None: ...

    def ping(self, payload: bytes, *, sent: bool) -> None: ...

    def pong(self, payload: bytes, *, sent: bool) -> None: ...

    def close_frame(self, frame: CloseFrame, *, sent: bool) -> None: ...


class ObservedSession(Session):
    """What is sent is told when it is queued, our Close when it was written; what is received, when it is looked at.

    Attributes:
        watcher: who is told. Set before anything travels.
    """

    watcher: Watcher

    def watched_by(self, watcher: Watcher) -> None:
        """Tell *watcher* from now on."""
        self.watcher = watcher
        self._unwatched_send_message = self.send_message
        self.send_message = self._send_watched

    def _send_watched(self, message: str | bytes) -> Frame:
        frame = self._unwatched_send_message(message)
        self.watcher.message(message, sent=True, last=True)
        return frame

    def send_shared(self, shared: Shared) -> Frame:
        return self._send_watched(shared.message)

    def send_fragment(self, piece: str | bytes, *, last: bool) -> bytes:
        frame = super().send_fragment(piece, last=last)
        self.watcher.message(piece, sent=True, last=last)
        return frame

    def send_ping(self, payload: bytes) -> bytes:
        frame = super().send_ping(payload)
        self.watcher.ping(payload, sent=True)
        return frame

    def send_pong(self, payload: bytes) -> bytes:
        frame = super().send_pong(payload)
        self.watcher.pong(payload, sent=True)
        return frame

    def close_written(self) -> None:
        super().close_written()
        self.watcher.close_frame(cast("CloseFrame", self._sent), sent=True)

    def next_messages(self, most: int) -> tuple[list[str | bytes], int]:
        messages, size = super().next_messages(most)
        for message in messages:
            self.watcher.message(message, sent=False, last=True)
        return messages, size

    def next_event(self, work: int | None = None, *, ahead: bool = False) -> SessionEvent | None:
        event = super().next_event(work, ahead=ahead)
        if isinstance(event, Ping):
            self.watcher.ping(bytes(event.payload), sent=False)
        elif isinstance(event, Pong):
            self.watcher.pong(bytes(event.payload), sent=False)
        elif isinstance(event, Piece):
            self.watcher.message(event.data, sent=False, last=event.last)
        elif event is not None:
            self.watcher.message(event, sent=False, last=True)
        return event

    def _accept_close(self, frame: CloseFrame) -> None:
        super()._accept_close(frame)
        self.watcher.close_frame(frame, sent=False)
