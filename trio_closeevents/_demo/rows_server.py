"""Section 7: the server's end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import trio

from trio_closeevents import ConnectionClosed, Server, WebSocket, serve

from .act import Act, Block, Script
from .blocks import read_to_the_end, stay, throw
from .making import Bounds, takes
from .row import AT_ONCE, Ending, Expected, Outcome, Row
from .stage import Direct, play_both, play_server, when_left
from .steps import close, drain, echo, end, read_close, say, script, text, wait_cue

__all__ = ["ROWS"]

Handler = Callable[[WebSocket], Awaitable[object]]

PEERS: Final = 3
SILENT_PEERS: Final = 8  # so many that one after the other would take longer than the row may
CANCEL_TIMEOUT: Final = 0.3  # seconds, for the rows that wait for it
GRACE: Final = 0.3

echo_close = script(read_close, echo, end)


# -- what is done in the server's own block ------------------------------------------------------------------------


def when_begun(then: Callable[[Server, Sequence[Act]], Any]) -> Direct:
    """Wait until all handlers have begun, then do something."""

    async def direct(server: Server, acts: Sequence[Act]) -> None:
        for act in acts:
            await act.begun.wait()
        await then(server, acts)

    return direct


async def be_cancelled(server: Server, acts: Sequence[Act]) -> None:
    acts[0].scope.cancel()
    await trio.sleep_forever()


async def return_at_once(server: Server, acts: Sequence[Act]) -> None:
    """Leave the server's block normally."""


def raise_error(error: type[BaseException]) -> Direct:
    async def direct(server: Server, acts: Sequence[Act]) -> None:
        raise error

    return direct


def aclose(code: int, reason: str, grace: float | None) -> Direct:
    async def direct(server: Server, acts: Sequence[Act]) -> None:
        await server.aclose(code, reason, grace)

    return direct


# -- other plays -----------------------------------------------------------------------------------------------------


async def aclose_server(act: Act) -> None:
    """From the client's block, which is of the same process: close the server, then read what comes."""
    assert act.server is not None
    await act.server.aclose(1012, "restart")
    await read_to_the_end(act)


async def play_serve() -> list[Outcome]:
    """Cancel `serve`, and nothing else."""
    serving = trio.CancelScope()

    @asynccontextmanager
    async def run(handler: Handler, host: str, port: int, **options: Any) -> AsyncGenerator[Server]:
        async def serve_in_scope(*, task_status: trio.TaskStatus[Server]) -> None:
            with serving:
                await serve(handler, host, port, task_status=task_status, **options)

        async with trio.open_nursery() as nursery:
            yield await nursery.start(serve_in_scope)

    async def cancel(server: Server, acts: Sequence[Act]) -> None:
        serving.cancel()

    return await play_server(*[(stay, echo_close)] * PEERS, direct=when_begun(cancel), run=run)


async def play_bystander() -> list[Outcome]:
    """Let one handler raise, and another one, which goes on; the `other` event is its."""

    async def direct(server: Server, acts: Sequence[Act]) -> None:
        failing, bystander = acts
        await bystander.begun.wait()
        await failing.left.wait()
        bystander.cue.set()
        await when_left(server, acts)

    failing, bystander = await play_server(
        (throw(lambda: ValueError("a secret")), echo_close),
        (read_to_the_end, script(wait_cue, say(text("still here")), say(close(1000)), read_close, end)),
        direct=direct,
    )
    return [replace(failing, other=bystander.event, messages=bystander.messages)]


async def play_interrupt(error: type[BaseException]) -> list[Outcome]:
    """Let one handler raise when two are at work."""

    async def interrupt(act: Act) -> None:
        await act.cue.wait()
        raise error

    async def direct(server: Server, acts: Sequence[Act]) -> None:
        acts[0].cue.set()
        await trio.sleep_forever()

    return await play_server((interrupt, echo_close), (stay, echo_close), direct=when_begun(direct))


async def read_in_a_group(act: Act) -> None:
    """Let `ConnectionClosed` out in a group, as a nursery does."""
    try:
        await read_to_the_end(act)
    except ConnectionClosed as error:
        raise ExceptionGroup("out of a nursery", [error]) from None


# -- rows -------------------------------------------------------------------------------------------------------------


def peers(
    id: str,
    case: str,
    done: str,
    expected: Expected,
    direct: Direct,
    block: Block = stay,
    peer: Script = echo_close,
    count: int = PEERS,
    **options: Any,
) -> Row:
    """Return a row with *count* connections, which all have to end as *expected*."""
    play = partial(play_server, *[(block, peer)] * count, direct=when_begun(direct), **options)
    return Row(id, 7, "server", done, play, expected, case)


def all_closed(
    code: int, cause: str, left_by: str, *, raised: str = "", reason: str = "", bounds: Bounds | None = None
) -> Expected:
    """Expect a Close from the server, the same for all, and that all have answered it."""
    frame = f"{code} {reason!r}" if reason else str(code)
    return Expected(
        event=Ending(code, cause, "local", True, sent=frame, received=frame, reason=reason),
        travelled=(f"→ Close {frame}", f"← Close {frame}", "→ FIN", "← FIN"),
        raised=raised,
        left_by=left_by,
        **(bounds or {"at_least": 0, "at_most": AT_ONCE}),
    )


SILENT: Final = Expected(
    event=Ending(1006, "cancelled", "local", sent="1001"),
    travelled=("→ Close 1001", "→ FIN"),
    raised="Cancelled",
    **takes(CANCEL_TIMEOUT),
)

ROWS: Final[list[Row]] = [
    Row(
        "server-cancelled",
        7,
        "server",
        f"serve() is cancelled with {PEERS} connections",
        play_serve,
        all_closed(1001, "cancelled", "Cancelled"),
        "serve",
    ),
    peers(
        "server-cancelled",
        "open_server",
        "the scope round open_server is cancelled",
        all_closed(1001, "cancelled", "Cancelled", raised="Cancelled"),
        be_cancelled,
    ),
    peers(
        "server-cancelled",
        "silent",
        f"the same, but none of {SILENT_PEERS} peers answers; cancel_timeout={CANCEL_TIMEOUT}",
        SILENT,
        be_cancelled,
        peer=drain,
        count=SILENT_PEERS,
        cancel_timeout=CANCEL_TIMEOUT,
    ),
    peers(
        "server-cancelled",
        "error",
        "open_server is left by RuntimeError",
        all_closed(1001, "cancelled", "Cancelled", raised="RuntimeError"),
        raise_error(RuntimeError),
    ),
    peers(
        "server-cancelled",
        "KeyboardInterrupt",
        "open_server is left by KeyboardInterrupt",
        all_closed(1001, "cancelled", "Cancelled", raised="KeyboardInterrupt"),
        raise_error(KeyboardInterrupt),
    ),
    peers(
        "server-aclose",
        "",
        "server.aclose(1012, 'restart'); the handlers finish",
        all_closed(1012, "closed", "LocallyClosed", reason="restart"),
        aclose(1012, "restart", None),
        read_to_the_end,
    ),
    peers(
        "server-aclose",
        "grace",
        f"server.aclose(grace={GRACE}); the handlers do not finish",
        all_closed(1001, "closed", "Cancelled", bounds=takes(GRACE)),
        aclose(1001, "", GRACE),
    ),
    peers(
        "server-aclose",
        "return",
        "open_server is left normally",
        all_closed(1001, "closed", "Cancelled"),
        return_at_once,
    ),
    Row(
        "server-aclose",
        7,
        "both",
        "server.aclose(1012, 'restart')",
        partial(play_both, aclose_server, read_to_the_end),
        Expected(
            event=Ending(
                1012, "remote", "remote", True, sent="1012 'restart'", received="1012 'restart'", reason="restart"
            ),
            other=Ending(
                1012, "closed", "local", True, sent="1012 'restart'", received="1012 'restart'", reason="restart"
            ),
            travelled=("← Close 1012 'restart'", "→ Close 1012 'restart'", "← FIN", "→ FIN"),
            raised="ConnectionBroken",
        ),
    ),
    Row(
        "server-handler-error",
        7,
        "server",
        "a handler raises ValueError, another goes on",
        play_bystander,
        Expected(
            event=Ending(1011, "error", "local", True, sent="1011", received="1011"),
            other=Ending(1000, "remote", "remote", True, sent="1000", received="1000"),
            travelled=("→ Close 1011", "← Close 1011", "→ FIN", "← FIN"),
            left_by="ValueError",
            logged=("ValueError",),
            messages=("still here",),
        ),
    ),
    *(
        Row(
            "server-handler-closed",
            7,
            "server",
            done,
            partial(play_server, (block, script(say(close(4000)), read_close, end))),
            Expected(
                event=Ending(4000, "remote", "remote", True, sent="4000", received="4000"),
                travelled=("← Close 4000", "→ Close 4000", "→ FIN", "← FIN"),
                left_by=left_by,
            ),
            case,
        )
        for case, done, block, left_by in (
            ("", "a handler lets ConnectionClosed out", read_to_the_end, "ConnectionBroken"),
            ("group", "the same in an exception group", read_in_a_group, "ExceptionGroup"),
        )
    ),
    *(
        Row(
            "server-interrupt",
            7,
            "server",
            f"a handler raises {error.__name__}, another is busy",
            partial(play_interrupt, error),
            all_closed(1001, "cancelled", "*", raised=error.__name__),
            error.__name__,
        )
        for error in (KeyboardInterrupt, SystemExit)
    ),
]
