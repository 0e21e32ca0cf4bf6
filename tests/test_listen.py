"""Where a server listens: several places, Unix sockets, sockets that were given, ports that are shared."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from nasty import nothing_left
from tls import HOST

from trio_closeevents import Listen, WebSocket, connect, inherited_sockets, open_server, serve


async def tell(ws: WebSocket) -> None:
    """Be a handler that says where it was reached."""
    await ws.send(str(ws.local_address))
    await ws.wait_closed()


async def test_server_listens_in_several_places(
    tmp_path: Path, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """Each with TLS or without; one `aclose` ends them all."""
    path = tmp_path / "socket"
    places = [Listen((HOST, 0), ssl_context=server_ssl_context), Listen(path), Listen(("::1", 0), backlog=5)]
    async with nothing_left(), open_server(tell, HOST, 0, listen=places) as server:
        plain, secured, unix, other = server.addresses
        assert server.port == plain[1]
        assert unix == str(path)
        assert repr(server) == f"<Server at {plain[1]}, {secured[1]}, {path}, {other[1]}, 0 connections, open>"
        async with connect(f"ws://{HOST}:{plain[1]}") as ws:
            assert await ws.receive() == str(plain)
        async with connect(f"wss://{HOST}:{secured[1]}", ssl_context=client_ssl_context) as ws:
            assert await ws.receive() == str(secured)
        async with connect("ws://localhost", address=path) as ws:
            assert await ws.receive() == str(path)
            assert len(server.connections) == 1
            await server.aclose(1012)
            assert (await ws.wait_closed()).code == 1012
    assert not path.exists()


async def test_server_without_a_port() -> None:
    """There is none to tell; `serve` takes the same."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("")  # in the abstract namespace, by the system's choice
    sock.listen()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(lambda **more: serve(tell, listen=[Listen(sock)], **more))
        with pytest.raises(LookupError, match="listens on no TCP port"):
            _ = server.port
        assert server.addresses == (sock.getsockname(),)
        await server.aclose()


async def test_given_sockets_are_served_and_closed() -> None:
    """A listening socket of the standard library, or trio's listener."""
    sock = socket.create_server((HOST, 0))
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    ports = [sock.getsockname()[1], listener.socket.getsockname()[1]]
    async with open_server(tell, listen=[Listen(sock), Listen(listener)]) as server:
        assert server.port == ports[0]
        for port in ports:
            async with connect(f"ws://{HOST}:{port}") as ws:
                assert await ws.receive() == str((HOST, port))
    assert listener.socket.fileno() == -1
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream(HOST, ports[0])


async def test_unix_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    """One that is in use is not, nor a file that is no socket; and what replaces ours is left alone."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with open_server(tell, listen=[Listen(path)]):
        with pytest.raises(OSError, match="in use"):
            async with open_server(tell, listen=[Listen(path)]):
                pytest.fail("opened")
        async with connect("ws://localhost", address=path):
            pass
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"
    with pytest.raises(OSError, match="in use"):
        async with open_server(tell, listen=[Listen(path)]):
            pytest.fail("opened")


async def test_unix_socket_that_somebody_has_removed_is_no_trouble(tmp_path: Path) -> None:
    """The server ends as always."""
    path = tmp_path / "socket"
    async with open_server(tell, listen=[Listen(str(path))]):
        path.unlink()


async def test_busy_unix_socket_is_not_taken_for_abandoned(tmp_path: Path) -> None:
    """Its owner has not accepted for a while, and its queue is full."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(OSError, match="in use"):
            async with open_server(tell, listen=[Listen(path)]):
                pytest.fail("opened")


async def test_all_places_or_none(tmp_path: Path) -> None:
    """When one cannot be listened on, nothing is left of the others."""
    path = tmp_path / "socket"
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        for reuse_port in (False, True):
            with pytest.raises(OSError, match="in use"):
                async with open_server(tell, listen=[Listen(path), Listen((HOST, port), reuse_port=reuse_port)]):
                    pytest.fail("opened")
            assert not path.exists()


@pytest.mark.parametrize("host", [HOST, "::1", "localhost", None])
async def test_port_can_be_shared_by_processes(host: str | None) -> None:
    """Two servers, one port; every address of the host has the same one."""
    place = Listen((host, 0), reuse_port=True, backlog=100)
    async with open_server(tell, listen=[place]) as server:
        assert {address[1] for address in server.addresses} == {server.port}
        async with open_server(tell, listen=[Listen((host, server.port), reuse_port=True)]) as other:
            assert other.port == server.port
            counts = [0, 0]
            for _ in range(64):
                async with connect("ws://localhost", address=(host or HOST, server.port)) as ws:
                    await ws.receive()
                    counts[0] += len(server.connections)
                    counts[1] += len(other.connections)
    assert sum(counts) >= 64
    assert min(counts) > 0


ACTIVATED = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
import trio_closeevents
sockets = trio_closeevents.inherited_sockets()
print([each.getsockname()[1] for each in sockets])
"""


def test_sockets_of_the_system_are_inherited() -> None:
    """As systemd hands them over: from descriptor 3 on."""
    with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as two:
        ports = [each.getsockname()[1] for each in (one, two)]

        def place() -> None:
            for number, each in enumerate((os.dup(one.fileno()), os.dup(two.fileno()))):
                os.dup2(each, 3 + number)

        done = subprocess.run(
            [sys.executable, "-c", ACTIVATED],
            env={**os.environ, "LISTEN_FDS": "2"},
            close_fds=False,
            preexec_fn=place,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.split("\n")[0] == str(ports)


@pytest.mark.parametrize("variables", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}])
def test_sockets_for_somebody_else_are_left_alone(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the parent, for example, whose environment this process has."""
    for name in ("LISTEN_PID", "LISTEN_FDS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert inherited_sockets() == []


def test_inherited_sockets_may_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this process, and none at all."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert inherited_sockets() == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"address": ""}, ValueError, "not empty"),
        ({"address": 5}, TypeError, r"cannot listen on 5: use \(host, port\), a path, or a socket"),
        ({"address": (1, 2, 3)}, TypeError, "an address is a host and a port"),
        ({"address": ("a", "80")}, TypeError, "port must be an int, not str: '80'"),
        ({"address": ("a", 65536)}, ValueError, "port 65536 is out of the range 0-65535"),
        ({"address": ("", 80)}, ValueError, "host must not be empty: use None to listen on every address"),
        ({"address": (5, 80)}, TypeError, "host must be a str or None, not int: 5"),
        ({"address": "p", "ssl_context": 5}, TypeError, "ssl_context must be an ssl.SSLContext"),
        ({"address": "p", "backlog": "5"}, TypeError, "backlog must be an int or None, not str: '5'"),
        ({"address": "p", "reuse_port": True}, ValueError, "reuse_port goes with a host and a port"),
    ],
)
def test_place_that_cannot_be_is_refused(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    """When it is made."""
    with pytest.raises(error, match=words):
        Listen(**arguments)


def test_shared_port_needs_a_system_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has none."""
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(ValueError, match="no SO_REUSEPORT"):
        Listen((HOST, 0), reuse_port=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "where to listen"),
        ({"host": HOST}, "go with a port"),
        (
            {"listen": ["/path"]},
            r"listen must be a list of Listen\(...\), and '/path' is none: write Listen\('/path'\)",
        ),
        ({"listen": "/path"}, r"'/path' is none: write \[Listen\('/path'\)\]"),
        ({"listen": [(HOST, 0)]}, r"write Listen\(\('127.0.0.1', 0\)\)"),
    ],
)
def test_server_that_listens_nowhere_is_refused_at_the_call(arguments: dict[str, Any], words: str) -> None:
    """The text names the way out."""
    with pytest.raises(TypeError, match=words):
        open_server(tell, **arguments)


def test_empty_host_of_a_server_is_refused_at_the_call() -> None:
    """Which is everywhere for some and nowhere for others: `None` is clear."""
    with pytest.raises(ValueError, match="host must not be empty: use None"):
        open_server(tell, "", 0)


async def test_name_in_the_abstract_namespace_is_no_file() -> None:
    """There is nothing to remove, before or after."""
    name = f"\0trio-closeevents-{os.getpid()}"
    async with open_server(tell, listen=[Listen(name)]) as server:
        assert server.addresses == (name.encode(),)
        async with connect("ws://localhost", address=name):
            pass
