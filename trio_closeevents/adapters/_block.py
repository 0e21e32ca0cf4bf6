"""The block that ends a connection of `trio_websocket`: `async with from_trio_websocket(connection) as ws`.

Theory. The nursery for the tasks of the ending is opened by hand, and left when none of them lives any more, with
nothing to tell it. So the exception that leaves the block never passes through the nursery: it goes on as it was.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from trio_closeevents import Options

from ._ending import Ending
from ._websocket import AdaptedWebSocket

if TYPE_CHECKING:
    from trio_websocket import WebSocketConnection

__all__ = ["AdaptedBlock"]

protected = trio.lowlevel.enable_ki_protection


class AdaptedBlock(AbstractAsyncContextManager[AdaptedWebSocket, None]):
    """Lends a connection to a block, and ends it as the closing contract says. For one use."""

    def __init__(self, connection: WebSocketConnection, options: Options) -> None:
        self._ending = Ending(connection, options)
        self._websocket = AdaptedWebSocket(connection, self._ending)
        self._task: trio.lowlevel.Task | None = None

    @protected
    async def __aenter__(self) -> AdaptedWebSocket:
        if self._task is not None:
            raise RuntimeError("this block was entered already: every `async with` needs one of its own")
        self._task = trio.lowlevel.current_task()
        self._manager = trio.open_nursery()
        self._ending.nursery = await self._manager.__aenter__()
        return self._websocket

    @protected
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GeneratorExit) and not self._is_in_own_task():
            warnings.warn(
                f"{self._websocket!r} was left by the garbage collector: use `async with aclosing(...)` round the "
                f"generator that holds it",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            return
        self._ending.begin_for(error)
        try:
            await self._ending.see_it_through()
        except trio.Cancelled:
            if error is None:
                raise
            # The exception that left the block goes on. Its scope stays cancelled: the next checkpoint tells.
        finally:
            await self._leave_nursery()
        if error is None:
            await trio.lowlevel.checkpoint_if_cancelled()  # a cancellation that came in the last turns of the ending

    async def _leave_nursery(self) -> None:
        while self._ending.nursery.child_tasks:
            await trio.lowlevel.cancel_shielded_checkpoint()
        await self._manager.__aexit__(None, None, None)

    def _is_in_own_task(self) -> bool:
        try:
            return trio.lowlevel.current_task() is self._task
        except RuntimeError:  # not in a task at all, but where the garbage collector runs
            return False
