"""`Routes`: what a server may be given in place of a handler, and finds one by the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, runtime_checkable

from ._connection import WebSocket
from ._http import Request, Response

__all__ = ["Handler", "Routes"]

Handler: TypeAlias = Callable[[WebSocket], Awaitable[object]]


@runtime_checkable
class Routes(Protocol):
    """What finds the handler for a request; `open_server` and `serve` take it in place of a handler.

    `trio_closeevents.routing.Router` is one; any object with this method is.
    """

    def find_handler(self, request: Request) -> Handler | Response | Awaitable[Handler | Response]:
        """Return the handler for *request*, or what to answer in place of the upgrade.

        Called once for every well-formed request, upgrade or not, that `process_request` has no answer for. With a
        handler the upgrade goes on, and the client is told if it did not ask for one. The method may be async.
        """
        ...
