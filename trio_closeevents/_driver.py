"""One connection on trio: the tasks that read and write for a `Session`, and the one deadline of its ending.

Theory. Two tasks belong to the connection, in one shielded nursery: a reader, and a writer as soon as it has something
to do. Nobody else cancels them: they end when the transport is gone, and turn whatever goes wrong into the CloseEvent.
When the ending begins, they get their deadline; it covers every wait on the way out, and is only ever moved earlier,
from any task.

A write that fails is not the end: the peer's Close may lie unread. Writing stops, reading goes on until it ends too.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final

import trio

from ._events import CloseCause, CloseCode, CloseEvent, CloseFrame
from ._keepalive import Keepalive, Pings
from ._options import Options
from ._policy import end_of_block
from ._protocol.closing import State
from ._protocol.session import Session
from ._reader import Reader
from ._transport import Transport
from ._waiters import Flag
from ._writer import Writer

__all__ = ["Driver"]

AT_ONCE: Final = 0.01  # seconds that a stream has which can only be awaited, where a socket is asked without waiting
DROP_TIMEOUT: Final = 1.0  # seconds for closing a transport that has nothing to wait for
# The scope round the tasks' own deadline: a shield must have one, and this one must never be the one that acts.
MARGIN: Final = 5.0
OWING_CLOSE: Final = frozenset({State.CLOSE_RECEIVED, State.FAILING})  # nothing but our Close is awaited

logger = logging.getLogger("trio_closeevents")


class Driver:
    """The tasks, queues and waits of one connection.

    Attributes:
        decided: set together with the CloseEvent.
        gone: set when the transport is gone and the tasks are about to end.
    """

    def __init__(
        self, session: Session, transport: Transport, options: Options, *, client: bool, on_end: Callable[[], None]
    ) -> None:
        self.session = session
        self.transport = transport
        self.pings = Pings()
        self._deadline = math.inf  # of the connection's own tasks
        self._life: trio.CancelScope | None = None  # theirs, while they run
        self.decided = Flag()
        self.gone = Flag()
        sync, fail = self.sync, self._fail_internally  # one object each, for both halves
        self.writer = Writer(
            session, transport, self.decided, on_close_written=sync, on_broken=self._writing_broke, on_bug=fail
        )
        self._options = options
        self._on_end = on_end
        self.keepalive = Keepalive(self.pings, options.ping_interval, options.ping_timeout)
        self.reader = Reader(
            session,
            transport,
            self.writer,
            self.pings,
            self.keepalive,
            options,
            self.decided,
            client=client,
            on_change=sync,
            on_bug=fail,
        )

    async def ping(self, payload: bytes | None) -> float | None:
        """Send a Ping and wait for its Pong; return the seconds it took, or `None` if the connection ended first."""
        payload = self.pings.new_payload() if payload is None else payload
        ping = self.pings.begin(payload)
        self.writer.send_control(self.session.send_ping(payload))
        self.reader.take_over()
        try:
            await ping.done.wait()
        finally:
            self.pings.forget(payload)
        return ping.latency

    def _send_keepalive(self, payload: bytes) -> bool:
        """Queue a Ping; tell whether that is still allowed."""
        if self.session.state is not State.OPEN or self.writer.error is not None:
            return False
        self.writer.send_control(self.session.send_ping(payload))
        return True

    def _fail_for_silence(self) -> None:
        """Fail the connection, whose peer is silent; once its ending has begun, that has a limit of its own."""
        if self.session.state is not State.OPEN:
            return
        self.session.fail(CloseCode.INTERNAL_ERROR, "keepalive timeout", CloseCause.KEEPALIVE_TIMEOUT)
        self.sync()

    # -- the ending ----------------------------------------------------------------------------------------------

    def close(
        self, frame: CloseFrame, cause: CloseCause, limit: float, *, keep_arrived: bool, drain: bool = False
    ) -> None:
        """Begin the closing handshake, unless the ending has begun; *limit* seconds from now the transport is gone.

        With *keep_arrived*, messages that were read from the transport before stay receivable; with *drain*, those
        too that are still to come.
        """
        if self.session.state is State.OPEN and not drain:
            self.reader.digest(everything=True)  # the peer's Close may be among it
        self.session.close(frame, cause, keep_arrived=keep_arrived, drain=drain)
        self.limit(limit)
        self.sync()

    def close_for(self, error: BaseException | None, *, keep_arrived: bool) -> None:
        """Begin the ending that the policy has for *error*, or for a block that returns (`None`)."""
        end = end_of_block(error, self._options.policy, aside=trio.Cancelled)
        limit = self._options.close_timeout if end.patient else self._options.cancel_timeout
        self.close(end.frame, end.cause, 0 if isinstance(error, GeneratorExit) else limit, keep_arrived=keep_arrived)

    def abort(self, cause: CloseCause = CloseCause.ABORTED) -> None:
        """Drop the transport now."""
        self.session.lose_transport(cause)
        self.transport.drop()
        self._deadline = min(self._deadline, trio.current_time())
        if self._life is not None:
            self._life.cancel()
        self.sync()

    async def see_it_through(self) -> None:
        """Wait until the transport is gone, whatever comes; then raise what came.

        A cancellation shortens the wait to `cancel_timeout`, Ctrl-C ends it at once (trio delivers it into a wait of
        the main task, shielded or not).
        """
        try:
            try:
                await self.gone.wait()
            except trio.Cancelled:
                self.limit(self._options.cancel_timeout)
                with trio.CancelScope(shield=True, deadline=self._deadline + MARGIN):
                    await self.gone.wait()
                raise
        except KeyboardInterrupt:
            self.abort()
            raise

    def limit(self, seconds: float) -> None:
        """Let the transport be gone in *seconds* from now at the latest."""
        if not self.transport.any_task:
            seconds = max(seconds, AT_ONCE)
        deadline = trio.current_time() + seconds
        if deadline < self._deadline:
            self._deadline = deadline
            if self._life is not None:
                self._life.deadline = deadline

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
        self.reader.wake()
        if session.close_event is not None and not self.decided.is_set():
            self._announce(session.close_event)

    def _announce(self, event: CloseEvent) -> None:
        """Wake everyone who waits for the end."""
        self.decided.set()
        self.pings.end()
        self.reader.end()
        self.writer.end()
        self._on_end()

    def _writing_broke(self) -> None:
        self.limit(self._options.cancel_timeout)  # for a peer that neither reads nor ends
        self.reader.digest()
        self.reader.wake()  # a full inbox does not hold it back any more
        self.sync()

    def _fail_internally(self, error: Exception) -> None:
        logger.error("internal error in a connection, which fails with 1011", exc_info=error)
        self.reader.end_input(CloseCause.INTERNAL_ERROR, error)
        self.session.fail(CloseCode.INTERNAL_ERROR, "", CloseCause.INTERNAL_ERROR)
        self.sync()

    # -- the connection's own tasks --------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read and write until the transport is gone, then close it."""
        try:
            async with trio.open_nursery() as tasks:
                tasks.cancel_scope.shield = True
                tasks.cancel_scope.deadline = self._deadline
                self._life = tasks.cancel_scope
                self.writer.start(tasks)
                if self._options.ping_interval is not None:
                    tasks.start_soon(self.keepalive.run, self._send_keepalive, self.reader.hear, self._fail_for_silence)
                try:
                    await self.reader.run()
                    if self.session.state is not State.CLOSED:
                        await self._finish_transport()
                finally:
                    self.writer.stop()
                tasks.cancel_scope.cancel()
        finally:
            self._life = None
            self.session.lose_transport(CloseCause.RESET, self.writer.error)
            self.transport.drop()
            try:
                self.sync()  # may call `on_close`, which may be interrupted
            finally:
                if not self.transport.any_task:
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
