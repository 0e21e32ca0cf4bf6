"""What one connection receives: who reads from the transport, and when.

Theory. On a socket the task in `receive` reads by itself, which saves a turn of the loop per message; the reader's
task takes over when nobody asks: it answers pings, sees the peer's Close and fills the inbox up to its limits. It is
not woken for that by every message. It looks now and then whether the program has received something since it looked
last, keeps its hands off if so, and sleeps for good while somebody waits in `receive`. On any other stream only the
reader's task reads, and whoever receives asks it to (`_hungry`).

A turn of the loop is cheaper than to sleep and be woken. So a receiver whose peer has answered at once looks a second
time, after others had their turns, before it waits.

Either way, what was read goes the way that `_intake.py` tells.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

import trio

from ._events import CloseCause
from ._hands_off import hands_off_of_this_run
from ._intake import Intake
from ._keepalive import Keepalive, Pings
from ._options import Options
from ._protocol.assembly import Piece
from ._protocol.closing import State
from ._protocol.session import Session
from ._transport import LOST, Transport, os_error
from ._turns import turns_of_this_run
from ._waiters import Flag, Sleeper, Waiters
from ._writer import Writer

__all__ = ["Reader"]

TURNS_TO_READ: Final = 5  # of the loop, until the reader's task has what had arrived on a stream, TLS in between
QUICK: Final = 0.0001  # seconds; a peer that has answered sooner is worth looking at again before waiting
TURNS_TO_ANSWER: Final = 2  # of the loop, for such a peer


class Reader(Intake):
    """The receiving half of a connection; see `Intake` for what is said there."""

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
        super().__init__(session, writer, pings, options, decided, on_change=on_change, on_bug=on_bug)
        self._transport = transport
        self._keepalive = keepalive
        self._client = client
        self._received = self._seen = 0  # how often a task has left receive(), and had when the reader looked last
        self._waiting = False  # a task in receive() waits for the transport
        self._hungry = False  # or for the reader to bring something
        self._fed = Waiters()
        self._nap_scope: trio.CancelScope | None = None  # round a wait of the reader's task
        self._sleeper = Sleeper()  # the reader's task, as long as nobody needs it
        self._is_reading = False  # the reader's task waits for the transport
        self._is_quick = False  # the peer has answered soon
        self._turns = turns_of_this_run()

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
