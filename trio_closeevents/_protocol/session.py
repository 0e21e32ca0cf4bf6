"""One connection from OPEN to its CloseEvent, sans-IO: bytes in, events out, frames to send.

wsproto reads and writes the frames. Where its surface hides what the closing contract needs, this module corrects it,
each at one place that is marked `wsproto:` and has a test that fails the day wsproto changes:

* a Close that the peer sent and one that wsproto invented after malformed input are the same event: `_is_real_close`;
* it refuses close code 1014, which is registered: `_read_bad_gateway`;
* it has no limit on messages and fragments: `_check_limits`, on the header, before a payload is stored;
* it cannot skip: after our own Close, `_skip` drops data without storing, decoding or limiting it.

Bytes are looked at lazily, one frame at a time, when `next_event` is called: what stands behind a message in the same
segment has no effect before the program has seen that message.
"""

from __future__ import annotations

from typing import Final, TypeAlias, cast

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode

from .._events import MAX_REASON_BYTES, CloseCause, CloseCode, CloseEvent, CloseFrame, InitiatedBy
from .closing import Effect, State, Step, transition
from .frames import Header, read_header, skip_short_frames, violation

__all__ = ["Ping", "Pong", "Session", "SessionEvent"]

SessionEvent: TypeAlias = str | bytes | Ping | Pong

READING: Final = frozenset({State.OPEN, State.CLOSE_QUEUED, State.CLOSE_SENT})
SKIPPING: Final = frozenset({State.CLOSE_QUEUED, State.CLOSE_SENT})
CAUSE_OF_FAILURE: Final = {
    CloseCode.PROTOCOL_ERROR: CloseCause.PROTOCOL_ERROR,
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: CloseCause.INVALID_PAYLOAD,
    CloseCode.MESSAGE_TOO_BIG: CloseCause.MESSAGE_TOO_BIG,
}


class Session:
    """The protocol of one open connection, and how it ends.

    Args:
        client: this side is the client: it masks what it sends, and expects no masks (RFC 6455 §5.1).
        max_message_size: the most bytes a received message may have, decoded; `None`: no limit.
        max_fragments: the most fragments a received message may have, empty ones too; `None`: no limit.
        extensions: what the opening handshake agreed on.

    Attributes:
        state: where the closing state machine stands.
        close_event: `None` until it is decided; never changes again.
        error: the exception that came with the loss of the transport, if one did.
        frames_begun: frames that were looked at so far.
        messages_dropped: messages of the peer that were dropped after our Close.
        bytes_dropped: their payload bytes, those of unfinished messages and of control frames included.
    """

    def __init__(
        self,
        *,
        client: bool,
        max_message_size: int | None = 2**20,
        max_fragments: int | None = None,
        extensions: tuple[Extension, ...] = (),
    ) -> None:
        self._role = ConnectionType.CLIENT if client else ConnectionType.SERVER
        self._client = client
        self._wire = Connection(self._role, list(extensions))
        self._max_message_size = max_message_size
        self._max_fragments = max_fragments

        self.state = State.OPEN
        self.close_event: CloseEvent | None = None
        self.error: BaseException | None = None
        self._cause: CloseCause | None = None
        self._close: CloseFrame | None = None  # ours, from the moment it is queued
        self._unsent_close: bytes | None = None
        self._sent: CloseFrame | None = None
        self._received: CloseFrame | None = None

        self._buffer = bytearray()  # read from the network, not looked at yet
        self._header: Header | None = None  # of the frame whose payload comes next
        self._remaining = 0  # bytes of that payload which are not here yet
        self._arrived = 0  # bytes of the buffer that were read before our Close, and are not dropped
        self._dropping = False  # the frame under way came after our Close
        self._in_message = False  # a fragmented message is under way
        self._pieces: list[str] | list[bytes] = []  # of the message under way
        self._size = 0  # its bytes so far
        self._fragments = 0
        self.frames_begun = 0
        self.messages_dropped = 0
        self.bytes_dropped = 0

    # -- what this side does -----------------------------------------------------------------------------------------

    @property
    def cause(self) -> CloseCause | None:
        """What came first and ended the connection; `None` as long as nothing did."""
        return self._cause

    def send_message(self, message: str | bytes) -> bytes:
        """Return the frame for a whole message. Only in OPEN."""
        if isinstance(message, str):
            return self._wire.send(TextMessage(message))
        return self._wire.send(BytesMessage(message))

    def send_ping(self, payload: bytes) -> bytes:
        """Return a Ping frame. Only in OPEN."""
        return self._wire.send(Ping(payload))

    def send_pong(self, payload: bytes) -> bytes:
        """Return a Pong frame. Only in OPEN."""
        return self._wire.send(Pong(payload))

    def close(self, frame: CloseFrame, cause: CloseCause, *, keep_arrived: bool = False) -> None:
        """Begin the closing handshake, unless the ending has begun already. *frame* was checked to be sendable.

        What comes after it is dropped; with *keep_arrived*, messages that were read before as a whole are not.
        """
        if self.state is State.OPEN:
            self._dropping = not (keep_arrived and self._remaining <= len(self._buffer))
            self._arrived = 0 if self._dropping else len(self._buffer)
        self._take(Step.SEND_CLOSE, cause, frame)

    def fail(self, code: int, reason: str, cause: CloseCause) -> None:
        """Fail the connection (RFC 6455 §7.1.7): from now on nothing of the peer counts."""
        text = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        self._take(Step.FAIL, cause, CloseFrame(code, text))

    def take_close_frame(self) -> bytes | None:
        """Return our Close frame once, as soon as it is due; what was queued before goes first, nothing follows."""
        frame, self._unsent_close = self._unsent_close, None
        return frame

    def close_written(self) -> None:
        """Note that the last byte of our Close frame was handed to the kernel."""
        self._sent = self._close
        self._take(Step.CLOSE_WRITTEN)

    # -- what the network does ---------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take in what was read. It is looked at when `next_event` is called; after the end it is thrown away."""
        if self.state in READING:
            self._buffer += data

    def receive_eof(self) -> None:
        """Note that the peer has shut down its sending side."""
        self._take(Step.RECEIVE_EOF, CloseCause.EOF)

    def lose_transport(self, cause: CloseCause, error: BaseException | None = None) -> None:
        """Note that the transport is gone. *cause* and *error* count if nothing else came first."""
        if self._cause is None:
            self.error = error
        self._take(Step.LOSE_TRANSPORT, cause)

    def next_event(self, frames: int | None = None) -> SessionEvent | None:
        """Look at what was read, up to the next message, Ping or Pong.

        Args:
            frames: begin no frame when `frames_begun` has reached this; `None`: no such limit. For a caller that has
                others to serve as well.

        Returns:
            A message (`str` or `bytes`), a `Ping`, a `Pong`, or `None` when more bytes are needed or the connection
            does not read any more. A Close frame and whatever fails the connection show in `state`.
        """
        while self.state in READING:
            if self._header is None:
                if self.state in SKIPPING and not self._arrived:
                    self._skip_short_frames()
                header = read_header(self._buffer)
                if header is None or (frames is not None and self.frames_begun >= frames):
                    return None
                self.frames_begun += 1
                self._begin_frame(header)
            elif self._dropping and not self._header.is_control:
                if not self._skip():
                    return None
            elif self._header.is_control and len(self._buffer) < self._remaining:
                return None  # wsproto wants control frames whole, and so does `_read_bad_gateway`
            elif self._remaining and not self._buffer:
                return None
            else:
                event = self._feed_payload()
                if event is not None:
                    return event
        return None

    # -- reading frames ----------------------------------------------------------------------------------------------

    def _begin_frame(self, header: Header) -> None:
        broken_rule = violation(header, from_client=not self._client, in_message=self._in_message)
        if broken_rule is not None:
            self.fail(CloseCode.PROTOCOL_ERROR, broken_rule, CloseCause.PROTOCOL_ERROR)
            return
        if not header.is_control:
            self._in_message = not header.fin
        self._dropping = self.state in SKIPPING and header.size + header.length > self._arrived
        if self._dropping:
            self._arrived = 0
            self._pieces = []  # of a message whose end is dropped
            if header.is_control:
                self._wire = Connection(self._role)  # the old one may wait for a payload that is skipped
        elif not header.is_control and not self._check_limits(header):
            return
        raw = self._read(header.size)
        self._header, self._remaining = header, header.length
        if header.is_control or not self._dropping:
            self._wire.receive_data(raw)

    def _read(self, size: int) -> bytes:
        """Take at most *size* bytes out of the buffer."""
        data = bytes(self._buffer[:size])
        del self._buffer[: len(data)]
        self._arrived = max(0, self._arrived - len(data))
        return data

    def _check_limits(self, header: Header) -> bool:
        """Fail the connection if the frame would take the message over a limit. wsproto: it has none."""
        if header.opcode != Opcode.CONTINUATION:
            self._size = self._fragments = 0
        self._size += header.length
        self._fragments += 1
        for what, count, limit in (
            ("bytes", self._size, self._max_message_size),
            ("fragments", self._fragments, self._max_fragments),
        ):
            if limit is not None and count > limit:
                text = f"message of {count} {what} is over the limit of {limit}"
                self.fail(CloseCode.MESSAGE_TOO_BIG, text, CloseCause.MESSAGE_TOO_BIG)
                return False
        return True

    def _feed_payload(self) -> SessionEvent | None:
        """Hand what is here of the payload to wsproto, and translate what it makes of it."""
        header = cast("Header", self._header)
        payload = self._read(self._remaining)
        self._remaining -= len(payload)
        if self._remaining == 0:
            self._header = None
        if header.opcode == Opcode.CLOSE and self._read_bad_gateway(header, payload):
            return None
        self._wire.receive_data(payload)
        for event in self._wire.events():
            if isinstance(event, CloseConnection):
                self._receive_close(event)
            elif isinstance(event, TextMessage | BytesMessage):
                return self._receive_piece(event)
            elif self.state is State.OPEN:
                return cast("Ping | Pong", event)
            else:
                self.bytes_dropped += header.length
        return None

    def _receive_piece(self, event: TextMessage | BytesMessage) -> str | bytes | None:
        piece = event.data
        if event.message_finished and not self._pieces:
            return piece if isinstance(piece, str) else bytes(piece)
        if piece:
            self._pieces.append(piece)  # type: ignore[arg-type]  # all pieces of a message are of one type
        if not event.message_finished:
            return None
        pieces, self._pieces = self._pieces, []
        if isinstance(event, TextMessage):
            return "".join(cast("list[str]", pieces))
        return b"".join(cast("list[bytes]", pieces))

    def _receive_close(self, event: CloseConnection) -> None:
        code, reason = int(event.code), event.reason or ""
        if self._is_real_close():
            self._accept_close(CloseFrame(None if code == CloseCode.NO_STATUS_RCVD else code, reason))
        else:
            self.fail(code, reason, CAUSE_OF_FAILURE[CloseCode(code)])

    def _is_real_close(self) -> bool:
        """Tell a Close frame of the peer from one that wsproto made up. wsproto: only its state tells."""
        return self._wire.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED)

    def _read_bad_gateway(self, header: Header, payload: bytes) -> bool:
        """Accept a Close frame with code 1014, and tell whether it was one. wsproto: it calls 1014 unknown."""
        if header.key:
            payload = bytes(byte ^ header.key[i % 4] for i, byte in enumerate(payload))
        if payload[:2] != CloseCode.BAD_GATEWAY.to_bytes(2):
            return False
        try:
            self._accept_close(CloseFrame(CloseCode.BAD_GATEWAY.value, payload[2:].decode()))
        except UnicodeDecodeError as error:
            self.fail(CloseCode.INVALID_FRAME_PAYLOAD_DATA, str(error), CloseCause.INVALID_PAYLOAD)
        return True

    def _accept_close(self, frame: CloseFrame) -> None:
        self._received = frame
        self._take(Step.RECEIVE_CLOSE, CloseCause.REMOTE, frame)

    def _skip_short_frames(self) -> None:
        skipped = skip_short_frames(self._buffer, from_client=not self._client, in_message=self._in_message)
        del self._buffer[: skipped.size]
        self._in_message = skipped.in_message
        self.messages_dropped += skipped.messages
        self.bytes_dropped += skipped.payload

    def _skip(self) -> bool:
        """Drop what is here of a data frame that came after our Close; tell whether it was all."""
        header = cast("Header", self._header)
        dropped = min(self._remaining, len(self._buffer))
        del self._buffer[:dropped]
        self._remaining -= dropped
        self.bytes_dropped += dropped
        if self._remaining:
            return False
        self.messages_dropped += header.fin
        self._header = None
        return True

    # -- the ending --------------------------------------------------------------------------------------------------

    def _take(self, step: Step, cause: CloseCause | None = None, frame: CloseFrame | None = None) -> None:
        """Take a step of the state machine: the one place where `state` changes."""
        before = self.state
        self.state, effect = transition(before, step)
        if self.state is not before and self._cause is None:
            self._cause = cause
        if effect is Effect.QUEUE_CLOSE:
            self._close = cast("CloseFrame", frame)
            self._unsent_close = self._encode(self._close)
        elif effect is Effect.DECIDE:
            self.close_event = self._decide()
        if self.state not in READING:
            self._pieces = []
            self._buffer.clear()
            self._wire = Connection(self._role)  # wsproto: it keeps the last payload that it was fed

    def _encode(self, frame: CloseFrame) -> bytes:
        # wsproto: an empty Close is asked for by this very member; a plain 1005 would go out as 1000.
        code = CloseReason.NO_STATUS_RCVD if frame.code is None else frame.code
        return self._wire.send(CloseConnection(code=code, reason=frame.reason or None))

    def _decide(self) -> CloseEvent:
        received = self._received
        if received is None:
            code = CloseCode.ABNORMAL_CLOSURE.value
        else:
            code = CloseCode.NO_STATUS_RCVD.value if received.code is None else received.code
        return CloseEvent(
            "close",
            code=code,
            reason=received.reason if received else "",
            was_clean=self.state is State.CLOSE_EXCHANGED,
            initiated_by=self._initiator(),
            cause=self._cause,
            sent=self._sent,
            received=received,
        )

    def _initiator(self) -> InitiatedBy:
        if self._cause is not CloseCause.REMOTE and self._sent is not None:
            return "local"
        return "transport" if self._received is None else "remote"
