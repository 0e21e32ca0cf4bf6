"""A network that can be cut: what lies between a page and a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from soak.relay import reset

__all__ = ["Cable", "open_cable"]

HOST: Final = "127.0.0.1"
CHUNK: Final = 2**16


class Cable:
    """Forwards TCP connections from a port of its own to another; `open_cable` makes it.

    Attributes:
        port: where it listens.
        target: the port that it leads to.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self._is_cut = False
        self._to_page = trio.Event()  # set as long as bytes pass in this direction
        self._to_server = trio.Event()
        self._streams: set[trio.SocketStream] = set()
        self.mend()

    def cut(self) -> None:
        """Reset all connections, and all that are tried from now on."""
        self._is_cut = True
        reset(*self._streams)

    def silence(self, *, to_page_alone: bool = False) -> None:
        """Let nothing pass any more: no byte, and no word that something is wrong."""
        self._to_page = trio.Event()
        if not to_page_alone:
            self._to_server = trio.Event()

    def mend(self) -> None:
        """Be whole again. What was cut stays so, what was silenced flows."""
        self._is_cut = False
        self._to_page.set()
        self._to_server.set()

    async def carry(self, near: trio.SocketStream) -> None:
        """Forward one connection, until either side has ended it."""
        if self._is_cut:
            reset(near)
            return
        async with near:
            try:
                far = await trio.open_tcp_stream(HOST, self.target)
            except OSError:
                reset(near)
                return
            async with far, trio.open_nursery() as nursery:
                pair = {near, far}
                self._streams |= pair
                nursery.start_soon(self._forward, near, far, lambda: self._to_server)
                nursery.start_soon(self._forward, far, near, lambda: self._to_page)
            self._streams -= pair

    async def _forward(
        self, source: trio.SocketStream, sink: trio.SocketStream, flows: Callable[[], trio.Event]
    ) -> None:
        try:
            while data := await source.receive_some(CHUNK):
                await flows().wait()
                await sink.send_all(data)
            await flows().wait()
            await sink.send_eof()
        except trio.BrokenResourceError:
            reset(sink, source)
        except trio.ClosedResourceError:
            pass


@asynccontextmanager
async def open_cable(target: int) -> AsyncGenerator[Cable]:
    """Lay a cable to the port *target*."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    cable = Cable(listener.socket.getsockname()[1], target)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, cable.carry, [listener])
        yield cable
        nursery.cancel_scope.cancel()
