"""What a program may ask of a connection: who it is, where it stands, what it has carried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._http import Request, Response
from ._life import Life
from ._protocol.closing import State
from ._protocol.session import Session
from ._reader import Reader
from ._status import ReadyState, Stats
from ._writer import Writer

if TYPE_CHECKING:
    from uuid import UUID

    from ._events import CloseEvent, CloseFrame

__all__ = ["Facts"]


class Facts:
    """The part of a `WebSocket` that changes nothing."""

    _life: Life
    _session: Session
    _reader: Reader
    _writer: Writer
    _request: Request
    _response: Response
    _subprotocol: str | None

    @property
    def close_event(self) -> CloseEvent | None:
        """How the connection ended; `None` until that is decided, and never changed then."""
        return self._session.close_event

    @property
    def close_received(self) -> CloseFrame | None:
        """The Close frame of the peer, as soon as it was read; `None` if none was, or none that is valid.

        It is known before `close_event` is, if ours still has to be written.
        """
        return self._session.close_received

    @property
    def state(self) -> ReadyState:
        """OPEN; CLOSING from the first Close frame or failure; CLOSED when the transport is gone."""
        if self._session.state is State.OPEN:
            return ReadyState.OPEN
        return ReadyState.CLOSED if self._session.state is State.CLOSED else ReadyState.CLOSING

    @property
    def id(self) -> UUID:
        """A random id, for logs."""
        from uuid import UUID  # it takes long to import, and few ask

        return UUID(int=self._life.id)

    @property
    def subprotocol(self) -> str | None:
        """What both sides agreed on, `None` if nothing."""
        return self._subprotocol

    @property
    def is_client(self) -> bool:
        """This side is the client, and the peer is the server."""
        return self._life.role == "client"

    @property
    def url(self) -> str:
        """The URL of the request, with its scheme as this side sees it, its `Host` and its target."""
        scheme = "wss" if self._life.driver.transport.is_secure else "ws"
        return f"{scheme}://{self._request.headers.get('host', '')}{self._request.target}"

    @property
    def request(self) -> Request:
        """The client's half of the opening handshake."""
        return self._request

    @property
    def response(self) -> Response:
        """The server's half of the opening handshake."""
        return self._response

    @property
    def local_address(self) -> Any:
        """This side's address, as the socket has it; `None` on a stream that has no socket."""
        return self._life.driver.transport.local_address

    @property
    def remote_address(self) -> Any:
        """The peer's address, as the socket has it; `None` on a stream that has no socket.

        At a server it is what a proxy has said, if that one is trusted: `Request.remote_address`.
        """
        return self._life.driver.transport.remote_address

    @property
    def buffered(self) -> int:
        """Bytes of messages that were sent by the program and not given to the network; after the end, those that never
        were."""
        return self._writer.outbox.payload

    @property
    def latency(self) -> float | None:
        """Seconds of the latest round trip of a Ping and its Pong, a keepalive's or one of `ping`; `None` before it."""
        return self._life.driver.pings.latency

    @property
    def stats(self) -> Stats:
        """What the connection has carried so far."""
        session = self._session
        return Stats(
            self._writer.messages_sent,
            self._writer.bytes_sent,
            self._reader.messages_received,
            self._reader.bytes_received,
            session.messages_dropped,
            session.bytes_dropped,
        )

    def __repr__(self) -> str:
        end = f", {self.close_event}" if self.close_event is not None else ""
        return f"<WebSocket {self._life.role} {self._request.target} {self._life.short_id} {self.state.name}{end}>"
