"""The target: a session that is fed anything at all.

A `Case` is a list of what the peer sends (frames right and wrong, compressed ones, raw bytes), where it is cut, and
what our side does meanwhile. `check` plays it and asserts what holds for any of them.
"""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from trio_closeevents import CloseCause, CloseFrame, Deflate
from trio_closeevents._protocol.closing import State
from trio_closeevents._protocol.deflate import PerMessageDeflate
from trio_closeevents._protocol.session import Piece, Ping, Pong, Session
from trio_closeevents.testing import frame

__all__ = ["Case", "cases", "check"]

MAX_SIZE: Final = 3000  # bytes of a message
MAX_FRAGMENTS: Final = 5
CONTROL: Final = 125  # bytes of a Ping or Pong
BAD_MESSAGE: Final = frozenset({1007, 1009})
ACTS: Final = ("", "", "ahead", "stream", "skip", "close", "keep", "written", "eof", "fail")


@dataclass(frozen=True)
class Case:
    """One connection: what comes in, in which cuts, and what our side does after each of them."""

    client: bool
    compressed: bool
    data: bytes
    cuts: tuple[int, ...]
    acts: tuple[str, ...]

    def pieces(self) -> list[bytes]:
        """Return the data, cut."""
        ends = [*sorted({min(cut, len(self.data)) for cut in self.cuts}), len(self.data)]
        return [self.data[begin:end] for begin, end in itertools.pairwise([0, *ends])]


# -- what peers send ---------------------------------------------------------------------------------------------------


def deflated(data: bytes, mode: int) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(mode)).removesuffix(b"\x00\x00\xff\xff")


PAYLOADS: Final = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=20).map(str.encode),
    st.integers(0, 4000).map(bytes),
    st.sampled_from([b"\xff", b"\xed\xa0\x80", b"\xf4\x90", b"\xe2\x82", b"\xce\xba", b"\x03\xe8", b"\x03\xf6x"]),
    st.builds(deflated, st.binary(max_size=300), st.sampled_from([zlib.Z_SYNC_FLUSH, zlib.Z_FINISH])),
    st.integers(0, 200_000).map(lambda size: deflated(bytes(size), zlib.Z_SYNC_FLUSH)),
    st.integers(1, 60).map(lambda count: b"\x03\x00" * count),  # blocks that end the stream of deflate
)
CONTROLS: Final = st.sampled_from([9, 10])
CLOSES: Final = st.sampled_from([b"", b"\x03\xe8", b"\x03\xf6x", b"\x0f\xa0bye", b"\x03", b"\x03\xed", b"\x03\xe8\xff"])


def cut_up(data: bytes, count: int) -> list[bytes]:
    """Return *data* in *count* parts."""
    size = len(data) // count + 1
    return [data[at : at + size] for at in range(0, size * count, size)]


@st.composite
def messages(draw: st.DrawFn, *, client: bool, compressed: bool) -> list[bytes]:
    """Return the frames of a legal message, perhaps with Pings and Pongs among them."""
    opcode = draw(st.sampled_from([1, 2]))
    payload = draw(st.one_of(st.text(max_size=50).map(str.encode), st.integers(0, MAX_SIZE).map(bytes), PAYLOADS))
    is_deflated = compressed and draw(st.booleans())
    if is_deflated:
        payload = deflated(payload, draw(st.sampled_from([zlib.Z_SYNC_FLUSH, zlib.Z_FINISH]))) or b"\x00"
    fragments = cut_up(payload, draw(st.integers(1, MAX_FRAGMENTS + 1) if draw(st.booleans()) else st.just(1)))
    result: list[bytes] = []
    for number, fragment in enumerate(fragments):
        kind, rsv = (opcode, 4 * is_deflated) if number == 0 else (0, 0)
        result.append(frame(kind, fragment, fin=number == len(fragments) - 1, rsv=rsv, masked=client))
        if draw(st.integers(0, 4)) == 0:
            result.append(frame(draw(CONTROLS), draw(st.binary(max_size=CONTROL)), masked=client))
    return result


@st.composite
def wrong_frames(draw: st.DrawFn, *, client: bool) -> list[bytes]:
    """Return a frame that may break any rule."""
    masked = client if draw(st.integers(0, 4)) else not client
    rsv = draw(st.sampled_from([0, 0, 4, 1]))
    claim = draw(st.sampled_from([None, None, 2**63, 2**64 - 1, 0, 70_000]))
    return [
        frame(draw(st.integers(0, 15)), draw(PAYLOADS), fin=draw(st.booleans()), rsv=rsv, masked=masked, claim=claim)
    ]


@st.composite
def closes(draw: st.DrawFn, *, client: bool) -> list[bytes]:
    """Return a Close frame, legal or not."""
    return [frame(8, draw(CLOSES), masked=client)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Return a case."""
    client, compressed = draw(st.booleans()), draw(st.booleans())
    legal = messages(client=not client, compressed=compressed)
    parts = draw(st.lists(legal, max_size=6))
    ends = st.one_of(
        wrong_frames(client=not client), closes(client=not client), st.binary(max_size=8).map(lambda x: [x])
    )
    parts += draw(st.lists(ends, max_size=1))
    parts += draw(st.lists(legal, max_size=2))
    wire = [piece for part in parts for piece in part]
    if wire and draw(st.integers(0, 9)) == 0:
        del wire[draw(st.integers(0, len(wire) - 1))]
    data = bytearray(b"".join(wire))
    if data and draw(st.integers(0, 9)) == 0:
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    byte_by_byte = len(data) < 400 and draw(st.booleans())
    cuts = range(len(data)) if byte_by_byte else draw(st.lists(st.integers(0, len(data) + 1)))
    return Case(client, compressed, bytes(data), tuple(cuts), tuple(draw(st.lists(st.sampled_from(ACTS)))))


# -- what holds for any of them ----------------------------------------------------------------------------------------


def new_session(case: Case) -> Session:
    extensions: tuple[PerMessageDeflate, ...] = ()
    if case.compressed:
        deflate = PerMessageDeflate(Deflate(), client=case.client)
        if case.client:
            deflate.finalize("permessage-deflate")
        else:
            deflate.accept("permessage-deflate")
        extensions = (deflate,)
    return Session(client=case.client, max_message_size=MAX_SIZE, max_fragments=MAX_FRAGMENTS, extensions=extensions)


def check(case: Case) -> None:
    """Play *case*; raises if anything does not hold."""
    whole = play(case, [case.data], ())
    cut = play(case, case.pieces(), ())
    assert cut == whole, "the same bytes mean the same, however they are cut"
    play(case, case.pieces(), case.acts)


def play(case: Case, pieces: list[bytes], acts: tuple[str, ...]) -> tuple[Any, ...]:
    """Feed *pieces*, act after each, and end; return what came out."""
    session = new_session(case)
    events: list[Any] = []
    fed = 0
    for piece, act in itertools.zip_longest(pieces, acts[: len(pieces) + 20], fillvalue=None):
        if piece:
            fed += len(piece)
            session.receive_data(piece)
        look(session, events, fed, ahead=act == "ahead")
        if act:
            do(session, act)
            look(session, events, fed, ahead=False)
    do(session, "written")
    decided = session.close_event
    state = session.state
    session.lose_transport(CloseCause.RESET)
    assert session.state is State.CLOSED
    assert session.close_event is not None
    assert decided in (None, session.close_event), "it never changes"
    sent: Any = session.close_event.sent
    if case.compressed and sent is not None and sent.code in BAD_MESSAGE:
        sent = BAD_MESSAGE  # of two faults in one message, the cuts decide which is seen first
    return events, state is State.OPEN, sent, session.close_event.code


def look(session: Session, events: list[Any], fed: int, *, ahead: bool) -> None:
    """Take everything that comes out, and look at each thing."""
    for _ in range(2 * fed + 100):
        work = session.looked_at + 100
        event = session.next_event(work, ahead=ahead)
        if event is None and session.looked_at < work:
            break
        assert session.looked_at <= work
        assert session.kept <= MAX_SIZE
        if isinstance(event, Ping | Pong):
            assert len(event.payload) <= CONTROL
        elif isinstance(event, Piece):
            events.append(event.data)
        elif event is not None:
            size = len(event.encode() if isinstance(event, str) else event)
            assert size <= MAX_SIZE
            events.append(event)
    else:
        raise AssertionError("the session never comes to an end")
    if (close := session.take_close_frame()) is not None:
        assert len(close) <= CONTROL + 6


def do(session: Session, act: str) -> None:
    """Let our side do something."""
    if act == "stream":
        session.begin_stream(math.floor(MAX_SIZE * 1.5))
    elif act == "skip" and session.streaming:
        session.skip_rest()
    elif act in ("close", "keep"):
        session.close(CloseFrame(1000), CloseCause.EXIT, keep_arrived=act == "keep")
    elif act == "written" and session.state in (State.CLOSE_QUEUED, State.CLOSE_RECEIVED, State.FAILING):
        session.take_close_frame()
        session.close_written()
    elif act == "eof":
        session.receive_eof()
    elif act == "fail":
        session.fail(1011, "", CloseCause.KEEPALIVE_TIMEOUT)
