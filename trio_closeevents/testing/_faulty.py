"""`FaultyStream`: a byte stream to which, at a byte of your choice, happens what happens to streams.

Theory. Each direction passes bytes, in portions as small as its `Fault` says, up to the byte at which it breaks. What
the two ends notice of it then is what they would notice on a network: a FIN and writes that fail, a reset that takes
the other direction with it, a buffer that stays full, or nothing at all.
"""

from __future__ import annotations

import math
import socket
import struct
from dataclasses import dataclass
from operator import index
from typing import Final, Literal, NoReturn

import trio

__all__ = ["Fault", "FaultyStream", "reset"]

Break = Literal["eof", "reset", "stall", "lose"]
BREAKS: Final = ("eof", "reset", "stall", "lose")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong in one direction.

    Attributes:
        chunk: at most so many bytes pass at once, at least 1; `None`: as many as there are.
        after: it breaks behind so many bytes, at least 0; `None`: never.
        then: how it breaks. ``"eof"``: the receiver reads the end, and writing into this stream fails. ``"reset"``:
            reading and writing fail on both ends, in both directions; in memory, the other end reads the end.
            ``"stall"``: nothing passes any more, and writing waits. ``"lose"``: what is written vanishes.
    """

    chunk: int | None = None
    after: int | None = None
    then: Break = "eof"

    def __post_init__(self) -> None:
        for name, least in (("chunk", 1), ("after", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise ValueError(f"{name} must be a number of bytes from {least} on, or None, not {value!r}")
        if self.then not in BREAKS:
            raise ValueError(f"then must be one of {', '.join(BREAKS)}, not {self.then!r}")

    def portion(self, passed: int, wanted: float) -> int | None:
        """Return how many bytes may pass now, of *wanted*, when *passed* have; `None`: no limit."""
        portion = min(wanted, self.chunk or math.inf, math.inf if self.after is None else self.after - passed)
        return None if math.isinf(portion) else int(portion)


NO_FAULT: Final = Fault()


class FaultyStream(trio.abc.HalfCloseableStream):
    """Passes bytes to and from another stream, and breaks where it is told to.

    A fault comes as soon as the last byte before it has passed; with `after=0`, at the first call. Closing wakes
    whoever waits, as with any stream.

    Args:
        stream: a stream in memory, or a `trio.SocketStream`; it belongs to this one from now on.
        receiving, sending: what goes wrong in each direction, as seen from the side that holds this stream.

    Attributes:
        received, sent: bytes that have passed so far.
    """

    def __init__(
        self, stream: trio.abc.HalfCloseableStream, *, receiving: Fault = NO_FAULT, sending: Fault = NO_FAULT
    ) -> None:
        if not isinstance(stream, trio.abc.HalfCloseableStream):
            raise TypeError(f"stream must be a trio.abc.HalfCloseableStream, not {type(stream).__name__}: {stream!r}")
        for name, fault in (("receiving", receiving), ("sending", sending)):
            if not isinstance(fault, Fault):
                raise TypeError(f"{name} must be a Fault, not {type(fault).__name__}: {fault!r}")
        self.received = self.sent = 0
        self._stream = stream
        self._receiving = receiving
        self._sending = sending
        self._is_reset = False
        self._is_shut = False  # the receiver of what we send has read the end
        self._is_sending = False
        self._closed = trio.Event()
        self._over = trio.Event()  # closed or reset: nobody waits any more

    # -- receiving -----------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what comes, up to the fault; then do as the fault has it."""
        self._check_open()
        fault = self._receiving
        if fault.after == self.received:
            return await self._receive_nothing()
        portion = fault.portion(self.received, math.inf if max_bytes is None else index(max_bytes))
        try:
            data = bytes(await self._stream.receive_some(portion))
        except trio.ClosedResourceError:
            self._check_open()  # a reset in the other direction has closed it
            raise
        self.received += len(data)
        if fault.after == self.received and fault.then == "reset":
            await self._reset()
        return data

    async def _receive_nothing(self) -> bytes:
        await trio.lowlevel.checkpoint()
        how = self._receiving.then
        if how == "eof":
            return b""
        if how == "reset":
            await self._reset()
        try:
            while how == "lose" and await self._stream.receive_some():
                pass
        except trio.ClosedResourceError:
            self._check_open()
            raise
        await self._wait_until_over()

    # -- sending -------------------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Pass *data* on, up to the fault; then do as the fault has it."""
        self._check_open()
        if self._is_sending:
            raise trio.BusyResourceError("another task is already sending")
        self._is_sending = True
        try:
            await trio.lowlevel.checkpoint()
            rest = memoryview(data)
            while (portion := self._sending.portion(self.sent, len(rest)) or 0) > 0:
                await self._pass_on(rest[:portion])
                rest = rest[portion:]
            if rest or self._sending.after == self.sent:
                await self._break_sending(len(rest))
        finally:
            self._is_sending = False

    async def _pass_on(self, data: memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except trio.ClosedResourceError:
            self._check_open()
            raise
        self.sent += len(data)

    async def _break_sending(self, left: int) -> None:
        how = self._sending.then
        if how == "reset":
            await self._reset()
        elif how == "eof" and not self._is_shut:
            self._is_shut = True
            await self._stream.send_eof()
        if not left or how == "lose":
            return
        if how == "stall":
            await self._wait_until_over()
        self._check_open()
        raise trio.BrokenResourceError(f"cut behind {self.sent} bytes") from BrokenPipeError("cut")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as the other stream does; behind a fault that stalls, until this one is over."""
        self._check_open()
        if self._sending.after == self.sent:
            await trio.lowlevel.checkpoint()
            if self._sending.then == "stall":
                await self._wait_until_over()
            return
        try:
            await self._stream.wait_send_all_might_not_block()
        except trio.ClosedResourceError:
            self._check_open()
            raise

    async def send_eof(self) -> None:
        """Pass the end on, unless the fault is here."""
        self._check_open()
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        if self._sending.after == self.sent:
            await self._break_sending(0)
            await trio.lowlevel.checkpoint()
        else:
            await self._stream.send_eof()

    # -- the end -------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close both streams, and wake whoever waits."""
        self._closed.set()
        self._over.set()
        await self._stream.aclose()

    def __repr__(self) -> str:
        return f"<FaultyStream over {self._stream!r}, {self.received} bytes received, {self.sent} sent>"

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise trio.ClosedResourceError("this stream was closed")
        if self._is_reset:
            raise trio.BrokenResourceError("reset") from ConnectionResetError("reset")

    async def _wait_until_over(self) -> NoReturn:
        await self._over.wait()
        self._check_open()
        raise AssertionError("neither closed nor reset")  # pragma: no cover

    async def _reset(self) -> None:
        self._is_reset = True
        self._over.set()
        await reset(self._stream)


async def reset(stream: trio.abc.Stream) -> None:
    """Drop *stream*, with RST where it is a socket."""
    if isinstance(stream, trio.SocketStream) and stream.socket.fileno() != -1:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)
