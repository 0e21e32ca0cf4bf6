"""The message being received: put together, or in pieces, by itself and in a session.

Frames are written down as a server sends them, without a mask; the session is the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from trio_closeevents import CloseCause, CloseCode, CloseFrame, Deflate
from trio_closeevents._protocol.assembly import PORTION, Assembly, Excess, Length, Piece, size_of
from trio_closeevents._protocol.closing import State
from trio_closeevents._protocol.deflate import MAX_RATIO, PerMessageDeflate
from trio_closeevents._protocol.frames import Header
from trio_closeevents._protocol.session import Ping, Session, SessionEvent

TEXT, BINARY, CONTINUATION = 1, 2, 0


def header(opcode: int, length: int, *, fin: bool = False, rsv: int = 0) -> Header:
    return Header(fin, rsv, opcode, length, True, b"", 2)


def text(data: str, *, last: bool = False) -> TextMessage:
    return TextMessage(data, message_finished=last)


def binary(data: bytes, *, last: bool = False) -> BytesMessage:
    return BytesMessage(data, message_finished=last)


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Return a frame as a server sends it."""
    size = len(payload)
    length = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2)
    return bytes([fin << 7 | opcode]) + length + payload


def fragmented(opcode: int, *payloads: bytes) -> bytes:
    """Return the frames of one message."""
    *others, last = payloads
    frames = [frame(CONTINUATION if number else opcode, each, fin=False) for number, each in enumerate(others)]
    return b"".join([*frames, frame(CONTINUATION if others else opcode, last)])


# -- by itself -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ("", 0),
        (b"", 0),
        ("abc", 3),
        ("é€😀", 9),
        (b"\xff\0", 2),
        (Piece("é", True), 2),
        (Piece(b"x", False), 1),
    ],
)
def test_size_of_is_that_of_the_bytes(message: Any, size: int) -> None:
    """Of text in UTF-8, of a piece what it has."""
    assert size_of(message) == size


def test_add_puts_a_message_together() -> None:
    """What is kept is counted in bytes; nothing is kept of a message that is over."""
    assembly = Assembly(None, None, None)
    assert assembly.add(text("whole", last=True)) == "whole"
    assert assembly.add(text("é")) is None
    assert assembly.add(text("")) is None
    assert assembly.add(text("€😀")) is None
    assert assembly.kept == 9
    assert assembly.add(text("!", last=True)) == "é€😀!"
    assert assembly.kept == 0
    assert assembly.add(binary(b"one")) is None
    assert assembly.add(binary(b"", last=True)) == b"one"
    assert assembly.add(binary(b"", last=True)) == b""


def test_add_of_a_stream_gives_pieces() -> None:
    """None of them empty but the last; the next message is whole again."""
    assembly = Assembly(None, None, None)
    assembly.begin_stream(None)
    assert assembly.kept_piece() is None
    assert assembly.add(text("one")) == Piece("one", last=False)
    assert assembly.add(text("")) is None
    assert assembly.streaming
    assert assembly.add(text("", last=True)) == Piece("", last=True)
    assert not assembly.streaming
    assert assembly.add(text("whole", last=True)) == "whole"


def test_stream_that_begins_in_the_middle() -> None:
    """What was kept comes first, in one piece, once."""
    assembly = Assembly(None, None, None)
    assembly.add(binary(b"one, "))
    assembly.add(binary(b"two"))
    assert assembly.kept_piece() is None
    assembly.begin_stream(None)
    assert assembly.kept_piece() == Piece(b"one, two", last=False)
    assert assembly.kept_piece() is None
    assert assembly.kept == 0
    assert assembly.add(binary(b"three", last=True)) == Piece(b"three", last=True)


def test_discard_lets_nothing_out() -> None:
    """And nothing has a limit any more."""
    assembly = Assembly(3, None, None)
    assembly.admit(header(TEXT, 3))
    assembly.add(text("one"))
    assembly.begin_stream(5)
    assert assembly.limit == 5
    assembly.discard()
    assert assembly.discarding
    assert not assembly.streaming
    assert not assembly.kept
    assert assembly.kept_piece() is None
    assert assembly.admit(header(CONTINUATION, 100)) is None
    assert assembly.too_large is None


def test_admit_counts_bytes_and_fragments() -> None:
    """At the limit a frame passes, one past it does not, and is not counted."""
    assembly = Assembly(10, 3, None)
    assert assembly.admit(header(TEXT, 11)) == Excess("bytes", 11, 10)
    assert assembly.admit(header(TEXT, 10)) is None
    assert assembly.admit(header(CONTINUATION, 1)) == Excess("bytes", 11, 10)
    assert assembly.admit(header(CONTINUATION, 0)) is None
    assert assembly.admit(header(CONTINUATION, 0)) is None
    assert assembly.admit(header(CONTINUATION, 0)) == Excess("fragments", 4, 3)
    assert assembly.too_large is None
    assembly.begin_stream(9)
    assert assembly.too_large == Excess("bytes", 10, 9)
    assert assembly.admit(header(TEXT, 9)) is None


def test_portion_is_what_can_be_inflated_in_one_go() -> None:
    """With a limit near, all that may be left to it; ahead of the program, only what cannot go beyond it."""
    deflate = PerMessageDeflate(Deflate(), client=True)
    assembly = Assembly(None, None, deflate)
    assert assembly.portion(10**6, ahead=False) == PORTION
    assert assembly.portion(10, ahead=True) == 10
    assembly = Assembly(MAX_RATIO * PORTION + 1, None, deflate)
    assert assembly.portion(10**6, ahead=True) == PORTION
    assert deflate.limit == MAX_RATIO * PORTION + 1
    assembly = Assembly(MAX_RATIO * 100, None, deflate)
    assert assembly.portion(10**6, ahead=False) == 10**6
    assert assembly.portion(10**6, ahead=True) == 100
    assert assembly.portion(7, ahead=True) == 7
    deflate.inflated = MAX_RATIO * 99 + 1
    assert assembly.portion(7, ahead=True) is None
    assert assembly.portion(0, ahead=True) == 0


# -- in a session ----------------------------------------------------------------------------------------------------


def events(session: Session, *, ahead: bool = False) -> Iterator[SessionEvent]:
    while (event := session.next_event(ahead=ahead)) is not None:
        yield event


def fed(*frames: bytes, **limits: Any) -> Session:
    session = Session(client=True, **limits)
    session.receive_data(b"".join(frames))
    return session


def test_stream_gives_what_is_here_of_a_frame() -> None:
    """A piece for each time that something has arrived, then whole messages again."""
    session = fed()
    session.begin_stream(None)
    wire = frame(BINARY, b"abcdef") + frame(TEXT, b"whole")
    taken = []
    for at in range(0, len(wire), 3):
        session.receive_data(wire[at : at + 3])
        taken += list(events(session))
    assert taken == [Piece(b"a", False), Piece(b"bcd", False), Piece(b"ef", True), "whole"]
    assert not session.streaming


def test_held_message_waits_for_who_asks() -> None:
    """Ahead of the program it is not judged, again and again; nothing behind it is seen."""
    session = fed(frame(TEXT, b"before"), frame(TEXT, b"too large"), frame(9, b"ping"), max_message_size=6)
    assert list(events(session, ahead=True)) == ["before"]
    for _ in range(2):
        assert session.held
        assert list(events(session, ahead=True)) == []
    session.begin_stream(9)
    assert session.next_event() == Piece("too large", True)
    assert not session.held
    assert session.next_event() == Ping(b"ping")


def test_held_fragments_wait_with_what_was_kept() -> None:
    """A message that becomes too large in the middle."""
    session = fed(fragmented(TEXT, b"one", b"two", b"three"), max_message_size=6)
    assert list(events(session, ahead=True)) == []
    assert (session.held, session.kept) == (True, 6)
    session.begin_stream(None)
    assert list(events(session)) == [Piece("onetwo", False), Piece("three", True)]


def test_held_message_fails_who_asks_for_it_whole() -> None:
    """As does one that was never held."""
    for ahead in (True, False):
        session = fed(frame(TEXT, b"too large"), max_message_size=6)
        if ahead:
            assert session.next_event(ahead=True) is None
            assert session.state is State.OPEN
        assert session.next_event() is None
        assert session.state is State.FAILING
        assert session.cause is CloseCause.MESSAGE_TOO_BIG


def test_stream_limit_counts_what_was_kept_and_announced() -> None:
    """Already when the stream begins; but not for a message that is over."""
    session = fed(frame(TEXT, b"whole message"), frame(TEXT, b"half", fin=False))
    assert session.next_event() == "whole message"
    assert session.next_event() is None
    session.begin_stream(4)
    assert session.cause is None
    session.end_stream()
    session.begin_stream(3)
    assert session.state is State.FAILING

    session = fed(frame(TEXT, b"whole message"), frame(TEXT, b"announced")[:3])
    assert list(events(session)) == ["whole message"]
    session.begin_stream(8)
    assert session.state is State.FAILING
    assert session.close_event is None
    assert session.cause is CloseCause.MESSAGE_TOO_BIG


def test_stream_that_was_given_up_leaves_the_message_whole() -> None:
    """No piece came out, so it comes out whole."""
    session = fed(frame(TEXT, b"one", fin=False))
    assert session.next_event() is None
    session.begin_stream(None)
    session.end_stream()
    session.receive_data(frame(CONTINUATION, b"two"))
    assert session.next_event() == "onetwo"


@pytest.mark.parametrize("held", [True, False])
def test_skip_rest_drops_the_message_and_no_more(held: bool) -> None:
    """It is counted, in bytes; a message that is over its limit is not held any more, and what is behind it is seen."""
    session = fed(fragmented(TEXT, b"one", "é€".encode(), b"!"), frame(9, b"ping"), frame(TEXT, b"behind"))
    session.begin_stream(4 if held else None)
    assert session.next_event() == Piece("one", False)
    if held:
        assert session.next_event(ahead=True) is None
        assert session.held
    session.skip_rest()
    assert not session.held
    assert list(events(session, ahead=True)) == [Ping(b"ping"), "behind"]
    assert (session.messages_dropped, session.bytes_dropped) == (1, 6)


def test_skip_rest_and_a_stream_of_the_next_message() -> None:
    """Which begins before the old one is over."""
    session = fed(frame(TEXT, b"one", fin=False))
    session.begin_stream(3)
    assert session.next_event() == Piece("one", False)
    session.skip_rest()
    session.begin_stream(5)
    session.receive_data(frame(CONTINUATION, b"two" * 30) + frame(BINARY, b"three"))
    assert list(events(session)) == [Piece(b"three", True)]
    assert session.messages_dropped == 1


def test_message_that_is_too_large_after_our_close_is_dropped() -> None:
    """With all that had arrived behind it; the peer's Close counts."""
    session = fed(
        frame(TEXT, b"before"), frame(TEXT, b"too large"), frame(TEXT, b"behind"), frame(9, b"p"), max_message_size=6
    )
    session.close(CloseFrame(1000), CloseCause.CLOSED, keep_arrived=True)
    assert session.take_close_frame() is not None
    session.close_written()
    assert list(events(session)) == ["before"]
    assert session.state is State.CLOSE_SENT
    assert (session.messages_dropped, session.bytes_dropped) == (2, 9 + 6 + 1)
    session.receive_data(b"\x88\x02\x03\xe8")
    assert session.next_event() is None
    assert session.close_event is not None
    assert session.close_event.code == CloseCode.NORMAL_CLOSURE
    assert session.close_event.was_clean


@pytest.mark.parametrize("cut", [1, 3, 100])
def test_compressed_message_that_is_too_large_after_our_close_is_dropped(cut: int) -> None:
    """Wherever it was when that was noticed: in the middle of a frame, at its end, or between two."""
    deflate = PerMessageDeflate(Deflate(), client=True)
    deflate.finalize("permessage-deflate")
    peer = PerMessageDeflate(Deflate(), client=False)
    assert peer.accept("permessage-deflate") is not None
    sender = Connection(ConnectionType.SERVER, [peer])
    large = sender.send(BytesMessage(bytes(10_000)))
    payload = large[2:]
    first, *others = (payload[i : i + cut] for i in range(0, len(payload), cut))
    frames = frame(BINARY | 0x40, first, fin=not others)
    frames += b"".join(frame(CONTINUATION, each, fin=at == len(others) - 1) for at, each in enumerate(others))

    session = Session(client=True, max_message_size=100, extensions=(deflate,))
    session.receive_data(frame(TEXT, b"before") + frames + frame(TEXT, b"behind"))
    session.close(CloseFrame(1000), CloseCause.CLOSED, keep_arrived=True)
    session.take_close_frame()
    session.close_written()
    assert list(events(session)) == ["before"]
    session.receive_data(frame(TEXT, b"late") + frame(9, b"ping") + b"\x88\x02\x03\xe8")
    assert session.next_event() is None
    assert session.close_event is not None
    assert session.close_event.was_clean


@given(st.data())
def test_pieces_are_the_message(data: st.DataObject) -> None:
    """However it is cut, whenever the stream begins: put together, the pieces are what was sent."""
    letters = st.text(st.sampled_from("aé€😀\0"), max_size=40)
    messages = data.draw(st.lists(letters | st.binary(max_size=60), max_size=5))
    wire = b""
    for message in messages:
        raw = message.encode() if isinstance(message, str) else message
        cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
        parts = [raw[a:b] for a, b in pairwise([0, *cuts, len(raw)])]
        wire += fragmented(TEXT if isinstance(message, str) else BINARY, *parts)
    session = Session(client=True, max_message_size=1000)
    taken: list[Any] = []
    open_message: list[Any] = []
    while wire or session._unread:
        if not session.streaming and data.draw(st.booleans()):
            session.begin_stream(None)
        at = data.draw(st.integers(1, 20))
        session.receive_data(wire[:at])
        wire = wire[at:]
        while (event := session.next_event()) is not None:
            if isinstance(event, Piece):
                assert event.data or event.last
                open_message.append(event.data)
                if event.last:
                    taken.append(type(event.data)().join(open_message))
                    open_message.clear()
            else:
                assert not open_message
                taken.append(event)
        if not wire and session._unread:
            break
    assert taken == messages
    assert session.state is State.OPEN


# -- a limit as `len` has it -------------------------------------------------------------------------------------------

LONG: str = "\N{GRINNING FACE}"  # 4 bytes in UTF-8


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, (LONG * 5).encode()),
        fragmented(TEXT, (LONG * 2).encode(), b"", (LONG * 3).encode()),
        fragmented(TEXT, LONG.encode()[:3], LONG.encode()[3:] + (LONG * 4).encode()),
    ],
)
def test_text_within_its_length_is_received_whatever_its_bytes(data: bytes, step: int) -> None:
    """20 bytes, and 5 characters, which are allowed."""
    session = Session(client=True, max_message_size=Length(5))
    assert list(feed(session, data, step)) == [LONG * 5]


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"abcdef"),
        frame(TEXT, (LONG * 6).encode()),
        fragmented(TEXT, (LONG * 5).encode(), b"a"),
        frame(BINARY, b"abcdef"),
        frame(BINARY, LONG.encode() * 2),
        fragmented(BINARY, b"abc", b"def"),
        fragmented(TEXT, b"abc", b"def"),
    ],
)
def test_message_beyond_its_length_fails_with_1009(data: bytes, step: int) -> None:
    """Of text the sixth character is too much, of binary the sixth byte."""
    session = Session(client=True, max_message_size=Length(5))
    assert list(feed(session, data, step)) == []
    assert (session.state, session.take_close_frame() is not None) == (State.FAILING, True)
    session.close_written()
    assert session.close_event is not None
    assert session.close_event.cause is CloseCause.MESSAGE_TOO_BIG


def test_frame_that_cannot_be_within_its_length_is_refused_by_its_header() -> None:
    """21 bytes are 6 characters at least, so that not one of them is stored."""
    session = Session(client=True, max_message_size=Length(5))
    session.receive_data(frame(TEXT, b"x" * 21)[:2])
    assert session.next_event(ahead=True) is None
    assert not session.held
    assert session.state is State.FAILING


def feed(session: Session, data: bytes, step: int) -> Iterator[SessionEvent]:
    for at in range(0, len(data), step):
        session.receive_data(data[at : at + step])
        while (event := session.next_event()) is not None:
            yield event
