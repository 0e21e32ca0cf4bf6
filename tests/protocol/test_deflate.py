"""permessage-deflate (RFC 7692), sans-IO: what both sides agree on, then messages: good, corrupt, and too large.

What comes out is held against zlib, used directly, and against the extension of another library, `websockets`. Tests
that take `play` run in both roles, each with everything fed whole and byte by byte.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import tracemalloc
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple, Protocol, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.extensions.permessage_deflate import PerMessageDeflate as TheirDeflate
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode as TheirOpcode
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection
from wsproto.events import Request as UpgradeRequest
from wsproto.extensions import Extension
from wsproto.extensions import PerMessageDeflate as BareDeflate

from trio_closeevents import CloseCause, CloseFrame, Deflate, Headers
from trio_closeevents._protocol.assembly import PORTION
from trio_closeevents._protocol.closing import State
from trio_closeevents._protocol.deflate import MAX_FINAL_BLOCKS, MAX_RATIO, PerMessageDeflate
from trio_closeevents._protocol.handshake import (
    BadResponse,
    ClientHandshake,
    Extensions,
    RequestRefused,
    ServerHandshake,
)
from trio_closeevents._protocol.session import INFLATED_PER_LOOK, Piece, Ping, Pong, Session, SessionEvent
from trio_closeevents.testing import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

RSV1: Final = 4
TAIL: Final = b"\x00\x00\xff\xff"
OFF: Final = "permessage-deflate"
NAMES: Final = (
    "server_max_window_bits",
    "client_max_window_bits",
    "server_no_context_takeover",
    "client_no_context_takeover",
)

# -- the opening handshake -------------------------------------------------------------------------------------------

REQUEST: Final = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
FIELD: Final = b"Sec-WebSocket-Extensions: "


def lines(values: Iterable[str | bytes]) -> bytes:
    """Return a header line for each of *values*, and the end of the head."""
    encoded = [value.encode("latin-1") if isinstance(value, str) else value for value in values]
    return b"".join(FIELD + value + b"\r\n" for value in encoded) + b"\r\n"


def answered(wanted: Deflate | None, *offers: str | bytes) -> tuple[ServerHandshake, str | None]:
    """Return the handshake of a server that wants *wanted*, and what it answers to lines of *offers*."""
    handshake = ServerHandshake(Extensions(wanted))
    request = handshake.receive_data(REQUEST + lines(offers))
    assert request is not None
    handshake.check_upgrade(request)
    head = handshake.accept(None, Headers()).decode().split("\r\n")
    values = [line.partition(": ")[2] for line in head if line.lower().startswith("sec-websocket-extensions: ")]
    assert len(values) <= 1
    return handshake, values[0] if values else None


def asking(wanted: Deflate | None) -> tuple[ClientHandshake, str | None]:
    """Return the handshake of a client that wants *wanted*, and what it offers."""
    handshake = ClientHandshake("h", "/", (), Headers(), Extensions(wanted))
    return handshake, handshake.request.headers.get("sec-websocket-extensions")


def switching(request: bytes) -> bytes:
    """Return a 101 that answers *request*, without the end of its head."""
    key = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", request)
    assert key is not None
    token = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + token + b"\r\n"


def told(handshake: ClientHandshake, *answers: str | bytes) -> ClientHandshake:
    """Let the server's 101 have lines of *answers*."""
    response = handshake.receive_data(switching(handshake.request_bytes) + lines(answers))
    assert response is not None
    assert response.status == 101
    return handshake


def agreed(server: Deflate, client: Deflate) -> tuple[tuple[Extension, ...], tuple[Extension, ...]]:
    """Return what both sides have agreed on, as the server and as the client has it."""
    asker, offer = asking(client)
    assert offer is not None
    handshake, answer = answered(server, offer)
    assert answer is not None
    return handshake.extensions, told(asker, answer).extensions


class Terms(NamedTuple):
    """What was agreed on, in the order of `NAMES`."""

    server_bits: int
    client_bits: int
    server_alone: bool
    client_alone: bool


def terms(handshake: ServerHandshake | ClientHandshake) -> Terms | None:
    return terms_of(handshake.extensions) if handshake.extensions else None


def terms_of(extensions: Sequence[Extension]) -> Terms:
    (extension,) = extensions
    assert isinstance(extension, PerMessageDeflate)
    assert extension.enabled()
    bits, alone = extension._bits, extension._alone
    return Terms(bits[NAMES[0]], bits[NAMES[1]], alone[NAMES[2]], alone[NAMES[3]])


ALONE: Final = Deflate(server_no_context_takeover=True, client_no_context_takeover=True)
SMALL: Final = Deflate(server_max_window_bits=9, client_max_window_bits=10)


@pytest.mark.parametrize(
    ("wanted", "offer"),
    [
        (None, None),
        (Deflate(), "; client_max_window_bits"),
        (Deflate(level=1, memory_level=1, threshold=0), "; client_max_window_bits"),
        (Deflate(client_max_window_bits=10), "; client_max_window_bits=10"),
        (Deflate(server_max_window_bits=14), "; client_max_window_bits; server_max_window_bits=14"),
        (SMALL, "; client_max_window_bits=10; server_max_window_bits=9"),
        (Deflate(server_no_context_takeover=True), "; client_max_window_bits; server_no_context_takeover"),
        (Deflate(client_no_context_takeover=True), "; client_max_window_bits; client_no_context_takeover"),
        (ALONE, "; client_max_window_bits; server_no_context_takeover; client_no_context_takeover"),
    ],
)
def test_client_offers_what_it_wants(wanted: Deflate | None, offer: str | None) -> None:
    """What is not the default is asked for; that the client knows window bits at all is always told (§7.1.2.2)."""
    handshake, offered = asking(wanted)

    assert offered == (None if offer is None else OFF + offer)
    assert handshake.extensions == ()


@pytest.mark.parametrize(
    ("offer", "wanted", "answer"),
    [
        ("", Deflate(), ""),
        ("; client_max_window_bits", Deflate(), ""),
        ("; client_max_window_bits=15", Deflate(), ""),
        ("; client_max_window_bits=12", Deflate(), "; client_max_window_bits=12"),
        ("; client_max_window_bits=8", Deflate(), "; client_max_window_bits=8"),
        ("; client_max_window_bits", SMALL, "; server_max_window_bits=9; client_max_window_bits=10"),
        ("; client_max_window_bits=9", SMALL, "; server_max_window_bits=9; client_max_window_bits=9"),
        ("; client_max_window_bits=12", SMALL, "; server_max_window_bits=9; client_max_window_bits=10"),
        ("", SMALL, "; server_max_window_bits=9"),
        ("; server_max_window_bits=15", Deflate(), "; server_max_window_bits=15"),
        ("; server_max_window_bits=9", Deflate(), "; server_max_window_bits=9"),
        ("; server_max_window_bits=8", Deflate(), "; server_max_window_bits=8"),
        ("; server_max_window_bits=12", SMALL, "; server_max_window_bits=9"),
        ("; server_no_context_takeover", Deflate(), "; server_no_context_takeover"),
        ("; client_no_context_takeover", Deflate(), "; client_no_context_takeover"),
        ("", ALONE, "; server_no_context_takeover; client_no_context_takeover"),
        (
            "; client_no_context_takeover; server_max_window_bits=11; client_max_window_bits",
            Deflate(server_no_context_takeover=True),
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ),
    ],
)
def test_server_answers_an_offer(offer: str, wanted: Deflate, answer: str) -> None:
    """It agrees to what was asked for, adds what it wants itself, and says what the client needs to know, no more."""
    handshake, said = answered(wanted, OFF + offer)

    assert said == OFF + answer
    assert len(handshake.extensions) == 1


def test_server_that_does_not_want_it_declines() -> None:
    """Without compression no extension is in the answer, whatever is offered."""
    for offer in (OFF, f"{OFF}; client_max_window_bits", f"{OFF}; {OFF}", ",,"):
        handshake, said = answered(None, offer)
        assert (said, handshake.extensions) == (None, ())


BITS: Final = (None, *range(8, 16))


@pytest.mark.parametrize("wanted", [Deflate(), SMALL, ALONE, Deflate(server_max_window_bits=12)], ids=str)
def test_server_accepts_every_legal_offer(wanted: Deflate) -> None:
    """Each combination of the four parameters: the answer is within the offer and within what the server wants."""
    for server_bits, client_bits, alone in itertools.product(BITS, ("absent", *BITS), range(4)):
        parameters = []
        if server_bits is not None:
            parameters.append(f"server_max_window_bits={server_bits}")
        if client_bits != "absent":
            parameters.append("client_max_window_bits" + ("" if client_bits is None else f"={client_bits}"))
        parameters += [name for i, name in enumerate(NAMES[2:]) if alone >> i & 1]
        handshake, said = answered(wanted, "; ".join([OFF, *parameters]))

        known = isinstance(client_bits, int)
        assert terms(handshake) == (
            min(server_bits or 15, wanted.server_max_window_bits),
            15 if client_bits == "absent" else min(client_bits if known else 15, wanted.client_max_window_bits),
            wanted.server_no_context_takeover or bool(alone & 1),
            wanted.client_no_context_takeover or bool(alone & 2),
        )
        assert said is not None
        assert ("client_max_window_bits" in said) <= (client_bits != "absent")  # §7.1.2.2
        assert ("server_max_window_bits" in said) >= (server_bits is not None)  # §7.1.2.1


def test_two_of_us_agree_on_the_stricter_of_both() -> None:
    """Whatever both sides want, they agree, and both mean the same."""
    wishes = [
        Deflate(
            server_max_window_bits=server_bits,
            client_max_window_bits=client_bits,
            server_no_context_takeover=server_alone,
            client_no_context_takeover=client_alone,
        )
        for server_bits, client_bits in ((15, 15), (9, 15), (15, 9), (11, 12))
        for server_alone, client_alone in itertools.product([False, True], repeat=2)
    ]
    for server, client in itertools.product(wishes, repeat=2):
        theirs, ours = agreed(server, client)
        assert terms_of(theirs) == terms_of(ours)
        assert terms_of(ours) == (
            min(server.server_max_window_bits, client.server_max_window_bits),
            min(server.client_max_window_bits, client.client_max_window_bits),
            server.server_no_context_takeover or client.server_no_context_takeover,
            server.client_no_context_takeover or client.client_no_context_takeover,
        )


def test_first_offer_that_can_be_accepted_wins() -> None:
    """Offers stand in the order of preference; those that make no sense are passed over (RFC 6455 §9.1)."""
    good, better = f"{OFF}; server_max_window_bits=10", f"{OFF}; server_max_window_bits=9"
    for offers in (
        [f"{good}, {better}"],
        [good, better],
        [f"x-other; a=b, {OFF}; server_max_window_bits=7, {OFF}; unknown, {good}, {OFF}"],
        [f"{OFF}; server_max_window_bits=abc", good, better],
        [f" ,, {good} ,,"],
    ):
        assert answered(Deflate(), *offers)[1] == good


# What stands behind `permessage-deflate`, and what is wrong with it.
JUNK: Final = {
    "not a number": "; server_max_window_bits=abc",
    "not a number, client": "; client_max_window_bits=abc",
    "too many bits": "; server_max_window_bits=16",
    "many too many bits": "; server_max_window_bits=20",
    "too few bits": "; server_max_window_bits=7",
    "no bits": "; client_max_window_bits=0",
    "leading zero": "; server_max_window_bits=08",
    "leading zeros": "; client_max_window_bits=0010",
    "sign": "; server_max_window_bits=+10",
    "minus": "; client_max_window_bits=-10",
    "underscore": "; server_max_window_bits=1_0",
    "point": "; server_max_window_bits=10.0",
    "5000 digits": "; server_max_window_bits=" + "1" * 5000,
    "empty value": "; server_max_window_bits=",
    "empty value, client": "; client_max_window_bits=",
    "without its value": "; server_max_window_bits",
    "value of a switch": "; server_no_context_takeover=1",
    "value of a switch, true": "; client_no_context_takeover=true",
    "twice": "; server_max_window_bits=10; server_max_window_bits=10",
    "twice, client": "; client_max_window_bits=10; client_max_window_bits=11",
    "switch twice": "; server_no_context_takeover; server_no_context_takeover",
    "unknown": "; x",
    "unknown with a value": "; max_window_bits=10",
    "unknown among known": "; client_no_context_takeover; mem_level=9; server_no_context_takeover",
    "another case": "; Server_max_window_bits=10",
    "quotes": '; server_max_window_bits="16"',
    "quotes around nothing": '; server_max_window_bits=""',
    "quotes around a space": '; server_max_window_bits=" 10"',
    "half quoted": '; server_max_window_bits="10',
    "quoted in the middle": '; server_max_window_bits=1"0"',
    "quoted name": '; "server_no_context_takeover"',
    "quoted comma": '; server_max_window_bits="1,0"',
    "quoted semicolon": '; server_max_window_bits="1;0"',
    "single quotes": "; server_max_window_bits='10'",
    "semicolon": ";",
    "semicolons": ";; client_no_context_takeover",
    "semicolon behind": "; client_no_context_takeover;",
    "equals": "; =10",
    "two equals": "; server_max_window_bits==10",
    "words": "; server_max_window_bits = 10 11",
    "slash": "; a/b",
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_junk_is_declined_by_the_server(junk: str) -> None:
    """The connection comes about without compression (§7.1): an offer that makes no sense is no reason to fail."""
    handshake, said = answered(Deflate(), OFF + junk)

    assert (said, handshake.extensions) == (None, ())


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_junk_of_a_server_is_a_bad_response(junk: str) -> None:
    """A server that answers what nobody can have asked for is not trusted with the connection (§7.1)."""
    with pytest.raises(BadResponse, match="malformed answer to the opening handshake: "):
        told(asking(Deflate())[0], OFF + junk)


@pytest.mark.parametrize(
    "value", ["x", "x; a=b", "", "permessage-deflat", "PERMESSAGE-DEFLATE", "x-" + OFF, "=;,", '"']
)
def test_other_extensions_are_declined_by_the_server(value: str) -> None:
    """What it has never heard of is left out of the answer."""
    assert answered(Deflate(), value)[1] is None
    assert answered(Deflate(), f"{value}, {OFF}")[1] == OFF


@pytest.mark.parametrize("value", ["x", "x; a=b", "", ",", "permessage-deflat", "x-" + OFF, "PERMESSAGE-DEFLATE", '"'])
def test_extension_that_was_not_offered_is_a_bad_response(value: str) -> None:
    """A client fails if a server invents an extension (RFC 6455 §4.1), alone or beside the one that was offered."""
    for answers in ([value], [f"{OFF}, {value}"], [f"{value}, {OFF}"], [OFF, value], [value, OFF]):
        with pytest.raises(BadResponse):
            told(asking(Deflate())[0], *answers)
    with pytest.raises(BadResponse):
        told(asking(None)[0], value)


def test_compression_that_was_not_offered_is_a_bad_response() -> None:
    """A client that does not want it does not get it."""
    for answers in ([OFF], [f"{OFF}; server_max_window_bits=10"], [OFF, OFF]):
        with pytest.raises(BadResponse):
            told(asking(None)[0], *answers)


def test_compression_twice_is_a_bad_response() -> None:
    """A server accepts an offer once: in one line or in two."""
    for answers in ([f"{OFF}, {OFF}"], [OFF, OFF], [f"{OFF}; server_no_context_takeover", OFF]):
        with pytest.raises(BadResponse):
            told(asking(Deflate())[0], *answers)


@pytest.mark.parametrize("value", [b"\xe4", OFF.encode() + b"; \xe4", OFF.encode() + b"\xa0", "€".encode(), b"\xff, x"])
def test_bytes_that_are_not_ascii_are_refused_by_both(value: bytes) -> None:
    """400 from the server, `BadResponse` from the client; no other exception."""
    with pytest.raises(RequestRefused) as caught:
        answered(Deflate(), value)
    assert caught.value.response.status == 400
    with pytest.raises(BadResponse):
        told(asking(Deflate())[0], value)


@pytest.mark.parametrize(
    ("wanted", "answer", "expected"),
    [
        (Deflate(), "", Terms(15, 15, False, False)),
        (Deflate(), "; server_no_context_takeover", Terms(15, 15, True, False)),
        (Deflate(), "; client_no_context_takeover", Terms(15, 15, False, True)),
        (Deflate(), "; server_max_window_bits=8", Terms(8, 15, False, False)),
        (Deflate(), "; client_max_window_bits=8", Terms(15, 8, False, False)),
        (Deflate(), '; server_max_window_bits="9"; client_max_window_bits="15"', Terms(9, 15, False, False)),
        (Deflate(), ' ;  server_max_window_bits = 9 ;client_max_window_bits="10" ', Terms(9, 10, False, False)),
        (Deflate(server_max_window_bits=10), "; server_max_window_bits=10", Terms(10, 15, False, False)),
        (Deflate(server_max_window_bits=10), "; server_max_window_bits=9", Terms(9, 15, False, False)),
        (Deflate(client_max_window_bits=10), "", Terms(15, 10, False, False)),
        (Deflate(client_max_window_bits=10), "; client_max_window_bits=9", Terms(15, 9, False, False)),
        (Deflate(client_no_context_takeover=True), "", Terms(15, 15, False, True)),
        (ALONE, "; server_no_context_takeover", Terms(15, 15, True, True)),
    ],
)
def test_client_takes_an_answer(wanted: Deflate, answer: str, expected: Terms) -> None:
    """What the server says holds, where it is as strict as what was asked for; of itself a client may be stricter."""
    assert terms(told(asking(wanted)[0], OFF + answer)) == expected


@pytest.mark.parametrize(
    ("wanted", "answer", "why"),
    [
        (ALONE, "", "the server does not agree to server_no_context_takeover"),
        (ALONE, "; client_no_context_takeover", "the server does not agree to server_no_context_takeover"),
        (SMALL, "", "the server does not agree to server_max_window_bits=9"),
        (SMALL, "; server_max_window_bits=10", "the server does not agree to server_max_window_bits=9"),
        (
            SMALL,
            "; server_max_window_bits=9; client_max_window_bits=11",
            "the server does not agree to client_max_window_bits=10",
        ),
        (Deflate(), "; client_max_window_bits", "the server gives client_max_window_bits no value"),
    ],
)
def test_answer_that_is_less_than_was_asked_for_is_a_bad_response(wanted: Deflate, answer: str, why: str) -> None:
    """What the client asked of the server has to come back, and a limit may only become tighter (§7.1)."""
    with pytest.raises(BadResponse, match=re.escape(f"{OFF}: {why}")):
        told(asking(wanted)[0], OFF + answer)


def test_answer_without_compression_is_a_connection_without() -> None:
    """A server may always decline."""
    assert terms(told(asking(ALONE)[0])) is None


def test_extension_shows_what_was_agreed_on() -> None:
    """For whoever debugs."""
    assert repr(PerMessageDeflate(Deflate(), client=True)) == "<permessage-deflate, not agreed on>"
    ((server,), (client,)) = agreed(SMALL, ALONE)
    assert repr(server) == repr(client)
    assert repr(client) == (
        "<permessage-deflate server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; "
        "client_max_window_bits=10>"
    )


# -- any header ------------------------------------------------------------------------------------------------------

WORDS: Final = st.sampled_from(
    [
        OFF,
        *NAMES,
        *map(str, range(7, 17)),
        "",
        "x",
        "08",
        "20",
        '"10"',
        '"',
        "=",
        ";",
        ",",
        " ",
        "\t",
        "; ",
        ", ",
        "\xe4",
    ]
)
HEADERS: Final = (
    st.lists(WORDS, max_size=12).map("".join)
    | st.builds("; ".join, st.lists(st.sampled_from([OFF, *NAMES, f"{NAMES[0]}=10", f"{NAMES[1]}=8"]), max_size=5))
    | st.text(st.characters(codec="latin-1"), max_size=20)
    | st.text(st.characters(codec="latin-1"), max_size=20).map(f"{OFF};".__add__)
)
WISHES: Final = st.builds(
    Deflate,
    server_max_window_bits=st.integers(9, 15),
    client_max_window_bits=st.integers(9, 15),
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    level=st.integers(0, 9),
    memory_level=st.integers(1, 9),
    threshold=st.sampled_from([0, 1, 30, 64, 10**9]),
)


@settings(deadline=None)
@given(values=st.lists(HEADERS, min_size=1, max_size=2), wanted=st.none() | WISHES)
@example(values=["permessage-deflate; \x1c"], wanted=Deflate())
def test_any_header_of_a_client_is_answered_or_refused(values: list[str], wanted: Deflate | None) -> None:
    """Whatever stands in the header: a connection, with compression or without, or 400."""
    try:
        handshake, said = answered(wanted, *values)
    except RequestRefused as refusal:
        if refusal.response.status == 400:
            return
        raise
    assert (said is None) is (not handshake.extensions)
    if said is not None:
        assert wanted is not None
        assert said.startswith(OFF)
        assert said.isascii()


@settings(deadline=None)
@given(values=st.lists(HEADERS, min_size=1, max_size=2), wanted=st.none() | WISHES)
@example(values=["permessage-deflate; \x1c"], wanted=Deflate())
def test_any_header_of_a_server_is_taken_or_a_bad_response(values: list[str], wanted: Deflate | None) -> None:
    """Whatever stands in the header: a connection, or `BadResponse`."""
    handshake = asking(wanted)[0]
    try:
        told(handshake, *values)
    except BadResponse:
        return
    if (found := terms(handshake)) is not None:
        assert wanted is not None
        assert 8 <= found.server_bits <= wanted.server_max_window_bits
        assert 8 <= found.client_bits <= wanted.client_max_window_bits
        assert found.server_alone >= wanted.server_no_context_takeover
        assert found.client_alone >= wanted.client_no_context_takeover


# -- negotiation with another library --------------------------------------------------------------------------------


def parameters_of(value: str) -> list[tuple[str, str | None]]:
    """Return the parameters of a header's one extension, as `websockets` takes them."""
    return [(name, text or None) for name, _, text in (each.strip().partition("=") for each in value.split(";")[1:])]


def header_of(parameters: Iterable[tuple[str, str | None]]) -> str:
    return "; ".join([OFF, *(name if value is None else f"{name}={value}" for name, value in parameters)])


def same_terms(ours: Terms | None, theirs: TheirDeflate, *, client: bool) -> None:
    """Check that both ends mean the same; *client* is what `theirs` is."""
    server_bits, client_bits = theirs.remote_max_window_bits, theirs.local_max_window_bits
    server_alone, client_alone = theirs.remote_no_context_takeover, theirs.local_no_context_takeover
    if not client:
        server_bits, client_bits, server_alone, client_alone = client_bits, server_bits, client_alone, server_alone
    assert ours == (server_bits, client_bits, server_alone, client_alone)


THEIR_BITS: Final = st.none() | st.integers(9, 15)


@settings(deadline=None)
@given(
    ours=WISHES, bits=st.tuples(THEIR_BITS, THEIR_BITS | st.just(True)), alone=st.tuples(st.booleans(), st.booleans())
)
def test_client_of_websockets_agrees_with_our_server(ours: Deflate, bits: Any, alone: tuple[bool, bool]) -> None:
    """It understands our answer to each of its offers, and means the same by it."""
    theirs = ClientPerMessageDeflateFactory(*alone, *bits)
    handshake, said = answered(ours, header_of(theirs.get_request_params()))
    assert said is not None

    extension = theirs.process_response_params(parameters_of(said), [])
    same_terms(terms(handshake), extension, client=True)


@settings(deadline=None)
@given(ours=WISHES, bits=st.tuples(THEIR_BITS, THEIR_BITS), alone=st.tuples(st.booleans(), st.booleans()))
def test_server_of_websockets_agrees_with_our_client(ours: Deflate, bits: Any, alone: tuple[bool, bool]) -> None:
    """It understands each of our offers, and we its answer, and both mean the same by it."""
    handshake, offer = asking(ours)
    assert offer is not None
    parameters, extension = ServerPerMessageDeflateFactory(*alone, *bits).process_request_params(
        parameters_of(offer), []
    )
    told(handshake, header_of(parameters))

    same = terms(handshake)
    assert same is not None
    if "client_no_context_takeover" not in dict(parameters):
        same = same._replace(client_alone=False)  # that we do without is nothing it needs to know
    same_terms(same, extension, client=False)


# -- messages --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wire:
    """A frame as it travelled, unmasked."""

    opcode: int
    fin: bool
    rsv: int
    payload: bytes


def on_the_wire(data: bytes) -> list[Wire]:
    """Return the frames that *data* is."""
    frames = []
    while data:
        size, at = data[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2 : 2 + width]), 2 + width
        key = data[at : at + 4] if data[1] & 0x80 else bytes(4)
        at += 4 if data[1] & 0x80 else 0
        mask = (key * (size // 4 + 1))[:size]
        payload = (int.from_bytes(data[at : at + size]) ^ int.from_bytes(mask)).to_bytes(size)
        frames.append(Wire(data[0] & 0x0F, bool(data[0] & 0x80), data[0] >> 4 & 7, payload))
        data = data[at + size :]
    return frames


class Play:
    """Our session, which has agreed on compression, and what comes of what its peer sends.

    Args:
        step: how many bytes of it come at once; `None`: all.
    """

    def __init__(
        self,
        *,
        client: bool,
        step: int | None = None,
        ours: Deflate | None = None,
        theirs: Deflate | None = None,
        **limits: Any,
    ) -> None:
        self.client = client
        self.step = step
        ours, theirs = ours or Deflate(), theirs or Deflate()
        extensions = agreed(theirs, ours)[1] if client else agreed(ours, theirs)[0]
        self.terms = terms_of(extensions)
        self.session = Session(client=client, extensions=extensions, **limits)
        self.events: list[SessionEvent] = []

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
        """Return a frame of the peer."""
        return frame(opcode, payload, fin=fin, rsv=rsv, masked=not self.client)

    def compressed(self, opcode: int, *payloads: bytes) -> list[bytes]:
        """Return a message of the peer whose fragments are *payloads*, compressed already."""
        return [
            self.frame(
                CONTINUATION if number else opcode,
                payload,
                fin=number == len(payloads) - 1,
                rsv=0 if number else RSV1,
            )
            for number, payload in enumerate(payloads)
        ]

    def feed(self, *frames: bytes, ahead: bool = False) -> None:
        """The peer sends *frames*; all that they bring about goes to `events`."""
        data = b"".join(frames)
        step = self.step or max(1, len(data))
        for begin in range(0, len(data), step):
            self.session.receive_data(data[begin : begin + step])
            self.look(ahead=ahead)

    def look(self, *, ahead: bool = False) -> None:
        while (event := self.session.next_event(ahead=ahead)) is not None:
            self.events.append(event)

    @property
    def failure(self) -> tuple[CloseFrame | None, CloseCause | None]:
        """What was sent when the connection was failed, and why."""
        assert self.session.state is State.FAILING
        assert self.session.take_close_frame() is not None
        self.session.close_written()
        event = self.session.close_event
        assert event is not None
        assert (event.code, event.was_clean, event.initiated_by) == (1006, False, "local")
        return event.sent, event.cause


class Start(Protocol):
    def __call__(self, **options: Any) -> Play: ...


@pytest.fixture(params=["client", "server"])
def client(request: pytest.FixtureRequest) -> bool:
    """We are the client."""
    is_client: bool = request.param == "client"
    return is_client


@pytest.fixture(params=[None, 1], ids=["whole", "bytewise"])
def start(client: bool, request: pytest.FixtureRequest) -> Start:
    return lambda **options: Play(client=client, step=request.param, **options)


def deflated(*messages: bytes, level: int = 6, bits: int = 15) -> list[bytes]:
    """Return the payloads of *messages* as zlib compresses them, each with its predecessors in the window."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return [(compressor.compress(each) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)] for each in messages]


# RFC 7692 §7.2.3: what travels, and what it means.
EXAMPLES: Final = {
    "one block": ([(TEXT, "f248cdc9c90700")], ["Hello"]),
    "window shared": ([(TEXT, "f248cdc9c90700"), (TEXT, "f200110000")], ["Hello", "Hello"]),
    "no window shared": ([(TEXT, "f248cdc9c90700"), (TEXT, "f248cdc9c90700")], ["Hello", "Hello"]),
    "block without compression": ([(TEXT, "000500faff48656c6c6f00")], ["Hello"]),
    "block that is the last": ([(TEXT, "f348cdc9c9070000")], ["Hello"]),
    "two blocks": ([(TEXT, "f248050000 00ffffcac9c90700")], ["Hello"]),
    "nothing": ([(BINARY, "00"), (TEXT, "00"), (TEXT, "f248cdc9c90700")], [b"", "", "Hello"]),
}


@pytest.mark.parametrize(("frames", "messages"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples_of_the_rfc_come_out(start: Start, frames: list[tuple[int, str]], messages: list[str | bytes]) -> None:
    """Whole, and in fragments that are cut anywhere (§7.2.3)."""
    play = start()
    play.feed(*(play.frame(opcode, bytes.fromhex(raw), rsv=RSV1) for opcode, raw in frames))
    assert play.events == messages

    (opcode, raw), *others = frames
    payload = bytes.fromhex(raw)
    for cut in range(len(payload) + 1):
        play = start()
        play.feed(*play.compressed(opcode, payload[:cut], payload[cut:]))
        play.feed(*(play.frame(opcode, bytes.fromhex(raw), rsv=RSV1) for opcode, raw in others))
        assert play.events == messages
        assert play.session.state is State.OPEN


def test_messages_may_be_compressed_or_not(start: Start) -> None:
    """RSV1 tells for each message; what is not compressed is not part of the window."""
    hello, again = deflated(b"Hello " * 30, b"Hello " * 30)
    play = start()
    play.feed(
        play.frame(TEXT, b"plain"),
        play.frame(TEXT, hello, rsv=RSV1),
        play.frame(BINARY, b"pl", fin=False),
        play.frame(CONTINUATION, b"ain"),
        play.frame(BINARY, again, rsv=RSV1),
    )

    assert len(again) < 10
    assert play.events == ["plain", "Hello " * 30, b"plain", b"Hello " * 30]


def test_control_frames_between_fragments_are_not_compressed(start: Start) -> None:
    """They may stand inside a compressed message, and are taken as they are."""
    (payload,) = deflated(b"Hello" * 100)
    play = start()
    first, *rest = play.compressed(TEXT, payload[:3], b"", payload[3:4], payload[4:])
    play.feed(first, play.frame(PING, payload), rest[0], play.frame(PONG, b""), play.frame(PING, b"x"), *rest[1:])

    assert play.events == [Ping(payload), Pong(b""), Ping(b"x"), "Hello" * 100]


def test_blocks_that_end_the_stream_are_followed_by_a_new_one(start: Start) -> None:
    """BFINAL in the middle of a message, or at its end with and without the byte that belongs there (§7.2.3.4)."""

    def finished(text: bytes) -> bytes:
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        return compressor.compress(text) + compressor.flush(zlib.Z_FINISH)

    (usual,) = deflated(b"then as usual")
    play = start()
    for payload in (
        finished(b"first") + b"\x00",
        finished(b"second") + b"\x00",
        finished(b"a") + finished(b"b") + finished(b"c") + b"\x00",
        finished(b"without the byte behind it"),
        finished(b"half of it is ") + deflated(b"something else")[0],
        usual,
    ):
        play.feed(play.frame(TEXT, payload, rsv=RSV1))

    assert play.events == [
        "first",
        "second",
        "abc",
        "without the byte behind it",
        "half of it is something else",
        "then as usual",
    ]


@pytest.mark.parametrize("payloads", [[b""], [b"", b""], [b"", b"", b""]], ids=len)
def test_compressed_message_of_no_bytes_is_empty(start: Start, payloads: list[bytes]) -> None:
    """A sender has to put one byte there (§7.2.3.6); one that does not harms nobody, now or with its next message."""
    first, second = deflated(b"Hello" * 20, b"Hello" * 20)
    play = start()
    play.feed(*play.compressed(TEXT, *payloads))
    play.feed(
        play.frame(TEXT, first, rsv=RSV1), *play.compressed(BINARY, *payloads), play.frame(TEXT, second, rsv=RSV1)
    )

    assert play.events == ["", "Hello" * 20, b"", "Hello" * 20]


def test_window_of_the_peer_may_be_less_than_agreed_on(start: Start) -> None:
    """Who asked for 9 bits gets 9; a window of 8, which zlib calls 9, can be read as well."""
    (payload,) = deflated(bytes(range(256)) * 5, bits=9)
    for theirs in (9, 12, 15):
        wanted = Deflate(server_max_window_bits=theirs, client_max_window_bits=theirs)
        play = start(theirs=wanted)
        play.feed(play.frame(BINARY, payload, rsv=RSV1))
        assert play.events == [bytes(range(256)) * 5]


def with_8_bits(*, client: bool, sender: str, **limits: Any) -> Session:
    """Return our session whose *sender*, server or client, may use a window of 8 bits only."""
    name = f"{sender}_max_window_bits"
    if client:
        handshake: ServerHandshake | ClientHandshake = told(asking(Deflate())[0], f"{OFF}; {name}=8")
    else:
        handshake = answered(Deflate(), f"{OFF}; {name}=8")[0]
    return Session(client=client, extensions=handshake.extensions, **limits)


def test_window_of_8_bits_asked_of_us_makes_us_send_as_it_is(client: bool) -> None:
    """zlib cannot do it; a message that is not compressed is always right. What comes is inflated as ever."""
    session = with_8_bits(client=client, sender="client" if client else "server")
    out = [
        b"".join(session.send_message("x" * 1000)[:2]),
        session.send_fragment(b"x" * 1000, last=False),
        session.send_fragment(b"y" * 1000, last=True),
    ]
    session.receive_data(frame(TEXT, deflated(b"Hello" * 100)[0], rsv=RSV1, masked=not client))

    assert [(each.opcode, each.rsv, each.payload) for each in on_the_wire(b"".join(out))] == [
        (TEXT, 0, b"x" * 1000),
        (BINARY, 0, b"x" * 1000),
        (CONTINUATION, 0, b"y" * 1000),
    ]
    assert session.next_event() == "Hello" * 100


def test_window_of_8_bits_of_the_peer_can_be_read(client: bool) -> None:
    """Compressors that say 8 are known to use 9 bits: what a message refers to may be 512 bytes back."""
    session = with_8_bits(client=client, sender="server" if client else "client")
    message = Random(1).randbytes(400)
    first, second = deflated(message, message, bits=10)
    session.receive_data(frame(BINARY, first, rsv=RSV1, masked=not client))
    session.receive_data(frame(BINARY, second, rsv=RSV1, masked=not client))

    assert len(second) < 20
    assert [session.next_event(), session.next_event()] == [message, message]


# -- what we send ----------------------------------------------------------------------------------------------------


def sent_by(session: Session, message: str | bytes, cuts: Sequence[int] = (), pings: int = 0) -> bytes:
    """Let *session* send *message*, in fragments if there are *cuts* (in thousandths), with *pings* between them."""
    if not cuts:
        return b"".join(session.send_message(message)[:2])
    places = [0, *sorted(len(message) * cut // 1000 for cut in cuts), len(message)]
    out = b""
    for begin, end in itertools.pairwise(places):
        out += session.send_fragment(message[begin:end], last=False)
        out += session.send_ping(b"ping") * pings
    empty: Any = message[:0]
    return out + session.send_fragment(empty, last=True)


class Inflater:
    """zlib on its own, as the peer of a session: puts messages together from what travels."""

    def __init__(self, terms: Terms, *, client: bool) -> None:
        bits, self._alone = (
            (terms.server_bits, terms.server_alone) if client else (terms.client_bits, terms.client_alone)
        )
        self._make: Callable[[], Any] = lambda: zlib.decompressobj(-bits)  # of no more than was agreed on
        self._stream = self._make()
        self._parts: list[Wire] = []

    def messages(self, data: bytes) -> list[tuple[int, bytes]]:
        found = []
        for each in on_the_wire(data):
            if each.opcode in (PING, PONG, CLOSE):
                assert each.rsv == 0
                continue
            assert each.rsv == 0 or not self._parts, "RSV1 stands on the first frame only"
            self._parts.append(each)
            if each.fin:
                first, payload = self._parts[0], b"".join(part.payload for part in self._parts)
                self._parts = []
                if first.rsv:
                    assert first.rsv == RSV1
                    if self._alone:
                        self._stream = self._make()
                    payload = self._stream.decompress(payload + TAIL)
                found.append((first.opcode, payload))
        return found


CUTS: Final = st.lists(st.integers(0, 1000), max_size=5)
TEXTS: Final = (
    st.text(max_size=40)
    | st.builds(str.__mul__, st.text(max_size=8), st.sampled_from([1, 8, 63, 64, 65, 3000]))
    | st.sampled_from(["", "\u20ac", "x" * 63, "x" * 64, "\u00e4" * 32])
)
BINARIES: Final = (
    st.binary(max_size=100)
    | st.builds(bytes.__mul__, st.binary(max_size=8), st.sampled_from([1, 8, 64, 5000]))
    | st.builds(lambda size, seed: seed.randbytes(size), st.sampled_from([63, 64, 1000, 70_000]), st.randoms())
)
MESSAGES: Final = st.lists(st.tuples(TEXTS | BINARIES, CUTS), max_size=5)


def as_wire(message: str | bytes) -> tuple[int, bytes]:
    return (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)


@pytest.mark.unmeasured
@settings(deadline=None)
@given(ours=WISHES, theirs=WISHES, messages=MESSAGES, is_client=st.booleans())
def test_what_we_send_zlib_inflates(
    ours: Deflate, theirs: Deflate, messages: list[tuple[str | bytes, list[int]]], is_client: bool
) -> None:
    """Whole and in fragments, whatever was agreed on: zlib on its own gets each message, with the agreed window."""
    play = Play(client=is_client, ours=ours, theirs=theirs)
    peer = Inflater(play.terms, client=not is_client)
    for message, cuts in messages:
        data = sent_by(play.session, message, cuts, pings=1)
        first = on_the_wire(data)[0]
        size = len(as_wire(message)[1])

        assert bool(first.rsv) is (bool(cuts) or size >= ours.threshold)
        assert peer.messages(data) == [as_wire(message)]


@pytest.mark.unmeasured
@settings(deadline=None)
@given(ours=WISHES, theirs=WISHES, messages=MESSAGES, is_client=st.booleans(), steps=st.integers(1, 3000))
def test_what_one_of_us_sends_the_other_receives(
    ours: Deflate, theirs: Deflate, messages: list[tuple[str | bytes, list[int]]], is_client: bool, steps: int
) -> None:
    """Both ends are ours: what was sent comes out, cut anywhere on its way, with pings between the fragments."""
    play = Play(client=is_client, ours=ours, theirs=theirs, step=steps, max_message_size=None)
    peer = Play(client=not is_client, ours=theirs, theirs=ours)
    pings = 0
    for message, cuts in messages:
        play.feed(sent_by(peer.session, message, cuts, pings=1))
        pings += len(cuts) + 1 if cuts else 0

    assert [event for event in play.events if not isinstance(event, Ping)] == [message for message, _ in messages]
    assert play.events.count(Ping(b"ping")) == pings
    assert play.session.state is State.OPEN


BLOCKS: Final = st.lists(
    st.tuples(BINARIES, st.sampled_from([zlib.Z_NO_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH])),
    max_size=4,
)


@pytest.mark.unmeasured
@settings(deadline=None)
@given(
    wanted=WISHES,
    messages=st.lists(st.tuples(BLOCKS, CUTS, st.integers(0, 9)), max_size=4),
    is_client=st.booleans(),
    steps=st.integers(1, 3000),
    ahead=st.booleans(),
)
def test_what_zlib_deflates_we_receive(
    wanted: Deflate, messages: list[tuple[Any, list[int], int]], is_client: bool, steps: int, ahead: bool
) -> None:
    """In blocks of all kinds, cut into fragments anywhere, cut anywhere on its way; looked at ahead, and asked for."""
    play = Play(client=is_client, theirs=wanted, step=steps, max_message_size=10**6)
    bits = play.terms.server_bits if is_client else play.terms.client_bits
    alone = play.terms.server_alone if is_client else play.terms.client_alone
    compressor: Any = None
    expected = []
    for blocks, cuts, level in messages:
        if compressor is None or alone:
            compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
        payload = b""
        for data, flush in blocks:
            payload += compressor.compress(data) + (compressor.flush(flush) if flush != zlib.Z_NO_FLUSH else b"")
            if flush == zlib.Z_FINISH:
                compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
        payload += compressor.compress(b"") + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert payload.endswith(TAIL)
        expected.append(b"".join(data for data, _ in blocks))
        places = [0, *sorted(len(payload) * cut // 1000 for cut in cuts), len(payload)]
        parts = [payload[: -len(TAIL)][begin:end] for begin, end in itertools.pairwise(places)]
        play.feed(*play.compressed(BINARY, *parts), ahead=ahead)
        play.look()

    assert play.events == expected
    assert play.session.state is State.OPEN


@settings(deadline=None)
@given(ours=WISHES, theirs=WISHES, messages=MESSAGES, is_client=st.booleans(), steps=st.integers(1, 3000))
def test_websockets_and_we_understand_each_other(
    ours: Deflate, theirs: Deflate, messages: list[tuple[str | bytes, list[int]]], is_client: bool, steps: int
) -> None:
    """The extension of another library, under the same terms: it reads what we write, and we read what it writes."""
    play = Play(client=is_client, ours=ours, theirs=theirs, step=steps, max_message_size=None)
    server_bits, client_bits, server_alone, client_alone = play.terms
    remote, local = (client_alone, client_bits), (server_alone, server_bits)
    if not is_client:
        remote, local = local, remote
    peer = TheirDeflate(remote[0], local[0], remote[1], local[1])
    for message, cuts in messages:
        read = b""
        for each in on_the_wire(sent_by(play.session, message, cuts)):
            got = peer.decode(TheirFrame(TheirOpcode(each.opcode), each.payload, each.fin, bool(each.rsv)))
            read += bytes(got.data)
        assert read == as_wire(message)[1]

        opcode, data = as_wire(message)
        places = [0, *sorted(len(data) * cut // 1000 for cut in cuts), len(data)]
        parts = list(itertools.pairwise(places))
        for number, (begin, end) in enumerate(parts):
            out = peer.encode(
                TheirFrame(
                    TheirOpcode(CONTINUATION if number else opcode), data[begin:end], fin=number == len(parts) - 1
                )
            )
            rsv = RSV1 if out.rsv1 else 0
            play.feed(play.frame(int(out.opcode), bytes(out.data), fin=out.fin, rsv=rsv))

    assert play.events == [message for message, _ in messages]


@pytest.mark.parametrize("message", ["x" * 63, b"x" * 63, "\u00e4" * 31 + "x", "", b""])
def test_message_below_the_threshold_is_sent_as_it_is(client: bool, message: str | bytes) -> None:
    """RSV1 is not set, and nothing is compressed; the threshold counts bytes."""
    (sent,) = on_the_wire(b"".join(Play(client=client).session.send_message(message)[:2]))

    assert (sent.rsv, (sent.opcode, sent.payload)) == (0, as_wire(message))


@pytest.mark.parametrize(
    ("message", "threshold"),
    [("x" * 64, 64), (b"x" * 64, 64), ("\u00e4" * 32, 64), ("", 0), (b"", 0), (b"x", 1), (bytes(1000), 1000)],
)
def test_message_from_the_threshold_on_is_compressed(client: bool, message: str | bytes, threshold: int) -> None:
    """RSV1 is set; an empty message is one zero byte (§7.2.3.6), the first one and any other."""
    play = Play(client=client, ours=Deflate(threshold=threshold))
    peer = Inflater(play.terms, client=not client)
    for _ in range(3):
        data = b"".join(play.session.send_message(message)[:2])
        (sent,) = on_the_wire(data)
        assert sent.rsv == RSV1
        assert peer.messages(data) == [as_wire(message)]
        if not message:
            assert sent.payload == b"\x00"


def test_rsv1_stands_on_the_first_fragment_only(client: bool) -> None:
    """Fragments are compressed however short, each so that the peer has all of it at once; Pings between them are not.

    The message ends with a fragment of one zero byte if there was nothing more.
    """
    session = Play(client=client).session
    out = [
        session.send_fragment("Hel", last=False),
        session.send_ping(b"Hel"),
        session.send_fragment("", last=False),
        session.send_fragment("lo", last=False),
        session.send_pong(b"lo"),
        session.send_fragment("", last=True),
        b"".join(session.send_message("next" * 20)[:2]),
    ]
    frames = on_the_wire(b"".join(out))

    assert [(each.opcode, each.fin, each.rsv) for each in frames] == [
        (TEXT, False, RSV1),
        (PING, True, 0),
        (CONTINUATION, False, 0),
        (CONTINUATION, False, 0),
        (PONG, True, 0),
        (CONTINUATION, True, 0),
        (TEXT, True, RSV1),
    ]
    stream = zlib.decompressobj(-15)
    payloads = [each.payload + (TAIL if each.fin else b"") for each in frames if each.opcode in (TEXT, CONTINUATION)]
    parts = [stream.decompress(payload) for payload in payloads]
    assert parts == [b"Hel", b"", b"lo", b"", b"next" * 20]
    assert frames[5].payload == b"\x00"


def test_same_message_again_is_much_smaller_with_context_takeover(client: bool) -> None:
    """The second refers to the first; without context takeover each stands alone, for the side that it is about."""
    message = bytes(range(256)) * 2
    alone = {"server_no_context_takeover": not client, "client_no_context_takeover": client}
    for ours, theirs in ((Deflate(), Deflate()), (Deflate(**alone), Deflate()), (Deflate(), Deflate(**alone))):
        play = Play(client=client, ours=ours, theirs=theirs)
        first, second = (on_the_wire(b"".join(play.session.send_message(message)[:2]))[0].payload for _ in range(2))
        shares = Deflate(**alone) not in (ours, theirs)
        assert (len(second) < 20) is shares
        assert (second == first) is not shares
        if not shares:
            assert zlib.decompressobj(-15).decompress(second + TAIL) == message


def test_own_context_takeover_does_not_depend_on_the_peers(client: bool) -> None:
    """What was agreed on for the other direction changes nothing here."""
    alone = {"server_no_context_takeover": client, "client_no_context_takeover": not client}
    session = Play(client=client, ours=Deflate(**alone)).session
    first, second = (on_the_wire(b"".join(session.send_message(bytes(range(256)))[:2]))[0].payload for _ in range(2))

    assert len(second) < 20 < len(first)


def test_level_and_memory_level_are_zlibs(client: bool) -> None:
    """The bytes are those that zlib makes with the same settings."""
    message = b"".join(b"%d, " % number for number in range(2000))
    for level, memory_level, bits in ((0, 8, 15), (1, 9, 15), (9, 1, 15), (6, 8, 9)):
        ours = Deflate(level=level, memory_level=memory_level, server_max_window_bits=bits, client_max_window_bits=bits)
        (sent,) = on_the_wire(b"".join(Play(client=client, ours=ours).session.send_message(message)[:2]))
        compressor = zlib.compressobj(level, zlib.DEFLATED, -bits, memory_level)
        assert sent.payload + TAIL == compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)


def test_close_frame_is_never_compressed(client: bool) -> None:
    """Neither after a message nor inside a fragmented one."""
    session = Play(client=client, ours=Deflate(threshold=0)).session
    b"".join(session.send_message("x" * 100)[:2])
    session.send_fragment("x" * 100, last=False)
    session.close(CloseFrame(4000, "x" * 100), CloseCause.CLOSED)
    out = session.take_close_frame()
    assert out is not None

    assert on_the_wire(out) == [Wire(CLOSE, True, 0, b"\x0f\xa0" + b"x" * 100)]


# -- corrupt data ----------------------------------------------------------------------------------------------------

(HELLOS,) = deflated(b"Hello, hello" * 20)
CORRUPT: Final = {
    "no such block": b"\xff\xff",
    "lengths that do not match": b"\x00\x05\x00\xfa\xfeHello\x00",
    "too far back": deflated(b"Hello" * 20, b"Hello" * 20)[1],
    "no such code": b"\x05\x00\x00\x00\x00\x00\x00\x00\x00",
    "without its last byte": HELLOS[:-1],
    "half of it": HELLOS[: len(HELLOS) // 2],
    "one byte of it": b"\xf2",
    "with its tail": HELLOS + TAIL,
    "something behind it": HELLOS + b"Hello",
    "zeros behind it": HELLOS + b"\x00\x00",
    "half a block behind the last one": b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2",
    "last block without its end": b"\xf3\x48\xcd\xc9\xc9",
    "last block ended by the tail": b"\xf3\x48\xcd\xc9\xc9\x07",
    "block that takes the tail for its own": b"\x00\x09\x00\xf6\xffHello",
}


@pytest.mark.parametrize("payload", CORRUPT.values(), ids=CORRUPT)
@pytest.mark.parametrize("alone", [False, True], ids=["window shared", "no window shared"])
def test_fail_inflate_sends_1007(start: Start, payload: bytes, alone: bool) -> None:
    """Corrupt data, and what is not all there, never becomes a message; what came before is delivered."""
    takeover = ALONE if alone else Deflate()
    play = start(ours=takeover)
    good = play.frame(TEXT, b"one"), play.frame(BINARY, b"two")
    play.feed(*good, play.frame(BINARY, payload, rsv=RSV1), play.frame(TEXT, b"after"))

    assert play.events == ["one", b"two"]
    assert play.failure == (CloseFrame(1007, "corrupt compressed data"), CloseCause.INVALID_PAYLOAD)


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "message", [b"Hello, hello" * 9, bytes(3000), bytes(range(256)), b"x"], ids=lambda each: each[:2]
)
@pytest.mark.parametrize("level", [1, 9])
def test_fail_inflate_if_a_message_is_cut_anywhere(client: bool, message: bytes, level: int) -> None:
    """However much of a message is missing, what is there is not delivered."""
    (payload,) = deflated(message, level=level)
    for size in range(1, len(payload)):
        play = Play(client=client)
        play.feed(play.frame(BINARY, payload[:size], rsv=RSV1))
        if payload[:size] == b"\x00":
            assert play.events == [b""]  # this is how an empty message looks
        else:
            assert play.events == []
            assert play.session.state is State.FAILING


def test_fail_inflate_if_a_message_refers_to_one_that_it_may_not(start: Start) -> None:
    """Without context takeover, for the side that it is about, the window is empty when a message begins."""
    client = start().client
    alone = {"server_no_context_takeover": client, "client_no_context_takeover": not client}
    first, second = deflated(bytes(range(256)), bytes(range(256)))
    for ours, theirs in ((Deflate(**alone), Deflate()), (Deflate(), Deflate(**alone))):
        play = start(ours=ours, theirs=theirs)
        play.feed(play.frame(BINARY, first, rsv=RSV1), play.frame(BINARY, second, rsv=RSV1))
        assert play.events == [bytes(range(256))]
        assert play.failure == (CloseFrame(1007, "corrupt compressed data"), CloseCause.INVALID_PAYLOAD)


def test_fail_inflate_comes_with_the_byte_that_is_wrong(client: bool) -> None:
    """Not at the end of the frame, nor of the message."""
    (payload,) = deflated(bytes(range(256)))
    play = Play(client=client, step=1)
    play.feed(play.frame(BINARY, payload + b"\xff" + bytes(1000), fin=False, rsv=RSV1)[: -1000 + 4])

    assert play.session.state is State.FAILING


def test_fail_inflate_in_the_second_fragment(start: Start) -> None:
    """The fragments before it are dropped with it."""
    (payload,) = deflated(b"Hello" * 100)
    play = start()
    play.feed(*play.compressed(BINARY, payload[:5], b"\xff" * 20, b"\x00"), play.frame(TEXT, b"after"))

    assert play.events == []
    assert play.failure == (CloseFrame(1007, "corrupt compressed data"), CloseCause.INVALID_PAYLOAD)


def test_fail_inflate_does_not_change_what_a_peer_says(start: Start) -> None:
    """A Close frame with the words that wsproto has for errors of extensions is a Close frame like any other."""
    play = start()
    play.feed(play.frame(CLOSE, b"\x03\xeferror in extension"))

    assert play.session.state is State.CLOSE_RECEIVED
    play.session.close_written()
    assert play.session.close_event is not None
    assert play.session.close_event.received == CloseFrame(1007, "error in extension")


@pytest.mark.parametrize(
    ("blocks", "is_good"), [(MAX_FINAL_BLOCKS, True), (MAX_FINAL_BLOCKS + 1, False), (10_000, False)]
)
def test_fail_inflate_if_too_many_blocks_end_the_stream(start: Start, blocks: int, is_good: bool) -> None:
    """Each costs a new decompressor: some in one message pass, one more does not, at the end and in the middle."""
    for behind in (b"\x00", deflated(b"x")[0]):
        play = start()
        payload = b"\x03\x00" * blocks + behind
        for _ in range(3):
            play.feed(*play.compressed(BINARY, payload[:33], payload[33:]))
        if is_good:
            assert play.events == [b"" if behind == b"\x00" else b"x"] * 3
        else:
            assert play.failure == (CloseFrame(1007, "corrupt compressed data"), CloseCause.INVALID_PAYLOAD)


@pytest.mark.parametrize("payload", [b"\xff", b"Hello \xed\xa0\x80", b"\xe2\x82"], ids=lambda each: each.hex())
def test_fail_utf8_in_a_compressed_text(start: Start, payload: bytes) -> None:
    """Text is validated after inflation; the same bytes as binary are fine."""
    (data,) = deflated(payload)
    play = start()
    play.feed(play.frame(BINARY, data, rsv=RSV1))
    assert play.events == [payload]
    play = start()
    play.feed(play.frame(TEXT, data, rsv=RSV1))
    assert play.events == []
    sent, cause = play.failure
    assert sent is not None
    assert (sent.code, cause) == (1007, CloseCause.INVALID_PAYLOAD)


def test_fail_utf8_in_a_compressed_text_comes_before_its_end(start: Start) -> None:
    """It is noticed with the bytes that inflate to it."""
    compressor = zlib.compressobj(wbits=-15)
    play = start()
    play.feed(play.frame(TEXT, compressor.compress(b"\xff") + compressor.flush(zlib.Z_SYNC_FLUSH), fin=False, rsv=RSV1))

    assert play.session.state is State.FAILING


RESERVED: Final[dict[str, Callable[[Play], list[bytes]]]] = {
    "rsv1-on-continuation": lambda play: [
        play.frame(TEXT, b"\xf2", fin=False, rsv=4),
        play.frame(CONTINUATION, b"x", rsv=4),
    ],
    "rsv1-on-plain-continuation": lambda play: [
        play.frame(TEXT, b"x", fin=False),
        play.frame(CONTINUATION, b"x", rsv=4),
    ],
    "rsv1-on-ping": lambda play: [play.frame(PING, b"\x00", rsv=4)],
    "rsv1-on-pong": lambda play: [play.frame(PONG, rsv=4)],
    "rsv1-on-close": lambda play: [play.frame(CLOSE, b"\x03\xe8", rsv=4)],
    "rsv2": lambda play: [play.frame(TEXT, b"\x00", rsv=2)],
    "rsv3": lambda play: [play.frame(TEXT, b"\x00", rsv=1)],
    "rsv1-and-rsv2": lambda play: [play.frame(TEXT, b"\x00", rsv=6)],
    "rsv1-and-rsv3": lambda play: [play.frame(BINARY, b"\x00", rsv=5)],
}


@pytest.mark.parametrize("bad", RESERVED.values(), ids=RESERVED)
def test_fail_frame_with_a_reserved_bit_out_of_place(start: Start, bad: Callable[[Play], list[bytes]]) -> None:
    """RSV1 may stand on the first frame of a message, nothing else anywhere (§6)."""
    play = start()
    play.feed(*bad(play))

    assert play.events == []
    assert play.failure == (CloseFrame(1002, "reserved bit set"), CloseCause.PROTOCOL_ERROR)


def test_fail_frame_with_rsv1_that_was_not_agreed_on(client: bool) -> None:
    """Without negotiation there is no compressed message."""
    session = Session(client=client)
    session.receive_data(frame(TEXT, HELLOS, rsv=RSV1, masked=not client))

    assert session.next_event() is None
    assert session.state is State.FAILING
    assert session.cause is CloseCause.PROTOCOL_ERROR


@settings(deadline=None)
@given(
    payloads=st.lists(st.binary(max_size=40) | st.sampled_from([*CORRUPT.values(), HELLOS]), max_size=5),
    opcode=st.sampled_from([TEXT, BINARY]),
    is_client=st.booleans(),
    steps=st.integers(1, 60),
    ahead=st.booleans(),
    wanted=WISHES,
)
def test_any_bytes_are_a_message_or_fail(
    payloads: list[bytes], opcode: int, is_client: bool, steps: int, ahead: bool, wanted: Deflate
) -> None:
    """Whatever a peer compresses: messages within the limit, or 1007, or 1009; no exception, and nothing in between."""
    play = Play(client=is_client, step=steps, ours=wanted, max_message_size=500)
    for payload in payloads:
        play.feed(play.frame(opcode, payload, rsv=RSV1), ahead=ahead)
        play.look()

    assert all(len(message) <= 500 for message in play.events if isinstance(message, str | bytes))
    if play.session.state is not State.OPEN:
        sent, cause = play.failure
        assert sent is not None
        assert (sent.code, cause) in [(1007, CloseCause.INVALID_PAYLOAD), (1009, CloseCause.MESSAGE_TOO_BIG)]


# -- limits ----------------------------------------------------------------------------------------------------------


def in_parts(payload: bytes, count: int) -> list[bytes]:
    size = len(payload) // count + 1
    return [payload[begin : begin + size] for begin in range(0, size * count, size)]


def over(limit: int) -> tuple[CloseFrame, CloseCause]:
    """Return what fails a message that is over *limit*."""
    reason = f"message of at least {limit + 1} bytes is over the limit of {limit}"
    return CloseFrame(1009, reason), CloseCause.MESSAGE_TOO_BIG


STEPS: Final = pytest.mark.parametrize("step", [None, 1, 97], ids=["whole", "bytewise", "in pieces"])


@STEPS
@pytest.mark.parametrize("parts", [1, 2, 5], ids="{} fragments".format)
@pytest.mark.parametrize("limit", [0, 1, 1000, 2**20])
def test_fail_size_counts_bytes_after_inflation(client: bool, step: int | None, limit: int, parts: int) -> None:
    """A message of exactly the limit passes; of one byte more not a byte is delivered, and the reason tells why."""
    for opcode, unit in ((BINARY, b"\x00"), (TEXT, b"z")):
        at_limit, one_more = deflated(unit * limit, unit * (limit + 1))
        play = Play(client=client, step=step, max_message_size=limit)
        play.feed(*play.compressed(opcode, *in_parts(at_limit, parts)))
        assert [as_wire(cast("str | bytes", event)) for event in play.events] == [(opcode, unit * limit)]

        play.feed(*play.compressed(opcode, *in_parts(one_more, parts)), play.frame(TEXT, b"x"))
        assert len(play.events) == 1
        assert play.failure == over(limit)


def test_fail_size_of_a_compressed_text_counts_its_bytes(start: Start) -> None:
    """Not its characters."""
    at_limit, one_more = deflated(("\u20ac" * 30).encode(), ("\u20ac" * 30 + "x").encode())
    play = start(max_message_size=90)
    play.feed(play.frame(TEXT, at_limit, rsv=RSV1), play.frame(TEXT, one_more, rsv=RSV1))

    assert play.events == ["\u20ac" * 30]
    assert play.failure == over(90)


def test_fail_size_comes_as_soon_as_it_is_over_the_limit(start: Start) -> None:
    """In the middle of a frame: its end is not waited for, and its announced length says nothing."""
    (payload,) = deflated(bytes(3000))
    play = start(max_message_size=100)
    play.feed(play.frame(BINARY, payload + bytes(100_000), rsv=RSV1)[:-100_000])

    assert play.failure == over(100)


def test_fail_size_of_a_message_that_is_not_compressed_is_told_by_its_header(start: Start) -> None:
    """Where compression was agreed on, too."""
    play = start(max_message_size=100)
    play.feed(frame(BINARY, b"", masked=not play.client, claim=101))

    assert play.failure == (
        CloseFrame(1009, "message of 101 bytes is over the limit of 100"),
        CloseCause.MESSAGE_TOO_BIG,
    )


def test_fail_fragments_of_a_compressed_message(start: Start) -> None:
    """Empty ones count, as they do in any message."""
    (payload,) = deflated(b"Hello")
    play = start(max_fragments=3)
    play.feed(*play.compressed(TEXT, b"", payload[:1], payload[1:]), *play.compressed(TEXT, b"", b"", b"", payload))

    assert play.events == ["Hello"]
    assert play.failure == (
        CloseFrame(1009, "message of 4 fragments is over the limit of 3"),
        CloseCause.MESSAGE_TOO_BIG,
    )


@pytest.mark.unmeasured
@settings(deadline=None)
@given(
    blocks=st.lists(BINARIES, min_size=1, max_size=4),
    off=st.integers(-3, 3),
    cuts=CUTS,
    is_client=st.booleans(),
    steps=st.integers(1, 3000),
    modes=st.lists(st.sampled_from(["ahead", "asked", "stream"]), min_size=1, max_size=4),
)
def test_nothing_is_ever_truncated(
    blocks: list[bytes], off: int, cuts: list[int], is_client: bool, steps: int, modes: list[str]
) -> None:
    """Near the limit, in any blocks, fragments and pieces, asked for early or late: all of a message, or 1009."""
    message = b"".join(blocks)
    limit = max(0, len(message) + off)
    compressor = zlib.compressobj(wbits=-15)
    payload = b"".join(compressor.compress(each) + compressor.flush(zlib.Z_SYNC_FLUSH) for each in blocks)[:-4]
    places = [0, *sorted(len(payload) * cut // 1000 for cut in cuts), len(payload)]
    play = Play(client=is_client, step=steps, max_message_size=limit)
    data = b"".join(play.compressed(BINARY, *(payload[begin:end] for begin, end in itertools.pairwise(places))))
    turns = itertools.cycle(modes)
    for begin in range(0, len(data), steps):
        play.session.receive_data(data[begin : begin + steps])
        mode = next(turns)
        if mode == "stream" and not play.session.streaming and play.session.state is State.OPEN:
            play.session.begin_stream(limit)
        play.look(ahead=mode == "ahead")
    play.look()

    got = b"".join(bytes(each.data if isinstance(each, Piece) else each) for each in play.events)  # type: ignore[arg-type]
    if len(message) <= limit:
        assert got == message
        assert play.session.state is State.OPEN
    else:
        assert message.startswith(got)
        assert play.failure == over(limit)


# -- ahead of what the program has asked for -------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 1000, 2**20])
def test_ahead_a_message_over_the_limit_is_held(client: bool, limit: int) -> None:
    """Nobody has asked: it stays where it is, for the program to ask for it whole, which fails, or in pieces."""
    (payload,) = deflated(bytes(limit + 1))
    for whole in (True, False):
        play = Play(client=client, max_message_size=limit)
        data = play.frame(BINARY, payload, rsv=RSV1)
        play.feed(data, play.frame(TEXT), ahead=True)
        session = play.session
        assert session.held
        assert (play.events, session.state) == ([], State.OPEN)
        assert session.kept <= limit

        if not whole:
            session.begin_stream(limit + 1)
        play.look()
        if whole:
            assert not session.held
            assert play.failure == over(limit)
        else:
            *pieces, behind = play.events
            assert all(isinstance(piece, Piece) for piece in pieces)
            assert b"".join(cast("Piece", piece).data for piece in pieces) == bytes(limit + 1)  # type: ignore[misc]
            assert [cast("Piece", piece).last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
            assert behind == ""


def test_ahead_a_message_well_below_the_limit_comes_out(start: Start) -> None:
    """What cannot go over the limit, however it inflates, need not wait for the program."""
    play = start(max_message_size=2**20)
    for payload in deflated(b"Hello" * 100, bytes(10**6)):
        play.feed(play.frame(BINARY, payload, rsv=RSV1), ahead=True)

    assert play.events == [b"Hello" * 100, bytes(10**6)]
    assert not play.session.held


@pytest.mark.parametrize("parts", [[b"\x00"], [b""], [b"", b"\x00"], [b"\x00", b""], [b"", b""]], ids=repr)
def test_ahead_a_frame_of_no_bytes_is_not_held(client: bool, parts: list[bytes]) -> None:
    """It cannot go over any limit, however little of it is left."""
    play = Play(client=client, max_message_size=8 * MAX_RATIO)
    (payload,) = deflated(b"Hello")
    play.feed(*play.compressed(TEXT, payload, b""), *play.compressed(BINARY, *parts), ahead=True)

    assert play.events == ["Hello", b""]
    assert not play.session.held


def test_ahead_everything_comes_out_without_a_limit(client: bool) -> None:
    """There is nothing to wait for then."""
    (payload,) = deflated(bytes(5 * 10**6))
    play = Play(client=client, max_message_size=None)
    play.feed(play.frame(BINARY, payload, rsv=RSV1), ahead=True)

    assert play.events == [bytes(5 * 10**6)]


@STEPS
def test_message_over_the_limit_that_had_arrived_before_our_close_is_dropped(client: bool, step: int | None) -> None:
    """Nobody can ask for it in pieces any more, and the connection ends anyway; the peer's Close behind it counts."""
    small, large = deflated(b"Hello" * 20, bytes(2000))
    for parts in ([large], [large[:-2], large[-2:]], [b"", large, b""]):
        play = Play(client=client, step=step, max_message_size=1000)
        first, *rest = play.compressed(BINARY, *parts)
        play.session.receive_data(play.frame(BINARY, small, rsv=RSV1) + first)
        play.session.close(CloseFrame(1000), CloseCause.CLOSED, keep_arrived=True)
        play.look(ahead=True)
        assert play.events == [b"Hello" * 20]
        assert play.session.take_close_frame() is not None
        play.session.close_written()
        play.feed(*rest, play.frame(PING), play.frame(TEXT, small, rsv=RSV1), play.frame(CLOSE, b"\x03\xe8"))

        assert play.events == [b"Hello" * 20]
        assert play.session.close_event is not None
        assert play.session.close_event.was_clean


# -- piece by piece --------------------------------------------------------------------------------------------------


def test_stream_of_a_compressed_message_comes_in_pieces(start: Start) -> None:
    """Each piece is what its bytes inflate to; a limit of the stream's own counts, not that of messages."""
    (payload,) = deflated("\u00e4\u20ac".encode() * 1000)
    play = start(max_message_size=10)
    play.session.begin_stream(5000)
    play.feed(*play.compressed(TEXT, *in_parts(payload, 3)), play.frame(TEXT, b"whole"))

    *pieces, whole = play.events
    assert "".join(cast("Piece", piece).data for piece in pieces) == "\u00e4\u20ac" * 1000  # type: ignore[misc]
    assert whole == "whole"


def test_stream_over_its_limit_sends_1009(client: bool) -> None:
    """At its limit it passes; one byte more fails, and the pieces so far are no more than the limit."""
    for size, limit in ((5000, 5000), (5001, 5000), (1, 0)):
        play = Play(client=client, step=1)
        play.session.begin_stream(limit)
        (payload,) = deflated(bytes(size))
        play.feed(play.frame(BINARY, payload, rsv=RSV1))
        got = sum(len(cast("Piece", piece).data) for piece in play.events)
        if size > limit:
            assert got <= limit
            assert play.failure == over(limit)
        else:
            assert got == size


def test_stream_takes_up_what_was_kept_of_a_compressed_message(client: bool) -> None:
    """What has arrived of it comes first; what was kept is over the stream's limit already: 1009."""
    (payload,) = deflated(bytes(1000))
    for limit in (1000, 999, None):
        play = Play(client=client, max_message_size=2000)
        first, last = play.compressed(BINARY, payload[:-1], payload[-1:])
        play.feed(first)
        assert play.session.kept == 1000
        play.session.begin_stream(limit)
        play.look()
        if limit == 999:
            assert play.failure == (
                CloseFrame(1009, "message of 1000 bytes is over the limit of 999"),
                CloseCause.MESSAGE_TOO_BIG,
            )
            continue
        play.feed(last)
        assert play.events == [Piece(bytes(1000), last=False), Piece(b"", last=True)]


def test_rest_of_a_compressed_stream_can_be_skipped(start: Start) -> None:
    """What nobody wants is inflated, since the window is shared, and dropped, whatever its size; the next is right."""
    first, second = deflated(bytes(1000) + b"Hello" * 1000, b"Hello" * 100)
    play = start(max_message_size=1000)
    play.session.begin_stream(None)
    head, *rest = play.compressed(TEXT, *in_parts(first, 5))
    play.feed(head)
    before = sum(len(cast("Piece", piece).data) for piece in play.events)
    play.session.skip_rest()
    play.events.clear()
    play.feed(*rest, play.frame(TEXT, second, rsv=RSV1))

    assert play.events == ["Hello" * 100]
    assert (play.session.messages_dropped, play.session.bytes_dropped) == (1, 6000 - before)


def test_stream_that_was_not_begun_after_all_leaves_the_message_whole(client: bool) -> None:
    """`end_stream` before any piece: the limit of messages counts again."""
    (payload,) = deflated(bytes(1000))
    play = Play(client=client, max_message_size=999)
    play.session.begin_stream(None)
    play.session.end_stream()
    play.feed(play.frame(BINARY, payload, rsv=RSV1))

    assert play.failure == over(999)


# -- after our Close -------------------------------------------------------------------------------------------------


def test_compressed_messages_after_our_close_are_dropped_unread(start: Start) -> None:
    """Corrupt ones and bombs too; the peer's Close is read behind them, and between their fragments."""
    play = start(max_message_size=10)
    (payload,) = deflated(bytes(5000))
    first, last = play.compressed(BINARY, payload[:5], payload[5:])
    play.feed(first)
    play.session.close(CloseFrame(1000), CloseCause.EXIT)
    play.session.take_close_frame()
    play.session.close_written()
    play.feed(
        play.frame(PING, b"x"),
        last,
        play.frame(TEXT, b"\xff\xff", rsv=RSV1),
        play.frame(BINARY, payload, fin=False, rsv=RSV1),
        play.frame(CLOSE, b"\x03\xe8"),
    )

    assert play.events == []
    assert play.session.close_event is not None
    assert (play.session.close_event.code, play.session.close_event.was_clean) == (1000, True)


def test_windows_are_let_go_of_with_the_connection(client: bool) -> None:
    """Whoever keeps the session of an ended connection keeps no compressor."""
    play = Play(client=client)
    peer = Play(client=not client)
    message = "".join(map(str, range(1000)))
    with traced() as memory:
        play.feed(b"".join(peer.session.send_message(message)[:2]))
        peer.feed(b"".join(play.session.send_message(message)[:2]))
        assert play.events == peer.events == [message]
        open_for = memory()
        for each in (play, peer):
            each.session.lose_transport(CloseCause.ABORTED)
        assert memory() < open_for - 500_000


# -- bombs -----------------------------------------------------------------------------------------------------------

MIB: Final = 2**20
SOCKET: Final = 2**16  # bytes that are read at once


@contextmanager
def traced() -> Generator[Callable[[], int]]:
    """Trace memory; gives what tells how many bytes are in use."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def bomb_of(unit: bytes, size: int) -> bytes:
    """Return what inflates to *size* million bytes of *unit*; one million cost about a thousand."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    million = compressor.compress(unit * (10**6 // len(unit))) + compressor.flush(zlib.Z_FULL_FLUSH)
    return million * size


class Defuse(NamedTuple):
    """What came of a bomb, in bytes."""

    total: int  # of all pieces
    largest: int  # of one piece
    peak: int  # of memory
    turn: int  # that one turn made, and kept or dropped


def defuse(session: Session, data: bytes, *, ahead: bool = False, skip: bool = False) -> Defuse:
    """Feed *data* as a socket would, and look at it in turns; with *skip*, let go of it after the first piece."""
    total = largest = longest_turn = 0
    with traced():
        for begin in range(0, len(data), SOCKET):
            session.receive_data(data[begin : begin + SOCKET])
            has_more = True
            while has_more:
                turn, before = session.looked_at + 100, session.bytes_dropped + session.kept
                event = session.next_event(turn, ahead=ahead)
                has_more = event is not None or session.looked_at >= turn
                longest_turn = max(longest_turn, session.bytes_dropped + session.kept - before)
                size = len(event.data) if isinstance(event, Piece) else 0
                event = None  # let go of it
                total, largest = total + size, max(largest, size)
                if skip and size:
                    session.skip_rest()
                    skip = False
        peak = tracemalloc.get_traced_memory()[1]
    return Defuse(total, largest, peak, longest_turn)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """200 MB in 200 KB."""
    data = bomb_of(b"\x00", 200) + b"\x00"
    assert len(data) < 220_000
    return data


@pytest.mark.unmeasured
@pytest.mark.parametrize("opcode", [BINARY, TEXT], ids=["binary", "text"])
@pytest.mark.parametrize("limit", [0, 2**20, 3 * 10**6])
def test_bomb_ends_in_1009_and_costs_little(client: bool, bomb: bytes, opcode: int, limit: int) -> None:
    """Memory never holds more than the limit, and a few copies of a portion."""
    play = Play(client=client, max_message_size=limit)
    result = defuse(play.session, play.frame(opcode, bomb, rsv=RSV1))

    assert play.failure == over(limit)
    assert result.total == 0
    assert result.peak < (4 * MIB if limit <= MIB else 12 * MIB)


@pytest.mark.unmeasured
def test_bomb_nobody_asked_for_is_held_and_costs_little(client: bool, bomb: bytes) -> None:
    """Not judged, not inflated beyond the limit, and not read any further than it was."""
    play = Play(client=client)
    result = defuse(play.session, play.frame(BINARY, bomb, rsv=RSV1), ahead=True)

    assert play.session.held
    assert play.session.state is State.OPEN
    assert play.session.kept <= 2**20
    assert result.peak < 8 * MIB


@pytest.mark.unmeasured
@pytest.mark.parametrize("opcode", [BINARY, TEXT], ids=["binary", "text"])
def test_bomb_as_a_stream_ends_in_1009_and_costs_little(client: bool, bomb: bytes, opcode: int) -> None:
    """Pieces come out up to the stream's limit."""
    play = Play(client=client)
    play.session.begin_stream(20 * 10**6)
    result = defuse(play.session, play.frame(opcode, bomb, rsv=RSV1))

    assert play.failure == over(20 * 10**6)
    assert 19 * 10**6 - PORTION * MAX_RATIO < result.total <= 20 * 10**6
    assert result.largest <= PORTION * MAX_RATIO
    assert result.peak < 8 * MIB


@pytest.mark.unmeasured
def test_bomb_as_a_stream_without_a_limit_comes_in_bounded_pieces(client: bool, bomb: bytes) -> None:
    """All of it passes, since it was asked for; memory holds about a piece at a time."""
    play = Play(client=client, max_message_size=None)
    play.session.begin_stream(None)
    result = defuse(play.session, play.frame(BINARY, bomb, rsv=RSV1))

    assert result.total == 200 * 10**6
    assert result.largest <= PORTION * MAX_RATIO
    assert result.peak < 8 * MIB
    assert play.session.state is State.OPEN


@pytest.mark.unmeasured
def test_bomb_that_is_skipped_does_not_hold_the_loop(client: bool, bomb: bytes) -> None:
    """What it inflates to counts as work: a turn of 100 drops some MB at most, then others have theirs."""
    play = Play(client=client)
    play.session.begin_stream(None)
    result = defuse(play.session, play.frame(BINARY, bomb, rsv=RSV1), skip=True)

    assert play.session.bytes_dropped == 200 * 10**6 - result.total
    assert result.turn <= 100 * INFLATED_PER_LOOK + PORTION * MAX_RATIO
    assert result.peak < 8 * MIB


def test_large_message_does_not_hold_the_loop(client: bool) -> None:
    """One that is allowed to be as large as it likes is put together in turns as well."""
    play = Play(client=client, max_message_size=None)
    result = defuse(play.session, play.frame(BINARY, bomb_of(b"\x00", 20), fin=False, rsv=RSV1))

    assert play.session.kept == 20 * 10**6
    assert result.turn <= 100 * INFLATED_PER_LOOK + PORTION * MAX_RATIO


NOTHING: Final = {
    "stored": b"\x00\x00\x00\xff\xff" * 13_000,
    "fixed": sum(0b0000000_01_0 << 10 * i for i in range(4)).to_bytes(5, "little") * 13_000,
}


@pytest.mark.unmeasured
@pytest.mark.parametrize("mode", ["asked", "ahead", "stream", "no limit"])
@pytest.mark.parametrize("kind", NOTHING)
def test_endless_blocks_of_nothing_cost_work_but_no_memory(client: bool, kind: str, mode: str) -> None:
    """A message that goes on and on and never grows: looked at in portions, which are counted; nothing is kept."""
    play = Play(client=client, **({"max_message_size": None} if mode == "no limit" else {}))
    if mode == "stream":
        play.session.begin_stream(None)
    frames = play.compressed(BINARY, *[NOTHING[kind]] * 12)[:-1]
    result = defuse(play.session, b"".join(frames), ahead=mode == "ahead")

    assert (result.total, result.turn, play.session.kept) == (0, 0, 0)
    assert play.session.state is State.OPEN
    assert result.peak < MIB
    portion = SOCKET if mode == "asked" else PORTION
    assert play.session.looked_at >= sum(map(len, frames)) / portion


def test_ratio_is_not_more_than_we_count_with() -> None:
    """The densest that deflate can be: pairs of bits that stand for 258 bytes each."""
    (payload,) = deflated(bytes(10**7), level=9)

    assert 1000 < 10**7 / len(payload) < 8 // 2 * 258 <= MAX_RATIO


# -- the day wsproto changes -----------------------------------------------------------------------------------------


def test_wsproto_has_no_bound_on_what_it_inflates_to() -> None:
    """wsproto's own extension inflates whatever a frame holds, at once.

    When this fails, look whether its own class can do what `PerMessageDeflate` does.
    """
    extension = BareDeflate()
    extension.accept(OFF)
    connection = Connection(ConnectionType.SERVER, [extension])
    connection.receive_data(frame(BINARY, deflated(bytes(10**7))[0], rsv=RSV1, masked=True))
    (message,) = connection.events()

    assert isinstance(message, BytesMessage)
    assert len(message.data) == 10**7


def test_wsproto_lets_a_bare_value_error_out() -> None:
    """Junk in the header is an `int` that fails, in both roles.

    When this fails, `REFUSALS` may do without `ValueError`, as far as extensions go.
    """
    with pytest.raises(ValueError, match="invalid literal for int"):
        BareDeflate().accept(f"{OFF}; server_max_window_bits=abc")
    with pytest.raises(ValueError, match="invalid literal for int"):
        BareDeflate().finalize(f"{OFF}; server_max_window_bits=abc")


def test_wsproto_ignores_parameters_that_it_does_not_know() -> None:
    """It agrees to what it has not understood.

    When this fails, look whether `read_parameters` may go.
    """
    assert BareDeflate().accept(f"{OFF}; unknown=1") is not None


def test_wsproto_heeds_only_the_last_line_of_extensions_in_an_answer() -> None:
    """What stands in the lines before it is never looked at.

    When this fails, `ClientHandshake._accepted` need not count lines.
    """
    client = WSConnection(ConnectionType.CLIENT)
    request = client.send(UpgradeRequest(host="h", target="/", extensions=[BareDeflate()]))
    client.receive_data(switching(request) + lines(["x-unknown", OFF]))

    assert [type(event) for event in client.events()] == [AcceptConnection]


def test_wsproto_has_one_text_for_all_errors_of_extensions() -> None:
    """It says "error in extension", whatever the extension found.

    When this fails, `Session._receive_close` may take over what it says.
    """
    connection = Connection(ConnectionType.SERVER, list(answered(Deflate(), OFF)[0].extensions))
    connection.receive_data(frame(BINARY, b"\xff\xff", rsv=RSV1, masked=True))
    (event,) = connection.events()

    assert isinstance(event, CloseConnection)
    assert (event.code, event.reason) == (1007, "error in extension")


def test_message_whose_empty_end_was_only_begun_is_still_to_come() -> None:
    """There may be something to look at although no data is left: work ended between a header and its empty payload."""
    deflate = PerMessageDeflate(Deflate(), client=False)
    assert deflate.accept("permessage-deflate") is not None
    session = Session(client=False, extensions=(deflate,))
    (payload,) = deflated(b"hello")
    session.receive_data(frame(TEXT, payload, rsv=4, fin=False, masked=True) + frame(0, b"", masked=True))
    work = 0
    while session._data:
        work += 1
        assert session.next_event(work) is None
    assert session.has_data
    assert session.next_event() == "hello"
    assert not session.has_data
