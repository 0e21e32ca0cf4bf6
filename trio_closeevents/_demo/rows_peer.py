"""Section 3: what the peer does decides the event."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from .blocks import be_cancelled, leave, read_to_the_end, send_too_much
from .making import came_out, ends, make_rows, takes
from .row import Ending, Expected, Role, Row
from .steps import (
    Piece,
    close,
    drain,
    echo,
    end,
    end_second,
    fin,
    ping,
    pong,
    raw,
    read_close,
    reset,
    say,
    script,
    text,
    wait_closing,
    wait_left,
    wait_over,
    wait_sending,
)

__all__ = ["ROWS"]

CLOSE_TIMEOUT: Final = 0.4  # seconds, for the rows that wait for it
CANCEL_TIMEOUT: Final = 0.3

rows = partial(make_rows, 3)
garbage: Final[Piece] = raw(b"\xff" * 16)


def after_ours(event: Ending, *travelled: str, **more: Any) -> Callable[[Role], Expected]:
    """Expect *travelled* behind our Close; `...` stands for the ordinary end of the transport."""

    def expected(role: Role) -> Expected:
        last = ends(role) if travelled[-1] == "..." else travelled[-1:]
        return Expected(event=event, travelled=(f"→ Close {event.sent}", *travelled[:-1], *last), **more)

    return expected


def remote(frame: str, code: int, reason: str = "", *late: str) -> Callable[[Role], Expected]:
    """Expect that the peer's Close was the first, and that what it sent behind that changed nothing."""
    name = "Close" if code == 1005 else f"Close {frame}"
    event = Ending(code, "remote", "remote", True, sent=frame, received=frame, reason=reason)
    return lambda role: Expected(event=event, travelled=(f"← {name}", *late, f"→ {name}", *ends(role)))


def broken(role: Role) -> Expected:
    """Expect an ending that the program did not ask for, and that is no clean end of iteration."""
    return Expected(
        event=Ending(4000, "remote", "remote", True, sent="4000 'go'", received="4000 'go'", reason="go"),
        travelled=("← Close 4000 'go'", "→ Close 4000 'go'", *ends(role)),
        **came_out(role, "ConnectionBroken"),
    )


def returned_first(role: Role) -> Expected:
    return Expected(
        event=Ending(1000, "remote", "remote", True, sent="1000", received="1000"),
        other=Ending(1000, "exit", "local", True, sent="1000", received="1000"),
        travelled=("← Close 1000", "→ Close 1000", "← FIN", "→ FIN"),
    )


def gone(role: Role) -> Expected:
    return Expected(
        event=Ending(4000, "remote", "remote", received="4000"),
        travelled=("← Close 4000", "← RST"),
        **came_out(role, "ConnectionBroken"),
    )


def closing(code: int = 1006, *, received: str | None = None, reason: str = "", cause: str = "exit") -> Ending:
    """Return an event that our own Close began."""
    sent = "1000" if cause == "exit" else "1001"
    return Ending(code, cause, "local", received is not None, sent=sent, received=received, reason=reason)


ROWS: Final[list[Row]] = [
    *rows(
        "peer-answers",
        "our 1000 is answered with 4001",
        leave,
        script(read_close, say(close(4001, "mine")), end),
        after_ours(closing(4001, received="4001 'mine'", reason="mine"), "← Close 4001 'mine'", "..."),
    ),
    *rows(
        "peer-answers-empty",
        "our 1000 is answered with an empty Close",
        leave,
        script(read_close, say(close(None)), end),
        after_ours(closing(1005, received="an empty Close"), "← Close", "..."),
    ),
    *rows(
        "peer-first",
        "the peer closes with 1001",
        read_to_the_end,
        script(say(close(1001, "moving")), read_close, end),
        remote("1001 'moving'", 1001, "moving"),
    ),
    *rows(
        "peer-first",
        "the peer closes with an empty Close",
        read_to_the_end,
        script(say(close(None)), read_close, end),
        remote("an empty Close", 1005),
        case="empty",
    ),
    *rows(
        "peer-first",
        "the peer closes with 4000: not a clean end",
        read_to_the_end,
        script(say(close(4000, "go")), read_close, end),
        broken,
        case="broken",
    ),
    *rows(
        "peer-first",
        "the server's handler returns",
        read_to_the_end,
        script(),
        returned_first,
        roles=("both",),
        handler=leave,
    ),
    *rows(
        "peer-crossing",
        "the peer closes with 4001, our 1000 is under way",
        leave,
        script(wait_left, say(close(4001, "crossed")), read_close, end),
        lambda role: Expected(
            event=closing(4001, received="4001 'crossed'", reason="crossed"),
            travelled=("← Close 4001 'crossed'", "→ Close 1000", *ends(role)),
        ),
    ),
    *rows(
        "peer-silent",
        f"our Close gets no answer; close_timeout={CLOSE_TIMEOUT}",
        leave,
        drain,
        after_ours(closing(), "→ FIN", **takes(CLOSE_TIMEOUT)),
        close_timeout=CLOSE_TIMEOUT,
    ),
    *rows(
        "peer-silent",
        f"the same for a cancelled block; cancel_timeout={CANCEL_TIMEOUT}",
        be_cancelled,
        drain,
        after_ours(closing(cause="cancelled"), "→ FIN", raised="Cancelled", **takes(CANCEL_TIMEOUT)),
        case="cancelled",
        cancel_timeout=CANCEL_TIMEOUT,
    ),
    *rows(
        "peer-lost",
        "our Close is answered with FIN",
        leave,
        script(read_close, fin, drain),
        after_ours(closing(), "← FIN", "→ FIN"),
        case="FIN",
    ),
    *rows(
        "peer-lost",
        "our Close is answered with RST",
        leave,
        script(read_close, reset),
        after_ours(closing(), "← RST"),
        case="RST",
    ),
    *rows(
        "peer-close-and-gone",
        "the peer does not read, closes with 4000 and resets while we send 8 MB",
        send_too_much,
        script(wait_sending, say(close(4000)), wait_closing, reset),
        gone,
    ),
    *rows(
        "peer-data-after-ours",
        "a message, a Ping and a Pong come after our Close, then the answer",
        leave,
        script(read_close, say(text("late"), ping(b"?"), pong(b"!"), close(1000)), end),
        after_ours(
            closing(1000, received="1000"),
            "← Text b'late'",
            "← Ping b'?'",
            "← Pong b'!'",
            "← Close 1000",
            "...",
            dropped="1",
        ),
    ),
    *rows(
        "peer-garbage-after-ours",
        "broken framing comes after our Close",
        leave,
        script(read_close, say(garbage, label="broken framing"), end_second),
        after_ours(closing(), "← broken framing", "→ FIN", "← FIN"),
        case="framing",
    ),
    *rows(
        "peer-garbage-after-ours",
        "a Close with 1005 comes after our Close",
        leave,
        script(read_close, say(close(1005)), end_second),
        after_ours(closing(), "← Close 1005", "→ FIN", "← FIN"),
        case="close",
    ),
    *rows(
        "peer-after-its-own",
        "a message and broken framing come after the peer's own Close",
        read_to_the_end,
        script(say(close(1001), text("late")), say(garbage, label="broken framing"), read_close, end),
        remote("1001", 1001, "", "← Text b'late'", "← broken framing"),
    ),
    *rows(
        "peer-tcp-after-both",
        "the peer resets after both Close frames",
        leave,
        script(read_close, echo, reset),
        after_ours(closing(1000, received="1000"), "← Close 1000", "← RST"),
        case="reset",
    ),
    *rows(
        "peer-tcp-after-both",
        f"the peer leaves TCP open after both; close_timeout={CLOSE_TIMEOUT}",
        leave,
        script(read_close, echo, drain, wait_over),
        after_ours(closing(1000, received="1000"), "← Close 1000", "→ FIN", **takes(CLOSE_TIMEOUT)),
        case="open",
        close_timeout=CLOSE_TIMEOUT,
    ),
]
