"""Section 2, Ctrl-C: real signals, in a process of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import os, signal, sys, time, trio
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it as ignored
from trio_closeevents import *
from trio_closeevents.testing import ScriptedPeer
def ctrl_c():
    signal.raise_signal(signal.SIGINT)
"""

# Ctrl-C while the main task is in the block, in whatever it does; the peer is in another thread's trio run.
IN_THE_BLOCK = """
import threading, queue
port, record = queue.Queue(), queue.Queue()

def peer_thread():
    async def main():
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port.put(listener.socket.getsockname()[1])
        async with listener:
            peer = ScriptedPeer(await listener.accept(), client=False)
        await peer.open()
        close = await peer.receive_close()
        if "silent" not in sys.argv:
            await peer.send(peer.frame(8, close.payload))
            await peer.fin()
        await peer.drain()
        await peer.aclose()
        record.put(peer.record)
    trio.run(main)

async def main():
    async with connect(f"ws://127.0.0.1:{port.get()}/", close_timeout=5, cancel_timeout=2) as ws:
        globals()["ws"] = ws
        if "wait" in sys.argv:
            timer = threading.Timer(0.2, ctrl_c_from_thread)
            timer.start()
            await ws.receive()
        elif "spin" in sys.argv:
            ctrl_c()
            while True:
                pass
        elif "ending" in sys.argv:
            threading.Timer(0.3, ctrl_c_from_thread).start()
            began.append(time.monotonic())

def ctrl_c_from_thread():
    os.kill(os.getpid(), signal.SIGINT)

began = []
threading.Thread(target=peer_thread, daemon=True).start()
try:
    trio.run(main)
except KeyboardInterrupt as error:
    print("KeyboardInterrupt", error.__cause__)
if began:
    print("seconds", round(time.monotonic() - began[0], 1))
print(ws.close_event)
print(record.get(timeout=5))
"""

SERVER = """
async def handler(ws):
    await trio.sleep_forever()

async def main():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, handler, "127.0.0.1", 0)
        print(server.port, flush=True)

try:
    trio.run(main)
except BaseExceptionGroup as group:
    print("group", group.exceptions)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("where", ["wait", "spin"])
def test_end_interrupt_by_ctrl_c_sends_1001(where: str) -> None:
    """Ctrl-C in a block, waiting or computing: the peer sees 1001, and KeyboardInterrupt comes out bare."""
    lines = run(IN_THE_BLOCK, where).splitlines()
    assert lines == [
        "KeyboardInterrupt None",
        "1001 going away, after we sent 1001: cancelled",
        "['Close 1001', 'FIN']",
    ]


def test_ctrl_c_in_a_running_ending_drops_the_transport_at_once() -> None:
    """One that arrives while the ending waits: the event is set, and it goes on, long before the limit."""
    lines = run(IN_THE_BLOCK, "ending", "silent").splitlines()
    assert lines[0] == "KeyboardInterrupt None"
    assert float(lines[1].split()[1]) < 2
    assert lines[2] == "1006 abnormal closure, after we sent 1000: exit"
    assert lines[3].startswith("['Close 1000', ")


def test_server_cancelled_by_ctrl_c_sends_1001() -> None:
    """Ctrl-C on a server: its peers see 1001, and the process ends in order."""
    import trio

    from trio_closeevents.testing import ScriptedPeer

    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PRELUDE + SERVER], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())

        async def main() -> list[str]:
            peer = ScriptedPeer(await trio.open_tcp_stream("127.0.0.1", port), client=True)
            await peer.open()
            server.send_signal(signal.SIGINT)
            close = await peer.receive_close()
            assert close is not None
            await peer.send(peer.frame(8, close.payload))
            await peer.drain()
            await peer.aclose()
            return peer.record

        with_timeout = trio.run(main)
        assert with_timeout == ["Close 1001", "FIN"]
        assert server.wait(10) == 0
        assert "KeyboardInterrupt" in server.stdout.read()


WRITER = """
import trio.testing
from trio_closeevents._outbox import Outbox

armed, head = [], Outbox.head

def interrupted_head(self):
    if armed and sys._getframe(2).f_code.co_qualname == "Writer._run":
        armed.clear()
        ctrl_c()
    return head(self)

Outbox.head = interrupted_head

async def main():
    ours, theirs = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(theirs, client=False)

    async def be_peer():
        await peer.open()
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            close = await peer.receive_close()
            await peer.send(peer.frame(8, close.payload))
            await peer.fin()
            await peer.drain()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_peer)
            async with connect("ws://localhost/", stream=ours) as ws:
                armed.append(True)
                await ws.send("x")
                await trio.sleep_forever()
    except* KeyboardInterrupt:
        print("KeyboardInterrupt")
    print(ws.close_event, peer.record)

trio.run(main)
"""


def test_ctrl_c_in_a_task_of_the_library_reaches_the_program() -> None:
    """The library's tasks are protected: one that strikes while a frame is written is delivered to the main task."""
    assert run(WRITER).splitlines() == [
        "KeyboardInterrupt",
        "1001 going away, after we sent 1001: cancelled [\"Text b'x'\", 'Close 1001', 'FIN']",
    ]


AT_A_HANDLER = """
from trio_closeevents import _hooks

isawaitable = _hooks.isawaitable

def interrupted(returned):
    ctrl_c()
    return isawaitable(returned)

_hooks.isawaitable = interrupted

async def handler(ws):
    await trio.sleep_forever()

async def main():
    async with open_server(handler, "127.0.0.1", 0) as server:
        async with connect(f"ws://127.0.0.1:{server.port}/") as ws:
            globals()["ws"] = ws
            await trio.sleep_forever()

try:
    trio.run(main)
except KeyboardInterrupt:
    print("KeyboardInterrupt", ws.close_event)
"""


def test_ctrl_c_while_a_handler_is_called_leaves_no_coroutine_behind() -> None:
    """One that strikes between the call of a handler and its first step: it is awaited, and nothing warns."""
    assert run(AT_A_HANDLER) == "KeyboardInterrupt 1001 going away, after we sent 1001: cancelled\n"


AT_THE_START = """
from functools import partial

async def handler(ws):
    await trio.sleep_forever()

class Status:
    def started(self, server):
        ctrl_c()
        print("started")

try:
    trio.run(partial(serve, handler, "127.0.0.1", 0, task_status=Status()))
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""


def test_ctrl_c_while_a_server_says_that_it_has_started_waits_its_turn() -> None:
    """Inside of `started` it would break trio's move of the task in two, and `nursery.start` would wait for ever."""
    assert run(AT_THE_START) == "started\nKeyboardInterrupt\n"
