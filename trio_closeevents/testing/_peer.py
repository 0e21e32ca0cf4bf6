"""A scripted peer: the other end of a connection, which writes what it is told to, byte by byte."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
from typing import Final, Literal, cast

import trio

from trio_closeevents.diagram import Arrow

from ._faulty import reset
from ._frames import CLOSE, PING, PONG, Frame, frame, in_words, take_frame

__all__ = ["NotOpened", "ScriptedPeer"]

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Ending = Literal["FIN", "RST"]


class NotOpened(AssertionError):
    """The other side did not complete the opening handshake."""


def transport_of(stream: trio.abc.Stream) -> trio.abc.Stream:
    """Return what TLS runs over, or *stream* if it is no TLS."""
    if isinstance(stream, trio.SSLStream):
        return cast("trio.SSLStream[trio.abc.Stream]", stream).transport_stream
    return stream


class ScriptedPeer:
    """One end of a byte stream that speaks WebSocket by hand.

    Attributes:
        stream: what it reads and writes; may be used directly.
        frames: what it received, in order.
        ended: how the other side ended the transport: `"FIN"`, `"RST"`, or `None` if it was not seen yet.
        request: the request that it sent or received.
        log: what travelled behind the opening handshake, both ways and in the order that it was seen here; this peer
            stands on the right, so what it did points to the left.
        closed_with: the first Close frame that it sent, by `send`.
        has_gone: this peer has dropped the transport.
    """

    def __init__(self, stream: trio.abc.Stream, *, client: bool) -> None:
        self.stream = stream
        self.client = client
        self.frames: list[Frame] = []
        self.ended: Ending | None = None
        self.request = b""
        self.log: list[Arrow] = []
        self.has_gone = False
        self._buffer = bytearray()
        self._written = bytearray()  # by `send`: half a frame, to be finished
        self.closed_with: Frame | None = None

    @property
    def record(self) -> list[str]:
        """The frames of the other side, and how its transport ended, in words."""
        return [str(each) for each in self.frames] + ([self.ended] if self.ended else [])

    @property
    def close(self) -> Frame | None:
        """The first Close frame that was received."""
        return next((each for each in self.frames if each.opcode == CLOSE), None)

    @property
    def has_closed(self) -> bool:
        """This peer has sent a Close frame, by `send`."""
        return self.closed_with is not None

    @property
    def unread(self) -> bytes:
        """Half a frame, or half a head, of which no more was received so far."""
        return bytes(self._buffer)

    # -- opening -------------------------------------------------------------------------------------------------

    async def open(self, *, behind: bytes = b"", extensions: str = "") -> None:
        """Run the opening handshake.

        Args:
            behind: is sent in one piece with this side's half of it.
            extensions: what to offer, or to agree to.
        """
        field = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
        if self.client:
            key = base64.b64encode(os.urandom(16)).decode()
            self.request = (
                "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{field}\r\n"
            ).encode()
            await self.stream.send_all(self.request + behind)
            head = await self.read_head()
            if not head.startswith(b"HTTP/1.1 101"):
                raise NotOpened(f"no upgrade: {head[:100]!r}")
        else:
            self.request = await self.read_head()
            await self.stream.send_all(self.upgrade(self.request, field) + behind)

    @staticmethod
    def upgrade(request: bytes, field: str = "") -> bytes:
        """Return the 101 that answers *request*, with a header *field* more."""
        lines = (line.partition(b":") for line in request.split(b"\r\n")[1:-2])
        fields = {name.lower(): value.strip() for name, _, value in lines}
        if b"sec-websocket-key" not in fields:
            raise NotOpened(f"no Sec-WebSocket-Key in the request {request!r}")
        accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + GUID).digest())
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n" + field.encode() + b"\r\n"
        )

    async def read_head(self) -> bytes:
        """Return the head of a request or of a response."""
        while b"\r\n\r\n" not in self._buffer:
            if not await self._read_some():
                raise NotOpened(f"the transport ended ({self.ended}) in the head {bytes(self._buffer)!r}")
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer[:] = rest
        return head + b"\r\n\r\n"

    # -- sending -------------------------------------------------------------------------------------------------

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
        """Return a frame as this side has to write it: masked by a client, bare from a server."""
        return frame(opcode, payload, fin=fin, rsv=rsv, masked=self.client)

    def close_frame(self, code: int | None = None, reason: str = "") -> bytes:
        """Return a Close frame, with any code at all."""
        return self.frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason.encode())

    async def send(self, *pieces: bytes, label: str | None = None) -> None:
        """Send *pieces* in one go. A transport that is lost already is fine.

        The log tells the frames, one by one, or *label*, which says in words what was sent.
        """
        told = [each for piece in pieces for each in in_words(piece)] if label is None else [label]
        self.log += [Arrow(each, to_right=False) for each in told]
        self._note_close(b"".join(pieces))
        try:
            await self.stream.send_all(b"".join(pieces))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def _note_close(self, data: bytes) -> None:
        self._written += data
        while not self.has_closed and (sent := take_frame(self._written)) is not None:
            self.closed_with = sent if sent.opcode == CLOSE else None
        if self.has_closed:
            self._written.clear()  # nothing behind it is of interest

    # -- receiving -----------------------------------------------------------------------------------------------

    async def receive(self) -> Frame | None:
        """Return the next frame, or `None` at the end of the transport."""
        while (received := take_frame(self._buffer)) is None:
            if not await self._read_some():
                return None
        self.frames.append(received)
        self.log.append(Arrow(str(received), to_right=True))
        return received

    async def receive_close(self) -> Frame | None:
        """Read up to the next Close frame; `None` if the transport ends before it."""
        while (received := await self.receive()) is not None and received.opcode != CLOSE:
            pass
        return received

    async def drain(self) -> None:
        """Read to the end of the transport."""
        while await self.receive() is not None:
            pass

    async def receive_bytes(self) -> bytes:
        """Return what comes next, whatever it is; nothing at the end of the transport."""
        try:
            data = bytes(await self.stream.receive_some(2**16))
        except trio.ClosedResourceError:  # by another task of this side
            return b""
        except trio.BrokenResourceError as error:
            self._note_end("FIN" if isinstance(error.__cause__, ssl.SSLEOFError) else "RST")
            return b""
        if not data:
            self._note_end("FIN")
        return data

    async def skip(self) -> None:
        """Read to the end of the transport, whatever it is that comes."""
        while await self.receive_bytes():
            pass

    async def _read_some(self) -> bool:
        data = await self.receive_bytes()
        self._buffer += data
        return bool(data)

    def _note_end(self, ending: Ending) -> None:
        if self.ended is None:
            self.log.append(Arrow(ending, to_right=True))
        self.ended = ending

    async def be_polite(self) -> None:
        """Answer Pings and the Close frame, and end the transport, as RFC 6455 has it; return when it has ended."""
        while (received := await self.receive()) is not None:
            if received.opcode == PING:
                await self.send(self.frame(PONG, received.payload))
            elif received.opcode == CLOSE:
                if not self.has_closed:
                    await self.send(self.frame(CLOSE, received.payload))
                break
        if self.ended is None and not self.client:
            await self.fin()  # a server ends TCP first (§7.1.1)
        await self.drain()
        await self.aclose()

    # -- ending --------------------------------------------------------------------------------------------------

    async def fin(self) -> None:
        """Shut down the sending side; go on reading. A transport that is lost already is fine."""
        self.log.append(Arrow("FIN", to_right=False))
        stream = transport_of(self.stream)
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        try:
            await stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def reset(self) -> None:
        """Drop the transport with RST, where there is a socket."""
        self.log.append(Arrow("RST", to_right=False))
        self.has_gone = True
        await reset(transport_of(self.stream))

    async def aclose(self) -> None:
        """Close the transport."""
        self.has_gone = True
        await trio.aclose_forcefully(self.stream)

    def __repr__(self) -> str:
        return f"<ScriptedPeer {'client' if self.client else 'server'}, received {self.record}>"
