"""One connection on trio: the tasks that read and write for a `Session`, and the one deadline of its ending.

Theory. Two tasks belong to the connection: a reader and a writer, in one shielded scope, `life`. Nobody else cancels
them: they end when the transport is gone, and turn whatever goes wrong into the CloseEvent. When the ending begins,
`life` gets its deadline; it covers every wait on the way out, and is only ever moved earlier, from any task.

*Reading.* On a socket the task in `receive` reads by itself, which saves a turn of the loop per message; the reader
takes over while nobody asks: it answers pings, sees the peer's Close and fills the inbox up to its limits. On any other
stream only the reader reads, and whoever receives asks it to (`_hungry`). Either way, what was read is looked at when
the program asks for a message, or when nobody asks; so an answer to one message goes out before the next is looked at.

*Writing* is the `Writer`'s. A write that fails is not the end: the peer's Close may lie unread. Writing stops, reading
goes on until it ends too.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ._events import CloseCause, CloseCode, CloseEvent, CloseFrame
from ._inbox import Inbox, size_of
from ._keepalive import Pings
from ._options import Options
from ._protocol.closing import State
from ._protocol.session import Ping, Pong, Session
from ._transport import LOST, Transport, os_error
from ._writer import Writer

__all__ = ["Driver"]

FRAMES_PER_TURN: Final = 100  # that are looked at before others have their turn
AT_ONCE: Final = 0.01  # seconds that a stream has which can only be awaited, where a socket is asked without waiting
DROP_TIMEOUT: Final = 1.0  # seconds for closing a transport that has nothing to wait for
LOCAL_CAUSES: Final = frozenset(
    {CloseCause.EXIT, CloseCause.ERROR, CloseCause.CANCELLED, CloseCause.CLOSED, CloseCause.ABORTED}
)
OWING_CLOSE: Final = frozenset({State.CLOSE_RECEIVED, State.FAILING})  # nothing but our Close is awaited

logger = logging.getLogger("trio_closeevents")


class Driver:
    """The tasks, queues and waits of one connection.

    Attributes:
        life: the scope of the connection's own tasks.
        decided: set together with the CloseEvent.
        gone: set when the transport is gone and the tasks are about to end.
    """

    def __init__(
        self, session: Session, transport: Transport, options: Options, *, client: bool, on_end: Callable[[], None]
    ) -> None:
        self.session = session
        self.transport = transport
        self.pings = Pings()
        self.life = trio.CancelScope(shield=True)
        self.decided = trio.Event()
        self.gone = trio.Event()
        self.writer = Writer(
            session,
            transport,
            self.decided,
            on_close_written=self.sync,
            on_broken=self._writing_broke,
            on_bug=self._fail_internally,
        )
        self.messages_received = self.bytes_received = 0
        self._client = client
        self._options = options
        self._on_end = on_end
        self._inbox = Inbox(options.max_queue, options.max_queue_bytes)
        self._receiving = False  # a task is in receive()
        self._hungry = False  # and waits for the reader to bring something
        self._interrupted = False  # there is more to look at, but others had to have their turn
        self._reader_nap = trio.CancelScope()
        self._receiver_nap = trio.CancelScope()
        self._input_end: tuple[CloseCause, BaseException | None] | None = None  # comes after what was read

    # -- receiving -----------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes | None:
        """Return the next message, or `None` when there will be none any more."""
        if self._receiving:
            raise trio.BusyResourceError("another task is already in receive()")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while (message := self._next_message()) is None and self._interrupted:
                await trio.lowlevel.checkpoint()
            if message is not None:
                return message
            if self.closed_by_us:
                return None  # nothing that comes now would be delivered
            while not self.decided.is_set():
                await self._wait_for_input()
                if (message := self._next_message()) is not None:
                    return message
            return None
        finally:
            self._receiving = False
            self._wake_reader()

    def _next_message(self) -> str | bytes | None:
        message = self._inbox.take()
        return self._pull() if message is None else message

    async def _wait_for_input(self) -> None:
        with trio.CancelScope() as self._receiver_nap:
            if self._interrupted:
                await trio.lowlevel.checkpoint()
                return
            if self._input_end is not None:  # the peer's Close was read, ours is still being written
                await self.decided.wait()
            if not self.transport.any_task:
                await self._let_reader_read()
            self._wake_reader()  # it leaves the socket to us
            if self._take_input():
                await trio.lowlevel.checkpoint()
            else:
                self.writer.flush()
                await self._wait_until_readable()

    async def _let_reader_read(self) -> None:
        self._hungry = True
        self._wake_reader()
        try:
            await trio.sleep_forever()
        finally:
            self._hungry = False

    async def _wait_until_readable(self) -> None:
        try:
            await self.transport.wait_input()
        except LOST as error:
            self._end_input(CloseCause.RESET, error)
        except Exception as error:
            self._fail_internally(error)

    def _take_input(self) -> bool:
        """Hand what has arrived to the session; tell whether there was anything."""
        if self._input_end is not None:
            return False
        try:
            data = self.transport.take()
            if data is None:
                return False
            if data:
                self.session.receive_data(data)
            else:
                self._end_input(CloseCause.EOF, None)
        except LOST as error:
            self._end_input(CloseCause.RESET, error)
        return True

    def _end_input(self, cause: CloseCause, error: BaseException | None) -> None:
        if self._input_end is None:
            self._input_end = (cause, error and os_error(error))
        self._receiver_nap.cancel()

    def _pull(self) -> str | bytes | None:
        """Return the next message out of what was read; see to everything else that comes before it.

        A flood of frames that are no messages does not hold the loop: after some, this returns `None`, `_interrupted`.
        """
        message: str | bytes | None = None
        turn = self.session.frames_begun + FRAMES_PER_TURN
        try:
            while (event := self.session.next_event(turn)) is not None:
                if isinstance(event, Ping):
                    self.writer.answer_ping(bytes(event.payload))
                elif isinstance(event, Pong):
                    self.pings.answer(bytes(event.payload))
                else:
                    message = event
                    break
            else:
                self._interrupted = self.session.frames_begun >= turn
                if not self._interrupted:
                    self._apply_input_end()
        except Exception as error:
            self._fail_internally(error)
        if message is None:
            self.sync()
        else:
            self.messages_received += 1
            self.bytes_received += size_of(message)
        return message

    def _apply_input_end(self) -> None:
        if self._input_end is None:
            return
        cause, error = self._input_end
        if cause is CloseCause.EOF and self.writer.error is None:
            self.session.receive_eof()
        elif cause is not CloseCause.INTERNAL_ERROR:
            self.session.lose_transport(CloseCause.RESET, error or self.writer.error)

    def _digest(self, *, everything: bool = False) -> None:
        """Look at what was read, and keep the messages: up to the inbox's limits, or one turn's worth of everything."""
        self._interrupted = False
        turn = self.session.frames_begun + FRAMES_PER_TURN
        while everything or not self._is_paused():
            if self.session.frames_begun >= turn:
                self._interrupted = True
                return
            if (message := self._pull()) is None:
                return
            self._inbox.put(message)

    def _is_paused(self) -> bool:
        """The inbox is at a limit, and so nothing of the peer is seen; only in OPEN, and while we can write."""
        return self._inbox.is_full and self.session.state is State.OPEN and self.writer.error is None

    def discard_inbox(self) -> None:
        """Forget the messages that nobody has asked for."""
        self._inbox.clear()

    async def ping(self, payload: bytes | None) -> float | None:
        """Send a Ping and wait for its Pong; return the seconds it took, or `None` if the connection ended first."""
        payload = self.pings.new_payload() if payload is None else payload
        ping = self.pings.begin(payload)
        self.writer.send_control(self.session.send_ping(payload))
        try:
            await ping.done.wait()
        finally:
            self.pings.forget(payload)
        return ping.latency

    # -- the ending ----------------------------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """The transport is gone, and with it what was queued."""
        return self.session.state is State.CLOSED

    @property
    def closed_by_us(self) -> bool:
        """This side asked for the end, and came first."""
        return self.session.cause in LOCAL_CAUSES

    def close(self, frame: CloseFrame, cause: CloseCause, limit: float, *, keep_arrived: bool) -> None:
        """Begin the closing handshake, unless the ending has begun; *limit* seconds from now the transport is gone.

        With *keep_arrived*, messages that were read from the transport before stay receivable.
        """
        if self.session.state is State.OPEN:
            self._digest(everything=True)  # the peer's Close may be among it
        self.session.close(frame, cause, keep_arrived=keep_arrived)
        self.limit(limit)
        self.sync()

    def abort(self, cause: CloseCause = CloseCause.ABORTED) -> None:
        """Drop the transport now."""
        self.session.lose_transport(cause)
        self.transport.drop()
        self.life.cancel()
        self.sync()

    def limit(self, seconds: float) -> None:
        """Let the transport be gone in *seconds* from now at the latest."""
        if not self.transport.any_task:
            seconds = max(seconds, AT_ONCE)
        self.life.deadline = min(self.life.deadline, trio.current_time() + seconds)

    def sync(self) -> None:
        """Follow the session: the one place where its state has consequences."""
        session = self.session
        if (frame := session.take_close_frame()) is not None:
            self.writer.send_close(frame)
        if session.state is State.OPEN:
            return
        if session.state in (State.FAILING, State.FAILED):
            self.limit(self._options.cancel_timeout)
        elif session.cause is CloseCause.REMOTE:
            self.limit(self._options.close_timeout)
        if self.writer.error is not None and session.state in OWING_CLOSE:
            session.lose_transport(CloseCause.RESET, self.writer.error)
        self._wake_reader()
        if session.close_event is not None and not self.decided.is_set():
            self._announce(session.close_event)

    def _announce(self, event: CloseEvent) -> None:
        """Wake everyone who waits for the end."""
        self.decided.set()
        self.pings.end()
        self._receiver_nap.cancel()
        self.writer.end()
        self._on_end()

    def _writing_broke(self) -> None:
        self.limit(self._options.cancel_timeout)  # for a peer that neither reads nor ends
        self._digest()
        self._wake_reader()  # a full inbox does not hold it back any more
        self.sync()

    def _fail_internally(self, error: Exception) -> None:
        logger.error("internal error in a connection, which fails with 1011", exc_info=error)
        self._end_input(CloseCause.INTERNAL_ERROR, error)
        self.session.fail(CloseCode.INTERNAL_ERROR, "", CloseCause.INTERNAL_ERROR)
        self.sync()

    # -- the connection's own tasks --------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read and write until the transport is gone, then close it."""
        try:
            with self.life:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(self.writer.run)
                    await self._read_loop()
                    tasks.cancel_scope.cancel()
        finally:
            self.session.lose_transport(CloseCause.RESET, self.writer.error)
            self.transport.drop()
            try:
                self.sync()  # may call `on_close`, which may be interrupted
            finally:
                await self._close_transport()
                self.gone.set()

    async def _close_transport(self) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + DROP_TIMEOUT):
            try:
                await self.transport.aclose()
            except Exception as error:
                logger.error("a stream could not be closed", exc_info=error)

    async def _finish_transport(self) -> None:
        try:
            await self.transport.finish()
        except Exception as error:
            logger.error("a stream could not be shut down in order", exc_info=error)

    async def _read_loop(self) -> None:
        while True:
            if not self._receiving:
                self._digest()
            if self.lost:
                return
            if self._may_finish():
                await self._finish_transport()
                return
            if self._interrupted and not self._receiving:
                await trio.lowlevel.checkpoint()
            elif not self._may_read():
                await self._nap(trio.sleep_forever)
            elif self._take_input():
                if self._hungry:
                    self._hungry = False
                    self._receiver_nap.cancel()
                await trio.lowlevel.checkpoint()
            else:
                await self._nap(self._wait_until_readable)

    def _may_finish(self) -> bool:
        """Only the transport is left. A server ends TCP first, a client waits for it (RFC 6455 §7.1.1)."""
        if self.session.state is State.CLOSE_EXCHANGED:
            return not self._client or self._input_end is not None
        return self.session.state is State.FAILED

    def _may_read(self) -> bool:
        if self._input_end is not None or (self._receiving and not self._hungry):
            return False
        return not self._is_paused()

    async def _nap(self, wait: Callable[[], Awaitable[object]]) -> None:
        with trio.CancelScope() as self._reader_nap:
            await wait()

    def _wake_reader(self) -> None:
        self._reader_nap.cancel()
