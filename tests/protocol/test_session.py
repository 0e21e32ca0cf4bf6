"""One connection from OPEN to its CloseEvent: bytes in, events out, frames to send.

Frames are written down as a server sends them, without a mask; `Play` masks what a client would. Tests that take
`start` run in both roles, each with everything fed whole and byte by byte.
"""

from __future__ import annotations

import gc
import itertools
import math
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, TextMessage
from wsproto.frame_protocol import CloseReason

from trio_closeevents import CloseCause, CloseCode, CloseEvent, CloseFrame, Options, is_sendable
from trio_closeevents._protocol.closing import State
from trio_closeevents._protocol.session import Ping, Pong, Session, SessionEvent

KEY: Final = b"\x37\xfa\x21\x3d"  # RFC 6455 §5.7

HELLO: Final = b"\x81\x05Hello"  # the same
CLOSE_1000: Final = b"\x88\x02\x03\xe8"
CLOSE_1001: Final = b"\x88\x02\x03\xe9"
CLOSE_4000_BYE: Final = b"\x88\x05\x0f\xa0bye"
CLOSE_EMPTY: Final = b"\x88\x00"

NORMAL: Final = CloseFrame(1000)
LEAVING: Final = CloseFrame(1001)
BYE: Final = CloseFrame(4000, "bye")


def xor(data: bytes, key: bytes = KEY) -> bytes:
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(data))


def masked(frame: bytes) -> bytes:
    """Return a frame as a client sends it; it may be cut short behind its header."""
    size = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    return bytes([frame[0], frame[1] | 0x80]) + frame[2:size] + KEY + xor(frame[size:])


def unmasked(frame: bytes) -> bytes:
    """Return a client's frame as a server would have sent it."""
    assert frame[1] & 0x80, "a client masks every frame"
    size = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    return bytes([frame[0], frame[1] & 0x7F]) + frame[2:size] + xor(frame[size + 4 :], frame[size : size + 4])


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Return a Close frame, legal or not."""
    return bytes([0x88, 2 + len(reason)]) + code.to_bytes(2) + reason


def data_frame(first: int, payload: bytes) -> bytes:
    """Return a frame with its length in the shortest form."""
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    return (
        bytes([first, 126]) + size.to_bytes(2) + payload
        if size < 65536
        else (bytes([first, 127]) + size.to_bytes(8) + payload)
    )


class Play:
    """A session, what its peer sends, and what comes of it."""

    def __init__(self, *, client: bool, bytewise: bool, **limits: Any) -> None:
        self.client = client
        self.bytewise = bytewise
        self.session = Session(client=client, **limits)
        self.events: list[SessionEvent] = []

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def event(self) -> CloseEvent | None:
        return self.session.close_event

    def peer(self, *frames: bytes) -> None:
        """The peer sends *frames*; all that they bring about goes to `events`."""
        self.raw(b"".join(frames if self.client else map(masked, frames)))

    def raw(self, data: bytes) -> None:
        """The peer sends just these bytes."""
        for piece in (data[i : i + 1] for i in range(len(data))) if self.bytewise else (data,):
            self.session.receive_data(piece)
            self.look()

    def look(self) -> None:
        while (event := self.session.next_event()) is not None:
            self.events.append(event)

    def close(self, frame: CloseFrame = NORMAL, cause: CloseCause = CloseCause.EXIT) -> None:
        self.session.close(frame, cause)

    def queued(self) -> bytes | None:
        """Return our Close frame if it is due, unmasked."""
        frame = self.session.take_close_frame()
        return frame if frame is None or not self.client else unmasked(frame)

    def written(self) -> bytes | None:
        """Our Close frame goes out, to its last byte; return it."""
        frame = self.queued()
        self.session.close_written()
        return frame


class Start(Protocol):
    def __call__(self, **limits: Any) -> Play: ...


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["whole", "bytewise"])
def start(role: str, request: pytest.FixtureRequest) -> Start:
    bytewise = request.param == "bytewise"
    return lambda **limits: Play(client=role == "client", bytewise=bytewise, **limits)


def ended(
    code: int,
    reason: str = "",
    *,
    clean: bool = False,
    by: Any,
    cause: CloseCause,
    sent: CloseFrame | None = None,
    received: CloseFrame | None = None,
) -> CloseEvent:
    return CloseEvent(
        "close",
        code=code,
        reason=reason,
        was_clean=clean,
        initiated_by=by,
        cause=cause,
        sent=sent,
        received=received,
    )


# -- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "events"),
    [
        ([HELLO], ["Hello"]),
        ([b"\x82\x03\x00\xff\x80"], [b"\x00\xff\x80"]),
        ([b"\x81\x00", b"\x82\x00"], ["", b""]),
        ([b"\x81\x06\xe2\x82\xac\xc3\xa4x"], ["\u20ac\u00e4x"]),
        ([b"\x01\x03Hel", b"\x80\x02lo"], ["Hello"]),
        ([b"\x02\x01a", b"\x00\x01b", b"\x00\x00", b"\x80\x01c", HELLO], [b"abc", "Hello"]),
        ([b"\x01\x00", b"\x00\x00", b"\x80\x00"], [""]),
        ([b"\x02\x00", b"\x80\x00"], [b""]),
        ([b"\x01\x00", b"\x80\x01x"], ["x"]),
        ([b"\x01\x01x", b"\x80\x00"], ["x"]),
        ([b"\x01\x01\xe2", b"\x00\x01\x82", b"\x80\x01\xac"], ["\u20ac"]),
        ([b"\x01\x02a\xf0", b"\x00\x00", b"\x80\x03\x9f\x98\x80"], ["a\U0001f600"]),
        ([data_frame(0x82, b"x" * 125)], [b"x" * 125]),
        ([data_frame(0x82, b"x" * 126)], [b"x" * 126]),
        ([b"\x89\x00", b"\x8a\x00", b"\x89\x02hi", b"\x8a\x02ho"], [Ping(b""), Pong(b""), Ping(b"hi"), Pong(b"ho")]),
        ([data_frame(0x89, b"x" * 125)], [Ping(b"x" * 125)]),
        (
            [b"\x01\x01a", b"\x89\x01p", b"\x00\x01b", b"\x8a\x00", b"\x89\x01q", b"\x80\x01c"],
            [Ping(b"p"), Pong(b""), Ping(b"q"), "abc"],
        ),
        ([b"\x01\x01\xc3", b"\x89\x01\xff", b"\x80\x01\xa4"], [Ping(b"\xff"), "\u00e4"]),
    ],
    ids=lambda value: "-".join(each[:4].hex() if isinstance(each, bytes) else type(each).__name__ for each in value),
)
def test_messages_come_out_as_they_were_sent(start: Start, frames: list[bytes], events: list[SessionEvent]) -> None:
    """Text is `str`, binary `bytes`, whole or in fragments, with pings in between; nothing else changes."""
    play = start()
    play.peer(*frames)

    assert play.events == events
    assert [type(event) for event in play.events] == [type(event) for event in events]
    assert (play.state, play.event, play.session.cause) == (State.OPEN, None, None)
    assert play.queued() is None


def test_large_messages_come_out_as_they_were_sent(role: str) -> None:
    """Lengths of 16 and of 64 bits, each up to its end; read in one piece or in pieces of a socket's size."""
    frames = [data_frame(0x81, b"x" * 65535), data_frame(0x82, b"x" * 65536), data_frame(0x82, bytes(2**20)), HELLO]
    data = b"".join(frames if role == "client" else map(masked, frames))
    for size in (len(data), 65536, 1460):
        play = Play(client=role == "client", bytewise=False)
        for begin in range(0, len(data), size):
            play.raw(data[begin : begin + size])

        assert play.events == ["x" * 65535, b"x" * 65536, bytes(2**20), "Hello"]


def test_what_stands_behind_a_message_waits_for_the_program(role: str) -> None:
    """Bytes are looked at one frame at a time: a bad one has no effect before the message ahead of it was taken."""
    play = Play(client=role == "client", bytewise=False)
    frames = (HELLO, b"\x89\x01p", b"\x82\x01x", b"\x83\x00", CLOSE_1000)
    play.session.receive_data(b"".join(frames if play.client else map(masked, frames)))

    for event in ("Hello", Ping(b"p"), b"x"):
        assert play.session.next_event() == event
        assert play.state is State.OPEN
    assert play.session.next_event() is None
    assert play.state is State.FAILING


def test_close_behind_a_message_waits_for_the_program(role: str) -> None:
    """The peer's Close counts when all messages before it were taken, not when it was read."""
    play = Play(client=role == "client", bytewise=False)
    frames = (HELLO, HELLO, CLOSE_1001)
    play.session.receive_data(b"".join(frames if play.client else map(masked, frames)))

    assert (play.session.next_event(), play.state) == ("Hello", State.OPEN)
    assert (play.session.next_event(), play.state) == ("Hello", State.OPEN)
    assert (play.session.next_event(), play.state) == (None, State.CLOSE_RECEIVED)


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        ("Hello", HELLO),
        ("", b"\x81\x00"),
        ("\u20ac", b"\x81\x03\xe2\x82\xac"),
        (b"\x00\xff", b"\x82\x02\x00\xff"),
        (b"x" * 125, b"\x82\x7d" + b"x" * 125),
        (b"x" * 126, b"\x82\x7e\x00\x7e" + b"x" * 126),
        (b"x" * 65535, b"\x82\x7e\xff\xff" + b"x" * 65535),
        (b"x" * 65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + b"x" * 65536),
    ],
    ids=lambda value: f"{len(value)}",
)
def test_message_is_sent_as_one_frame(role: str, message: str | bytes, frame: bytes) -> None:
    """FIN, text or binary, the shortest length; a client masks, a server does not."""
    play = Play(client=role == "client", bytewise=False)
    out = b"".join(play.session.send_message(message)[:2])

    assert type(out) is bytes
    assert (unmasked(out) if play.client else out) == frame


def test_control_frames_are_sent(role: str) -> None:
    """Pings and Pongs carry their payload, up to the 125 bytes of a control frame."""
    play = Play(client=role == "client", bytewise=False)
    frames = [
        play.session.send_ping(b""),
        play.session.send_ping(b"hi"),
        play.session.send_pong(b"ho"),
        play.session.send_pong(b"x" * 125),
    ]
    if play.client:
        frames = [unmasked(frame) for frame in frames]

    assert frames == [b"\x89\x00", b"\x89\x02hi", b"\x8a\x02ho", b"\x8a\x7d" + b"x" * 125]


def test_client_takes_a_fresh_key_for_every_frame() -> None:
    """The same message looks different each time (RFC 6455 §5.3)."""
    session = Session(client=True)

    assert len({b"".join(session.send_message("Hello")[:2]) for _ in range(50)}) == 50


# -- section 2: how the block ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "cause", "raw"),
    [
        pytest.param(NORMAL, CloseCause.EXIT, CLOSE_1000, id="end-return"),
        pytest.param(CloseFrame(1011), CloseCause.ERROR, b"\x88\x02\x03\xf3", id="end-error"),
        pytest.param(LEAVING, CloseCause.CANCELLED, CLOSE_1001, id="end-cancelled"),
        pytest.param(BYE, CloseCause.CLOSED, CLOSE_4000_BYE, id="end-aclose"),
        pytest.param(CloseFrame(), CloseCause.CLOSED, CLOSE_EMPTY, id="end-aclose-empty"),
        pytest.param(CloseFrame(1014, "\u00e4"), CloseCause.CLOSED, b"\x88\x04\x03\xf6\xc3\xa4", id="end-aclose-1014"),
        pytest.param(
            CloseFrame(4999, "x" * 123), CloseCause.CLOSED, b"\x88\x7d\x13\x87" + b"x" * 123, id="end-aclose-longest"
        ),
    ],
)
def test_end_sends_its_close_frame_once(start: Start, frame: CloseFrame, cause: CloseCause, raw: bytes) -> None:
    """Code and reason go out as they are, once; `sent` and the cause say so, and the peer's answer makes it clean."""
    play = start()
    play.close(frame, cause)

    assert (play.state, play.session.cause, play.event) == (State.CLOSE_QUEUED, cause, None)
    assert play.queued() == raw
    assert play.queued() is None
    play.session.close_written()
    assert (play.state, play.event) == (State.CLOSE_SENT, None)
    play.peer(CLOSE_1000)
    assert play.event == ended(1000, clean=True, by="local", cause=cause, sent=frame, received=NORMAL)
    assert play.state is State.CLOSE_EXCHANGED


def test_end_abort_is_1006_without_any_close(start: Start) -> None:
    """`end-abort`: the transport is dropped, nothing was sent, nothing more is read."""
    play = start()
    play.session.lose_transport(CloseCause.ABORTED)
    play.peer(HELLO, CLOSE_1000)

    assert play.event == ended(1006, by="transport", cause=CloseCause.ABORTED)
    assert (play.events, play.queued(), play.state) == ([], None, State.CLOSED)


def test_end_asked_for_twice_is_the_first(start: Start) -> None:
    """The first code counts; a second wish changes neither frame nor cause, before and after ours went out."""
    play = start()
    play.close(BYE, CloseCause.CLOSED)
    play.close(NORMAL, CloseCause.EXIT)
    assert play.written() == CLOSE_4000_BYE
    play.close(NORMAL, CloseCause.EXIT)
    assert play.queued() is None
    play.peer(CLOSE_1001)
    play.close(NORMAL, CloseCause.EXIT)
    play.session.lose_transport(CloseCause.RESET)
    play.close(NORMAL, CloseCause.EXIT)

    assert play.event == ended(1001, clean=True, by="local", cause=CloseCause.CLOSED, sent=BYE, received=LEAVING)
    assert play.queued() is None


def test_half_a_frame_whose_end_was_not_written_leaves_no_sent(start: Start) -> None:
    """Our Close was queued and never handed over whole: `sent` is `None`, and nobody's Close was the first."""
    play = start()
    play.close(LEAVING, CloseCause.CANCELLED)
    assert play.queued() == CLOSE_1001
    play.session.lose_transport(CloseCause.RESET)

    assert play.event == ended(1006, by="transport", cause=CloseCause.CANCELLED)


# -- section 3: what the peer does -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "received"),
    [
        (CLOSE_1000, NORMAL),
        (CLOSE_1001, LEAVING),
        (CLOSE_4000_BYE, BYE),
        (b"\x88\x05\x0b\xb8\xe2\x82\xac", CloseFrame(3000, "\u20ac")),
        (close_frame(4999, b"x" * 123), CloseFrame(4999, "x" * 123)),
    ],
)
def test_peer_answers_with_the_code_that_counts(start: Start, answer: bytes, received: CloseFrame) -> None:
    """`peer-answers`: the event has the peer's code and reason, not ours; `sent` tells it from an echo."""
    play = start()
    play.close()
    play.written()
    play.peer(answer)

    assert received.code is not None
    assert play.event == ended(
        received.code, received.reason, clean=True, by="local", cause=CloseCause.EXIT, sent=NORMAL, received=received
    )


def test_peer_answers_empty_is_1005(start: Start) -> None:
    """`peer-answers-empty`: there was a Close frame, but no code in it."""
    play = start()
    play.close()
    play.written()
    play.peer(CLOSE_EMPTY)

    assert play.event == ended(1005, clean=True, by="local", cause=CloseCause.EXIT, sent=NORMAL, received=CloseFrame())


@pytest.mark.parametrize(
    ("first", "received", "code"),
    [
        (CLOSE_1000, NORMAL, 1000),
        (CLOSE_4000_BYE, BYE, 4000),
        (CLOSE_EMPTY, CloseFrame(), 1005),
        (b"\x88\x06\x03\xf6\xf0\x9f\x98\x80", CloseFrame(1014, "\U0001f600"), 1014),
        (close_frame(1001, b"x" * 123), CloseFrame(1001, "x" * 123), 1001),
    ],
    ids=["1000", "4000-bye", "empty", "1014", "longest"],
)
def test_peer_first_is_echoed(start: Start, first: bytes, received: CloseFrame, code: int) -> None:
    """`peer-first`: we echo code and reason, an empty Close by an empty one; decided when the echo is out."""
    play = start()
    play.peer(HELLO, first)

    assert play.events == ["Hello"]
    assert (play.state, play.session.cause, play.event) == (State.CLOSE_RECEIVED, CloseCause.REMOTE, None)
    assert play.written() == first
    assert play.event == ended(
        code, received.reason, clean=True, by="remote", cause=CloseCause.REMOTE, sent=received, received=received
    )


def test_peer_first_and_then_our_own_wish_is_still_the_peers(start: Start) -> None:
    """The block is left while our answer waits: the answer stays the echo, the cause stays `remote`."""
    play = start()
    play.peer(CLOSE_4000_BYE)
    play.close(NORMAL, CloseCause.EXIT)

    assert play.written() == CLOSE_4000_BYE
    assert play.event == ended(4000, "bye", clean=True, by="remote", cause=CloseCause.REMOTE, sent=BYE, received=BYE)


@pytest.mark.parametrize("theirs", [CLOSE_1001, CLOSE_4000_BYE, CLOSE_EMPTY], ids=["1001", "4000", "empty"])
def test_peer_crossing_while_ours_is_queued(start: Start, theirs: bytes) -> None:
    """`peer-crossing`: theirs is read before ours was written. Ours goes out as it was, once; the code is theirs."""
    play = start()
    play.close()
    play.peer(theirs)

    assert (play.state, play.event) == (State.CLOSE_RECEIVED, None)
    assert play.written() == CLOSE_1000
    assert play.queued() is None
    received = {CLOSE_1001: LEAVING, CLOSE_4000_BYE: BYE, CLOSE_EMPTY: CloseFrame()}[theirs]
    assert play.event == ended(
        1005 if received.code is None else received.code,
        received.reason,
        clean=True,
        by="local",
        cause=CloseCause.EXIT,
        sent=NORMAL,
        received=received,
    )


def test_peer_silent_is_1006_and_keeps_the_cause(start: Start) -> None:
    """`peer-silent`: nothing came within the limit, so the transport was dropped; our Close was the first."""
    play = start()
    play.close(LEAVING, CloseCause.CANCELLED)
    play.written()
    play.session.lose_transport(CloseCause.TIMEOUT)

    assert play.event == ended(1006, by="local", cause=CloseCause.CANCELLED, sent=LEAVING)


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_peer_lost_after_our_close_is_1006(start: Start, how: str) -> None:
    """`peer-lost`: FIN or RST in place of the peer's Close; what came first, our Close, stays the cause."""
    play = start()
    play.close()
    play.written()
    if how == "FIN":
        play.session.receive_eof()
    else:
        play.session.lose_transport(CloseCause.RESET, ConnectionResetError())

    assert play.event == ended(1006, by="local", cause=CloseCause.EXIT, sent=NORMAL)
    assert (play.state, play.session.error) == (State.CLOSED, None)


@pytest.mark.parametrize("half", [CLOSE_1001[:1], CLOSE_1001[:3], b"\x89\x05pi", b"\x82\x05he"])
def test_peer_lost_in_the_middle_of_a_frame_is_1006(start: Start, half: bytes) -> None:
    """`peer-lost`: half a Close frame is none."""
    play = start()
    play.close()
    play.written()
    play.peer(half) if len(half) > 1 else play.raw(half)
    play.session.receive_eof()

    assert play.event == ended(1006, by="local", cause=CloseCause.EXIT, sent=NORMAL)


@pytest.mark.parametrize("fin", [True, False], ids=["FIN", "RST"])
def test_peer_close_and_gone_has_its_code_but_is_not_clean(start: Start, fin: bool) -> None:
    """`peer-close-and-gone`: its Close was accepted, ours was not handed over; FIN alone does not keep us from it."""
    play = start()
    play.peer(CLOSE_4000_BYE)
    assert play.queued() == CLOSE_4000_BYE
    if fin:
        play.session.receive_eof()
        assert (play.state, play.event) == (State.CLOSE_RECEIVED, None)
    play.session.lose_transport(CloseCause.RESET, ConnectionResetError())

    assert play.event == ended(4000, "bye", by="remote", cause=CloseCause.REMOTE, received=BYE)
    assert play.session.error is None


def test_peer_close_and_gone_after_our_wish_keeps_the_cause(start: Start) -> None:
    """`peer-close-and-gone` in a crossing: ours never left, so theirs was the first on the wire."""
    play = start()
    play.close()
    play.peer(CLOSE_1001)
    play.session.lose_transport(CloseCause.RESET)

    assert play.event == ended(1001, by="remote", cause=CloseCause.EXIT, received=LEAVING)


def test_peer_half_closes_behind_its_close_and_still_gets_our_answer(start: Start) -> None:
    """A peer that has sent Close and FIN can read: our echo makes the ending clean."""
    play = start()
    play.peer(CLOSE_1000)
    play.session.receive_eof()

    assert play.written() == CLOSE_1000
    assert play.event == ended(1000, clean=True, by="remote", cause=CloseCause.REMOTE, sent=NORMAL, received=NORMAL)
    play.session.receive_eof()
    assert play.state is State.CLOSE_EXCHANGED


@pytest.mark.parametrize("written", [True, False], ids=["ours sent", "ours queued"])
def test_peer_data_after_ours_is_dropped_and_counted(start: Start, written: bool) -> None:
    """`peer-data-after-ours`: messages and control frames are dropped and counted, nothing is answered."""
    play = start()
    play.close()
    if written:
        play.written()
    play.peer(HELLO, b"\x89\x02hi", b"\x01\x01a", b"\x8a\x03pon", b"\x80\x02bc", b"\x82\x00", b"\x89\x00")

    assert play.events == []
    assert (play.session.messages_dropped, play.session.bytes_dropped) == (3, 5 + 2 + 1 + 3 + 2)
    assert play.event is None
    play.peer(CLOSE_1001)
    if not written:
        assert play.written() == CLOSE_1000
    assert play.queued() is None
    assert play.event == ended(1001, clean=True, by="local", cause=CloseCause.EXIT, sent=NORMAL, received=LEAVING)
    assert (play.session.messages_dropped, play.session.bytes_dropped) == (3, 13)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [b"\x81\x02\xff\xff"]),
        ([], [b"\x81\x04\xed\xa0\x80x", HELLO]),
        ([], [b"\x82\x09too large"]),
        ([], [b"\x02\x01a"] + [b"\x00\x01a"] * 9 + [b"\x80\x01a"]),
        ([b"\x01\x01\xe2"], [b"\x80\x01x"]),
        ([b"\x01\x01\xe2"], [b"\x80\x00"]),
        ([b"\x02\x01a", b"\x00\x01b"], [b"\x00\x01c", b"\x80\x01d"]),
    ],
    ids=["utf-8", "surrogate", "size", "fragments", "cut character", "unfinished character", "size of a whole"],
)
def test_peer_data_after_ours_is_not_judged(start: Start, before: list[bytes], after: list[bytes]) -> None:
    """`peer-data-after-ours`: size limits and UTF-8 do not apply to what is dropped."""
    play = start(max_message_size=5, max_fragments=3)
    play.peer(*before)
    play.close()
    play.written()
    play.peer(*after, CLOSE_1000)

    assert play.events == []
    assert play.event == ended(1000, clean=True, by="local", cause=CloseCause.EXIT, sent=NORMAL, received=NORMAL)


@pytest.mark.parametrize("written", [True, False], ids=["ours sent", "ours queued"])
@pytest.mark.parametrize("size", range(1, 7))
@pytest.mark.parametrize("more", [[], [HELLO], [b"\x89\x00"]], ids=["then Close", "then a message", "then a Ping"])
def test_peer_data_after_ours_in_the_middle_of_a_frame(
    start: Start, size: int, written: bool, more: list[bytes]
) -> None:
    """Our Close comes while a data frame is half read, wherever it is cut: its rest is dropped, and framing holds."""
    play = start()
    frame = HELLO if play.client else masked(HELLO)
    play.raw(frame[:size])
    play.close()
    if written:
        play.written()
    play.raw(frame[size:])
    play.peer(*more, CLOSE_1000)

    assert play.events == []
    assert play.session.messages_dropped == 1 + more.count(HELLO)
    assert play.session.bytes_dropped == 5 * more.count(HELLO) + min(5, len(frame) - size)
    if not written:
        play.written()
    assert play.event == ended(1000, clean=True, by="local", cause=CloseCause.EXIT, sent=NORMAL, received=NORMAL)


@pytest.mark.parametrize("control", [b"\x89\x03pin", b"\x8a\x03pon", CLOSE_4000_BYE], ids=["Ping", "Pong", "Close"])
@pytest.mark.parametrize("size", range(1, 8))
def test_control_frame_half_read_when_ours_is_queued(start: Start, size: int, control: bytes) -> None:
    """Our Close comes while a control frame is half read, wherever it is cut: a Close counts, others are dropped."""
    play = start()
    frame = control if play.client else masked(control)
    play.raw(frame[:size])
    assert play.state is (State.OPEN if size < len(frame) else State.CLOSE_RECEIVED) or control is not CLOSE_4000_BYE
    events = list(play.events)
    play.close()
    play.written()
    play.raw(frame[size:])

    assert play.events == events
    if control is CLOSE_4000_BYE:
        assert play.event is not None
        assert play.event.received == BYE
        assert play.event.was_clean
    else:
        assert play.event is None
        assert play.session.bytes_dropped == (3 if size < len(frame) else 0)
        play.peer(CLOSE_1000)
        assert play.event == ended(1000, clean=True, by="local", cause=CloseCause.EXIT, sent=NORMAL, received=NORMAL)


def test_fragmented_message_goes_on_across_our_close(start: Start) -> None:
    """The rest of a message whose start was read before our Close is legal, dropped, and one message."""
    play = start()
    play.peer(b"\x01\x03Hel")
    play.close()
    play.written()
    play.peer(b"\x00\x01l", b"\x89\x00", b"\x80\x01o", HELLO, CLOSE_1000)

    assert play.events == []
    assert play.session.messages_dropped == 2
    assert play.session.bytes_dropped == 1 + 1 + 5
    assert play.event is not None
    assert play.event.was_clean


def test_fragmented_message_that_ended_before_our_close_cannot_go_on(start: Start) -> None:
    """The order of fragments is judged across our Close: a continuation without a message is broken framing."""
    play = start()
    play.peer(b"\x01\x03Hel", b"\x80\x02lo")
    play.close()
    play.written()
    play.peer(b"\x80\x01x")

    assert play.events == ["Hello"]
    assert play.event == ended(1006, by="local", cause=CloseCause.EXIT, sent=NORMAL)


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize(
    ("arrived", "kept", "dropped"),
    [
        ([HELLO, b"\x82\x01x", HELLO], ["Hello", b"x", "Hello"], (0, 0)),
        ([b"\x01\x01a", b"\x00\x01b", b"\x80\x01c"], ["abc"], (0, 0)),
        ([b"\x81\x00"], [""], (0, 0)),
        ([HELLO, b"\x82\x00"], ["Hello", b""], (0, 0)),
        ([HELLO, b"\x01\x01a", b"\x80\x00"], ["Hello", "a"], (0, 0)),
        ([HELLO, b"\x89\x02hi", HELLO, b"\x8a\x00", b"\x89\x00"], ["Hello", "Hello"], (0, 2)),
        ([HELLO, b"\x02\x02ab", b"\x00\x00"], ["Hello"], (0, 0)),
        ([], [], (0, 0)),
    ],
    ids=["whole", "fragments", "empty", "the last is empty", "the last fragment is empty", "controls", "half", "none"],
)
def test_messages_that_arrived_before_our_close_can_be_kept(
    role: str, arrived: list[bytes], kept: list[SessionEvent], dropped: tuple[int, int], bytewise: bool
) -> None:
    """What had been read, but not looked at, when our Close was queued is still handed out; what comes later is not."""
    play = Play(client=role == "client", bytewise=bytewise)
    play.session.receive_data(b"".join(arrived if play.client else map(masked, arrived)))
    play.session.close(NORMAL, CloseCause.CLOSED, keep_arrived=True)
    play.written()
    play.look()

    assert play.events == kept
    assert (play.session.messages_dropped, play.session.bytes_dropped) == dropped
    end = [b"\x80\x01c"] if b"\x00\x00" in arrived else []
    play.peer(*end, HELLO, b"\x82\x00", CLOSE_1001)
    assert play.events == kept
    assert play.session.messages_dropped == dropped[0] + len(end) + 2
    assert play.session.bytes_dropped == dropped[1] + len(end) + 5
    assert play.event == ended(1001, clean=True, by="local", cause=CloseCause.CLOSED, sent=NORMAL, received=LEAVING)


@pytest.mark.parametrize("looked", range(11))
@pytest.mark.parametrize("read", range(12))
def test_message_that_had_not_arrived_as_a_whole_is_dropped(role: str, looked: int, read: int) -> None:
    """A message is kept if its last byte was read before our Close, wherever it was cut and looked at; else dropped."""
    play = Play(client=role == "client", bytewise=False)
    frame = HELLO if play.client else masked(HELLO)
    looked, read = min(looked, read, len(frame) - 1), min(read, len(frame))
    play.raw(frame[:looked])
    play.session.receive_data(frame[looked:read])
    play.session.close(NORMAL, CloseCause.CLOSED, keep_arrived=True)
    play.written()
    play.raw(frame[read:])
    play.peer(CLOSE_1000)

    whole = read == len(frame)
    assert play.events == (["Hello"] if whole else [])
    assert play.session.messages_dropped == (0 if whole else 1)
    assert play.event == ended(1000, clean=True, by="local", cause=CloseCause.CLOSED, sent=NORMAL, received=NORMAL)


def test_messages_that_arrived_are_judged_as_ever(start: Start) -> None:
    """What is kept is still bound by UTF-8 and by framing: garbage in it is garbage after our Close."""
    for bad in (b"\x81\x01\xff", b"\x83\x00"):
        play = start(max_message_size=5)
        play.session.receive_data(b"".join((HELLO, bad) if play.client else map(masked, (HELLO, bad))))
        play.session.close(NORMAL, CloseCause.CLOSED, keep_arrived=True)
        play.written()
        play.look()
        assert play.events == ["Hello"]
        assert play.event == ended(1006, by="local", cause=CloseCause.CLOSED, sent=NORMAL)


def test_close_that_arrived_before_ours_counts_behind_the_messages(start: Start) -> None:
    """The peer's Close had been read too: the messages ahead of it are handed out, then it makes a crossing."""
    play = start()
    frames = (HELLO, CLOSE_1001, HELLO)
    play.session.receive_data(b"".join(frames if play.client else map(masked, frames)))
    play.session.close(NORMAL, CloseCause.CLOSED, keep_arrived=True)
    assert play.state is State.CLOSE_QUEUED
    play.look()

    assert play.events == ["Hello"]
    assert play.written() == CLOSE_1000
    assert play.event == ended(1001, clean=True, by="local", cause=CloseCause.CLOSED, sent=NORMAL, received=LEAVING)


def test_close_after_the_peers_keeps_nothing(start: Start) -> None:
    """Nothing counts behind the peer's Close, and a second wish of ours cannot bring back what was dropped."""
    play = start()
    play.peer(CLOSE_1000, HELLO)
    play.session.close(NORMAL, CloseCause.CLOSED, keep_arrived=True)
    play.look()
    assert play.events == []

    play = start()
    play.close()
    play.session.receive_data(HELLO if play.client else masked(HELLO))
    play.session.close(NORMAL, CloseCause.CLOSED, keep_arrived=True)
    play.look()
    assert (play.events, play.session.messages_dropped) == ([], 1)


def test_flood_of_tiny_frames_is_looked_at_in_turns(role: str) -> None:
    """Who has others to serve too says how many frames to begin; the next call goes on from there."""
    play = Play(client=role == "client", bytewise=False)
    flood = (b"\x02\x01a", *[b"\x00\x01b"] * 98, b"\x80\x01c", HELLO)
    play.session.receive_data(b"".join(flood if play.client else map(masked, flood)))

    for begun in (0, 1, 40, 99):
        assert play.session.next_event(begun) is None
        assert play.session.looked_at == begun
    assert play.session.next_event(100) == b"a" + b"b" * 98 + b"c"
    assert play.session.next_event(100) is None
    assert play.session.next_event() == "Hello"
    assert play.session.looked_at == 101


def test_flood_of_tiny_frames_after_ours_costs_little(role: str) -> None:
    """64 KiB of empty frames are dropped in one go: none of them needs a turn."""
    play = Play(client=role == "client", bytewise=False)
    play.close()
    play.written()
    frames = (b"\x89\x00", b"\x82\x00", b"\x01\x00", b"\x8a\x00", b"\x00\x00", b"\x80\x00")
    flood = b"".join(frames if play.client else map(masked, frames))
    play.session.receive_data(flood * (65536 // len(flood)))

    assert play.session.next_event(0) is None
    assert play.session.looked_at == 0
    assert play.session.messages_dropped == 2 * (65536 // len(flood))
    play.peer(CLOSE_1000)
    assert play.event == ended(1000, clean=True, by="local", cause=CloseCause.EXIT, sent=NORMAL, received=NORMAL)


def test_big_message_after_ours_is_skipped_without_being_stored(role: str) -> None:
    """16 MiB of a message of a terabyte pass by in a bounded space, and are counted."""
    play = Play(client=role == "client", bytewise=False)
    play.close()
    play.written()
    play.peer(b"\x82\x7f" + (2**40).to_bytes(8))
    chunk = bytes(65536)
    tracemalloc.start()
    try:
        for _ in range(256):
            play.raw(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2**20
    assert (play.session.bytes_dropped, play.session.messages_dropped) == (2**24, 0)
    assert play.state is State.CLOSE_SENT


@pytest.mark.parametrize("end", ["peer's Close", "our Close", "garbage", "failure", "loss", "FIN"])
def test_what_does_not_count_any_more_is_not_kept(role: str, end: str) -> None:
    """When the end begins, megabytes of a message under way, and of bytes behind it, are let go at once."""
    play = Play(client=role == "client", bytewise=False, max_message_size=None)
    chunk = bytes(65536)
    behind = {"peer's Close": CLOSE_1000, "garbage": b"\x83\x00"}.get(end, b"\x80\x7f" + (2**40).to_bytes(8))
    tracemalloc.start()
    try:
        play.peer(b"\x02\x7f" + (2**21).to_bytes(8))
        for _ in range(32):
            play.raw(chunk)
        assert tracemalloc.get_traced_memory()[0] > 2**21, "what is measured is not what is kept"
        play.session.receive_data(behind if play.client else masked(behind))
        for _ in range(32):
            play.session.receive_data(chunk)
        if end == "our Close":
            play.close()
        elif end == "failure":
            play.session.fail(1011, "", CloseCause.INTERNAL_ERROR)
        elif end == "loss":
            play.session.lose_transport(CloseCause.RESET)
        elif end == "FIN":
            play.look()
            play.session.receive_eof()
        play.look()
        for _ in range(32):
            play.raw(chunk)
        gc.collect()  # wsproto's generators make cycles
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert kept < 2**20
    assert play.state is not State.OPEN


# Bytes that a peer must never send; the second role differs by the mask, which `play.peer` sees to.
GARBAGE: Final = {
    "opcode 0x3": b"\x83\x00",
    "opcode 0x7": b"\x87\x00",
    "opcode 0xb": b"\x8b\x00",
    "opcode 0xf": b"\x8f\x00",
    "RSV1": b"\xc1\x00",
    "RSV2": b"\xa1\x00",
    "RSV3": b"\x91\x00",
    "RSV1 in a Ping": b"\xc9\x00",
    "RSV3 in a Close": b"\x98\x02\x03\xe8",
    "fragmented Ping": b"\x09\x00",
    "fragmented Close": b"\x08\x02\x03\xe8",
    "Ping of 126 bytes": b"\x89\x7e\x00\x7e" + b"x" * 126,
    "Close of 126 bytes": b"\x88\x7e\x00\x7e\x03\xe8" + b"x" * 124,
    "continuation without a message": b"\x80\x01x",
    "continuation without a message, not the last": b"\x00\x00",
    "16 bits for 125": b"\x82\x7e\x00\x7d" + b"x" * 125,
    "16 bits for a Ping's 5": b"\x89\x7e\x00\x05hello",
    "64 bits for 65535": b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
    "64 bits with the highest": b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
    "Close of one byte": b"\x88\x01\x03",
    "Close 0": b"\x88\x02\x00\x00",
    "Close 999": b"\x88\x02\x03\xe7",
    "Close 1004": b"\x88\x02\x03\xec",
    "Close 1005": b"\x88\x02\x03\xed",
    "Close 1006": b"\x88\x02\x03\xee",
    "Close 1015": b"\x88\x02\x03\xf7",
    "Close 1016": b"\x88\x02\x03\xf8",
    "Close 2999": b"\x88\x02\x0b\xb7",
    "Close 5000": b"\x88\x02\x13\x88",
    "Close 65535": b"\x88\x02\xff\xff",
}

BAD_TEXT: Final = {
    "ff": b"\xff",
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "over U+10FFFF": b"\xf4\x90\x80\x80",
    "cut": b"ok \xe2\x82",
    "continuation alone": b"\x80",
}


def named(table: dict[str, bytes]) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("bad", table.values(), ids=table)


@named(GARBAGE | {f"Close with {name}": close_frame(1000, text) for name, text in BAD_TEXT.items()})
def test_peer_garbage_after_ours_is_1006_with_the_cause_kept(start: Start, bad: bytes) -> None:
    """`peer-garbage-after-ours`: no second Close; `sent` and the cause stay; nothing behind it counts."""
    play = start()
    play.close(BYE, CloseCause.CLOSED)
    play.written()
    play.peer(HELLO, bad, CLOSE_1000)

    assert play.event == ended(1006, by="local", cause=CloseCause.CLOSED, sent=BYE)
    assert (play.queued(), play.state, play.events) == (None, State.FAILED, [])


@pytest.mark.parametrize("written", [True, False], ids=["then written", "then lost"])
@named({name: GARBAGE[name] for name in ("opcode 0x3", "RSV1", "Close 1005", "continuation without a message")})
def test_peer_garbage_while_ours_is_queued_is_1006_too(start: Start, bad: bytes, written: bool) -> None:
    """`peer-garbage-after-ours` before ours was written: ours goes out unchanged, if it can, and decides the event."""
    play = start()
    play.close(BYE, CloseCause.CLOSED)
    play.peer(bad, CLOSE_1000)

    assert (play.state, play.event) == (State.FAILING, None)
    if written:
        assert play.written() == CLOSE_4000_BYE
        assert play.event == ended(1006, by="local", cause=CloseCause.CLOSED, sent=BYE)
    else:
        play.session.lose_transport(CloseCause.RESET)
        assert play.event == ended(1006, by="transport", cause=CloseCause.CLOSED)


@pytest.mark.parametrize("moment", ["answer queued", "answer sent", "answered"])
@pytest.mark.parametrize(
    "more",
    [HELLO, b"\x89\x00", CLOSE_1001, b"\xff\xff\xff", b"\x83\x00", b"\x81\x02\xff\xff"],
    ids=lambda raw: raw.hex(),
)
def test_peer_after_its_own_close_is_ignored(start: Start, more: bytes, moment: str) -> None:
    """`peer-after-its-own`: whatever follows the peer's Close, in the same segment or later, changes nothing."""
    play = start()
    if moment == "answered":
        play.close()
        play.written()
    play.peer(CLOSE_1000, more)
    if moment == "answer sent":
        play.written()
    play.peer(more)
    if moment == "answer queued":
        assert play.written() == CLOSE_1000

    assert play.events == []
    assert play.event is not None
    assert (play.event.code, play.event.was_clean, play.event.received) == (1000, True, NORMAL)
    assert (play.session.messages_dropped, play.session.bytes_dropped) == (0, 0)
    assert play.queued() is None


@pytest.mark.parametrize("ends", [["eof"], ["reset"], ["eof", "reset"], ["eof", "eof"], ["reset", "eof"]], ids=str)
@pytest.mark.parametrize("peer_first", [True, False], ids=["peer first", "we first"])
def test_peer_tcp_after_both_changes_nothing(start: Start, peer_first: bool, ends: list[str]) -> None:
    """`peer-tcp-after-both`: once both Close frames have travelled, the event is the very same object for ever."""
    play = start()
    if not peer_first:
        play.close()
        play.written()
    play.peer(CLOSE_1000)
    if peer_first:
        play.written()
    event = play.event
    for end in ends:
        if end == "eof":
            play.session.receive_eof()
        else:
            play.session.lose_transport(CloseCause.RESET, ConnectionResetError())

    assert event is not None
    assert event.was_clean
    assert play.event is event
    assert play.session.error is None


# -- section 4: failing the connection -------------------------------------------------------------------------------


def failed_with(play: Play, code: int, cause: CloseCause) -> str:
    """Check that *play* fails as section 4 has it, whatever the peer still does; return the reason that was sent."""
    assert (play.state, play.event, play.session.cause) == (State.FAILING, None, cause)
    frame = play.queued()
    assert frame is not None
    reason = frame[4:].decode()
    assert frame == close_frame(code, reason.encode())
    play.peer(HELLO, CLOSE_1000, b"\xff\xff")
    play.session.receive_eof()
    play.close()
    assert (play.state, play.event) == (State.FAILING, None)
    play.session.close_written()
    assert play.event == ended(1006, by="local", cause=cause, sent=CloseFrame(code, reason))
    play.peer(CLOSE_1000)
    play.session.lose_transport(CloseCause.RESET)
    assert play.event == ended(1006, by="local", cause=cause, sent=CloseFrame(code, reason))
    assert play.queued() is None
    return reason


@named(GARBAGE)
def test_fail_frame_sends_1002_and_is_1006(start: Start, bad: bytes) -> None:
    """`fail-frame`: malformed framing is answered with 1002 and a reason; messages before it are delivered first."""
    play = start()
    play.peer(HELLO, b"\x82\x01x", bad, HELLO)

    assert play.events == ["Hello", b"x"]
    assert failed_with(play, 1002, CloseCause.PROTOCOL_ERROR)


@pytest.mark.parametrize("bad", [b"\x81\x00", b"\x02\x01x"], ids=["text", "binary"])
def test_fail_frame_new_message_inside_a_fragmented_one(start: Start, bad: bytes) -> None:
    """`fail-frame`: a message that is under way must be finished first; its start is not delivered."""
    play = start()
    play.peer(b"\x01\x01a", b"\x89\x01p", bad)

    assert play.events == [Ping(b"p")]
    assert failed_with(play, 1002, CloseCause.PROTOCOL_ERROR) == "new message inside a fragmented one"


def test_fail_frame_masking(start: Start) -> None:
    """`fail-frame`: a server's frame with a mask, and a client's without one."""
    play = start()
    play.raw(masked(HELLO) if play.client else HELLO)

    reason = "server frame with a mask" if play.client else "client frame without a mask"
    assert failed_with(play, 1002, CloseCause.PROTOCOL_ERROR) == reason


def test_fail_frame_http(start: Start) -> None:
    """`fail-frame`: a peer that speaks HTTP again is no WebSocket peer."""
    play = start()
    play.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert failed_with(play, 1002, CloseCause.PROTOCOL_ERROR)


@named(BAD_TEXT)
def test_fail_utf8_in_a_message(start: Start, bad: bytes) -> None:
    """`fail-utf8`: text that is not UTF-8 is answered with 1007; binary of the same bytes is a message."""
    play = start()
    play.peer(data_frame(0x82, bad), data_frame(0x81, bad))

    assert play.events == [bad]
    assert failed_with(play, 1007, CloseCause.INVALID_PAYLOAD)


@named(BAD_TEXT)
def test_fail_utf8_in_a_fragment(start: Start, bad: bytes) -> None:
    """`fail-utf8`: the whole message is one text, wherever it was cut, and whatever came in between."""
    play = start()
    play.peer(b"\x01\x02ok", data_frame(0x00, bad[:-1]), b"\x89\x00", data_frame(0x80, bad[-1:]))

    assert play.events in ([Ping(b"")], [])  # it may be seen to be bad before the Ping
    assert failed_with(play, 1007, CloseCause.INVALID_PAYLOAD)


@pytest.mark.parametrize("code", [1000, 1001, 1013, 1014, 3000, 4999])
@named(BAD_TEXT)
def test_fail_utf8_in_a_close_reason(start: Start, bad: bytes, code: int) -> None:
    """`fail-utf8`: a reason that is not UTF-8 is answered with 1007, for each legal code; that Close is no Close."""
    play = start()
    play.peer(HELLO, close_frame(code, bad))

    assert play.events == ["Hello"]
    assert failed_with(play, 1007, CloseCause.INVALID_PAYLOAD)


def test_fail_utf8_is_seen_before_the_message_is_whole(start: Start) -> None:
    """`fail-utf8`: a text that cannot become right any more fails at once, not at its end."""
    play = start()
    play.peer(b"\x81\x7e\xff\xffok\xff")

    assert failed_with(play, 1007, CloseCause.INVALID_PAYLOAD)


@pytest.mark.parametrize("first", [0x81, 0x82], ids=["text", "binary"])
def test_fail_size_at_the_limit_passes(start: Start, first: int) -> None:
    """`fail-size`: a message of just the limit is delivered, whole or in fragments, again and again."""
    play = start(max_message_size=5)
    whole, begin = data_frame(first, b"Hello"), data_frame(first & 0x0F, b"He")
    play.peer(whole, begin, b"\x00\x01l", b"\x89\x06longer", b"\x80\x02lo", whole)

    message = "Hello" if first == 0x81 else b"Hello"
    assert play.events == [message, Ping(b"longer"), message, message]
    assert play.state is State.OPEN


@pytest.mark.parametrize(
    ("frames", "size"),
    [
        ([b"\x82\x06"], 6),
        ([b"\x81\x06"], 6),
        ([b"\x81\x7e\xff\xff"], 65535),
        ([b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"], 2**63 - 1),
        ([b"\x01\x05Hello", b"\x80\x01"], 6),
        ([b"\x02\x02ab", b"\x00\x02cd", b"\x00\x02"], 6),
        ([b"\x81\x03\xe2\x82\xac", b"\x81\x06"], 6),
    ],
    ids=["binary", "text", "16 bits", "64 bits", "fragments", "more fragments", "in bytes, not characters"],
)
def test_fail_size_past_the_limit_names_limit_and_size(start: Start, frames: list[bytes], size: int) -> None:
    """`fail-size`: one byte more is answered with 1009, on the header, before the payload came."""
    play = start(max_message_size=5)
    play.peer(HELLO, *frames)

    assert play.events[0] == "Hello"
    assert failed_with(play, 1009, CloseCause.MESSAGE_TOO_BIG) == f"message of {size} bytes is over the limit of 5"


def test_fail_size_of_zero_lets_empty_messages_through(start: Start) -> None:
    """`fail-size`: with a limit of 0 there is room for nothing but empty messages."""
    play = start(max_message_size=0)
    play.peer(b"\x81\x00", b"\x02\x00", b"\x80\x00", b"\x82\x01")

    assert play.events == ["", b""]
    assert failed_with(play, 1009, CloseCause.MESSAGE_TOO_BIG) == "message of 1 bytes is over the limit of 0"


def test_fail_size_without_a_limit_takes_any_size(role: str) -> None:
    """`fail-size`: `None` is no limit, neither of size nor of fragments."""
    play = Play(client=role == "client", bytewise=False, max_message_size=None, max_fragments=None)
    play.peer(b"\x02\x01a", *[b"\x00\x00"] * 1000, data_frame(0x80, bytes(2**21)))

    assert play.events == [b"a" + bytes(2**21)]


def test_fail_fragments_at_the_limit_passes(start: Start) -> None:
    """`fail-fragments`: a message of just that many fragments is delivered, again and again."""
    play = start(max_fragments=3)
    play.peer(*[b"\x01\x00", b"\x00\x01x", b"\x89\x00", b"\x80\x00"] * 2, HELLO)

    assert play.events == [Ping(b""), "x", Ping(b""), "x", "Hello"]


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["empty", "not empty"])
@pytest.mark.parametrize("last", [b"\x00\x00", b"\x80\x00"], ids=["more to come", "the last"])
def test_fail_fragments_past_the_limit_names_limit_and_number(start: Start, last: bytes, payload: bytes) -> None:
    """`fail-fragments`: one more is answered with 1009, empty ones count too."""
    play = start(max_fragments=3)
    play.peer(HELLO, data_frame(0x02, payload), *[data_frame(0x00, payload)] * 2, last)

    assert play.events == ["Hello"]
    reason = failed_with(play, 1009, CloseCause.MESSAGE_TOO_BIG)
    assert reason == "message of 4 fragments is over the limit of 3"


@pytest.mark.unmeasured
def test_message_of_65536_fragments_passes_the_default(role: str) -> None:
    """The default of `Options` lets through what peers are known to send."""
    options = Options()
    play = Play(
        client=role == "client",
        bytewise=False,
        max_fragments=options.max_fragments,
        max_message_size=options.max_message_size,
    )
    begin, more, end = (raw if play.client else masked(raw) for raw in (b"\x02\x01a", b"\x00\x01b", b"\x80\x01c"))
    play.raw(begin + more * 65534 + end)

    assert play.events == [b"a" + b"b" * 65534 + b"c"]


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        pytest.param(1011, "", CloseCause.INTERNAL_ERROR, id="fail-internal"),
        pytest.param(1011, "keepalive timeout", CloseCause.KEEPALIVE_TIMEOUT, id="fail-keepalive"),
    ],
)
def test_fail_from_outside(start: Start, code: int, reason: str, cause: CloseCause) -> None:
    """`fail-internal`, `fail-keepalive`: who drives the session may fail it, in the middle of a frame too."""
    play = start()
    play.peer(HELLO, b"\x01\x05Hel")
    play.session.fail(code, reason, cause)

    assert failed_with(play, code, cause) == reason
    assert play.events == ["Hello"]


def test_fail_before_ours_was_written_and_lost_has_no_sent(start: Start) -> None:
    """The transport goes before the Close of a failure is out: 1006 of the same cause, `sent` is `None`."""
    play = start()
    play.peer(b"\x83\x00")
    play.queued()
    play.session.lose_transport(CloseCause.RESET, ConnectionResetError())

    assert play.event == ended(1006, by="transport", cause=CloseCause.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("reason", "cut"),
    [
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("\u00e4" * 62, "\u00e4" * 61),
        ("\u20ac" * 41 + "x", "\u20ac" * 41),
        ("\U0001f600" * 99, "\U0001f600" * 30),
    ],
    ids=["fits", "ascii", "two bytes", "three bytes", "four bytes"],
)
def test_reason_of_a_failure_is_cut_at_a_character(start: Start, reason: str, cut: str) -> None:
    """A reason of our own making that is too long loses its end, never half a character."""
    play = start()
    play.session.fail(1002, reason, CloseCause.PROTOCOL_ERROR)

    assert failed_with(play, 1002, CloseCause.PROTOCOL_ERROR) == cut


@pytest.mark.parametrize("moment", ["close received", "exchanged", "closed"])
def test_fail_after_the_peers_close_changes_nothing(start: Start, moment: str) -> None:
    """The peer's Close came first: no failure afterwards can make another event of it."""
    play = start()
    play.peer(CLOSE_1000)
    if moment != "close received":
        play.written()
    if moment == "closed":
        play.session.lose_transport(CloseCause.RESET)
    play.session.fail(1011, "", CloseCause.INTERNAL_ERROR)
    if moment == "close received":
        assert play.written() == CLOSE_1000

    assert play.event == ended(1000, clean=True, by="remote", cause=CloseCause.REMOTE, sent=NORMAL, received=NORMAL)
    assert play.queued() is None


# -- section 5: the transport dies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [b"", HELLO[:1], HELLO[:4], b"\x01\x03Hel", CLOSE_1000[:3]], ids=lambda raw: raw.hex())
def test_transport_eof_is_1006(start: Start, half: bytes) -> None:
    """`transport-eof`: FIN without any Close, between frames or inside one; messages before it are delivered."""
    play = start()
    play.peer(HELLO)
    play.peer(half) if len(half) > 1 else play.raw(half)
    play.session.receive_eof()

    assert play.events == ["Hello"]
    assert play.event == ended(1006, by="transport", cause=CloseCause.EOF)
    assert (play.state, play.session.error) == (State.CLOSED, None)


def test_transport_reset_is_1006_and_keeps_the_error(start: Start) -> None:
    """`transport-reset`: RST without any Close; the socket's error is kept for what `receive` raises."""
    play = start()
    play.peer(HELLO)
    error = ConnectionResetError()
    play.session.lose_transport(CloseCause.RESET, error)

    assert play.event == ended(1006, by="transport", cause=CloseCause.RESET)
    assert play.session.error is error


@pytest.mark.parametrize("first", ["eof", "reset"])
def test_transport_lost_twice_is_lost_as_at_first(start: Start, first: str) -> None:
    """The first loss counts, the event stays the same object."""
    play = start()
    steps: list[Callable[[], None]] = [
        play.session.receive_eof,
        lambda: play.session.lose_transport(CloseCause.RESET, ConnectionResetError()),
    ]
    if first == "reset":
        steps.reverse()
    steps[0]()
    event = play.event
    steps[1]()

    assert play.event is event
    assert play.event == ended(1006, by="transport", cause=CloseCause(first))
    assert (play.session.error is None) is (first == "eof")


# -- codes of the peer -----------------------------------------------------------------------------------------------


def outcome_of_close(raw: bytes, *, client: bool) -> tuple[CloseFrame | None, int | None]:
    """Return what was received, and the code of our own Close."""
    session = Session(client=client)
    session.receive_data(raw if client else masked(raw))
    assert session.next_event() is None
    session.take_close_frame()
    session.close_written()
    assert session.close_event is not None
    assert session.close_event.sent is not None
    return session.close_event.received, session.close_event.sent.code


def assert_code_is_judged(code: int, reason: str, *, client: bool) -> None:
    received, sent = outcome_of_close(close_frame(code, reason.encode()), client=client)
    if is_sendable(code):
        assert (received, sent) == (CloseFrame(code, reason), code)
    else:
        assert (received, sent) == (None, 1002)


def test_every_code_near_a_boundary_is_accepted_exactly_if_it_is_sendable(role: str) -> None:
    """A Close of the peer with any code up to 5100, or one near a power of two, is accepted, or 1002."""
    for code in [*range(5100), *(2**n + step for n in range(13, 17) for step in (-2, -1, 0, 1)), 65535]:
        if code < 65536:
            assert_code_is_judged(code, "", client=role == "client")


@settings(deadline=None)
@given(code=st.integers(0, 65535), reason=st.text(max_size=30), client=st.booleans())
@example(code=1014, reason="", client=True)
@example(code=1014, reason="\U0001f600" * 30, client=False)
def test_any_code_is_accepted_exactly_if_it_is_sendable(code: int, reason: str, client: bool) -> None:
    """With a reason too: what `is_sendable` allows is accepted and echoed, everything else is answered with 1002."""
    assert_code_is_judged(code, reason, client=client)


@pytest.mark.parametrize("reason", [b"", b"bad gateway", "\u00e4\u20ac".encode(), b"x" * 123])
def test_1014_is_a_code_as_any_other(start: Start, reason: bytes) -> None:
    """1014 is registered: first, as an answer, and in a crossing, with and without a reason."""
    raw, frame = close_frame(1014, reason), CloseFrame(1014, reason.decode())

    play = start()
    play.peer(raw)
    assert play.written() == raw
    assert play.event == ended(
        1014, frame.reason, clean=True, by="remote", cause=CloseCause.REMOTE, sent=frame, received=frame
    )

    for crossing in (True, False):
        play = start()
        play.close()
        if not crossing:
            play.written()
        play.peer(b"\x89\x00", raw)
        if crossing:
            assert play.written() == CLOSE_1000
        assert play.event == ended(
            1014, frame.reason, clean=True, by="local", cause=CloseCause.EXIT, sent=NORMAL, received=frame
        )


def test_frames_in_the_event_hold_plain_numbers(start: Start) -> None:
    """Whoever made the Close frame, its code is an `int`, as the event's own code is."""
    play = start()
    play.peer(b"\x83\x00")
    play.written()
    assert play.event is not None
    assert play.event.sent is not None
    assert [type(play.event.code), type(play.event.sent.code)] == [int, int]

    play = start()
    play.close(CloseFrame(CloseCode.GOING_AWAY))
    play.written()
    play.peer(close_frame(CloseCode.BAD_GATEWAY))
    assert play.event is not None
    assert play.event.sent is not None
    assert play.event.received is not None
    assert [type(code) for code in (play.event.code, play.event.sent.code, play.event.received.code)] == [int] * 3


# -- the same as wsproto ---------------------------------------------------------------------------------------------


def pieces(data: bytes, cuts: Iterable[int]) -> Iterable[bytes]:
    """Cut *data* at each of *cuts*, in thousandths of its length."""
    places = [0, *sorted({len(data) * cut // 1000 for cut in cuts}), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


def bare_wsproto(chunks: Iterable[bytes], *, client: bool) -> tuple[list[SessionEvent], CloseConnection | None]:
    """Return the events of wsproto alone, messages put together, up to its end."""
    connection = Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)
    events: list[SessionEvent] = []
    parts: list[Any] = []
    for chunk in chunks:
        connection.receive_data(chunk)
        for event in connection.events():
            if isinstance(event, CloseConnection):
                return events, event
            if isinstance(event, Ping | Pong):
                events.append(event)
            elif isinstance(event, TextMessage | BytesMessage):
                parts.append(event.data)
                if event.message_finished:
                    empty: Any = "" if isinstance(event, TextMessage) else b""
                    events.append(empty.join(parts))
                    parts = []
    return events, None


def our_session(chunks: Iterable[bytes], *, client: bool) -> tuple[list[SessionEvent], Session]:
    session = Session(client=client, max_message_size=None)
    events = []
    for chunk in chunks:
        session.receive_data(chunk)
        while (event := session.next_event()) is not None:
            events.append(event)
    return events, session


CONTROLS: Final = st.builds(data_frame, st.sampled_from([0x89, 0x8A]), st.binary(max_size=6))


@st.composite
def message_frames(draw: st.DrawFn) -> list[bytes]:
    """A message, whole or in fragments, with control frames in between."""
    text = draw(st.booleans())
    content = draw(st.text(max_size=12)).encode() if text else draw(st.binary(max_size=12))
    if draw(st.integers(0, 9)) == 0:
        content *= draw(st.sampled_from([10, 40, 6000]))
    parts = list(pieces(content, draw(st.lists(st.integers(0, 1000), max_size=4))))
    frames = []
    for number, part in enumerate(parts):
        first = (0x80 if number == len(parts) - 1 else 0) | (0 if number else 1 if text else 2)
        frames += [data_frame(first, part), *draw(st.lists(CONTROLS, max_size=2))]
    return frames


REST_OF_A_HEADER: Final = bytes(14)
CUTS: Final = st.lists(st.integers(0, 1000), max_size=12)


@settings(deadline=None)
@given(messages=st.lists(message_frames(), max_size=5), cuts=CUTS, client=st.booleans())
def test_messages_are_the_same_as_with_bare_wsproto(messages: list[list[bytes]], cuts: list[int], client: bool) -> None:
    """Whole and fragmented messages with pings among them, cut anywhere: what wsproto yields, nothing more or less."""
    frames = [frame for message in messages for frame in message]
    chunks = list(pieces(b"".join(frames if client else map(masked, frames)), cuts))
    events, session = our_session(chunks, client=client)

    assert (events, None) == bare_wsproto(chunks, client=client)
    assert len([event for event in events if isinstance(event, str | bytes)]) == len(messages)
    assert session.state is State.OPEN


@st.composite
def nearly_frames(draw: st.DrawFn) -> bytes:
    """A frame that is often a little wrong; its mask is seen to elsewhere."""
    first = draw(st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88]) | st.integers(0, 255))
    payload = draw(st.binary(max_size=8) | st.text(max_size=4).map(str.encode))
    if first == 0x88 and draw(st.booleans()):
        payload = draw(st.sampled_from([1000, 1001, 1005, 1013, 3000, 5000])).to_bytes(2) + payload
    return data_frame(first, payload)


@pytest.mark.unmeasured
@settings(deadline=None)
@given(
    frames=st.lists(nearly_frames(), max_size=8), noise=st.binary(max_size=4), cuts=CUTS, client=st.booleans(), bad=...
)
def test_any_bytes_come_to_the_same_end_as_with_bare_wsproto(
    frames: list[bytes], noise: bytes, cuts: list[int], client: bool, bad: bool
) -> None:
    """Legal or not, cut anywhere: the same messages, then the same Close, or a failure of the same code.

    We judge a header when it is whole, wsproto may do so earlier; therefore the last one is made whole.
    """
    data = b"".join(frames if client is not bad else map(masked, frames)) + noise + REST_OF_A_HEADER
    chunks = list(pieces(data, cuts))
    events, session = our_session(chunks, client=client)
    theirs, close = bare_wsproto(chunks, client=client)

    assert events == theirs
    if close is None:
        assert session.state is State.OPEN
        return
    session.take_close_frame()
    session.close_written()
    event = session.close_event
    assert event is not None
    if event.received is not None and event.received.code != 1014:
        assert (event.code, event.reason) == (close.code, close.reason or "")
    elif event.received is None:
        assert event.sent is not None
        assert event.sent.code == close.code


@settings(deadline=None)
@given(frames=st.lists(nearly_frames(), max_size=8), before=st.integers(0, 20), cuts=CUTS, client=st.booleans())
def test_what_is_dropped_after_ours_does_not_depend_on_how_it_came(
    frames: list[bytes], before: int, cuts: list[int], client: bool
) -> None:
    """The short way over whole frames drops what the long way does: same counts, same state, same event."""
    data = b"".join(frames if client else map(masked, frames))
    data, rest = data[:before], data[before:]
    ends = []
    for chunks in ([rest], pieces(rest, cuts), [rest[i : i + 1] for i in range(len(rest))]):
        play = Play(client=client, bytewise=False)
        play.raw(data)
        play.close()
        play.queued()
        if play.state is State.CLOSE_QUEUED:
            play.session.close_written()
        for chunk in chunks:
            play.raw(chunk)
        session = play.session
        ends.append((play.events, play.state, play.event, session.messages_dropped, session.bytes_dropped))

    # Half a frame's payload counts as it comes; in one piece or in several is the same.
    assert ends[0] == ends[1] == ends[2]


# -- any course of events --------------------------------------------------------------------------------------------

STEPS: Final = st.one_of(
    st.tuples(st.just("peer"), nearly_frames() | st.sampled_from([CLOSE_1000, CLOSE_EMPTY, HELLO, b"\x83\x00"])),
    st.tuples(st.just("raw"), st.binary(max_size=5)),
    st.tuples(st.just("look"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["close", "close, keep"]), st.sampled_from([NORMAL, BYE, CloseFrame()])),
    st.tuples(st.just("fail"), st.sampled_from([1002, 1007, 1009, 1011])),
    st.tuples(st.just("write"), st.none()),
    st.tuples(st.just("eof"), st.none()),
    st.tuples(st.just("lose"), st.sampled_from([CloseCause.RESET, CloseCause.ABORTED])),
)


@settings(deadline=None)
@given(steps=st.lists(STEPS, max_size=20), client=st.booleans())
def test_any_course_of_events_ends_in_one_event_that_is_true(steps: list[tuple[str, Any]], client: bool) -> None:
    """Whatever happens in whatever order: one Close of ours at most, one event, and its fields agree."""
    session = Session(client=client, max_message_size=20, max_fragments=3)
    ours: list[bytes] = []
    event: CloseEvent | None = None
    cause: CloseCause | None = None
    failed = peer_first = False
    value: Any
    for name, value in [*steps, ("look", math.inf), ("write", None), ("lose", CloseCause.RESET)]:
        before = session.state
        if name in ("peer", "raw"):
            session.receive_data(masked(value) if name == "peer" and not client else value)
        elif name == "look":
            count = 0
            while count < value and session.next_event() is not None:
                count += 1
        elif name in ("close", "close, keep"):
            session.close(value, CloseCause.CLOSED, keep_arrived=name == "close, keep")
        elif name == "fail":
            session.fail(value, "x", CloseCause.INTERNAL_ERROR)
        elif name == "write":
            frame = session.take_close_frame()
            if frame is not None:
                ours.append(unmasked(frame) if client else frame)
            if session.state in (State.CLOSE_QUEUED, State.CLOSE_RECEIVED, State.FAILING):
                session.close_written()
        elif name == "eof":
            session.receive_eof()
        else:
            session.lose_transport(value)

        if event is not None:
            assert session.close_event is event, "an event never changes"
        if cause is not None:
            assert session.cause is cause, "a cause never changes"
        event, cause = session.close_event, session.cause
        failed = failed or session.state in (State.FAILING, State.FAILED)
        peer_first = peer_first or (before is State.OPEN and session.state is State.CLOSE_RECEIVED)
        if event is None:
            assert session.state in (
                State.OPEN,
                State.CLOSE_QUEUED,
                State.CLOSE_SENT,
                State.CLOSE_RECEIVED,
                State.FAILING,
            )
        assert (cause is None) is (session.state is State.OPEN)

    assert session.state is State.CLOSED
    assert len(ours) <= 1
    assert event is not None
    assert event.cause is cause
    assert event.was_clean is (event.sent is not None and event.received is not None and not failed)
    assert (event.cause is CloseCause.REMOTE) is peer_first
    received = event.received
    if received is None:
        assert (event.code, event.reason) == (1006, "")
    else:
        assert (event.code, event.reason) == (1005 if received.code is None else received.code, received.reason)
    if event.sent is not None:
        code, reason = event.sent.code, event.sent.reason.encode()
        assert ours == [CLOSE_EMPTY if code is None else close_frame(code, reason)]
    local = event.sent is not None and not peer_first
    assert event.initiated_by == ("local" if local else "transport" if received is None else "remote")
    assert CloseEvent.from_dict(event.to_dict()) == event


# -- the day wsproto changes -----------------------------------------------------------------------------------------


def wsproto_events(connection: Connection, data: bytes) -> list[Event]:
    connection.receive_data(data)
    return list(connection.events())


@pytest.mark.parametrize(
    ("bad", "code"),
    [(b"\x83\x00", 1002), (b"\x81\x01\xff", 1007), (b"\x88\x01x", 1002), (b"\x88\x03\x03\xe8\xff", 1007)],
)
def test_wsproto_makes_up_a_close_for_malformed_input(bad: bytes, code: int) -> None:
    """wsproto yields the event of a Close frame that nobody sent; only its state, still OPEN, tells it from a real one.

    When this fails, `Session._is_real_close` may go: wsproto tells a failure from a Close by itself.
    """
    made_up, real = Connection(ConnectionType.CLIENT), Connection(ConnectionType.CLIENT)
    (invented,) = wsproto_events(made_up, bad)
    (sent,) = wsproto_events(real, close_frame(code))

    assert isinstance(invented, CloseConnection)
    assert isinstance(sent, CloseConnection)
    assert invented.code == sent.code == code
    assert made_up.state is ConnectionState.OPEN
    assert real.state is ConnectionState.REMOTE_CLOSING


def test_wsproto_makes_up_a_close_for_malformed_input_after_ours() -> None:
    """The same while our own Close is out: the state stays LOCAL_CLOSING, after a real Close it is CLOSED.

    When this fails, see `Session._is_real_close`.
    """
    for raw, state in [(b"\x83\x00", ConnectionState.LOCAL_CLOSING), (CLOSE_1000, ConnectionState.CLOSED)]:
        connection = Connection(ConnectionType.CLIENT)
        connection.send(CloseConnection(code=1000))
        assert [type(event) for event in wsproto_events(connection, raw)] == [CloseConnection]
        assert connection.state is state


def test_wsproto_refuses_code_1014() -> None:
    """wsproto takes 1014 of the peer for an unknown code, and makes up a Close with 1002.

    When this fails, `Session._read_bad_gateway` may go, and 1014 be read as any other code.
    """
    connection = Connection(ConnectionType.CLIENT)
    (event,) = wsproto_events(connection, close_frame(1014))

    assert isinstance(event, CloseConnection)
    assert (event.code, connection.state) == (1002, ConnectionState.OPEN)


def test_wsproto_has_no_limits() -> None:
    """wsproto takes a message of any size in any number of fragments.

    When this fails, look whether its own limits can do what `Session._check_limits` does.
    """
    connection = Connection(ConnectionType.CLIENT)
    huge = wsproto_events(connection, b"\x02\x7f" + (2**62).to_bytes(8) + b"x")
    assert [(type(event), getattr(event, "data", None)) for event in huge] == [(BytesMessage, b"x")]

    connection = Connection(ConnectionType.CLIENT)
    assert len(wsproto_events(connection, b"\x02\x00" + b"\x00\x00" * 1000)) == 1001


def test_wsproto_keeps_the_last_payload() -> None:
    """wsproto holds on to the last payload that it was fed, though its event was taken, until it is asked for more.

    When this fails, `Session._take` may leave the old `Connection` in its place at the end.
    """
    connection = Connection(ConnectionType.CLIENT)
    tracemalloc.start()
    try:
        connection.receive_data(data_frame(0x02, bytes(2**20)))
        next(connection.events())
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] > 2**20
    finally:
        tracemalloc.stop()


def test_wsproto_cannot_skip() -> None:
    """After our own Close wsproto still decodes, stores and judges what the peer sends.

    When this fails, `Session._skip`, and the fresh `Connection` of `_begin_frame`, may go.
    """
    connection = Connection(ConnectionType.CLIENT)
    connection.send(CloseConnection(code=1000))
    (message,) = wsproto_events(connection, HELLO)
    (judged,) = wsproto_events(connection, b"\x81\x01\xff")

    assert isinstance(message, TextMessage)
    assert isinstance(judged, CloseConnection)
    assert judged.code == 1007


@pytest.mark.parametrize(
    ("code", "raw"),
    [(CloseReason.NO_STATUS_RCVD, CLOSE_EMPTY), (1005, CLOSE_1000), (1006, CLOSE_1000), (1015, CLOSE_1000)],
)
def test_wsproto_turns_codes_without_a_frame_into_1000(code: int, raw: bytes) -> None:
    """Only the member `NO_STATUS_RCVD` itself asks wsproto for an empty Close; the plain number goes out as 1000.

    When this fails, `Session._encode` may hand over 1005 as it is.
    """
    assert Connection(ConnectionType.SERVER).send(CloseConnection(code=code)) == raw


@pytest.mark.parametrize("code", [0, 999, 1004, 2999, 5000, 65535])
def test_wsproto_sends_codes_that_may_not_be_sent(code: int) -> None:
    """wsproto puts any number of two bytes into a Close frame.

    When this fails, wsproto checks codes by itself; `sendable_frame` still has to say it in time, and why.
    """
    assert Connection(ConnectionType.SERVER).send(CloseConnection(code=code)) == close_frame(code)


def test_wsproto_cuts_a_long_reason() -> None:
    """wsproto shortens a reason to 123 bytes without a word.

    When this fails, `Session.fail` may have to cut its reasons no more; `sendable_frame` refuses them in any case.
    """
    sent = Connection(ConnectionType.SERVER).send(CloseConnection(code=1000, reason="\u00e4" * 62))

    assert sent == close_frame(1000, ("\u00e4" * 61).encode())
