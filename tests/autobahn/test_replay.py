"""The suite's half of every recorded case is played to our side, which answers as it did when the suite was content.

`recording.py` tells what the record leaves out. What our side sends is compared frame by frame, unmasked and inflated:
masking keys are random, and another zlib may choose other bytes.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

import pytest
import trio
import trio.testing

from trio_closeevents import accept, connect

from .echo import OPTIONS, echo
from .recording import RECORDED, Record, load
from .wire import CLOSE, header_of, inflated, split_head, unmasked

pytestmark = pytest.mark.once

RECORDS: Final = load()
FEW: Final = 100  # bytes of the suite's that are also played one by one
LIMIT: Final = 5  # seconds of the test's clock; nothing here has to wait
ACCEPT_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
EXTENSIONS: Final = "Sec-WebSocket-Extensions"
SHORT: Final = 125  # bytes of payload that are compared as they are, so that a failure shows them


def test_recording_has_every_case_that_is_not_left_out() -> None:
    """Both roles, each case once."""
    assert sorted(map(str, RECORDS)) == sorted(f"{role} {case}" for role in ("server", "client") for case in RECORDED)


@pytest.mark.parametrize("record", RECORDS, ids=str)
async def test_replay_is_answered_as_recorded(record: Record, autojump_clock: trio.testing.MockClock) -> None:
    """Cut as on the network, and byte by byte: the same handshake, the same frames, and no wait at the end."""
    steps = [step.data for step in record.steps if step.side == "suite" and step.data]
    expected = described(record, record.sent_by("us"))

    assert described(record, await replay(record, steps)) == expected
    head, frames = split_head(b"".join(steps))
    if len(frames) <= FEW:
        assert described(record, await replay(record, [head, *(bytes([byte]) for byte in frames)])) == expected


async def replay(record: Record, steps: list[bytes]) -> bytes:
    """Play the suite's half; return what our side has sent when it has ended."""
    suite, ours = trio.testing.memory_stream_pair()
    told = bytearray()
    ended = trio.Event()

    async def listen() -> None:
        async for data in suite:
            told.extend(data)
        ended.set()

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_our_side, record, ours)
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            if record.role == "client":
                head, frames = split_head(steps[0])
                steps = [response(head, bytes(told)) + frames, *steps[1:]]
            for data in steps:
                try:
                    await suite.send_all(data)
                except trio.BrokenResourceError:
                    break  # our side has heard enough
                await trio.testing.wait_all_tasks_blocked()
            if record.role == "server":
                await ended.wait()  # the server is to end the TCP connection (RFC 6455 §7.1.1)
            await suite.send_eof()
    return bytes(told)


async def run_our_side(record: Record, stream: trio.abc.Stream) -> None:
    """Echo, as in the run that was recorded."""
    block = accept(stream, **OPTIONS) if record.role == "server" else connect("ws://test/", stream=stream, **OPTIONS)
    async with block as ws:
        await echo(ws)


def response(recorded: bytes, request: bytes) -> bytes:
    """Return what the suite's server answers to *request*, with the extensions of what it answered then."""
    key = header_of(request, "Sec-WebSocket-Key")
    digest = hashlib.sha1(f"{key}{ACCEPT_GUID}".encode()).digest()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines.append(f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}")
    if (extensions := header_of(recorded, EXTENSIONS)) is not None:
        lines.append(f"{EXTENSIONS}: {extensions}")
    return "\r\n".join([*lines, "", ""]).encode()


def described(record: Record, sent: bytes) -> list[Any]:
    """Return what must be the same in each run: of the handshake what is not random, and every frame's meaning."""
    head, frames = split_head(sent)
    names = [EXTENSIONS, "Sec-WebSocket-Accept"] if record.role == "server" else [EXTENSIONS]
    return [
        head.split(b" ")[:2] if record.role == "server" else [],
        [header_of(head, name) for name in names],
        *((fin, rsv, opcode, shown(opcode, payload)) for fin, rsv, opcode, payload in inflated(unmasked(frames))),
    ]


def shown(opcode: int, payload: bytes) -> bytes | tuple[int, str]:
    """Return the code of a Close, since its reason is for people; a short payload; length and digest of a long one."""
    if opcode == CLOSE:
        return payload[:2]
    return payload if len(payload) <= SHORT else (len(payload), hashlib.sha256(payload).hexdigest())
