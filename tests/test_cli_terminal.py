"""`connect` for people, in a real pseudo-terminal."""

from __future__ import annotations

import os
import signal
import termios
from functools import partial
from typing import Final

import pytest
import trio
from cli_peers import FINE, echo, scripted, serving
from rich.cells import cell_len
from terminals import COMMAND, Terminal, open_terminal
from tls import HOST

from trio_closeevents import CloseEvent, WebSocket
from trio_closeevents.testing import ScriptedPeer

pytestmark = [pytest.mark.once, pytest.mark.measured]  # processes take their time, on every Python

TYPED: Final = termios.ECHO | termios.ICANON


async def start(terminal: Terminal) -> None:
    """Wait until there is a connection."""
    await terminal.until(lambda: terminal.last == ">")


def sentence(terminal: Terminal) -> str:
    """Return the last words, which may take several lines."""
    return " ".join(line.strip() for line in terminal.lines)


@pytest.mark.parametrize("columns", [20, 80, 200])
async def test_terminal_sends_what_is_typed(columns: int) -> None:
    """Each line is sent and stands above the prompt, with the answer below it; Ctrl-D closes with 1000."""
    async with serving() as url, open_terminal("connect", url, columns=columns) as terminal:
        await start(terminal)
        assert not terminal.local_modes() & TYPED
        await terminal.type("hello\r")
        await terminal.until("< hello")
        await terminal.type("日本 🎉\n")
        await terminal.until("< 日本 🎉")
        assert terminal.lines[-5:] == ["> hello", "< hello", "> 日本 🎉", "< 日本 🎉", ">"]
        assert terminal.cursor == 2
        await terminal.type("\x04")
        assert await terminal.wait() == 0
    assert FINE.strip() in sentence(terminal)


async def test_terminal_is_as_before_at_the_end() -> None:
    """Whatever ends the conversation, the terminal echoes again, and pastes come as before."""
    for keys, status in (("\x03", 130), ("\x04", 0), ("/close 4000 bye\n", 0)):
        shell = ["/bin/sh", "-c", f'trap : INT; {" ".join(COMMAND)} "$@"; echo status $?; read line', "sh"]
        async with serving() as url, open_terminal("connect", url, command=shell) as terminal:
            await start(terminal)
            await terminal.type(keys)
            await terminal.until(f"status {status}")
            assert terminal.local_modes() & TYPED == TYPED
            assert terminal.raw.count(b"\x1b[?2004h") == terminal.raw.count(b"\x1b[?2004l") == 1
            await terminal.type("\n")
            await terminal.wait()


async def test_terminal_message_does_not_garble_what_is_typed() -> None:
    """What arrives is printed above the line, which stays, with its cursor; enter then sends it whole."""
    received: list[str | bytes] = []
    sockets: list[WebSocket] = []

    async def handler(websocket: WebSocket) -> None:
        sockets.append(websocket)
        async for message in websocket:
            received.append(message)

    async with serving(handler) as url, open_terminal("connect", url) as terminal:
        await start(terminal)
        await terminal.type("half a lne\x1b[D\x1b[D")
        await terminal.until("> half a lne")
        await terminal.until(lambda: terminal.cursor == 10)
        await sockets[0].send("news 語\nof two lines, with\ttab")
        await terminal.until("of two lines")
        await terminal.until(lambda: terminal.last == "> half a lne")
        assert terminal.lines[-3] == "< news 語"
        assert terminal.lines[-2].split() == ["of", "two", "lines,", "with", "tab"]
        assert terminal.cursor == 10
        await terminal.type("i\n")
        await terminal.until(lambda: received)
        await terminal.type("\x04")
        assert await terminal.wait() == 0
    assert received == ["half a line"]


async def test_terminal_is_not_steered_by_the_network() -> None:
    """Escape sequences and control characters in messages, reasons and bytes are spelled out."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.send("\x1b]0;title\x07\x1b[2J\x9b31m\r\b\x7fevil")
        await websocket.send(b"\x1b[2J")
        await websocket.aclose(4000, "\x1b[31m\u202e")

    async with serving(handler) as url, open_terminal("connect", url) as terminal:
        assert await terminal.wait() == 1  # the screen has seen no sequence that it does not expect
    assert "< \\x1b]0;title\\x07\\x1b[2J\\x9b31m\\r\\x08\\x7fevil" in terminal.lines
    assert "  00000000  1b 5b 32 4a                                      .[2J" in terminal.lines
    assert "“\\x1b[31m\\u202e”" in sentence(terminal)
    assert b"\x1b[2J" not in terminal.raw


async def test_terminal_shows_bytes_as_a_dump() -> None:
    """A binary message has its size and a dump, a large one only the beginning of it."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.send(bytes(2000))
        await websocket.send(await websocket.receive())
        await websocket.wait_closed()

    async with serving(handler) as url, open_terminal("connect", url) as terminal:
        await terminal.until("... and 976 bytes more")
        assert "< binary, 2,000 bytes" in terminal.lines
        await terminal.type("/binary 4869 21\n")
        await terminal.until("48 69 21")
        await terminal.type("\x04")
        assert await terminal.wait() == 0


async def test_terminal_in_json() -> None:
    """Values are set in lines; what is none is shown all the same, and what is typed has to be JSON."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.send('{"a":[1.0,{}],"b":"\\u001b"}')
        await websocket.send("no \x1b json")
        await echo(websocket)

    async with serving(handler) as url, open_terminal("connect", "--json", url) as terminal:
        await terminal.until("no \\x1b json")
        await start(terminal)
        expected = ["< {", '    "a": [', "      1.0,", "      {}", "    ],", '    "b": "\\u001b"', "  }"]
        assert terminal.lines[1 : 1 + len(expected)] == expected or terminal.lines[: len(expected)] == expected
        await terminal.type("oh\n")
        await terminal.until("* not sent: this is not JSON: ")
        await terminal.type("[1,  2]\n")
        await terminal.until(lambda: terminal.lines[-5:-1] == ["< [", "    1,", "    2", "  ]"])
        await terminal.type("\x04")
        assert await terminal.wait() == 0


async def test_terminal_commands() -> None:
    """/help, /ping, //text and what is no command; a close code that may not be sent is told, and we stay."""
    async with serving() as url, open_terminal("connect", url, columns=120) as terminal:
        await start(terminal)
        for line, answer in (
            ("/help", "/close [CODE [REASON]] close, with 1000 if not told otherwise"),
            ("/ping", "* round trip: "),
            ("//ping", "< /ping"),
            ("/what", "* not sent: /what is no command: /help lists them, and //what sends it as text"),
            ("/close 1006", "* close code 1006 (abnormal closure) may not be sent: use 1000-1003, 1007-1014 or 3000-"),
        ):
            await terminal.type(f"{line}\n")
            await terminal.until(answer)
        await terminal.type("\n/close 4001 bye\n")
        assert await terminal.wait() == 0
    told = sentence(terminal)
    assert "We closed the connection with 4001 (applications, private use), “bye”, and the peer answered" in told


async def test_terminal_ctrl_d_does_not_wait_for_a_pong() -> None:
    """A round trip that is under way keeps nobody from leaving."""

    async def script(peer: ScriptedPeer) -> None:
        close = await peer.receive_close()
        assert close is not None
        await peer.send(peer.close_frame(1000))

    async with scripted(script) as url, open_terminal("connect", url) as terminal:
        await start(terminal)
        await terminal.type("/ping\n")
        await terminal.until("> /ping")
        await terminal.type("\x04")
        assert await terminal.wait() == 0


async def test_terminal_ctrl_c_closes_with_1001() -> None:
    """The peer sees it, the status is 130, no traceback, and what was being typed is gone."""
    events: list[CloseEvent] = []
    async with (
        serving(on_close=lambda _, event: events.append(event)) as url,
        open_terminal("connect", url) as terminal,
    ):
        await start(terminal)
        await terminal.type("never mind")
        await terminal.until("> never mind")
        await terminal.type("\x03")
        assert await terminal.wait() == 130
    assert [event.code for event in events] == [1001]
    assert "We closed the connection with 1001 (going away)" in sentence(terminal)
    assert "never mind" not in terminal.text
    assert "Traceback" not in terminal.text


async def test_terminal_long_line_moves_sideways() -> None:
    """A line that is wider than the terminal takes one row, which shows the part with the cursor; resizing redraws."""
    received: list[str | bytes] = []

    async def handler(websocket: WebSocket) -> None:
        async for message in websocket:
            received.append(message)

    line = "".join(f"{number:04}" for number in range(30)) + "日本語"
    async with serving(handler) as url, open_terminal("connect", url, columns=40) as terminal:
        await start(terminal)
        await terminal.type(line)
        await terminal.until("日本語")
        assert cell_len(terminal.last) <= 39
        await terminal.type("\x01")
        await terminal.until(lambda: terminal.last.startswith("> 0000000100020003"))
        assert terminal.cursor == 2
        assert cell_len(terminal.last) <= 39
        for columns in (25, 90):
            terminal.resize(columns)
            await terminal.until(partial(is_filled, terminal, columns))
        await terminal.type("\x05\n")
        await terminal.until(lambda: received)
        await terminal.type("\x04")
        assert await terminal.wait() == 0
    assert received == [line]


def is_filled(terminal: Terminal, columns: int) -> bool:
    """Tell whether the prompt takes the row, but for the last column."""
    return cell_len(terminal.last) == columns - 1


async def test_terminal_pasted_lines_are_one_message() -> None:
    """What is pasted keeps its line ends, and nothing is sent before enter."""
    received: list[str | bytes] = []

    async def handler(websocket: WebSocket) -> None:
        async for message in websocket:
            received.append(message)

    async with serving(handler) as url, open_terminal("connect", url) as terminal:
        await start(terminal)
        await terminal.type("\x1b[200~one\rtwo\x1b[201~")
        await terminal.until("> one⏎two")
        assert received == []
        await terminal.type("\x0c\n")  # and Ctrl-L clears the screen before
        await terminal.until(lambda: received)
        await terminal.type("\x04")
        assert await terminal.wait() == 0
    assert received == ["one\ntwo"]
    assert b"\x1b[H\x1b[2J" in terminal.raw


def is_stopped(process: int) -> bool:
    """Tell whether a child of ours was stopped."""
    return os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is not None


async def test_terminal_can_be_stopped_and_continued() -> None:
    """Ctrl-Z gives the terminal back; when it goes on, the line that was typed is there again."""
    async with serving() as url, open_terminal("connect", url, command=COMMAND) as terminal:
        await start(terminal)
        await terminal.type("half")
        await terminal.until("> half")
        terminal.process.send_signal(signal.SIGTSTP)
        await terminal.until(lambda: is_stopped(terminal.process.pid))
        await terminal.until(lambda: "> half" not in terminal.text)
        assert terminal.local_modes() & TYPED == TYPED
        terminal.process.send_signal(signal.SIGCONT)
        await terminal.until(lambda: terminal.last == "> half")
        assert not terminal.local_modes() & TYPED
        await terminal.type(" and half\n")
        await terminal.until("< half and half")
        await terminal.type("\x04")
        assert await terminal.wait() == 0


async def test_terminal_that_hangs_up() -> None:
    """When the terminal is gone, so is the connection: with 1001, or 1000 if the end of input is seen first."""
    events: list[CloseEvent] = []
    over = trio.Event()

    def on_close(websocket: WebSocket, event: CloseEvent) -> None:
        events.append(event)
        over.set()

    async with serving(on_close=on_close) as url:
        async with open_terminal("connect", url) as terminal:
            await start(terminal)
            terminal.hang_up()
            with trio.fail_after(10):
                await over.wait()
                await terminal.process.wait()
    assert events[0].code in (1000, 1001)
    assert events[0].was_clean


async def test_terminal_ctrl_d_before_there_is_a_connection() -> None:
    """Nobody waits for one any more: the status is that of an interruption."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        url = f"ws://{HOST}:{listener.socket.getsockname()[1]}/"
        async with open_terminal("connect", url) as terminal:
            await terminal.until(lambda: terminal.last == ".")
            await terminal.type("\x04")
            assert await terminal.wait() == 130
    assert "No connection was open yet." in terminal.text


async def test_terminal_reconnects() -> None:
    """With --reconnect an end is a note above the prompt, and the conversation goes on."""
    number = 0

    async def handler(websocket: WebSocket) -> None:
        nonlocal number
        number += 1
        if number == 1:
            await websocket.aclose(1012)
        else:
            await echo(websocket)

    async with serving(handler) as url, open_terminal("connect", "--reconnect", url) as terminal:
        await terminal.until("* attempt 1: 1012 service restart")
        await start(terminal)
        await terminal.type("again\n")
        await terminal.until("< again")
        await terminal.type("\x04")
        assert await terminal.wait() == 0


# -- terminals that cannot do everything -----------------------------------------------------------------------------


async def test_terminal_without_colours() -> None:
    """NO_COLOR takes the colours, and nothing else."""
    for env, colours in (({}, True), ({"NO_COLOR": "1"}, False)):
        async with serving() as url, open_terminal("connect", url, env=env) as terminal:
            await start(terminal)
            await terminal.type("x\n")
            await terminal.until("< x")
            await terminal.type("\x04")
            assert await terminal.wait() == 0
        assert any(style in ("32", "31") for style in terminal.styles) == colours


async def test_terminal_of_a_width_that_columns_tells() -> None:
    """COLUMNS wins over what the terminal says of itself."""
    async with serving() as url, open_terminal("connect", url, env={"COLUMNS": "30"}) as terminal:
        await start(terminal)
        await terminal.type("x" * 60)
        await terminal.until(lambda: terminal.last == "> " + "x" * 26)
        await terminal.type("\x03")
        assert await terminal.wait() == 130


async def test_dumb_terminal_gets_no_escape_sequence() -> None:
    """With TERM=dumb lines are collected by the terminal and printed as they come; commands work."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.send("\x1b[2J")
        await echo(websocket)

    async with serving(handler) as url, open_terminal("connect", url, env={"TERM": "dumb"}) as terminal:
        await terminal.until("\\x1b[2J")
        await terminal.type("hello \u00e9\n")
        await terminal.until(lambda: terminal.text.count("hello é") == 2)
        await terminal.type("/binary 1b5b\n")
        await terminal.until("\n1b5b")
        await terminal.type("\x04")
        assert await terminal.wait() == 0
    assert FINE.strip() in sentence(terminal)
    assert b"\x1b" not in terminal.raw


async def test_filter_that_prints_to_a_terminal() -> None:
    """What a pipe sends and a terminal shows is a filter, and steers the terminal as little."""

    async def handler(websocket: WebSocket) -> None:
        await websocket.send("\x1b[2J")

    shell = ["/bin/sh", "-c", f'{" ".join(COMMAND)} "$@" </dev/null', "sh"]
    async with serving(handler) as url, open_terminal("connect", "--wait", "inf", url, command=shell) as terminal:
        assert await terminal.wait() == 0
    assert terminal.lines[0] == "\\x1b[2J"


async def test_terminal_whose_output_goes_to_a_file() -> None:
    """Lines are typed without a prompt, and Ctrl-D closes at once."""
    echoed = trio.Event()

    async def echo_once(ws: WebSocket) -> None:
        await ws.send(await ws.receive())
        await ws.ping()  # what came before the Pong was received
        echoed.set()
        await ws.wait_closed()

    async with serving(echo_once) as url:
        shell = ["/bin/sh", "-c", f'{" ".join(COMMAND)} "$@" | tr a-z A-Z', "sh"]
        async with open_terminal("connect", url, command=shell) as terminal:
            await terminal.type("hello\n")
            await echoed.wait()
            await terminal.type("\x04")
            await terminal.wait()
    assert "HELLO" in terminal.lines
    assert FINE.strip() in sentence(terminal)
