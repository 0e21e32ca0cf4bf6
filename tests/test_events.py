"""The values that tell how a connection ended."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import pickle
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_closeevents import CloseCause, CloseCode, CloseEvent, CloseFrame, describe, is_sendable
from trio_closeevents._events import MAX_REASON_BYTES, sendable_frame

# https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number
REGISTRY: Final = {
    "NORMAL_CLOSURE": (1000, "normal closure"),
    "GOING_AWAY": (1001, "going away"),
    "PROTOCOL_ERROR": (1002, "protocol error"),
    "UNSUPPORTED_DATA": (1003, "unsupported data"),
    "NO_STATUS_RCVD": (1005, "no status received"),
    "ABNORMAL_CLOSURE": (1006, "abnormal closure"),
    "INVALID_FRAME_PAYLOAD_DATA": (1007, "invalid frame payload data"),
    "POLICY_VIOLATION": (1008, "policy violation"),
    "MESSAGE_TOO_BIG": (1009, "message too big"),
    "MANDATORY_EXT": (1010, "mandatory extension"),
    "INTERNAL_ERROR": (1011, "internal error"),
    "SERVICE_RESTART": (1012, "service restart"),
    "TRY_AGAIN_LATER": (1013, "try again later"),
    "BAD_GATEWAY": (1014, "bad gateway"),
    "TLS_HANDSHAKE": (1015, "TLS handshake"),
    "UNAUTHORIZED": (3000, "unauthorized"),
    "FORBIDDEN": (3003, "forbidden"),
    "TIMEOUT": (3008, "timeout"),
}

# The unregistered codes, from the first to the last of each range.
RANGES: Final = [
    (0, 999, "not used"),
    (1004, 1004, "reserved"),
    (1016, 1999, "reserved for the WebSocket standard"),
    (2000, 2999, "reserved for extensions"),
    (3000, 3999, "libraries and frameworks, registered"),
    (4000, 4999, "applications, private use"),
    (5000, 65535, "no close code"),
]

SENDABLE: Final = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}

CANCELLED: Final = CloseEvent(
    "close",
    code=1001,
    was_clean=True,
    initiated_by="local",
    cause=CloseCause.CANCELLED,
    sent=CloseFrame(1001),
    received=CloseFrame(1001),
)
EVENTS: Final = [
    CANCELLED,
    CloseEvent("close"),
    CloseEvent("close", code=1006, initiated_by="transport", cause=CloseCause.EOF),
    CloseEvent(
        "close",
        code=4000,
        reason="bye, \u00e4 \U0001f600 'x' \"y\"",
        initiated_by="remote",
        cause=CloseCause.REMOTE,
        sent=CloseFrame(),
        received=CloseFrame(4000, "bye, \u00e4 \U0001f600 'x' \"y\""),
    ),
]
FRAMES: Final = [CloseFrame(), CloseFrame(1000), CloseFrame(4999, "\u00e4")]

COPIES: Final[list[Callable[[Any], Any]]] = [
    copy.copy,
    copy.deepcopy,
    dataclasses.replace,
    *(lambda value, n=n: pickle.loads(pickle.dumps(value, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)),
]


# -- close codes -----------------------------------------------------------------------------------------------------


def test_close_code_has_every_name_and_number_of_the_registry() -> None:
    """`CloseCode` is IANA's registry, name by name and number by number, and nothing else."""
    assert {code.name: int(code) for code in CloseCode} == {name: number for name, (number, _) in REGISTRY.items()}


def test_close_code_is_an_int() -> None:
    """A `CloseCode` can be used wherever a number can, JSON included."""
    assert int(CloseCode.GOING_AWAY) == 1001
    assert {1001: "x"}[CloseCode.GOING_AWAY] == "x"
    assert json.dumps(CloseCode.GOING_AWAY) == "1001"
    assert f"{CloseCode.GOING_AWAY}" == "1001"


def test_describe_tells_the_meaning_of_every_code() -> None:
    """For each integer 0-65535: what the registry says, or the range that it falls into, to its very ends."""
    meanings = dict(REGISTRY.values())
    for first, last, meaning in RANGES:
        for code in range(first, last + 1):
            meanings.setdefault(code, meaning)

    assert len(meanings) == 65536
    assert {code: describe(code) for code in range(65536)} == meanings


@pytest.mark.parametrize("code", [-1, 65536, 70000])
def test_describe_refuses_what_two_bytes_cannot_hold(code: int) -> None:
    """A number that no Close frame could carry is a `ValueError` that names the number and the range."""
    with pytest.raises(ValueError, match=rf"close code {code} .*0-65535"):
        describe(code)


@pytest.mark.parametrize("code", [True, "1000", 1000.0, None, b"1000"])
def test_describe_refuses_what_is_no_integer(code: Any) -> None:
    """Anything but an integer is a `TypeError` that names the value and its type; a bool is no code either."""
    with pytest.raises(TypeError, match=f"must be an int, not {type(code).__name__}: {code!r}"):
        describe(code)


def test_is_sendable_for_every_code() -> None:
    """Of all integers 0-65535, exactly 1000-1003, 1007-1014 and 3000-4999 may travel in a Close frame."""
    assert {code for code in range(65536) if is_sendable(code)} == SENDABLE


@pytest.mark.parametrize("code", [-1, -1000, 65536, 65536 + 1000, 10**30])
def test_is_sendable_outside_two_bytes_is_false(code: int) -> None:
    """A number that does not fit into a Close frame is not sendable; asking is no error."""
    assert is_sendable(code) is False


# -- what somebody wants to send -------------------------------------------------------------------------------------


def test_sendable_frame_for_every_code_agrees_with_is_sendable() -> None:
    """Each sendable code makes a frame of that code; every other is a `ValueError`."""
    sent = set()
    for code in range(65536):
        try:
            sent.add(sendable_frame(code).code)
        except ValueError as error:
            assert str(error).startswith(f"close code {code} ({describe(code)}) may not be sent")  # noqa: PT017

    assert sent == SENDABLE


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535, 70000, -1])
def test_sendable_frame_with_a_code_that_may_not_be_sent_names_value_and_rule(code: int) -> None:
    """The error has the code, and the codes that would do."""
    with pytest.raises(ValueError, match=rf"close code {code}\b.* use 1000-1003, 1007-1014 or 3000-4999"):
        sendable_frame(code, "reason")


@pytest.mark.parametrize("code", [True, False, "1000", 1000.0, b"\x03\xe8", (1000,)])
def test_sendable_frame_with_a_code_of_a_wrong_type_names_value_and_type(code: Any) -> None:
    """A code that is no integer is a `TypeError`, even if it is equal to one that may be sent."""
    with pytest.raises(TypeError) as caught:
        sendable_frame(code)

    assert f"must be an int or None, not {type(code).__name__}: {code!r}" in str(caught.value)


@pytest.mark.parametrize("reason", [None, b"bye", 1000])
def test_sendable_frame_with_a_reason_of_a_wrong_type_names_value_and_type(reason: Any) -> None:
    """A reason that is no `str` is a `TypeError`, with or without a code."""
    for code in (1000, None):
        with pytest.raises(TypeError, match=f"must be a str, not {type(reason).__name__}: {reason!r}"):
            sendable_frame(code, reason)


def test_sendable_frame_turns_a_member_into_its_number() -> None:
    """`CloseCode.GOING_AWAY` and 1001 make the same frame, which holds a plain `int`."""
    frame = sendable_frame(CloseCode.GOING_AWAY, "x")

    assert frame == CloseFrame(1001, "x")
    assert type(frame.code) is int


@pytest.mark.parametrize("reason", ["x" * 123, "\u00e4" * 61 + "x", "\u20ac" * 41, "\U0001f600" * 30 + "xyz", ""])
def test_sendable_frame_with_a_reason_of_at_most_123_bytes_keeps_it(reason: str) -> None:
    """The limit is 123 bytes of UTF-8, not characters; a reason at the limit goes out whole."""
    assert len(reason.encode()) in (0, 123)
    assert sendable_frame(1000, reason) == CloseFrame(1000, reason)


@pytest.mark.parametrize("reason", ["x" * 124, "\u00e4" * 62, "\u20ac" * 41 + "x", "\U0001f600" * 31])
def test_sendable_frame_with_a_reason_of_124_bytes_is_refused(reason: str) -> None:
    """One byte more is a `ValueError` that has the size and the limit; nothing is cut off."""
    assert len(reason.encode()) == 124
    with pytest.raises(ValueError, match="close reason is 124 bytes as UTF-8, the limit is 123"):
        sendable_frame(1000, reason)


def test_reason_limit_is_what_a_control_frame_leaves() -> None:
    """A control frame holds 125 bytes, two of them are the code (RFC 6455 §5.5)."""
    assert MAX_REASON_BYTES == 123


@pytest.mark.parametrize("reason", ["\ud800", "ok " + chr(0xDFFF)])
def test_sendable_frame_with_lone_surrogates_is_refused(reason: str) -> None:
    """A reason that UTF-8 cannot carry is a `ValueError` of our own words, not the codec's error."""
    with pytest.raises(ValueError, match="is not valid Unicode") as caught:
        sendable_frame(1000, reason)

    assert type(caught.value) is ValueError
    assert repr(reason) in str(caught.value)


def test_sendable_frame_without_a_code_is_empty() -> None:
    """`None` asks for an empty Close frame."""
    assert sendable_frame(None) == CloseFrame() == CloseFrame(None, "")


def test_sendable_frame_without_a_code_has_no_room_for_a_reason() -> None:
    """A reason without a code is a `ValueError` that names the reason."""
    with pytest.raises(ValueError, match="close reason 'bye' needs a close code"):
        sendable_frame(None, "bye")


# -- CloseFrame ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (CloseFrame(), "an empty Close"),
        (CloseFrame(1000), "1000"),
        (CloseFrame(4403, "for'bidden"), '4403 "for\'bidden"'),
    ],
)
def test_close_frame_as_text(frame: CloseFrame, text: str) -> None:
    """`str` tells what the frame said, for a human."""
    assert str(frame) == text


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        (("1000",), TypeError, "must be an int, not str: '1000'"),
        ((True,), TypeError, "must be an int, not bool: True"),
        ((70000,), ValueError, "close code 70000"),
        ((-1,), ValueError, "close code -1"),
        ((1000, None), TypeError, "must be a str, not NoneType: None"),
        ((1000, b"x"), TypeError, "must be a str, not bytes: b'x'"),
        ((None, "x"), ValueError, "close reason 'x' needs a close code"),
    ],
)
def test_close_frame_with_a_bad_field_names_it(fields: tuple[Any, ...], error: type[Exception], words: str) -> None:
    """What no frame could have said is refused when the value is made."""
    with pytest.raises(error) as caught:
        CloseFrame(*fields)

    assert words in str(caught.value)


# -- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("value", [*EVENTS, *FRAMES], ids=str)
def test_value_survives_copy_and_pickle(value: CloseEvent | CloseFrame, copied: Callable[[Any], Any]) -> None:
    """A copy, and what comes back from a pickle of any protocol, is equal and has the same hash."""
    twin = copied(value)

    assert type(twin) is type(value)
    assert twin == value
    assert hash(twin) == hash(value)


@pytest.mark.parametrize("values", [EVENTS, FRAMES], ids=["CloseEvent", "CloseFrame"])
def test_values_are_equal_by_fields(values: list[Any]) -> None:
    """Different endings are different, in a set too; a value is never equal to a tuple of its fields."""
    assert len(set(values)) == len(values)
    for one, other in itertools.combinations(values, 2):
        assert one != other
    assert values[0] != dataclasses.astuple(values[0])


@pytest.mark.parametrize("field", [each.name for each in dataclasses.fields(CloseEvent)])
def test_close_event_equality_looks_at_every_field(field: str) -> None:
    """Two events that differ in one field, whichever, are not equal."""
    other: dict[str, Any] = {
        "code": 1002,
        "reason": "other",
        "was_clean": False,
        "initiated_by": "remote",
        "cause": CloseCause.EXIT,
        "sent": None,
        "received": CloseFrame(1002),
    }
    if field == "type":
        return  # there is only one
    assert dataclasses.replace(CANCELLED, **{field: other[field]}) != CANCELLED


@pytest.mark.parametrize("value", [CANCELLED, CloseFrame(1001)], ids=["CloseEvent", "CloseFrame"])
def test_value_cannot_be_changed(value: Any) -> None:
    """No field can be set or deleted, and none can be added."""
    before = repr(value)
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(value, field.name)
    with pytest.raises((AttributeError, TypeError)):
        value.note = "x"
    assert repr(value) == before


@pytest.mark.parametrize("value", [CANCELLED, CloseFrame(1001)], ids=["CloseEvent", "CloseFrame"])
def test_value_is_not_ordered(value: Any) -> None:
    """No ending is less than another."""
    for compare in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(value, compare)(value) is NotImplemented
    with pytest.raises(TypeError):
        sorted([value, value])


@pytest.mark.parametrize("value", [*EVENTS, *FRAMES], ids=str)
def test_repr_evaluates_back(value: CloseEvent | CloseFrame) -> None:
    """What `repr` shows makes an equal value, given the public names."""
    names = {"CloseEvent": CloseEvent, "CloseFrame": CloseFrame, "CloseCause": CloseCause}

    assert eval(repr(value), names) == value


# -- CloseEvent ------------------------------------------------------------------------------------------------------


def test_close_event_made_by_hand_has_the_browsers_defaults() -> None:
    """Code 0, no reason, not clean (WHATWG `CloseEventInit`); what a browser does not know is `None`."""
    event = CloseEvent("close")

    assert (event.type, event.code, event.reason, event.was_clean) == ("close", 0, "", False)
    assert (event.initiated_by, event.cause, event.sent, event.received) == (None, None, None, None)


def test_close_event_takes_all_but_the_type_by_keyword() -> None:
    """The type is the one positional argument, and it is required."""
    with pytest.raises(TypeError):
        CloseEvent("close", 1000)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        CloseEvent()  # type: ignore[call-arg]
    assert CloseEvent(type="close") == CloseEvent("close")


def test_close_event_knows_the_browsers_spelling() -> None:
    """`wasClean` is `was_clean`."""
    assert CANCELLED.wasClean is True
    assert CloseEvent("close").wasClean is False


def test_close_event_matches_by_code_reason_and_cleanliness() -> None:
    """`case CloseEvent(1001):` works, and so do the two fields behind the code."""

    def matched(event: CloseEvent) -> str:
        match event:
            case CloseEvent(1001, "", True):
                return "clean 1001"
            case CloseEvent(1001):
                return "1001"
            case CloseEvent(code, reason, was_clean):
                return f"{code} {reason} {was_clean}"
        raise AssertionError("unreachable")

    assert matched(CANCELLED) == "clean 1001"
    assert matched(CloseEvent("close", code=1001, reason="x")) == "1001"
    assert matched(CloseEvent("close", code=4000, reason="y")) == "4000 y False"


def test_close_event_turns_members_and_names_into_one_form() -> None:
    """A `CloseCode` becomes its number, the name of a cause that cause: equal events are made either way."""
    event = CloseEvent("close", code=CloseCode.GOING_AWAY, cause="exit", sent=CloseFrame(CloseCode.GOING_AWAY))  # type: ignore[arg-type]

    assert event == CloseEvent("close", code=1001, cause=CloseCause.EXIT, sent=CloseFrame(1001))
    assert type(event.code) is int
    assert event.sent is not None
    assert type(event.sent.code) is int
    assert event.cause is CloseCause.EXIT


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"type": "open"}, ValueError, "the type of a CloseEvent is 'close', not 'open'"),
        ({"type": None}, ValueError, "not None"),
        ({"code": -1}, ValueError, "close code -1 does not fit into two bytes, the range is 0-65535"),
        ({"code": 65536}, ValueError, "close code 65536"),
        ({"code": "1000"}, TypeError, "close code must be an int, not str: '1000'"),
        ({"code": True}, TypeError, "close code must be an int, not bool: True"),
        ({"code": None}, TypeError, "close code must be an int, not NoneType: None"),
        ({"reason": None}, TypeError, "close reason must be a str, not NoneType: None"),
        ({"reason": b"x"}, TypeError, "close reason must be a str, not bytes: b'x'"),
        ({"was_clean": 1}, TypeError, "was_clean must be a bool, not int: 1"),
        ({"was_clean": None}, TypeError, "was_clean must be a bool, not NoneType: None"),
        ({"initiated_by": "us"}, ValueError, "('local', 'remote', 'transport') or None, not 'us'"),
        ({"initiated_by": ["local"]}, ValueError, "not ['local']"),
        ({"cause": "boredom"}, ValueError, "'boredom' is not a valid CloseCause"),
        ({"cause": 1}, ValueError, "1 is not a valid CloseCause"),
        ({"sent": 1000}, TypeError, "sent must be a CloseFrame or None, not int: 1000"),
        ({"received": (1000, "")}, TypeError, "received must be a CloseFrame or None, not tuple: (1000, '')"),
        ({"wasClean": True}, TypeError, "wasClean"),
    ],
    ids=str,
)
def test_close_event_with_a_bad_field_names_value_and_rule(
    fields: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A field of a wrong type is a `TypeError`, one out of its range a `ValueError`; both say which, and why."""
    arguments: dict[str, Any] = {"type": "close", **fields}
    with pytest.raises(error) as caught:
        CloseEvent(**arguments)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (CANCELLED, "1001 going away, after we sent 1001: cancelled"),
        (CloseEvent("close"), "0 not used"),
        (CloseEvent("close", code=4000, reason="it's over"), '4000 applications, private use "it\'s over"'),
        (
            CloseEvent("close", code=1006, initiated_by="transport", cause=CloseCause.RESET),
            "1006 abnormal closure: reset",
        ),
        (
            CloseEvent("close", code=1006, initiated_by="local", cause=CloseCause.CLOSED, sent=CloseFrame(4000, "x")),
            "1006 abnormal closure, after we sent 4000 'x': closed",
        ),
        (
            CloseEvent(
                "close",
                code=1005,
                was_clean=True,
                initiated_by="local",
                cause=CloseCause.CLOSED,
                sent=CloseFrame(),
                received=CloseFrame(),
            ),
            "1005 no status received, after we sent an empty Close: closed",
        ),
        (
            CloseEvent(
                "close",
                code=1000,
                reason="bye",
                was_clean=True,
                initiated_by="remote",
                cause=CloseCause.REMOTE,
                sent=CloseFrame(1000, "bye"),
                received=CloseFrame(1000, "bye"),
            ),
            "1000 normal closure 'bye', the peer closed first: remote",
        ),
        (
            CloseEvent("close", code=1001, initiated_by="remote", cause=CloseCause.REMOTE, received=CloseFrame(1001)),
            "1001 going away, the peer closed first, not clean: remote",
        ),
        (CloseEvent("close", code=1000, initiated_by="local"), "1000 normal closure"),
    ],
)
def test_close_event_as_text_is_for_humans(event: CloseEvent, text: str) -> None:
    """`str` has the code and what it means, who closed first, and why: one line for a log."""
    assert str(event) == text


# -- JSON ------------------------------------------------------------------------------------------------------------


def test_close_event_as_json_has_plain_values() -> None:
    """`to_dict` has every field, in what JSON knows."""
    assert CANCELLED.to_dict() == {
        "type": "close",
        "code": 1001,
        "reason": "",
        "was_clean": True,
        "initiated_by": "local",
        "cause": "cancelled",
        "sent": {"code": 1001, "reason": ""},
        "received": {"code": 1001, "reason": ""},
    }
    assert type(CANCELLED.to_dict()["cause"]) is str


def frames() -> st.SearchStrategy[CloseFrame]:
    coded = st.builds(CloseFrame, st.integers(0, 65535), st.text(max_size=20))
    return st.just(CloseFrame()) | coded


def events() -> st.SearchStrategy[CloseEvent]:
    return st.builds(
        CloseEvent,
        st.just("close"),
        code=st.integers(0, 65535),
        reason=st.text(max_size=20),
        was_clean=st.booleans(),
        initiated_by=st.sampled_from(["local", "remote", "transport", None]),
        cause=st.sampled_from([*CloseCause, None]),
        sent=st.none() | frames(),
        received=st.none() | frames(),
    )


@settings(deadline=None)
@given(event=events())
def test_close_event_survives_json(event: CloseEvent) -> None:
    """What went through `to_dict`, `json` and `from_dict` is an equal event, whatever it says."""
    assert CloseEvent.from_dict(json.loads(json.dumps(event.to_dict()))) == event


@settings(deadline=None)
@given(event=events())
def test_close_event_of_any_fields_has_a_repr_and_a_text(event: CloseEvent) -> None:
    """`repr` evaluates back and `str` is one line that begins with the code, for every event that can be made."""
    assert eval(repr(event), {"CloseEvent": CloseEvent, "CloseFrame": CloseFrame, "CloseCause": CloseCause}) == event
    assert str(event).startswith(f"{event.code} {describe(event.code)}")
    assert str(event).splitlines() == [str(event)]


def test_from_dict_fills_in_what_is_missing() -> None:
    """Only the type is required, as when an event is made by hand."""
    assert CloseEvent.from_dict({"type": "close", "code": 1001}) == CloseEvent("close", code=1001)


def test_from_dict_leaves_its_argument_alone() -> None:
    """The mapping that was passed in is not changed."""
    fields = CANCELLED.to_dict()
    before = copy.deepcopy(fields)
    CloseEvent.from_dict(fields)

    assert fields == before


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({}, TypeError, "type"),
        ({"type": "close", "colour": 1}, TypeError, "colour"),
        ({"type": "close", "sent": {"colour": 1}}, TypeError, "colour"),
        ({"type": "close", "sent": 1000}, TypeError, "sent"),
        ({"type": "close", "received": [1000]}, TypeError, "received"),
        ({"type": "close", "sent": {"code": 70000}}, ValueError, "close code 70000"),
        ({"type": "close", "cause": "boredom"}, ValueError, "'boredom'"),
        ({"type": "close", "code": "1000"}, TypeError, "'1000'"),
    ],
    ids=str,
)
def test_from_dict_with_bad_fields_names_them(fields: dict[str, Any], error: type[Exception], words: str) -> None:
    """An unknown or ill-typed entry is a `TypeError`, one out of its range a `ValueError`."""
    with pytest.raises(error) as caught:
        CloseEvent.from_dict(fields)

    assert words in str(caught.value)


def test_from_dict_of_a_subclass_makes_that_subclass() -> None:
    """`from_dict` makes an event of the class that it is called on."""

    class Special(CloseEvent):
        __slots__ = ()

    assert type(Special.from_dict({"type": "close"})) is Special


# -- causes ----------------------------------------------------------------------------------------------------------


def test_close_cause_has_the_causes_of_the_contract() -> None:
    """Each cause is a string of the contract's own word, and compares equal to it."""
    words = """
        exit error cancelled closed aborted remote
        protocol_error invalid_payload message_too_big keepalive_timeout internal_error
        eof reset refused rejected malformed timeout tls
    """
    assert [str(cause) for cause in CloseCause] == words.split()
    assert all(cause.name.lower() == cause for cause in CloseCause)
