"""A client's connection, from the first packet to the block's end: what is sent, what is raised, how long it takes."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_closeevents.compat.trio_websocket as stand_in
from trio_closeevents import CloseCause
from trio_closeevents.testing import ScriptedPeer
from trio_closeevents.testing._steps import Steps

from .stage import client

HOST: Final = "127.0.0.1"

Serve = Callable[[trio.SocketStream], Awaitable[object]]


@asynccontextmanager
async def tcp(serve: Serve, *, host: str = HOST) -> AsyncGenerator[int, None]:
    """Serve each connection to the port that this is; cancelled in the end."""

    async def serve_and_close(stream: trio.SocketStream) -> None:
        async with stream:
            await serve(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve_and_close, 0, host=host))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def polite(stream: trio.abc.Stream) -> None:
    peer = ScriptedPeer(stream, client=False)
    await peer.open()
    await peer.be_polite()


async def silent(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


def saying(answer: bytes) -> Serve:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.send_eof()
        while await stream.receive_some():
            pass

    return serve


# -- the request -------------------------------------------------------------------------------------------------------


async def head_of(library: Any, resource: str, host: str = "localhost", **options: Any) -> list[bytes]:
    """Return the lines of the request."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.open)
        await library.wrap_client_stream(nursery, ours, host, resource, **options)
        nursery.cancel_scope.cancel()
    return peer.request.split(b"\r\n")


@pytest.mark.parametrize("resource", ["/", "/a/b?c=d&e", "/?", "/%D7%90?%D7%90", "/a//b/../c;d=~"])
async def test_resource_is_the_request_target(autojump_clock: MockClock, library: Any, resource: str) -> None:
    """As it is."""
    assert (await head_of(library, resource))[0] == f"GET {resource} HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("resource", "target"), [("", b"/"), ("a", b"/a"), ("/a#b", b"/a%23b"), ("/\xe4 b", b"/%C3%A4%20b")]
)
async def test_resource_that_is_no_target_becomes_one(autojump_clock: MockClock, resource: str, target: bytes) -> None:
    """0.12.2 sends what no server understands; the path is told as it was given."""
    assert (await head_of(stand_in, resource.replace(" ", "%20")))[0] == b"GET " + target + b" HTTP/1.1"


@pytest.mark.parametrize("host", ["example.org", "example.org:1234", "[::1]:80", "any thing", "", "a_b"])
async def test_host_is_the_host_header(autojump_clock: MockClock, library: Any, host: str) -> None:
    """Verbatim."""
    assert f"Host: {host}".rstrip().encode() in [line.rstrip() for line in await head_of(library, "/", host)]


async def test_extra_headers_go_along(autojump_clock: MockClock, library: Any) -> None:
    """As they are spelled, twice if they are given twice; and a subprotocol list."""
    fields = [(b"X-One", b"1"), (b"x-two", b"\xe4"), (b"X-One", b"3")]
    lines = await head_of(library, "/", extra_headers=fields, subprotocols=("a", "b"))
    assert [line.lower() for line in lines if line.lower().startswith(b"x-")] == [
        b"x-one: 1",
        b"x-two: \xe4",
        b"x-one: 3",
    ]
    assert b"Sec-WebSocket-Protocol: a, b" in lines
    assert not any(line.lower().startswith((b"user-agent", b"origin")) for line in lines)


async def test_headers_of_the_handshake_cannot_be_replaced(autojump_clock: MockClock) -> None:
    """They are left out; `Host` replaces the one that there would be. Text is taken for bytes."""
    fields: Any = [(b"Upgrade", b"x"), (b"Sec-WebSocket-Key", b"y"), ("Host", "other"), (b"Content-Length", b"5")]
    lines = await head_of(stand_in, "/", extra_headers=fields)
    assert [line.lower() for line in lines if line.lower().startswith(b"upgrade")] == [b"upgrade: websocket"]
    assert [line for line in lines if line.lower().startswith(b"host")] == [b"Host: other"]
    assert len([line for line in lines if line.lower().startswith(b"sec-websocket-key")]) == 1
    assert not any(line.lower().startswith(b"content-length") for line in lines)


@pytest.mark.parametrize(
    ("host", "port", "header"), [(HOST, None, f"{HOST}:PORT"), ("localhost", None, "localhost:PORT")]
)
async def test_host_header_has_the_port(library: Any, host: str, port: None, header: str) -> None:
    """Of a server that listens on no port of a scheme."""
    heads: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        peer = ScriptedPeer(stream, client=False)
        await peer.open()
        heads.append(peer.request)
        await peer.be_polite()

    async with tcp(serve) as number, library.open_websocket(host, number, "/", use_ssl=False) as connection:
        assert (connection.remote.port, str(connection.remote.address)) == (number, HOST)
        assert connection.remote.url == f"ws://{HOST}:{number}"
        assert not connection.local.is_ssl
    assert f"Host: {header.replace('PORT', str(number))}".encode() in heads[0]


async def test_ipv6_address_has_brackets_in_the_host_header() -> None:
    """0.12.2 leaves them out, against RFC 3986."""
    heads: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        peer = ScriptedPeer(stream, client=False)
        await peer.open()
        heads.append(peer.request)
        await peer.be_polite()

    async with tcp(serve, host="::1") as port, stand_in.open_websocket("::1", port, "/", use_ssl=False) as connection:
        assert repr(connection.remote) == f'Endpoint(address="::1", port={port}, is_ssl=False)'
    assert f"Host: [::1]:{port}".encode() in heads[0]


async def test_answer_is_told(autojump_clock: MockClock, library: Any) -> None:
    """The subprotocol, and the header fields that are not of the handshake, in lower case."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=False)

    async def answer() -> None:
        request = await peer.read_head()
        await peer.stream.send_all(peer.upgrade(request, "X-Test: A b\r\nSec-WebSocket-Protocol: two\r\nserver: x\r\n"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        connection = await library.wrap_client_stream(nursery, ours, "a", "/", subprotocols=["one", "two"])
        assert connection.subprotocol == "two"
        assert connection.handshake_headers == ((b"x-test", b"A b"), (b"server", b"x"))
        nursery.cancel_scope.cancel()


# -- URLs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "context", "words"),
    [
        ("http://a/", None, 'WebSocket URL scheme must be "ws:" or "wss:"'),
        ("a/b", None, "scheme must be"),
        ("ws:///x", None, "URL host must not be None"),
        ("ws://a/", ssl.create_default_context(), "^SSL context must be None for ws: URL scheme$"),
        ("ws://a:99999/", None, "[Pp]ort"),
    ],
)
async def test_url_that_is_none_is_a_value_error(library: Any, url: str, context: Any, words: str) -> None:
    """At the call, before anything else."""
    with pytest.raises(ValueError, match=words):
        library.open_websocket_url(url, context)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match=words):
            await library.connect_websocket_url(nursery, url, context)


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("", "/"),
        ("/", "/"),
        ("/a?b#c", "/a?b"),
        ("?x", "/?x"),
        ("/?", "/?"),
        ("/?#x", "/?"),
        ("#x", "/"),
        ("/a?b?c", "/a?b?c"),
    ],
)
async def test_url_becomes_a_path(library: Any, rest: str, path: str) -> None:
    """A bare `?` is kept, a fragment is not; user name and password are ignored, and any object is taken for a text."""

    class Url:
        def __str__(self) -> str:
            return f"ws://me:secret@{HOST}:{port}{rest}"

    async with tcp(polite) as port:
        if library is stand_in or rest != "#x":  # which 0.12.2 makes "/?x" of, if there is a "?" behind the "#"
            async with library.open_websocket_url(Url()) as connection:
                assert connection.path == path
        async with trio.open_nursery() as nursery:
            connection = await library.connect_websocket_url(nursery, f"ws://{HOST}:{port}{rest}")
            assert connection.path == path
            await connection.aclose()


# -- what goes wrong ---------------------------------------------------------------------------------------------------


async def test_refused_is_a_handshake_error(library: Any) -> None:
    """With the system's error as its cause; in a nursery it is that error."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(library.HandshakeError) as caught:
        async with library.open_websocket(HOST, port, "/", use_ssl=False):
            pytest.fail("opened")
    assert isinstance(caught.value.__cause__, OSError)
    async with trio.open_nursery() as nursery:
        with pytest.raises(OSError, match="connect"):
            await library.connect_websocket(nursery, HOST, port, "/", use_ssl=False)


@pytest.mark.parametrize("use_ssl", [1, None, "yes"])
async def test_use_ssl_is_checked(library: Any, use_ssl: Any) -> None:
    """A bool, or a context."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(TypeError, match=r"`use_ssl` argument must be bool or ssl\.SSLContext"):
            await library.connect_websocket(nursery, HOST, 1, "/", use_ssl=use_ssl)


async def test_rejection_is_told(library: Any) -> None:
    """Status, headers in lower case, body."""
    answer = b"HTTP/1.1 403 No\r\nX-Why: because\r\nContent-Length: 5\r\n\r\nnever"
    async with tcp(saying(answer)) as port:
        with pytest.raises(library.ConnectionRejected) as caught:
            async with library.open_websocket(HOST, port, "/", use_ssl=False):
                pytest.fail("opened")
    assert (caught.value.status_code, caught.value.body) == (403, b"never")
    assert (b"x-why", b"because") in caught.value.headers
    assert isinstance(caught.value, library.HandshakeError)


async def test_large_body_of_a_rejection_is_cut(library: Any) -> None:
    """To 64 KiB, where 0.12.2 has all of it."""
    async with tcp(saying(b"HTTP/1.1 403 No\r\nContent-Length: 70000\r\n\r\n" + bytes(70_000))) as port:
        with pytest.raises(library.ConnectionRejected) as caught:
            async with library.open_websocket(HOST, port, "/", use_ssl=False):
                pytest.fail("opened")
    assert caught.value.body == bytes(65_536 if library is stand_in else 70_000)


async def test_rejection_without_body_has_an_empty_one(library: Any) -> None:
    """Only an informational status, which is no answer at all, has none."""
    for answer, status, body in (
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, b""),
        (b"HTTP/1.1 100 C\r\n\r\n", 100, None),
    ):
        async with tcp(saying(answer)) as port:
            with pytest.raises(library.ConnectionRejected) as caught:
                async with library.open_websocket(HOST, port, "/", use_ssl=False):
                    pytest.fail("opened")
        assert (caught.value.status_code, caught.value.body) == (status, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 1",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
        b"HTTP/1.1 101 X\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
    ],
)
async def test_answer_that_is_none_is_a_handshake_error(answer: bytes) -> None:
    """0.12.2 lets errors of wsproto through, or waits for `connect_timeout`."""
    async with tcp(saying(answer)) as port:
        with pytest.raises(stand_in.HandshakeError) as caught:
            async with stand_in.open_websocket(HOST, port, "/", use_ssl=False):
                pytest.fail("opened")
        assert type(caught.value) is stand_in.HandshakeError
        async with trio.open_nursery() as nursery:
            with pytest.raises(stand_in.HandshakeError):
                await stand_in.connect_websocket(nursery, HOST, port, "/", use_ssl=False)


async def test_connect_timeout_covers_the_handshake(autojump_clock: MockClock) -> None:
    """A server that is silent: 0.12.2 hangs for ever, and this takes what was given."""
    autojump_clock.autojump_threshold = 0.05  # real sockets
    async with tcp(silent) as port:
        began = trio.current_time()
        with pytest.raises(stand_in.ConnectionTimeout):
            async with stand_in.open_websocket(HOST, port, "/", use_ssl=False, connect_timeout=5):
                pytest.fail("opened")
        assert 5 <= trio.current_time() - began < 6


async def test_connect_timeout_covers_dialling(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers at all."""

    async def dial(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", dial)
    with pytest.raises(stand_in.ConnectionTimeout):
        async with stand_in.open_websocket(HOST, 1, "/", use_ssl=False, connect_timeout=5):
            pytest.fail("opened")
    assert trio.current_time() == pytest.approx(5)


async def test_interrupt_while_dialling_is_bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """trio gives it in a group, since it tries several addresses."""
    interrupt = KeyboardInterrupt()

    async def dial(*_: object) -> None:
        raise BaseExceptionGroup("", [BaseExceptionGroup("", [interrupt])])

    monkeypatch.setattr(trio, "open_tcp_stream", dial)
    with pytest.raises(KeyboardInterrupt) as caught:
        async with stand_in.open_websocket(HOST, 1, "/", use_ssl=False):
            pytest.fail("opened")
    assert caught.value is interrupt
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["connect_timeout", "disconnect_timeout"])
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
async def test_timeout_that_is_none_is_refused(name: str, value: Any, error: type[Exception]) -> None:
    """By its name."""
    async with tcp(polite) as port:
        with pytest.raises(error, match=name):
            async with stand_in.open_websocket(HOST, port, "/", use_ssl=False, **{name: value}):
                pytest.fail("opened")


# -- TLS ---------------------------------------------------------------------------------------------------------------


async def test_tls_is_spoken(
    library: Any, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """By both sides, and both ends say so."""
    ends: list[Any] = []

    async def handler(request: Any) -> None:
        ends.extend([request.local, request.remote])
        connection = await request.accept()
        await connection.send_message(await connection.get_message())

    async with trio.open_nursery() as nursery:
        server = await nursery.start(library.serve_websocket, handler, HOST, 0, server_ssl_context)
        assert [each.is_ssl for each in server.listeners] == [True]
        url = f"wss://localhost:{server.port}/"
        async with library.open_websocket_url(url, client_ssl_context) as connection:
            await connection.send_message("x")
            assert await connection.get_message() == "x"
            ends.extend([connection.local, connection.remote])
        nursery.cancel_scope.cancel()
    assert all(each.is_ssl for each in ends)
    assert {each.port for each in ends} == {ends[0].port, ends[1].port}


async def test_tls_that_fails_is_a_handshake_error(server_ssl_context: ssl.SSLContext) -> None:
    """Of a certificate that nobody knows; the server goes on."""

    async def handler(request: Any) -> None:
        pytest.fail("opened")

    async with trio.open_nursery() as nursery:
        server = await nursery.start(stand_in.serve_websocket, handler, HOST, 0, server_ssl_context)
        for _ in range(2):
            with pytest.raises(stand_in.HandshakeError, match="certificate"):
                async with stand_in.open_websocket("localhost", server.port, "/", use_ssl=True):
                    pytest.fail("opened")
        nursery.cancel_scope.cancel()


async def test_tls_stream_can_be_wrapped(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """In both roles; where it is, is known."""
    served: list[Any] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            tls = trio.SSLStream(stream, server_ssl_context, server_side=True)
            request = await stand_in.wrap_server_stream(nursery, tls)
            served.append(request.remote)
            connection = await request.accept()
            with pytest.raises(stand_in.ConnectionClosed):
                await connection.get_message()

    async with tcp(serve) as port, trio.open_nursery() as nursery:
        stream = trio.SSLStream(await trio.open_tcp_stream(HOST, port), client_ssl_context, server_hostname="localhost")
        connection = await stand_in.wrap_client_stream(nursery, stream, "localhost", "/")
        assert repr(connection.remote) == f'Endpoint(address="{HOST}", port={port}, is_ssl=True)'
        await connection.aclose()
    assert served[0].is_ssl


# -- the block of open_websocket ---------------------------------------------------------------------------------------


async def test_block_that_returns_closes_with_1000(library: Any) -> None:
    """And so does one that raises, whose exception goes on as it is."""
    peers: list[ScriptedPeer] = []

    async def serve(stream: trio.SocketStream) -> None:
        peers.append(ScriptedPeer(stream, client=False))
        await peers[-1].open()
        await peers[-1].be_polite()

    error, cause, context = ValueError("x"), KeyError("y"), TypeError("z")
    error.__cause__, error.__context__ = cause, context
    group = ExceptionGroup("mine", [OSError("a"), ValueError("b")])
    async with tcp(serve) as port:
        for raised in (None, error, *([group] if library is stand_in else [])):  # 0.12.2 makes another group of it
            caught: BaseException | None = None
            connection: Any = None
            try:
                async with library.open_websocket(HOST, port, "/", use_ssl=False) as connection:
                    if raised is not None:
                        raise raised
            except Exception as exception:
                caught = exception
            assert caught is raised
            assert (peers[-1].record[0], connection.closed.code) == ("Close 1000", 1000)
    assert (error.__cause__, error.__context__) == (cause, context)


async def test_end_cancelled_closes_with_1001() -> None:
    """A deadline round the block: 0.12.2 drops TCP."""
    peers: list[ScriptedPeer] = []

    async def serve(stream: trio.SocketStream) -> None:
        peers.append(ScriptedPeer(stream, client=False))
        await peers[-1].open()
        await peers[-1].be_polite()

    connection: Any = None
    async with tcp(serve) as port:
        with trio.move_on_after(0.05) as scope:
            async with stand_in.open_websocket(HOST, port, "/", use_ssl=False) as connection:
                await connection.get_message()
        assert scope.cancelled_caught
        assert connection.close_event.cause is CloseCause.CANCELLED
        assert connection.close_event.was_clean
        await trio.testing.wait_all_tasks_blocked()
        assert peers[0].record == ["Close 1001", "FIN"]
    with pytest.raises(stand_in.ConnectionClosed, match="1001"):
        await connection.get_message()


async def test_disconnect_timeout_is_told(autojump_clock: MockClock, library: Any) -> None:
    """The peer does not answer: after a block that returned it is raised, in time."""
    autojump_clock.autojump_threshold = 0.05  # real sockets

    async def serve(stream: trio.SocketStream) -> None:
        await ScriptedPeer(stream, client=False).open()
        await trio.sleep_forever()

    async with tcp(serve) as port:
        began = 0.0
        with pytest.raises(library.DisconnectionTimeout):
            async with library.open_websocket(HOST, port, "/", use_ssl=False, disconnect_timeout=5):
                began = trio.current_time()
        assert 5 <= trio.current_time() - began < 6


async def test_disconnect_timeout_does_not_hide_an_exception(autojump_clock: MockClock) -> None:
    """The exception of the block goes on, which 0.12.2 replaces."""
    autojump_clock.autojump_threshold = 0.05

    async def serve(stream: trio.SocketStream) -> None:
        await ScriptedPeer(stream, client=False).open()
        await trio.sleep_forever()

    async with tcp(serve) as port:
        with pytest.raises(ValueError, match="mine"):
            async with stand_in.open_websocket(HOST, port, "/", use_ssl=False, disconnect_timeout=5):
                raise ValueError("mine")
        with trio.move_on_after(1) as scope, pytest.raises(ValueError, match="mine"):
            async with stand_in.open_websocket(HOST, port, "/", use_ssl=False, disconnect_timeout=5):
                raise ValueError("mine")
        assert not scope.cancelled_caught
        with trio.move_on_after(1) as scope:
            async with stand_in.open_websocket(HOST, port, "/", use_ssl=False, disconnect_timeout=5):
                pass
        assert scope.cancelled_caught


async def test_server_that_does_not_end_tcp_is_left_alone(autojump_clock: MockClock) -> None:
    """Two seconds after both Close frames the client ends it."""
    autojump_clock.autojump_threshold = 0.05

    async def serve(stream: trio.SocketStream) -> None:
        peer = ScriptedPeer(stream, client=False)
        await peer.open()
        await peer.receive_close()
        await peer.send(peer.close_frame(1000))
        await trio.sleep_forever()

    async with tcp(serve) as port:
        began = 0.0
        connection: Any
        async with stand_in.open_websocket(HOST, port, "/", use_ssl=False) as connection:
            began = trio.current_time()
        assert 2 <= trio.current_time() - began <= 3.5
        assert connection.close_event.was_clean


async def test_what_had_arrived_is_there_after_the_block(library: Any) -> None:
    """If the peer has closed; if this side has, it is thrown away."""
    for code in (4001, None):

        async def serve(stream: trio.SocketStream, code: int | None = code) -> None:
            peer = ScriptedPeer(stream, client=False)
            await peer.open()
            await peer.send(peer.frame(1, b"a"), *([] if code is None else [peer.close_frame(code)]))
            await peer.be_polite()

        async with tcp(serve) as port:
            async with library.open_websocket(HOST, port, "/", use_ssl=False) as connection:
                while connection.closed is None and code is not None:
                    await trio.sleep(0.01)
                await trio.sleep(0.02)
            if code is not None:
                assert await connection.get_message() == "a"
            with pytest.raises(library.ConnectionClosed):
                await connection.get_message()


def test_program_can_be_cancelled_anywhere() -> None:
    """Behind each step of the scheduler: the peer sees whole frames, and 1001 or the program's own 1000."""
    codes: set[Any] = set()

    async def main(step: int) -> int:
        steps = Steps(step, lambda: None)
        trio.lowlevel.add_instrument(steps)
        with trio.fail_after(30):
            ours, theirs = trio.testing.memory_stream_pair()
            peer = ScriptedPeer(theirs, client=False)

            async def be_peer() -> None:
                try:
                    await peer.open()
                except AssertionError:
                    return
                await peer.be_polite()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(be_peer)
                steps.begin()
                with steps.scope:
                    async with trio.open_nursery() as inner:
                        connection = await stand_in.wrap_client_stream(inner, ours, "localhost", "/")
                        async with connection:
                            await connection.send_message("x")
                            await connection.ping()
                steps.end()
        assert peer.unread == b""
        assert peer.ended is not None
        codes.add(peer.close and peer.close.code)
        if steps.count >= step:
            assert peer.close is None or peer.close.code in (1000, 1001)
        else:
            assert peer.close is not None
        return steps.count

    step = 1
    while trio.run(main, step, clock=MockClock(autojump_threshold=0)) >= step:
        step += 1
    assert {None, 1000, 1001} <= codes


@pytest.mark.parametrize("role", ["client", "server"])
async def test_nursery_that_is_closed_is_told(autojump_clock: MockClock, role: str) -> None:
    """It takes no task any more: the stream is closed, since nobody owns it."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        pass
    with pytest.raises(RuntimeError, match="closed to new arrivals"):
        if role == "client":
            await stand_in.wrap_client_stream(nursery, ours, "localhost", "/")
        else:
            await stand_in.wrap_server_stream(nursery, ours)
    with trio.fail_after(1):
        assert await theirs.receive_some() == b""


async def test_nothing_is_left_when_the_opening_is_cancelled(autojump_clock: MockClock) -> None:
    """The stream is closed, and the nursery has no task."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1) as scope:
            await stand_in.wrap_client_stream(nursery, ours, "localhost", "/")
        assert scope.cancelled_caught
        assert not nursery.child_tasks
    received = b""
    while data := await theirs.receive_some():
        received += data
    assert received.startswith(b"GET / HTTP/1.1")
    async with client(stand_in):
        pass
