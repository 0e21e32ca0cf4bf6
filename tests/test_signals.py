"""`close_on_signals`: real signals, sent to real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from trio_closeevents import Server, WebSocket, close_on_signals, open_server
from trio_closeevents.testing import ScriptedPeer

PRELUDE = """
import logging, signal, sys, time, trio
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it as ignored
from trio_closeevents import *
logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")

async def handler(ws):
    print("open", flush=True)
    try:
        async for _ in ws:
            pass
        await trio.sleep_forever()
    except ConnectionClosed:
        await trio.sleep(HANDLER_SECONDS)
        print("finished", flush=True)
"""

IN_THE_BLOCK = """
async def main():
    async with open_server(handler, "127.0.0.1", 0, cancel_timeout=0.5) as server:
        print(server.port, flush=True)
        print("closed by", await close_on_signals(server, *ARGUMENTS))
        print(server.connections)

trio.run(main)
"""

AS_A_TASK = """
async def main():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, handler, "127.0.0.1", 0)
        await nursery.start(close_on_signals, server, *ARGUMENTS)
        print(server.port, flush=True)
    print("closed by", None)

trio.run(main)
"""

FORMS = {"block": IN_THE_BLOCK, "task": AS_A_TASK}


class Process:
    """A server in a process of its own."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self.port = int(self.line())

    def line(self) -> str:
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().rstrip()

    def log_line(self) -> str:
        assert self._popen.stderr is not None
        return self._popen.stderr.readline().rstrip()

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def end(self) -> tuple[int, list[str], str]:
        """Wait for its end; return its status, what else it printed, and its log."""
        out, log = self._popen.communicate(timeout=10)
        return self._popen.returncode, out.splitlines(), log

    async def peer(self) -> ScriptedPeer:
        """Return a raw peer whose handler runs."""
        peer = ScriptedPeer(await trio.open_tcp_stream("127.0.0.1", self.port), client=True)
        await peer.open()
        assert self.line() == "open"
        return peer


@contextmanager
def running(program: str, arguments: tuple[Any, ...] = (), handler_seconds: float = 0) -> Generator[Process]:
    """Run a server that says its port, and every connection."""
    names = f"ARGUMENTS, HANDLER_SECONDS = {arguments!r}, {handler_seconds!r}\n"
    command = [sys.executable, "-W", "error", "-c", PRELUDE + names + program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as popen:
        try:
            yield Process(popen)
        finally:
            popen.kill()


async def answer(peer: ScriptedPeer) -> None:
    """Be a good peer in the closing handshake, and hang up."""
    close = await peer.receive_close()
    assert close is not None
    await peer.send(peer.frame(8, close.payload))
    await peer.drain()
    await peer.aclose()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("form", FORMS)
async def test_first_signal_closes_the_server(form: str, number: signal.Signals) -> None:
    """Peers see 1001, handlers finish, the process ends with status 0, and the log says why."""
    with running(FORMS[form]) as process:
        peers = [await process.peer() for _ in range(3)]
        process.send(number)
        for peer in peers:
            await answer(peer)
            assert peer.record == ["Close 1001", "FIN"]
        status, printed, log = process.end()
    assert status == 0
    by = int(number) if form == "block" else None
    assert printed[:4] == ["finished"] * 3 + [f"closed by {by}"]
    assert f"INFO {number.name}: the server is closing" in log


async def test_first_signal_sends_the_code_that_was_given() -> None:
    """As `Server.aclose` has it."""
    with running(IN_THE_BLOCK, (1012, "restart")) as process:
        peer = await process.peer()
        process.send(signal.SIGTERM)
        await answer(peer)
        assert peer.record == ["Close 1012 'restart'", "FIN"]
        assert process.end()[0] == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("form", FORMS)
async def test_second_signal_ends_the_grace(form: str, second: signal.Signals) -> None:
    """Handlers that would take an hour are cancelled, and everything is gone within `cancel_timeout`."""
    with running(FORMS[form], (1001, "", 3600), handler_seconds=3600) as process:
        peer = await process.peer()
        process.send(signal.SIGTERM)
        await answer(peer)
        began = time.monotonic()
        process.send(second)
        status, printed, log = process.end()
        assert time.monotonic() - began < 3
    assert status == 0
    assert "finished" not in printed
    assert f"INFO {second.name}, the second signal: the server ends at once" in log


STUBBORN = """
async def stay(ws):
    print("open", flush=True)
    with trio.CancelScope(shield=True):
        await trio.sleep(1.5)

async def main():
    async with open_server(stay, "127.0.0.1", 0, cancel_timeout=0.1) as server:
        print(server.port, flush=True)
        try:
            await close_on_signals(server)
        except BaseException as error:
            print(repr(error), flush=True)
            raise

trio.run(main)
"""


@pytest.mark.parametrize(
    ("third", "printed"), [(signal.SIGTERM, []), (signal.SIGINT, ["KeyboardInterrupt()"])], ids=["SIGTERM", "SIGINT"]
)
async def test_third_signal_does_what_it_does_without_us(third: signal.Signals, printed: list[str]) -> None:
    """For a handler that cannot be cancelled: SIGTERM kills the process, Ctrl-C is a bare KeyboardInterrupt."""
    with running(STUBBORN) as process:
        peer = await process.peer()
        for number in ("SIGTERM", "SIGINT, the second signal"):
            process.send(signal.Signals[number.partition(",")[0]])
            assert f"INFO {number}" in process.log_line()
            if number == "SIGTERM":
                await answer(peer)
                assert "ended: 1001" in process.log_line()
        process.send(third)
        status, rest, _ = process.end()
    assert status == -third
    assert rest == printed


async def leave(ws: WebSocket) -> None:
    """Be a handler that has nothing to do."""


async def test_it_returns_when_somebody_else_closes_the_server() -> None:
    """With `None`, and the signals are what they were."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with trio.fail_after(5):
        async with open_server(leave, "127.0.0.1", 0) as server, trio.open_nursery() as nursery:
            returned: list[signal.Signals | None] = []

            @nursery.start_soon
            async def wait() -> None:
                returned.append(await close_on_signals(server))

            await trio.testing.wait_all_tasks_blocked()
            assert signal.getsignal(signal.SIGTERM) != before[0]
            await server.aclose()
        assert returned == [None]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


async def test_cancelled_it_leaves_server_and_signals_alone() -> None:
    """The server goes on."""
    before = signal.getsignal(signal.SIGTERM)
    async with open_server(leave, "127.0.0.1", 0) as server:
        with trio.move_on_after(0.01) as scope:
            await close_on_signals(server)
        assert scope.cancelled_caught
        assert signal.getsignal(signal.SIGTERM) == before
        assert "open" in repr(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_tells_which_signal_came(number: signal.Signals) -> None:
    """In this process, too."""
    async with open_server(leave, "127.0.0.1", 0) as server, trio.open_nursery() as nursery:
        await nursery.start(close_on_signals, server)
        os.kill(os.getpid(), number)
        with trio.fail_after(5):
            await server.wait_closed()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((1005,), ValueError), ((1001, "x" * 124), ValueError), ((1001, "", -1), ValueError), ((1001, 5), TypeError)],
)
async def test_wrong_arguments_are_refused_at_once(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    """Not when the signal comes; bare, not in a group."""
    async with open_server(leave, "127.0.0.1", 0) as server:
        with pytest.raises(error, match=r"1005|124|grace|reason"):
            await close_on_signals(server, *arguments)
        assert "open" in repr(server)


async def test_something_else_than_a_server_is_refused() -> None:
    """By name."""
    wrong: Any = Server
    with pytest.raises(TypeError, match="server must be a Server, not type"):
        await close_on_signals(wrong)


async def test_another_thread_than_the_main_one_is_refused() -> None:
    """Python has its signals there alone."""

    async def main() -> None:
        async with open_server(leave, "127.0.0.1", 0) as server:
            with pytest.raises(RuntimeError, match="main thread"):
                await close_on_signals(server)

    await trio.to_thread.run_sync(trio.run, main)
