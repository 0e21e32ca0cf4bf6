"""Who events are dispatched to: `EventTarget`, its listeners, and `AbortSignal`, which takes them away (DOM §2.7, §3).

Theory. A listener is what it was added with: type, callback, and whether it captures. Whoever has no tree has one
target, whose capturing listeners come first. A handler attribute (`onclose`) is a listener too; it takes its place when
it is first set, and keeps it when it is set to another. Handlers are called one after the other, at once. One that is a
coroutine function is started as a task, in that order, and not waited for.
"""

# A controller is the one who aborts its signal.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, TypeAlias, cast

import trio

from ._events import Event, dispatch, trusted
from ._exceptions import AbortError, InvalidStateError
from ._webidl import dom_string

__all__ = ["AbortController", "AbortSignal", "EventHandler", "EventListener", "EventTarget", "Listener", "report"]

logger = logging.getLogger("trio_closeevents.dom")

EventHandler: TypeAlias = Callable[[Any], object]


class HandlesEvents(Protocol):
    """An object with a method that is called for events."""

    def handleEvent(self, event: Any, /) -> object: ...


EventListener: TypeAlias = EventHandler | HandlesEvents


class Listener:
    """One listener, as it was added."""

    def __init__(self, type: str, callback: EventListener, *, capture: bool, once: bool, passive: bool) -> None:
        self.type = type
        self.callback = callback
        self.capture = capture
        self.once = once
        self.passive = passive
        self.removed = False

    def is_like(self, type: str, callback: EventListener | None, capture: bool) -> bool:
        return self.type == type and self.callback == callback and self.capture == capture


@trio.lowlevel.disable_ki_protection
def unprotected(callback: EventHandler, event: Event) -> object:
    """Call a handler of the program, which Ctrl-C may interrupt anywhere."""
    return callback(event)


class EventTarget:
    """Something that events are dispatched to (DOM §2.7)."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._handlers: dict[str, EventHandler] = {}  # the attributes, by the type of their events

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} with {len(self._listeners)} listeners>"

    def addEventListener(
        self,
        type: str,
        callback: EventListener | None,
        options: Mapping[str, object] | bool | None = None,
        *,
        capture: bool = False,
        once: bool = False,
        passive: bool = False,
        signal: AbortSignal | None = None,
    ) -> None:
        """Call *callback* with each event of *type*: a function, a coroutine function, or an object with `handleEvent`.

        One that was added already, with the same *capture*, is not added again.

        Args:
            options: the keywords as a dict, as JavaScript has them; or *capture* alone.
            capture: be called before those who do not capture.
            once: be called for one event only.
            passive: `preventDefault()` in it has no effect.
            signal: takes the listener away when it is aborted.

        Raises:
            TypeError: *callback* cannot be called, or *signal* is no `AbortSignal`.
        """
        given = options if isinstance(options, Mapping) else {"capture": bool(options)}
        capture = bool(given.get("capture", False)) or capture
        aborting = given.get("signal", signal)
        if aborting is not None and not isinstance(aborting, AbortSignal):
            raise TypeError(f"signal must be an AbortSignal, not {aborting.__class__.__name__}: {aborting!r}")
        name = dom_string(type, "type")
        if callback is None or (aborting is not None and aborting.aborted):
            return
        if not callable(callback) and not callable(getattr(callback, "handleEvent", None)):
            raise TypeError(f"a listener must be callable, or have a method handleEvent, not {callback!r}")
        if any(each.is_like(name, callback, capture) for each in self._listeners):
            return
        once = bool(given.get("once", False)) or once
        passive = bool(given.get("passive", False)) or passive
        self._listeners.append(Listener(name, callback, capture=capture, once=once, passive=passive))
        if aborting is not None:
            aborting.algorithms.append(lambda: self.removeEventListener(name, callback, capture=capture))

    add_event_listener = addEventListener

    def removeEventListener(
        self,
        type: str,
        callback: EventListener | None,
        options: Mapping[str, object] | bool | None = None,
        *,
        capture: bool = False,
    ) -> None:
        """Take a listener away, even while its event is dispatched; nothing if there is none."""
        given = options if isinstance(options, Mapping) else {"capture": bool(options)}
        capture = bool(given.get("capture", False)) or capture
        name = dom_string(type, "type")
        for listener in [each for each in self._listeners if each.is_like(name, callback, capture)]:
            self._remove(listener)

    remove_event_listener = removeEventListener

    def _remove(self, listener: Listener) -> None:
        listener.removed = True
        self._listeners.remove(listener)

    def dispatchEvent(self, event: Event) -> bool:
        """Call the listeners for an event that was made by hand; tell whether none of them has canceled it.

        Raises:
            TypeError: *event* is no `Event`.
            InvalidStateError: it is being dispatched.
        """
        if not isinstance(event, Event):
            raise TypeError(f"event must be an Event, not {event.__class__.__name__}: {event!r}")
        if event.eventPhase != Event.NONE:
            raise InvalidStateError(f"{event!r} is being dispatched already")
        return self._dispatch(trusted(event, False))

    dispatch_event = dispatchEvent

    def _dispatch(self, event: Event) -> bool:
        return dispatch(event, self, self._listeners, call=self._call)

    def _call(self, listener: Listener, event: Event) -> None:
        """Call a listener. What it raises is logged: the next one has nothing to do with it."""
        if listener.once:
            self._remove(listener)
        callback = listener.callback
        handler = callback if callable(callback) else callback.handleEvent
        try:
            result = unprotected(handler, event)
            if inspect.iscoroutine(result):
                self._start(result, event)
        except Exception as error:
            report(handler, event, error)

    def _start(self, handler: Coroutine[Any, Any, object], event: Event) -> None:
        """Run what an async handler of *event* has returned, in a task."""
        handler.close()
        raise InvalidStateError(f"{handler!r} needs a nursery, and {self!r} has none (any more)")

    def _handler(self, type: str) -> EventHandler | None:
        """Return what the attribute for the events of *type* is set to."""
        return self._handlers.get(type)

    def _set_handler(self, type: str, handler: object) -> None:
        """Set the attribute; what cannot be called is `None` (HTML §8.1.8.1)."""
        place = next((each for each in self._listeners if isinstance(each, Attribute) and each.type == type), None)
        if callable(handler):
            self._handlers[type] = cast("EventHandler", handler)
            if place is None:
                self._listeners.append(Attribute(type, self._handlers))
        elif place is not None:
            del self._handlers[type]
            self._remove(place)


class Attribute(Listener):
    """The place of a handler attribute among the listeners."""

    def __init__(self, type: str, handlers: Mapping[str, EventHandler]) -> None:
        super().__init__(type, self._handle, capture=False, once=False, passive=False)
        self._handlers = handlers

    def _handle(self, event: Event) -> object:
        result = self._handlers[self.type](event)
        if result is False:  # HTML §8.1.8.1
            event.preventDefault()
        return result


def report(handler: object, event: Event, error: Exception) -> None:
    """Tell the log that a handler has raised."""
    logger.error("%r raised, handling %r", handler, event, exc_info=error)


class AbortSignal(EventTarget):
    """Tells that an `AbortController` was told to abort (DOM §3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self._reason: object = None
        self.algorithms: list[Callable[[], object]] = []  # called before the listeners; for this package alone

    def __repr__(self) -> str:
        return f"<AbortSignal{', aborted' if self.aborted else ''}>"

    @property
    def aborted(self) -> bool:
        """`abort()` was called."""
        return self._reason is not None

    @property
    def reason(self) -> Any:
        """What `abort()` was told; `None` before it."""
        return self._reason

    @property
    def onabort(self) -> EventHandler | None:
        """Is called with the event "abort"."""
        return self._handler("abort")

    @onabort.setter
    def onabort(self, handler: EventHandler | None) -> None:
        self._set_handler("abort", handler)

    def throwIfAborted(self) -> None:
        """Raise the reason, if it is aborted."""
        if self.aborted:
            raise self._reason if isinstance(self._reason, BaseException) else AbortError(repr(self._reason))

    throw_if_aborted = throwIfAborted

    def _abort(self, reason: object) -> None:
        if self.aborted:
            return
        self._reason = AbortError("aborted") if reason is None else reason
        for algorithm in self.algorithms:
            algorithm()
        self.algorithms.clear()
        self._dispatch(trusted(Event("abort")))


class AbortController:
    """Aborts what was given its `signal` (DOM §3.1)."""

    def __init__(self) -> None:
        self._signal: Final = AbortSignal()

    def __repr__(self) -> str:
        return f"<AbortController of {self._signal!r}>"

    @property
    def signal(self) -> AbortSignal:
        """What to hand to whoever is to be aborted."""
        return self._signal

    def abort(self, reason: object = None) -> None:
        """Abort; *reason* is an `AbortError` if it is missing. A second call does nothing."""
        self._signal._abort(reason)
