"""A client says what it got in place of a connection, or was cancelled before it had one, and nothing is left."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio
import trio.testing
import trustme
from nasty import (
    LIMIT,
    MARGIN,
    PATIENCE,
    NastyPeer,
    Script,
    Stage,
    connected,
    mid_request,
    mid_tls,
    nothing_left,
    read_all,
    secured,
)
from tls import HOST, RawTls, Wire, server_context

from trio_closeevents import (
    CloseCause,
    CloseEvent,
    HandshakeError,
    HandshakeRejected,
    HandshakeTimeout,
    WebSocket,
    connect,
    open_server,
)

PLAIN: Final = Wire("plain")
MAX_BODY: Final = 64 * 1024  # bytes of a rejection's body that are kept


async def leave(ws: WebSocket) -> None:
    """Be a server's handler that has nothing to do."""


class Host:
    """A server made of one script, for one client.

    Attributes:
        request: what the client has sent.
    """

    def __init__(self, script: Callable[[Host, trio.SocketStream], Awaitable[object]]) -> None:
        self.request = b""
        self._script = script

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[int]:
        """Serve while the block runs; yields the port."""
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, listener)
            yield listener.socket.getsockname()[1]
            nursery.cancel_scope.cancel()

    async def _serve(self, listener: trio.SocketListener) -> None:
        stream = await listener.accept()
        async with stream:
            try:
                await self._script(self, stream)
                self.request += await read_all(stream)
            except trio.BrokenResourceError:
                pass

    async def read_request(self, stream: trio.SocketStream) -> None:
        while b"\r\n\r\n" not in self.request:
            piece = await stream.receive_some()
            assert piece
            self.request += piece

    @property
    def accept_value(self) -> str:
        (key,) = (line[19:] for line in self.request.decode().split("\r\n") if line.startswith("Sec-WebSocket-Key: "))
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        return base64.b64encode(digest).decode()


HostScript = Callable[[Host, trio.SocketStream], Awaitable[object]]


def saying(*pieces: bytes, then: str = "FIN") -> HostScript:
    """Return the script of a server that reads the request, sends *pieces*, and ends with *then*.

    In the pieces, `<accept>` stands for the right value of Sec-WebSocket-Accept.
    """

    async def script(host: Host, stream: trio.SocketStream) -> None:
        await host.read_request(stream)
        for piece in pieces:
            if b"<accept>" in piece:
                piece = piece.replace(b"<accept>", host.accept_value.encode())
            await stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        if then == "FIN":
            await stream.send_eof()
        elif then == "RST":
            NastyPeer(stream, client=False, wire=PLAIN).reset_now()

    return script


async def fail_to_connect(script: HostScript, *, limit: float = PATIENCE, **options: Any) -> HandshakeError:
    """Connect to a server that plays *script*; return the error, and see to it that nothing is left."""
    host = Host(script)
    async with nothing_left(), host.open() as port:
        with pytest.raises(HandshakeError) as caught:
            async with connect(PLAIN.url(port), open_timeout=limit, **options):
                raise AssertionError("this connection must not open")
    assert str(port) in str(caught.value)
    return caught.value


def unopened(cause: CloseCause, code: int = 1006) -> CloseEvent:
    return CloseEvent("close", code=code, initiated_by="transport", cause=cause)


SWITCH: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: <accept>\r\n\r\n"
)

MALFORMED: Final[dict[str, list[bytes]]] = {
    "no HTTP": [b"\x00\xff\x00\xff\r\n\r\n"],
    "no HTTP, but text": [b"220 mail.example.org ESMTP\r\n\r\n"],
    "a WebSocket frame": [b"\x81\x05hello\r\n\r\n"],
    "a status of two digits": [b"HTTP/1.1 99 What\r\n\r\n"],
    "a status over 599": [b"HTTP/1.1 600 What\r\n\r\n"],
    "101 without accept": [SWITCH.replace(b"Sec-WebSocket-Accept: <accept>\r\n", b"")],
    "101 with another accept": [SWITCH.replace(b"<accept>", base64.b64encode(bytes(20)))],
    "101 with an accept that is not ASCII": [SWITCH.replace(b"<accept>", b"\xff")],
    "101 without Upgrade": [SWITCH.replace(b"Upgrade: websocket\r\n", b"")],
    "101 with another upgrade": [SWITCH.replace(b"websocket", b"h2c")],
    "101 without Connection": [SWITCH.replace(b"Connection: Upgrade\r\n", b"")],
    "101 with an unasked subprotocol": [SWITCH.replace(b"Upgrade:", b"Sec-WebSocket-Protocol: chat\r\nUpgrade:", 1)],
    "101 with an unasked extension": [
        SWITCH.replace(b"Upgrade:", b"Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade:", 1)
    ],
    "101 with a folded header": [SWITCH.replace(b"Upgrade:", b"X: a\r\n b\r\nUpgrade:", 1)],
    "101 with a NUL": [SWITCH.replace(b"Upgrade:", b"X: a\0b\r\nUpgrade:", 1)],
    "a header without a colon": [SWITCH.replace(b"Upgrade:", b"nonsense\r\nUpgrade:", 1)],
    "17 KB of headers": [SWITCH.replace(b"Upgrade:", b"X: " + b"x" * 17000 + b"\r\nUpgrade:", 1)],
    "endless headers": [b"HTTP/1.1 101 Switching Protocols\r\nX: ", *[b"x" * 1000] * 100],
    "endless informational answers": [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000,
}


@pytest.mark.parametrize("pieces", MALFORMED.values(), ids=MALFORMED.keys())
async def test_never_opened_by_malformed_answer(pieces: list[bytes]) -> None:
    """An answer that is none, or a 101 that breaks a rule: 1006, malformed, and there is no response to show."""
    error = await fail_to_connect(saying(*pieces, then="silence"))

    assert type(error) is HandshakeError
    assert error.close_event == unopened(CloseCause.MALFORMED)
    assert error.response is None


@pytest.mark.parametrize("subprotocol", ["chat", "SUPERCHAT", ""])
async def test_never_opened_with_a_subprotocol_that_was_not_offered(subprotocol: str) -> None:
    """The server may only choose among what was offered, and it is compared as it is spelled."""
    answer = SWITCH.replace(b"Upgrade:", f"Sec-WebSocket-Protocol: {subprotocol}\r\nUpgrade:".encode(), 1)
    error = await fail_to_connect(saying(answer, then="silence"), subprotocols=["superchat", "mega"])

    assert error.close_event == unopened(CloseCause.MALFORMED)


def rejection(status: str, *fields: str, body: bytes = b"", sized: bool = True) -> bytes:
    size = [f"Content-Length: {len(body)}"] if sized else []
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, *size, "", ""]).encode() + body


REJECTIONS: Final[dict[str, tuple[list[bytes], int, dict[str, str], bytes]]] = {
    "200": (
        [rejection("200 OK", "Content-Type: text/html", body=b"<p>hi")],
        200,
        {"content-type": "text/html"},
        b"<p>hi",
    ),
    "301": ([rejection("301 Moved", "Location: wss://elsewhere/")], 301, {"location": "wss://elsewhere/"}, b""),
    "401": (
        [rejection("401 No", "WWW-Authenticate: Basic", body=b"who?")],
        401,
        {"www-authenticate": "Basic"},
        b"who?",
    ),
    "404": ([rejection("404 Not Found", body=b"nothing here")], 404, {}, b"nothing here"),
    "503": ([rejection("503 Busy", "Retry-After: 3", body=b"later")], 503, {"Retry-After": "3"}, b"later"),
    "no reason phrase": ([b"HTTP/1.1 403 \r\nContent-Length: 0\r\n\r\n"], 403, {}, b""),
    "HTTP/1.0": ([b"HTTP/1.0 403 No\r\n\r\nold"], 403, {}, b"old"),
    "in pieces": ([b"HTTP/1.1 4", b"03 No\r\nContent-Length: 4\r", b"\n\r\na", b"bcd"], 403, {}, b"abcd"),
    "chunked": (
        [rejection("403 No", "Transfer-Encoding: chunked", sized=False), b"3\r\nabc\r\n", b"1\r\nd\r\n0\r\n\r\n"],
        403,
        {},
        b"abcd",
    ),
    "up to the end": ([rejection("403 No", "Connection: close", sized=False), b"ab", b"cd"], 403, {}, b"abcd"),
    "cut off": ([rejection("403 No", "Content-Length: 1000", sized=False), b"ab"], 403, {}, b"ab"),
    "two values": ([rejection("403 No", "X: 1", "x: 2")], 403, {"X": "1, 2"}, b""),
}


@pytest.mark.parametrize(("pieces", "status", "fields", "body"), REJECTIONS.values(), ids=REJECTIONS.keys())
async def test_never_opened_by_rejection(pieces: list[bytes], status: int, fields: dict[str, str], body: bytes) -> None:
    """Another answer than 101 is a rejection, which shows status, headers and body."""
    error = await fail_to_connect(saying(*pieces), max_redirects=0)

    assert isinstance(error, HandshakeRejected)
    assert error.close_event == unopened(CloseCause.REJECTED)
    assert error.response is not None
    assert error.response.status == status
    assert {name: error.response.headers[name] for name in fields} == fields
    assert error.response.body == body
    assert str(status) in str(error)


async def test_never_opened_by_rejection_with_a_huge_body() -> None:
    """Of the body of a rejection only so much is read as is kept."""
    sent = 0

    async def script(host: Host, stream: trio.SocketStream) -> None:
        nonlocal sent
        await host.read_request(stream)
        await stream.send_all(rejection("503 Busy", "Content-Length: 1000000000", sized=False))
        while True:
            await stream.send_all(b"x" * 10000)
            sent += 10000

    error = await fail_to_connect(script)

    assert error.close_event == unopened(CloseCause.REJECTED)
    assert error.response is not None
    assert error.response.body == b"x" * MAX_BODY
    assert sent < 2**25


async def test_never_opened_by_rejection_whose_body_never_ends() -> None:
    """A rejection whose body is late is still a rejection when `open_timeout` has passed."""
    script = saying(rejection("503 Busy", "Content-Length: 9", sized=False) + b"not", then="silence")
    begin = trio.current_time()
    error = await fail_to_connect(script, limit=LIMIT)

    assert LIMIT - 0.05 < trio.current_time() - begin < LIMIT + MARGIN
    assert isinstance(error, HandshakeRejected)
    assert error.close_event == unopened(CloseCause.REJECTED)
    assert error.response is not None
    assert (error.response.status, error.response.body) == (503, b"not")


@pytest.mark.parametrize("pieces", [[], [SWITCH[:40]]], ids=["no answer", "half an answer"])
async def test_never_opened_when_the_server_hangs_up(pieces: list[bytes]) -> None:
    """FIN before the answer is whole: cause eof."""
    error = await fail_to_connect(saying(*pieces, then="FIN"))

    assert type(error) is HandshakeError
    assert error.close_event == unopened(CloseCause.EOF)


@pytest.mark.parametrize("pieces", [[], [SWITCH[:40]]], ids=["no answer", "half an answer"])
async def test_never_opened_when_the_server_resets(pieces: list[bytes]) -> None:
    """RST before the answer is whole: cause reset, and the system's error is the `__cause__`."""
    error = await fail_to_connect(saying(*pieces, then="RST"))

    assert type(error) is HandshakeError
    assert error.close_event == unopened(CloseCause.RESET)
    assert isinstance(error.__cause__, ConnectionResetError)


@pytest.mark.parametrize("pieces", [[], [SWITCH[:40]]], ids=["no answer", "half an answer"])
async def test_never_opened_when_the_server_is_silent(pieces: list[bytes]) -> None:
    """Silence: `HandshakeTimeout`, which is a `trio.TooSlowError`, when `open_timeout` has passed."""
    begin = trio.current_time()
    error = await fail_to_connect(saying(*pieces, then="silence"), limit=LIMIT)

    assert LIMIT - 0.05 < trio.current_time() - begin < LIMIT + MARGIN
    assert isinstance(error, HandshakeTimeout)
    assert isinstance(error, trio.TooSlowError)
    assert error.close_event == unopened(CloseCause.TIMEOUT)


async def refused_by(url: str, **options: Any) -> HandshakeError:
    """Return why there is no connection to *url*."""
    with pytest.raises(HandshakeError) as caught:
        async with connect(url, **options):
            raise AssertionError("this connection must not open")
    return caught.value


async def test_never_opened_on_a_port_that_nobody_listens_on() -> None:
    """A port that refuses: cause refused, and the system's error is the `__cause__`."""
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        async with nothing_left():
            error = await refused_by(PLAIN.url(unused.getsockname()[1]))

    assert error.close_event == unopened(CloseCause.REFUSED)
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert str(error) == f"no connection to {error.url}: {os.strerror(errno.ECONNREFUSED)}"


async def test_never_opened_at_several_addresses_tells_each_reason_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, and not that all attempts have failed; the system's error stays the `__cause__`."""
    refused = [OSError(errno.ECONNREFUSED, f"Error connecting to {address}") for address in ("::1", "127.0.0.1")]
    unreachable = OSError(errno.ENETUNREACH, "Error connecting to 2001:db8::1")
    odd = OSError("local_address is incompatible")
    several = OSError("all attempts to connect to example.org:80 failed")
    several.__cause__ = ExceptionGroup("all attempts failed", [*refused, unreachable, odd])

    async def dial(*_: object) -> trio.SocketStream:
        raise several

    monkeypatch.setattr(trio, "open_tcp_stream", dial)
    error = await refused_by("ws://example.org/")
    reasons = f"{os.strerror(errno.ECONNREFUSED)}; {os.strerror(errno.ENETUNREACH)}; local_address is incompatible"
    assert str(error) == f"no connection to ws://example.org/: {reasons}"
    assert error.__cause__ is several


async def test_never_opened_to_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that DNS does not know: cause refused, and the resolver's error is the `__cause__`."""

    async def resolve(*args: object, **options: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    async with nothing_left():
        error = await refused_by("ws://nowhere.invalid/")

    assert error.close_event == unopened(CloseCause.REFUSED)
    assert isinstance(error.__cause__, socket.gaierror)
    assert str(error) == "no connection to ws://nowhere.invalid/: Name or service not known"


async def test_never_secured_by_an_unknown_authority(server_ssl_context: ssl.SSLContext) -> None:
    """A certificate of nobody we know: 1015, cause tls, and ssl's error is the `__cause__`."""
    async with nothing_left(), open_server(leave, HOST, 0, ssl_context=server_ssl_context) as server:
        error = await refused_by(f"wss://{HOST}:{server.port}/")

    assert error.close_event == unopened(CloseCause.TLS, 1015)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_never_secured_by_a_certificate_for_somebody_else(
    authority: trustme.CA, client_ssl_context: ssl.SSLContext
) -> None:
    """A certificate that names another host: 1015, cause tls, and ssl's error is the `__cause__`."""
    context = server_context(authority.issue_cert("elsewhere.example"), ssl.TLSVersion.TLSv1_3)
    async with nothing_left(), open_server(leave, HOST, 0, ssl_context=context) as server:
        error = await refused_by(f"wss://{HOST}:{server.port}/", ssl_context=client_ssl_context)

    assert error.close_event == unopened(CloseCause.TLS, 1015)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_never_secured_by_a_port_that_speaks_plain(client_ssl_context: ssl.SSLContext) -> None:
    """`wss:` to a plain port: 1015, cause tls, and ssl's error is the `__cause__`."""
    async with nothing_left(), open_server(leave, HOST, 0) as server:
        error = await refused_by(f"wss://{HOST}:{server.port}/", ssl_context=client_ssl_context)

    assert error.close_event == unopened(CloseCause.TLS, 1015)
    assert isinstance(error.__cause__, ssl.SSLError)


async def test_never_opened_on_a_port_that_speaks_tls(server_ssl_context: ssl.SSLContext) -> None:
    """`ws:` to a TLS port: an alert is no answer, or the connection is lost before one is there."""
    async with nothing_left(), open_server(leave, HOST, 0, ssl_context=server_ssl_context) as server:
        error = await refused_by(PLAIN.url(server.port))

    assert error.close_event.cause in (CloseCause.MALFORMED, CloseCause.EOF, CloseCause.RESET)
    assert error.close_event.code == 1006


# -- cancelled before it began -----------------------------------------------------------------------------------------


async def test_never_wanted_while_tcp_connects() -> None:
    """`connect()` that is cancelled while TCP is not there yet leaves nothing behind."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind((HOST, 0))
        listener.listen(0)
        filler.connect(listener.getsockname())  # takes the only place in the queue
        async with nothing_left():
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def cancel() -> None:
                        await trio.testing.wait_all_tasks_blocked()
                        scope.cancel()

                    nursery.start_soon(cancel)
                    async with connect(PLAIN.url(listener.getsockname()[1])):
                        raise AssertionError("this connection must not open")
    assert scope.cancelled_caught


async def wait_for_upgrade(peer: NastyPeer) -> None:
    """The request, to which there is no answer yet."""
    await peer.secure()
    await peer.read_head()


@pytest.mark.parametrize(
    ("wire", "reach"),
    [
        *(("plain", reach) for reach in (connected, mid_request)),
        *((name, reach) for name in ("TLS 1.2", "TLS 1.3") for reach in (connected, mid_tls, secured, mid_request)),
    ],
    indirect=["wire"],
)
async def test_never_wanted_sends_no_frame(stage: Stage, reach: Script) -> None:
    """`connect()` or `accept()` that is cancelled in the opening: `Cancelled` goes on, and the peer sees the end."""
    async with nothing_left():
        ours, peer = await stage.pair()
        ending = trio.current_time()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def script() -> None:
                    nonlocal ending
                    await reach(peer)
                    await trio.testing.wait_all_tasks_blocked()
                    ending = trio.current_time()
                    scope.cancel()

                nursery.start_soon(script)
                async with stage.block(ours):
                    raise AssertionError("this connection must not open")
        assert scope.cancelled_caught
        assert trio.current_time() - ending < MARGIN

        rest = await peer.read_rest()
        assert peer.ended == "FIN"
        if not stage.wire.secure or isinstance(peer.stream, RawTls):  # else it is half a TLS handshake
            has_request = stage.role == "client" and reach is not mid_request  # which has read it
            assert rest.count(b"\r\n\r\n") == has_request
            assert rest.endswith(b"\r\n\r\n" if has_request else b"")
            assert rest.startswith(b"GET " if has_request else b"")
            assert has_request or not rest
        await stage.aclose()


async def test_never_wanted_while_the_answer_is_awaited() -> None:
    """All that a cancelled `connect()` has sent is its request; then comes FIN."""
    data = b""
    done = trio.Event()

    async def script(host: Host, stream: trio.SocketStream) -> None:
        nonlocal data
        await host.read_request(stream)
        scope.cancel()
        data = host.request + await read_all(stream)
        done.set()

    host = Host(script)
    scope = trio.CancelScope()
    async with nothing_left(), host.open() as port:
        with scope:
            async with connect(PLAIN.url(port)):
                raise AssertionError("this connection must not open")
        assert scope.cancelled_caught
        await done.wait()

    assert data.endswith(b"\r\n\r\n")
    assert data.count(b"\r\n\r\n") == 1


async def test_ctrl_c_while_dialling_leaves_connect_bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """trio dials in tasks of its own, and an interrupt in one of them comes out as a group: it is taken out of that."""
    interrupt = KeyboardInterrupt()

    async def dial(*_: object) -> trio.SocketStream:
        raise BaseExceptionGroup("an attempt was interrupted", [interrupt])

    monkeypatch.setattr(trio, "open_tcp_stream", dial)
    with pytest.raises(KeyboardInterrupt) as raised:
        async with connect("ws://127.0.0.1:1/"):
            pass
    assert raised.value is interrupt
