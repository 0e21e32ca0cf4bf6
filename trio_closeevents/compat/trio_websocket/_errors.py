"""The exceptions of trio-websocket, and what of this library becomes which of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import trio

from trio_closeevents import HandshakeError as Unopened
from trio_closeevents import HandshakeRejected, HandshakeTimeout
from trio_closeevents._protocol.handshake import BadResponse

from ._limits import wire
from ._values import CloseReason

__all__ = [
    "ConnectionClosed",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "HandshakeError",
    "handshake_error",
    "is_ordinary",
    "one_of",
]


class HandshakeError(Exception):
    """The connection could not be opened, or not be closed in time. Its `__cause__` is the error behind it."""


class ConnectionTimeout(HandshakeError):
    """`connect_timeout` passed before the connection was open."""


class DisconnectionTimeout(HandshakeError):
    """`disconnect_timeout` passed before the peer had answered our Close. The transport is gone all the same."""


class ConnectionRejected(HandshakeError):
    """The server answered, but not with an upgrade.

    Attributes:
        status_code: the HTTP status.
        headers: pairs of name and value; the names in lower case.
        body: the body; `None` after an informational status, which has none.
    """

    def __init__(self, status_code: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes | None) -> None:
        super().__init__(status_code, headers, body)
        self.status_code = status_code
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"{type(self).__name__}<status_code={self.status_code}>"


class ConnectionClosed(Exception):
    """The connection is closed, or about to be: what was asked of it cannot be done any more.

    Attributes:
        reason: why; `None` only of one that was made by hand.
    """

    def __init__(self, reason: CloseReason | None) -> None:
        super().__init__(reason)
        self.reason = reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self.reason}>"


def handshake_error(error: Unopened) -> HandshakeError:
    """Return what trio-websocket raises where this library raises *error*."""
    if isinstance(error, HandshakeTimeout):
        return ConnectionTimeout()
    if isinstance(error, HandshakeRejected):
        headers = tuple((wire(name.lower()), wire(value)) for name, value in error.response.headers.pairs)
        return ConnectionRejected(error.response.status, headers, error.response.body)
    if isinstance(error.__cause__, BadResponse) and error.__cause__.status is not None:
        return ConnectionRejected(error.__cause__.status, (), None)
    return HandshakeError(str(error))


def is_ordinary(error: BaseException | None) -> bool:
    """Tell whether a block that *error* leaves has returned, or raised an `Exception`."""
    return error is None or any(isinstance(leaf, Exception) for leaf in leaves(error))


def one_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the exception of *group* that counts: one that is no `Cancelled`, if there is one."""
    found = list(leaves(group))
    return next((leaf for leaf in found if not isinstance(leaf, trio.Cancelled)), found[0])


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Iterate over the exceptions of a group that are none themselves, or over the one that is no group."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(each)
    else:
        yield error
