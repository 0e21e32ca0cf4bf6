"""What one connection receives: who reads from the transport, what is looked at, and where messages wait.

Theory. On a socket the task in `receive` reads by itself, which saves a turn of the loop per message; the reader's
task takes over when nobody asks: it answers pings, sees the peer's Close and fills the inbox up to its limits. It is
not woken for that by every message. It looks now and then whether the program has received something since it looked
last, keeps its hands off if so, and sleeps for good while somebody waits in `receive`. On any other stream only the
reader's task reads, and whoever receives asks it to (`_hungry`).

A turn of the loop is cheaper than to sleep and be woken. So a receiver whose peer has answered at once looks a second
time, after others had their turns, before it waits.

Either way, what was read is looked at when the program asks for a message, or when nobody asks; so an answer to one
message goes out before what is behind the next ones is looked at. Whole messages that stand one behind the other are
read together: that has no effect which anybody could see. Looking ahead of what the
program has asked for (`digest`) stops where enough waits, and at a message that is too large: the program may want it
piece by piece.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

import trio

from ._events import CloseCause
from ._hands_off import hands_off_of_this_run
from ._inbox import MANY, Inbox
from ._keepalive import Keepalive, Pings
from ._options import Options
from ._protocol.assembly import Excess, Piece, size_of
from ._protocol.closing import State
from ._protocol.session import Ping, Pong, Session
from ._transport import LOST, Transport, os_error
from ._turns import turns_of_this_run
from ._waiters import Flag, Sleeper, Waiters
from ._writer import Writer

__all__ = ["Reader"]

TURNS_TO_READ: Final = 5  # of the loop, until the reader's task has what had arrived on a stream, TLS in between
QUICK: Final = 0.0001  # seconds; a peer that has answered sooner is worth looking at again before waiting
TURNS_TO_ANSWER: Final = 2  # of the loop, for such a peer
FRAMES_PER_TURN: Final = 100  # that are looked at before others have their turn


class Reader:
    """The receiving half of a connection.

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
        transport: Transport,
        writer: Writer,
        pings: Pings,
        keepalive: Keepalive,
        options: Options,
        decided: Flag,
        *,
        client: bool,
        on_change: Callable[[], None],
        on_bug: Callable[[Exception], None],
    ) -> None:
        self.inbox = Inbox(options.max_queue, options.max_queue_bytes)
        self.messages_received = self.bytes_received = 0
        self._session = session
        self._transport = transport
        self._writer = writer
        self._pings = pings
        self._keepalive = keepalive
        self._decided = decided
        self._answers_pings = options.answer_pings
        self._client = client
        self._on_change = on_change
        self._on_bug = on_bug
        self._receiving = False  # a task is in receive()
        self._streaming = False  # a block receives a message piece by piece
        self._half_read = False  # a piece of a message was handed out, and not the last one
        self._received = self._seen = 0  # how often a task has left receive(), and had when the reader looked last
        self._waiting = False  # a task in receive() waits for the transport
        self._hungry = False  # or for the reader to bring something
        self._fed = Waiters()
        self._interrupted = False  # there is more to look at, but others had to have their turn
        self._nap_scope: trio.CancelScope | None = None  # round a wait of the reader's task
        self._sleeper = Sleeper()  # the reader's task, as long as nobody needs it
        self._is_reading = False  # the reader's task waits for the transport
        self.is_free = True
        self._is_quick = False  # the peer has answered soon
        self._turns = turns_of_this_run()
        self._input_end: tuple[CloseCause, BaseException | None] | None = None  # comes after what was read

    # -- receiving -----------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes | Piece | None:
        """Return the next message, or a piece of one, or `None` when there will be none any more."""
        if self._receiving:
            raise trio.BusyResourceError("another task is already in receive()")
        self._receiving = True
        self.is_free = False
        try:
            if perf_counter() < self._turns.until:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                await self._turns.checkpoint()
            while (message := self._next_message()) is None and self._interrupted:
                await trio.lowlevel.checkpoint()
            if message is not None:
                return message
            if self._session.closed_by_us and not self._session.draining:
                return None  # nothing that comes now would be delivered
            while not self._decided.is_set():
                await self._wait_for_input()
                if (message := self._next_message()) is not None:
                    return message
            return None
        finally:
            self._receiving = False
            self._received += 1
            if self._sleeper:
                self.wake()
            self.is_free = not self._streaming

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

    async def _wait_for_input(self) -> None:
        if self._interrupted:
            await trio.lowlevel.checkpoint()
        elif self._input_end is not None:  # the peer's Close was read, ours is still being written
            await self._decided.wait()
        elif not self._transport.any_task:
            await self._let_reader_read()
        else:
            if self._is_reading:
                self.wake()  # it leaves the socket to us
            if self._take_input():
                await self._turns.checkpoint()
                self._turns.number += 1
                return
            if self._is_quick:
                await self._look_again()
            else:
                await self._wait_on_socket()
        self._turns.begin()

    async def _look_again(self) -> None:
        """Let others have their turn, and look whether the peer has answered meanwhile."""
        self._is_quick = False
        if self._writer.outbox.size:
            self._writer.flush()
        for _ in range(TURNS_TO_ANSWER):
            await trio.lowlevel.checkpoint()
        self._is_quick = self._take_input()

    async def _wait_on_socket(self) -> None:
        if self._writer.outbox.size:
            self._writer.flush()
            if self._decided.is_set():  # that was our Close, or it has broken
                return
        self._waiting = True
        began = perf_counter()
        try:
            await self._transport.wait_input()
        finally:
            self._waiting = False
        self._is_quick = perf_counter() - began < QUICK
        self._take_input()

    async def _let_reader_read(self) -> None:
        self._hungry = True
        if not self._is_reading:
            self.wake()
        try:
            await self._fed.park()
        finally:
            self._hungry = False

    def _wake_receiver(self) -> None:
        """Let a task that waits in `receive` look at what has changed."""
        if self._waiting:
            self._transport.interrupt()
        self._fed.wake_one()

    async def _wait_until_readable(self) -> None:
        try:
            await self._transport.wait_input()
        except LOST as error:
            self.end_input(CloseCause.RESET, error)
        except Exception as error:
            self._on_bug(error)

    def _take_input(self) -> bool:
        """Hand what has arrived to the session; tell whether there was anything."""
        if self._input_end is not None:
            return False
        try:
            data = self._transport.take()
            if self._transport.is_clogged:
                self._writer.wake()
            if data is None:
                if self._transport.has_part:
                    self._keepalive.heard()
                return False
            if data:
                self._keepalive.heard()
                self._session.receive_data(data)
            else:
                self.end_input(CloseCause.EOF, None)
        except LOST as error:
            self.end_input(CloseCause.RESET, error)
        return True

    def end_input(self, cause: CloseCause, error: BaseException | None) -> None:
        if self._input_end is None:
            self._input_end = (cause, error and os_error(error))
        self._wake_receiver()

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
        self.is_free = not self._sleeper
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

    def discard_inbox(self) -> None:
        """Forget the messages that nobody has asked for, and those that are still to come."""
        self.inbox.clear()
        if self._session.draining:
            self._session.stop_draining()
            self.wake()

    async def hear(self) -> None:
        """See to it that what has arrived by now is known to the keepalive."""
        if self._transport.any_task:
            if self._take_input():
                self._wake_receiver()
                self.wake()
        else:
            self.take_over()
            for _ in range(TURNS_TO_READ):
                await trio.lowlevel.checkpoint()

    def end(self) -> None:
        """Wake whoever receives: the CloseEvent is decided."""
        self._wake_receiver()

    # -- the reader's own task ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read what nobody asks for, until only the transport is left or not even that."""
        while True:
            if self._received != self._seen and not self._hungry and self._session.state is State.OPEN:
                await self._nap(hands_off_of_this_run().wait, self)
                continue
            if not self._receiving:
                self.digest()
            self._keepalive.set_clock(running=not self._is_paused())
            if self._session.state is State.CLOSED or self._may_finish():
                return
            if self._interrupted and not self._receiving:
                await trio.lowlevel.checkpoint()
            elif not self._may_read():
                self.is_free = False
                await self._sleeper.sleep()
            elif self._take_input():
                if self._hungry:
                    self._hungry = False
                    self._fed.wake_one()
                await trio.lowlevel.checkpoint()
            else:
                self._is_reading = True
                await self._nap(self._wait_until_readable)
                self._is_reading = False

    def _may_read(self) -> bool:
        if self._input_end is not None or (self._receiving and not self._hungry):
            return False
        return not self._is_paused()

    async def _nap(self, wait: Callable[..., Awaitable[object]], *args: object) -> None:
        with trio.CancelScope() as self._nap_scope:
            await wait(*args)
        self._nap_scope = None

    def take_over(self) -> None:
        """Let the reader read at once: the program waits for something that is no message."""
        self.was_used()
        self.wake()

    def wake(self) -> None:
        """Let the reader look at what has changed."""
        self._is_reading = False
        self.is_free = not (self._receiving or self._streaming)
        self._sleeper.wake()
        if self._nap_scope is not None:
            self._nap_scope.cancel()

    def was_used(self) -> bool:
        """Tell whether the program has received something since this was asked last."""
        was_used = self._received != self._seen
        self._seen = self._received
        return was_used

    def _may_finish(self) -> bool:
        """Only the transport is left. A server ends TCP first, a client waits for it (RFC 6455 §7.1.1)."""
        if self._session.state is State.CLOSE_EXCHANGED:
            return not self._client or self._input_end is not None
        return self._session.state is State.FAILED
