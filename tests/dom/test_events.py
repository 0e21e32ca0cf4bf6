"""Events, apart from who dispatches them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trio_closeevents import dom


def test_event_has_the_defaults_of_the_standard() -> None:
    """An event made by hand is not trusted, has no target, and tells when it was made."""
    event = dom.Event("x")

    assert (event.type, event.bubbles, event.cancelable, event.composed) == ("x", False, False, False)
    assert (event.target, event.currentTarget, event.eventPhase) == (None, None, dom.Event.NONE)
    assert (event.defaultPrevented, event.isTrusted, event.composedPath()) == (False, False, [])
    assert 0 < event.timeStamp < dom.Event("y").time_stamp
    assert repr(event) == "<Event 'x'>"


def test_event_takes_its_flags_from_a_dict() -> None:
    """Unknown members are ignored, `None` is the same as missing; a number is text."""
    init: Any = {"bubbles": 1, "cancelable": True, "composed": "yes", "other": 3}
    event = dom.Event("x", init)
    number: Any = 5

    assert (event.bubbles, event.cancelable, event.composed) == (True, True, True)
    assert dom.Event(number).type == "5"


@pytest.mark.parametrize("init", [3, "x", [], ("bubbles",)], ids=repr)
@pytest.mark.parametrize("kind", [dom.Event, dom.MessageEvent, dom.CloseEvent])
def test_init_that_is_no_dict_is_a_type_error(kind: type[dom.Event], init: Any) -> None:
    """The message names it."""
    with pytest.raises(TypeError, match="init must be a dict, not"):
        kind("close", init)


def test_event_without_a_type_is_a_type_error() -> None:
    """As any missing argument."""
    kind: Any = dom.CloseEvent
    with pytest.raises(TypeError):
        kind()


@pytest.mark.parametrize("cancelable", [True, False])
def test_only_a_cancelable_event_can_be_prevented(cancelable: bool) -> None:
    """`preventDefault` has no effect on others."""
    event = dom.Event("x", {"cancelable": cancelable})
    event.prevent_default()

    assert event.default_prevented is cancelable


def test_message_event_has_its_fields() -> None:
    """Those of HTML; a WebSocket has no source and no ports."""
    event = dom.MessageEvent("message", {"data": b"x", "origin": "ws://h", "lastEventId": "1"})

    assert (event.data, event.origin, event.last_event_id) == (b"x", "ws://h", "1")
    assert (event.source, event.ports) == (None, [])
    assert (dom.MessageEvent("message").data, dom.MessageEvent("message").origin) == (None, "")


def test_close_event_has_the_defaults_of_the_standard() -> None:
    """Not clean, code 0, no reason; `value` is the core's, which one made by hand has not."""
    event = dom.CloseEvent("close")

    assert (event.wasClean, event.code, event.reason, event.value) == (False, 0, "", None)
    assert isinstance(event, dom.Event)
    assert repr(event) == "<CloseEvent 'close' 0 '' not clean>"


@pytest.mark.parametrize(
    ("code", "expected"),
    [(-1, 65535), (65536, 0), (66536, 1000), (1000.9, 1000), ("1001", 1001), ("x", 0), (math.nan, 0), (10**400, 0)],
)
def test_close_event_converts_its_code(code: Any, expected: int) -> None:
    """`unsigned short` without clamp: towards zero, modulo 65536."""
    assert dom.CloseEvent("close", {"code": code}).code == expected


def test_close_event_converts_its_other_fields() -> None:
    """Truth of anything; text without lone surrogates; `None` is missing."""
    init: Any = {"wasClean": "yes", "reason": "a\ud800", "code": None, "bubbles": True}
    event = dom.CloseEvent("close", init)

    assert (event.was_clean, event.reason, event.code, event.bubbles) == (True, "a\ufffd", 0, True)


@pytest.mark.parametrize("init", [{"code": []}, {"reason": b"x"}])
def test_close_event_refuses_what_it_cannot_convert(init: Any) -> None:
    """As Web IDL refuses a symbol."""
    with pytest.raises(TypeError):
        dom.CloseEvent("close", init)


def test_close_event_cannot_be_written() -> None:
    """Read-only attributes raise AttributeError, where a page in sloppy mode would not notice."""
    event: Any = dom.CloseEvent("close")
    for name in ("code", "reason", "wasClean", "was_clean", "type", "target", "isTrusted", "value"):
        with pytest.raises(AttributeError):
            setattr(event, name, 1)


def test_init_close_event_is_deprecated_and_works() -> None:
    """Old pages make an event anew by it, with the conversions of the constructor."""
    event = dom.CloseEvent("close", {"code": 1000, "wasClean": True})
    arguments: Any = ("late", 1, "x", 0, 66536, "why")
    with pytest.deprecated_call(match=r"use CloseEvent\(type"):
        event.initCloseEvent(*arguments)

    assert (event.type, event.bubbles, event.cancelable) == ("late", True, True)
    assert (event.wasClean, event.code, event.reason) == (False, 1000, "why")


def test_init_close_event_does_nothing_once_dispatched() -> None:
    """Not while listeners run, and not after that."""
    event = dom.CloseEvent("close", {"code": 1000})
    dom.EventTarget().dispatchEvent(event)
    with pytest.deprecated_call():
        event.init_close_event("other", True, True, True, 1, "x")

    assert (event.type, event.bubbles, event.code, event.reason) == ("close", False, 1000, "")


def test_init_close_event_wants_all_its_arguments() -> None:
    """Too few are a TypeError, and change nothing."""
    event: Any = dom.CloseEvent("close", {"code": 1000})
    with pytest.raises(TypeError):
        event.initCloseEvent("close", False, False, True, 1)

    assert event.code == 1000
