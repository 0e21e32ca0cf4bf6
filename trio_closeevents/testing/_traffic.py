"""`Traffic`: what travelled between two sides, read out of the bytes that passed by."""

from __future__ import annotations

from typing import Final

import trio

from trio_closeevents.diagram import Arrow

from ._frames import take_frame

__all__ = ["Traffic", "Witness"]

END_OF_HEAD: Final = b"\r\n\r\n"


class Traffic:
    """A record of frames, kept by somebody who sees the bytes of both directions.

    Attributes:
        log: what travelled behind the opening handshake, in the order that it was seen.
    """

    def __init__(self) -> None:
        self.log: list[Arrow] = []
        self._unread = {True: bytearray(), False: bytearray()}
        self._in_head = {True: True, False: True}

    def feed(self, data: bytes | bytearray | memoryview, *, to_right: bool) -> None:
        """Note what passed in one direction."""
        unread = self._unread[to_right]
        unread += data
        if self._in_head[to_right] and END_OF_HEAD in unread:
            self._in_head[to_right] = False
            del unread[: unread.index(END_OF_HEAD) + len(END_OF_HEAD)]
        while not self._in_head[to_right] and (frame := take_frame(unread)) is not None:
            self.log.append(Arrow(str(frame), to_right=to_right))

    def end(self, how: str, *, to_right: bool) -> None:
        """Note how one direction ended."""
        self.log.append(Arrow(how, to_right=to_right))

    def __repr__(self) -> str:
        return f"<Traffic {[str(each) for each in self.log]}>"


class Witness(trio.abc.HalfCloseableStream):
    """A stream in memory on which everything that passes is noted; it stands on the left."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, traffic: Traffic) -> None:
        self._stream = stream
        self._traffic = traffic
        self._ended: set[bool] = set()  # directions, which end once

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._traffic.feed(data, to_right=True)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        self._note_end("FIN", to_right=True)
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError:
            self._note_end("RST", to_right=False)
            raise
        self._traffic.feed(data, to_right=False)
        if not data:
            self._note_end("FIN", to_right=False)
        return data

    async def aclose(self) -> None:
        self._note_end("FIN", to_right=True)
        await self._stream.aclose()

    def _note_end(self, how: str, *, to_right: bool) -> None:
        if to_right not in self._ended:
            self._ended.add(to_right)
            self._traffic.end(how, to_right=to_right)
