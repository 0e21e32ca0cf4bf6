"""`close_on_signals`: a server that ends as its process is asked to.

Theory. The signals are received in a task of their own, which only says what is to be done; what waits for the server
is the caller. After the second signal the task is over, and with it the receiver: a third does what it would have done
without us.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from ._errors import raise_unchanged, unwrapped
from ._events import sendable_frame
from ._server import Server, checked_grace

__all__ = ["close_on_signals"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger("trio_closeevents")
protected = trio.lowlevel.enable_ki_protection


@protected
async def close_on_signals(
    server: Server,
    code: int | None = 1001,
    reason: str = "",
    grace: float | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> signal.Signals | None:
    """Wait for SIGTERM or SIGINT, then close *server*; returns when it is closed, whoever did it.

    The first signal is `server.aclose(code, reason, grace)`. The second, of either kind, is `server.aclose(grace=0)`:
    everything is gone within `cancel_timeout`. A third does what it does without this. If cancelled, it leaves the
    server and the signals as they are.

    In the block of `open_server`, awaiting it is all that is left to do; beside something else, it is a task:
    ``await nursery.start(close_on_signals, server)``. Only in the main thread, where Python has its signals. On Windows
    it is Ctrl-C that comes; nobody sends SIGTERM there.

    Args:
        code, reason, grace: as for `Server.aclose`; 1012 tells clients that the service is being restarted.

    Returns:
        The first signal; `None` if the server was closed without one.

    Raises:
        TypeError, ValueError: an argument is wrong. Nothing was closed.
        RuntimeError: this is not the main thread.
    """
    if not isinstance(server, Server):
        raise TypeError(f"server must be a Server, not {type(server).__name__}: {server!r}")
    sendable_frame(code, reason)
    if grace is not None:
        checked_grace(grace)
    received: list[signal.Signals] = []
    try:
        async with trio.open_nursery() as nursery:
            first, second = partial(server.aclose, code, reason, grace), partial(server.aclose, grace=0)
            await nursery.start(obey, nursery, received, first, second)
            task_status.started()
            await server.wait_closed()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise_unchanged(unwrapped(group))
    return received[0] if received else None


@protected
async def obey(
    nursery: trio.Nursery,
    received: list[signal.Signals],
    first: Callable[[], Awaitable[None]],
    second: Callable[[], Awaitable[None]],
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Start in *nursery* what each of two signals asks for, and leave the next to others."""
    with trio.open_signal_receiver(*SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            received.append(signal.Signals(number))
            if len(received) == 1:
                logger.info("%s: the server is closing; a second signal ends it at once", received[0].name)
                nursery.start_soon(first)
            else:
                logger.info("%s, the second signal: the server ends at once", received[1].name)
                nursery.start_soon(second)
                return
