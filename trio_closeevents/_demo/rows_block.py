"""Section 2: how the block ends decides what is sent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from trio_closeevents import ClosePolicy

from .act import in_generator
from .blocks import abort, aclose, be_cancelled, lag_and_be_cancelled, leave, throw
from .making import came_out, ends, make_rows
from .row import Ending, Expected, Role, Row
from .stage import play_accept, play_client
from .steps import echo, end, end_second, flood, read_close, script

__all__ = ["ROWS"]

ALL: Final[tuple[Role, ...]] = ("client", "server", "both")

rows = partial(make_rows, 2)
echo_close = script(read_close, echo, end)


def closed(
    frame: str, cause: str, *, code: int | None = None, reason: str = "", raised: str = "", logged: bool = False
) -> Callable[[Role], Expected]:
    """Expect that our Close was the first, and was answered with the same.

    Args:
        frame: what it says.
        code: the event's, if it is not the number in *frame*.
        raised: what left the block.
        logged: a server logs that, and does not let it out.
    """
    seen = int(frame[:4]) if code is None else code
    close = "Close" if code == 1005 else f"Close {frame}"

    def expected(role: Role) -> Expected:
        other = Ending(seen, "remote", "remote", True, sent=frame, received=frame, reason=reason)
        return Expected(
            event=Ending(seen, cause, "local", True, sent=frame, received=frame, reason=reason),
            other=other if role == "both" else None,
            travelled=(f"→ {close}", f"← {close}", *ends(role)),
            logged=(raised,) if logged and role == "server" else (),
            **came_out("server" if logged and role == "server" else "client", raised),
        )

    return expected


def aborted(role: Role) -> Expected:
    return Expected(
        event=Ending(1006, "aborted", "transport"),
        other=Ending(1006, "eof", "transport") if role == "both" else None,
        travelled=("→ FIN", "← FIN"),
    )


def flooded(role: Role) -> Expected:
    return Expected(
        event=Ending(1001, "cancelled", "local", True, sent="1001", received="1001"),
        travelled=("← Binary, on and on", "→ Close 1001", "← Close 1001", *ends(role)),
        raised="Cancelled",
        dropped="*",
    )


def generators() -> list[Row]:
    done = "an async generator holds the block, and is closed"
    expected = Expected(
        event=Ending(1006, "cancelled", "local", sent="1001"), travelled=("→ Close 1001", "→ FIN", "← FIN")
    )
    plays: dict[Role, Callable[..., Any]] = {"client": play_client, "server": play_accept}
    return [
        Row("end-generator", 2, role, done, partial(play, leave, end_second, enter=in_generator), expected)
        for role, play in plays.items()
    ]


ROWS: Final[list[Row]] = [
    *rows("end-return", "the block returns", leave, echo_close, closed("1000", "exit"), roles=ALL),
    *rows(
        "end-error",
        "ValueError leaves the block",
        throw(lambda: ValueError("a secret")),
        echo_close,
        closed("1011", "error", raised="ValueError", logged=True),
        roles=ALL,
    ),
    *rows(
        "end-error",
        "a group with an OSError deep inside leaves the block",
        throw(lambda: ExceptionGroup("outer", [ExceptionGroup("inner", [OSError("a secret")])])),
        echo_close,
        closed("1011", "error", raised="ExceptionGroup", logged=True),
        case="group",
    ),
    *rows(
        "end-error",
        "PermissionError leaves the block; the policy has 4403 for it",
        throw(PermissionError),
        echo_close,
        closed("4403 'forbidden'", "error", reason="forbidden", raised="PermissionError", logged=True),
        case="policy",
        policy=ClosePolicy({PermissionError: (4403, "forbidden")}),
    ),
    *rows(
        "end-cancelled",
        "the scope round the block is cancelled",
        be_cancelled,
        echo_close,
        closed("1001", "cancelled", raised="Cancelled"),
        roles=ALL,
    ),
    *rows(
        "end-cancelled",
        "the same, while the peer floods us",
        lag_and_be_cancelled,
        script(flood, echo, end),
        flooded,
        case="flood",
    ),
    *rows(
        "end-interrupt",
        "KeyboardInterrupt leaves the block",
        throw(KeyboardInterrupt),
        echo_close,
        closed("1001", "cancelled", raised="KeyboardInterrupt"),
        case="KeyboardInterrupt",
    ),
    *rows(
        "end-interrupt",
        "SystemExit leaves the block",
        throw(SystemExit),
        echo_close,
        closed("1001", "cancelled", raised="SystemExit"),
        case="SystemExit",
    ),
    *rows(
        "end-aclose",
        "aclose(4001, 'bye') inside",
        aclose(4001, "bye"),
        echo_close,
        closed("4001 'bye'", "closed", reason="bye"),
        roles=ALL,
    ),
    *rows(
        "end-aclose",
        "aclose(None) inside",
        aclose(None),
        echo_close,
        closed("an empty Close", "closed", code=1005),
        case="empty",
    ),
    *rows("end-abort", "abort() inside", abort, end_second, aborted, roles=ALL),
    *generators(),
]
