"""Where a client comes from that a proxy stands before: the PROXY protocol on a listener, and headers."""

from __future__ import annotations

import logging
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from nasty import nothing_left
from test_serve import ask
from tls import HOST

from trio_closeevents import (
    HandshakeRejected,
    Listen,
    Request,
    Response,
    TrustedProxies,
    WebSocket,
    connect,
    open_server,
)

HEADER = b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 80\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


async def tell(ws: WebSocket) -> None:
    """Be a handler that says where its client comes from."""
    assert ws.remote_address == ws.request.remote_address
    await ws.send(repr(ws.remote_address))
    await ws.wait_closed()


async def through(address: Any, header: bytes) -> trio.SocketStream:
    """Be a proxy: connect, and say so."""
    if isinstance(address, str):
        stream = await trio.open_unix_socket(address)
    else:
        stream = await trio.open_tcp_stream(*address[:2])
    await stream.send_all(header)
    return stream


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (HEADER, "('192.0.2.1', 12345)"),
        (b"PROXY TCP6 2001:db8::1 ::1 1 80\r\n", "('2001:db8::1', 1, 0, 0)"),
        (V2 + b"\x21\x11\x00\x0c\xc0\x00\x02\x01\x7f\x00\x00\x01\x30\x39\x00\x50", "('192.0.2.1', 12345)"),
        (V2 + b"\x21\x31\x00\xd8" + b"/run/a".ljust(216, b"\0"), "'/run/a'"),
        (V2 + b"\x20\x00\x00\x00", None),
        (b"PROXY UNKNOWN\r\n", None),
    ],
)
@pytest.mark.parametrize("place", ["tcp", "unix", "tls"])
async def test_address_is_what_the_proxy_says(
    place: str,
    header: bytes,
    told: str | None,
    tmp_path: Path,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    """Before TLS and HTTP; `LOCAL` and `UNKNOWN` leave the socket's own."""
    address: Any = str(tmp_path / "socket") if place == "unix" else (HOST, 0)
    context = server_ssl_context if place == "tls" else None
    listen = [Listen(address, ssl_context=context, proxy_protocol=True)]
    async with nothing_left(), open_server(tell, listen=listen) as server:
        stream = await through(server.addresses[0], header)
        own = repr(stream.socket.getsockname())
        url = "wss://localhost" if place == "tls" else "ws://localhost"
        more: dict[str, Any] = {"ssl_context": client_ssl_context} if place == "tls" else {}
        async with connect(url, stream=stream, **more) as ws:
            assert await ws.receive() == (told or own)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "no PROXY header came from ('127.0.0.1', "),
        (b"PROXY TCP9 \r\n" + HEADER, "malformed line"),
        (HEADER[:20], "the proxy hung up before its header was whole"),
        (b"", "the proxy hung up before its header was whole"),
        (b"\x16\x03\x01\x02\x00" * 9, "no PROXY header"),
    ],
)
async def test_connection_without_a_header_is_dropped(
    sent: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Unanswered, and unserved; all that is left of it is a line at level DEBUG."""
    caplog.set_level(logging.DEBUG, "trio_closeevents")
    async with nothing_left(), open_server(tell, listen=[Listen((HOST, 0), proxy_protocol=True)]) as server:
        stream = await through(server.addresses[0], sent)
        async with stream:
            with suppress(trio.BrokenResourceError):  # it may have been reset already, for what was not read
                await stream.send_eof()
                assert await stream.receive_some() == b""
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert words in record.getMessage()


async def test_proxy_that_resets_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """In the middle of its header."""
    caplog.set_level(logging.DEBUG, "trio_closeevents")
    async with nothing_left(), open_server(tell, listen=[Listen((HOST, 0), proxy_protocol=True)]) as server:
        stream = await through(server.addresses[0], HEADER[:20])
        await trio.testing.wait_all_tasks_blocked()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        while not caplog.records:
            await trio.sleep(0.01)
    assert "the connection was lost: " in caplog.records[0].getMessage()


async def test_header_that_never_ends_has_its_time() -> None:
    """`open_timeout` counts from the first byte on; a server that closes does not wait for it either."""
    place = Listen((HOST, 0), proxy_protocol=True)
    async with nothing_left(), open_server(tell, listen=[place], open_timeout=0.1) as server:
        async with await through(server.addresses[0], HEADER[:20]) as stream:
            with trio.fail_after(10):
                assert await stream.receive_some() == b""
    async with nothing_left(), open_server(tell, listen=[place], open_timeout=1000) as server:
        async with await through(server.addresses[0], HEADER[:20]):
            await trio.testing.wait_all_tasks_blocked()
            await server.aclose()


async def test_listener_that_was_not_told_takes_the_header_for_garbage() -> None:
    """As HTTP: 400."""
    async with nothing_left(), open_server(tell, HOST, 0) as server:
        async with await through(server.addresses[0], HEADER + b"GET / HTTP/1.1\r\n\r\n") as stream:
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")


async def test_header_is_believed_from_whom_it_may_come(caplog: pytest.LogCaptureFixture) -> None:
    """Others are dropped, header or not."""
    caplog.set_level(logging.DEBUG, "trio_closeevents")
    listen = [Listen((HOST, 0), proxy_protocol=each) for each in (["127.0.0.0/8"], ["10.0.0.1", "unix"])]
    async with nothing_left(), open_server(tell, listen=listen) as server:
        async with connect("ws://localhost", stream=await through(server.addresses[0], HEADER)) as ws:
            assert await ws.receive() == "('192.0.2.1', 12345)"
        async with await trio.open_tcp_stream(*server.addresses[1]) as stream:
            assert await stream.receive_some() == b""
    assert "is not among the proxies that are believed" in caplog.text
    assert Listen("p", proxy_protocol=["unix"]).proxy_protocol == ("unix",)
    with pytest.raises(ValueError, match="'x' is neither an IP address"):
        Listen("p", proxy_protocol=["x"])


async def test_hooks_and_handlers_see_where_a_client_comes_from() -> None:
    """`process_request` too; and the word of a stranger changes nothing."""
    seen: list[Any] = []

    def note(request: Request) -> None:
        seen.append(request.remote_address)

    headers = {"X-Forwarded-For": "6.6.6.6, 192.0.2.1"}
    for proxies, expected in ((["127.0.0.1"], ("192.0.2.1", 0)), (["10.0.0.0/8"], None)):
        trusted = TrustedProxies(proxies, header="X-Forwarded-For")
        async with open_server(tell, HOST, 0, process_request=note, trusted_proxies=trusted) as server:
            async with connect(f"ws://{HOST}:{server.port}", headers=headers) as ws:
                assert await ws.receive() == repr(expected or ws.local_address)
                assert seen.pop() == (expected or ws.local_address)
    async with open_server(tell, HOST, 0) as server:
        async with connect(f"ws://{HOST}:{server.port}", headers=headers) as ws:
            assert await ws.receive() == repr(ws.local_address)


async def test_both_ways_go_together() -> None:
    """One proxy behind another: the header counts if the address is trusted that the protocol has told."""

    def answer(request: Request) -> Response:
        return Response(200, body=repr(request.remote_address))

    trusted = TrustedProxies(["192.0.2.1"], header="Forwarded")
    place = Listen((HOST, 0), proxy_protocol=True)
    async with open_server(tell, listen=[place], process_request=answer, trusted_proxies=trusted) as server:
        head = f"{HEADER.decode().strip()}\nGET / HTTP/1.1\nHost: a\nForwarded: for=198.51.100.7\n\n"
        assert (await ask(server.port, head))[2] == b"('198.51.100.7', 0)"


async def test_limit_per_address_is_about_clients() -> None:
    """And not about the proxy that all of them come through, whichever way it names them."""
    trusted = TrustedProxies(["127.0.0.1"], header="X-Forwarded-For")
    place = Listen((HOST, 0), proxy_protocol=True)
    for options in ({"listen": [place]}, {"listen": [Listen((HOST, 0))], "trusted_proxies": trusted}):
        given: Any = options
        async with nothing_left(), open_server(tell, max_connections_per_address=1, **given) as server:

            async def enter(last: int, port: int = server.port, proxied: bool = "trusted_proxies" in given) -> Any:
                address = f"192.0.2.{last}"
                header = b"" if proxied else f"PROXY TCP4 {address} 127.0.0.1 1 80\r\n".encode()
                stream = await through((HOST, port), header)
                return connect("ws://localhost", stream=stream, headers={"X-Forwarded-For": address})

            async with await enter(1), await enter(2):
                with pytest.raises(HandshakeRejected, match="503"):
                    async with await enter(1):
                        pytest.fail("opened")
            while server.connections:
                await trio.sleep(0.01)
            async with await enter(1) as ws:
                assert "192.0.2.1" in str(await ws.receive())


async def test_trusted_proxies_of_another_kind_are_refused() -> None:
    """A list does not say which header it is about."""
    arguments: Any = {"trusted_proxies": ["127.0.0.1"]}
    with pytest.raises(TypeError, match=r"trusted_proxies must be TrustedProxies\(...\) or None, not \['127.0.0.1'\]"):
        open_server(tell, HOST, 0, **arguments)
