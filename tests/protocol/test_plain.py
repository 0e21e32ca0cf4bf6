"""The short way equals the long way: the same bytes, cut anywhere, are the same to it and to bare wsproto."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from trio_closeevents._protocol.assembly import size_of
from trio_closeevents._protocol.closing import State
from trio_closeevents._protocol.masking import find_mask, mask, mask_in_python, speedups_enabled
from trio_closeevents._protocol.plain import PlainFrames
from trio_closeevents._protocol.session import Session
from trio_closeevents.testing import frame

SIZES = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 65535, 65536, 70000]))
PAYLOADS = st.one_of(
    st.binary(max_size=200), st.text(max_size=100).map(str.encode), SIZES.map(lambda size: b"x" * size)
)


@st.composite
def wires(draw: st.DrawFn) -> tuple[bool, bytes, list[int]]:
    """Return who receives, what comes in, and where it is cut: legal frames and others, of all kinds."""
    client = draw(st.booleans())
    frames: list[bytes] = []
    for _ in range(draw(st.integers(1, 12))):
        opcode = draw(st.sampled_from([1, 2, 1, 2, 1, 2, 9, 10, 0, 8, 3]))
        payload = draw(PAYLOADS)[: 125 if opcode > 7 else None]
        masked = not client if draw(st.integers(0, 20)) else client
        rsv = 0 if draw(st.integers(0, 20)) else draw(st.integers(0, 7))
        fin = bool(draw(st.integers(0, 6)))
        claim = None if draw(st.integers(0, 20)) else draw(st.sampled_from([0, 5, 126, 2**16, 2**63, 2**64 - 1]))
        frames.append(frame(opcode, payload, fin=fin, rsv=rsv, masked=masked, claim=claim))
    data = b"".join(frames)
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=8))
    return client, data, sorted({0, *cuts, len(data)})


def long_way(client: bool, data: bytes) -> list[object]:
    """Return what bare wsproto makes of it, up to the first Close or error."""
    wire = Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)
    wire.receive_data(data)
    found: list[object] = []
    message: list[str | bytes] = []
    for event in wire.events():
        if isinstance(event, TextMessage | BytesMessage):
            message.append(bytes(event.data) if isinstance(event, BytesMessage) else event.data)
            if event.message_finished:
                empty = "" if isinstance(event, TextMessage) else b""
                found.append(empty.join(message))  # type: ignore[arg-type]
                message = []
        elif isinstance(event, Ping | Pong):
            found.append(told(event))
        elif isinstance(event, CloseConnection):
            break
    return found


def told(event: Event) -> str:
    return f"{type(event).__name__} {bytes(getattr(event, 'payload', b''))!r}"


def short_way(client: bool, data: bytes, cuts: list[int], most: int) -> tuple[list[object], Session]:
    """Return what a session makes of it, asked for up to *most* messages at once wherever it stands."""
    session = Session(client=client, max_message_size=None)
    found: list[object] = []
    for begin, end in itertools.pairwise(cuts):
        session.receive_data(data[begin:end])
        while True:
            messages, size = session.next_messages(most) if session.state is State.OPEN else ([], 0)
            if messages:
                assert len(messages) <= most
                assert size == sum(map(size_of, messages))
                found += messages
            elif (event := session.next_event()) is None:
                break
            else:
                found.append(told(event) if isinstance(event, Ping | Pong) else event)
    return found, session


@pytest.mark.unmeasured
@given(wires(), st.sampled_from([1, 2, 100]))
@settings(max_examples=400, deadline=None)
def test_short_way_equals_the_long_way(wire: tuple[bool, bytes, list[int]], most: int) -> None:
    """Any frames, any cuts, both roles: the same messages, Pings and Pongs in the same order, and the same end."""
    client, data, cuts = wire

    found, session = short_way(client, data, cuts, most)
    alone, other = short_way(client, data, cuts, 0)

    assert found == alone
    assert session.state is other.state
    assert found == long_way(client, data) or session.state is not State.OPEN


@given(st.booleans(), st.one_of(PAYLOADS, st.text(max_size=200)))
@settings(deadline=None)
def test_written_frame_is_read_by_wsproto(client: bool, message: str | bytes) -> None:
    """What the short way writes is what wsproto would write, but for the mask key, and wsproto reads it."""
    raw = b"".join(Session(client=client).send_message(message)[:2])

    assert long_way(not client, raw) == [message]
    expected = frame(1 if isinstance(message, str) else 2, b"", masked=client)
    assert raw[0] == expected[0]
    assert raw[1] & 0x80 == expected[1] & 0x80


@pytest.mark.parametrize("way", [mask, mask_in_python])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 125, 126, 499, 500, 501, 502, 503, 504, 65535, 65536])
def test_mask_is_xor_with_the_key_over_and_over(way: Callable[[bytes, bytes], bytes], size: int) -> None:
    """Every way of masking does the same (RFC 6455 §5.3), and doing it twice undoes it."""
    data, key = bytes(range(256)) * (size // 256 + 1), b"\x01\x80\xff\x7e"
    masked = way(data[:size], key)

    assert masked == bytes(byte ^ key[i % 4] for i, byte in enumerate(data[:size]))
    assert way(masked, key) == data[:size]
    for view in (bytearray(data[:size]), memoryview(data)[:size]):
        assert way(view, key) == masked  # type: ignore[arg-type]


@pytest.mark.skipif(not speedups_enabled, reason="the extension module was not built here")
@pytest.mark.parametrize(
    ("data", "key", "error"), [(b"x", b"abc", ValueError), (b"x", "abcd", TypeError), ("x", b"abcd", TypeError)]
)
def test_extension_module_checks_what_it_is_given(data: object, key: object, error: type[Exception]) -> None:
    """It never reads beyond what there is."""
    with pytest.raises(error):
        mask(data, key)  # type: ignore[arg-type]


def test_extension_module_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment may ask for pure Python."""
    monkeypatch.setenv("TRIO_CLOSEEVENTS_PURE", "1")
    assert find_mask() is mask_in_python


def test_extension_module_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler there is none, and nothing is said of it."""
    monkeypatch.setitem(sys.modules, "trio_closeevents._speedups", None)
    assert find_mask() is mask_in_python


@pytest.mark.parametrize("size", [126, 1000, 70_000])
@pytest.mark.parametrize("client", [True, False])
def test_message_over_the_limit_is_left_for_the_long_way(client: bool, size: int) -> None:
    """The long way fails the connection with 1009, or holds the message; the short way does not touch it."""
    session = Session(client=client, max_message_size=size)
    session.receive_data(b"".join(frame(2, b"x" * length, masked=not client) for length in (size, size + 1)))

    assert session.next_messages(10) == ([b"x" * size], size)
    assert session.next_messages(10) == ([], 0)
    assert session.next_event() is None
    assert session.state is State.FAILING


def test_keys_are_not_used_twice() -> None:
    """Each frame of a client has a mask key of its own, however many there are."""
    frames = PlainFrames(client=True)
    keys = {frames.write(b"")[0][2:6] for _ in range(5000)}
    assert len(keys) > 4990
    assert frames.write("")[0][:2] == b"\x81\x80"
