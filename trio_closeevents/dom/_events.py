"""The events of the web platform: `Event`, `MessageEvent` and `CloseEvent` (DOM §2.2, HTML §9.1, WHATWG WebSockets §6).

Names are the web's; each has a second one in Python's spelling, made by one assignment.
"""

# To dispatch an event is to write its attributes, which programs may not.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict, TypeVar

from ._webidl import dictionary, dom_string, truncated, usv_string

if TYPE_CHECKING:
    import trio_closeevents

    from ._target import EventTarget, Listener

__all__ = [
    "CloseEvent",
    "CloseEventInit",
    "Event",
    "EventInit",
    "MessageEvent",
    "MessageEventInit",
    "close_event_of",
    "dispatch",
    "trusted",
]

AnyEvent = TypeVar("AnyEvent", bound="Event")

TIME_ORIGIN: Final = time.perf_counter()


class EventInit(TypedDict, total=False):
    """What an `Event` can be made with."""

    bubbles: bool
    cancelable: bool
    composed: bool


class MessageEventInit(EventInit, total=False):
    """What a `MessageEvent` can be made with."""

    data: object
    origin: str
    lastEventId: str


class CloseEventInit(EventInit, total=False):
    """What a `CloseEvent` can be made with."""

    wasClean: bool
    code: int
    reason: str


FLAGS: Final[dict[str, Callable[[Any], bool]]] = {"bubbles": bool, "cancelable": bool, "composed": bool}
MESSAGE_FIELDS: Final[dict[str, Callable[[Any], Any]]] = {
    "data": lambda value: value,
    "origin": lambda value: usv_string(value, "origin"),
    "lastEventId": lambda value: dom_string(value, "lastEventId"),
}
CLOSE_FIELDS: Final[dict[str, Callable[[Any], Any]]] = {
    "wasClean": bool,
    "code": lambda value: truncated(value, "code"),
    "reason": lambda value: usv_string(value, "reason"),
}


class Event:
    """Something that happened (DOM §2.2).

    Args:
        type: its name, as "close".
        init: `{"bubbles": …, "cancelable": …, "composed": …}`, all false if missing.

    Raises:
        TypeError: *init* is no dict.
    """

    NONE: ClassVar = 0
    CAPTURING_PHASE: ClassVar = 1
    AT_TARGET: ClassVar = 2
    BUBBLING_PHASE: ClassVar = 3

    def __init__(self, type: str, init: EventInit | None = None) -> None:
        self._type = dom_string(type, "type")
        flags = dictionary(init, "init", FLAGS)
        self._bubbles = flags.get("bubbles", False)
        self._cancelable = flags.get("cancelable", False)
        self._composed = flags.get("composed", False)
        self._time = (time.perf_counter() - TIME_ORIGIN) * 1000
        self._forget()
        self._target: EventTarget | None = None
        self._current: EventTarget | None = None
        self._is_dispatched = False  # now
        self._was_dispatched = False

    def _forget(self) -> None:
        self._is_trusted = False
        self._is_canceled = False
        self._is_passive = False  # the listener that runs has promised not to cancel
        self._is_stopped = False
        self._is_stopped_at_once = False

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} {self._type!r}>"

    @property
    def type(self) -> str:
        """Its name."""
        return self._type

    @property
    def target(self) -> EventTarget | None:
        """Whom it was dispatched to."""
        return self._target

    @property
    def currentTarget(self) -> EventTarget | None:
        """Whose listeners run now; `None` before and after that."""
        return self._current

    current_target = currentTarget

    @property
    def eventPhase(self) -> int:
        """`AT_TARGET` while listeners run, else `NONE`."""
        return Event.AT_TARGET if self._is_dispatched else Event.NONE

    event_phase = eventPhase

    @property
    def bubbles(self) -> bool:
        """It would go up a tree; there is none here."""
        return self._bubbles

    @property
    def cancelable(self) -> bool:
        """`preventDefault()` has an effect."""
        return self._cancelable

    @property
    def composed(self) -> bool:
        """It would leave a shadow tree; there is none here."""
        return self._composed

    @property
    def defaultPrevented(self) -> bool:
        """`preventDefault()` was called, and it is cancelable."""
        return self._is_canceled

    default_prevented = defaultPrevented

    @property
    def isTrusted(self) -> bool:
        """The library made it, not the program."""
        return self._is_trusted

    is_trusted = isTrusted

    @property
    def timeStamp(self) -> float:
        """When it was made, in milliseconds since this module was imported."""
        return self._time

    time_stamp = timeStamp

    def preventDefault(self) -> None:
        """Cancel it, if it is cancelable: `dispatchEvent` returns false then."""
        if self._cancelable and not self._is_passive:
            self._is_canceled = True

    prevent_default = preventDefault

    def stopPropagation(self) -> None:
        """Do not go on to another target; of the one there is here, listeners that capture come first."""
        self._is_stopped = True

    stop_propagation = stopPropagation

    def stopImmediatePropagation(self) -> None:
        """Call no further listener."""
        self._is_stopped = self._is_stopped_at_once = True

    stop_immediate_propagation = stopImmediatePropagation

    def composedPath(self) -> list[EventTarget]:
        """Return the targets whose listeners are called; empty before and after that."""
        return [] if self._current is None else [self._current]

    composed_path = composedPath


class MessageEvent(Event):
    """A message arrived (HTML §9.1).

    Args:
        type: "message".
        init: the fields of an `Event`; `data`, `origin` and `lastEventId` too.
    """

    def __init__(self, type: str, init: MessageEventInit | None = None) -> None:
        super().__init__(type, init)
        fields = dictionary(init, "init", MESSAGE_FIELDS)
        self._data = fields.get("data")
        self._origin: str = fields.get("origin", "")
        self._last_event_id: str = fields.get("lastEventId", "")

    @property
    def data(self) -> Any:
        """The message, a `str` or what `WebSocket.binaryType` says."""
        return self._data

    @property
    def origin(self) -> str:
        """Scheme, host and port of the server."""
        return self._origin

    @property
    def lastEventId(self) -> str:
        """Always `""` for a WebSocket."""
        return self._last_event_id

    last_event_id = lastEventId

    @property
    def source(self) -> None:
        """Always `None` for a WebSocket."""

    @property
    def ports(self) -> list[object]:
        """Always empty for a WebSocket."""
        return []


class CloseEvent(Event):
    """A connection ended (WHATWG WebSockets §6); not the core's frozen `trio_closeevents.CloseEvent`, which is `value`.

    Args:
        type: "close".
        init: the fields of an `Event`; `wasClean` (false), `code` (0) and `reason` ("") too. The code may be anything:
            a number that is no `unsigned short` becomes one, towards zero and modulo 65536.

    Raises:
        TypeError: *init* is no dict, or a field cannot be converted.
    """

    def __init__(self, type: str, init: CloseEventInit | None = None) -> None:
        super().__init__(type, init)
        fields = dictionary(init, "init", CLOSE_FIELDS)
        self._was_clean: bool = fields.get("wasClean", False)
        self._code: int = fields.get("code", 0)
        self._reason: str = fields.get("reason", "")
        self._value: trio_closeevents.CloseEvent | None = None

    def __repr__(self) -> str:
        return f"<CloseEvent {self._type!r} {self._code} {self._reason!r} {'' if self._was_clean else 'not '}clean>"

    @property
    def wasClean(self) -> bool:
        """Both Close frames have travelled."""
        return self._was_clean

    was_clean = wasClean

    @property
    def code(self) -> int:
        """The code of the server's Close frame; 1005 if that was empty, 1006 if none was accepted."""
        return self._code

    @property
    def reason(self) -> str:
        """The text of that frame."""
        return self._reason

    @property
    def value(self) -> trio_closeevents.CloseEvent | None:
        """The core's event, which tells also what was sent and why; `None` for an event made by hand."""
        return self._value

    def initCloseEvent(
        self, type: str, bubbles: bool, cancelable: bool, wasClean: bool, code: int, reason: str
    ) -> None:
        """Make it a different event, as old pages do. Deprecated: use the constructor.

        Does nothing once the event was dispatched.
        """
        text = "initCloseEvent() left the standard long ago: use CloseEvent(type, {...})"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        values = dom_string(type, "type"), truncated(code, "code"), usv_string(reason, "reason")
        if self._was_dispatched:
            return
        self._forget()
        self._value = None
        self._type, self._code, self._reason = values
        self._bubbles, self._cancelable, self._was_clean = bool(bubbles), bool(cancelable), bool(wasClean)

    init_close_event = initCloseEvent


def trusted(event: AnyEvent, is_trusted: bool = True) -> AnyEvent:
    """Mark *event* as one that the library has made, or as one of the program's."""
    event._is_trusted = is_trusted
    return event


def close_event_of(value: trio_closeevents.CloseEvent) -> CloseEvent:
    """Return the event that tells of *value* as a page would be told."""
    code = 1006 if value.received is None else value.code  # a TLS handshake that failed looks like any other failure
    event = CloseEvent("close", {"wasClean": value.was_clean, "code": code, "reason": value.reason})
    event._value = value
    return trusted(event)


def dispatch(
    event: Event,
    target: EventTarget,
    listeners: list[Listener],
    *,
    call: Callable[[Listener, Event], None],
) -> bool:
    """Call those of *listeners* that wait for such an event (DOM §2.9); tell whether it was not canceled.

    Args:
        call: calls one of them, and raises nothing of its own.
    """
    event._is_dispatched = event._was_dispatched = True
    event._target = event._current = target
    try:
        for capture in (True, False):
            for listener in [each for each in listeners if each.type == event.type and each.capture is capture]:
                if listener.removed:
                    continue
                event._is_passive = listener.passive
                call(listener, event)
                event._is_passive = False
                if event._is_stopped_at_once:
                    break
            if event._is_stopped:
                break
    finally:
        event._is_dispatched = event._is_passive = event._is_stopped = event._is_stopped_at_once = False
        event._current = None
    return not event._is_canceled
