"""How a connection of `trio_websocket` is ended, and what can be said of its end.

Theory. All that the package tells of an end is `closed`, a code and a reason. It is `None` while the connection is
open, and then one of these: what a Close frame of the peer said; 1006 when the transport was lost; 1002, 1007 or 1009
when the package has failed the connection. Its `aclose` puts 1000 there, whatever it sends, and does nothing if
something is there already. The peer's answer replaces that by a new object: so an answer with 1000 is told from none.

Three kinds of tasks live in the block's nursery: one that runs the package's `aclose`, one that meanwhile empties the
package's queue, and one for each message that is being sent, so that a `send` that is cancelled leaves no half of a
frame behind. They are shielded, and get one deadline when the ending begins. It is only ever moved earlier.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

import trio
from wsproto.frame_protocol import CloseReason as ProtocolCode

from trio_closeevents import CloseCause, CloseCode, CloseEvent, CloseFrame, Options

if TYPE_CHECKING:
    from trio_websocket import CloseReason, WebSocketConnection

__all__ = ["Delivery", "Ending"]

AT_ONCE: Final = 0.01  # seconds for a Close frame that is only to be sent if that needs no waiting
# Turns of the loop in which our Close leaves, if nothing is in its way, before the peer's may be read out from behind
# a full queue: a server of the package drops TCP when it has read that, whether ours was sent or not.
HEAD_START: Final = 20
TO_STOP: Final = 1.0  # seconds for a reader that has nothing to wait for
# The scope round the tasks' own deadline: a shield must have one, and this one must never be the one that acts.
MARGIN: Final = 5.0

logger = logging.getLogger("trio_closeevents")
protected = trio.lowlevel.enable_ki_protection


class Delivery:
    """One message on its way.

    Attributes:
        message: what is sent.
        is_done: the package has handed it to the network.
        error: what it raised instead.
        is_over: set when it is done or will never be.
        is_awaited: the task that sends it is there to be told.
    """

    def __init__(self, message: str | bytes) -> None:
        self.message = message
        self.is_done = False
        self.error: Exception | None = None
        self.is_over = trio.Event()
        self.is_awaited = True


class EndOfStep(trio.abc.Instrument):
    """Looks at `closed` as soon as the running task waits for something.

    No other task has run by then: so this is what the task itself has put there, and not what the peer says.

    Attributes:
        closed: what was there.
    """

    def __init__(self, connection: WebSocketConnection) -> None:
        self.closed: CloseReason | None = None
        self._connection = connection
        trio.lowlevel.add_instrument(self)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.closed = self._connection.closed
        trio.lowlevel.remove_instrument(self)


class Ending:
    """The end of one connection.

    Attributes:
        options: limits and policy.
        nursery: the block's own; there as soon as the block has begun.
        decided: set together with the event.
    """

    nursery: trio.Nursery

    def __init__(self, connection: WebSocketConnection, options: Options) -> None:
        self.options = options
        self.decided = trio.Event()
        self._connection = connection
        self._event: CloseEvent | None = None
        self._cause: CloseCause | None = None  # what this side has asked for, if that came first
        self._has_begun = False
        self._gone = trio.Event()
        self._deadline = math.inf
        self._scopes: list[trio.CancelScope] = []
        self._turn = trio.Semaphore(1)  # to send

    # -- what is known -------------------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """This side has asked for the end, first or not."""
        return self._has_begun

    @property
    def is_ours(self) -> bool:
        """This side has asked for the end, and nothing else is known to have come first."""
        return self._cause is not None or (self._has_begun and self._event is None)

    def look(self) -> CloseEvent | None:
        """Return how the connection ended. Without our asking, that is decided when somebody looks."""
        if self._event is None and self._cause is None and (closed := self._connection.closed) is not None:
            self._decide(closed)
        return self._event

    async def settle(self) -> None:
        """Wait until it is decided, if this side has asked for the end: the wait has a bound then."""
        if self._has_begun:
            await self.decided.wait()

    def _decide(self, closed: CloseReason | None) -> None:
        code, reason = (CloseCode.ABNORMAL_CLOSURE.value, None) if closed is None else (closed.code, closed.reason)
        is_lost = code == CloseCode.ABNORMAL_CLOSURE
        self._event = CloseEvent(
            "close",
            code=code,
            reason=reason or "",
            initiated_by="transport" if is_lost and self._cause is None else None,
            cause=self._cause,
        )
        self.decided.set()

    # -- messages ------------------------------------------------------------------------------------------------

    async def send(self, message: str | bytes) -> Delivery:
        """Send *message* behind those of other tasks, and return what came of it."""
        delivery = Delivery(message)
        await self._turn.acquire()
        if self._has_begun:
            self._turn.release()
            return delivery
        self.nursery.start_soon(self._deliver, delivery)
        try:
            await delivery.is_over.wait()
        finally:
            delivery.is_awaited = delivery.is_over.is_set()
        return delivery

    @protected
    async def _deliver(self, delivery: Delivery) -> None:
        try:
            with self._bounded():
                await self._connection.send_message(delivery.message)
                delivery.is_done = True
        except Exception as error:
            delivery.error = error
            if not (delivery.is_awaited or self._has_begun or self.look()):
                logger.error("%s could not send a message", self._connection, exc_info=error)
        finally:
            self._turn.release()
            delivery.is_over.set()

    @contextmanager
    def _bounded(self) -> Generator[None]:
        """Shield a task, and give it the deadline of the ending."""
        with trio.CancelScope(shield=True, deadline=self._deadline) as scope:
            self._scopes.append(scope)
            try:
                yield
            finally:
                self._scopes.remove(scope)

    # -- the end -------------------------------------------------------------------------------------------------

    def begin_for(self, left_by: BaseException | None) -> None:
        """Begin the ending that a block asks for which *left_by* leaves, or which returns (`None`)."""
        frame = self.options.policy.frame_for(left_by, aside=trio.Cancelled)
        has_failed, is_interrupted = kinds_in(left_by)
        cause = CloseCause.ERROR if has_failed else CloseCause.CANCELLED if is_interrupted else CloseCause.EXIT
        limit = self.options.cancel_timeout if is_interrupted else self.options.close_timeout
        self.begin(frame, cause, 0 if isinstance(left_by, GeneratorExit) else limit)

    def begin(self, frame: CloseFrame, cause: CloseCause, limit: float) -> None:
        """Begin the closing handshake, unless that has happened; *limit* seconds from now all is over."""
        self._limit(max(limit, AT_ONCE))
        if not self._has_begun:
            self._has_begun = True
            self.nursery.start_soon(self._end, frame, cause)

    @protected
    async def _end(self, frame: CloseFrame, cause: CloseCause) -> None:
        if self.look() is None:
            self._cause = cause
            self.nursery.start_soon(self._discard_in_time, HEAD_START)
            await self._close(frame)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + TO_STOP):
                await self._discard()
        else:
            await self._discard_in_time(0)
        for scope in self._scopes:  # of a message that was not sent in time
            scope.cancel()
        self._gone.set()

    async def _close(self, frame: CloseFrame) -> None:
        begun = EndOfStep(self._connection)
        try:
            with self._bounded():
                await self._connection.aclose(*as_arguments(frame))
        except Exception as error:
            logger.error("%s could not be closed in order", self._connection, exc_info=error)
        finally:
            closed = self._connection.closed
            self._decide(None if closed is begun.closed else closed)

    @protected
    async def _discard_in_time(self, after_turns: int) -> None:
        with self._bounded():
            for _ in range(after_turns):
                await trio.lowlevel.checkpoint()
            await self._discard()

    async def _discard(self) -> None:
        """Receive what nobody wants any more, up to the end of the package's queue.

        As long as the queue is full, the package reads nothing, and sees neither the peer's Close nor the end of the
        transport. The queue ends when the package has sent our Close, or answered the peer's; or with its reader.
        """
        from trio_websocket import ConnectionClosed

        with suppress(ConnectionClosed):
            while True:
                await self._connection.get_message()

    async def see_it_through(self) -> None:
        """Wait until all is over, whatever comes; then raise what came.

        A cancellation shortens the wait to `cancel_timeout`, Ctrl-C ends it at once (trio delivers it into a wait of
        the main task, shielded or not).
        """
        try:
            try:
                await self._gone.wait()
            except trio.Cancelled:
                self._limit(max(self.options.cancel_timeout, AT_ONCE))
                with trio.CancelScope(shield=True, deadline=self._deadline + MARGIN):
                    await self._gone.wait()
                raise
        except KeyboardInterrupt:
            self._limit(0)
            raise

    def _limit(self, seconds: float) -> None:
        """Let the tasks be over in *seconds* from now at the latest."""
        self._deadline = min(self._deadline, trio.current_time() + seconds)
        for scope in self._scopes:
            scope.deadline = self._deadline


def kinds_in(left_by: BaseException | None) -> tuple[bool, bool]:
    """Tell whether *left_by* is an `Exception` or something that is none; a group may hold both, at any depth."""
    if isinstance(left_by, BaseExceptionGroup):
        exceptions, others = cast("BaseExceptionGroup[BaseException]", left_by).split(Exception)
        return exceptions is not None, others is not None
    is_exception = isinstance(left_by, Exception)
    return is_exception, left_by is not None and not is_exception


def as_arguments(frame: CloseFrame) -> tuple[int, str | None]:
    """Return *frame* as the package's `aclose` takes it. For an empty one, wsproto has a code that is not sent."""
    return (ProtocolCode.NO_STATUS_RCVD, None) if frame.code is None else (frame.code, frame.reason)
