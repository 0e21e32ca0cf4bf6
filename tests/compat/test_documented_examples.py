"""What the documentation of trio-websocket shows, as programs of our own that change one import.

A test is named after the page and the example that it stands for: pages `README`, `docs/*.rst` and `examples/` of
trio-websocket. `examples/client.html` is left out, which is no program for Python. Each runs with trio-websocket too: a
test that does not pass there would say nothing.

The pages about limits and time are in `test_documented_timeouts.py`, `docs/api.rst` is in `test_documented_api.py`.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_closeevents.testing import TEXT, ScriptedPeer

from .documented import HOST, PATIENCE, Handler, echo_of, heartbeat, refused_url, served, url_of

# -- README.md ---------------------------------------------------------------------------------------------------------


async def test_readme_client_example(trio_websocket: Any) -> None:
    """A message, and its answer; leaving the block closes the connection."""
    async with served(trio_websocket, echo_of(trio_websocket)) as server:
        async with trio_websocket.open_websocket_url(url_of(server)) as ws:
            await ws.send_message("hello world")
            assert await ws.get_message() == "hello world"
        assert ws.closed.code == 1000


async def test_readme_client_example_fails_to_connect(trio_websocket: Any) -> None:
    """A HandshakeError, which the error of the operating system is the cause of."""
    with pytest.raises(trio_websocket.HandshakeError) as caught:
        async with trio_websocket.open_websocket_url(await refused_url()):
            raise AssertionError("nobody listens")
    assert isinstance(caught.value.__cause__, OSError)


async def test_readme_server_example(trio_websocket: Any) -> None:
    """Each client has its own handler, and text and bytes come back as they were."""
    async with served(trio_websocket, echo_of(trio_websocket)) as server:
        open_client = partial(trio_websocket.open_websocket_url, url_of(server))
        async with open_client() as first, open_client() as second:
            await first.send_message("text")
            await second.send_message(b"bytes")
            assert await first.get_message() == "text"
            assert await second.get_message() == b"bytes"


# -- docs/getting_started.rst ------------------------------------------------------------------------------------------


async def test_getting_started_client_tutorial(
    trio_websocket: Any, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """`wss:`, and a path."""
    paths: list[str] = []

    async def handler(request: Any) -> None:
        paths.append(request.path)
        await echo_of(trio_websocket)(request)

    async with served(trio_websocket, handler, ssl_context=server_ssl_context) as server:
        url = url_of(server, "/foo", "wss")
        async with trio_websocket.open_websocket_url(url, ssl_context=client_ssl_context) as ws:
            await ws.send_message("hello")
            assert await ws.get_message() == "hello"
            assert ws.remote.is_ssl
    assert paths == ["/foo"]


async def test_getting_started_server_tutorial(trio_websocket: Any) -> None:
    """The handler sees that the client has closed, by an exception that says how."""
    reasons: list[Any] = []

    async def echo(request: Any) -> None:
        ws = await request.accept()
        try:
            while True:
                await ws.send_message(await ws.get_message())
        except trio_websocket.ConnectionClosed as closed:
            reasons.append(closed.reason)

    async with served(trio_websocket, echo) as server:
        async with trio_websocket.open_websocket_url(url_of(server)) as ws:
            await ws.send_message("hello")
            assert await ws.get_message() == "hello"
            await ws.aclose(4000, "bye")
        await trio.testing.wait_all_tasks_blocked()
    (reason,) = reasons
    assert (reason.code, reason.reason) == (4000, "bye")
    assert repr(reason) == "CloseReason<code=4000, name=PRIVATE_RESERVED, reason=bye>"


# -- docs/clients.rst --------------------------------------------------------------------------------------------------


async def test_clients_creating_a_client_by_host(trio_websocket: Any) -> None:
    """`open_websocket` has the parts of a URL one by one."""
    async with served(trio_websocket, echo_of(trio_websocket)) as server:
        async with trio_websocket.open_websocket(HOST, server.port, "/path?query", use_ssl=False) as ws:
            assert (ws.is_client, ws.is_server) == (True, False)
            assert ws.path == "/path?query"
            await ws.send_message("hello")
            assert await ws.get_message() == "hello"


async def test_clients_creating_a_client_by_host_with_tls(
    trio_websocket: Any, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """`use_ssl` may be a context."""
    async with served(trio_websocket, echo_of(trio_websocket), ssl_context=server_ssl_context) as server:
        async with trio_websocket.open_websocket(HOST, server.port, "/", use_ssl=client_ssl_context) as ws:
            await ws.send_message("hello")
            assert await ws.get_message() == "hello"


def test_clients_creating_a_client_by_a_bad_url(trio_websocket: Any) -> None:
    """A ValueError, at the call."""
    for url, context in (
        ("http://localhost/", None),
        ("ws:///path", None),
        ("ws://localhost/", ssl.create_default_context()),
    ):
        with pytest.raises(ValueError, match=r"URL|SSL"):
            trio_websocket.open_websocket_url(url, context)


async def test_clients_creating_a_client_with_credentials(trio_websocket: Any) -> None:
    """User name and password in a URL are ignored; headers of one's own are not."""
    requests: list[dict[bytes, bytes]] = []

    async def handler(request: Any) -> None:
        requests.append(dict(request.headers))
        await request.accept()

    async with served(trio_websocket, handler) as server:
        url = f"ws://user:password@{HOST}:{server.port}/"
        async with trio_websocket.open_websocket_url(url):
            pass
        headers = [(b"Authorization", b"Bearer token")]
        async with trio_websocket.open_websocket_url(url, extra_headers=headers):
            pass
    first, second = requests
    assert b"authorization" not in first
    assert second[b"authorization"] == b"Bearer token"


@pytest.mark.parametrize("by", ["host", "URL"])
async def test_clients_custom_nursery(trio_websocket: Any, by: str) -> None:
    """The program closes the connection itself; its tasks run in a nursery of the program."""
    async with served(trio_websocket, echo_of(trio_websocket)) as server, trio.open_nursery() as nursery:
        if by == "host":
            connect = partial(trio_websocket.connect_websocket, nursery, HOST, server.port, "/", use_ssl=False)
        else:
            connect = partial(trio_websocket.connect_websocket_url, nursery, url_of(server))
        ws = await connect()
        assert nursery.child_tasks
        await ws.send_message("hello")
        assert await ws.get_message() == "hello"
        await ws.aclose()
        assert ws.closed.code == 1000


async def test_clients_custom_nursery_may_be_entered(trio_websocket: Any) -> None:
    """A connection is an `AsyncResource`: `async with` closes it with 1000."""
    async with served(trio_websocket, echo_of(trio_websocket)) as server, trio.open_nursery() as nursery:
        async with await trio_websocket.connect_websocket_url(nursery, url_of(server)) as ws:
            await ws.send_message("hello")
            assert await ws.get_message() == "hello"
        assert ws.closed.code == 1000


async def test_clients_custom_stream(trio_websocket: Any, autojump_clock: MockClock) -> None:
    """Any stream will do; host and resource go into the request."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=False)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.open)
            ws = await trio_websocket.wrap_client_stream(nursery, ours, "example.org", "/chat")
            assert peer.request.startswith(b"GET /chat HTTP/1.1\r\n")
            assert b"example.org" in peer.request
            assert isinstance(ws.remote, str)
            await peer.send(peer.frame(TEXT, b"hello"))
            assert await ws.get_message() == "hello"
            nursery.start_soon(peer.be_polite)
            await ws.aclose()
    assert peer.record == ["Close 1000", "FIN"]


# -- docs/servers.rst --------------------------------------------------------------------------------------------------


async def test_servers_creating_a_server(trio_websocket: Any) -> None:
    """`nursery.start` tells where it listens."""

    async def handler(request: Any) -> None:
        ws = await request.accept()
        assert (ws.is_client, ws.is_server, ws.path) == (False, True, "/path")
        await ws.send_message(str(ws.remote))

    async with served(trio_websocket, handler) as server:
        (listener,) = server.listeners
        assert isinstance(listener, trio_websocket.Endpoint)
        assert (str(listener.address), listener.port, listener.is_ssl) == (HOST, server.port, False)
        assert listener.url == f"ws://{HOST}:{server.port}"
        async with trio_websocket.open_websocket_url(url_of(server, "/path")) as ws:
            assert await ws.get_message() == str(ws.local)


async def test_servers_handler_returns(trio_websocket: Any) -> None:
    """The server closes the connection with 1000."""

    async def handler(request: Any) -> None:
        await request.accept()

    async with served(trio_websocket, handler) as server:
        async with trio_websocket.open_websocket_url(url_of(server)) as ws:
            with pytest.raises(trio_websocket.ConnectionClosed) as caught:
                await ws.get_message()
    assert caught.value.reason.code == 1000


async def test_servers_serving_arbitrary_stream(trio_websocket: Any, autojump_clock: MockClock) -> None:
    """A request over any stream; the client of another library would do."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=True)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.open)
            request = await trio_websocket.wrap_server_stream(nursery, ours)
            assert request.path == "/"
            ws = await request.accept()
            await ws.send_message("hello")
            await peer.send(peer.frame(TEXT, b"hello yourself"))
            assert await ws.get_message() == "hello yourself"
            nursery.start_soon(peer.be_polite)
            await ws.aclose()
    assert peer.record == ["Text b'hello'", "Close 1000", "FIN"]


async def test_servers_both_ends_of_a_stream(trio_websocket: Any, autojump_clock: MockClock) -> None:
    """A client and a server of the package, in memory."""
    for_client, for_server = trio.testing.memory_stream_pair()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                request = await trio_websocket.wrap_server_stream(nursery, for_server)
                await (await request.accept()).send_message("hello")

            nursery.start_soon(serve)
            client = await trio_websocket.wrap_client_stream(nursery, for_client, "localhost", "/")
            assert await client.get_message() == "hello"
            await client.aclose(1001, "bye")
    assert client.closed.code == 1001


# -- examples/ ---------------------------------------------------------------------------------------------------------


def reversing(trio_websocket: Any) -> Handler:
    """Return the handler of examples/server.py: it sends back every message, from its end to its beginning."""

    async def handler(request: Any) -> None:
        ws = await request.accept()
        while True:
            try:
                message = await ws.get_message()
                await ws.send_message(message[::-1])
            except trio_websocket.ConnectionClosed:
                break

    return handler


async def play_client(trio_websocket: Any, ws: Any, commands: list[str], *, beat: bool = False) -> list[str]:
    """Be examples/client.py, with *commands* in place of a prompt, and return what it prints."""
    printed: list[str] = []

    async def obey() -> None:
        for command in commands:
            word, _, rest = command.partition(" ")
            match word:
                case "ping":
                    await ws.ping(rest.encode() or None)
                case "send":
                    await ws.send_message(rest)
                case "close":
                    await ws.aclose(code=1000, reason=rest or None)
                    break
                case _:
                    raise AssertionError(f"there is no {command}")
            await trio.sleep(0.25)

    async def print_messages() -> None:
        while True:
            printed.append(await ws.get_message())

    try:
        async with trio.open_nursery() as nursery:
            if beat:
                nursery.start_soon(heartbeat, ws, 1, 15)
            nursery.start_soon(obey)
            nursery.start_soon(print_messages)
    except* trio_websocket.ConnectionClosed:
        printed.append(f"closed: {ws.closed.code}/{ws.closed.name} {ws.closed.reason or '<no reason>'}")
    return printed


@pytest.mark.parametrize("beat", [False, True])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_examples_client_and_server(
    trio_websocket: Any,
    clock: MockClock,
    scheme: str,
    beat: bool,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    """The two of them, with TLS and without, with a heartbeat and without."""
    contexts = (None, None) if scheme == "ws" else (server_ssl_context, client_ssl_context)
    async with served(trio_websocket, reversing(trio_websocket), ssl_context=contexts[0]) as server:
        async with trio_websocket.open_websocket_url(url_of(server, "/", scheme), contexts[1]) as ws:
            commands = ["ping", "ping payload", "send hello", "send there", "close enough"]
            printed = await play_client(trio_websocket, ws, commands, beat=beat)
    assert printed[:2] == ["olleh", "ereht"]
    assert printed[2].startswith("closed: 1000/NORMAL_CLOSURE ")  # a reason would be the peer's, for which nobody waits


async def test_examples_client_of_a_server_that_closes(trio_websocket: Any, clock: MockClock) -> None:
    """It says with what code and why."""

    async def handler(request: Any) -> None:
        ws = await request.accept()
        await ws.get_message()
        await ws.aclose(1012, "back soon")

    async with served(trio_websocket, handler) as server:
        async with trio_websocket.open_websocket_url(url_of(server)) as ws:
            printed = await play_client(trio_websocket, ws, ["send hello", "send are you there?"])
    assert printed == ["closed: 1012/SERVICE_RESTART back soon"]


async def test_examples_server_on_listeners_of_its_own(trio_websocket: Any) -> None:
    """`WebSocketServer`, with listeners that the program has opened."""
    with trio.fail_after(PATIENCE):
        listeners = await trio.open_tcp_listeners(0, host=HOST)
        server = trio_websocket.WebSocketServer(reversing(trio_websocket), listeners)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            async with trio_websocket.open_websocket_url(url_of(server)) as ws:
                await ws.send_message(b"123")
                assert await ws.get_message() == b"321"
            nursery.cancel_scope.cancel()
