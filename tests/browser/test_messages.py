"""Messages between a page and a server of ours: all of them, whole and in order."""

from __future__ import annotations

import hashlib
import ssl
from typing import Any, Final

import pytest
import trio

from trio_closeevents import Deflate, WebSocket

from .devtools import Page
from .stage import Shown, open_stage

COUNT: Final = 2000  # in each direction
TEXT: Final = "Zoë \N{SNOWMAN} \N{SLIGHTLY SMILING FACE} "

# Sends messages that look alike on both sides: number n is text if n is even, and n * 7 % 3000 long.
PLAY: Final = """(async () => {
    const text = %r, encoder = new TextEncoder();
    const message = (n) => n %% 2 ? new Uint8Array(n * 7 %% 3000).fill(n)
                                  : n + text.repeat(n * 7 %% 3000 / text.length);
    for (let n = 0; n < %d; n++) socket.send(message(n));
    while (messages.length < %d) await new Promise((resolve) => setTimeout(resolve, 5));
    const wrong = [];
    messages.forEach((data, n) => {
        const right = message(n);
        const same = typeof data === "string" ? data === right
            : data.byteLength === right.length && new Uint8Array(data).every((byte, at) => byte === right[at]);
        if (!same) wrong.push(n);
    });
    return [messages.length, wrong, socket.extensions];
})()"""


def message(number: int) -> str | bytes:
    size = number * 7 % 3000
    units = len(TEXT.encode("utf-16-le")) // 2  # JavaScript counts these
    return bytes([number % 256]) * size if number % 2 else f"{number}{TEXT * (size // units)}"


async def converse(ws: WebSocket) -> None:
    """Send all, and check all that comes."""

    async def send() -> None:
        for number in range(COUNT):
            await ws.send(message(number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for number in range(COUNT):
            assert await ws.receive() == message(number)
    await ws.wait_closed()


@pytest.mark.parametrize(
    ("options", "extension"),
    [
        pytest.param({}, "", id="plain"),
        pytest.param({"compression": Deflate()}, "permessage-deflate", id="compressed"),
        pytest.param({"compression": Deflate(), "tls": True}, "permessage-deflate", id="compressed, TLS"),
    ],
)
async def test_thousands_of_messages_in_both_directions(
    options: dict[str, Any], extension: str, page: Page, server_ssl_context: ssl.SSLContext
) -> None:
    """Two thousand each way, at once, text and binary; then the page closes, and both know of all of them."""
    options = dict(options)
    ssl_context = server_ssl_context if options.pop("tls", False) else None
    async with open_stage(page, converse, ssl_context=ssl_context, **options) as stage:
        count, wrong, extensions = await stage.run(PLAY % (TEXT, COUNT, COUNT))
        assert (count, wrong) == (COUNT, [])
        assert extensions.startswith(extension)
        assert bool(extensions) is bool(extension)
        await stage.run("socket.close(4000, 'enough')")
        event = await stage.ended()
        assert (event.code, event.reason, event.was_clean) == (4000, "enough", True)
        assert await stage.shown() == Shown(4000, "enough")
        (ws,) = stage.connections
        assert (ws.stats.messages_sent, ws.stats.messages_received) == (COUNT, COUNT)


@pytest.mark.parametrize("compression", [None, Deflate()], ids=["plain", "compressed"])
async def test_large_messages_go_both_ways(compression: Deflate | None, page: Page) -> None:
    """Ten million bytes, which Chromium sends in fragments."""
    size = 10**7
    received: list[str | bytes] = []

    async def echo(ws: WebSocket) -> None:
        received.append(await ws.receive())
        await ws.send(received[0])
        await ws.wait_closed()

    async with open_stage(page, echo, compression=compression, max_message_size=size) as stage:
        await stage.run(f"socket.send(new Uint8Array({size}).map((_, n) => n * n >> 8))")
        await page.wait_for("messages.length")
        digest = await stage.run(
            "crypto.subtle.digest('SHA-256', messages[0]).then((it) => Array.from(new Uint8Array(it)))"
        )
        assert len(received[0]) == size
        assert bytes(digest) == hashlib.sha256(bytes(received[0])).digest()  # type: ignore[arg-type]
        await stage.run("socket.close()")
        assert await stage.shown() == Shown(1005)
