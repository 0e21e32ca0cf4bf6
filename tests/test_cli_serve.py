"""`serve` and `bench`: echo and chat, the table and the log, and what is measured."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from ssl import SSLContext

import pytest
import trio
from cli_peers import echo, scripted, serving
from terminals import COMMAND, GIVE_UP, Terminal, environment, open_terminal, run
from tls import HOST, CertificateFiles

from trio_closeevents import RemoteClosed, WebSocket, connect
from trio_closeevents._cli.measuring import percentile
from trio_closeevents.testing import TEXT, ScriptedPeer

pytestmark = [pytest.mark.once, pytest.mark.measured]  # processes take their time, on every Python


class Running:
    """A server in a process of its own, and what it logs."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self.process = process
        self._stdout = process.stdout
        self._log = ""
        self.url = ""

    async def until(self, found: str) -> None:
        with trio.fail_after(20):
            while found not in self._log:
                data = await self._stdout.receive_some()
                assert data, f"{found!r} is not in\n{self._log}"
                self._log += data.decode()

    async def start(self) -> None:
        await self.until("\n")
        self.url = self._log.split()[-1]

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        with trio.fail_after(20):
            self._log += b"".join([data async for data in self._stdout]).decode()
            return await self.process.wait()

    @property
    def log(self) -> list[str]:
        """The lines without their time."""
        return [line.partition(" ")[2] for line in self._log.splitlines()]


@asynccontextmanager
async def running(*arguments: str) -> AsyncGenerator[Running]:
    process = await trio.lowlevel.open_process(
        [*COMMAND, "serve", "--port", "0", *arguments], stdout=subprocess.PIPE, env=environment({})
    )
    try:
        server = Running(process)
        await server.start()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


# -- the server ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serve_echoes_until_a_signal(number: signal.Signals) -> None:
    """Messages come back; SIGINT and SIGTERM close with 1001, and the status is 0. Lines tell of it."""
    async with running("--echo") as server:
        async with connect(f"{server.url}a%1bb") as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
            await websocket.send(b"\x00")
            assert await websocket.receive() == b"\x00"
            await server.until("#1 open")
            async with connect(server.url) as other:
                await other.send("")
                await other.receive()
            await server.until("#2 closed")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.stop, number)
                with pytest.raises(RemoteClosed):
                    await websocket.receive()
        assert websocket.close_event is not None
        assert (websocket.close_event.code, websocket.close_event.was_clean) == (1001, True)
        assert server.process.returncode == 0
    log = server.log
    assert log[0] == f"listening on {server.url}"
    assert log[1].startswith(f"#1 open    {HOST}:")
    assert log[1].endswith(" /a%1bb")
    assert log[3] == "#2 closed  1000 normal closure, the peer closed first: remote"
    assert log[4] == "#1 closed  1001 going away, after we sent 1001: cancelled"
    assert log[5] == "stopped"


async def test_serve_with_tls(certificate_files: CertificateFiles, client_ssl_context: SSLContext) -> None:
    """--tls-cert, with the key in the same file or in --tls-key."""
    for key in ([], ["--tls-key", str(certificate_files.server)]):
        async with running("--tls-cert", str(certificate_files.server), *key) as server:
            assert server.url.startswith("wss://")
            async with connect(server.url, ssl_context=client_ssl_context) as websocket:
                await websocket.send("secret")
                assert await websocket.receive() == "secret"
            assert await server.stop() == 0


async def test_serve_chat() -> None:
    """Everybody's messages go to everybody, with names; who comes and who goes is told. Bytes are not for a chat."""
    async with running("--chat") as server:
        async with connect(f"{server.url}?name=anna") as anna:
            assert await anna.receive() == "* welcome, anna; here: anna"
            async with connect(f"{server.url}?name=anna") as second, connect(server.url) as guest:
                assert await anna.receive() == "* anna-1 has come"
                assert await second.receive() == "* welcome, anna-1; here: anna, anna-1"
                assert [await anna.receive(), await second.receive()] == ["* guest-2 has come"] * 2
                await guest.receive()
                await guest.send("hello")
                for each in (anna, second, guest):
                    assert await each.receive() == "guest-2: hello"
                await second.send(b"bytes")
                event = await second.wait_closed()
                assert (event.code, event.reason) == (1003, "this chat is text")
                assert await anna.receive() == "* anna-1 has left: 1003"
                guest.abort()
            assert await anna.receive() == "* guest-2 has left: 1006"
            async with connect(f"{server.url}?name=%1b%5b2J%20{'x' * 100}") as hacker:
                await hacker.receive()
                told = await anna.receive()
                assert told == f"* \\x1b[2J {'x' * 23}… has come"
        assert await server.stop() == 0


@pytest.mark.once
async def test_serve_chat_does_not_wait_for_who_reads_nothing() -> None:
    """Somebody who takes no messages is closed with 1008, and the others talk on meanwhile."""
    async with running("--chat") as server:
        stream = await trio.open_tcp_stream(HOST, int(server.url.rstrip("/").rpartition(":")[2]))
        async with stream, connect(f"{server.url}?name=anna") as anna:
            await ScriptedPeer(stream, client=True).open()
            with trio.fail_after(GIVE_UP):
                told = ""
                while " has left" not in told:
                    await trio.sleep(0.02)
                    await anna.send("x" * 50_000)
                    while not (told := str(await anna.receive())).startswith(("anna", "* guest-1 has left")):
                        pass
        await server.until("#2 closed  1006 abnormal closure")  # it did not read the 1008 either
        assert await server.stop() == 0


async def test_serve_on_a_terminal_that_nobody_types_in() -> None:
    """stdin may be something else than the terminal."""
    shell = ["/bin/sh", "-c", f'exec {" ".join(COMMAND)} "$@" </dev/null', "sh"]
    async with open_terminal("serve", "--port", "0", command=shell) as terminal:
        await terminal.until("0 connections")
        terminal.process.send_signal(signal.SIGTERM)
        assert await terminal.wait() == 0


async def test_serve_on_a_terminal_shows_a_table() -> None:
    """A row for each connection, with what it carried; those that ended are lines above. Ctrl-C restores all."""
    async with open_terminal("serve", "--port", "0", columns=120) as terminal:
        await terminal.until("0 connections")
        url = next(line for line in terminal.lines if "listening" in line).split()[-1]
        async with connect(f"{url}some-path") as websocket:
            await websocket.send("hello")
            await websocket.receive()
            await terminal.until("1 connection")
            await terminal.until("/some-path")
            await terminal.until(lambda: row_of(terminal)[-4:] == ["1", "1", "5", "5"])
            await terminal.type("keys")
            await websocket.ping()
            await trio.sleep(0.5)
            assert "keys" not in terminal.text
        await terminal.until("#1 closed  1000 normal closure")
        await terminal.until("0 connections")
        await terminal.type("\x03")
        assert await terminal.wait() == 0
    assert terminal.last.endswith(" stopped")
    assert terminal.raw.count(b"\x1b[?25l") == terminal.raw.count(b"\x1b[?25h")


def row_of(terminal: Terminal) -> list[str]:
    """Return the last row of the table."""
    return terminal.last.split()


async def test_serve_shows_the_latest_if_there_is_not_room_for_all() -> None:
    """The table is never higher than the terminal."""
    async with open_terminal("serve", "--port", "0", columns=100, rows=9) as terminal, trio.open_nursery() as nursery:
        await terminal.until("0 connections")
        url = next(line for line in terminal.lines if "listening" in line).split()[-1]
        opened = 0

        async def hold() -> None:
            nonlocal opened
            async with connect(url) as websocket:
                opened += 1
                await websocket.wait_closed()

        for _ in range(5):
            nursery.start_soon(hold)
        await terminal.until("5 connections, the latest 3")
        nursery.cancel_scope.cancel()
        await terminal.type("\x03")
        assert await terminal.wait() == 0


@pytest.mark.parametrize("how", [{"env": {"TERM": "dumb"}}, {"log": True}])
async def test_serve_on_a_terminal_may_log(how: dict[str, object]) -> None:
    """With --log, and where the cursor cannot be moved, there are lines only."""
    arguments = ["--log"] if how.get("log") else []
    env: dict[str, str] = {"TERM": "dumb"} if "env" in how else {}
    async with open_terminal("serve", "--port", "0", *arguments, env=env) as terminal:
        await terminal.until("listening on ")
        terminal.process.send_signal(signal.SIGTERM)
        assert await terminal.wait() == 0
    assert [line.split()[1] for line in terminal.lines] == ["listening", "stopped"]


async def test_serve_whose_log_nobody_reads_ends() -> None:
    """A pipe that is closed at the other end is the end of the server: status 141, and 1001 for everybody."""
    async with running() as server:
        async with connect(server.url) as websocket:
            await server.until("#1 open")
            assert server.process.stdout is not None
            await server.process.stdout.aclose()
            try:
                async with connect(server.url) as other:
                    await other.wait_closed()
            except Exception:
                pass  # it may be too late for another
            event = await websocket.wait_closed()
        assert event.code == 1001
        assert await server.process.wait() == 141


async def test_serve_where_it_cannot_listen() -> None:
    """An address that is taken is one line and status 1; a certificate that is none, status 2."""
    async with serving() as url:
        port = url.rstrip("/").rpartition(":")[2]
        taken = await run("serve", "--port", port)
    assert taken.stderr.decode().startswith(f"Error: cannot listen on 127.0.0.1, port {port}: ")
    assert (taken.stdout, taken.returncode) == (b"", 1)
    for arguments, why in (
        (["--tls-key", __file__], "--tls-key goes with --tls-cert"),
        (["--tls-cert", __file__], "--tls-cert and --tls-key are no certificate with its key"),
        (["--port", "65536"], "65536"),
    ):
        done = await run("serve", *arguments)
        assert why in " ".join(done.stderr.decode().split())
        assert done.returncode == 2


async def test_serve_on_ipv6() -> None:
    """The address stands in brackets in the URL and in the log."""
    async with running("--host", "::1") as server:
        assert server.url.startswith("ws://[::1]:")
        async with connect(server.url):
            await server.until("#1 open    [::1]:")
        assert await server.stop() == 0


# -- bench -----------------------------------------------------------------------------------------------------------


async def test_bench_in_json() -> None:
    """One object with the figures, and nothing else."""
    async with serving() as url:
        done = await run(
            "bench", "--json", "--duration", "0.3", "--connections", "3", "--size", "200000", "--max-size", "9", url
        )
        text = await run("bench", "--json", "--duration", "0.1", "--size", "0", "--text", url)
    result = json.loads(done.stdout)
    assert (result["connections"], result["size"]) == (3, 200_000)
    assert (done.stderr, done.returncode) == (b"", 0)
    assert result["seconds"] == pytest.approx(0.3, abs=0.3)
    assert result["round_trips_per_second"] == pytest.approx(result["round_trips"] / result["seconds"], rel=0.01)
    latency = list(result["latency_ms"].values())
    assert list(result["latency_ms"]) == ["min", "p50", "p90", "p99", "p99.9", "max"]
    assert latency == sorted(latency)
    assert json.loads(text.stdout)["bytes_per_second"] == 0


async def test_bench_on_a_terminal() -> None:
    """Progress while it runs, of which nothing is left; then the table."""
    async with serving() as url, open_terminal("bench", "--duration", "1", url) as terminal:
        await terminal.until(" round trips ")
        assert await terminal.wait() == 0
    assert terminal.lines[0].split() == ["connections", "1"]
    assert [line.split("  ")[0] for line in terminal.lines[-6:]] == [
        f"latency, {name}" for name in ("min", "p50", "p90", "p99", "p99.9", "max")
    ]


async def test_bench_that_is_interrupted_shows_what_it_has() -> None:
    """Ctrl-C is status 130, with the table of what was measured so far, or without one if nothing was."""
    async with serving() as url, open_terminal("bench", "--duration", "60", url) as terminal:
        await terminal.until(" round trips ")
        await trio.sleep(0.3)
        await terminal.type("\x03")
        assert await terminal.wait() == 130
    assert "round trips per second" in terminal.text
    assert "interrupted: what was measured is shown" in terminal.text
    began = trio.Event()

    async def is_silent(peer: ScriptedPeer) -> None:
        await peer.receive()
        began.set()
        await peer.drain()

    async with scripted(is_silent) as url:
        process = await trio.lowlevel.open_process([*COMMAND, "bench", url], stderr=subprocess.PIPE)
        await began.wait()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"".join([data async for data in process.stderr]) == b"interrupted\n"
        assert await process.wait() == 130


async def test_bench_of_what_is_no_echo_server() -> None:
    """Another answer, an early end and no connection at all: what was wrong is told, and the status is not 0."""

    async def shout(websocket: WebSocket) -> None:
        async for _ in websocket:
            await websocket.send("HELLO")

    async def leave(websocket: WebSocket) -> None:
        await websocket.send(await websocket.receive())
        await websocket.receive()

    async def babble(peer: ScriptedPeer) -> None:
        await peer.receive()
        await peer.send(peer.frame(TEXT, b"\xff"))
        await peer.drain()

    async with serving(shout) as url:
        done = await run("bench", "--text", url)
        assert done.stderr == b"This is no echo server: it has sent something else than what it was sent.\n"
        assert done.returncode == 1
    async with serving(leave) as url:
        done = await run("bench", "--connections", "2", url)
        assert done.stderr.startswith(b"A connection ended too early. The peer closed the connection with 1000 ")
        assert done.returncode == 1
    async with scripted(babble) as url:
        done = await run("bench", url)
        assert b"not UTF-8" in done.stderr
        assert (done.stdout, done.returncode) == (b"", 3)
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    done = await run("bench", "--connections", "2", f"ws://{HOST}:{port}/")
    assert done.stderr.startswith(b"No connection to ")
    assert (done.stdout, done.returncode) == (b"", 4)


def test_percentile_is_one_of_the_values() -> None:
    """The least value that so many do not exceed."""
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, percent) for percent in (0, 1, 50, 99, 99.9, 100)] == [1, 1, 50, 99, 100, 100]
    assert percentile([7.0], 50) == 7


async def test_bench_measures_an_echo() -> None:
    """Against a plain echo handler the table has as many round trips as there were."""
    async with serving(echo) as url:
        done = await run("bench", "--duration", "0.2", url)
    assert b"round trips per second" in done.stdout
    assert (done.stderr, done.returncode) == (b"", 0)
