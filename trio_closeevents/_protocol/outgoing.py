"""The frames that one side sends: plain messages the short way, all else through wsproto.

What wsproto reads goes through the same `Connection`, since an extension may need to know both directions. With one
that is not ours, it reads and writes every frame: what reserved bits and payload mean is the extension's affair.
"""

from __future__ import annotations

from typing import Final

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason

from .._events import CloseFrame
from .assembly import size_of
from .deflate import PerMessageDeflate
from .ending import Ending
from .plain import Frame, PlainFrames, Shared

__all__ = ["Outgoing"]

ANY_RSV: Final = 0b111


class Outgoing(Ending):
    """The half of a session that sends.

    Attributes:
        send_message: returns the frame for a whole message. Only in OPEN.
    """

    def __init__(self, *, client: bool, extensions: tuple[Extension, ...]) -> None:
        super().__init__()
        self._client = client
        self._extensions = list(extensions)
        self._long_way: Connection | None = None  # wsproto, as soon as it is needed
        self._deflate = next((each for each in extensions if isinstance(each, PerMessageDeflate)), None)
        # Reserved bits of any frame; not 0 if an extension that is not ours decides what they mean.
        self._foreign_rsv = ANY_RSV if any(each is not self._deflate for each in extensions) else 0
        self._frames = PlainFrames(client=client)
        self.send_message = self._send_extended if extensions else self._frames.write

    @property
    def _wire(self) -> Connection:
        """What reads and writes all that is not plain."""
        if self._long_way is None:
            self._long_way = self._new_wire(self._extensions)
        return self._long_way

    def _new_wire(self, extensions: list[Extension]) -> Connection:
        return Connection(ConnectionType.CLIENT if self._client else ConnectionType.SERVER, extensions)

    def _send_extended(self, message: str | bytes) -> Frame:
        event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        return b"", self._wire.send(event), size_of(message)

    def send_shared(self, shared: Shared) -> Frame:
        """Return the frame for a message that others send too: theirs, if it need not be one of our own."""
        if self._client or self._extensions:
            return self.send_message(shared.message)
        if shared.frame is None:
            shared.frame = self.send_message(shared.message)
        return shared.frame

    def send_fragment(self, piece: str | bytes, *, last: bool) -> bytes:
        """Return the frame for a part of a message. Only in OPEN; the parts of one message follow each other."""
        if isinstance(piece, str):
            return self._wire.send(TextMessage(piece, message_finished=last))
        return self._wire.send(BytesMessage(piece, message_finished=last))

    def send_ping(self, payload: bytes) -> bytes:
        """Return a Ping frame. Only in OPEN."""
        return self._wire.send(Ping(payload))

    def send_pong(self, payload: bytes) -> bytes:
        """Return a Pong frame. Only in OPEN."""
        return self._wire.send(Pong(payload))

    def _encode_close(self, frame: CloseFrame) -> bytes:
        # wsproto: an empty Close is asked for by this very member; a plain 1005 would go out as 1000.
        code = CloseReason.NO_STATUS_RCVD if frame.code is None else frame.code
        return self._wire.send(CloseConnection(code=code, reason=frame.reason or None))

    def _forget_wire(self) -> None:
        """Keep nothing of what was sent or read."""
        self._long_way = None  # wsproto: it keeps the last payload that it was fed
        self._extensions = []
        if self._deflate is not None:
            self._deflate.forget()
