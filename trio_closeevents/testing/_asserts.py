"""Assertions about endings, whose messages show what travelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trio_closeevents import CloseEvent, CloseFrame, WebSocket
from trio_closeevents.diagram import draw

from ._frames import Frame
from ._pair import diagram_of
from ._peer import ScriptedPeer

__all__ = ["assert_ended", "assert_peer_saw"]


class Anything:
    """Stands for a field that is not looked at, where `None` would be a value."""

    def __repr__(self) -> str:
        return "anything"


ANYTHING: Final = Anything()


def assert_ended(
    websocket: WebSocket,
    code: int,
    *,
    reason: str | None = None,
    cause: str | None = None,
    was_clean: bool | None = None,
    initiated_by: str | None = None,
    sent: CloseFrame | int | Anything | None = ANYTHING,
    received: CloseFrame | int | Anything | None = ANYTHING,
) -> CloseEvent:
    """Assert how *websocket* has ended; only what is given is compared.

    Args:
        code, reason, cause, was_clean, initiated_by: of its `CloseEvent`.
        sent, received: the Close frames of both sides; an `int` is a code with any reason, `None` is no frame.

    Returns:
        The event.

    Raises:
        AssertionError: it has not ended, or otherwise. On a connection of `open_websocket_pair` or
            `open_scripted_pair`, the message shows what travelled.
    """
    event = websocket.close_event
    if event is None:
        raise AssertionError(told(f"{websocket!r} has not ended", diagram_of(websocket)))
    expected = {
        "code": code,
        "reason": ANYTHING if reason is None else reason,
        "cause": ANYTHING if cause is None else cause,
        "was_clean": ANYTHING if was_clean is None else was_clean,
        "initiated_by": ANYTHING if initiated_by is None else initiated_by,
        "sent": sent,
        "received": received,
    }
    wrong = [
        f"{name} is {shown(getattr(event, name))}, not {shown(value)}"
        for name, value in expected.items()
        if value is not ANYTHING and not is_as_expected(getattr(event, name), value)
    ]
    if wrong:
        raise AssertionError(told(f"{websocket!r} ended otherwise: {'; '.join(wrong)}", diagram_of(websocket)))
    return event


def is_as_expected(got: object, expected: object) -> bool:
    if isinstance(got, CloseFrame) and isinstance(expected, int):
        return got.code == expected
    return got == expected


def shown(value: object) -> str:
    return str(value) if isinstance(value, CloseFrame | str) else repr(value)


def assert_peer_saw(peer: ScriptedPeer, *expected: Frame | str) -> None:
    """Assert which frames *peer* has received, and how the transport ended: all of them, in order.

    Args:
        expected: frames, or what `str()` says of them: ``"Text b'hi'"``, ``"Close 1001"``; ``"FIN"`` or ``"RST"`` at
            the end.

    Raises:
        AssertionError: it saw others; the message shows what travelled.
    """
    if peer.record != [str(each) for each in expected]:
        message = f"the peer saw {listed(peer.record)}, not {listed([str(each) for each in expected])}"
        raise AssertionError(told(message, draw(peer.log)))


def listed(record: Sequence[str]) -> str:
    return ", ".join(record) or "nothing"


def told(what: str, diagram: str | None) -> str:
    return what if diagram is None else f"{what}\n\n{diagram}"
