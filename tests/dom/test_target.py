"""`EventTarget`: who is called, in which order, and what an `AbortSignal` does."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from trio_closeevents import dom
from trio_closeevents.dom._target import EventHandler


class Recorder:
    """Makes listeners that note that they were called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.target = dom.EventTarget()

    def listener(self, name: str, then: EventHandler = lambda _: None) -> EventHandler:
        def note(event: dom.Event) -> object:
            self.calls.append(name)
            return then(event)

        return note

    def dispatch(self, *, cancelable: bool = False) -> bool:
        return self.target.dispatchEvent(dom.Event("x", {"cancelable": cancelable}))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_listeners_are_called_in_order(recorder: Recorder) -> None:
    """Capturing ones first; one that is added twice is called once; other types are not called."""
    a, b, c = (recorder.listener(name) for name in "abc")
    recorder.target.addEventListener("x", a)
    recorder.target.addEventListener("x", b, True)
    recorder.target.addEventListener("x", a)
    recorder.target.add_event_listener("x", c, {"capture": False})
    recorder.target.addEventListener("y", b)
    recorder.target.addEventListener("x", None)

    assert recorder.dispatch()
    assert recorder.calls == ["b", "a", "c"]


def test_event_tells_where_it_is(recorder: Recorder) -> None:
    """Target, current target and phase are set while listeners run; afterwards only the target is."""
    seen: list[Any] = []
    event = dom.Event("x")
    recorder.target.addEventListener(
        "x", lambda it: seen.append((it.target, it.current_target, it.event_phase, it.composed_path()))
    )
    recorder.target.dispatch_event(event)

    assert seen == [(recorder.target, recorder.target, dom.Event.AT_TARGET, [recorder.target])]
    assert (event.target, event.currentTarget, event.eventPhase) == (recorder.target, None, 0)


def test_object_with_handle_event_is_a_listener(recorder: Recorder) -> None:
    """It need not be callable; what is neither is refused."""

    class Handles:
        def handleEvent(self, event: dom.Event, /) -> None:
            recorder.calls.append(event.type)

    recorder.target.addEventListener("x", Handles())
    recorder.dispatch()
    wrong: Any = 3

    assert recorder.calls == ["x"]
    with pytest.raises(TypeError, match="a listener must be callable, or have a method handleEvent, not 3"):
        recorder.target.addEventListener("x", wrong)


def test_once_is_called_once(recorder: Recorder) -> None:
    """And is gone before it is called, so that it may dispatch the like."""
    recorder.target.addEventListener("x", recorder.listener("a", lambda _: recorder.dispatch()), once=True)
    recorder.target.addEventListener("x", recorder.listener("b"), {"once": True})
    recorder.dispatch()
    recorder.dispatch()

    assert recorder.calls == ["a", "b"]


def test_listener_can_be_removed_while_it_waits(recorder: Recorder) -> None:
    """One that is removed before its turn is not called; one that is added is called from the next event on."""
    b, c = recorder.listener("b"), recorder.listener("c")

    def change(_: dom.Event) -> None:
        recorder.target.removeEventListener("x", b)
        recorder.target.addEventListener("x", c)

    recorder.target.addEventListener("x", recorder.listener("a", change))
    recorder.target.addEventListener("x", b)
    recorder.dispatch()
    assert recorder.calls == ["a"]
    recorder.dispatch()
    assert recorder.calls == ["a", "a", "c"]


def test_removing_needs_the_same_capture(recorder: Recorder) -> None:
    """Type, callback and capture together are a listener; removing what is not there is fine."""
    a = recorder.listener("a")
    recorder.target.addEventListener("x", a, capture=True)
    recorder.target.remove_event_listener("x", a)
    recorder.dispatch()
    recorder.target.removeEventListener("x", a, {"capture": True})
    recorder.target.removeEventListener("x", a, capture=True)
    recorder.dispatch()

    assert recorder.calls == ["a"]


def test_propagation_can_be_stopped(recorder: Recorder) -> None:
    """At once: nobody else is called. Otherwise the other listeners of the same phase are."""
    recorder.target.addEventListener("x", recorder.listener("a", lambda it: it.stop_propagation()), capture=True)
    recorder.target.addEventListener("x", recorder.listener("b"), capture=True)
    recorder.target.addEventListener("x", recorder.listener("c"))
    recorder.dispatch()
    assert recorder.calls == ["a", "b"]

    stopping = dom.EventTarget()
    stopping.addEventListener("x", recorder.listener("d", lambda it: it.stopImmediatePropagation()))
    stopping.addEventListener("x", recorder.listener("e"))
    stopping.dispatchEvent(dom.Event("x"))
    assert recorder.calls == ["a", "b", "d"]


def test_dispatch_tells_whether_it_was_canceled(recorder: Recorder) -> None:
    """By a listener that is not passive, if the event can be."""
    recorder.target.addEventListener("x", lambda event: event.preventDefault(), passive=True)
    assert recorder.dispatch(cancelable=True)
    recorder.target.addEventListener("x", lambda event: event.preventDefault())
    assert recorder.dispatch()
    assert not recorder.dispatch(cancelable=True)


def test_event_cannot_be_dispatched_twice_at_a_time(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """`InvalidStateError`; what is no event is a TypeError."""
    event = dom.Event("x")
    recorder.target.addEventListener("x", recorder.target.dispatchEvent)
    recorder.target.dispatchEvent(event)
    wrong: Any = "x"

    assert "is being dispatched already" in caplog.text
    with pytest.raises(TypeError, match="event must be an Event, not str"):
        recorder.target.dispatchEvent(wrong)


def test_what_a_listener_raises_is_logged(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback, on the logger of this package; the next one is called."""
    recorder.target.addEventListener("x", lambda _: 1 / 0)
    recorder.target.addEventListener("x", recorder.listener("b"))
    recorder.dispatch()

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("trio_closeevents.dom", logging.ERROR)
    assert "ZeroDivisionError" in caplog.text
    assert recorder.calls == ["b"]


def test_what_is_no_exception_goes_on(recorder: Recorder) -> None:
    """Ctrl-C is not for the log. The event can be dispatched again."""

    def interrupt(_: dom.Event) -> None:
        raise KeyboardInterrupt

    event = dom.Event("x")
    recorder.target.addEventListener("x", interrupt, once=True)
    with pytest.raises(KeyboardInterrupt):
        recorder.target.dispatchEvent(event)
    assert recorder.target.dispatchEvent(event)


def test_async_listener_needs_a_nursery(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """A target that has none says so in the log; nothing is left that was never awaited."""

    async def handle(_: dom.Event) -> None:
        raise AssertionError

    recorder.target.addEventListener("x", handle)
    recorder.dispatch()

    assert "has none (any more)" in caplog.text


def test_signal_takes_listeners_away(recorder: Recorder) -> None:
    """When it is aborted; one that was aborted before adds none. Only an `AbortSignal` is a signal."""
    controller = dom.AbortController()
    recorder.target.addEventListener("x", recorder.listener("a"), signal=controller.signal)
    recorder.target.addEventListener("x", recorder.listener("b"), {"signal": controller.signal})
    recorder.dispatch()
    controller.abort()
    recorder.dispatch()
    recorder.target.addEventListener("x", recorder.listener("c"), signal=controller.signal)
    recorder.dispatch()
    wrong: Any = 3

    assert recorder.calls == ["a", "b"]
    with pytest.raises(TypeError, match="signal must be an AbortSignal, not int: 3"):
        recorder.target.addEventListener("x", print, signal=wrong)


def test_signal_tells_that_it_was_aborted() -> None:
    """Once: by its attributes, by an exception, and by an event."""
    controller = dom.AbortController()
    signal = controller.signal
    seen: list[dom.Event] = []
    signal.onabort = seen.append
    signal.throwIfAborted()
    assert (signal.aborted, signal.reason, signal.onabort) == (False, None, seen.append)
    controller.abort()
    controller.abort("late")

    assert signal.aborted
    assert [(event.type, event.isTrusted) for event in seen] == [("abort", True)]
    with pytest.raises(dom.AbortError):
        signal.throw_if_aborted()


@pytest.mark.parametrize(("reason", "raised"), [(ValueError("why"), ValueError), ("why", dom.AbortError)])
def test_signal_raises_its_reason(reason: object, raised: type[Exception]) -> None:
    """What is no exception is told by an `AbortError`."""
    controller = dom.AbortController()
    controller.abort(reason)

    assert controller.signal.reason is reason
    with pytest.raises(raised, match="why"):
        controller.signal.throwIfAborted()
