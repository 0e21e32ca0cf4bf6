"""A client behind proxies: real ones in another process, and others that lie."""

from __future__ import annotations

import errno
import json
import os
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from nasty import nothing_left
from proxies import USER
from test_never_opened import Host, HostScript, saying
from tls import HOST, CertificateFiles, Wire

from trio_closeevents import CloseCause, HandshakeError, HandshakeRejected, WebSocket, connect, open_server
from trio_closeevents._proxy import Proxy, choose_proxy, parse_proxy
from trio_closeevents._url import parse_url

CLOSED_PORT: Final = 1  # nobody listens there


@pytest.fixture(scope="module")
def proxies(certificate_files: CertificateFiles) -> Iterator[Mapping[str, int]]:
    """The ports of real proxies, by their kind."""
    command = [sys.executable, "proxies.py", str(certificate_files.server)]
    folder = Path(__file__).parent
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate(timeout=10)


@pytest.fixture(autouse=True)
def no_proxies_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "ws", "wss", "socks", "all", "no"):
        for spelling in (f"{name}_proxy", f"{name}_PROXY".upper()):
            monkeypatch.delenv(spelling, raising=False)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


# -- real ones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["http", "http-auth", "https", "socks4", "socks4a", "socks5", "socks5h", "socks5-auth"]
)
async def test_messages_go_through_a_real_proxy(
    kind: str, proxies: Mapping[str, int], wire: Wire, client_ssl_context: ssl.SSLContext
) -> None:
    """Of every kind, with and without TLS to the server; the end is the server's, not the proxy's."""
    scheme = kind.partition("-")[0]
    credentials = {"http-auth": f"{USER}:secret@", "socks5-auth": f"{USER}:p%3Ass%20word@"}.get(kind, "")
    port = proxies.get(kind) or proxies[kind[:6]]
    async with nothing_left(), open_server(echo, HOST, 0, ssl_context=wire.server_ssl_context) as server:
        async with connect(
            wire.url(server.port),
            ssl_context=wire.client_ssl_context,
            proxy=f"{scheme}://{credentials}{HOST}:{port}",
            proxy_ssl_context=client_ssl_context,
        ) as ws:
            if kind != "https":
                assert ws.remote_address == (HOST, port)
            await ws.send("through")
            assert await ws.receive() == "through"
            await server.aclose(1001, "restart", grace=0)
            event = await ws.wait_closed()
        assert (event.code, event.reason, event.was_clean) == (1001, "restart", True)


@pytest.mark.parametrize("kind", ["http-auth", "socks5-auth"])
async def test_real_proxy_that_does_not_know_us_is_named(kind: str, proxies: Mapping[str, int]) -> None:
    """The error has the proxy, and not the password."""
    scheme = kind.partition("-")[0]
    with pytest.raises(HandshakeError, match=f"the proxy {scheme}://{HOST}:{proxies[kind]} ") as caught:
        async with connect(f"ws://{HOST}:{CLOSED_PORT}", proxy=f"{scheme}://{USER}:wrong@{HOST}:{proxies[kind]}"):
            pytest.fail("opened")
    assert "wrong" not in str(caught.value)
    assert caught.value.close_event.cause is CloseCause.REJECTED
    if kind == "http-auth":
        assert isinstance(caught.value, HandshakeRejected)
        assert caught.value.response is not None
        assert caught.value.response.status in {401, 407}  # this one says 401, although RFC 9110 §15.5.8 has another


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_proxy_from_the_environment(
    kind: str, proxies: Mapping[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`no_proxy` is heard too."""
    async with open_server(echo, HOST, 0) as server:
        monkeypatch.setenv("all_proxy", f"{kind}://{HOST}:{proxies[kind]}")
        async with connect(f"ws://{HOST}:{server.port}") as ws:
            assert ws.remote_address == (HOST, proxies[kind])
        async with connect(f"ws://{HOST}:{server.port}", proxy=None) as ws:
            assert ws.remote_address == (HOST, server.port)
        monkeypatch.setenv("no_proxy", f"example.com,{HOST}")
        async with connect(f"ws://{HOST}:{server.port}") as ws:
            assert ws.remote_address == (HOST, server.port)


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
async def test_proxy_that_cannot_be_reached_is_named(kind: str) -> None:
    """As a server that cannot."""
    with pytest.raises(HandshakeError, match=f"the proxy {kind}://{HOST}:{CLOSED_PORT} cannot be reached") as caught:
        async with connect("ws://example.com", proxy=f"{kind}://{HOST}:{CLOSED_PORT}"):
            pytest.fail("opened")
    assert caught.value.close_event.cause is CloseCause.REFUSED
    assert str(caught.value).endswith(f" cannot be reached: {os.strerror(errno.ECONNREFUSED)}")


async def test_proxy_with_a_certificate_that_nobody_trusts_is_named(proxies: Mapping[str, int]) -> None:
    """1015, as for a server."""
    with pytest.raises(HandshakeError, match="the TLS handshake with the proxy") as caught:
        async with connect("ws://example.com", proxy=f"https://{HOST}:{proxies['https']}"):
            pytest.fail("opened")
    assert caught.value.close_event.code == 1015


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
async def test_opening_through_a_proxy_can_be_cancelled(kind: str, client_ssl_context: ssl.SSLContext) -> None:
    """Although the proxy says nothing; `open_timeout` counts too. Nothing is left."""

    async def say_nothing(_: Host, stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with nothing_left(), Host(say_nothing).open() as port:
        with trio.move_on_after(0.1) as scope:
            async with connect("ws://a", proxy=f"{kind}://{HOST}:{port}", proxy_ssl_context=client_ssl_context):
                pytest.fail("opened")
        assert scope.cancelled_caught
    async with nothing_left(), Host(say_nothing).open() as port:
        with pytest.raises(HandshakeError, match="open_timeout passed"):
            async with connect("ws://a", proxy=f"{kind}://{HOST}:{port}", open_timeout=0.1):
                pytest.fail("opened")


# -- liars -------------------------------------------------------------------------------------------------------------


async def fail_to_tunnel(script: HostScript, **options: Any) -> tuple[HandshakeError, bytes]:
    host = Host(script)
    async with nothing_left(), host.open() as port:
        with pytest.raises(HandshakeError) as caught:
            async with connect("ws://server.example:8080/x", proxy=f"http://{USER}:secret@{HOST}:{port}", **options):
                pytest.fail("opened")
    return caught.value, host.request


async def test_tunnel_is_asked_for_as_http_has_it() -> None:
    """RFC 9110 §9.3.6: the authority is the target; credentials are the proxy's alone."""
    error, request = await fail_to_tunnel(saying(b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nnope"))
    lines = request.decode().split("\r\n")
    assert lines[0] == "CONNECT server.example:8080 HTTP/1.1"
    assert "Host: server.example:8080" in lines
    assert f"Proxy-Authorization: Basic {b64encode(b'ada:secret').decode()}" in lines
    assert any(line.startswith("User-Agent: trio-closeevents/") for line in lines)
    assert lines[-2:] == ["", ""]
    assert error.response is not None
    assert (error.response.status, error.response.body) == (403, b"nope")


async def test_tunnel_may_be_asked_for_without_a_user_agent() -> None:
    """If the server is not told, the proxy is not."""
    _, request = await fail_to_tunnel(saying(b"HTTP/1.1 403 No\r\n\r\n"), user_agent=None)
    assert b"User-Agent" not in request


@pytest.mark.parametrize(
    ("answer", "cause", "words"),
    [
        (b"", CloseCause.EOF, "hung up before its answer was whole"),
        (b"HTTP/1.1 200 OK\r\nX: ", CloseCause.EOF, "hung up before its answer was whole"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", CloseCause.MALFORMED, "malformed answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, CloseCause.MALFORMED, "malformed answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", CloseCause.MALFORMED, "5 bytes stand behind it"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", CloseCause.MALFORMED, "malformed answer"),
        (b"HTTP/1.1 699 What\r\n\r\n", CloseCause.MALFORMED, "status 699"),
        (b"HTTP/1.1 403 No\r\nX: \x01\r\n\r\n", CloseCause.MALFORMED, "malformed answer"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502 Bad\r\n\r\n", CloseCause.REJECTED, "answered 502 Bad Gateway"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", CloseCause.REJECTED, "answered 302 Found"),
    ],
)
async def test_proxy_that_lies_is_told_apart(answer: bytes, cause: CloseCause, words: str) -> None:
    """Every lie has its cause; redirects of a proxy are not followed."""
    error, _ = await fail_to_tunnel(saying(answer))
    assert error.close_event.cause is cause
    assert words in str(error)
    assert "secret" not in str(error)


async def test_proxy_that_resets_is_told() -> None:
    """The operating system's error is the cause of ours."""
    error, _ = await fail_to_tunnel(saying(then="RST"))
    assert error.close_event.cause is CloseCause.RESET
    assert isinstance(error.__cause__, ConnectionResetError)


async def test_explanation_of_a_proxy_is_bounded() -> None:
    """In size and in time."""
    error, _ = await fail_to_tunnel(saying(b"HTTP/1.1 503 Busy\r\n\r\n" + b"a" * 100_000))
    assert error.response is not None
    assert error.response.body == b"a" * 16 * 1024
    error, _ = await fail_to_tunnel(saying(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nwait", then="nothing"))
    assert error.response is not None
    assert error.response.body == b"wait"


# -- which one ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "proxy", "shown"),
    [
        ("http://p", Proxy("http", "p", 80, None), "http://p:80"),
        ("p:3128", Proxy("http", "p", 3128, None), "http://p:3128"),
        ("HTTPS://P/", Proxy("https", "p", 443, None), "https://p:443"),
        ("socks5h://a%40b:c%2F@p", Proxy("socks5h", "p", 1080, ("a@b", "c/")), "socks5h://p:1080"),
        ("socks4://a@[::1]:9", Proxy("socks4", "::1", 9, ("a", "")), "socks4://[::1]:9"),
        (
            "http://b\u00fccher.example",
            Proxy("http", "xn--bcher-kva.example", 80, None),
            "http://xn--bcher-kva.example:80",
        ),
    ],
)
def test_proxy_is_taken_apart(text: str, proxy: Proxy, shown: str) -> None:
    """A scheme may be left out, as in the environment of many; what is shown has no password."""
    assert parse_proxy(text) == proxy
    assert str(proxy) == shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://p", "has scheme 'ftp': use one of http, https, socks4"),
        ("http://", "has no host"),
        ("http://p:0", "has port 0"),
        ("http://p:x", "is malformed"),
        ("http://p/path", "more than scheme, host and port"),
        ("http://u:secret@p?x", "more than scheme, host and port"),
        ("http://[::g]", "malformed"),
        ("socks5://u:secr\u00e9t@p", "not ASCII"),
        ("socks5://u:" + "secret" * 50 + "@p", "over 255 bytes"),
        ("http://u%3A:secret@p", "has no colon"),
        ("http://u:secret/w@p:1", "'http:...@p:1' is malformed"),
    ],
)
def test_proxy_that_is_none_is_refused_at_the_call(text: str, words: str) -> None:
    """Without showing a password."""
    with pytest.raises(ValueError, match=words) as caught:
        connect("ws://a", proxy=text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("proxy", [b"http://p", False, 5])
def test_proxy_of_a_wrong_type_is_refused_at_the_call(proxy: Any) -> None:
    """The error has the value."""
    with pytest.raises(TypeError, match=f"proxy must be a URL, True .* or None, not {proxy!r}"):
        connect("ws://a", proxy=proxy)


@pytest.mark.parametrize(
    ("url", "variables", "chosen"),
    [
        ("ws://a", {"ws_proxy": "w", "socks_proxy": "socks5://s", "http_proxy": "h", "all_proxy": "x"}, "w"),
        ("ws://a", {"socks_proxy": "socks5://s", "http_proxy": "h", "all_proxy": "x"}, "s"),
        ("ws://a", {"http_proxy": "h", "https_proxy": "t", "all_proxy": "x"}, "h"),
        ("ws://a", {"https_proxy": "t", "all_proxy": "x"}, "x"),
        ("ws://a", {"https_proxy": "t"}, None),
        ("wss://a", {"wss_proxy": "w", "https_proxy": "t"}, "w"),
        ("wss://a", {"http_proxy": "h", "https_proxy": "t"}, "t"),
        ("wss://a", {"http_proxy": "h"}, None),
        ("wss://a", {"HTTPS_PROXY": "t"}, "t"),
        ("ws://a", {"http_proxy": "h", "no_proxy": "*"}, None),
        ("ws://b.a", {"http_proxy": "h", "no_proxy": ".a"}, None),
        ("ws://a:81", {"http_proxy": "h", "no_proxy": "a:82"}, "h"),
        ("ws://a:81", {"http_proxy": "h", "no_proxy": "a:81"}, None),
        ("ws://a", {"http_proxy": ""}, None),
    ],
)
def test_proxy_of_the_environment_fits_the_url(
    url: str, variables: dict[str, str], chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most special variable counts."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    proxy = choose_proxy(True, parse_url(url))
    assert (proxy and proxy.host) == chosen


def test_environment_without_proxies_costs_nothing() -> None:
    """What takes long to import is not imported, and a program's first connection is not held up by it."""
    program = "import sys, trio_closeevents as t; t.connect('ws://a'); print('urllib.request' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_bad_proxy_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is, since the program never said it."""
    monkeypatch.setenv("http_proxy", "gopher://u:secret@p")
    with pytest.raises(ValueError, match="the environment's http_proxy 'gopher://p' has scheme"):
        connect("ws://a")


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only SOCKS needs it, and the error says how to get it."""
    monkeypatch.setitem(sys.modules, "python_socks", None)
    connect("ws://a", proxy="http://p")
    with pytest.raises(ImportError, match=r"install trio-closeevents\[proxy\]"):
        connect("ws://a", proxy="socks5://p")


async def test_socks_proxy_that_answers_nonsense_is_told() -> None:
    """What python-socks cannot read does not come out as it is."""

    async def lie(_: Host, stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"\5\0")
        await stream.receive_some()
        await stream.send_all(b"\5\0\0\3\1\xff\0\0")

    async with Host(lie).open() as port:
        with pytest.raises(HandshakeError, match="the proxy socks5://"):
            async with connect("ws://a", proxy=f"socks5://{HOST}:{port}"):
                pytest.fail("opened")


def test_proxy_does_not_show_its_password() -> None:
    """Neither as text nor by `repr`."""
    assert repr(parse_proxy("http://u:secret@p")) == "Proxy('http://p:80')"
