"""A connection that lives in a task of its own, beside the block or in the nursery that it belongs to.

Theory. A page's socket works while the page does something else, so the core's connection is opened, used and ended by
a task beside the block, in a nursery that was opened by hand. When the block is left, that task leaves the core's block
in the same way: with the exception that left ours, which it is only told of. So the core decides what is sent and how
long the ending may take; and the exception goes on unwrapped, since nothing passes through the nursery. A socket that
was given a nursery has the same block in a task there, which waits until the connection is over.

The tasks are shielded: it is the end of the block that tells them to end. From then on they have a bound: when it is
reached, the connection is aborted. What is no `Exception` (Ctrl-C in a handler) cancels the block, and is raised in
its place.
"""

from __future__ import annotations

import logging
import math
import warnings
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVarTuple, Unpack

import trio

from trio_closeevents import CloseCause, CloseEvent, HandshakeError, WebSocket

from ._connecting import Connecting, prepare
from ._url import checked_protocols, parse_url

__all__ = ["Block"]

Arguments = TypeVarTuple("Arguments")

FIN_TIMEOUT: Final = 2.0  # seconds that the server has to end TCP, once the ending is decided; Chromium's
AT_ONCE: Final = 0.02  # seconds for the end of a generator: what goes without waiting
MARGIN: Final = 1.0  # seconds beyond the bound, which is what acts
ASKED_FOR: Final = frozenset(
    {CloseCause.EXIT, CloseCause.ERROR, CloseCause.CANCELLED, CloseCause.CLOSED, CloseCause.ABORTED}
)
NEVER_OPENED: Final = CloseEvent("close", code=1006, initiated_by="transport", cause=CloseCause.ABORTED)

logger = logging.getLogger("trio_closeevents.dom")
protected = trio.lowlevel.enable_ki_protection


class Lent(AbstractAsyncContextManager[WebSocket]):
    """The block of the core, which is left as another block was.

    Args:
        left_by: tells what has left that one.
    """

    def __init__(self, block: Connecting, left_by: Callable[[], BaseException | None]) -> None:
        self._block = block
        self._left_by = left_by

    async def __aenter__(self) -> WebSocket:
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        error = self._left_by() if error is None else error
        if error is None:
            await self._block.__aexit__(None, None, None)
        else:
            await self._block.__aexit__(type(error), error, error.__traceback__)


class Held(AbstractAsyncContextManager[None]):
    """The block of a socket that belongs to a nursery."""

    def __init__(self, block: Block) -> None:
        self._block = block

    async def __aenter__(self) -> None:
        await self._block.begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._block.end(kind, error, trace)


class Block(AbstractAsyncContextManager["Block"]):
    """What `WebSocket` and `WebSocketStream` have in common: one connection, and who owns it."""

    def __init__(self, url: str, protocols: Any, nursery: trio.Nursery | None, options: dict[str, Any]) -> None:
        self._place = parse_url(url)
        self._protocols = checked_protocols(protocols)
        self._connecting, self._options = prepare(self._place, self._protocols, options)
        if nursery is not None and not isinstance(nursery, trio.Nursery):
            raise TypeError(f"nursery must be a trio.Nursery, not {type(nursery).__name__}: {nursery!r}")
        self._core: WebSocket | None = None
        self._is_entered = self._is_held = nursery is not None
        self._is_wanted = True  # nobody has closed it while it was connecting
        self._left_by: BaseException | None = None
        self._failure: BaseException | None = None
        self._decided_at = math.inf
        self._patience_ends = math.inf  # when a peer that was asked to close has not answered
        self._opening = trio.CancelScope(shield=True)
        self._life = trio.CancelScope()  # of what is done while the connection is open
        self._bound = trio.CancelScope(shield=True)  # gets its deadline with the ending
        self._gone = trio.Event()
        self._tasks = 0
        self._idle = trio.Event()  # there are none
        self._handler_scopes: dict[trio.CancelScope, None] = {}
        self._are_handlers_over = False  # those that are still to come are cancelled too
        self._home: trio.Nursery | None = None
        if nursery is not None:
            nursery.start_soon(self._hold, name=repr(self))

    # -- what the two of them do differently ----------------------------------------------------------------------

    @abstractmethod
    def _opened(self, core: WebSocket) -> None:
        """The opening handshake is done."""

    @abstractmethod
    async def _live(self, core: WebSocket) -> None:
        """Work for the program until the connection ends. Cancelled when the block is left."""

    async def _linger(self, core: WebSocket) -> None:
        """Keep the connection, which has ended, for what is still to be had of it. Cancelled when the block is left."""

    @abstractmethod
    async def _flush(self) -> None:
        """Hand over what the program has sent; the bound, which may be reached, ends the connection."""

    @abstractmethod
    def _ended(self, event: CloseEvent, *, failed: bool) -> None:
        """The transport is gone.

        Args:
            failed: this is what a page calls an error.
        """

    # -- the block ------------------------------------------------------------------------------------------------

    @protected
    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError("this socket was opened already: every `async with`, and every nursery, needs its own")
        self._is_entered = True
        await self.begin()
        return self

    @protected
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GeneratorExit) and not self._is_in_own_task():
            self._abandon()
        else:
            await self.end(kind, error, trace)

    def _is_in_own_task(self) -> bool:
        try:
            return trio.lowlevel.current_task() is self._task
        except RuntimeError:  # not in a task at all, but where the garbage collector runs
            return False

    def _abandon(self) -> None:
        """Drop the connection, when the garbage collector ends the block; nobody can wait there."""
        self._is_wanted = False
        with suppress(RuntimeError):  # trio is not running any more
            if self._core is None:
                self._opening.cancel()
            else:
                self._core.abort()
        text = f"{self!r} was left by the garbage collector: use `async with aclosing(...)` round its generator"
        warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    @protected
    async def _hold(self) -> None:
        async with Held(self):
            await self._gone.wait()

    async def begin(self) -> None:
        """Begin to connect."""
        self._task = trio.lowlevel.current_task()
        self._manager = trio.open_nursery()
        self._home = await self._manager.__aenter__()
        self._body = trio.CancelScope()
        self._body.__enter__()
        self._spawn(self._run)

    async def end(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the connection as the closing contract says for a block that *error* leaves."""
        left_by = self._leave_body(kind, error, trace)
        self._leave(left_by or self._failure)
        interrupt = await self._wait_until_idle()
        self._home = None
        await self._manager.__aexit__(None, None, None)
        failure = interrupt or self._failure
        if failure is not None and left_by is not None:
            raise BaseExceptionGroup("both the block and a handler failed", [left_by, failure]) from None
        if failure is not None:
            raise_unchanged(failure)
        if left_by is None:
            await trio.lowlevel.checkpoint_if_cancelled()

    def _leave_body(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> BaseException | None:
        """Take the cancellation by a handler's failure out of *error*; return what is left."""
        try:
            return None if self._body.__exit__(kind, error, trace) else error
        except BaseException as rest:  # a group out of which it was taken, or the one that a group was reduced to
            return rest

    def _leave(self, left_by: BaseException | None) -> None:
        """Tell the tasks that the block is left."""
        self._left_by = left_by
        if isinstance(left_by, GeneratorExit):
            self._limit(AT_ONCE)
        elif left_by is None or isinstance(left_by, Exception):
            self._limit(self._options.close_timeout)
        else:
            self._limit(self._options.cancel_timeout)
        if self._core is None:
            self._give_up()
        self._life.cancel()
        if left_by is not None or not self._is_held:  # in a nursery, they go on when the connection is over
            self._cancel_handlers()

    def _give_up(self) -> None:
        """Stop connecting."""
        self._is_wanted = False
        self._opening.cancel()

    def _cancel_handlers(self) -> None:
        self._are_handlers_over = True
        for scope in self._handler_scopes:
            scope.cancel()

    def _ask(self, patience: float) -> None:
        """Note that the peer is asked to close now, and has *patience* seconds to answer."""
        self._patience_ends = min(self._patience_ends, trio.current_time() + patience)

    def _limit(self, seconds: float) -> None:
        """Let the connection be over in *seconds* from now at the latest."""
        self._ask(seconds)
        self._bound.deadline = min(self._bound.deadline, trio.current_time() + seconds)

    async def _wait_until_idle(self) -> KeyboardInterrupt | None:
        """Wait until no task is left; return what trio has delivered meanwhile."""
        interrupt: KeyboardInterrupt | None = None
        while self._tasks:
            try:
                try:
                    await self._idle.wait()
                except trio.Cancelled:  # the next checkpoint tells again
                    self._limit(self._options.cancel_timeout)
                    self._cancel_handlers()
                    bound = max(self._bound.deadline, trio.current_time()) + MARGIN
                    with trio.CancelScope(shield=True, deadline=bound):
                        await self._idle.wait()
            except KeyboardInterrupt as error:
                interrupt = error
                self._limit(0)
                self._cancel_handlers()
        return interrupt

    # -- the tasks ------------------------------------------------------------------------------------------------

    def _spawn(self, task: Callable[[Unpack[Arguments]], Awaitable[None]], *arguments: *Arguments) -> None:
        assert self._home is not None
        if not self._tasks:
            self._idle = trio.Event()
        self._tasks += 1
        self._home.start_soon(self._guard, task, arguments, name=f"{self!r} {getattr(task, '__name__', '')}")

    @protected
    async def _guard(self, task: Callable[..., Awaitable[None]], arguments: tuple[Any, ...]) -> None:
        """Run a task. What it raises is for the block to raise."""
        try:
            await task(*arguments)
        except trio.Cancelled:
            pass  # it was on its way out anyway, and so is the block, which is told by itself
        except BaseException as error:
            self._failure = self._failure or error
            self._body.cancel()
        finally:
            self._tasks -= 1
            if not self._tasks:
                self._idle.set()

    @protected
    async def _run(self) -> None:
        """Open the connection, use it, end it."""
        refused: HandshakeError | None = None
        try:
            if isinstance(self._connecting, ValueError):
                logger.error("no connection to %s: %s", self._place.origin, self._connecting)
                return
            with self._opening:
                try:
                    async with Lent(self._connecting, lambda: self._left_by) as self._core:
                        await self._be_open(self._core)
                except HandshakeError as error:
                    logger.info("%s", error)
                    refused = error
        finally:
            try:
                self._tell_the_end(refused)
            finally:
                self._gone.set()

    async def _be_open(self, core: WebSocket) -> None:
        if self._protocols and core.subprotocol is None:
            logger.info("no connection to %s: the server chose none of %r", self._place.origin, self._protocols)
            self._is_wanted = False
        if not self._is_wanted:
            core.abort()
            return
        self._spawn(self._enforce_bound, core)
        self._spawn(self._note_end, core)
        self._opened(core)
        with self._life:
            await self._live(core)
            await core.wait_closed()
            self._limit(FIN_TIMEOUT)
            await core.aclose()  # returns when TCP has ended
            await self._linger(core)
        await self._flush()

    @protected
    async def _enforce_bound(self, core: WebSocket) -> None:
        with self._bound:
            await self._gone.wait()
        core.abort()

    @protected
    async def _note_end(self, core: WebSocket) -> None:
        with trio.CancelScope(shield=True):  # every connection ends, within the bound
            await core.wait_closed()
        self._decided_at = trio.current_time()

    def _tell_the_end(self, refused: HandshakeError | None) -> None:
        event = None if self._core is None else self._core.close_event
        if refused is not None:
            event = refused.close_event
        if event is None or refused is not None or not self._is_wanted:
            self._ended(event or NEVER_OPENED, failed=True)
        else:
            self._ended(event, failed=self._has_failed(event))

    def _has_failed(self, event: CloseEvent) -> bool:
        """Tell whether this side had to fail the connection, or lost it (WHATWG WebSockets §4).

        A peer that was asked to close and is silent until the limit passes is no failure; one that hangs up is.
        """
        if event.was_clean or event.received is not None:
            return False
        return event.cause not in ASKED_FOR or self._decided_at < self._patience_ends

    @property
    def url(self) -> str:
        """The URL, as it was understood: with a scheme `ws:` or `wss:`, serialised as the web does."""
        return self._place.href


def raise_unchanged(error: BaseException) -> NoReturn:
    """Raise somebody else's exception with the `__context__` that it had."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
