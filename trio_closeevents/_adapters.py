"""Other shapes of an open connection: a stream of bytes, a channel of values, an iterator that ends with the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import trio

from ._errors import ConnectionClosed
from ._events import CloseEvent

if TYPE_CHECKING:
    from ._connection import WebSocket

__all__ = ["ByteStream", "Events", "JSONChannel"]

MOST: Final = 64 * 1024  # bytes of a stream that one message carries


class Messages(Protocol):
    """What the adapters need of a `WebSocket`."""

    async def send(self, value: str | bytes, *, text: bool | None = None) -> None: ...

    async def receive(self) -> str | bytes: ...

    async def wait_closed(self) -> CloseEvent: ...

    async def aclose(self, code: int | None = 1000, reason: str = "") -> None: ...


class ByteStream(trio.abc.HalfCloseableStream):
    """A connection as a stream of bytes, which travel in binary messages; `WebSocket.as_stream` makes it.

    Where one message ends and the next begins means nothing. WebSocket has no half-close, so an empty binary message
    stands for it: `send_eof` sends one, and `receive_some` takes one for the end. A peer that knows nothing of that
    sees a message without content.

    The stream ends as trio has it: `receive_some` returns `b""` after the peer has closed with 1000, 1001 or no code;
    any other ending is a `ConnectionBroken`, which is a `trio.BrokenResourceError`.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._unread = b""
        self._input_ended = False
        self._output_ended = False
        self._sending = False
        self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, in messages of at most 64 KiB. If cancelled, a whole number of these was queued.

        Raises:
            trio.ClosedResourceError: this side has ended its output, or closed.
            trio.BrokenResourceError: the connection ended otherwise.
            trio.BusyResourceError: another task is sending.
        """
        self._begin_sending()
        try:
            await trio.lowlevel.checkpoint()
            with memoryview(data).cast("B") as view:
                for start in range(0, len(view), MOST):
                    await self._messages.send(bytes(view[start : start + MOST]))
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: whether there is room shows in `send_all`. The same errors."""
        self._begin_sending()
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """Tell the peer that nothing more comes. Idempotent. The same errors."""
        if self._output_ended and not self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._begin_sending()
        try:
            await trio.lowlevel.checkpoint()
            await self._messages.send(b"")
            self._output_ended = True
        finally:
            self._sending = False

    def _begin_sending(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending")
        self._check_open()
        if self._output_ended:
            raise trio.ClosedResourceError("send_eof() was called already")
        self._sending = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has come, at most *max_bytes*; `b""` at the end. If cancelled, nothing is lost.

        Raises:
            TypeError, ValueError: *max_bytes* is no number from 1 on.
            trio.ClosedResourceError: this side has closed.
            trio.BrokenResourceError: the connection ended otherwise; or the peer has sent text, for which it was
                closed with 1003.
            trio.BusyResourceError: another task is receiving.
        """
        if max_bytes is not None and (not isinstance(max_bytes, int) or isinstance(max_bytes, bool)):
            raise TypeError(f"max_bytes must be an int or None, not {type(max_bytes).__name__}: {max_bytes!r}")
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        self._check_open()
        if self._unread or self._input_ended:
            await trio.lowlevel.checkpoint()
        else:
            await self._receive()
        size = len(self._unread) if max_bytes is None else max_bytes
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    async def _receive(self) -> None:
        try:
            message = await self._messages.receive()
        except trio.EndOfChannel:
            self._input_ended = True
            await trio.lowlevel.checkpoint()
            return
        if isinstance(message, str):
            await self._messages.aclose(1003, "a byte stream has no text")
            raise trio.BrokenResourceError("the peer has sent text, and a byte stream has none: closed with 1003")
        self._unread = message
        self._input_ended = not message

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this side has closed the stream")

    async def aclose(self) -> None:
        """Close the connection with 1000, as `WebSocket.aclose`."""
        self._closed = True
        await self._messages.aclose()

    def __repr__(self) -> str:
        return f"<ByteStream over {self._messages!r}>"


class JSONChannel(trio.abc.Channel[Any]):
    """A connection as a channel of values, each of which travels as JSON in a text message; `as_json` makes it.

    The errors are those of the `WebSocket`, and those of the JSON library: a value that it cannot write is not sent,
    and a message that is no JSON is consumed; the connection stays open in both cases.
    """

    def __init__(
        self, messages: Messages, dumps: Callable[[Any], str | bytes] | None, loads: Callable[[str | bytes], Any] | None
    ) -> None:
        if dumps is None or loads is None:
            import json  # it takes long to import

            dumps, loads = dumps or json.dumps, loads or json.loads
        self._messages = messages
        self._dumps = dumps
        self._loads = loads

    async def send(self, value: Any) -> None:
        """Send *value*, as `WebSocket.send`."""
        await self._messages.send(self._dumps(value), text=True)

    async def receive(self) -> Any:
        """Return the next value, as `WebSocket.receive`; binary messages are read too."""
        return self._loads(await self._messages.receive())

    async def aclose(self, code: int | None = 1000, reason: str = "") -> None:
        """Close the connection, as `WebSocket.aclose`."""
        await self._messages.aclose(code, reason)

    @property
    def websocket(self) -> WebSocket:
        """The connection under this channel."""
        return cast("WebSocket", self._messages)

    def __repr__(self) -> str:
        return f"<JSONChannel over {self._messages!r}>"


class Events(AsyncIterator[str | bytes | CloseEvent]):
    """Messages, then the CloseEvent. A class, since an async generator that is left early has to be closed."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._over = False

    async def __anext__(self) -> str | bytes | CloseEvent:
        if self._over:
            raise StopAsyncIteration
        try:
            return await self._messages.receive()
        except ConnectionClosed:
            event = await self._messages.wait_closed()
        self._over = True
        return event
