"""Every exception of the library, with the trio exceptions that they also are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import trio

from ._events import CloseEvent
from ._policy import leaves

if TYPE_CHECKING:
    from ._http import Request, Response

__all__ = [
    "ConnectionBroken",
    "ConnectionClosed",
    "HandshakeError",
    "HandshakeRejected",
    "HandshakeTimeout",
    "LocallyClosed",
    "RemoteClosed",
]


def raise_unchanged(error: BaseException) -> NoReturn:
    """Raise somebody else's exception with the `__context__` that it had."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context


def unwrapped(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one exception that *group* holds beside cancellations, or *group* itself if that is not one."""
    found = list(leaves(group))
    rest = [leaf for leaf in found if not isinstance(leaf, trio.Cancelled)] or found[:1]
    return rest[0] if len(rest) == 1 else group


class HasCloseEvent(Protocol):
    @property
    def close_event(self) -> CloseEvent | None: ...


class ConnectionClosed(Exception):
    """The connection has ended, or is about to: what was asked of it cannot be done any more."""

    def __init__(self, event: CloseEvent | None = None, *, connection: HasCloseEvent | None = None) -> None:
        super().__init__(event)
        self._event = event
        self._connection = connection

    @property
    def event(self) -> CloseEvent | None:
        """How the connection ended; `None` as long as its closing handshake is still running."""
        if self._event is None and self._connection is not None:
            return self._connection.close_event
        return self._event

    def __str__(self) -> str:
        return "the connection is closing" if self.event is None else str(self.event)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.event!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.event,))


class RemoteClosed(ConnectionClosed, trio.EndOfChannel):
    """The peer closed cleanly with 1000, 1001 or no code: there are no more messages, and iteration ends."""


class ConnectionBroken(ConnectionClosed, trio.BrokenResourceError):
    """The connection ended in a way that this side did not ask for."""


class LocallyClosed(ConnectionClosed, trio.ClosedResourceError):
    """This side has closed the connection, or left its block."""


class HandshakeError(Exception):
    """The connection never opened.

    The error of the operating system or of `ssl`, if there was one, is the `__cause__`.

    Attributes:
        close_event: 1006, or 1015 if the TLS handshake failed; its `cause` tells why.
        response: the answer of the server in place of the upgrade, if it gave one.
        request: the client's half of the opening handshake; `None` if it was not sent, or not read whole.
        url: where a client wanted to go, or where redirects have led it; `None` at a server.
    """

    def __init__(
        self,
        message: str,
        close_event: CloseEvent,
        response: Response | None = None,
        *,
        request: Request | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(message, close_event, response)
        self.close_event = close_event
        self.response = response
        self.request = request
        self.url = url

    def __str__(self) -> str:
        return str(self.args[0])


class HandshakeRejected(HandshakeError):
    """The server answered, but not with an upgrade: `response` has its status, headers and body."""

    response: Response


class HandshakeTimeout(HandshakeError, trio.TooSlowError):
    """`open_timeout` passed before the connection was open."""
