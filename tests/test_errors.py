"""The exceptions, and the trio exceptions that they also are."""

from __future__ import annotations

import copy
import pickle
from typing import Final

import pytest
import trio

from trio_closeevents import (
    CloseCause,
    CloseEvent,
    CloseFrame,
    ConnectionBroken,
    ConnectionClosed,
    HandshakeError,
    HandshakeRejected,
    HandshakeTimeout,
    LocallyClosed,
    RemoteClosed,
    Response,
)
from trio_closeevents._errors import raise_unchanged, unwrapped

EVENT: Final = CloseEvent("close", code=1001, initiated_by="local", cause=CloseCause.CANCELLED, sent=CloseFrame(1001))
REFUSED: Final = CloseEvent("close", code=1006, initiated_by="transport", cause=CloseCause.REFUSED)
CLOSED: Final = [RemoteClosed, ConnectionBroken, LocallyClosed]
TRIO_KINDS: Final = [trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError]


def make_cancelled(count: int) -> list[trio.Cancelled]:
    """Return some as trio raises them: their constructor is not public."""
    caught: list[trio.Cancelled] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(count):
                try:
                    await trio.lowlevel.checkpoint()
                except trio.Cancelled as error:
                    caught.append(error)

    trio.run(main)
    return caught


class Connection:
    """As much of a connection as an exception knows."""

    def __init__(self) -> None:
        self.close_event: CloseEvent | None = None


@pytest.mark.parametrize(
    ("kind", "ours", "trios"),
    [
        (RemoteClosed, ConnectionClosed, trio.EndOfChannel),
        (ConnectionBroken, ConnectionClosed, trio.BrokenResourceError),
        (LocallyClosed, ConnectionClosed, trio.ClosedResourceError),
        (ConnectionClosed, ConnectionClosed, None),
        (HandshakeError, HandshakeError, None),
        (HandshakeRejected, HandshakeError, None),
        (HandshakeTimeout, HandshakeError, trio.TooSlowError),
    ],
)
def test_exception_is_also_the_trio_exception_of_its_channel(
    kind: type[Exception], ours: type[Exception], trios: type[Exception] | None
) -> None:
    """Section 8 of the contract: what a program for any trio channel catches is caught, and nothing more."""
    assert issubclass(kind, ours)
    assert [each for each in TRIO_KINDS if issubclass(kind, each)] == ([] if trios is None else [trios])
    assert issubclass(kind, ConnectionClosed) is not issubclass(kind, HandshakeError)
    assert not issubclass(kind, OSError)


@pytest.mark.parametrize("kind", CLOSED)
def test_closed_exception_reads_the_event_late(kind: type[ConnectionClosed]) -> None:
    """Raised while the closing handshake runs, `.event` is `None`; it is the connection's as soon as that has one."""
    connection = Connection()
    error = kind(connection=connection)

    assert error.event is None
    assert str(error) == "the connection is closing"
    connection.close_event = EVENT
    assert error.event is EVENT
    assert str(error) == "1001 going away, after we sent 1001: cancelled"


@pytest.mark.parametrize("kind", CLOSED)
def test_closed_exception_made_with_an_event_keeps_it(kind: type[ConnectionClosed]) -> None:
    """`.event` is the very object that was passed in; a connection is not asked then."""
    connection = Connection()
    connection.close_event = REFUSED
    error = kind(EVENT, connection=connection)

    assert error.event is EVENT
    assert error.args == (EVENT,)
    assert str(error) == str(EVENT)


@pytest.mark.parametrize("kind", CLOSED)
def test_closed_exception_made_by_hand_has_no_event(kind: type[ConnectionClosed]) -> None:
    """A test double may raise it without any event."""
    assert kind().event is None
    assert str(kind()) == "the connection is closing"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [ConnectionClosed, *CLOSED])
def test_closed_exception_can_be_pickled(kind: type[ConnectionClosed], protocol: int) -> None:
    """The event travels along, the connection does not."""
    connection = Connection()
    connection.close_event = EVENT
    twin = pickle.loads(pickle.dumps(kind(connection=connection), protocol))

    assert type(twin) is kind
    assert twin.event == EVENT
    assert pickle.loads(pickle.dumps(kind(), protocol)).event is None


@pytest.mark.parametrize("kind", CLOSED)
def test_closed_exception_can_be_copied(kind: type[ConnectionClosed]) -> None:
    """A copy tells the same event."""
    assert copy.copy(kind(EVENT)).event == EVENT
    assert copy.deepcopy(kind(EVENT)).event == EVENT


@pytest.mark.parametrize("kind", [HandshakeError, HandshakeRejected, HandshakeTimeout])
def test_handshake_error_carries_event_and_response(kind: type[HandshakeError]) -> None:
    """`str` is the message alone; the event and the server's answer are attributes."""
    response = Response(404, [("X", "y")], b"no")
    error = kind("no connection to ws://h", REFUSED, response)

    assert str(error) == "no connection to ws://h"
    assert error.close_event is REFUSED
    assert error.response is response
    assert kind("x", REFUSED).response is None


@pytest.mark.parametrize("response", [None, Response(404, [("X", "y"), ("x", "z")], b"no")], ids=["none", "404"])
@pytest.mark.parametrize("kind", [HandshakeError, HandshakeRejected, HandshakeTimeout])
def test_handshake_error_can_be_pickled(kind: type[HandshakeError], response: Response | None) -> None:
    """Message, event and response travel along."""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(kind("no", REFUSED, response), protocol))

        assert type(twin) is kind
        assert (str(twin), twin.close_event, twin.response) == ("no", REFUSED, response)


def caught_from_raise_unchanged(error: BaseException) -> BaseException:
    """Raise *error* while another exception is handled, as leaving a block may."""
    with pytest.raises(BaseException) as caught:
        try:
            raise KeyError("of the library")
        except KeyError:
            raise_unchanged(error)
    return caught.value


@pytest.mark.parametrize("context", [None, ZeroDivisionError()], ids=["no context", "context"])
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), ExceptionGroup("g", [ValueError()])], ids=repr)
def test_raise_unchanged_leaves_no_trace_of_the_library(error: BaseException, context: Exception | None) -> None:
    """The same object comes out, with the context, cause and suppression that it had."""
    error.__context__ = context
    error.__cause__ = None
    error.__suppress_context__ = False

    assert caught_from_raise_unchanged(error) is error
    assert (error.__context__, error.__cause__, error.__suppress_context__) == (context, None, False)


def test_unwrapped_is_the_one_exception_beside_cancellations() -> None:
    """A nursery wraps; what is alone in the group, at any depth and cancellations aside, comes out of it."""
    one, two, interrupt = ValueError(), KeyError(), KeyboardInterrupt()
    cancelled, other = make_cancelled(2)

    assert unwrapped(ExceptionGroup("", [one])) is one
    assert unwrapped(BaseExceptionGroup("", [cancelled, one])) is one
    assert unwrapped(BaseExceptionGroup("", [BaseExceptionGroup("", [interrupt, cancelled]), other])) is interrupt
    assert unwrapped(BaseExceptionGroup("", [cancelled, other])) is cancelled
    for several in (ExceptionGroup("", [one, two]), BaseExceptionGroup("", [one, BaseExceptionGroup("", [interrupt])])):
        assert unwrapped(several) is several
