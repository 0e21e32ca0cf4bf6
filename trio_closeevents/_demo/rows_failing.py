"""Section 4: failing the connection.

Every peer sends two messages before the offence, which must arrive, and answers our Close, which must not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import trio

from trio_closeevents.testing import TEXT, frame

from .act import Act
from .blocks import read_to_the_end
from .making import came_out
from .row import Ending, Expected, Outcome, Role, Row
from .stage import play_accept, play_client, play_server
from .steps import Piece, close, end_second, read_close, say, script, text, wait_cue

__all__ = ["ROWS"]


def bare(first: int, length: int, *, extended: bytes = b"", payload: bytes = b"x") -> Piece:
    """Return what makes a frame out of its first byte, the seven bits of its length, and what follows those."""
    return lambda peer: bytes([first, peer.client << 7 | length]) + extended + bytes(4 * peer.client) + payload


def glued(*pieces: Piece) -> Piece:
    return lambda peer: b"".join(piece(peer) for piece in pieces)


# In seconds. No second Ping goes out before the silence has lasted too long.
PING_INTERVAL: Final = 0.2
PING_TIMEOUT: Final = 0.15

MALFORMED: Final[Mapping[str, Piece]] = {
    "a reserved bit": bare(0xC1, 1),
    "an unknown opcode": bare(0x83, 1),
    "a mask too many or none": lambda peer: frame(TEXT, b"x", masked=not peer.client),
    "a Ping in fragments": bare(0x09, 1),
    "a Ping of 126 bytes": bare(0x89, 126, extended=b"\0\x7e", payload=bytes(126)),
    "a continuation of nothing": bare(0x80, 1),
    "a message inside a message": glued(bare(0x01, 1), bare(0x81, 1)),
    "a length of 1 in three bytes": bare(0x82, 126, extended=b"\0\1"),
    "a Close of one byte": bare(0x88, 1),
    "a Close with 1005": close(1005),
}
NOT_UTF8: Final[Mapping[str, Piece]] = {
    "Text b'\\xff'": bare(0x81, 1, payload=b"\xff"),
    "Close 1000 b'\\xff'": bare(0x88, 3, payload=b"\x03\xe8\xff"),
}
TOO_BIG: Final[Mapping[str, Piece]] = {
    "Text of 2000 B": text("x" * 2000),
    "Text of 2000 B in fragments": glued(
        bare(0x01, 126, extended=b"\x03\xe8", payload=bytes(1000)),
        bare(0x80, 126, extended=b"\x03\xe8", payload=bytes(1000)),
    ),
}
TOO_MANY: Final[Mapping[str, Piece]] = {
    "Text in 4 fragments": glued(bare(0x01, 1), bare(0x00, 1), bare(0x00, 1), bare(0x80, 1)),
    "Text in 4 empty fragments": glued(*(bare(first, 0, payload=b"") for first in (0x01, 0x00, 0x00, 0x80))),
}


async def play_all(play: Callable[..., Any], pieces: Mapping[str, Piece], options: Mapping[str, Any]) -> list[Outcome]:
    """Play one connection after the other, each with one offence."""
    outcomes: list[Outcome] = []
    for label, piece in pieces.items():
        offend = script(
            say(text("one"), text("two")), say(piece, label=label), read_close, say(close(1000)), end_second
        )
        outcomes += await play(read_to_the_end, offend, **options)
    return outcomes


async def play_in_server(block: Any, offend: Any, **options: Any) -> list[Outcome]:
    return await play_server((block, offend), **options)


def failed(role: Role, frame: str, cause: str) -> Expected:
    return Expected(
        event=Ending(1006, cause, "local", sent=frame),
        travelled=(
            "← Text b'one'",
            "← Text b'two'",
            "← *",  # the offence
            f"→ Close {frame}",
            "← Close 1000",
            "→ FIN",
            "← FIN",
        ),
        messages=("one", "two"),
        **came_out(role, "ConnectionBroken"),
    )


def rows(id: str, done: str, pieces: Mapping[str, Piece], frame: str, cause: str, **options: Any) -> list[Row]:
    plays: dict[Role, Callable[..., Any]] = {"client": play_client, "server": play_in_server}
    return [
        Row(id, 4, role, done, partial(play_all, play, pieces, options), failed(role, frame, cause))
        for role, play in plays.items()
    ]


class Faulty(trio.abc.ReceiveStream):
    """The half of a stream that receives, with a bug: once, on the first data after `armed` was set, it raises."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.armed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(max_bytes))
        if self.armed:
            self.armed = False
            raise RuntimeError("a bug, planted by the demo")
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


async def play_faulty(play: Callable[..., Any]) -> list[Outcome]:
    """Play a connection over a stream whose bug shows after two messages."""
    receiving: list[Faulty] = []

    def wrap(stream: trio.SocketStream) -> trio.StapledStream[trio.SocketStream, Faulty]:
        receiving.append(Faulty(stream))
        return trio.StapledStream(stream, receiving[0])

    async def block(act: Act) -> None:
        act.messages += [await act.ws.receive(), await act.ws.receive()]
        receiving[0].armed = True
        act.cue.set()
        await read_to_the_end(act)

    offend = script(
        say(text("one"), text("two")), wait_cue, say(text("three")), read_close, say(close(1000)), end_second
    )
    outcomes: list[Outcome] = await play(block, offend, wrap=wrap)
    return outcomes


async def play_compressed(play: Callable[..., Any]) -> list[Outcome]:
    """Play a connection with permessage-deflate, over which comes what is no deflate."""

    async def agree(act: Act) -> None:
        await act.peer.open(extensions="permessage-deflate")

    corrupt = bare(0xC1, 2, payload=b"\xff\xff")
    offend = script(
        agree,
        say(text("one"), text("two")),
        say(corrupt, label="a compressed Text, corrupt"),
        read_close,
        say(close(1000)),
        end_second,
    )
    outcomes: list[Outcome] = await play(read_to_the_end, offend, opens=False, compression="deflate")
    return outcomes


def rows_inflate() -> list[Row]:
    done = "compressed data is corrupt"
    plays: dict[Role, Callable[..., Any]] = {"client": play_client, "server": play_accept}
    expected = failed("client", "1007*", "invalid_payload")  # for both: the block is not a handler's
    return [
        Row("fail-inflate", 4, role, done, partial(play_compressed, play), expected) for role, play in plays.items()
    ]


def rows_keepalive() -> list[Row]:
    done = f"silent after a Ping; ping_interval={PING_INTERVAL}, ping_timeout={PING_TIMEOUT}"
    be_silent = script(say(text("one"), text("two")), read_close, say(close(1000)), end_second)
    options = {"ping_interval": PING_INTERVAL, "ping_timeout": PING_TIMEOUT}
    plays: dict[Role, Callable[..., Any]] = {"client": play_client, "server": play_in_server}
    rows: list[Row] = []
    for role, play in plays.items():
        expected = failed(role, "1011 'keepalive timeout'", "keepalive_timeout")
        travelled = ["→ Ping*" if each == "← *" else each for each in expected.travelled]
        expected = replace(expected, travelled=tuple(travelled), at_least=PING_INTERVAL + PING_TIMEOUT)
        rows.append(
            Row("fail-keepalive", 4, role, done, partial(play, read_to_the_end, be_silent, **options), expected)
        )
    return rows


def rows_internal() -> list[Row]:
    done = "the stream given to us raises RuntimeError"
    plays: dict[Role, Callable[..., Any]] = {"client": play_client, "server": play_accept}
    expected = replace(
        failed("client", "1011", "internal_error"),  # for both: the block is not a handler's
        logged=("RuntimeError",),
    )
    return [Row("fail-internal", 4, role, done, partial(play_faulty, play), expected) for role, play in plays.items()]


ROWS: Final[list[Row]] = [
    *rows("fail-frame", f"{len(MALFORMED)} peers send malformed frames", MALFORMED, "1002*", "protocol_error"),
    *rows("fail-utf8", "a text, and a close reason, are not UTF-8", NOT_UTF8, "1007*", "invalid_payload"),
    *rows(
        "fail-size",
        "2000 bytes in one frame or two; max_message_size=1000",
        TOO_BIG,
        "1009 *2000*1000*",
        "message_too_big",
        max_message_size=1000,
    ),
    *rows(
        "fail-fragments",
        "4 fragments, empty ones too; max_fragments=3",
        TOO_MANY,
        "1009*",
        "message_too_big",
        max_fragments=3,
    ),
    *rows_inflate(),
    *rows_keepalive(),
    *rows_internal(),
]
