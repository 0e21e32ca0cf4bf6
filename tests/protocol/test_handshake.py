"""The opening handshake, sans-IO: every answer a server gives, every answer a client understands.

Tests that take `cut` feed everything whole, byte by byte, and in three pieces.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.events import Request as UpgradeRequest

from trio_closeevents import Headers, Request, Response
from trio_closeevents._protocol.handshake import (
    MAX_HEAD_SIZE,
    MAX_REJECTION_BODY,
    BadResponse,
    ClientHandshake,
    RequestRefused,
    ServerHandshake,
    headers_of,
)

# RFC 6455 §1.3
KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ=="
TOKEN: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

UPGRADE: Final = (
    b"Host: server.example.com\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)
GET: Final = b"GET /chat?room=1 HTTP/1.1\r\n"
REQUEST: Final = GET + UPGRADE + b"\r\n"

STATUSES: Final = {400, 405, 413, 426, 431, 505}  # what a server of this library may refuse with

CUTS: Final = {
    "whole": lambda data: [data],
    "bytewise": lambda data: [data[i : i + 1] for i in range(len(data))],
    "thirds": lambda data: [data[: len(data) // 3], data[len(data) // 3 : -len(data) // 3], data[-len(data) // 3 :]],
}


class Cut:
    """How what is sent is cut into pieces."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, data: bytes) -> list[bytes]:
        return [piece for piece in CUTS[self.name](data) if piece]


@pytest.fixture(params=CUTS)
def cut(request: pytest.FixtureRequest) -> Cut:
    return Cut(request.param)


def serve(pieces: Iterable[bytes]) -> tuple[ServerHandshake, Request | None]:
    """Return a server's handshake that was fed until it had a request, and that request."""
    handshake = ServerHandshake()
    for piece in pieces:
        request = handshake.receive_data(piece)
        if request is not None:
            return handshake, request
    return handshake, None


def refused(pieces: Iterable[bytes]) -> tuple[Response, str, h11.Response, bytes]:
    """Return the response of a refusal and its words; what travels, as another HTTP client reads it."""
    handshake = ServerHandshake()
    with pytest.raises(RequestRefused) as caught:
        for piece in pieces:
            request = handshake.receive_data(piece)
            if request is not None:
                handshake.check_upgrade(request)
                pytest.fail("the request was accepted")
        pytest.fail("more was waited for")
    head, body = as_client_reads(handshake.respond(caught.value.response))
    return caught.value.response, str(caught.value), head, body


def as_client_reads(raw: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    head, body = client.next_event(), b""
    assert isinstance(head, h11.Response)
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage), "the response is not whole"
    assert client.next_event() is h11.NEED_DATA or client.their_state is h11.MUST_CLOSE
    assert client.trailing_data[0] == b""
    return head, body


def new_client(*subprotocols: str, headers: Any = (), host: str = "server.example.com") -> ClientHandshake:
    return ClientHandshake(host, "/chat?room=1", subprotocols, Headers(headers))


def token_for(client: ClientHandshake) -> bytes:
    key = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", client.request_bytes)
    assert key is not None
    return base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def answer(client: ClientHandshake, more: bytes = b"", *, without: bytes = b"-") -> bytes:
    """Return a good 101 for *client*, with more header lines, and without those that begin with *without*."""
    lines = [
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade\r\n",
        b"Sec-WebSocket-Accept: " + token_for(client) + b"\r\n",
    ]
    return b"".join(line for line in lines if not line.startswith(without)) + more + b"\r\n"


def feed(client: ClientHandshake, pieces: Iterable[bytes]) -> Response | None:
    """Feed *client* until it has a response."""
    for piece in pieces:
        response = client.receive_data(piece)
        if response is not None:
            return response
    return None


# -- the server: what it accepts -------------------------------------------------------------------------------------


def test_request_is_taken_when_it_is_whole(cut: Cut) -> None:
    """The request comes out with the last byte of its head, with target and every header, `Host` included."""
    handshake, *pieces = ServerHandshake(), *cut(REQUEST)
    *early, last = [handshake.receive_data(piece) for piece in pieces]

    assert not any(early)
    assert last is not None
    assert (last.method, last.target, last.path, last.query) == ("GET", "/chat?room=1", "/chat", "room=1")
    assert last.headers == Headers(
        {
            "Host": "server.example.com",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY.decode(),
            "Sec-WebSocket-Version": "13",
        }
    )
    assert handshake.leftover == b""


def test_request_of_the_rfc_is_accepted(cut: Cut) -> None:
    """RFC 6455 §1.3: the answer has the token of the RFC, and the chosen subprotocol."""
    handshake, request = serve(cut(GET + UPGRADE + b"Sec-WebSocket-Protocol: chat, superchat\r\n\r\n"))
    assert request is not None
    assert request.subprotocols == ("chat", "superchat")
    handshake.check_upgrade(request)
    raw = handshake.accept("superchat", Headers({"X-Extra": "\xe4"}))

    assert request.subprotocols == ("chat", "superchat")
    assert raw.startswith(b"HTTP/1.1 101 ")
    assert raw.endswith(b"\r\n\r\n")
    headers = headers_of(raw)
    assert headers["upgrade"].lower() == "websocket"
    assert headers["connection"] == "Upgrade"
    assert headers["sec-websocket-accept"] == TOKEN
    assert headers["sec-websocket-protocol"] == "superchat"
    assert headers["x-extra"] == "\xe4"
    assert len(headers) == len(headers.pairs) == 5


def test_request_is_answered_without_what_was_not_agreed_on() -> None:
    """No subprotocol in the answer if none was chosen, and no extension although one was offered."""
    raw = GET + UPGRADE + b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    handshake, request = serve([raw])
    assert request is not None
    handshake.check_upgrade(request)

    assert set(headers_of(handshake.accept(None, Headers()))) == {"upgrade", "connection", "sec-websocket-accept"}


@pytest.mark.parametrize(
    "offer",
    [
        b"Sec-WebSocket-Protocol: a,b,c",
        b"Sec-WebSocket-Protocol: a , b,\tc",
        b"Sec-WebSocket-Protocol: a,,b, ,c,",
        b"Sec-WebSocket-Protocol: a, b\r\nsec-websocket-protocol: c",
    ],
)
def test_request_offers_subprotocols_in_order(offer: bytes) -> None:
    """A list, in one field or in several, with empty elements left out (RFC 9110 §5.6.1)."""
    handshake, request = serve([GET + UPGRADE + offer + b"\r\n\r\n"])
    assert request is not None

    handshake.check_upgrade(request)
    assert request.subprotocols == ("a", "b", "c")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Upgrade: websocket", b"upgrade:WebSocket"),
        (b"Connection: Upgrade", b"CONNECTION: keep-alive, \tUPGRADE"),
        (b"\r\n", b"\n"),
        (b"Host: server.example.com", b"Host: [::1]:8080"),
        (b"Host: server.example.com", b"Host: 127.0.0.1"),
        (b"Host: server.example.com", b"Host: xn--bcher-kva.example"),
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 13\r\nContent-Length: 0"),
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 13\r\nX-Empty:\r\nX-Latin: \xe4\r\nX-Tab: a\tb"),
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 13\r\nX-Folded: a\r\n  b"),
        (b"/chat?room=1", b"http://server.example.com/chat?room=1"),
        (b"/chat?room=1", b"/%C3%A4'\"<>{}|\\^`"),
    ],
)
def test_request_may_be_written_in_other_ways(old: bytes, new: bytes, cut: Cut) -> None:
    """Case, white space, lists, line ends, folding: what HTTP/1.1 allows is accepted."""
    handshake, request = serve(cut(REQUEST.replace(old, new)))
    assert request is not None

    handshake.check_upgrade(request)


def test_bytes_behind_the_request_are_kept(cut: Cut) -> None:
    """What a client sends glued to its request belongs to the connection: not a byte is lost."""
    frames = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" + bytes(1000)
    pieces = [*cut(REQUEST)]
    pieces[-1] += frames
    handshake, request = serve(pieces)
    assert request is not None

    assert handshake.leftover == frames
    handshake.check_upgrade(request)
    handshake.accept(None, Headers())
    assert handshake.leftover == frames


# -- the server: what it refuses -------------------------------------------------------------------------------------

REFUSED: Final = {
    # 400: malformed
    "junk": (b"\x00\x01\x02\r\n\r\n", 400, "malformed request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "malformed request"),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400, "malformed request"),
    "empty": (b"\r\n\r\n", 400, "malformed request"),
    "no version": (b"GET /\r\n\r\n", 400, "malformed request"),
    "no target": (b"GET  HTTP/1.1\r\n\r\n", 400, "malformed request"),
    "target with a space": (b"GET /a b HTTP/1.1\r\n" + UPGRADE + b"\r\n", 400, "malformed request"),
    "target not ASCII": (b"GET /\xe4 HTTP/1.1\r\n" + UPGRADE + b"\r\n", 400, "malformed request"),
    "target with NUL": (b"GET /\x00 HTTP/1.1\r\n" + UPGRADE + b"\r\n", 400, "malformed request"),
    "line without a colon": (GET + b"Host: h\r\nnonsense\r\n\r\n", 400, "malformed request"),
    "name with a space": (GET + b"Host : h\r\n\r\n", 400, "malformed request"),
    "empty name": (GET + b"Host: h\r\n: x\r\n\r\n", 400, "malformed request"),
    "value with NUL": (GET + UPGRADE + b"X: a\x00b\r\n\r\n", 400, "malformed request"),
    "value with CR": (GET + UPGRADE + b"X: a\rb\r\n\r\n", 400, "malformed request"),
    "value with a control character": (GET + UPGRADE + b"X: a\x01b\r\n\r\n", 400, "malformed"),
    "value with DEL": (GET + UPGRADE + b"X: a\x7fb\r\n\r\n", 400, "malformed"),
    "first line folded": (GET + b" Host: h\r\n\r\n", 400, "malformed request"),
    "no Host": (GET + b"Upgrade: websocket\r\n\r\n", 400, "malformed request"),
    "two Hosts": (GET + b"Host: a\r\nHost: b\r\n\r\n", 400, "malformed request"),
    "Host not ASCII": (REQUEST.replace(b"server", b"\xff"), 400, "malformed opening handshake"),
    "Host no domain name": (REQUEST.replace(b"server", b"xn--\xe4"), 400, "malformed opening handshake"),
    "Content-Length no number": (GET + UPGRADE + b"Content-Length: x\r\n\r\n", 400, "malformed request"),
    "Content-Length negative": (GET + UPGRADE + b"Content-Length: -1\r\n\r\n", 400, "malformed request"),
    "Content-Length endless": (GET + UPGRADE + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400, "malformed"),
    "two Content-Lengths": (
        GET + UPGRADE + b"Content-Length: 0\r\nContent-Length: 1\r\n\r\n",
        400,
        "malformed request",
    ),
    "Connection missing": (REQUEST.replace(b"Connection: Upgrade\r\n", b""), 400, "Connection"),
    "Connection: close": (REQUEST.replace(b"Connection: Upgrade", b"Connection: close"), 400, "Connection"),
    "Connection not ASCII": (REQUEST.replace(b"n: Upgrade", b"n: \xe4"), 400, "malformed opening handshake"),
    "Upgrade: h2c": (REQUEST.replace(b"websocket", b"h2c"), 400, "Upgrade"),
    "key missing": (REQUEST.replace(b"Sec-WebSocket-Key", b"X"), 400, "Sec-WebSocket-Key"),
    "key empty": (REQUEST.replace(KEY, b""), 400, "Sec-WebSocket-Key is not 16 bytes in base64"),
    "key too short": (REQUEST.replace(KEY, b"zz"), 400, "Sec-WebSocket-Key is not 16 bytes in base64"),
    "key of 15 bytes": (REQUEST.replace(KEY, base64.b64encode(bytes(15))), 400, "Sec-WebSocket-Key is not 16 bytes"),
    "key of 17 bytes": (REQUEST.replace(KEY, base64.b64encode(bytes(17))), 400, "Sec-WebSocket-Key is not 16 bytes"),
    "key no base64": (REQUEST.replace(KEY, b"*" * 24), 400, "Sec-WebSocket-Key is not 16 bytes in base64"),
    "key not ASCII": (REQUEST.replace(KEY, b"\xe4" * 24), 400, "Sec-WebSocket-Key is not 16 bytes in base64"),
    "two keys": (
        REQUEST.replace(KEY, KEY + b"\r\nSec-WebSocket-Key: " + KEY),
        400,
        "Sec-WebSocket-Key is not 16 bytes in base64",
    ),
    "version missing": (REQUEST.replace(b"Sec-WebSocket-Version", b"X"), 400, "Sec-WebSocket-Version"),
    "subprotocol not ASCII": (GET + UPGRADE + b"Sec-WebSocket-Protocol: \xe4\r\n\r\n", 400, "malformed opening"),
    "extension not ASCII": (GET + UPGRADE + b"Sec-WebSocket-Extensions: \xe4\r\n\r\n", 400, "malformed opening"),
    # 405: not a GET
    "POST": (b"POST / HTTP/1.1\r\n" + UPGRADE + b"\r\n", 405, "method POST is not allowed: use GET"),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + UPGRADE + b"\r\n", 405, "method OPTIONS is not allowed"),
    "CONNECT": (b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 405, "method CONNECT is not allowed"),
    "get": (b"get / HTTP/1.1\r\n" + UPGRADE + b"\r\n", 405, "method get is not allowed"),
    "POST with a body": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 405, "method POST"),
    # 413: with a body
    "body": (GET + UPGRADE + b"Content-Length: 3\r\n\r\nabc", 413, "an opening handshake has no body"),
    "body to come": (GET + UPGRADE + b"Content-Length: 99999999\r\n\r\n", 413, "an opening handshake has no body"),
    "chunked body": (GET + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 413, "has no body"),
    # 426: no upgrade, or to another version
    "browser": (GET + b"Host: h\r\nAccept: */*\r\n\r\n", 426, "this is a WebSocket server: ask for an upgrade"),
    "version 8": (REQUEST.replace(b": 13", b": 8"), 426, "the WebSocket version must be 13"),
    "version x": (REQUEST.replace(b": 13", b": x"), 426, "the WebSocket version must be 13"),
    "version 13, 8": (REQUEST.replace(b": 13", b": 13, 8"), 426, "the WebSocket version must be 13"),
    # 431: too large
    "endless line": (b"GET /" + b"a" * MAX_HEAD_SIZE, 431, ""),
    "endless headers": (GET + b"X: y\r\n" * MAX_HEAD_SIZE, 431, ""),
    # 505: not HTTP/1.1
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n" + UPGRADE + b"\r\n", 505, "HTTP/1.0 is not supported: use HTTP/1.1"),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + UPGRADE + b"\r\n", 505, "HTTP/2.0 is not supported"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0 is not supported"),
}


@pytest.mark.parametrize(("raw", "status", "words"), REFUSED.values(), ids=REFUSED)
def test_refusal_tells_status_and_reason(raw: bytes, status: int, words: str, cut: Cut) -> None:
    """What cannot become a connection is refused with the status that fits, and one line of text that says why."""
    response, why, head, body = refused(cut(raw))

    assert response.status == head.status_code == status
    assert words in why
    assert body == f"{why}\n".encode()
    fields = Headers((name.decode(), value.decode()) for name, value in head.headers)
    assert fields["content-type"] == "text/plain; charset=utf-8"
    assert fields["content-length"] == str(len(body))
    assert "close" in fields.get_all("connection")


def test_refusal_of_an_unknown_transfer_coding_has_a_documented_status(cut: Cut) -> None:
    """A body in a coding that nobody knows is a body, or malformed: the status is among those that are promised."""
    response, *_ = refused(cut(GET + UPGRADE + b"Transfer-Encoding: gzip\r\n\r\n"))

    assert response.status in STATUSES


def test_refusal_of_a_method_names_the_right_one() -> None:
    """405 has `Allow` (RFC 9110 §15.5.6)."""
    _, _, head, _ = refused([b"POST / HTTP/1.1\r\nHost: h\r\n\r\n"])

    assert (b"allow", b"GET") in list(head.headers)


def test_refusal_of_head_has_no_body() -> None:
    """A HEAD is refused as every other method, by a response without a body (RFC 9110 §9.3.2)."""
    handshake = ServerHandshake()
    request = handshake.receive_data(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert request is not None
    with pytest.raises(RequestRefused) as caught:
        handshake.check_upgrade(request)
    raw = handshake.respond(caught.value.response)

    assert raw.startswith(b"HTTP/1.1 405 ")
    assert raw.endswith(b"\r\n\r\n")
    assert as_client_reads(raw, "HEAD")[1] == b""


def test_refusal_for_want_of_an_upgrade_tells_what_to_ask_for() -> None:
    """426 has `Upgrade`, and `Connection: Upgrade` with it (RFC 9110 §15.5.22); another version is named too."""
    for raw, version in [(GET + b"Host: h\r\n\r\n", []), (REQUEST.replace(b": 13", b": 8"), [b"13"])]:
        _, _, head, _ = refused([raw])
        fields = list(head.headers)
        assert [value for name, value in fields if name == b"upgrade"] == [b"websocket"]
        assert [value for name, value in fields if name == b"connection"] == [b"Upgrade", b"close"]
        assert [value for name, value in fields if name == b"sec-websocket-version"] == version


def head_of(size: int, first: bytes = GET + UPGRADE) -> bytes:
    """Return a head of exactly *size* bytes."""
    return first + b"X: " + b"y" * (size - len(first) - len(b"X: \r\n\r\n")) + b"\r\n\r\n"


def test_request_at_the_limit_is_accepted(cut: Cut) -> None:
    """16 KiB of request line and headers are allowed; what stands behind them does not count."""
    assert MAX_HEAD_SIZE == 16384
    handshake, request = serve(cut(head_of(MAX_HEAD_SIZE)))
    assert request is not None
    handshake.check_upgrade(request)
    assert request.headers["upgrade"] == "websocket"

    handshake, request = serve([head_of(MAX_HEAD_SIZE) + bytes(MAX_HEAD_SIZE)])
    assert request is not None
    handshake.check_upgrade(request)
    assert handshake.leftover == bytes(MAX_HEAD_SIZE)


def test_head_request_past_the_limit_is_refused_without_a_body() -> None:
    """Too large is seen before the method is judged, and the answer to a HEAD has no body all the same."""
    handshake = ServerHandshake()
    with pytest.raises(RequestRefused) as caught:
        handshake.receive_data(b"HEAD / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * MAX_HEAD_SIZE + b"\r\n\r\n")
    head, body = as_client_reads(handshake.respond(caught.value.response), "HEAD")
    assert (head.status_code, body) == (431, b"")


@pytest.mark.parametrize("over", [1, 2, 1000, 100_000])
def test_request_past_the_limit_is_refused(over: int) -> None:
    """One byte more is 431, even if the whole head comes at once, and even if it is not the upgrade's."""
    for first in (GET + UPGRADE, b"POST / HTTP/1.0\r\nHost: h\r\n"):
        raw = head_of(MAX_HEAD_SIZE + over, first)
        for name in CUTS:
            if name != "bytewise" or over == 1:
                assert refused(Cut(name)(raw))[0].status == 431


def test_request_that_never_ends_is_refused_as_soon_as_it_is_over_the_limit() -> None:
    """An endless head costs 16 KiB, not more: the byte behind the limit is the last that is read."""
    handshake = ServerHandshake()
    handshake.receive_data(GET + b"X: ")
    handshake.receive_data(b"y" * (MAX_HEAD_SIZE - len(GET) - len(b"X: ")))
    with pytest.raises(RequestRefused) as caught:
        handshake.receive_data(b"y")

    assert caught.value.response.status == 431


# -- the server: other answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fed", [b"", b"GET", REQUEST, REQUEST + b"\x81\x00"], ids=["nothing", "a part", "all", "more"])
@pytest.mark.parametrize(
    "response",
    [
        Response(200, {"X": "\xe4"}, "h\u00e4"),
        Response(302, [("Location", "/"), ("Set-Cookie", "a"), ("Set-Cookie", "b")]),
        Response(404, {"Content-Length": "99", "Connection": "keep-alive", "content-type": "x/y"}, b"no"),
        Response(503, (), b"x" * 100_000),
        Response(599),
    ],
    ids=lambda response: response.status,
)
def test_response_in_place_of_the_upgrade_is_whole(response: Response, fed: bytes) -> None:
    """Status, headers and body travel; length and `Connection: close` are ours; at any moment of the handshake."""
    handshake = ServerHandshake()
    if fed:
        handshake.receive_data(fed)
    head, body = as_client_reads(handshake.respond(response))

    assert (head.status_code, head.reason.decode(), body) == (response.status, response.phrase, response.body)
    fields = Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers)
    assert fields.get_all("content-length") == (str(len(response.body)),)
    assert fields.get_all("connection") == ("close",)
    for name in response.headers:
        if name not in ("content-length", "connection"):
            assert fields.get_all(name) == response.headers.get_all(name)


@pytest.mark.parametrize("body", [b"", b"not to be sent"], ids=["without", "with"])
@pytest.mark.parametrize("status", [204, 304])
def test_response_that_cannot_have_a_body_has_none(status: int, body: bytes) -> None:
    """204 and 304 end with their head (RFC 9110 §6.4.1), whatever the program put into the response."""
    handshake, _ = serve([REQUEST])
    raw = handshake.respond(Response(status, (), body))

    assert raw.startswith(f"HTTP/1.1 {status} ".encode())
    assert raw.endswith(b"\r\n\r\n")
    assert as_client_reads(raw)[1] == b""


# -- the client: its request -----------------------------------------------------------------------------------------


def test_client_sends_the_request_of_the_rfc() -> None:
    """RFC 6455 §4.1: everything that is required, in order, and what was asked for."""
    client = new_client("chat", "superchat", headers=[("X", "1"), ("x", "\xe4")], host="example.com:8080")
    key = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", client.request_bytes)
    assert key is not None

    assert client.request_bytes.replace(b"WebSocket\r\n", b"websocket\r\n") == (
        b"GET /chat?room=1 HTTP/1.1\r\n"
        b"Host: example.com:8080\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + key[1] + b"\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: chat, superchat\r\n"
        b"X: 1\r\n"
        b"x: \xe4\r\n"
        b"\r\n"
    )
    assert len(base64.b64decode(key[1], validate=True)) == 16
    assert (client.request.target, client.request.subprotocols) == ("/chat?room=1", ("chat", "superchat"))
    assert client.request.headers.pairs[0] == ("Host", "example.com:8080")
    assert client.request.headers["x"] == "1, \xe4"
    assert client.request.headers["sec-websocket-key"] == key[1].decode()


def test_client_sends_a_fresh_key_each_time() -> None:
    """The key is random (RFC 6455 §4.1, item 7)."""
    assert len({new_client().request.headers["sec-websocket-key"] for _ in range(20)}) == 20


def test_client_and_server_understand_each_other(cut: Cut) -> None:
    """What the client sends the server takes, and the other way round."""
    client = new_client("a", "b")
    handshake, request = serve(cut(client.request_bytes))
    assert request is not None
    handshake.check_upgrade(request)
    assert request == client.request
    response = feed(client, cut(handshake.accept("b", Headers({"X": "y"}))))

    assert response is not None
    assert (response.status, response.headers["x"], client.subprotocol) == (101, "y", "b")


# -- the client: an upgrade ------------------------------------------------------------------------------------------


def test_upgrade_is_taken_when_it_is_whole(cut: Cut) -> None:
    """The response comes out with the last byte of its head, with every header, and no body."""
    client = new_client("a", "b")
    pieces = cut(answer(client, b"Sec-WebSocket-Protocol: b\r\nX: 1\r\nx: \xe4\r\n"))
    *early, response = [client.receive_data(piece) for piece in pieces]

    assert not any(early)
    assert response is not None
    assert (response.status, response.phrase, response.body) == (101, "Switching Protocols", b"")
    assert response.headers == Headers(
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", token_for(client).decode()),
            ("Sec-WebSocket-Protocol", "b"),
            ("X", "1"),
            ("X", "\xe4"),
        ]
    )
    assert (client.subprotocol, client.leftover, client.rejection) == ("b", b"", None)


@pytest.mark.parametrize(
    "old_and_new", [(b"\r\n", b"\n"), (b"websocket", b"WebSocket"), (b"n: Upgrade", b"n: x, UPGRADE")]
)
def test_upgrade_may_be_written_in_other_ways(old_and_new: tuple[bytes, bytes], cut: Cut) -> None:
    """Line ends and case are free."""
    client = new_client("a")
    response = feed(client, cut(answer(client).replace(*old_and_new)))

    assert response is not None
    assert (response.status, client.subprotocol) == (101, None)


def test_bytes_behind_the_upgrade_are_kept(cut: Cut) -> None:
    """A server may send frames glued to its 101; a line end in them is none of the head's."""
    client = new_client()
    frames = b"\x81\x05Hello\x82\x06\r\n\r\n\n\n" + bytes(1000)
    pieces = [*cut(answer(client))]
    pieces[-1] += frames

    assert feed(client, pieces) is not None
    assert client.leftover == frames


@pytest.mark.parametrize(
    ("more", "without", "words"),
    [
        (b"", b"Upgrade", "Missing header, 'Upgrade: "),
        (b"Upgrade: h2c\r\n", b"Upgrade", "Missing header, 'Upgrade: "),
        (b"", b"Connection", "Connection: Upgrade"),
        (b"Connection: close\r\n", b"Connection", "Connection: Upgrade"),
        (b"Connection: \xe4\r\n", b"Connection", "malformed answer"),
        (b"", b"Sec-WebSocket-Accept", "accept token"),
        (b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", b"Sec-WebSocket-Accept", "accept token"),
        (b"Sec-WebSocket-Protocol: c\r\n", b"-", "subprotocol c"),
        (b"Sec-WebSocket-Protocol: \xe4\r\n", b"-", "malformed answer"),
        (b"Sec-WebSocket-Protocol: a, b\r\n", b"-", "subprotocol a, b"),
        (b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n", b"-", "more than one subprotocol"),
        (b"Sec-WebSocket-Extensions: permessage-deflate\r\n", b"-", "extension permessage-deflate"),
        (b"X: a\r\n b\r\n", b"-", "malformed answer"),
        (b"X: a\x00b\r\n", b"-", "malformed answer"),
        (b"X: a\x01b\r\n", b"-", "malformed answer"),
        (b"X: a\x7fb\r\n", b"-", "malformed answer"),
        (b"X: a\rb\r\n", b"-", "malformed answer"),
        (b"nonsense\r\n", b"-", "malformed answer"),
        (b"X : a\r\n", b"-", "malformed answer"),
    ],
    ids=ascii,
)
def test_upgrade_that_was_not_asked_for_is_a_bad_response(more: bytes, without: bytes, words: str, cut: Cut) -> None:
    """RFC 6455 §4.1, page 19: what is missing, wrong, or was never offered fails the connection."""
    client = new_client("a", "b")
    with pytest.raises(BadResponse) as caught:
        feed(client, cut(answer(client, more, without=without)))

    assert words in str(caught.value)
    assert client.rejection is None


# -- the client: no HTTP, or too much of it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\x15\x03\x03\x00\x02\x02\x46\n\n",
        b"220 mail.example.com ESMTP\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 1x1 Switching\r\n\r\n",
        b"HTTP/1.1 101\r\n\r\n",
        b"HTTP/11 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nX: a\x01b\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nX: a\x7f\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nnonsense\r\n\r\n",
    ],
    ids=lambda raw: ascii(raw[:60]),
)
def test_what_is_no_answer_is_a_bad_response(raw: bytes, cut: Cut) -> None:
    """Other protocols and broken HTTP are a `BadResponse`, and nothing else."""
    client = new_client()
    with pytest.raises(BadResponse, match="malformed answer to the opening handshake"):
        feed(client, cut(raw))

    assert client.rejection is None


@pytest.mark.parametrize("status", [100, 102, 103, 199, 600, 999])
def test_status_that_ends_nothing_is_a_bad_response(status: int, cut: Cut) -> None:
    """An informational answer, or a status that HTTP does not know, is named in the error."""
    with pytest.raises(BadResponse, match=f"answered with status {status}, neither 101 nor 200-599"):
        feed(new_client(), cut(f"HTTP/1.1 {status} X\r\nX: y\r\n\r\n".encode()))


def test_answer_at_the_limit_is_accepted(cut: Cut) -> None:
    """16 KiB of status line and headers are allowed; what stands behind them does not count."""
    client = new_client()
    pieces = [*cut(head_of(MAX_HEAD_SIZE, answer(client)[:-2]))]
    pieces[-1] += bytes(MAX_HEAD_SIZE)

    assert feed(client, pieces) is not None
    assert client.leftover == bytes(MAX_HEAD_SIZE)


@pytest.mark.parametrize("over", [1, 1000, 100_000])
def test_answer_past_the_limit_is_a_bad_response(over: int) -> None:
    """One byte more is refused, upgrade or not, even if the whole head comes at once."""
    for name in CUTS:
        for upgrade in (True, False):
            client = new_client()
            first = answer(client)[:-2] if upgrade else b"HTTP/1.1 404 Not Found\r\n"
            if name != "bytewise" or over == 1:
                with pytest.raises(BadResponse, match="over the limit of 16384 bytes"):
                    feed(client, Cut(name)(head_of(MAX_HEAD_SIZE + over, first)))


def test_answer_that_never_ends_is_refused_as_soon_as_it_is_over_the_limit() -> None:
    """An endless head costs 16 KiB, not more."""
    client = new_client()
    client.receive_data(b"HTTP/1.1 101 X\r\n".ljust(MAX_HEAD_SIZE, b"y"))
    with pytest.raises(BadResponse, match="over the limit of 16384 bytes"):
        client.receive_data(b"y")


# -- the client: a rejection -----------------------------------------------------------------------------------------

REJECTIONS: Final = {
    "length": (b"HTTP/1.1 404 Not Found\r\nX: \xe4\r\nContent-Length: 5\r\n\r\nno!!!", 404, b"no!!!"),
    "length 0": (b"HTTP/1.1 403 Forbidden\r\nX: \xe4\r\nContent-Length: 0\r\n\r\n", 403, b""),
    "chunked": (
        b"HTTP/1.1 503 X\r\nX: \xe4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n3;x=y\r\n!!!\r\n0\r\nT: t\r\n\r\n",
        503,
        b"no!!!",
    ),
    "chunked, empty": (b"HTTP/1.1 500 X\r\nX: \xe4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 500, b""),
    "204": (b"HTTP/1.1 204 No Content\r\nX: \xe4\r\n\r\n", 204, b""),
    "304": (b"HTTP/1.1 304 Not Modified\r\nX: \xe4\r\n\r\n", 304, b""),
    "redirect": (b"HTTP/1.1 302 Found\r\nX: \xe4\r\nLocation: /\r\nContent-Length: 1\r\n\r\n.", 302, b"."),
    "200": (b"HTTP/1.1 200 OK\r\nX: \xe4\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    "599": (b"HTTP/1.1 599\r\nX: \xe4\r\nContent-Length: 2\r\n\r\nok", 599, b"ok"),
    "folded": (b"HTTP/1.1 404 X\r\nX:\r\n \xe4\r\nContent-Length: 2\r\n\r\nno", 404, b"no"),
    "HTTP/1.0 with a length": (b"HTTP/1.0 404 X\r\nX: \xe4\r\nContent-Length: 2\r\n\r\nno", 404, b"no"),
}


@pytest.mark.parametrize(("raw", "status", "body"), REJECTIONS.values(), ids=REJECTIONS)
@pytest.mark.parametrize("behind", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["", "more behind it"])
def test_rejection_comes_out_with_its_last_byte(raw: bytes, status: int, body: bytes, behind: bytes, cut: Cut) -> None:
    """The response is whole as soon as its body is: nobody waits for the server to hang up."""
    client = new_client()
    pieces = [*cut(raw)]
    pieces[-1] += behind
    *early, response = [client.receive_data(piece) for piece in pieces]

    assert not any(early)
    assert response is not None
    assert (response.status, response.headers["x"], response.body) == (status, "\xe4", body)
    assert client.rejection == response
    assert (client.leftover, client.subprotocol) == (b"", None)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_rejection_until_the_end_of_the_connection_is_kept_as_it_comes(version: bytes, cut: Cut) -> None:
    """A body without a length ends with the connection: `rejection` has what came, for when that happens."""
    client = new_client()
    assert client.rejection is None
    assert feed(client, cut(b"HTTP/" + version + b" 404 Not Found\r\nX: y\r\n\r\nno")) is None
    assert client.rejection == Response(404, {"X": "y"}, b"no")
    assert feed(client, cut(b"thing")) is None
    assert client.rejection == Response(404, {"X": "y"}, b"nothing")


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n", b"no"),
        (b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nno"),
    ],
    ids=["length", "chunked"],
)
def test_rejection_that_breaks_off_is_kept_as_it_came(head: bytes, part: bytes, cut: Cut) -> None:
    """The connection is lost inside the body: status, headers and what came of the body are there."""
    client = new_client()

    assert feed(client, cut(head + part)) is None
    assert client.rejection is not None
    assert (client.rejection.status, client.rejection.body) == (404, b"no")


def test_rejection_with_a_malformed_body_is_still_a_rejection(cut: Cut) -> None:
    """Its status was clear; the body is what came before the mistake, at most."""
    raw = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\nnonsense\r\n\r\n"
    response = feed(new_client(), cut(raw))

    assert response is not None
    assert response.status == 404
    assert b"no".startswith(response.body)


def as_it_is(data: bytes) -> bytes:
    return data


def as_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("field", "encode"),
    [
        pytest.param(b"Content-Length: 10000000", as_it_is, id="length"),
        pytest.param(b"X: y", as_it_is, id="until the end"),
        pytest.param(b"Transfer-Encoding: chunked", as_chunk, id="chunked"),
    ],
)
def test_rejection_with_a_body_over_the_limit_is_cut_there(field: bytes, encode: Callable[[bytes], bytes]) -> None:
    """64 KiB of a body are kept; then nothing more is waited for, and the rest is never read."""
    head = b"HTTP/1.1 500 X\r\n" + field + b"\r\n\r\n"
    client = new_client()
    assert MAX_REJECTION_BODY == 65536
    assert client.receive_data(head) is None
    for _ in range(4):
        assert client.receive_data(encode(b"x" * 16_000)) is None
    parts = client.receive_data(encode(b"x" * 16_000))
    at_once = new_client().receive_data(head + encode(b"x" * 1_000_000))

    assert parts is not None
    assert at_once is not None
    assert parts.body == at_once.body == b"x" * MAX_REJECTION_BODY


def test_rejection_with_a_body_of_the_limit_is_whole(cut: Cut) -> None:
    """A body of just the limit is not cut; there is no room for more, so that nothing more is waited for."""
    raw = b"HTTP/1.1 500 X\r\nContent-Length: 65536\r\n\r\n"
    response = feed(new_client(), [*cut(raw), b"x" * 65535, b"y"])

    assert response is not None
    assert response.body == b"x" * 65535 + b"y"

    client = new_client()
    assert client.receive_data(b"HTTP/1.0 500 X\r\n\r\n" + b"x" * 65535) is None
    response = client.receive_data(b"y")
    assert response is not None
    assert response.body == b"x" * 65535 + b"y"


# -- any bytes -------------------------------------------------------------------------------------------------------

REQUEST_LINES: Final = [
    b"GET / HTTP/1.1",
    b"GET /chat?x HTTP/1.1",
    b"HEAD / HTTP/1.1",
    b"POST / HTTP/1.1",
    b"CONNECT h HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET / HTTP/1.0",
    b"PRI * HTTP/2.0",
    b"GET  / HTTP/1.1",
    b"GET /\xe4 HTTP/1.1",
    b"",
]
REQUEST_FIELDS: Final = [*UPGRADE.split(b"\r\n")[:-1], b"Sec-WebSocket-Protocol: a, b,,", b"Content-Length: 0"]
STATUS_LINES: Final = [
    b"HTTP/1.1 101 Switching Protocols",
    b"HTTP/1.0 101 Switching Protocols",
    b"HTTP/1.1 101",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 404 Not Found",
    b"HTTP/1.0 404 \xe4",
    b"HTTP/1.1 700 X",
    b"HTTP/1.1 000 X",
    b"",
]
RESPONSE_FIELDS: Final = [
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Accept: TOKEN",
    b"Sec-WebSocket-Protocol: a",
]
ODD_FIELDS: Final = [
    b"Host: \xff",
    b"Host: xn--a\xe4",
    b"Host: " + b"a" * 70,
    b"Host: xn--" + b"a" * 2000,
    b"Connection: close",
    b"Connection: \xff",
    b"Upgrade: h2c",
    b"Content-Length: 5",
    b"Content-Length: 00",
    b"Content-Length: x",
    b"Content-Length: " + b"9" * 30,
    b"Content-Length: " + b"9" * 5000,
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Sec-WebSocket-Key: zz",
    b"Sec-WebSocket-Key: \xe4\xe4\xe4\xe4",
    b"Sec-WebSocket-Version: 8",
    b"Sec-WebSocket-Protocol: \xe4",
    b"Sec-WebSocket-Protocol: unknown",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x",
    b"Sec-WebSocket-Extensions: \xe4",
    b"X: a\x01b",
    b"X: \x7f",
    b"X:\x0b",
    b"X: a\rb",
    b"X: \x1c",
    b"X: \xa0",
    b" folded",
    b"\tfolded",
    b": no name",
    b"no colon",
    b"X: " + b"y" * MAX_HEAD_SIZE,
]


@st.composite
def heads(draw: st.DrawFn, first_lines: list[bytes], fields: list[bytes]) -> bytes:
    """A head that is right, or a little wrong, or all wrong; and something behind it."""
    lines = [draw(st.sampled_from(first_lines[:2]) | st.sampled_from(first_lines) | st.binary(max_size=20)), *fields]
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(lines)))
        odd = draw(st.sampled_from(ODD_FIELDS) | st.binary(max_size=12).map(b"X: ".__add__) | st.binary(max_size=12))
        if draw(st.booleans()):
            lines.insert(place, odd)
        else:
            lines[place : place + 1] = [odd] if draw(st.booleans()) else []
    head = draw(st.sampled_from([b"\r\n", b"\n"])).join([*lines, b"", b""])
    return head + draw(st.sampled_from([b"", b"0\r\n\r\n", b"2\r\nno\r\n", b"no", b"\x81\x00"]) | st.binary(max_size=8))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut *data* at each of *cuts*, in thousandths of its length."""
    places = [0, *sorted({len(data) * each // 1000 for each in cuts}), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(places) if begin < end]


PLACES: Final = st.lists(st.integers(0, 1000), max_size=6)


@settings(deadline=None)
@given(data=heads(REQUEST_LINES, REQUEST_FIELDS) | st.binary(max_size=100), cuts=PLACES)
@example(data=GET + UPGRADE + b"X: a\x01b\r\n\r\n", cuts=[])
@example(data=b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", cuts=[])
@example(data=GET + UPGRADE + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", cuts=[])
@example(data=GET + UPGRADE + b"Transfer-Encoding: gzip\r\n\r\n", cuts=[])
def test_any_bytes_of_a_client_are_a_request_or_refused(data: bytes, cuts: list[int]) -> None:
    """Whatever a client sends, cut anywhere: a request, or a refusal with a promised status that can be sent."""
    handshake = ServerHandshake()
    answered: Response | None = None
    raw = b""
    try:
        for piece in pieces(data, cuts):
            request = handshake.receive_data(piece)
            if request is not None:
                handshake.check_upgrade(request)
                raw = handshake.accept(None, Headers())
                assert raw.startswith(b"HTTP/1.1 101 ")
                break
    except RequestRefused as refusal:
        answered = refusal.response
    if answered is not None:
        assert answered.status in STATUSES
        assert handshake.respond(answered).startswith(f"HTTP/1.1 {answered.status} ".encode())
    elif raw:
        assert data.startswith(b"GET ")


@settings(deadline=None)
@given(data=heads(STATUS_LINES, RESPONSE_FIELDS) | heads(STATUS_LINES, []) | st.binary(max_size=100), cuts=PLACES)
@example(data=b"HTTP/1.1 404 Not Found\r\nX: a\x01b\r\n\r\n", cuts=[])
@example(data=b"HTTP/1.1 404 Not Found\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", cuts=[])
def test_any_bytes_of_a_server_are_an_answer_or_a_bad_response(data: bytes, cuts: list[int]) -> None:
    """Whatever a server sends, cut anywhere: an upgrade, a rejection, or `BadResponse`."""
    client = new_client("a")
    response: Response | None = None
    try:
        for piece in pieces(data.replace(b"TOKEN", token_for(client)), cuts):
            response = client.receive_data(piece)
            if response is not None:
                break
    except BadResponse:
        assert client.rejection is None
    else:
        assert response is None or response.status == 101 or 200 <= response.status <= 599
        assert (client.rejection is None) is (response is None or response.status == 101) or response is None


# -- the day wsproto changes -----------------------------------------------------------------------------------------


def wsproto_server(raw: bytes) -> tuple[WSConnection, UpgradeRequest]:
    server = WSConnection(ConnectionType.SERVER)
    server.receive_data(raw)
    (request,) = server.events()
    assert isinstance(request, UpgradeRequest)
    return server, request


def test_wsproto_drops_what_stands_behind_a_request() -> None:
    """As a server, wsproto loses the frames that came glued to the request.

    When this fails, `ServerHandshake` may feed wsproto what it reads, and `leftover` may go.
    """
    server, _ = wsproto_server(REQUEST + b"\x81\x80\0\0\0\0")
    server.send(AcceptConnection())

    assert list(server.events()) == []


@pytest.mark.parametrize("key", [b"zz", b"", b"*"])
def test_wsproto_takes_any_key(key: bytes) -> None:
    """wsproto answers 101 to a key that is not 16 bytes in base64.

    When this fails, `is_key` may go.
    """
    server, _ = wsproto_server(REQUEST.replace(KEY, key))

    assert server.send(AcceptConnection()).startswith(b"HTTP/1.1 101 ")


def test_wsproto_takes_any_version_of_http() -> None:
    """wsproto answers 101 to a request of HTTP/1.0.

    When this fails, `ServerHandshake.receive_data` may leave the version to wsproto, if 505 is what it hints at.
    """
    server, _ = wsproto_server(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))

    assert server.send(AcceptConnection()).startswith(b"HTTP/1.1 101 ")


def test_wsproto_keeps_headers_to_itself() -> None:
    """wsproto's events lack the headers that it has used, in both roles.

    When this fails, `headers_of` may go: the events tell all there is to tell.
    """
    _, request = wsproto_server(GET + UPGRADE + b"Sec-WebSocket-Protocol: a\r\nX: y\r\n\r\n")
    assert not {b"host", b"sec-websocket-protocol"} & {name for name, _ in request.extra_headers}

    client = WSConnection(ConnectionType.CLIENT)
    raw = client.send(UpgradeRequest(host="h", target="/"))
    server, _ = wsproto_server(raw)
    client.receive_data(server.send(AcceptConnection(extra_headers=[(b"X", b"y")])))
    (accepted,) = client.events()
    assert isinstance(accepted, AcceptConnection)
    assert [(name, bytes(value)) for name, value in accepted.extra_headers] == [(b"x", b"y")]
