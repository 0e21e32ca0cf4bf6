"""`Observer`: what a program can watch of its connections."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._events import CloseEvent, CloseFrame
from ._hooks import unprotected

if TYPE_CHECKING:
    from ._connection import WebSocket
    from ._errors import HandshakeError

__all__ = ["Observer", "Watching", "tell_unopened"]

logger = logging.getLogger("trio_closeevents")


class Observer:
    """Watches connections: derive from it, override what you want to see, and hand it over as `observer=...`.

    One observer may watch any number of connections. Its methods are called at once, in the task where the thing
    happened, in the order in which things travel on each connection; they must be quick, and cannot wait. What they
    raise is logged, and changes nothing for the connection; `KeyboardInterrupt` and its like close it with 1001 and
    leave its block. A connection that nobody watches pays nothing for it.

    What is sent is told when it is queued, our Close frame when its last byte was handed to the kernel. What is
    received is told when it is read, which may be before the program asks for it.
    """

    def open(self, websocket: WebSocket) -> None:
        """The opening handshake is done; the block is about to begin. Called in its task, before all else."""

    def unopened(self, error: HandshakeError) -> None:
        """No connection came about; *error* goes to the program next."""

    def message(self, websocket: WebSocket, data: str | bytes, *, sent: bool, last: bool) -> None:
        """A message travels, or, of one that is sent or received piece by piece, a piece.

        Args:
            websocket: its connection.
            data: as the program sent it or will receive it, before compression.
            sent: by this side.
            last: the message ends with this.
        """

    def ping(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
        """A Ping travels, one of the keepalive too."""

    def pong(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
        """A Pong travels."""

    def close_frame(self, websocket: WebSocket, frame: CloseFrame, *, sent: bool) -> None:
        """A Close frame was sent, or a valid one received."""

    def close(self, websocket: WebSocket, event: CloseEvent) -> None:
        """It is decided how the connection ended. Nothing of it is told after this."""


class Watching:
    """One connection, watched by an observer: nothing that it raises gets in the way.

    Args:
        interrupt: called with what was raised that is no `Exception`.
    """

    def __init__(self, observer: Observer, websocket: WebSocket, interrupt: Callable[[BaseException], None]) -> None:
        self._observer = observer
        self._websocket = websocket
        self._interrupt = interrupt

    def open(self) -> None:
        self._tell(self._observer.open)

    def message(self, data: str | bytes, *, sent: bool, last: bool) -> None:
        self._tell(self._observer.message, data, sent=sent, last=last)

    def ping(self, payload: bytes, *, sent: bool) -> None:
        self._tell(self._observer.ping, payload, sent=sent)

    def pong(self, payload: bytes, *, sent: bool) -> None:
        self._tell(self._observer.pong, payload, sent=sent)

    def close_frame(self, frame: CloseFrame, *, sent: bool) -> None:
        self._tell(self._observer.close_frame, frame, sent=sent)

    def close(self, event: CloseEvent) -> None:
        self._tell(self._observer.close, event)

    def _tell(self, method: Callable[..., object], *arguments: object, **rest: Any) -> None:
        try:
            unprotected(method, self._websocket, *arguments, **rest)
        except Exception as error:
            logger.error("%r raised, watching %r", method, self._websocket, exc_info=error)
        except BaseException as interruption:  # nothing is awaited here
            self._interrupt(interruption)


def tell_unopened(observer: Observer, error: HandshakeError) -> None:
    """Tell *observer* that no connection came about."""
    try:
        unprotected(observer.unopened, error)
    except Exception as mistake:
        logger.error("%r raised for %r", observer.unopened, error, exc_info=mistake)
