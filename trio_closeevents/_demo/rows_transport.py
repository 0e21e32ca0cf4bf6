"""Section 5: the transport died, or never lived."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from trio_closeevents import Request, Response, connect

from .act import Act, Script, in_block
from .blocks import leave, read_on_cue, read_to_the_end
from .making import came_out, make_rows, takes
from .row import Ending, Expected, Outcome, Role, Row
from .stage import HOST, on_stage, play_accept, play_client
from .steps import (
    cancel,
    drain,
    fin,
    give_cue,
    ping,
    raw,
    read_head,
    read_pong,
    reset,
    say,
    script,
    skip,
    text,
)

__all__ = ["ROWS"]

OPEN_TIMEOUT: Final = 0.3  # seconds, for the rows that wait for it

# No name server is asked for a name over 255 bytes (RFC 1035 §2.3.4), so that the answer is here at once.
NO_NAME: Final = "a." * 140 + "invalid"

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\n"  # the beginning of one
NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
WRONG_KEY: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
)
UPGRADE: Final = (
    REQUEST + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
TLS_ALERT: Final = b"\x15\x03\x03\0\2\2\x28"  # fatal, handshake_failure (RFC 8446 §6)

rows = partial(make_rows, 5)


def lost(cause: str, *travelled: str, raised_from: str = "") -> Callable[[Role], Expected]:
    return lambda role: Expected(
        event=Ending(1006, cause, "transport"),
        travelled=("← Text b'one'", "← Text b'two'", *travelled),
        messages=("one", "two"),
        raised_from=raised_from,
        **came_out(role, "ConnectionBroken"),
    )


def unopened(
    id: str,
    role: Role,
    case: str,
    done: str,
    steps: Script,
    expected: Expected,
    **options: Any,
) -> Row:
    play = play_client if role == "client" else play_accept
    return Row(id, 5, role, done, partial(play, leave, steps, opens=False, **options), expected, case)


def failed(cause: str, *travelled: str, raised: str = "HandshakeError", code: int = 1006, **more: Any) -> Expected:
    """Expect that what should have opened the connection raises."""
    return Expected(event=Ending(code, cause, "transport"), travelled=travelled, raised=raised, **more)


async def play_refused() -> list[Outcome]:
    """Connect to a port that is taken, and that nobody listens on."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return await play_nowhere(f"ws://{HOST}:{taken.getsockname()[1]}/")


async def play_nowhere(url: str) -> list[Outcome]:
    """Connect to what cannot be reached."""
    act = Act(block=leave)
    with on_stage() as logged:
        await act.own(connect(url), in_block)
    return [act.outcome(logged, travelled=())]


def forbid(request: Request) -> Response:
    return Response(403)


def timed_out(*travelled: str) -> Expected:
    return failed(
        "timeout",
        *travelled,
        raised="HandshakeTimeout",
        **takes(OPEN_TIMEOUT),
    )


def client_rows() -> list[Row]:
    asked = "→ GET / HTTP/1.1"
    row = partial(unopened, "never-opened", "client")
    return [
        Row(
            "never-opened",
            5,
            "client",
            "nobody listens on the port",
            play_refused,
            failed("refused", raised_from="ConnectionRefusedError"),
            "refused",
        ),
        Row(
            "never-opened",
            5,
            "client",
            "no such host",
            partial(play_nowhere, f"ws://{NO_NAME}/"),
            failed("refused", raised_from="gaierror"),
            "DNS",
        ),
        row(
            "rejected",
            "the server answers 404",
            script(read_head, say(raw(NOT_FOUND), label="HTTP/1.1 404"), skip),
            failed("rejected", asked, "← HTTP/1.1 404", "→ FIN", raised="HandshakeRejected", status=404),
        ),
        row(
            "malformed",
            "the server's 101 has a wrong key",
            script(read_head, say(raw(WRONG_KEY), label="HTTP/1.1 101"), skip),
            failed("malformed", asked, "← HTTP/1.1 101", "→ FIN", raised_from="*"),
        ),
        row(
            "timeout",
            f"the server does not answer; open_timeout={OPEN_TIMEOUT}",
            script(read_head, skip),
            timed_out(asked, "→ FIN"),
            open_timeout=OPEN_TIMEOUT,
        ),
        row("eof", "the server hangs up", script(read_head, fin, skip), failed("eof", asked, "← FIN", "→ FIN")),
        row(
            "reset",
            "the server resets",
            script(read_head, reset),
            failed("reset", asked, "← RST", raised_from="ConnectionResetError"),
        ),
    ]


def server_rows() -> list[Row]:
    begin = say(raw(REQUEST), label="half a request")
    row = partial(unopened, "never-opened", "server")
    return [
        row(
            "rejected",
            "process_request answers 403",
            script(say(raw(UPGRADE), label="GET / HTTP/1.1"), read_head, skip, fin),
            failed(
                "rejected",
                "← GET / HTTP/1.1",
                "→ HTTP/1.1 403*",
                "→ FIN",
                "← FIN",
                raised="HandshakeRejected",
                status=403,
            ),
            process_request=forbid,
        ),
        row(
            "malformed",
            "the client asks for no WebSocket",
            script(say(raw(REQUEST + b"\r\n"), label="GET / HTTP/1.1"), read_head, skip, fin),
            failed(
                "malformed",
                "← GET / HTTP/1.1",
                "→ HTTP/1.1 4*",
                "→ FIN",
                "← FIN",
                raised="HandshakeRejected",
                raised_from="*",
                status=426,
            ),
        ),
        row(
            "timeout",
            f"the client sends half a request; open_timeout={OPEN_TIMEOUT}",
            script(begin, skip),
            timed_out("← half a request", "→ FIN"),
            open_timeout=OPEN_TIMEOUT,
        ),
        row(
            "eof",
            "the client hangs up in its request",
            script(begin, fin, skip),
            failed("eof", "← half a request", "← FIN", "→ FIN"),
        ),
        row(
            "reset",
            "the client resets in its request",
            script(begin, reset),
            failed("reset", "← half a request", "← RST", raised_from="ConnectionResetError"),
        ),
    ]


def tls_rows() -> list[Row]:
    def expected(travelled: str) -> Expected:
        return failed("tls", f"← {travelled}", "→ FIN", code=1015, raised_from="SSLError")

    row = partial(unopened, "never-secured")
    return [
        row(
            "client",
            "alert",
            "the server answers a TLS alert",
            script(say(raw(TLS_ALERT), label="TLS alert 40"), skip),
            expected("TLS alert 40"),
            scheme="wss",
        ),
        row(
            "client",
            "garbage",
            "the server does not speak TLS",
            script(say(raw(NOT_FOUND), label="HTTP/1.1 404"), skip),
            expected("HTTP/1.1 404"),
            scheme="wss",
        ),
        row(
            "server",
            "garbage",
            "the client does not speak TLS",
            script(say(raw(UPGRADE), label="GET / HTTP/1.1"), skip),
            expected("GET / HTTP/1.1"),
            ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ),
    ]


def unwanted_rows() -> list[Row]:
    def expected(travelled: str) -> Expected:
        return Expected(event=None, travelled=(travelled, "→ FIN"), raised="Cancelled")

    row = partial(unopened, "never-wanted")
    return [
        row(
            "client",
            "",
            "connect() is cancelled while it waits for the answer",
            script(read_head, cancel, skip),
            expected("→ GET / HTTP/1.1"),
        ),
        row(
            "server",
            "",
            "accept() is cancelled in the middle of the request",
            script(say(raw(REQUEST), label="half a request"), cancel, skip),
            expected("← half a request"),
        ),
    ]


ROWS: Final[list[Row]] = [
    *rows(
        "transport-eof",
        "FIN comes after two messages",
        read_to_the_end,
        script(say(text("one"), text("two")), fin, drain),
        lost("eof", "← FIN", "→ FIN"),
    ),
    *rows(
        "transport-reset",
        "RST comes after two messages, before they are asked for",
        read_on_cue,
        script(say(text("one"), text("two"), ping(b"?")), read_pong, reset, give_cue),
        lost("reset", "← Ping b'?'", "→ Pong b'?'", "← RST", raised_from="ConnectionResetError"),
    ),
    *client_rows(),
    *server_rows(),
    *tls_rows(),
    *unwanted_rows(),
]
