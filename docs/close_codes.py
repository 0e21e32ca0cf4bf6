"""Writes the tables of `codes.rst` out of what the library knows and does, so that the page cannot say otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from trio_closeevents import CloseCode
from trio_closeevents._cli.registry import RANGES, REGISTERED, Entry, explain
from trio_closeevents._life import END_OF_ITERATION

__all__ = ["ranges", "registered"]

# What says that there was no Close frame, or no code in it: how `receive` ends is not decided by looking at the code.
NEVER_OPENED: Final = ":exc:`~trio_closeevents.HandshakeError`"

BY_ITSELF: Final[Mapping[int, str]] = {
    CloseCode.GOING_AWAY: "when it goes",
    CloseCode.PROTOCOL_ERROR: "if we are wrong",
    CloseCode.NO_STATUS_RCVD: "`close()`, without a code",
}


def registered() -> str:
    """Return the table of all registered codes."""
    rows = [
        (
            f":ref:`{entry.code} <code-{entry.code}>`",
            entry.name,
            entry.senders,
            raised(entry.code),
            entry.retried,
            sent_by_page(entry),
            str(CloseCode.ABNORMAL_CLOSURE if entry.code == CloseCode.TLS_HANDSHAKE else entry.code),
        )
        for entry in REGISTERED.values()
    ]
    titles = ("code", "name", "who may send it", "`receive()` raises", "retried", "a page sends it", "a page shows")
    return table(titles, (8, 21, 11, 23, 12, 14, 11), rows)


def ranges() -> str:
    """Return the table of the ranges, for codes that are not registered."""
    rows = [(f"{first}–{last}", senders, yes(explain(last)), what) for first, last, senders, what in RANGES]
    return table(("codes", "who may send it", "`aclose` takes it", "what they are for"), (14, 16, 18, 52), rows)


def raised(code: int) -> str:
    """Return what `receive` raises when the peer closed with *code* first."""
    if code == CloseCode.TLS_HANDSHAKE:
        return NEVER_OPENED
    name = "RemoteClosed" if code in END_OF_ITERATION else "ConnectionBroken"
    return f":exc:`~trio_closeevents.{name}`"


def sent_by_page(entry: Entry) -> str:
    """Tell when a browser sends it: its scripts may close with 1000 and 3000-4999 alone (WHATWG WebSockets)."""
    if entry.code == CloseCode.NORMAL_CLOSURE or entry.code >= 3000:
        return "`close(code)`"
    return BY_ITSELF.get(entry.code, "no")


def yes(entry: Entry) -> str:
    return "yes" if entry.travels else "no: `ValueError`"


def table(titles: Iterable[str], widths: Iterable[int], rows: Iterable[Iterable[str]]) -> str:
    lines = [".. list-table::", "    :header-rows: 1", f"    :widths: {' '.join(map(str, widths))}", ""]
    for row in (titles, *rows):
        lines += [f"    {'* -' if column == 0 else '  -'} {cell}" for column, cell in enumerate(row)]
    return "\n".join([*lines, ""])
