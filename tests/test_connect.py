"""What a client asks for and where: redirects, credentials, other addresses, headers of its own."""

from __future__ import annotations

import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from nasty import nothing_left
from tls import HOST, CertificateFiles, Wire, server_context

from trio_closeevents import (
    CloseCause,
    HandshakeError,
    HandshakeRejected,
    Headers,
    Request,
    Response,
    WebSocket,
    __version__,
    accept,
    connect,
    open_server,
)


async def leave(ws: WebSocket) -> None:
    """Be a server's handler that has nothing to do."""


class Site:
    """A server that redirects by path, and remembers what it was asked for.

    Attributes:
        places: where each path leads, with the status; others are upgraded.
        requests: every request, in order.
    """

    def __init__(self, **places: tuple[int, str]) -> None:
        self.places = {f"/{path}": place for path, place in places.items()}
        self.requests: list[Request] = []

    def answer(self, request: Request) -> Response | None:
        self.requests.append(request)
        if request.path not in self.places:
            return None
        status, location = self.places[request.path]
        return Response(status, {"Location": location} if location else {}, "elsewhere")


# -- redirects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed(status: int) -> None:
    """Relative or not, with the scheme of HTTP or of WebSocket; headers and subprotocols go along."""
    site = Site(a=(status, "b?x=1"), b=(status, "/c#top"), c=(status, "//{host}/d"), d=(status, "http://{host}/e"))
    site.places["/e"] = (status, "ws://{host}/f")
    async with nothing_left(), open_server(leave, HOST, 0, process_request=site.answer, subprotocols=["v1"]) as server:
        host = f"{HOST}:{server.port}"
        site.places = {path: (status, place.format(host=host)) for path, (_, place) in site.places.items()}
        options: dict[str, Any] = {"headers": {"X-Mine": "1", "Cookie": "a=b"}, "auth": ("ada", "secret")}
        async with connect(f"ws://{host}/a", subprotocols=["v1"], origin="http://o", **options) as ws:
            assert ws.request.target == "/f"
            assert ws.subprotocol == "v1"
    assert [each.target for each in site.requests] == ["/a", "/b?x=1", "/c", "/d", "/e", "/f"]
    for request in site.requests:
        assert request.headers["x-mine"] == "1"
        assert request.headers["cookie"] == "a=b"
        assert request.headers["origin"] == "http://o"
        assert request.headers["authorization"].startswith("Basic ")
        assert request.headers["host"] == host
    assert len({request.headers["sec-websocket-key"] for request in site.requests}) == 6


async def test_redirect_to_another_origin_takes_no_credentials_along() -> None:
    """Another port is another origin (RFC 6454). Who comes back has none either: a stranger has chosen the path."""
    here, there = Site(), Site()
    async with open_server(leave, HOST, 0, process_request=here.answer) as server:
        async with open_server(leave, HOST, 0, process_request=there.answer) as other:
            here.places["/"] = (302, f"ws://thief:s3cret@{HOST}:{other.port}/1")
            there.places["/1"] = (302, f"ws://{HOST}:{server.port}/back")
            here.places["/back"] = (302, "/and-on")
            headers = {"Cookie": "a=b", "Proxy-Authorization": "x", "Host": "example.com", "X-Mine": "1"}
            async with connect(f"ws://ada:secret@{HOST}:{server.port}", headers=headers):
                pass
    first, back, on = here.requests
    (foreign,) = there.requests
    assert {"cookie", "proxy-authorization", "authorization"} <= set(first.headers)
    assert first.headers["host"] == "example.com"
    for request, port in ((foreign, other.port), (back, server.port), (on, server.port)):
        assert not {"cookie", "proxy-authorization", "authorization"} & set(request.headers)
        assert request.headers["host"] == f"{HOST}:{port}"
        assert request.headers["x-mine"] == "1"


@pytest.mark.parametrize("most", [0, 1, 10])
async def test_redirects_without_end_are_cut(most: int) -> None:
    """The answer that was one too many is there to be read."""
    site = Site(loop=(302, "/loop"))
    async with nothing_left(), open_server(leave, HOST, 0, process_request=site.answer) as server:
        with pytest.raises(HandshakeRejected, match="302 Found") as caught:
            async with connect(f"ws://{HOST}:{server.port}/loop", max_redirects=most):
                pytest.fail("opened")
    assert len(site.requests) == most + 1
    assert caught.value.response is not None
    assert caught.value.response.status == 302
    assert (f"max_redirects is {most}" in str(caught.value)) == (most > 0)
    assert caught.value.close_event.cause is CloseCause.REJECTED


async def test_redirect_from_tls_to_none_is_not_followed(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """What was to be secret stays so; the other way is followed."""
    site, plain = Site(), Site()
    async with open_server(leave, HOST, 0, process_request=plain.answer) as other:
        async with open_server(leave, HOST, 0, process_request=site.answer, ssl_context=server_ssl_context) as server:
            site.places["/down"] = (302, f"http://{HOST}:{other.port}/")
            plain.places["/up"] = (302, f"https://{HOST}:{server.port}/")
            with pytest.raises(HandshakeRejected, match=f"to ws://{HOST}:{other.port}/, .* it has no TLS"):
                async with connect(f"wss://{HOST}:{server.port}/down", ssl_context=client_ssl_context):
                    pytest.fail("opened")
            assert not plain.requests
            with pytest.raises(HandshakeError, match=f"redirected to wss://{HOST}:{server.port}/: .*certificate"):
                async with connect(f"ws://{HOST}:{other.port}/up"):
                    pytest.fail("opened")


@pytest.mark.parametrize("location", ["mailto:ada@example.com", "http://[", "ws://a:0/", "ftp://a/"])
async def test_redirect_to_nowhere_is_told(location: str) -> None:
    """With what is wrong about it."""
    site = Site(a=(302, location))
    async with open_server(leave, HOST, 0, process_request=site.answer) as server:
        with pytest.raises(HandshakeRejected, match="302 Found, which leads nowhere: "):
            async with connect(f"ws://{HOST}:{server.port}/a"):
                pytest.fail("opened")


@pytest.mark.parametrize(("status", "location"), [(302, ""), (300, "/b"), (304, "/b"), (404, "/b")])
async def test_answer_that_only_looks_like_a_redirect_is_a_rejection(status: int, location: str) -> None:
    """One without a place, or with another status."""
    site = Site(a=(status, location))
    async with open_server(leave, HOST, 0, process_request=site.answer) as server:
        with pytest.raises(HandshakeRejected, match=str(status)):
            async with connect(f"ws://{HOST}:{server.port}/a"):
                pytest.fail("opened")
    assert len(site.requests) == 1


async def test_redirects_share_one_open_timeout() -> None:
    """However many they are."""

    async def answer(_: Request) -> Response:
        await trio.sleep(0.1)
        return Response(302, {"Location": "/"})

    async with nothing_left(), open_server(leave, HOST, 0, process_request=answer) as server:
        with pytest.raises(HandshakeError, match="open_timeout passed"):
            async with connect(f"ws://{HOST}:{server.port}", max_redirects=100, open_timeout=0.5):
                pytest.fail("opened")


# -- other ways to the server ------------------------------------------------------------------------------------------


async def test_address_replaces_the_host_of_the_url(wire: Wire) -> None:
    """Host header and certificate are still those of the URL."""
    async with open_server(leave, HOST, 0, ssl_context=wire.server_ssl_context) as server:
        url = f"{'wss' if wire.secure else 'ws'}://localhost:99/"
        async with connect(url, address=(HOST, server.port), ssl_context=wire.client_ssl_context) as ws:
            assert ws.request.headers["host"] == "localhost:99"
            assert ws.remote_address == (HOST, server.port)


async def test_address_may_be_a_unix_socket(tmp_path: Path, wire: Wire) -> None:
    """With TLS or without."""
    path = tmp_path / "socket"
    requests: list[Request] = []
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(str(path))
    listening.listen()

    async def serve() -> None:
        stream = trio.SocketStream((await listening.accept())[0])
        async with accept(stream, ssl_context=wire.server_ssl_context) as ws:
            requests.append(ws.request)
            await ws.wait_closed()

    async with nothing_left(), trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        url = f"{'wss' if wire.secure else 'ws'}://localhost/chat"
        async with connect(url, address=path, ssl_context=wire.client_ssl_context) as ws:
            assert (ws.local_address, ws.remote_address) == ("", str(path))
    listening.close()
    assert [(each.target, each.headers["host"]) for each in requests] == [("/chat", "localhost")]


async def test_unix_socket_that_is_none_is_refused(tmp_path: Path) -> None:
    """As a port is on which nobody listens."""
    with pytest.raises(HandshakeError) as caught:
        async with connect("ws://localhost", address=str(tmp_path / "nothing")):
            pytest.fail("opened")
    assert caught.value.close_event.cause is CloseCause.REFUSED
    assert isinstance(caught.value.__cause__, FileNotFoundError)


async def test_host_that_is_given_as_a_path_is_told() -> None:
    """A `str` is a Unix socket, and who means a host gives a port too."""
    with pytest.raises(HandshakeError) as caught:
        async with connect("ws://example.org/", address="localhost"):
            pytest.fail("opened")
    words = "address 'localhost' is the path of a Unix socket, and there is none; for a host give (host, port)"
    assert str(caught.value) == f"no connection to ws://example.org/: {words}"


async def test_redirect_stays_at_a_given_address() -> None:
    """Within the origin it is followed there; to another one it is not."""
    site = Site(a=(302, "/b"), c=(302, "ws://example.com/"))
    async with open_server(leave, HOST, 0, process_request=site.answer) as server:
        async with connect("ws://example.org/a", address=(HOST, server.port)) as ws:
            assert ws.request.target == "/b"
        with pytest.raises(
            HandshakeRejected, match=r"to ws://example.com/, .* address was given for ws://example.org/c"
        ):
            async with connect("ws://example.org/c", address=(HOST, server.port)):
                pytest.fail("opened")


async def test_redirect_of_a_given_stream_is_a_rejection() -> None:
    """There is no second stream."""
    site = Site(a=(302, "/b"))
    async with open_server(leave, HOST, 0, process_request=site.answer) as server:
        stream = await trio.open_tcp_stream(HOST, server.port)
        with pytest.raises(HandshakeRejected, match="302 Found"):
            async with connect("ws://example.org/a", stream=stream):
                pytest.fail("opened")


async def test_certificate_may_have_another_name(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """`server_hostname` is what it must have, and what the server is told."""
    async with open_server(leave, HOST, 0, ssl_context=server_ssl_context) as server:
        url = "wss://elsewhere.example/"
        options: dict[str, Any] = {"address": (HOST, server.port), "ssl_context": client_ssl_context}
        async with connect(url, server_hostname="localhost", **options) as ws:
            assert ws.request.headers["host"] == "elsewhere.example"
        with pytest.raises(HandshakeError, match="elsewhere") as caught:
            async with connect(url, **options):
                pytest.fail("opened")
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("userinfo", "auth"),
    [("ada:secret@", ("ada", "secret")), ("a%40b:c%3Ad%20%E2%82%AC@", ("a@b", "c:d \u20ac")), ("ada@", ("ada", ""))],
)
async def test_credentials_of_the_url_are_sent_and_not_shown(userinfo: str, auth: tuple[str, str]) -> None:
    """RFC 7617, in UTF-8; the same as by argument."""
    site = Site()
    async with open_server(leave, HOST, 0, process_request=site.answer) as server:
        connecting = connect(f"ws://{userinfo}{HOST}:{server.port}/")
        assert userinfo not in repr(connecting)
        async with connecting:
            pass
        async with connect(f"ws://{HOST}:{server.port}/", auth=auth):
            pass
    value = f"Basic {b64encode(':'.join(auth).encode()).decode()}"
    assert [each.headers["authorization"] for each in site.requests] == [value, value]


async def test_user_agent_tells_who_we_are_or_does_not() -> None:
    """By default with the version; never twice."""
    site = Site()
    async with open_server(leave, HOST, 0, process_request=site.answer) as server:
        url = f"ws://{HOST}:{server.port}"
        variants: list[dict[str, Any]] = [
            {},
            {"user_agent": "mine"},
            {"user_agent": None},
            {"headers": {"User-Agent": "own"}},
        ]
        for options in variants:
            async with connect(url, **options):
                pass
    agents = [each.headers.get("user-agent") for each in site.requests]
    assert agents == [f"trio-closeevents/{__version__}", "mine", None, "own"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"auth": "ada:secret"}, TypeError, "auth must be a tuple of user name and password"),
        ({"auth": ("ada",)}, TypeError, "auth must be a tuple"),
        ({"auth": ("a:b", "secret")}, ValueError, "has no colon"),
        ({"auth": ("a", "se\ncret")}, ValueError, "no control characters"),
        ({"auth": ("a", "secret"), "headers": {"Authorization": "x"}}, ValueError, "either as auth"),
        ({"max_redirects": -1}, ValueError, "not be negative, not -1"),
        ({"max_redirects": True}, TypeError, "must be an int, not bool"),
        ({"address": 5}, TypeError, r"address must be \(host, port\) or the path of a Unix socket, not 5"),
        ({"address": ("a", "80")}, TypeError, "address must be"),
        ({"address": ("a", 0)}, ValueError, "out of the range 1-65535"),
        ({"address": ("", 80)}, ValueError, "has a host that is none: it is empty"),
        ({"address": ("a..b", 80)}, ValueError, "has a host that is none"),
        ({"address": ("a b", 80)}, ValueError, "no domain name has the character ' '"),
        ({"address": ("::x", 80)}, ValueError, "has a host that is none"),
        ({"url": "ws://u:secret/x@h/"}, ValueError, r"URL 'ws:...@h/' is malformed"),
        ({"headers": {"Authorization": "Bearer secret\n"}}, ValueError, "header Authorization: '...' has"),
        ({"server_hostname": "a"}, ValueError, "goes with wss:"),
        ({"server_hostname": 5, "url": "wss://a"}, TypeError, "server_hostname must be a str, not int: 5"),
        ({"user_agent": "a\nb"}, ValueError, "user-agent|User-Agent"),
        ({"proxy_ssl_context": 5}, TypeError, "proxy_ssl_context must be an ssl.SSLContext, not int"),
        ({"url": "ws://ada:secret@a", "auth": ("b", "c")}, ValueError, r"either as auth=... or in the URL"),
        ({"url": "ws://ada:secret@a:0"}, ValueError, "port 0"),
        ({"url": "ws://ada:secret@"}, ValueError, "no host"),
    ],
)
def test_bad_argument_is_refused_at_the_call(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """Nothing was sent, and no password is shown."""
    with pytest.raises(error, match=words) as caught:
        connect(options.pop("url", "ws://a"), **options)
    assert "secret" not in str(caught.value)


async def test_stream_and_address_exclude_each_other() -> None:
    """There is one way to a server."""
    ours, _ = trio.testing.memory_stream_pair()
    with pytest.raises(ValueError, match="either stream or address"):
        connect("ws://a", stream=ours, address=("a", 1))


async def test_redirect_to_another_origin_does_not_use_the_given_context(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """A stranger sees no certificate of ours, and has to have one that everybody trusts."""
    site = Site()
    async with open_server(leave, HOST, 0, process_request=site.answer, ssl_context=server_ssl_context) as server:
        site.places["/"] = (302, f"https://localhost:{server.port}/there")
        with pytest.raises(HandshakeError, match=r"redirected to wss://localhost:\d+/there: .*certificate"):
            async with connect(f"wss://{HOST}:{server.port}", ssl_context=client_ssl_context):
                pytest.fail("opened")


async def test_redirect_into_the_arms_of_a_bad_proxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has one for the other scheme only."""
    monkeypatch.setenv("https_proxy", "ftp://u:secret@x")
    site = Site(a=(302, "https://elsewhere.example/"))
    async with open_server(leave, HOST, 0, process_request=site.answer) as server:
        with pytest.raises(HandshakeRejected, match="cannot be reached: the environment's https_proxy") as caught:
            async with connect(f"ws://{HOST}:{server.port}/a"):
                pytest.fail("opened")
    assert "secret" not in str(caught.value)


async def test_address_may_be_an_ipv6_address() -> None:
    """Without brackets."""
    async with open_server(leave, "::1", 0) as server:
        async with connect("ws://localhost", address=("::1", server.port)) as ws:
            assert ws.remote_address[0] == "::1"


def test_what_is_private_is_not_shown() -> None:
    """Not by a request either."""
    fields = {"Authorization": "Basic secret", "Cookie": "a=secret", "X-Mine": "1"}
    shown = repr(Request("/", Headers(fields)))
    assert "secret" not in shown
    assert "('X-Mine', '1')" in shown


async def test_redirect_to_another_origin_wants_the_name_of_that_one(
    authority: trustme.CA,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    certificate_files: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`server_hostname` is that of the first server only."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_files.authority))  # so that everybody trusts it
    named = server_context(authority.issue_cert("localhost"), ssl.TLSVersion.TLSv1_3)
    site = Site()
    async with open_server(leave, HOST, 0, ssl_context=named) as other:
        async with open_server(leave, HOST, 0, process_request=site.answer, ssl_context=server_ssl_context) as server:
            site.places["/"] = (302, f"https://localhost:{other.port}/")
            options: dict[str, Any] = {"ssl_context": client_ssl_context, "server_hostname": HOST}
            async with connect(f"wss://{HOST}:{server.port}", **options) as ws:
                assert ws.request.headers["host"] == f"localhost:{other.port}"


async def test_given_tls_stream_is_not_secured_twice(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """It is what `wss:` asks for."""

    async def greet(ws: WebSocket) -> None:
        await ws.send("hello")

    async with open_server(greet, HOST, 0, ssl_context=server_ssl_context) as server:
        stream = trio.SSLStream(await trio.open_tcp_stream(HOST, server.port), client_ssl_context, server_hostname=HOST)
        async with connect(f"wss://{HOST}:{server.port}", stream=stream) as ws:
            assert await ws.receive() == "hello"
