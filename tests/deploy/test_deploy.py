"""HAProxy and nginx, with the configurations of the documentation, before real servers."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from tls import CertificateFiles

from trio_closeevents import HandshakeRejected, WebSocket, connect

from .front import FOLDER, FRONTS, HOST, ROOT, Backend, free_ports, missing, proxy
from .rolling import roll


@pytest.fixture(params=FRONTS)
def front(request: pytest.FixtureRequest) -> str:
    """The name of a proxy that can run here."""
    name: str = request.param
    if (reason := missing(name)) is not None:
        pytest.skip(reason)
    return name


@asynccontextmanager
async def site(name: str, folder: Path, files: CertificateFiles, **options: Any) -> AsyncGenerator[tuple[str, Backend]]:
    """Run a proxy before one server and a dead one; hand out the URL, and the server."""
    ports = free_ports(2)
    async with trio.open_nursery() as nursery:
        backend = Backend(nursery, name, ports[0], folder / "journal")
        await backend.start()
        async with proxy(name, folder, files.server, ports, **options) as port:
            yield f"wss://localhost:{port}", backend
        await backend.stop()


@pytest.fixture
def options(client_ssl_context: ssl.SSLContext) -> dict[str, Any]:
    """What every client needs."""
    return {"ssl_context": client_ssl_context}


async def test_server_sees_where_clients_come_from(
    front: str, tmp_path: Path, certificate_files: CertificateFiles, options: dict[str, Any]
) -> None:
    """And believes no client's own word: the headers of a liar change nothing."""
    lies = {"Forwarded": "for=6.6.6.6", "X-Forwarded-For": "6.6.6.6"}
    async with site(front, tmp_path, certificate_files) as (url, _):
        for source in ("127.0.0.9", "127.0.0.10"):  # strangers, since 127.0.0.1 is the proxy
            stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]), local_address=source)
            async with connect(f"{url}/where", stream=stream, headers=lies, **options) as ws:
                assert await ws.receive() == source


async def test_paths_and_health_check_go_through(
    front: str, tmp_path: Path, certificate_files: CertificateFiles, options: dict[str, Any]
) -> None:
    """On the same port, whichever server is dead."""
    async with site(front, tmp_path, certificate_files) as (url, _):
        for path, status in (("/health", 200), ("/nowhere", 404)):
            with pytest.raises(HandshakeRejected, match=str(status)) as caught:
                async with connect(url + path, **options):
                    pytest.fail("opened")
            assert caught.value.response is not None
            assert caught.value.response.status == status


@pytest.mark.parametrize("code", [1000, 4321])
async def test_close_goes_through_both_ways(
    code: int, front: str, tmp_path: Path, certificate_files: CertificateFiles, options: dict[str, Any]
) -> None:
    """Codes and reasons arrive as they were sent: the client's, and the server's 1012 at its restart."""
    async with site(front, tmp_path, certificate_files) as (url, backend):
        async with connect(url, **options) as ws:
            await ws.aclose(code, "bye")
        assert ws.close_event is not None
        assert (ws.close_event.code, ws.close_event.reason, ws.close_event.was_clean) == (code, "bye", True)
        async with connect(url, **options) as ws:
            await ws.send("1 1")
            assert await ws.receive() == "1 1 is safe"
            await backend.stop()
            event = await ws.wait_closed()
            assert (event.code, event.was_clean) == (1012, True)
            await backend.start()


async def test_silent_connection_is_cut_unless_there_are_pings(
    front: str, tmp_path: Path, certificate_files: CertificateFiles, options: dict[str, Any]
) -> None:
    """The proxy's limit counts what travels, pings too."""

    def impatient(text: str) -> str:
        return text.replace("timeout tunnel 60s", "timeout tunnel 2s").replace("timeout 60s;", "timeout 2s;")

    async with site(front, tmp_path, certificate_files, change=impatient) as (url, _):
        async with (
            connect(url, ping_interval=0.2, **options) as alive,
            connect(url, ping_interval=None, **options) as silent,
        ):
            event = await silent.wait_closed()
            assert event.code == 1006
            assert alive.close_event is None


async def test_rolling_restart_loses_nothing_that_was_acknowledged(
    front: str, tmp_path: Path, certificate_files: CertificateFiles, client_ssl_context: ssl.SSLContext
) -> None:
    """Every client sees 1012, and is back within its backoff; `python -m deploy` does the same with more of them."""
    with trio.fail_after(100):
        report = await roll(front, tmp_path, certificate_files.server, client_ssl_context, clients=20)
    assert report.lost == 0
    assert report.acknowledged > 20
    assert report.endings["1012"] >= 20
    assert set(report.endings) <= {"1012", "HTTP 502", "HTTP 503"}
    assert report.longest_beyond < 10


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="NOT RUN: systemd is not installed")
async def test_server_takes_the_socket_that_systemd_hands_over(tmp_path: Path) -> None:
    """It is started by the first connection, and ends on SIGTERM as always."""
    (port,) = free_ports(1)
    journal = tmp_path / "journal"
    program = [sys.executable, "-m", "examples.behind_proxy", "--journal", str(journal)]
    variables = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
    command = ["systemd-socket-activate", "-l", f"{HOST}:{port}", *variables, *program]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT)
        process: trio.Process = await nursery.start(run)
        async with connect_when_it_listens(port) as ws:
            await ws.send("1 1")
            assert await ws.receive() == "1 1 is safe"
            process.terminate()
            assert (await ws.wait_closed()).code == 1012
        assert await process.wait() == 0
    assert journal.read_text() == "1 1\n"


@asynccontextmanager
async def connect_when_it_listens(port: int) -> AsyncGenerator[WebSocket]:
    stream: trio.SocketStream | None = None
    while stream is None:
        with suppress(OSError):
            stream = await trio.open_tcp_stream(HOST, port)
        await trio.sleep(0.02)
    async with connect(f"ws://{HOST}:{port}", stream=stream) as ws:
        yield ws


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="NOT RUN: systemd is not installed")
def test_units_are_what_systemd_understands(tmp_path: Path) -> None:
    """Those of the documentation, except for a program that is there."""
    for name in ("app.service", "app.socket"):
        text = (FOLDER / name).read_text().replace("/usr/bin/python3", sys.executable)
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", *(str(tmp_path / name) for name in ("app.service", "app.socket"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "app." not in done.stderr
