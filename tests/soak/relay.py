"""The process between clients and servers. It forwards bytes, and cuts connections as their plans say."""

from __future__ import annotations

import socket
import struct
from functools import partial
from typing import Final

import trio

from .plan import Cut, draw
from .record import Relayed
from .worker import HOST, Worker, run, say

__all__ = ["RelayWorker"]

CHUNK: Final = 2**16
SILENCE: Final = 9.0  # seconds that a silent connection is kept, more than any limit of the sides


class RelayWorker(Worker):
    """Relays every connection that says where it wants to go."""

    async def work(self, nursery: trio.Nursery) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(trio.serve_listeners, self._relay, [listener])
        say(port=listener.socket.getsockname()[1])

    async def _relay(self, near: trio.SocketStream) -> None:
        self.busy += 1
        try:
            async with near:
                await self._reach(near)
        finally:
            self.busy -= 1

    async def _reach(self, near: trio.SocketStream) -> None:
        try:
            line, rest = await read_line(near)
        except trio.BrokenResourceError:
            return
        if not line:  # cancelled before it could tell
            return
        number, port = map(int, line.split())
        try:
            far = await trio.open_tcp_stream(HOST, port)
        except OSError:
            self.journal.write(Relayed(number, "refused"))
            return
        async with far:
            self.journal.write(Relayed(number, await Way(near, far, draw(self.orders.seed, number).cut).run(rest)))


async def read_line(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    data = b""
    while b"\n" not in data:
        more = bytes(await stream.receive_some())
        if not more:
            return b"", b""
        data += more
    line, _, rest = data.partition(b"\n")
    return line, rest


class Way:
    """One connection through the relay."""

    def __init__(self, near: trio.SocketStream, far: trio.SocketStream, cut: Cut | None) -> None:
        self._near = near
        self._far = far
        self._cut = cut
        self._left = cut.after if cut is not None else 0
        self._is_cut = trio.Event()

    async def run(self, first: bytes) -> str:
        """Forward until both sides are done, or it is time to cut; return how it was cut."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_when_due, nursery.cancel_scope)
            async with trio.open_nursery() as both:
                both.start_soon(self._forward, self._near, self._far, first)
                both.start_soon(self._forward, self._far, self._near, b"")
            nursery.cancel_scope.cancel()
        if self._cut is None or not self._is_cut.is_set():
            return ""
        with trio.move_on_after(SILENCE):
            if self._cut.kind == "RST":
                reset(self._near, self._far)
            else:
                async with trio.open_nursery() as nursery:
                    for stream in (self._near, self._far):
                        nursery.start_soon(partial(drain, stream, fin=self._cut.kind == "FIN"))
        return self._cut.kind

    async def _cut_when_due(self, scope: trio.CancelScope) -> None:
        await self._is_cut.wait()
        scope.cancel()

    async def _forward(self, source: trio.SocketStream, target: trio.SocketStream, data: bytes) -> None:
        try:
            while True:
                if data:
                    await target.send_all(self._allow(data))
                    if self._is_cut.is_set():
                        await trio.sleep_forever()
                data = bytes(await source.receive_some(CHUNK))
                if not data:
                    await target.send_eof()
                    return
        except trio.BrokenResourceError:  # one side is gone without ceremony: so the other shall see it
            reset(source, target)
        except trio.ClosedResourceError:
            pass

    def _allow(self, data: bytes) -> bytes:
        """Return what of *data* may pass before the cut."""
        if self._cut is None:
            return data
        data = data[: self._left]
        self._left -= len(data)
        if not self._left:
            self._is_cut.set()
        return data


def reset(*streams: trio.SocketStream) -> None:
    for stream in streams:
        try:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (OSError, trio.ClosedResourceError):
            pass
        stream.socket.close()


async def drain(stream: trio.SocketStream, *, fin: bool) -> None:
    try:
        if fin:
            await stream.send_eof()
        while await stream.receive_some(CHUNK):
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


if __name__ == "__main__":
    run(RelayWorker)
