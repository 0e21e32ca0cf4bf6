"""`connect` as a filter: lines, messages, and what cannot be; against our server and that of `websockets`."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio
from cli_peers import FINE, WAIT, echo, scripted, serving, serving_websockets
from terminals import COMMAND, environment, run
from websockets.sync.server import ServerConnection

from trio_closeevents import CloseEvent, WebSocket
from trio_closeevents._cli.output import write_all
from trio_closeevents._cli.registry import KNOWN
from trio_closeevents.testing import TEXT, ScriptedPeer

# -- messages --------------------------------------------------------------------------------------------------------


pytestmark = [pytest.mark.once, pytest.mark.measured]  # processes take their time, on every Python


async def test_filter_sends_lines_and_prints_messages() -> None:
    """Each line is a message, the last one too if no line end is behind it; the sentence goes to stderr."""
    async with serving() as url:
        done = await run("connect", *WAIT, url, stdin="one\n\nthree é\r\nfour".encode())
    assert done.stdout.decode() == "one\n\nthree é\nfour\n"
    assert done.stderr.decode() == f"{FINE}Close code 1000, normal closure: {KNOWN[1000][2]}\n"
    assert done.returncode == 0


async def test_filter_with_the_server_of_websockets() -> None:
    """The same with another library at the other end, and what the options say is what it is asked for."""
    seen: list[Any] = []

    def handler(websocket: ServerConnection) -> None:
        assert websocket.request is not None
        seen.append(websocket.request.headers)
        seen.append([str(each) for each in websocket.protocol.extensions])
        for message in websocket:
            websocket.send(message)
        seen.append(websocket.close_code)

    options = ["--header", "X-One: 1", "-H", "X-Two:2", "-s", "chat", "--subprotocol", "super", "--compress"]
    options += ["--origin", "https://example.org", "--user-agent", "me/1", "--basic-auth", "anna:se:cret", "--no-proxy"]
    with serving_websockets(handler, subprotocols=["super"]) as url:
        done = await run("connect", "--quiet", *WAIT, *options, url, stdin=b"one\ntwo\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"one\ntwo\n", b"", 0)
    headers, extensions, code = seen
    assert (headers["X-One"], headers["X-Two"]) == ("1", "2")
    assert (headers["Origin"], headers["User-Agent"]) == ("https://example.org", "me/1")
    assert headers["Authorization"] == f"Basic {base64.b64encode(b'anna:se:cret').decode()}"
    assert headers["Sec-WebSocket-Protocol"] == "chat, super"
    assert len(extensions) == 1
    assert code == 1000


async def test_filter_prints_what_a_file_of_lines_comes_to(tmp_path: Path) -> None:
    """stdin may be a file, and there may be more lines than any buffer holds."""
    lines = b"".join(b"%0200d\n" % number for number in range(2_000))
    (tmp_path / "lines").write_bytes(lines)
    async with serving() as url:
        with (tmp_path / "lines").open("rb") as stdin:
            done = await trio.run_process([*COMMAND, "connect", *WAIT, url], stdin=stdin, capture_stdout=True)
    assert done.stdout == lines


async def test_filter_does_not_mind_streams_that_do_not_block() -> None:
    """Whoever shares stdin and stdout may have made them so."""
    ours, theirs = os.pipe()
    reading, writing = os.pipe()
    for descriptor in (ours, writing):
        os.set_blocking(descriptor, False)
    lines = b"".join(b"%01000d\n" % number for number in range(300))
    async with serving() as url:
        process = await trio.lowlevel.open_process([*COMMAND, "connect", "-q", *WAIT, url], stdin=ours, stdout=writing)
        os.close(ours)
        os.close(writing)
        with os.fdopen(theirs, "wb", buffering=0) as stdin:
            stdin.write(b"first\n")
            await trio.lowlevel.wait_readable(reading)
            await trio.sleep(0.2)  # it finds nothing, and asks again
            await trio.to_thread.run_sync(write_all, theirs, lines)
        await trio.sleep(0.5)  # it finds the pipe full
        with os.fdopen(reading, "rb") as stdout:
            assert await trio.to_thread.run_sync(stdout.read) == b"first\n" + lines
        assert await process.wait() == 0


async def test_filter_in_json() -> None:
    """Lines are JSON and compact both ways; what is none is told on stderr and not sent, or not printed."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.send('{ "a" :\n [1.0, 2] }')
        await websocket.send(b"[true]")
        await websocket.send("no json \x1b[31m")
        await websocket.send(["[", await websocket.receive(decode=True), "]"])
        await websocket.wait_closed()

    async with serving(handler) as url:
        done = await run("connect", "--json", *WAIT, url, stdin=b'oh no\n{"b": 1}\n')
    assert done.stdout == b'{"a":[1.0,2]}\n[true]\n[{"b":1}]\n'
    first, second, _ = sorted(done.stderr.decode().splitlines(), reverse=True)
    assert first.startswith("not sent: this is not JSON: ")
    assert second.startswith("a message that is not JSON was left out: ")
    assert done.returncode == 6


async def test_filter_of_bytes() -> None:
    """With --hex lines are bytes; without, binary messages are shown so. Between messages may stand NUL."""
    received: list[str | bytes] = []

    async def handler(websocket: WebSocket) -> None:
        await websocket.send("é")
        await websocket.send(b"\x00\xff")
        async for message in websocket:
            received.append(message)

    async with serving(handler) as url:
        in_hex = await run("connect", "--hex", *WAIT, url, stdin=b"00 01\nxy\n")
        with_nul = await run("connect", "--null", *WAIT, url, stdin=b"one\ntwo\0three")
    assert in_hex.stdout == b"c3a9\n00ff\n"
    assert (in_hex.returncode, with_nul.returncode) == (6, 0)
    assert with_nul.stdout == "é\0".encode() + b"00ff\0"
    assert received == [b"\x00\x01", "one\ntwo", "three"]


async def test_filter_waits_for_answers_as_long_as_some_come() -> None:
    """Behind the end of stdin the connection lives on until there was silence, or the peer closes."""

    async def handler(websocket: WebSocket) -> None:
        for number in range(5):
            await trio.sleep(0.1)
            await websocket.send(str(number))
        await websocket.wait_closed()

    async def closing(websocket: WebSocket) -> None:
        await trio.sleep(0.5)
        await websocket.send("last")

    async with serving(handler) as url:
        assert (await run("connect", "--wait", "1.0", url)).stdout == b"0\n1\n2\n3\n4\n"
    async with serving(closing) as url:
        assert (await run("connect", "--wait", "inf", url)).stdout == b"last\n"


async def test_filter_prints_what_arrives_while_it_closes() -> None:
    """What the server sends before its own Close is not lost."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        await peer.send(peer.frame(TEXT, b"in time"), peer.close_frame(1000))

    async with scripted(script) as url:
        done = await run("connect", "--wait", "0", url)
    assert (done.stdout, done.returncode) == (b"in time\n", 0)


async def test_filter_whose_reader_has_gone() -> None:
    """As `| head -1` does: the connection closes with 1001, and the status is that of SIGPIPE."""
    events: list[CloseEvent] = []

    async def handler(websocket: WebSocket) -> None:
        while True:
            await websocket.send("y" * 1000)

    async with serving(handler, on_close=lambda _, event: events.append(event)) as url:
        process = await trio.lowlevel.open_process(
            [*COMMAND, "connect", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert (await process.stdout.receive_some(10)).startswith(b"y")
        await process.stdout.aclose()
        told = b"".join([data async for data in process.stderr])
        assert await process.wait() == 141
    assert told.startswith(b"We closed the connection with 1001 (going away)")
    assert b"Traceback" not in told
    assert [event.code for event in events] == [1001]


async def test_filter_whose_lines_nobody_takes() -> None:
    """A peer that does not read, and cuts the connection while lines wait, is an end like others."""

    async def script(peer: ScriptedPeer) -> None:
        await trio.sleep(1)
        await peer.reset()

    async with scripted(script) as url:
        done = await run("connect", url, stdin=(b"x" * 99_999 + b"\n") * 200)
    assert done.stderr.startswith(b"The connection was cut")
    assert done.returncode == 3


async def test_filter_that_is_quiet() -> None:
    """With --quiet only the exit status tells."""
    async with serving() as url:
        done = await run("connect", "--quiet", "--json", *WAIT, url, stdin=b"no json")
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 6)


# -- coming back -----------------------------------------------------------------------------------------------------


async def test_reconnect_goes_on_with_the_next_connection() -> None:
    """With --reconnect an ending that may be better the next time is told, and lines go on to the next connection."""
    number = 0

    async def handler(websocket: WebSocket) -> None:
        nonlocal number
        number += 1
        if number == 1:
            await websocket.send("first")
            await websocket.aclose(1012, "restart")
        else:
            await echo(websocket)

    async with serving(handler) as url:
        process = await trio.lowlevel.open_process(
            [*COMMAND, "connect", "--reconnect", *WAIT, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert await process.stdout.receive_some() == b"first\n"
        told = await process.stderr.receive_some()
        assert told.startswith(
            b"attempt 1: 1012 service restart 'restart', the peer closed first: remote; the next in "
        )
        await process.stdin.send_all(b"second\n")
        assert await process.stdout.receive_some() == b"second\n"
        await process.stdin.aclose()
        assert (await process.stderr.receive_some()).decode().startswith(FINE)
        assert await process.wait() == 0


# -- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "Missing argument 'URL'"),
        (["http://localhost/"], "URL 'http://localhost/' has scheme 'http': use ws: or wss:"),
        (["ws://localhost/", "--fast"], "No such option"),
        (["ws://localhost/", "-H", "X"], "--header has the form 'Name: value'"),
        (["ws://localhost/", "-H", "X Y: 1"], "header"),
        (["ws://localhost/", "--basic-auth", "secret"], "--basic-auth has the form user:password"),
        (["ws://localhost/", "--insecure"], "--insecure goes with wss:, and the URL is 'ws://localhost/'"),
        (["ws://localhost/", "--ca-file", __file__], "--ca-file goes with wss:"),
        (["wss://localhost/", "--ca-file", __file__], "--ca-file has no certificates"),
        (["wss://localhost/", "--ca-file", __file__, "--insecure"], "give either --insecure or --ca-file"),
        (["ws://localhost/", "--proxy", "http://p", "--no-proxy"], "give either --proxy or --no-proxy"),
        (["ws://localhost/", "--proxy", "ftp://p"], "proxy"),
        (["ws://localhost/", "--json", "--hex"], "give either --json or --hex"),
        (["ws://localhost/", "--wait", "-1"], "--wait"),
        (["ws://localhost/", "--timeout", "-1"], "open_timeout"),
    ],
)
async def test_usage_error_has_status_2(arguments: list[str], why: str) -> None:
    """What cannot work is told before anything is sent; a password is not repeated."""
    done = await run("connect", *arguments)
    assert why in " ".join(done.stderr.decode().split())
    assert b"secret" not in done.stderr
    assert b"Traceback" not in done.stderr
    assert (done.stdout, done.returncode) == (b"", 2)


async def test_proxy_that_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """--proxy says where to go."""
    caplog.set_level(logging.CRITICAL)
    async with serving() as url:
        done = await run("connect", "--proxy", url.replace("ws:", "http:"), "ws://example.org/")
    assert done.returncode == 4
    assert b"proxy" in done.stderr


async def test_closed_streams() -> None:
    """stdin and stderr may be closed altogether."""
    async with serving() as url:
        line = f"exec {' '.join(COMMAND)} connect --wait 0.1 {url} <&- 2>&-"
        done = await trio.run_process(["sh", "-c", line], env=environment({}), capture_stdout=True, check=False)
    assert (done.stdout, done.returncode) == (b"", 0)
