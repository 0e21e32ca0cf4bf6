"""Every way of docs/closing.rst to end a connection that a server has, or can see of a page: one list.

What a page cannot do is not here: it cannot send a malformed frame, text that is not UTF-8, corrupt compressed data, an
illegal Close or one that answers ours with another code, and nothing behind its Close. So `fail-frame`, `fail-utf8`,
`fail-inflate`, `peer-garbage-after-ours` and `peer-after-its-own` are left to the tests with scripted peers, and
`fail-internal` needs a bug, which `test_endings.py` makes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from trio_closeevents import CloseEvent, CloseFrame, ClosePolicy

from .deeds import (
    FEW,
    MANY,
    be_cancelled,
    break_off,
    cancel_block,
    cancel_server,
    close_against_the_stream,
    close_and_be_cut,
    close_into_silence,
    close_server,
    close_with,
    closing,
    cross,
    cross_empty,
    cut,
    drop,
    exit_when_asked,
    fall_silent,
    leave,
    raise_,
    read_a_bit,
    read_all,
    read_one,
    read_slowly,
    return_at_once,
    send_many,
    send_too_much,
    send_while_we_close,
    stop_between_pieces,
    stop_half_way,
)
from .stage import Handler, Shown, Stage, wait_for_end

__all__ = ["CASES", "CODES", "LONGEST", "Case"]

Act: TypeAlias = Callable[[Stage], Awaitable[object]]
CODES: Final = (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999)
LONGEST: Final = "\N{EURO SIGN}" * 41  # 123 bytes
LOST: Final = Shown(1006, was_clean=False)


# -- our events --------------------------------------------------------------------------------------------------------


def event(code: int, reason: str, *, clean: bool, **more: Any) -> CloseEvent:
    return CloseEvent("close", code=code, reason=reason, was_clean=clean, **more)


def echoed(code: int | None, reason: str = "", cause: str = "closed") -> CloseEvent:
    """We close, and the page's browser answers with the same."""
    frame = CloseFrame(code, reason)
    code = 1005 if code is None else code
    return event(code, reason, clean=True, initiated_by="local", cause=cause, sent=frame, received=frame)


def answered(code: int | None, reason: str = "") -> CloseEvent:
    """The page closes, and we answer with the same."""
    frame = CloseFrame(code, reason)
    code = 1005 if code is None else code
    return event(code, reason, clean=True, initiated_by="remote", cause="remote", sent=frame, received=frame)


def unanswered(cause: str, code: int | None = None, reason: str = "") -> CloseEvent:
    """Nothing of the peer counts: failed or silent if we have sent *code*, lost or dropped if nothing."""
    sent = None if code is None else CloseFrame(code, reason)
    by = "local" if sent is not None else "transport"
    return event(1006, "", clean=False, initiated_by=by, cause=cause, sent=sent, received=None)


def crossed(ours: CloseFrame, theirs: CloseFrame) -> CloseEvent:
    """Both close."""
    code = 1005 if theirs.code is None else theirs.code
    return event(code, theirs.reason, clean=True, initiated_by="local", cause="closed", sent=ours, received=theirs)


@dataclass(frozen=True, slots=True)
class Case:
    """One ending.

    Attributes:
        name: the id of its row in docs/closing.rst; in brackets what is special.
        event: ours, whole.
        handler: the server's.
        script: what the page does once the connection is open.
        act: what happens on our side then.
        shown: what the page sees; `None`: the Close frame of our event's `sent`, cleanly.
        messages: how many messages the page gets.
        cable: whether the network between them can be disturbed.
        by_hand: whether the connection is an `accept` in a block of its own, and not a `Server`'s.
        raises: what leaves the server's block.
        on_tls: whether it is played over `wss:` too.
    """

    name: str
    event: CloseEvent
    handler: Handler = wait_for_end
    script: str = "true"
    act: Act = Stage.ended
    shown: Shown | None = None
    messages: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    cable: bool = False
    by_hand: bool = False
    raises: type[BaseException] | None = None
    on_tls: bool = True


POLICY: Final = ClosePolicy({PermissionError: (4403, "forbidden")}, on_exit=(4000, "done"))
STOPPED: Final = {"cancel_timeout": 0.3, "close_timeout": 0.3}
FILL_A_BIT: Final = f"for (let n = 0; n < {FEW}; n++) socket.send(`${{n}}`)"
FILL: Final = f"for (let n = 0; n < {MANY}; n++) socket.send('x'.repeat(1000) + n)"

CASES: Final[list[Case]] = [
    # section 2: how the block ends
    *(
        Case(f"end-aclose ({code}, {reason!r})", echoed(code, reason), close_with(code, reason), on_tls=code == 1013)
        for code in CODES
        for reason in ("", "bye ☃")
    ),
    Case("end-aclose (longest reason)", echoed(4000, LONGEST), close_with(4000, LONGEST)),
    Case("end-aclose (NUL in the reason)", echoed(4000, "a\0b"), close_with(4000, "a\0b")),
    Case("end-aclose (empty)", echoed(None), close_with(None)),
    Case("end-return", echoed(1000, cause="exit"), return_at_once),
    Case("end-return (policy)", echoed(4000, "done", "exit"), return_at_once, options={"policy": POLICY}),
    Case("end-return (unread messages)", echoed(1000, cause="exit"), read_one, FILL_A_BIT),
    Case(
        "end-return (the page still sends)",  # the browser calls that unclean: nobody has taken what it wanted to send
        echoed(1000, cause="exit"),
        read_a_bit,
        "for (let n = 0; n < 20; n++) socket.send(new Uint8Array(1e6))",
        shown=Shown(1000, was_clean=False),
    ),
    Case("end-return (messages to be written)", echoed(1000, cause="exit"), send_many, messages=MANY),
    Case("end-error", echoed(1011, cause="error"), raise_(ValueError("secret"))),
    Case("end-error (group)", echoed(1011, cause="error"), raise_(ExceptionGroup("all", [ValueError("secret")]))),
    Case(
        "end-error (policy)",
        echoed(4403, "forbidden", "error"),
        raise_(PermissionError("secret")),
        options={"policy": POLICY},
    ),
    Case("end-error (fragmented send)", echoed(1011, cause="error"), break_off),
    Case("end-cancelled", echoed(1001, cause="cancelled"), act=cancel_block, by_hand=True),
    Case("end-cancelled (fragmented send)", echoed(1001, cause="cancelled"), stop_between_pieces),
    Case(
        "end-cancelled (half a frame)",
        unanswered("cancelled"),
        send_too_much,
        act=stop_half_way,
        shown=LOST,
        options=STOPPED,
        cable=True,
        by_hand=True,
    ),
    Case("end-abort", unanswered("aborted"), drop, shown=LOST),
    # section 3: what the peer does
    *(
        Case(
            f"peer-first ({code}, {reason[:4]!r})",
            answered(code, reason),
            script=closing(code, reason),
            on_tls=code == 4999,
        )
        for code in (1000, 3000, 4999)
        for reason in ("", "bye ☃", LONGEST)
    ),
    Case("peer-first (empty)", answered(None), script="socket.close()"),
    Case("peer-first (messages queued)", answered(3000), read_slowly, f"{FILL}; socket.close(3000)"),
    Case("peer-first (we only read)", answered(3000), read_all, f"{FILL}; socket.close(3000)"),
    Case(
        "peer-crossing",
        crossed(CloseFrame(4001, "ours"), CloseFrame(3001, "mine")),
        act=cross,
        cable=True,
    ),
    Case(
        "peer-answers-empty (crossing)",
        crossed(CloseFrame(4001, "ours"), CloseFrame()),
        act=cross_empty,
        cable=True,
    ),
    Case("peer-data-after-ours", echoed(4001, "ours"), act=send_while_we_close, cable=True),
    Case(
        "peer-silent",
        unanswered("closed", 4001, "ours"),
        act=close_into_silence,
        shown=LOST,
        options=STOPPED,
        cable=True,
    ),
    Case("peer-lost", unanswered("closed", 4001, "ours"), act=close_and_be_cut, shown=LOST, cable=True),
    Case(
        "peer-close-and-gone",
        event(
            3001,
            "mine",
            clean=False,
            initiated_by="remote",
            cause="remote",
            sent=None,
            received=CloseFrame(3001, "mine"),
        ),
        send_too_much,
        act=close_against_the_stream,
        shown=LOST,
        cable=True,
    ),
    # section 4: this side fails the connection
    Case(
        "fail-size",
        unanswered("message_too_big", 1009, "message of 1001 bytes is over the limit of 1000"),
        read_all,
        "socket.send('x'.repeat(1001))",
        options={"max_message_size": 1000},
    ),
    Case(
        "fail-fragments",
        unanswered("message_too_big", 1009, "message of 3 fragments is over the limit of 2"),
        read_all,
        "socket.send(new Uint8Array(500000))",
        options={"max_fragments": 2},
    ),
    Case(
        "fail-keepalive",
        unanswered("keepalive_timeout", 1011, "keepalive timeout"),
        act=fall_silent,
        shown=LOST,
        options={"ping_interval": 0.1, "ping_timeout": 2},  # time for Pongs before the silence
        cable=True,
    ),
    # section 5: the transport died
    Case("transport-reset", unanswered("reset"), act=cut, shown=LOST, cable=True),
    # section 7: the server's end
    Case("server-cancelled", echoed(1001, cause="cancelled"), act=cancel_server),
    Case("server-aclose", echoed(1012, "new version"), act=close_server),
    Case("server-aclose (leaving the block)", echoed(1001), act=leave),
    Case("server-handler-error", echoed(1011, cause="error"), raise_(OSError("no space left"))),
    Case("server-handler-closed", answered(4000), read_all, "socket.close(4000)"),
    Case(
        "end-interrupt, server-interrupt",
        echoed(1001, cause="cancelled"),
        exit_when_asked,
        "socket.send('go')",
        act=be_cancelled,
        raises=SystemExit,
    ),
]
