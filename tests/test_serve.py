"""What a server answers: who may connect, what is spoken, and plain HTTP beside it."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

import pytest
import trio
import trio.testing
from nasty import nothing_left
from tls import HOST

from trio_closeevents import (
    HandshakeRejected,
    Headers,
    Request,
    Response,
    WebSocket,
    __version__,
    accept,
    basic_auth,
    connect,
    open_server,
)
from trio_closeevents._accept import http_date

SERVER = f"trio-closeevents/{__version__}"


async def leave(ws: WebSocket) -> None:
    """Be a handler that has nothing to do."""


async def ask(port: int, request: str) -> tuple[str, Headers, bytes]:
    """Send *request* as it is; return status line, headers and body of the answer."""
    stream = await trio.open_tcp_stream(HOST, port)
    async with stream:
        await stream.send_all(request.replace("\n", "\r\n").encode())
        await stream.send_eof()
        answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = [tuple(line.split(": ", 1)) for line in lines]
    return status, Headers([(name, value) for name, value in fields]), body


async def status_of(port: int, **options: Any) -> int:
    """Try to connect; return the status of the answer."""
    try:
        async with connect(f"ws://{HOST}:{port}", **options) as ws:
            return ws.response.status
    except HandshakeRejected as error:
        return error.response.status


# -- who may connect ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://example.com", 101),
        ("https://a.example.org", 101),
        (None, 101),
        ("https://example.com.evil.example", 403),
        ("http://example.com", 403),
        ("https://EXAMPLE.com", 403),
        ("https://a.example.org:1", 403),
        ("null", 403),
    ],
)
async def test_origins_are_an_allow_list(origin: str | None, status: int) -> None:
    """RFC 6455 §10.2: exact, or by a pattern that matches all of it; `None` stands for no origin."""
    origins: list[Any] = ["https://example.com", re.compile(r"https://\w+\.example\.org"), None]
    async with nothing_left(), open_server(leave, HOST, 0, origins=origins) as server:
        assert await status_of(server.port, origin=origin) == status


async def test_list_of_origins_without_none_wants_one() -> None:
    """Without a list everybody may, with an empty one nobody."""
    async with open_server(leave, HOST, 0, origins=[re.compile("https.*"), "null"]) as server:
        assert await status_of(server.port) == 403
        assert await status_of(server.port, origin="null") == 101
    async with open_server(leave, HOST, 0, origins=[]) as server:
        assert await status_of(server.port) == await status_of(server.port, origin="https://a") == 403
    async with open_server(leave, HOST, 0) as server:
        assert await status_of(server.port) == await status_of(server.port, origin="https://a") == 101


@pytest.mark.parametrize(
    ("auth", "status"),
    [(("ada", "secret"), 101), (("b\u00f6b", "\u20ac"), 101), (("ada", "wrong"), 401), (("eve", ""), 401), (None, 401)],
)
@pytest.mark.parametrize("kind", ["mapping", "function", "async function"])
async def test_basic_auth_asks_for_a_password(kind: str, auth: tuple[str, str] | None, status: int) -> None:
    """RFC 7617; the handler can read who it is."""
    passwords = {"ada": "secret", "b\u00f6b": "\u20ac"}
    names: list[str] = []

    def check(name: str, password: str) -> bool:
        return passwords.get(name) == password

    async def check_later(name: str, password: str) -> bool:
        await trio.lowlevel.checkpoint()
        return check(name, password)

    async def handle(ws: WebSocket) -> None:
        assert ws.request.credentials is not None
        names.append(ws.request.credentials[0])

    known: Any = {"mapping": passwords, "function": check, "async function": check_later}[kind]
    async with open_server(handle, HOST, 0, process_request=basic_auth(known, realm="Chat")) as server:
        if auth is None:
            line, headers, body = await ask(server.port, "GET / HTTP/1.1\nHost: a\n\n")
            assert line.startswith("HTTP/1.1 401 ")
            assert headers["www-authenticate"] == 'Basic realm="Chat", charset="UTF-8"'
            assert body == b"user name and password, please\n"
        else:
            assert await status_of(server.port, auth=auth) == status
    assert names == ([auth[0]] if auth and status == 101 else [])


@pytest.mark.parametrize(
    ("realm", "error"), [('a"b', ValueError), ("\u20ac", ValueError), ("a\n", ValueError), (5, TypeError)]
)
def test_realm_that_cannot_be_is_refused(realm: Any, error: type[Exception]) -> None:
    """When it is given."""
    with pytest.raises(error, match="realm"):
        basic_auth({}, realm=realm)


@pytest.mark.parametrize("known", ["abc", None, {"a": None}, {"a": b"x"}, {1: "x"}])
def test_passwords_that_cannot_be_are_refused(known: Any) -> None:
    """Without showing them."""
    with pytest.raises(TypeError, match="passwords must be"):
        basic_auth(known)


@pytest.mark.parametrize(
    ("value", "credentials"),
    [
        ("Basic " + b64encode(b"a:b:c").decode(), ("a", "b:c")),
        ("basic  " + b64encode(b":").decode(), ("", "")),
        ("Basic " + b64encode(b"nocolon").decode(), None),
        ("Basic " + b64encode(b"\xff:a").decode(), None),
        ("Basic *", None),
        ("Bearer YTpi", None),
        ("Basic", None),
        ("", None),
    ],
)
def test_credentials_of_a_request(value: str, credentials: tuple[str, str] | None) -> None:
    """Anything malformed is none."""
    assert Request("/", Headers({"Authorization": value})).credentials == credentials
    assert Request("/", Headers()).credentials is None


@pytest.mark.parametrize(
    ("lines", "cookies"),
    [
        (["a=1; b=2"], {"a": "1", "b": "2"}),
        (["a=1;b=2", "c=3"], {"a": "1", "b": "2", "c": "3"}),
        (['a="1"; a=2; =3; b; c='], {"a": "1", "": "3", "c": ""}),
        (["a=b=c"], {"a": "b=c"}),
        ([], {}),
    ],
)
def test_cookies_of_a_request(lines: list[str], cookies: dict[str, str]) -> None:
    """As browsers send them, and as they should not."""
    assert Request("/", Headers([("Cookie", line) for line in lines])).cookies == cookies


async def test_two_origins_are_none() -> None:
    """A pattern must not match what somebody has put together."""
    async with open_server(leave, HOST, 0, origins=[re.compile(r"https://.*\.example\.com")]) as server:
        headers = [("Origin", "https://evil.example"), ("Origin", "https://a.example.com")]
        assert await status_of(server.port, headers=headers) == 403


async def test_connect_is_no_method_for_a_hook() -> None:
    """It asks for a tunnel, and nothing that is no tunnel can be said to it in HTTP."""
    async with open_server(leave, HOST, 0, process_request=lambda _: Response(200, body="fine")) as server:
        line, _, _ = await ask(server.port, "CONNECT a:80 HTTP/1.1\nHost: a\n\n")
        assert line.split()[1] == "405"


async def test_headers_that_the_server_sets_itself_are_left_out() -> None:
    """What frames the answer is not the program's business."""
    given = {"Transfer-Encoding": "gzip", "Connection": "keep-alive", "Upgrade": "x", "Content-Length": "99"}
    async with open_server(leave, HOST, 0, process_request=lambda _: Response(200, given, "hi")) as server:
        line, headers, body = await ask(server.port, "GET / HTTP/1.1\nHost: a\n\n")
    assert line == "HTTP/1.1 200 OK"
    assert (headers["connection"], headers["content-length"], body) == ("close", "2", b"hi")
    assert "transfer-encoding" not in headers


# -- what is spoken ----------------------------------------------------------------------------------------------------


def select(request: Request) -> str | None:
    return request.query or None


async def select_later(request: Request) -> str | None:
    await trio.lowlevel.checkpoint()
    return select(request)


@pytest.mark.parametrize("function", [select, select_later])
async def test_subprotocol_by_a_function(function: Any) -> None:
    """It sees the whole request, and may wait; `None` is none."""
    async with open_server(leave, HOST, 0, select_subprotocol=function) as server:
        for query, chosen in (("b", "b"), ("", None)):
            async with connect(f"ws://{HOST}:{server.port}/?{query}", subprotocols=["a", "b"]) as ws:
                assert ws.subprotocol == chosen


# -- what else is answered ---------------------------------------------------------------------------------------------


async def test_headers_of_the_answer() -> None:
    """Those that were given, and `Server`, which an own one replaces and `None` leaves out."""
    for options, expected in (
        ({}, SERVER),
        ({"server_header": "mine"}, "mine"),
        ({"server_header": None}, None),
        ({"headers": {"server": "own"}}, "own"),
    ):
        given: Any = {"headers": {"X-Mine": "\xe4"}, **options}
        async with open_server(leave, HOST, 0, **given) as server:
            async with connect(f"ws://{HOST}:{server.port}") as ws:
                assert ws.response.headers.get("server") == expected
                assert ws.response.headers.get("x-mine") == given["headers"].get("X-Mine")
            _, headers, _ = await ask(server.port, "GET / HTTP/1.1\nHost: a\n\n")
            assert headers.get("server") == (SERVER if expected == "own" else expected)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_plain_http_is_answered_whatever_the_method(method: str) -> None:
    """Health checks on the same port: the length is right, HEAD has no body, that of a request is not read."""
    seen: list[Request] = []

    def answer(request: Request) -> Response | None:
        seen.append(request)
        return Response(200, {"Content-Type": "text/plain"}, "fine\n") if request.path == "/health" else None

    async with nothing_left(), open_server(leave, HOST, 0, process_request=answer) as server:
        extra = "Content-Length: 4\n\nbody" if method in ("POST", "PUT", "PATCH") else "\n"
        line, headers, body = await ask(server.port, f"{method} /health HTTP/1.1\nHost: a\n{extra}")
        assert line == "HTTP/1.1 200 OK"
        assert headers["content-length"] == "5"
        assert headers["connection"] == "close"
        assert body == (b"" if method == "HEAD" else b"fine\n")
        assert seen[0].method == method
        line, headers, _ = await ask(server.port, f"{method} / HTTP/1.1\nHost: a\n{extra}")
        assert line.split()[1] == ("426" if method == "GET" else "405")
        assert headers.get("allow") == (None if method == "GET" else "GET")


@pytest.mark.parametrize("path", ["/health", "/refused", "/odd"])
async def test_answer_in_place_of_the_upgrade_has_a_date(path: str) -> None:
    """RFC 9110 §6.6.1: by the system's clock, in the form that does not depend on the locale."""

    def answer(request: Request) -> Response | None:
        if request.path == "/odd":
            raise LookupError("a bug of the hook")
        return Response(200, body="fine\n") if request.path == "/health" else None

    async with open_server(leave, HOST, 0, process_request=answer) as server:
        before = int(time.time())
        _, headers, _ = await ask(server.port, f"GET {path} HTTP/1.1\nHost: a\n\n")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["date"])
    assert before <= parsedate_to_datetime(headers["date"]).timestamp() <= time.time()


async def test_date_of_the_program_is_the_date() -> None:
    """It is not sent twice."""
    date = "Tue, 15 Nov 1994 08:12:31 GMT"

    async with open_server(leave, HOST, 0, process_request=lambda _: Response(200, {"date": date})) as server:
        _, headers, _ = await ask(server.port, "GET / HTTP/1.1\nHost: a\n\n")
    assert headers.get_all("date") == (date,)


@pytest.mark.parametrize("seconds", [0, 784887151, 951782400, 1704067199, 4102444800])
def test_date_is_written_as_http_has_it(seconds: int) -> None:
    """All parts of it, as the standard library does."""
    assert http_date(seconds) == formatdate(seconds, usegmt=True)


async def test_balancer_of_old_is_answered() -> None:
    """HTTP/1.0 and no `Host`, as HAProxy has its checks, is good enough for a hook; there is no upgrade in it."""

    def answer(request: Request) -> Response | None:
        return Response(200, body="fine\n") if request.path == "/health" else None

    async with nothing_left(), open_server(leave, HOST, 0, process_request=answer) as server:
        line, headers, body = await ask(server.port, "OPTIONS /health HTTP/1.0\n\n")
        assert (line, headers["content-length"], body) == ("HTTP/1.1 200 OK", "5", b"fine\n")
        line, _, body = await ask(server.port, "GET / HTTP/1.0\n\n")
        assert line.split()[1] == "505"
        assert body == b"HTTP/1.0 is not supported: use HTTP/1.1\n"


async def test_answers_can_be_changed_on_their_way_out() -> None:
    """All of them: the upgrade, a refusal, what `process_request` has said."""
    seen: list[tuple[str, int]] = []

    def request(request: Request) -> Response | None:
        return Response(204) if request.path == "/204" else None

    def change(request: Request, response: Response) -> Response | None:
        seen.append((request.path, response.status))
        if request.path == "/late":
            return Response(503, {}, "late")
        if response.status == 101:
            return Response(101, [*response.headers.pairs, ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")])
        return Response(response.status, {"X-Changed": "1"}, response.body) if request.path != "/as-it-is" else None

    async with open_server(leave, HOST, 0, process_request=request, process_response=change) as server:
        async with connect(f"ws://{HOST}:{server.port}/") as ws:
            assert ws.response.headers.get_all("set-cookie") == ("a=b", "c=d")
            assert ws.response.headers["server"] == SERVER
        with pytest.raises(HandshakeRejected, match="503") as caught:
            async with connect(f"ws://{HOST}:{server.port}/late"):
                pytest.fail("opened")
        assert caught.value.response is not None
        assert caught.value.response.body == b"late"
        for path, status in (("/204", "204"), ("/x", "426")):
            line, headers, _ = await ask(server.port, f"GET {path} HTTP/1.1\nHost: a\n\n")
            assert line.split()[1] == status
            assert headers["x-changed"] == "1"
        _, headers, _ = await ask(server.port, "GET /as-it-is HTTP/1.1\nHost: a\n\n")
        assert "x-changed" not in headers
    assert seen == [("/", 101), ("/late", 101), ("/204", 204), ("/x", 426), ("/as-it-is", 426)]


@pytest.mark.parametrize(
    ("hooks", "error", "words"),
    [
        ({"select_subprotocol": lambda _: "b"}, ValueError, r"must return one of \('a',\) or None, not 'b'"),
        ({"process_response": lambda *_: "no"}, TypeError, "must return a Response or None, not 'no'"),
        (
            {"process_response": lambda *_: Response(101, {"Upgrade": "x"})},
            ValueError,
            "'upgrade' belongs to the opening",
        ),
        (
            {"process_request": lambda _: Response(200), "process_response": lambda *_: Response(101)},
            ValueError,
            "cannot answer 101 in place of 200",
        ),
        ({"process_response": lambda *_: 1 / 0}, ZeroDivisionError, "zero"),
        ({"select_subprotocol": lambda _: 1 / 0}, ZeroDivisionError, "zero"),
    ],
)
async def test_hook_that_is_wrong_is_answered_500(hooks: dict[str, Any], error: type[Exception], words: str) -> None:
    """The client learns nothing of why, the program does."""
    ours, theirs = trio.testing.memory_stream_pair()
    statuses: list[int] = []

    async def dial() -> None:
        with pytest.raises(HandshakeRejected) as caught:
            async with connect("ws://a", stream=theirs, subprotocols=["a"]):
                pytest.fail("opened")
        assert caught.value.response is not None
        assert caught.value.response.body == b"internal server error\n"
        statuses.append(caught.value.response.status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        with pytest.raises(error, match=words):
            async with accept(ours, **hooks):
                pytest.fail("opened")
    assert statuses == [500]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"origins": "https://a"}, TypeError, r"use \['https://a'\]"),
        ({"origins": ["https://Example.com"]}, ValueError, "can never match"),
        ({"origins": ["https://example.com/"]}, ValueError, "can never match"),
        ({"origins": ["example.com"]}, ValueError, "can never match"),
        ({"origins": [5]}, TypeError, "an origin must be a str, a pattern of str, or None for none, not 5"),
        ({"origins": [re.compile(b"a")]}, TypeError, "a pattern of str"),
        ({"select_subprotocol": 5}, TypeError, "select_subprotocol must be a function, not int: 5"),
        ({"process_response": 5}, TypeError, "process_response must be a function"),
        ({"subprotocols": ["a"], "select_subprotocol": print}, ValueError, "either subprotocols or select_subprotocol"),
        ({"headers": {"Upgrade": "x"}}, ValueError, "header 'upgrade' belongs to the opening handshake"),
        ({"headers": {"Sec-WebSocket-Accept": "x"}}, ValueError, "belongs to the opening handshake"),
        ({"server_header": "a\nb"}, ValueError, "Server"),
    ],
)
def test_bad_option_is_refused_at_the_call(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """Before anything is listened on."""
    with pytest.raises(error, match=words):
        open_server(leave, HOST, 0, **options)
