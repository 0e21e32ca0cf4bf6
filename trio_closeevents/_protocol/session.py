"""One connection from OPEN to its CloseEvent, sans-IO: bytes in, events out, frames to send.

wsproto reads and writes the frames. Where its surface hides what the closing contract needs, this module corrects it,
each at one place that is marked `wsproto:` and has a test that fails the day wsproto changes:

* a Close that the peer sent and one that wsproto invented after malformed input are the same event: `_is_real_close`;
* it refuses close code 1014, which is registered: `_read_bad_gateway`;
* it has no limit on messages and fragments: `_admit`, on the header, before a payload is stored;
* it cannot skip: after our own Close, `_skip` drops data without storing, decoding or limiting it.

Bytes are looked at lazily, one frame at a time, when `next_event` is called: what stands behind a message in the same
segment has no effect before the program has seen that message. Whoever looks *ahead* of what the program has asked for
does not judge a message that is too large: the program may ask for it piece by piece, with another limit.
"""

from __future__ import annotations

from typing import Final, TypeAlias, cast

from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import Opcode

from .._events import CloseCause, CloseCode, CloseFrame
from .assembly import RSV1, Assembly, Excess, Piece, size_of
from .closing import State
from .ending import READING, SKIPPING
from .frames import Header, read_header, skip_short_frames, violation
from .outgoing import Outgoing
from .plain import PlainPayload

__all__ = ["Excess", "Piece", "Ping", "Pong", "Session", "SessionEvent"]

SessionEvent: TypeAlias = str | bytes | Piece | Ping | Pong

NEVER_ENDING: Final = 2**63  # bytes: more than can arrive
INFLATED_PER_LOOK: Final = 2**15  # bytes that are as much work to inflate and carry off as a frame is to look at


class Session(Outgoing):
    """The protocol of one open connection, and how it ends.

    Args:
        client: this side is the client: it masks what it sends, and expects no masks (RFC 6455 §5.1).
        max_message_size: the most bytes a received message may have, decoded; `None`: no limit.
        max_fragments: the most fragments a received message may have, empty ones too; `None`: no limit.
        extensions: what the opening handshake agreed on.

    Attributes:
        looked_at: frames that were looked at so far, portions of compressed ones, and what these inflated to in units
            of `INFLATED_PER_LOOK`: a measure of the work.
        held: a message that is too large stands next, and waits for the program to ask for it.
        messages_dropped: messages of the peer that were dropped, after our Close or because they were left half read.
        bytes_dropped: their payload bytes, those of unfinished messages and of control frames included.
    """

    # Up to thirty attributes share their keys among all sessions; with one more, each has a dict of its own, 1.3 KB.
    def __init__(
        self,
        *,
        client: bool,
        max_message_size: int | None = 2**20,
        max_fragments: int | None = None,
        extensions: tuple[Extension, ...] = (),
    ) -> None:
        super().__init__(client=client, extensions=extensions)
        self._max_message_size = max_message_size
        self._message = Assembly(max_message_size, max_fragments, self._deflate, is_foreign=bool(self._foreign_rsv))

        self._data = b""  # read from the network
        self._at = 0  # where in it the part begins that was not looked at yet
        self._header: Header | None = None  # of the frame whose payload comes next
        self._remaining = 0  # bytes of that payload which are not here yet
        self._arrived = 0  # bytes of the data that were read before our Close, and are not dropped
        self._dropping = False  # the frame under way came after our Close
        self._plain: PlainPayload | None = None  # reads the payload of the frame under way, without wsproto
        self._in_message: bool = False  # a fragmented message is under way
        self.held = False
        self.looked_at = 0
        self.messages_dropped = 0
        self.bytes_dropped = 0

    # -- what this side does -----------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """What comes after our Close is not dropped, so far."""
        return self._arrived > NEVER_ENDING // 2

    @property
    def _unread(self) -> int:
        """Bytes that were read from the network and not looked at yet."""
        return len(self._data) - self._at

    @property
    def has_data(self) -> bool:
        """There may be something to look at."""
        return bool(self._data) or self._header is not None or self._message.streaming

    def close(self, frame: CloseFrame, cause: CloseCause, *, keep_arrived: bool = False, drain: bool = False) -> None:
        """Begin the closing handshake, unless the ending has begun already. *frame* was checked to be sendable.

        What comes after it is dropped; with *keep_arrived*, messages that were read before as a whole are not, and with
        *drain* no message is, until `stop_draining`.
        """
        if self.state is State.OPEN:
            self._dropping = not drain and not (keep_arrived and self._remaining <= self._unread)
            self._arrived = NEVER_ENDING if drain else 0 if self._dropping else self._unread
        self._begin_close(frame, cause)

    def stop_draining(self) -> None:
        """Drop what comes after our Close from now on, and the message under way."""
        self._arrived, self._dropping = 0, True
        self._message.forget()
        self.held = False

    def fail_too_large(self, excess: Excess, at_least: str = "") -> None:
        """Fail the connection, since a message is over a limit; after our Close, only drop it and what is behind it."""
        if self.state in SKIPPING:
            self._arrived, self._dropping = 0, True
            self._message.forget()
            return
        text = f"message of {at_least}{excess.number} {excess.what} is over the limit of {excess.limit}"
        self.fail(CloseCode.MESSAGE_TOO_BIG, text, CloseCause.MESSAGE_TOO_BIG)

    # -- what the network does ---------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take in what was read. It is looked at when `next_event` is called; after the end it is thrown away."""
        if self.state in READING:
            self._data = self._data[self._at :] + data if self._unread else data
            self._at = 0

    def next_messages(self, most: int) -> tuple[list[str | bytes], int]:
        """Return up to *most* messages that come next, as far as the short way can read them, and the bytes of all.

        Only those that `next_event` would return next, one after the other. Only in OPEN.
        """
        messages: list[str | bytes] = []
        message = self._message
        if self._header is not None or self._in_message or message.streaming or message.discarding or self._foreign_rsv:
            return messages, 0
        self._at, size = self._frames.read(self._data, self._at, messages, most, self._max_message_size)
        self.looked_at += len(messages)
        self._forget_read()
        return messages, size

    def _forget_read(self) -> None:
        """Keep no data that was looked at."""
        if self._at == len(self._data):
            self._data, self._at = b"", 0

    def next_event(self, work: int | None = None, *, ahead: bool = False) -> SessionEvent | None:
        """Look at what was read, up to the next message, Ping or Pong.

        Args:
            work: begin nothing when `looked_at` has reached this; `None`: no such limit. For a caller that has others
                to serve as well.
            ahead: the program has not asked for a message.

        Returns:
            A message (`str` or `bytes`) or a `Piece` of one, a `Ping`, a `Pong`, or `None` when more bytes are needed,
            the message that stands next is `held`, or the connection does not read any more. A Close frame and
            whatever fails the connection show in `state`.
        """
        self.held = False
        event = self._look(work, ahead=ahead)
        self._forget_read()
        return event

    def _look(self, work: int | None, *, ahead: bool) -> SessionEvent | None:
        while self.state in READING:
            if (piece := self._message.kept_piece()) is not None:
                return piece
            if self._header is None:
                if self.state in SKIPPING and not self._arrived:
                    self._skip_short_frames()
                header = read_header(self._data, self._at)
                if header is None or (work is not None and self.looked_at >= work):
                    return None
                self.looked_at += 1
                self._begin_frame(header, ahead=ahead and self.state is State.OPEN)
            elif self._dropping and not self._header.is_control:
                if not self._skip():
                    return None
            elif self._header.is_control and self._unread < self._remaining:
                return None  # wsproto wants control frames whole, and so does `_read_bad_gateway`
            elif self._remaining and not self._unread:
                return None
            elif self._plain is not None:
                if (event := self._feed_plain()) is not None:
                    return event
            elif not self._message.compressed or self._header.is_control:
                if (event := self._feed_payload(self._remaining)) is not None:
                    return event
            elif work is not None and self.looked_at >= work:
                return None
            else:
                self.looked_at += 1
                portion = self._message.portion(self._remaining, ahead=ahead and self.state is State.OPEN)
                if portion is None:
                    self.held = True
                elif (event := self._feed_payload(portion)) is not None:
                    return event
            if self.held:
                return None
        return None

    # -- messages piece by piece -------------------------------------------------------------------------------------

    @property
    def kept(self) -> int:
        """Bytes of an unfinished message that are kept here."""
        return self._message.kept

    @property
    def streaming(self) -> bool:
        """The message under way, or the next one, comes out as pieces; `False` again after its last one."""
        return self._message.streaming

    def begin_stream(self, limit: int | None) -> None:
        """Return pieces of the next message, or of what is left of the one under way, up to *limit* bytes of it."""
        self._message.begin_stream(limit)
        under_way = self._in_message or (self._header is not None and not self._header.is_control)
        if under_way and (excess := self._message.too_large) is not None:
            self.fail_too_large(excess)

    def end_stream(self) -> None:
        """Let the message come out whole after all. Only if no piece of it did."""
        self._message.streaming = False

    def skip_rest(self) -> None:
        """Drop what is left of the message that comes out as pieces."""
        self._message.discard()
        self.held = False

    # -- reading frames ----------------------------------------------------------------------------------------------

    def _begin_frame(self, header: Header, *, ahead: bool) -> None:
        begins = header.opcode in (Opcode.TEXT, Opcode.BINARY)
        rsv_allowed = self._foreign_rsv | (RSV1 if begins and self._deflate is not None else 0)
        broken_rule = violation(
            header, from_client=not self._client, in_message=self._in_message, rsv_allowed=rsv_allowed
        )
        if broken_rule is not None:
            self.fail(CloseCode.PROTOCOL_ERROR, broken_rule, CloseCause.PROTOCOL_ERROR)
            return
        self._dropping = self.state in SKIPPING and header.size + header.length > self._arrived
        if self._dropping:
            self._arrived = 0
            self._message.forget()  # its end is dropped
            if header.is_control:
                # The old one may wait for a payload that is skipped.
                self._long_way = self._new_wire(self._extensions if self._foreign_rsv else [])
        elif not header.is_control and not self._admit(header, ahead=ahead):
            return
        raw = self._read(header.size)
        self._header, self._remaining = header, header.length
        if header.is_control:
            self._wire.receive_data(raw)
            return
        whole = header.fin and not self._in_message
        self._in_message = not header.fin
        if self._dropping:
            return
        if whole and not header.rsv and not self._foreign_rsv:
            self._plain = PlainPayload(header.opcode == Opcode.TEXT, header.key)
        else:
            self._wire.receive_data(raw)

    def _admit(self, header: Header, *, ahead: bool) -> bool:
        """Tell whether a data frame is within the limits; if it is not, hold the message or fail the connection."""
        excess = self._message.admit(header)
        if excess is None:
            return True
        if ahead and excess.what == "bytes" and self._message.may_be_held:
            self.held = True
        else:
            self.fail_too_large(excess)
        return False

    def _read(self, size: int) -> bytes:
        """Take at most *size* bytes."""
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        self._arrived = max(0, self._arrived - len(data))
        return data

    def _feed_payload(self, size: int) -> SessionEvent | None:
        """Hand *size* bytes of the payload to wsproto, or what is here of them, and translate what it makes of it."""
        header = cast("Header", self._header)
        payload = self._read(size)
        self._remaining -= len(payload)
        if self._remaining == 0:
            self._header = None
        if header.opcode == Opcode.CLOSE and not self._foreign_rsv and self._read_bad_gateway(header, payload):
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

    def _feed_plain(self) -> SessionEvent | None:
        """Take what is here of the payload of a plain frame."""
        size = min(self._remaining, self._unread)
        payload = memoryview(self._data)[self._at : self._at + size]
        self._at += size
        self._arrived = max(0, self._arrived - size)
        self._remaining -= size
        last = self._remaining == 0
        plain = cast("PlainPayload", self._plain)
        if last:
            self._header = self._plain = None
        try:
            data = plain.read(payload, last=last)
        except UnicodeDecodeError:
            self._fail_invalid("not valid UTF-8")
            return None
        if isinstance(data, str):
            return self._receive_piece(TextMessage(data, message_finished=last))
        return self._receive_piece(BytesMessage(data, message_finished=last))

    def _receive_piece(self, event: TextMessage | BytesMessage) -> str | bytes | Piece | None:
        if self._message.compressed:
            self.looked_at += len(event.data) // INFLATED_PER_LOOK
        if not self._message.discarding:
            piece = self._message.add(event)
            if self._message.is_measured_late and (excess := self._message.too_large) is not None:
                self.fail_too_large(excess)
                return None
            return piece
        self._message.discarding = not event.message_finished
        self.messages_dropped += event.message_finished
        self.bytes_dropped += size_of(event.data)
        return None

    def _receive_close(self, event: CloseConnection) -> None:
        code, reason = int(event.code), event.reason or ""
        if self._is_real_close():
            self._accept_close(CloseFrame(None if code == CloseCode.NO_STATUS_RCVD else code, reason))
        elif code == CloseCode.MESSAGE_TOO_BIG and (deflate := self._deflate) is not None and deflate.limit is not None:
            self.fail_too_large(Excess("bytes", deflate.inflated, deflate.limit), "at least ")
        elif code == CloseCode.INVALID_FRAME_PAYLOAD_DATA:
            # wsproto: its words depend on where the text was cut, or say nothing
            self._fail_invalid("corrupt compressed data" if reason == "error in extension" else "not valid UTF-8")
        else:
            self.fail(code, reason, CloseCause.PROTOCOL_ERROR)

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
        except UnicodeDecodeError:
            self._fail_invalid("not valid UTF-8")
        return True

    def _skip_short_frames(self) -> None:
        skipped = skip_short_frames(self._data, self._at, from_client=not self._client, in_message=self._in_message)
        self._at += skipped.size
        self._in_message = skipped.in_message
        self.messages_dropped += skipped.messages
        self.bytes_dropped += skipped.payload

    def _skip(self) -> bool:
        """Drop what is here of a data frame that came after our Close; tell whether it was all."""
        header = cast("Header", self._header)
        dropped = min(self._remaining, self._unread)
        self._at += dropped
        self._remaining -= dropped
        self.bytes_dropped += dropped
        if self._remaining:
            return False
        self.messages_dropped += header.fin
        self._header = self._plain = None
        return True

    # -- the ending --------------------------------------------------------------------------------------------------

    def _stop_reading(self) -> None:
        self._message.forget()
        self._data, self._at = b"", 0
        self._plain = None
        self._forget_wire()
