"""The block that owns a connection: `async with ... as ws`.

Theory. The block begins by opening a nursery by hand and starting the connection's tasks in it. Leaving it runs the
ending, waits until those tasks are done, and only then leaves the nursery, with nothing to tell it. So the exception
that left the block never passes through the nursery: it goes on as it was, not wrapped and with no new context.
(Leaving the nursery while a task of ours still lives would, under an outer cancellation, raise a group.)
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType

import trio

from ._connection import WebSocket, life_of
from ._errors import HandshakeError, raise_unchanged, unwrapped
from ._observer import tell_unopened
from ._options import Options

__all__ = ["WebSocketBlock"]

protected = trio.lowlevel.enable_ki_protection


class WebSocketBlock(AbstractAsyncContextManager[WebSocket]):
    """Opens a connection, lends it to a block, and ends it as the closing contract says. For one use."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._websocket: WebSocket | None = None
        self._entered = False

    @abstractmethod
    async def _open(self) -> WebSocket:
        """Open a connection, and leave nothing behind if that fails. No checkpoint after the opening handshake."""

    @protected
    async def __aenter__(self) -> WebSocket:
        if self._entered:
            raise RuntimeError("this connection was opened already: every `async with` needs one of its own")
        self._entered = True
        try:
            self._websocket = websocket = await self._open()
        except HandshakeError as error:
            if self._options.observer is not None:
                tell_unopened(self._options.observer, error)
            raise
        self._task = trio.lowlevel.current_task()
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._life = life = life_of(websocket)
        if self._options.cancel_on_close:
            life.under_block = trio.CancelScope()
            life.under_block.__enter__()
        self._nursery.start_soon(life.run, name="trio_closeevents connection")
        return websocket

    @protected
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        websocket = self._websocket
        assert websocket is not None
        if isinstance(error, GeneratorExit) and not self._in_own_task():
            self._abandon(websocket, error)
            return False
        life = self._life
        left_by, absorbed = self._leave_scope(life.under_block, kind, error, trace)
        try:
            life.close_for(left_by)
            await life.see_it_through()
        except trio.Cancelled:
            if left_by is None:
                raise
            # The exception that left the block goes on. Its scope stays cancelled: the next checkpoint tells.
        finally:
            await self._leave_nursery(websocket)
        if left_by is None:
            await trio.lowlevel.checkpoint_if_cancelled()  # a cancellation that came in the last turns of the ending
        if left_by is not error and left_by is not None:
            raise_unchanged(left_by)  # a group out of which our own cancellation was taken
        if left_by is None and life.ended_under_block and (broken := life.broken()) is not None:
            raise broken from broken.__cause__
        return absorbed

    def _leave_scope(
        self,
        scope: trio.CancelScope | None,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> tuple[BaseException | None, bool]:
        """Take the cancellation by `cancel_on_close` out of *error*; return what is left, and whether nothing is."""
        if scope is None:
            return error, False
        try:
            absorbed = scope.__exit__(kind, error, trace)
        except BaseException as rest:  # a group out of which it was taken, or the one that a group was reduced to
            return rest, False
        return (None, True) if absorbed else (error, False)

    async def _leave_nursery(self, websocket: WebSocket) -> None:
        interrupt: BaseException | None = None
        while self._nursery.child_tasks:
            try:
                await trio.lowlevel.cancel_shielded_checkpoint()
            except KeyboardInterrupt as error:  # pragma: no cover  # a signal in the turn or two that this takes
                websocket.abort()
                interrupt = error
        try:
            await self._manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:  # Ctrl-C in its checkpoint, or out of `on_close`
            interrupt = unwrapped(group)
        if interrupt is not None:
            raise_unchanged(interrupt)

    def _in_own_task(self) -> bool:
        try:
            return trio.lowlevel.current_task() is self._task
        except RuntimeError:  # not in a task at all, but where the garbage collector runs
            return False

    def _abandon(self, websocket: WebSocket, error: BaseException) -> None:
        """Do what can be done without waiting, when the garbage collector ends the block."""
        with suppress(RuntimeError):  # trio is not running any more
            life_of(websocket).close_for(error)
        warnings.warn(
            f"{websocket!r} was left by the garbage collector: use `async with aclosing(...)` round the generator "
            f"that holds it",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )
