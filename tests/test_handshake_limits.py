"""What is no opening handshake, a server answers or drops: no handler hears of it, and nothing is left."""

from __future__ import annotations

import base64
import logging
import random
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio
import trio.testing
from nasty import GIVE_UP, LIMIT, MARGIN, PATIENCE, NastyPeer, Stage, nothing_left, read_all
from tls import HOST, Wire

from trio_closeevents import (
    CloseCause,
    CloseEvent,
    HandshakeRejected,
    Request,
    Response,
    WebSocket,
    accept,
    connect,
    open_server,
)

PLAIN: Final = Wire("plain")


class House:
    """A server, and who has come in."""

    def __init__(self) -> None:
        self.guests: list[WebSocket] = []
        self.farewells: list[CloseEvent] = []

    async def welcome(self, ws: WebSocket) -> None:
        self.guests.append(ws)
        async for message in ws:
            await ws.send(message)

    def see_off(self, ws: WebSocket, event: CloseEvent) -> None:
        self.farewells.append(event)

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncGenerator[int]:
        """Serve while the block runs, then check that the server still serves; yields its port."""
        options = {"open_timeout": PATIENCE} | options
        async with nothing_left(), open_server(self.welcome, HOST, 0, on_close=self.see_off, **options) as server:
            yield server.port
            before = len(self.guests)
            async with connect(PLAIN.url(server.port)) as ws:
                await ws.send("still there?")
                assert await ws.receive() == "still there?"
            assert len(self.guests) == before + 1


class Answer:
    """What a server has sent until it hung up."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        self.version, code, _ = status.split(" ", 2)
        self.status = int(code)
        self.headers: dict[str, str] = {}
        for name, value in (line.split(": ", 1) for line in fields):
            before = self.headers.get(name.lower())
            self.headers[name.lower()] = value if before is None else f"{before}, {value}"


async def ask(port: int, *pieces: bytes) -> bytes:
    """Send *pieces* one after the other, until the server has had enough of them; return all that it says."""
    stream = await trio.open_tcp_stream(HOST, port)
    async with stream:
        with trio.fail_after(GIVE_UP):
            try:
                for piece in pieces:
                    await stream.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
            except trio.BrokenResourceError:
                pass
            return await read_all(stream)


KEY: Final = base64.b64encode(bytes(range(16))).decode()


def request(*extra: str, start: str = "GET / HTTP/1.1", without: str = "", key: str = KEY, version: int = 13) -> bytes:
    """Return an opening handshake with *extra* header lines, and all of its own but *without*."""
    lines = [
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        f"Sec-WebSocket-Version: {version}",
    ]
    kept = [line for line in lines if not (without and line.startswith(without))]
    return "\r\n".join([start, *kept, *extra, "", ""]).encode("latin-1")


def client_hello() -> bytes:
    """Return the first that a TLS client sends."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HEADERS_OF_17_KB: Final = request(*(f"X-{i}: {'x' * 1000}" for i in range(17)))

# What is sent, and the status that answers it.
REFUSED: Final[dict[str, tuple[list[bytes], int]]] = {
    "TLS on a plain port": ([client_hello()], 400),
    "no HTTP": ([b"\x00\x01\x02\r\n\r\n"], 400),
    "no HTTP, but text": ([b"EHLO localhost\r\n\r\n"], 400),
    "a WebSocket frame": ([b"\x81\x85\x00\x00\x00\x00hello\r\n\r\n"], 400),
    "POST": ([request(start="POST / HTTP/1.1")], 405),
    "HEAD": ([request(start="HEAD / HTTP/1.1")], 405),
    "CONNECT": ([request(start="CONNECT localhost:80 HTTP/1.1")], 405),
    "HTTP/1.0": ([request(start="GET / HTTP/1.0")], 505),
    "HTTP/2": ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 505),
    "a body": ([request("Content-Length: 5"), b"hello"], 413),
    "a body in the same packet": ([request("Content-Length: 5") + b"hello"], 413),
    "a chunked body": ([request("Transfer-Encoding: chunked"), b"5\r\nhello\r\n0\r\n\r\n"], 413),
    "17 KB of headers": ([HEADERS_OF_17_KB], 431),
    "17 KB of headers, dribbled": ([HEADERS_OF_17_KB[i : i + 999] for i in range(0, len(HEADERS_OF_17_KB), 999)], 431),
    "one header of 17 KB": ([request(f"X: {'x' * 17000}")], 431),
    "a target of 17 KB": ([request(start=f"GET /{'x' * 17000} HTTP/1.1")], 431),
    "version 8": ([request(version=8)], 426),
    "no version": ([request(without="Sec-WebSocket-Version")], 400),
    "no upgrade": ([request(without="Upgrade")], 426),
    "another upgrade": ([request("Upgrade: h2c", without="Upgrade")], 400),
    "no Connection: Upgrade": ([request(without="Connection")], 400),
    "no key": ([request(without="Sec-WebSocket-Key")], 400),
    "a short key": ([request(key="eno=")], 400),
    "a long key": ([request(key=base64.b64encode(bytes(17)).decode())], 400),
    "a key that is no base64": ([request(key="§" * 24)], 400),
    "two keys": ([request(f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}")], 400),
    "no host": ([request(without="Host")], 400),
    "two hosts": ([request("Host: elsewhere")], 400),
    "a subprotocol that is not ASCII": ([request("Sec-WebSocket-Protocol: größe")], 400),
    "a target that is not ASCII": ([request(start="GET /größe HTTP/1.1")], 400),
    "a header name that is no token": ([request("X Y: z")], 400),
    "a header without a colon": ([request("nonsense")], 400),
    "a NUL in a header": ([request("X: a\0b")], 400),
}


@pytest.mark.parametrize(("pieces", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_request_that_is_no_opening_is_answered(
    pieces: list[bytes], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot become a connection gets a whole answer of the fitting status, and no handler hears of it."""
    house = House()
    async with house.open() as port:
        answer = Answer(await ask(port, *pieces))
        assert (house.guests, house.farewells) == ([], [])

    assert (answer.version, answer.status) == ("HTTP/1.1", status)
    assert "close" in answer.headers["connection"].lower()
    if pieces[0].startswith(b"HEAD"):
        assert answer.body == b""
    else:
        assert len(answer.body) == int(answer.headers["content-length"]) > 0
    if status == 405:
        assert answer.headers["allow"] == "GET"
    if status == 426:
        assert answer.headers["upgrade"] == "websocket"
        assert "upgrade" in answer.headers["connection"].lower()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("version", [0, 7, 8, 12, 14, 255])
async def test_request_of_another_version_is_told_ours(version: int) -> None:
    """RFC 6455 §4.4: the 426 names the version that is spoken here."""
    house = House()
    async with house.open() as port:
        answer = Answer(await ask(port, request(version=version)))
        assert house.guests == []

    assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")


@pytest.mark.parametrize("seed", range(8))
async def test_request_of_random_bytes_is_refused_or_dropped(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Noise gets 400, or is dropped if it might yet become something."""
    house = House()
    async with house.open(open_timeout=LIMIT) as port:
        said = await ask(port, random.Random(seed).randbytes(2000))
        assert (house.guests, house.farewells) == ([], [])

    assert not said or Answer(said).status == 400
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_request_without_an_end_is_cut_off() -> None:
    """A header that never ends is answered with 431 when it is over the limit; what is read of it is bounded."""
    house = House()
    sent = 0

    async def pour(stream: trio.SocketStream) -> None:
        nonlocal sent
        try:
            await stream.send_all(b"GET / HTTP/1.1\r\nX: ")
            while sent < 2**24:
                await stream.send_all(b"x" * 1000)
                sent += 1000
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with house.open(cancel_timeout=LIMIT) as port:
        stream = await trio.open_tcp_stream(HOST, port)
        begin = trio.current_time()
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(pour, stream)
            said = await read_all(stream)
            nursery.cancel_scope.cancel()
        assert house.guests == []

    assert Answer(said).status == 431
    assert trio.current_time() - begin < LIMIT + MARGIN + 1
    assert sent < 2**24


@pytest.mark.parametrize("piece", [b"", b"G", b"GET / HT", request()[:-2]], ids=["nothing", "a letter", "half", "most"])
async def test_request_that_stops_half_way_is_dropped(piece: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Half a request and silence: hung up on at `open_timeout`, without a word."""
    house = House()
    async with house.open(open_timeout=LIMIT) as port:
        begin = trio.current_time()
        said = await ask(port, piece)
        took = trio.current_time() - begin
        assert (house.guests, house.farewells) == ([], [])

    assert said == b""
    assert LIMIT - 0.05 < took < LIMIT + MARGIN
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_request_that_dribbles_is_dropped() -> None:
    """`open_timeout` is for the whole opening: it does not begin anew with every byte."""
    house = House()

    async def dribble(stream: trio.SocketStream) -> None:
        try:
            while True:
                await stream.send_all(b"G")
                await trio.sleep(LIMIT / 10)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with house.open(open_timeout=LIMIT) as port:
        begin = trio.current_time()
        stream = await trio.open_tcp_stream(HOST, port)
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(dribble, stream)
            assert await read_all(stream) == b""
            took = trio.current_time() - begin
            nursery.cancel_scope.cancel()
        assert house.guests == []

    assert LIMIT - 0.05 < took < LIMIT + MARGIN


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("piece", [b"", request()[:50]], ids=["nothing", "half"])
async def test_request_of_client_that_vanishes_is_forgotten(
    piece: bytes, reset: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that is gone in the middle of its request is no event, and no error."""
    house = House()
    async with house.open() as port:
        stream = await trio.open_tcp_stream(HOST, port)
        peer = NastyPeer(stream, client=True, wire=PLAIN)
        await stream.send_all(piece)
        await trio.testing.wait_all_tasks_blocked()
        if reset:
            peer.reset_now()
        else:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (house.guests, house.farewells) == ([], [])

    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_request_with_values_beyond_ascii_is_accepted() -> None:
    """Bytes over 127 in a header that is not the handshake's own are obs-text, read as Latin-1 (RFC 9110 §5.5)."""
    house = House()
    async with house.open() as port:
        stream = await trio.open_tcp_stream(HOST, port)
        async with stream:
            await stream.send_all(request("X-Name: Größe", "x-name: \xff"))
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
            await trio.testing.wait_all_tasks_blocked()
        assert house.guests[0].request.headers["X-NAME"] == "Größe, \xff"
        while not house.farewells:
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(("pieces", "status"), [REFUSED[name] for name in ("POST", "version 8", "no host")])
async def test_never_opened_accept_tells_what_it_answered(pieces: list[bytes], status: int) -> None:
    """`accept()` raises for a request that is no opening, and the error has the response that was sent."""
    async with nothing_left():
        stage = Stage("server", PLAIN)
        ours, peer = await stage.pair()
        await peer.stream.send_all(b"".join(pieces))
        await peer.tcp.send_eof()
        with pytest.raises(HandshakeRejected) as caught:
            async with accept(ours):
                raise AssertionError("this connection must not open")
        assert Answer(await read_all(peer.stream)).status == status
        await stage.aclose()

    assert caught.value.response is not None
    assert caught.value.response.status == status
    assert caught.value.close_event == CloseEvent(
        "close", code=1006, initiated_by="transport", cause=CloseCause.MALFORMED
    )


# -- process_request ---------------------------------------------------------------------------------------------------


def teapot(request: Request) -> Response:
    return Response(418, {"X-Pot": "short and stout"}, "tip me over")


async def teapot_async(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return teapot(request)


@pytest.mark.parametrize("process_request", [teapot, teapot_async], ids=["sync", "async"])
async def test_process_request_answers_in_place_of_the_upgrade(process_request: Any) -> None:
    """What the hook returns is the answer; the client reads status, headers and body, and no handler hears of it."""
    async with nothing_left():
        house = House()
        async with open_server(
            house.welcome, HOST, 0, on_close=house.see_off, process_request=process_request
        ) as server:
            with pytest.raises(HandshakeRejected) as caught:
                async with connect(PLAIN.url(server.port)):
                    raise AssertionError("this connection must not open")

    assert caught.value.response is not None
    assert caught.value.response.status == 418
    assert caught.value.response.headers["x-pot"] == "short and stout"
    assert caught.value.response.headers["content-type"] == "text/plain; charset=utf-8"
    assert caught.value.response.body == b"tip me over"
    assert (house.guests, house.farewells) == ([], [])


async def test_process_request_answers_plain_http() -> None:
    """A health check on the same port needs no upgrade."""

    def health(request: Request) -> Response | None:
        return Response(200, (), b"fine") if request.path == "/health" else None

    house = House()
    async with house.open(process_request=health) as port:
        answer = Answer(await ask(port, b"GET /health?now HTTP/1.1\r\nHost: x\r\n\r\n"))
        refusal = Answer(await ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert house.guests == []

    assert (answer.status, answer.body) == (200, b"fine")
    assert refusal.status == 426


async def test_process_request_sees_the_request() -> None:
    """Headers ignore case and keep each of several values; target, subprotocols and address are the client's."""
    seen: list[Request] = []

    async def look(request: Request) -> None:
        seen.append(request)

    house = House()
    async with house.open(process_request=look, subprotocols=["b"]) as port:
        url = f"ws://{HOST}:{port}/a%20b?c=d"
        fields = [("X-Many", "1"), ("x-mAny", "2, 3"), ("Cookie", "a=b")]
        async with connect(url, subprotocols=["a", "b"], headers=fields, origin="https://example.org") as ws:
            assert ws.subprotocol == "b"
            address = ws.local_address

    request = seen[0]
    assert (request.method, request.target, request.path, request.query) == ("GET", "/a%20b?c=d", "/a%20b", "c=d")
    assert request.headers["X-MANY"] == "1, 2, 3"
    assert request.headers.get_all("x-many") == ("1", "2, 3")
    assert "COOKIE" in request.headers
    assert request.headers["host"] == f"{HOST}:{port}"
    assert request.headers["origin"] == "https://example.org"
    assert request.subprotocols == ("a", "b")
    assert request.remote_address == address
    assert house.guests[0].request == request


def boom(request: Request) -> Response:
    raise KeyError("secret")


async def boom_async(request: Request) -> Response:
    raise KeyError("secret")


@pytest.mark.parametrize(
    "process_request",
    [boom, boom_async, lambda request: "no response", lambda request: 200, lambda request: False],
    ids=["raises", "raises async", "a str", "an int", "a bool"],
)
async def test_process_request_that_fails_is_500_and_logged(
    process_request: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """If the hook raises or returns junk, the client gets a 500 that tells nothing, and the log the traceback."""
    fails = True

    def once(request: Request) -> Any:
        return process_request(request) if fails else None

    house = House()
    async with house.open(process_request=once) as port:
        answer = Answer(await ask(port, request()))
        assert house.guests == []
        fails = False

    assert answer.status == 500
    assert b"secret" not in answer.body
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_process_request_that_takes_too_long_is_cut_off() -> None:
    """`open_timeout` covers the hook too."""
    house = House()
    slow = True

    async def wait(request: Request) -> None:
        if slow:
            await trio.sleep_forever()

    async with house.open(process_request=wait, open_timeout=LIMIT) as port:
        begin = trio.current_time()
        assert await ask(port, request()) == b""
        assert LIMIT - 0.05 < trio.current_time() - begin < LIMIT + MARGIN
        assert house.guests == []
        slow = False
