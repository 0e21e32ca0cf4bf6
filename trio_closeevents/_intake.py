"""What was read of one connection is looked at here, and messages wait here until the program asks for them.

Theory. What was read is looked at when the program asks for a message, or when nobody asks; so an answer to one
message goes out before what is behind the next ones is looked at. Whole messages that stand one behind the other are
read together: that has no effect which anybody could see. Looking ahead of what the program has asked for (`digest`)
stops where enough waits, and at a message that is too large: the program may want it piece by piece.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

import trio

from ._events import CloseCause
from ._inbox import MANY, Inbox
from ._keepalive import Pings
from ._options import Options
from ._protocol.assembly import Excess, Piece, size_of
from ._protocol.closing import State
from ._protocol.session import Ping, Pong, Session
from ._waiters import Flag
from ._writer import Writer

__all__ = ["Intake"]

FRAMES_PER_TURN: Final = 100  # that are looked at before others have their turn


class Intake(ABC):
    """The half of a reader that does not read.

    Args:
        decided: set together with the CloseEvent.
        on_change: called when the session's state may have changed.
        on_bug: called with an exception that nothing should raise.

    Attributes:
        inbox: messages that nobody has asked for yet.
        is_free: the messages in the inbox that are ready may be taken by anyone, with nothing else to do.
    """

    def __init__(
        self,
        session: Session,
        writer: Writer,
        pings: Pings,
        options: Options,
        decided: Flag,
        *,
        on_change: Callable[[], None],
        on_bug: Callable[[Exception], None],
    ) -> None:
        self.inbox = Inbox(options.max_queue, options.max_queue_bytes)
        self.messages_received = self.bytes_received = 0
        self.is_free = True
        self._session = session
        self._writer = writer
        self._pings = pings
        self._answers_pings = options.answer_pings
        self._decided = decided
        self._on_change = on_change
        self._on_bug = on_bug
        self._receiving = False  # a task is in receive()
        self._streaming = False  # a block receives a message piece by piece
        self._half_read = False  # a piece of a message was handed out, and not the last one
        self._interrupted = False  # there is more to look at, but others had to have their turn
        self._input_end: tuple[CloseCause, BaseException | None] | None = None  # comes after what was read

    @abstractmethod
    def wake(self) -> None:
        """Let the reader look at what has changed."""

    # -- one after the other -----------------------------------------------------------------------------------------

    def _next_message(self) -> str | bytes | Piece | None:
        message = self.inbox.take()
        if message is None:
            if not self._session.has_data and self._session.state is State.OPEN and self._input_end is None:
                self._interrupted = False
                return None
            messages, size = self._read_together(min(MANY, self.inbox.room + 1))
            if len(messages) == 1:
                return messages[0]
            if messages:
                self.inbox.make_ready(messages, size)
                return self.inbox.take()
            message = self._pull()
        if isinstance(message, Piece):
            self._half_read = not message.last
        return message

    def _read_together(self, most: int) -> tuple[list[str | bytes], int]:
        """Return up to *most* messages that come next and can be read the short way, and their bytes.

        They may be more than the inbox has room for, by no more than was read from the transport anyway.
        """
        if self._session.state is State.OPEN:
            try:
                messages, size = self._session.next_messages(most)
            except Exception as error:
                self._on_bug(error)
            else:
                self.messages_received += len(messages)
                self.bytes_received += size
                return messages, size
        return [], 0

    def _pull(self, *, ahead: bool = False) -> str | bytes | Piece | None:
        """Return the next message out of what was read; see to everything else that comes before it.

        *ahead*: nobody has asked; a message that is too large waits for somebody who does.
        A flood of frames that are no messages does not hold the loop: after some, this returns `None`, `_interrupted`.
        """
        message: str | bytes | Piece | None = None
        turn = self._session.looked_at + FRAMES_PER_TURN
        try:
            while (event := self._session.next_event(turn, ahead=ahead)) is not None:
                if isinstance(event, Ping):
                    if self._answers_pings:
                        self._writer.answer_ping(bytes(event.payload))
                elif isinstance(event, Pong):
                    self._pings.answer(bytes(event.payload))
                else:
                    message = event
                    break
            else:
                self._interrupted = self._session.looked_at >= turn
                if not self._interrupted and not self._session.held:
                    self._apply_input_end()
        except Exception as error:
            self._on_bug(error)
        if message is None:
            if self._session.state is not State.OPEN:
                self._on_change()
        else:
            self.messages_received += not isinstance(message, Piece) or message.last
            self.bytes_received += size_of(message)
        return message

    def _apply_input_end(self) -> None:
        if self._input_end is None:
            return
        cause, error = self._input_end
        if cause is CloseCause.EOF and self._writer.error is None:
            self._session.receive_eof()
        elif cause is not CloseCause.INTERNAL_ERROR:
            self._session.lose_transport(CloseCause.RESET, error or self._writer.error)

    def digest(self, *, everything: bool = False) -> None:
        """Look at what was read, and keep the messages: up to the inbox's limits, or one turn's worth of everything."""
        self._interrupted = False
        turn = self._session.looked_at + FRAMES_PER_TURN
        while everything or not self._is_paused():
            if self._session.looked_at >= turn:
                self._interrupted = True
                return
            messages, _ = self._read_together(MANY if everything else self.inbox.room)
            for whole in messages:
                self.inbox.put(whole)
            if messages:
                continue
            if (message := self._pull(ahead=self._writer.error is None)) is None:
                return
            self.inbox.put(message)

    def _is_paused(self) -> bool:
        """Enough waits for the program, and so nothing of the peer is seen; only in OPEN, and while we can write."""
        is_open = self._session.state is State.OPEN or self._session.draining
        if not is_open or self._writer.error is not None:
            return False
        if self._receiving:
            return self.inbox.is_full()
        return self._session.held or self.inbox.is_full(self._session.kept)

    def discard_inbox(self) -> None:
        """Forget the messages that nobody has asked for, and those that are still to come."""
        self.inbox.clear()
        if self._session.draining:
            self._session.stop_draining()
            self.wake()

    # -- piece by piece ----------------------------------------------------------------------------------------------

    def check_whole(self) -> None:
        """Raise if what comes next is not a whole message."""
        if self._streaming:
            raise trio.BusyResourceError("a message is being received piece by piece")
        if self._half_read or isinstance(self.inbox.oldest, Piece):
            if not self._decided.is_set():
                raise RuntimeError(
                    "a message is half read: go on with receive_stream(), or leave its block normally to skip the rest"
                )
            self._skip_rest()

    def begin_stream(self, limit: int | None) -> None:
        """Let pieces of the next message come out, up to *limit* bytes, or of one that is half read."""
        if self._streaming or self._receiving:
            raise trio.BusyResourceError("another task is already receiving")
        self._streaming = True
        self.is_free = False
        oldest = self.inbox.oldest
        if self._session.streaming or (oldest is None and not self._half_read):
            self._session.begin_stream(limit)
        elif limit is not None and (size := size_of(oldest or "")) > limit:
            self.inbox.clear()
            self._session.fail_too_large(Excess("bytes", size, limit))
        self._on_change()

    def give_up_stream(self) -> None:
        """Undo `begin_stream`: nothing came out. Pieces that somebody else has looked at stay what they are."""
        self._streaming = False
        if not self._half_read and not isinstance(self.inbox.oldest, Piece):
            self._session.end_stream()

    def end_stream(self, piece: Piece | None, *, keep: bool) -> None:
        """End the stream; with *keep* the rest of its message stays to be read, beginning with *piece*."""
        self._streaming = False
        if piece is not None:
            self.inbox.put_back(piece)
        if not keep and (piece is not None or self._half_read):
            self._skip_rest()
        self.wake()

    def _skip_rest(self) -> None:
        """Drop what is left of the message that is half read: what is here of it, and what is still to come."""
        for piece in self.inbox.take_pieces():
            self.messages_received -= piece.last
            self.bytes_received -= size_of(piece)
            self._session.messages_dropped += piece.last
            self._session.bytes_dropped += size_of(piece)
        if self._session.streaming:
            self._session.skip_rest()
        self._half_read = False
