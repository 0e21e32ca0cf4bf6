"""What one connection sends: who may queue a frame, who waits for room, and the task that hands over what is queued.

Theory. Whole frames go into the outbox, and nothing else is ever written: no cancellation can tear a frame. On a
socket, anyone may flush; the writer's task does it on the next turn of the loop, and waits for room. A Close frame is
the last thing in the outbox, so it was written when the outbox is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import trio

from ._outbox import SMALL, Outbox
from ._protocol.assembly import size_of
from ._protocol.closing import State
from ._protocol.plain import Frame, Shared
from ._protocol.session import Session
from ._transport import LOST, Transport, os_error
from ._turns import turns_of_this_run
from ._waiters import Flag, Sleeper, Waiters

__all__ = ["Writer"]

HIGH_WATER: Final = 64 * 1024  # bytes in the outbox from which on senders wait
WRITING_CLOSE: Final = frozenset({State.CLOSE_QUEUED, State.CLOSE_RECEIVED, State.FAILING})


class Writer:
    """The sending half of a connection.

    Args:
        decided: set together with the CloseEvent.
        on_close_written: called when the last byte of our Close was handed over.
        on_broken: called when a write has failed; nothing is written any more.
        on_bug: called with an exception that no stream should raise.

    Attributes:
        outbox: the frames that wait.
        error: what broke writing; `None` as long as nothing did.
        is_hindered: a message has to wait: for room, for others that wait, or for a message that is under way.
    """

    def __init__(
        self,
        session: Session,
        transport: Transport,
        decided: Flag,
        *,
        on_close_written: Callable[[], None],
        on_broken: Callable[[], None],
        on_bug: Callable[[Exception], None],
    ) -> None:
        self.outbox = Outbox()
        self.error: BaseException | None = None
        self.messages_sent = self.bytes_sent = 0
        self._session = session
        self._transport = transport
        self._decided = decided
        self._on_close_written = on_close_written
        self._on_broken = on_broken
        self._on_bug = on_bug
        self._turns = turns_of_this_run()
        self._flushed_in = -1  # the turn in which the first message went
        self._tasks: trio.Nursery | None = None  # where the task is started when it has something to do
        self._idle = Sleeper()  # the task, as long as nothing is queued
        self._is_awake = False  # it looks at the queue before it waits again
        self._before_queue = Waiters()  # senders whose message is not queued yet
        self.is_hindered = False
        self._is_admitting = False  # the first of them is on its way, and wakes the next: so they keep their order
        self._behind_queue = Waiters()  # senders that wait for their message to leave
        self._in_message: trio.lowlevel.Task | None = None  # whose message is under way, which no other may interrupt
        self._scopes: dict[trio.CancelScope, None] = {}  # of those who send what they do not have yet
        self._owed_pong: bytes | None = None  # the latest Ping that came while the outbox was over its limit

    @property
    def _is_crowded(self) -> bool:
        return self.outbox.size > HIGH_WATER

    @property
    def _is_open(self) -> bool:
        return self._session.state is State.OPEN

    def _note_hindrance(self) -> None:
        """Note whether anything is in the way of a message."""
        self.is_hindered = (
            self._is_crowded
            or self._in_message is not None
            or self.error is not None
            or self._is_admitting
            or bool(self._before_queue)
        )

    def put(self, message: str | bytes, frame: Frame | None = None) -> bool:
        """Queue a whole message; tell whether there is room behind it, else `wait_for_room`.

        Only in OPEN, and if nothing `is_hindered`. *frame*: that of the message, if it is known already.
        """
        header, payload, size = self._session.send_message(message) if frame is None else frame
        self.messages_sent += 1
        self.bytes_sent += size
        if not self._is_awake and self._flushed_in != self._turns.number:
            self._flushed_in = self._turns.number
            return self._send_at_once(header, payload, size)
        if self.outbox.put(header, payload, size) > HIGH_WATER:
            self.flush()
            return not self.is_hindered
        if not self._is_awake:
            self.wake()
        return True

    def _send_at_once(self, header: bytes, payload: bytes, size: int) -> bool:
        """Hand over the first message of a turn; what follows it goes together. As `put`."""
        if len(payload) >= SMALL:
            self.outbox.put(header, payload, size)
            self.flush()
            return not self.is_hindered
        frame = header + payload
        try:
            sent = self._transport.try_send(frame)
        except LOST as error:
            self._stop(error)
            return False
        if sent < len(frame):
            self.outbox.append(frame, size)
            self.outbox.heads(sent)
            self.outbox.advance(sent)
            self.wake()
        return True

    async def wait_for_room(self) -> bool:
        """Wait until there is room behind what was queued; tell whether the connection still stands."""
        self._admit_senders()
        while self._is_crowded:
            await self._behind_queue.park()
            if self._session.state is State.CLOSED:
                return False
        if self.error is not None:
            await self._decided.wait()
        return self.error is None

    async def send(self, message: str | bytes) -> bool:
        """Queue a whole message and wait until there is room behind it; tell whether the connection still stands.

        If cancelled while it waits, the message is either queued whole or not at all.
        """
        if not await self._wait_for_turn():
            return False
        has_room = self.put(message)
        self._admit_senders()
        return has_room or await self.wait_for_room()

    async def queue(self, shared: Shared) -> None:
        """Queue a message that others send too, without waiting for room behind it. If cancelled, it is not queued."""
        if await self._wait_for_turn():
            self.put(shared.message, self._session.send_shared(shared))
            self._admit_senders()

    @contextmanager
    def cut_off_at_the_end(self) -> Generator[None]:
        """Cancel what is in the block when the CloseEvent is decided; it waits for something that need never come."""
        with trio.CancelScope() as scope:
            self._scopes[scope] = None
            try:
                yield
            finally:
                del self._scopes[scope]

    async def begin_message(self) -> bool:
        """Wait until a fragmented message may begin, and let no other message go until `end_message`.

        Tells whether the connection still stands. If cancelled, nothing has begun.
        """
        begun = await self._wait_for_turn()
        if begun:
            self._in_message = trio.lowlevel.current_task()
            self._note_hindrance()
        return begun

    async def send_fragment(self, piece: str | bytes, *, last: bool) -> bool:
        """Queue a part of a message and wait until there is room behind it; tell whether the connection still stands.

        If cancelled while it waits, the part was queued.
        """
        if not self._is_open:
            await self._decided.wait()
            return False
        self.messages_sent += last
        payload = size_of(piece)
        self.bytes_sent += payload
        self.outbox.append(self._session.send_fragment(piece, last=last), payload)
        if self._is_crowded:
            self.flush()
        else:
            self.wake()
            self._admit_senders()
        return await self.wait_for_room()

    def end_message(self) -> None:
        """Let other messages go again."""
        self._in_message = None
        self._note_hindrance()
        self._admit_senders()

    async def _wait_for_turn(self) -> bool:
        is_last = self._is_admitting or bool(self._before_queue)  # of several that wait
        while self._is_open and (is_last or self._is_crowded or self._in_message is not None or self.error is not None):
            if self._in_message is trio.lowlevel.current_task():
                raise RuntimeError("send() in an iterable that is being sent would wait for itself: use another task")
            self.is_hindered = True  # who comes now waits behind this one
            try:
                await self._before_queue.park()
                self._is_admitting = is_last = False
            finally:
                self._note_hindrance()
            if self._decided.is_set():
                return False
        if not self._is_open:
            await self._decided.wait()
            return False
        return True

    def wake(self) -> None:
        """Let the task hand over what is queued, on the next turn of the loop."""
        if self._is_awake:
            return
        self._is_awake = True
        if not self._idle.wake() and self._tasks is not None:
            self._tasks.start_soon(self._run)

    def _admit_senders(self) -> None:
        blocked = self._is_crowded or self._in_message is not None or self.error is not None
        if self._is_open and not blocked and not self._is_admitting and self._before_queue:
            self._is_admitting = self.is_hindered = True
            self._before_queue.wake_one()

    def send_control(self, frame: bytes) -> None:
        """Queue a Ping or Pong; it goes out on the next turn of the loop."""
        self.outbox.append(frame)
        self.is_hindered = self.is_hindered or self._is_crowded
        self.wake()

    def answer_ping(self, payload: bytes) -> None:
        """Queue a Pong, or owe it while the outbox is over its limit."""
        if self.error is not None:
            return
        if self._is_crowded:
            self._owed_pong = payload  # to answer the latest is enough (RFC 6455 §5.5.3)
        else:
            self.send_control(self._session.send_pong(payload))

    def send_close(self, frame: bytes) -> None:
        """Queue our Close frame, the last of all, and hand over what goes at once."""
        if self.error is None:
            self.outbox.append(frame)
            self.flush()

    def flush(self) -> None:
        """Hand to the network what it takes without waiting."""
        try:
            self._transport.write_nowait(self.outbox)
        except LOST as error:
            self._stop(error)
        if self.outbox.size:
            self.wake()  # to hand over the rest
        self._after_write()

    def _after_write(self) -> None:
        if self._is_crowded:
            self.is_hindered = True
            return
        if self.is_hindered:
            self._note_hindrance()
        if self._owed_pong is not None and self._is_open and self.error is None:
            payload, self._owed_pong = self._owed_pong, None
            self.send_control(self._session.send_pong(payload))
        self._behind_queue.wake_all()
        if self._before_queue:
            self._admit_senders()
        if self._is_open:
            return
        if not self.outbox.size and self.error is None and self._session.state in WRITING_CLOSE:
            self._session.close_written()
            self._on_close_written()

    def _stop(self, error: BaseException) -> None:
        self.error = self.error or os_error(error)
        self.is_hindered = True
        self.outbox.clear()
        self._behind_queue.wake_all()
        self._on_broken()

    def end(self) -> None:
        """Wake the senders: the CloseEvent is decided."""
        for scope in self._scopes:
            scope.cancel()
        self._before_queue.wake_all()
        if self._session.state is State.CLOSED:
            self.outbox.clear()
            self._behind_queue.wake_all()

    def start(self, tasks: trio.Nursery) -> None:
        """Write what is queued in a task in *tasks*, which does not exist before it has something to do."""
        self._tasks = tasks
        if self._is_awake:
            tasks.start_soon(self._run)

    def stop(self) -> None:
        """Start no task any more. The one that runs is cancelled by its nursery."""
        self._tasks = None

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        """Write what is queued, until cancelled."""
        while True:
            if not self.outbox.size and (self.error is not None or not self._transport.is_clogged):
                self._is_awake = False
                await self._idle.sleep()
                continue
            try:
                await self._transport.write(self.outbox)
            except LOST as error:
                self._stop(error)
            except Exception as error:
                self._stop(error)
                self._on_bug(error)
            self._after_write()
