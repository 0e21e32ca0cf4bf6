"""How a conversation of `connect` ends: the sentence and the exit status, for every kind of ending."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from ssl import SSLContext

import pytest
import trio
from cli_peers import WAIT, scripted, serving
from terminals import COMMAND, run
from tls import HOST, CertificateFiles

from trio_closeevents import CloseEvent, Request, Response, WebSocket, basic_auth
from trio_closeevents.testing import TEXT, ScriptedPeer

# -- how it ended ----------------------------------------------------------------------------------------------------


pytestmark = [pytest.mark.once, pytest.mark.measured]  # processes take their time, on every Python


async def closes(websocket: WebSocket) -> None:
    code = websocket.request.target.strip("/")
    await websocket.aclose(int(code) if code else None, "so \x1b[2Jlong" if code else "")


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("1000", 0, "1000 (normal closure), “so \\x1b[2Jlong”. Close code 1000, normal closure: "),
        ("1001", 0, "1001 (going away), “so \\x1b[2Jlong”. Close code 1001, going away: "),
        ("", 0, "an empty Close frame. Close code 1005, no status received: "),
        ("1011", 1, "1011 (internal error), “so \\x1b[2Jlong”. Close code 1011, internal error: "),
        (
            "4000",
            1,
            "4000 (applications, private use), “so \\x1b[2Jlong”. Close code 4000, applications, private use: ",
        ),
    ],
)
async def test_status_of_a_clean_end(code: str, status: int, told: str) -> None:
    """The peer's code decides, and the sentence says what it means; its reason steers no terminal."""
    async with serving(closes) as url:
        done = await run("connect", "--wait", "inf", url + code)
    assert done.stderr.decode().startswith(f"The peer closed the connection with {told}")
    assert (done.stdout, done.returncode) == (b"", status)


async def answers_otherwise(peer: ScriptedPeer) -> None:
    await peer.receive_close()
    await peer.send(peer.close_frame(4001, "no"))


async def is_silent(peer: ScriptedPeer) -> None:
    await peer.receive_close()
    await peer.fin()
    await peer.drain()


async def hangs_up(peer: ScriptedPeer) -> None:
    await peer.send(peer.frame(TEXT, b"last words"))
    await peer.fin()
    await peer.drain()


async def resets(peer: ScriptedPeer) -> None:
    await peer.reset()


async def babbles(peer: ScriptedPeer) -> None:
    await peer.send(b"\xff\x00")
    await peer.drain()


async def sends_no_text(peer: ScriptedPeer) -> None:
    await peer.send(peer.frame(TEXT, b"\xff"))
    await peer.drain()


async def sends_too_much(peer: ScriptedPeer) -> None:
    await peer.send(peer.frame(TEXT, bytes(5000)))
    await peer.drain()


@pytest.mark.parametrize(
    ("script", "status", "told"),
    [
        (
            answers_otherwise,
            1,
            "We closed the connection with 1000 (normal closure), and the peer answered with 4001 (",
        ),
        (is_silent, 3, "We closed the connection with 1000 (normal closure), and the peer did not answer that. "),
        (hangs_up, 3, "The peer hung up without a Close frame. Close code 1006, abnormal closure: "),
        (resets, 3, "The connection was cut: neither side sent a Close frame. Close code 1006, "),
        (babbles, 3, "We closed the connection with 1002 (protocol error), “"),
        (sends_no_text, 3, "We closed the connection with 1007 (invalid frame payload data)"),
        (sends_too_much, 3, "We closed the connection with 1009 (message too big), “"),
    ],
)
async def test_status_of_an_end_that_is_not_clean(
    script: Callable[[ScriptedPeer], Awaitable[None]], status: int, told: str
) -> None:
    """A peer that misbehaves: what it did is told, with the status for it, and no traceback."""
    wait = "0" if script in (answers_otherwise, is_silent) else "inf"
    async with scripted(script) as url:
        done = await run("connect", "--max-size", "4000", "--wait", wait, url)
    assert done.stderr.decode().startswith(told)
    assert done.stderr.count(b"\n") == 1
    assert done.stdout == (b"last words\n" if script is hangs_up else b"")
    assert done.returncode == status


async def test_status_of_a_server_that_cannot_be_reached() -> None:
    """The sentence has the reason of the operating system."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    done = await run("connect", f"ws://{HOST}:{port}/")
    assert done.stderr.decode().startswith(f"No connection to ws://{HOST}:{port}/: ")
    assert b"onnection refused" in done.stderr
    assert done.returncode == 4


async def test_status_of_a_server_that_says_no() -> None:
    """The status is told, and how the body begins, without anything that steers a terminal."""
    body = "\x1b[31mno\n" + "".join(f"line {number}\n" for number in range(20)) + "x" * 1000

    def process_request(request: Request) -> Response:
        return Response(403, (), body)

    async with serving(process_request=process_request) as url:
        done = await run("connect", url)
    lines = done.stderr.decode().splitlines()
    assert lines[0] == f"No connection to {url}: the server answered 403 Forbidden."
    assert lines[1] == "  \\x1b[31mno"
    assert lines[2:-1] == [f"  line {number}" for number in range(9)]
    assert lines[-1] == "  ... and 12 lines more"
    assert (done.stdout, done.returncode) == (b"", 4)


async def test_trace_draws_what_travelled() -> None:
    """With --trace the frames of every connection stand on stderr at the end, --quiet or not; stdout has none of it."""
    async with serving() as url:
        done = await run("connect", "--trace", "--quiet", *WAIT, url, stdin=b"hi \x1b[2J\n")
    drawn = done.stderr.decode()
    assert [each in drawn for each in ("GET / HTTP/1.1", "101", "Close 1000", "\\x1b[2J")] == [True] * 4
    assert "\x1b" not in drawn
    assert (done.stdout, done.returncode) == (b"hi \x1b[2J\n", 0)
    done = await run("connect", "--trace", "ws://127.0.0.1:1/")
    assert "never opened" in done.stderr.decode()
    assert done.returncode == 4


async def test_basic_auth_from_the_option() -> None:
    """--basic-auth opens what is closed without it; the password is shown nowhere."""
    async with serving(process_request=basic_auth({"anna": "secret"})) as url:
        without = await run("connect", url)
        wrong = await run("connect", "--basic-auth", "anna:sesame", url)
        right = await run("connect", "--basic-auth", "anna:secret", *WAIT, url)
    assert [each.returncode for each in (without, wrong, right)] == [4, 4, 0]
    assert b"401" in without.stderr
    assert b"sesame" not in wrong.stderr


async def test_status_of_a_server_that_is_not_in_time() -> None:
    """--timeout is for the opening."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        done = await run("connect", "--timeout", "0.2", f"ws://{HOST}:{listener.socket.getsockname()[1]}/")
    assert done.stderr.endswith(b"open_timeout passed.\n")
    assert done.returncode == 4


async def test_tls_that_does_not_verify(server_ssl_context: SSLContext, certificate_files: CertificateFiles) -> None:
    """An unknown certificate is status 5 and a hint; --ca-file makes it known, --insecure takes any and says so."""
    async with serving(scheme="wss", ssl_context=server_ssl_context) as url:
        unknown = await run("connect", url)
        known = await run("connect", "--ca-file", str(certificate_files.authority), *WAIT, url, stdin=b"a")
        careless = await run("connect", "--insecure", *WAIT, url, stdin=b"b")
    assert [each.returncode for each in (unknown, known, careless)] == [5, 0, 0]
    assert b"certificate verify failed" in unknown.stderr
    assert b"--insecure" in unknown.stderr
    assert (known.stdout, careless.stdout) == (b"a\n", b"b\n")
    assert careless.stderr.startswith(b"warning: --insecure takes every certificate")
    assert b"warning" not in known.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signal_closes_with_1001(number: signal.Signals) -> None:
    """The peer sees 1001, the status is 128 and the number of the signal, and there is no traceback."""
    events: list[CloseEvent] = []
    opened = trio.Event()

    async def handler(websocket: WebSocket) -> None:
        await websocket.receive()
        opened.set()
        await websocket.wait_closed()

    async with serving(handler, on_close=lambda _, event: events.append(event)) as url:
        process = await trio.lowlevel.open_process(
            [*COMMAND, "connect", url], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdin is not None
        await process.stdin.send_all(b"hello\n")
        await opened.wait()
        process.send_signal(number)
        assert process.stderr is not None
        told = b"".join([data async for data in process.stderr])
        assert await process.wait() == 128 + number
    assert told.startswith(b"We closed the connection with 1001 (going away), and the peer answered with the same.")
    assert b"Traceback" not in told
    assert [event.code for event in events] == [1001]


async def test_ctrl_c_does_not_wait_for_a_peer_that_plays_dead() -> None:
    """It is over within cancel_timeout, and a second Ctrl-C tears nothing."""
    opened, closing = trio.Event(), trio.Event()

    async def plays_dead(peer: ScriptedPeer) -> None:
        await peer.receive()
        opened.set()
        await peer.receive_close()
        closing.set()
        await trio.sleep_forever()

    async with scripted(plays_dead) as url:
        process = await trio.lowlevel.open_process(
            [*COMMAND, "connect", url], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdin is not None
        await process.stdin.send_all(b"hello\n")
        await opened.wait()
        process.send_signal(signal.SIGINT)
        await closing.wait()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        with trio.fail_after(5):
            told = b"".join([data async for data in process.stderr])
            assert await process.wait() == 130
    assert b"the peer did not answer that" in told
    assert b"Traceback" not in told


async def test_signals_that_are_ignored_still_are() -> None:
    """As under nohup, or behind an `&` of a script."""
    launch = "import os, signal, sys\nfor number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
    launch += "os.execv(sys.argv[1], sys.argv[1:])"
    async with serving() as url:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", launch, *COMMAND, "connect", *WAIT, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send_all(b"one\n")
        assert await process.stdout.receive_some() == b"one\n"
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        await process.stdin.send_all(b"two\n")
        assert await process.stdout.receive_some() == b"two\n"
        await process.stdin.aclose()
        assert await process.wait() == 0


async def test_interrupted_before_it_is_open() -> None:
    """Nothing was open, and that is what it says."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        process = await trio.lowlevel.open_process(
            [*COMMAND, "connect", f"ws://{HOST}:{listener.socket.getsockname()[1]}/"], stderr=subprocess.PIPE
        )
        async with await listener.accept() as stream:
            assert await stream.receive_some()  # the request
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert await process.stderr.receive_some() == b"No connection was open yet.\n"
            assert await process.wait() == 130
