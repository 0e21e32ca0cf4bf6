"""Exit statuses, by kind of ending."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from trio_closeevents import CloseCause, CloseCode, CloseEvent, HandshakeError

__all__ = ["MEANINGS", "Status", "status_of", "status_of_signal", "table_for_help"]


class Status(IntEnum):
    """What the process says when it exits. From 128 on as a shell has it: 128 and the number of a signal."""

    FINE = 0
    ERROR = 1
    USAGE = 2
    BROKEN = 3
    NEVER_OPENED = 4
    TLS = 5
    BAD_INPUT = 6
    INTERRUPTED = 130
    PIPE = 141


MEANINGS: Final[Mapping[Status, str]] = {
    Status.FINE: "closed cleanly: 1000, 1001, no code, or the code that we began with",
    Status.ERROR: "closed cleanly by the peer, with another code",
    Status.USAGE: "an option or argument is wrong; nothing was sent",
    Status.BROKEN: "lost, or failed: it did not end cleanly",
    Status.NEVER_OPENED: "never opened: refused, rejected, not in time",
    Status.TLS: "never opened: TLS failed",
    Status.BAD_INPUT: "closed cleanly, but a line of stdin could not be sent",
    Status.INTERRUPTED: "interrupted (Ctrl-C); 128 and its number for another signal",
    Status.PIPE: "nobody reads stdout any more",
}

FINE_CODES: Final = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD})


def status_of(outcome: CloseEvent | HandshakeError) -> Status:
    """Return the exit status for a connection that ended like this, or never was one."""
    if isinstance(outcome, HandshakeError):
        return Status.TLS if outcome.close_event.cause is CloseCause.TLS else Status.NEVER_OPENED
    if not outcome.was_clean:
        return Status.BROKEN
    is_our_own = outcome.initiated_by == "local" and outcome.sent == outcome.received
    return Status.FINE if outcome.code in FINE_CODES or is_our_own else Status.ERROR


def status_of_signal(number: int) -> int:
    return 128 + signal.Signals(number)


def table_for_help() -> str:
    """Return the statuses for the end of a help text; `\\b` keeps click from filling the lines."""
    return "\b\nExit status:\n" + "\n".join(f"  {status:>3}  {meaning}" for status, meaning in MEANINGS.items())
