"""The raw server of the recordings: plays the steps that were played to Chromium, and tells what it saw.

It shares no code with the library. It runs in a thread and an event loop of its own, since a page that is busy does not
stop its server.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from tls import RawTls

__all__ = ["PLAIN_OK", "Saw", "ScriptedServer", "serve_scripts"]

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PLAIN_OK: Final[list[list[Any]]] = [
    ["accept"],
    ["sleep", 0.1],
    ["send", ["close", 1000]],
    ["await", "close", 4],
    ["sleep", 0.25],
    ["fin"],
]
HAS_ENDED: Final = (7, 8)  # TCP_CLOSE, TCP_CLOSE_WAIT: what a server knows that does not read
TLS_RECORD: Final = b"\x16"
ANSWER: Final = 0.25  # seconds for the client's own close_notify
LOOK: Final = 0.05  # seconds between two looks at that
LONG: Final = 5.0  # seconds; what sleeps longer is told in the time of the test


@dataclass
class Saw:
    """What the server saw of its client.

    Attributes:
        ended_first: who ended TCP first, "client" or "server".
    """

    connections: int = 0
    close_frames: list[bytes] = field(default_factory=list)
    other_bytes: int = 0  # of payload
    frames_after_close: int = 0
    ended_first: str | None = None


def encode(kind: str, *values: Any) -> bytes:
    """Return a piece of the notation as bytes; servers do not mask."""
    match kind:
        case "text":
            return frame({"op": 1, "text": values[0]})
        case "bin":
            return frame({"op": 2, "hex": values[0]})
        case "close":
            return frame({"op": 8, "hex": (values[0].to_bytes(2) + "".join(values[1:]).encode()).hex()})
        case "close_raw":
            return frame({"op": 8, "hex": values[0]})
        case "raw":
            return bytes.fromhex(values[0])
        case _:
            assert kind == "frame", kind
            return frame(values[0])


def frame(fields: dict[str, Any]) -> bytes:
    """Return a frame, right or wrong."""
    payload = fields["text"].encode() if "text" in fields else bytes.fromhex(fields.get("hex", ""))
    payload = payload or b"x" * fields.get("fill", 0)
    size = fields.get("claim", len(payload))
    form = fields.get("form") or (7 if size < 126 else 16 if size < 2**16 else 64)
    first = fields.get("fin", True) << 7 | fields.get("rsv", 0) << 4 | fields["op"]
    masked = fields.get("mask", False) << 7
    head = {
        7: lambda: struct.pack("!BB", first, masked | size),
        16: lambda: struct.pack("!BBH", first, masked | 126, size),
        64: lambda: struct.pack("!BBQ", first, masked | 127, size),
    }[form]()
    return head + (bytes(4) if masked else b"") + payload


class ScriptedServer:
    """One listener, and the script for its first connection.

    Args:
        steps: the script.
        pace: by what sleeps of more than `LONG` seconds are divided.
        context: speak TLS.
    """

    def __init__(self, steps: list[list[Any]], *, pace: float, context: ssl.SSLContext | None = None) -> None:
        self.steps = steps
        self.saw = Saw()
        self._pace = pace
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._buffer = bytearray()
        self._is_open = False
        self._changed = trio.Event()
        self._reading: trio.CancelScope | None = None
        self._is_muted = self._is_over = False

    async def serve(self) -> None:
        """Play the script to the first client."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        async with listener:
            stream: Any = await listener.accept()
        self.saw.connections += 1
        self._below: trio.SocketStream = stream
        if self._context is not None:
            stream = RawTls(stream, self._context, server_side=True)
        async with trio.open_nursery() as nursery:
            self._stream, self._nursery = stream, nursery
            try:
                if self._context is not None:
                    await stream.do_handshake()
                nursery.start_soon(self._read)
                await self._play()
            except (AssertionError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError):
                self._end()  # the client is gone, or does not speak as this server does
            nursery.cancel_scope.cancel()
        await self._below.aclose()

    async def _play(self) -> None:
        if self.steps[0][0] != "sleep":
            await self._until(lambda: b"\r\n\r\n" in self._buffer or self._buffer.startswith(TLS_RECORD))
            if b"\r\n\r\n" not in self._buffer:
                self._end()
                return
        steps = self.steps
        if steps[1:2] == [["mute", True]]:  # at once: not even what comes right behind the handshake is read
            steps = [steps[1], steps[0], *steps[2:]]
        for verb, *values in steps:
            await getattr(self, f"_do_{verb}")(*values)

    # -- reading --------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while not self._is_over:
            if self._is_muted:
                await self._tell()
                continue
            with trio.CancelScope() as self._reading:
                try:
                    data = bytes(await self._stream.receive_some(2**16))
                except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
                    data = b""
                self._buffer += data
                self._is_over = not data
                if self._is_over and self.saw.ended_first is None:
                    self.saw.ended_first = "client"
                self._take_frames()
                self._changed.set()
                self._changed = trio.Event()

    async def _tell(self) -> None:
        await self._changed.wait()

    async def _until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        with trio.move_on_after(seconds):
            while not condition() and not self._is_over:
                if self._is_muted and self._below.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in HAS_ENDED:
                    self._is_over = True
                    self.saw.ended_first = self.saw.ended_first or "client"
                with trio.move_on_after(LOOK):
                    await self._tell()

    def _take_frames(self) -> None:
        while self._is_open and len(self._buffer) >= 2:
            size, at = self._buffer[1] & 0x7F, 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, at = int.from_bytes(self._buffer[2 : 2 + width]), 2 + width
            end = at + 4 + size  # clients mask
            if len(self._buffer) < end:
                return
            opcode = self._buffer[0] & 0x0F
            if self.saw.close_frames:
                self.saw.frames_after_close += 1
            if opcode == 8:
                mask, payload = self._buffer[at : at + 4], self._buffer[at + 4 : end]
                self.saw.close_frames.append(bytes(each ^ mask[i % 4] for i, each in enumerate(payload)))
            else:
                self.saw.other_bytes += size
            del self._buffer[:end]

    # -- the steps ------------------------------------------------------------------------------------------------

    async def _do_accept(self, how: dict[str, Any] | None = None) -> None:
        how = how or {}
        request, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer[:] = rest
        lines = [line.split(b":") for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")]
        if not lines:
            return  # the client has gone before
        key = lines[0][1].strip()
        fields = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": base64.b64encode(hashlib.sha1(key + GUID).digest()).decode(),
        } | how.get("set", {})
        pairs = [(name, value) for name, value in fields.items() if name not in how.get("drop", ())]
        head = [how.get("status", "HTTP/1.1 101 Switching Protocols")]
        head += [f"{name}: {value}" for name, value in [*pairs, *how.get("add", ())]]
        text = how.get("before", "") + how.get("eol", "\r\n").join([*head, "", ""])
        self._is_open = True
        await self._stream.send_all(text.encode() + b"".join(encode(*piece) for piece in how.get("tail", ())))

    async def _do_reply(self, text: str) -> None:
        await self._stream.send_all(text.encode())

    async def _do_send(self, *pieces: list[Any]) -> None:
        await self._stream.send_all(b"".join(encode(*piece) for piece in pieces))

    async def _do_sleep(self, seconds: float) -> None:
        await trio.sleep(seconds / self._pace if seconds > LONG else seconds)

    async def _do_await(self, what: str, seconds: float) -> None:
        met = {
            "close": lambda: bool(self.saw.close_frames),
            "data": lambda: self.saw.other_bytes > 0,
            "eof": lambda: False,
        }[what]
        await self._until(met, seconds)

    async def _do_echo_close(self) -> None:
        if self.saw.close_frames:
            await self._stream.send_all(frame({"op": 8, "hex": self.saw.close_frames[0].hex()}))

    async def _do_stream(self, how: dict[str, Any]) -> None:
        for _ in range(round(how["for"] / how["every"])):
            await self._stream.send_all(frame({"op": 1, "text": how.get("text", "tick")}))
            await trio.sleep(how["every"])

    async def _do_flood(self, how: dict[str, Any]) -> None:
        for _ in range(how["count"]):
            await self._stream.send_all(frame({"op": 2, "hex": (b"z" * how["size"]).hex()}))

    async def _do_mute(self, on: bool) -> None:
        self._is_muted = on
        if on and self._reading is not None:
            self._reading.cancel()
        self._changed.set()
        self._changed = trio.Event()

    def _end(self) -> None:
        self.saw.ended_first = self.saw.ended_first or "server"

    async def _do_fin(self) -> None:
        self._end()
        await self._below.send_eof()

    async def _do_tls_bye(self) -> None:
        await self._below.send_all(self._stream.close_notify())
        await self._until(lambda: False, ANSWER)

    async def _do_drop(self) -> None:
        self._end()
        await self._below.aclose()

    async def _do_rst(self) -> None:
        self._below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._do_drop()

    async def _do_drain(self, seconds: float) -> None:
        await self._until(lambda: False, seconds)


def serve_scripts(servers: list[ScriptedServer]) -> None:
    """Play all scripts, each to the first client that comes; for a thread."""

    async def serve_all() -> None:
        async with trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(server.serve)

    trio.run(serve_all)
