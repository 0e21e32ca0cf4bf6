"""What a server's program answers to a request.

Theory. The core asks from within its own opening handshake: the function that selects the subprotocol waits until the
program has accepted or rejected the request, and what it has said replaces the core's response.
"""

from __future__ import annotations

from typing import Final

import trio
from wsproto.utilities import LocalProtocolError

from trio_closeevents import Request, Response

from ._limits import HeaderPairs, fields_of, own_fields

__all__ = ["Answer"]

SWITCHING_PROTOCOLS: Final = 101
BAD_REQUEST: Final = 400
UPGRADE_REQUIRED: Final = 426


class Answer:
    """The answer to one request, which is given once."""

    def __init__(self) -> None:
        self._response: Response | None = None
        self._subprotocol: str | None = None
        self._is_given = trio.Event()

    async def wait(self) -> str | None:
        """Wait until it is given; return the subprotocol, `None` if there is none."""
        await self._is_given.wait()
        return self._subprotocol

    def instead_of(self, request: Request, response: Response) -> Response | None:
        """Return what is sent in place of the core's *response*; `None`: that itself."""
        if response.status == SWITCHING_PROTOCOLS:
            return self._response
        if response.status == UPGRADE_REQUIRED and "upgrade" not in request.headers:
            return Response(BAD_REQUEST, body=response.body)
        return None

    def accept(self, subprotocol: str | None, proposed: tuple[str, ...], headers: HeaderPairs | None) -> None:
        """Answer with the upgrade; see `WebSocketRequest.accept`."""
        self._check_unanswered()
        if subprotocol is not None and subprotocol not in proposed:
            raise LocalProtocolError(f"subprotocol {subprotocol!r} was not proposed, only {proposed}")
        self._give(Response(SWITCHING_PROTOCOLS, own_fields(headers)))
        self._subprotocol = subprotocol

    def reject(self, status_code: int, headers: HeaderPairs | None, body: bytes | None) -> None:
        """Answer with something else; see `WebSocketRequest.reject`."""
        self._check_unanswered()
        if status_code == SWITCHING_PROTOCOLS:
            raise ValueError("a rejection has an HTTP status of 200-599, not 101: use accept()")
        self._give(Response(status_code, fields_of(headers), body or b""))

    def _check_unanswered(self) -> None:
        if self._is_given.is_set():
            raise LocalProtocolError("the request was answered already")

    def _give(self, response: Response) -> None:
        self._response = response
        self._is_given.set()
