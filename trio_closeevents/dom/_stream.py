"""`WebSocketStream`: the interface whose events are awaited, and whose messages have backpressure.

Theory. `opened` and `closed` are promises: values that any number of tasks may await, any number of times. The readable
and the writable side are trio channels, which call the core's connection in the task of whoever uses them: so nothing
is read that nobody has asked for, and a sender waits for a slow server.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar, Unpack

import trio

from trio_closeevents import CloseEvent, ConnectionClosed
from trio_closeevents import WebSocket as Core
from trio_closeevents._public import spelled_out

from ._block import Block
from ._connecting import OPTIONS, ClientOptions
from ._exceptions import DOMException
from ._target import AbortSignal
from ._webidl import byte_string, checked_close, dom_string, usv_string, within_range

__all__ = ["Promise", "WebSocketCloseInfo", "WebSocketError", "WebSocketOpenInfo", "WebSocketStream"]

T = TypeVar("T")
Message = str | bytes


class CloseInit(TypedDict, total=False):
    """What `close` and `WebSocketError` can be given."""

    closeCode: int
    reason: str


class WebSocketError(DOMException, trio.BrokenResourceError):
    """The connection failed, or ended with this code and reason.

    Args:
        message: a text for people.
        init: `closeCode` (1000 or 3000-4999) and `reason` (at most 123 bytes as UTF-8); a reason alone goes with 1000.

    Raises:
        TypeError: the code is no number, or none in 0-65535.
        InvalidAccessError: any other code.
        SyntaxError: the reason is too long.
    """

    name = "WebSocketError"

    def __init__(self, message: str = "", init: CloseInit | None = None) -> None:
        super().__init__(dom_string(message, "message"))
        given: Mapping[str, Any] = init or {}
        self._code, self._reason = checked_close(given.get("closeCode"), given.get("reason"), within_range)

    @classmethod
    def of(cls, event: CloseEvent) -> WebSocketError:
        """Return the error that tells of *event*; its code may be one that programs may not use."""
        error = cls(str(event))
        error._code = 1006 if event.received is None else event.code
        error._reason = event.reason
        return error

    @property
    def closeCode(self) -> int | None:
        """The code of the server's Close frame, 1006 if there was none; or what it was made with."""
        return self._code

    close_code = closeCode

    @property
    def reason(self) -> str:
        """The text of that frame."""
        return self._reason


class Promise(Generic[T]):
    """A value that will be there: `await` it any number of times, in any task. Who is cancelled leaves it as it is."""

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._result: Callable[[], T] | None = None

    def __repr__(self) -> str:
        return f"<Promise {'settled' if self._settled.is_set() else 'pending'}>"

    def settle(self, result: Callable[[], T]) -> None:
        """Let those who await it have what *result* returns or raises; only the first call counts."""
        if self._result is None:
            self._result = result
            self._settled.set()

    async def wait_settled(self) -> None:
        """Wait until it is there, or never will be."""
        await self._settled.wait()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        await self._settled.wait()
        assert self._result is not None
        return self._result()


@dataclass(frozen=True, slots=True)
class WebSocketCloseInfo:
    """How a connection ended cleanly.

    Attributes:
        closeCode: the code of the server's Close frame, 1005 if that was empty.
        reason: its text.
    """

    closeCode: int
    reason: str

    @property
    def close_code(self) -> int:
        """`closeCode`, as Python spells it."""
        return self.closeCode


@dataclass(frozen=True, slots=True, eq=False)
class WebSocketOpenInfo:
    """What an open connection has.

    Attributes:
        readable: its messages.
        writable: takes messages.
        extensions: what the server agreed to, as it wrote them.
        protocol: the subprotocol that it chose.
    """

    readable: trio.abc.ReceiveChannel[str | bytes]
    writable: trio.abc.SendChannel[str | bytes]
    extensions: str
    protocol: str


class Readable(trio.abc.ReceiveChannel[Message]):
    """The messages of a connection. The iteration ends when it was closed cleanly, by whichever side."""

    def __init__(self, stream: WebSocketStream, core: Core) -> None:
        self._stream = stream
        self._core = core
        self._is_closed = False
        self._taken = 0
        self._empty = trio.Event()

    def __repr__(self) -> str:
        return f"<readable side of {self._stream!r}>"

    @property
    def _has_more(self) -> bool:
        return not self._is_closed and self._taken < self._core.stats.messages_received

    async def wait_empty(self) -> None:
        """Wait until all that has arrived was received; nothing more will arrive."""
        if self._has_more:
            await self._empty.wait()

    async def receive(self) -> Message:
        """Return the next message: text as `str`, binary as `bytes`.

        Raises:
            trio.EndOfChannel: the connection was closed cleanly.
            WebSocketError: it ended otherwise.
            trio.ClosedResourceError: this side of it was closed.
        """
        if self._is_closed:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("this side of the connection was closed")
        try:
            message = await self._core.receive()
        except ConnectionClosed as error:
            event = await self._core.wait_closed()
            if self._is_closed:
                raise trio.ClosedResourceError("this side of the connection was closed") from None
            if event.was_clean:
                raise trio.EndOfChannel(str(event)) from None
            raise WebSocketError.of(event) from error.__cause__
        self._taken += 1
        if not self._has_more:
            self._empty.set()
            self._empty = trio.Event()
        return message

    async def aclose(self) -> None:
        """Want no more messages: close the connection, and wait for its end."""
        self._is_closed = True
        self._empty.set()
        await self._stream.aclose()


class Writable(trio.abc.SendChannel[Message]):
    """Takes the messages for a connection."""

    def __init__(self, stream: WebSocketStream, core: Core) -> None:
        self._stream = stream
        self._core = core

    def __repr__(self) -> str:
        return f"<writable side of {self._stream!r}>"

    async def send(self, value: str | bytes | bytearray | memoryview) -> None:
        """Send a message: a `str` as text, anything bytes-like as binary. Waits for a server that reads slowly.

        Raises:
            TypeError: *value* is neither.
            trio.ClosedResourceError: this program has closed the connection.
            WebSocketError: it ended otherwise, or is about to.
        """
        message = usv_string(value, "value") if isinstance(value, str) else byte_string(value, "value")
        try:
            await self._core.send(message)
        except trio.ClosedResourceError:
            raise
        except ConnectionClosed as error:
            event = await self._core.wait_closed()
            raise WebSocketError.of(event) from error.__cause__

    async def aclose(self) -> None:
        """Have nothing more to say: close the connection, and wait for its end."""
        await self._stream.aclose()


class WebSocketStream(Block):
    """A connection whose beginning and end are awaited: `async with WebSocketStream("wss://host/path") as stream: ...`.

    ```python
    async with WebSocketStream("wss://example.org/chat") as stream:
        opened = await stream.opened
        await opened.writable.send("hello")
        async for message in opened.readable:
            print(message)
        print(await stream.closed)
    ```

    Leaving the block, or the end of *nursery*, ends the connection as that of a `WebSocket`. Cancel it to stop
    connecting.

    Args:
        url: as for `WebSocket`.
        options: `{"protocols": …, "signal": …}`, as JavaScript has them.
        protocols: the subprotocols to ask for.
        signal: stops connecting when it is aborted; of no effect when the connection is open.
        nursery: open the connection there, at once.
        **core_options: those of `connect`, with the defaults of `WebSocket`.

    Raises:
        SyntaxError, TypeError, ValueError, ImportError: as for `WebSocket`.
    """

    @spelled_out(OPTIONS)
    def __init__(
        self,
        url: str,
        options: Mapping[str, Any] | None = None,
        *,
        protocols: str | Iterable[str] = (),
        signal: AbortSignal | None = None,
        nursery: trio.Nursery | None = None,
        **core_options: Unpack[ClientOptions],
    ) -> None:
        given = options or {}
        signal = given.get("signal", signal)
        if signal is not None and not isinstance(signal, AbortSignal):
            raise TypeError(f"signal must be an AbortSignal, not {type(signal).__name__}: {signal!r}")
        if signal is not None:
            signal.throwIfAborted()
        self._signal = signal
        self._open_promise = Promise[WebSocketOpenInfo]()
        self._close_promise = Promise[WebSocketCloseInfo]()
        self._closing: tuple[int | None, str] | None = None
        super().__init__(url, given.get("protocols", protocols), nursery, dict(core_options))
        if signal is not None:
            signal.algorithms.append(self._abort)

    def __repr__(self) -> str:
        return f"<dom.WebSocketStream {self._place.origin}>"

    @property
    def opened(self) -> Promise[WebSocketOpenInfo]:
        """Await it for the open connection; raises `WebSocketError` if there never is one, or what the signal says."""
        return self._open_promise

    @property
    def closed(self) -> Promise[WebSocketCloseInfo]:
        """Await it for the end; raises `WebSocketError` if that was not clean."""
        return self._close_promise

    def close(
        self, info: Mapping[str, Any] | None = None, *, closeCode: int | None = None, reason: str | None = None
    ) -> None:
        """Begin the closing handshake, or stop connecting. Returns at once; only the first call counts.

        Args:
            info: `{"closeCode": …, "reason": …}`, as JavaScript has them.
            closeCode: 1000 or 3000-4999; `None` sends an empty Close frame.
            reason: at most 123 bytes as UTF-8. Alone, it goes with 1000.

        Raises:
            TypeError, InvalidAccessError, SyntaxError: as for `WebSocketError`. Nothing was sent.
        """
        given = info or {}
        closing = checked_close(given.get("closeCode", closeCode), given.get("reason", reason), within_range)
        if self._closing is not None:
            return
        self._closing = closing
        if self._core is None:
            self._give_up()
        elif self._home is not None:
            self._spawn(self._close, self._core, closing)

    async def aclose(self) -> None:
        """Call `close`, and wait until the connection has ended."""
        self.close()
        await self._close_promise.wait_settled()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _abort(self) -> None:
        if self._core is None:
            self._give_up()

    def _opened(self, core: Core) -> None:
        self._readable = readable = Readable(self, core)
        writable = Writable(self, core)
        extensions = ", ".join(core.response.headers.get_all("sec-websocket-extensions"))
        info = WebSocketOpenInfo(readable, writable, extensions, core.subprotocol or "")
        self._open_promise.settle(lambda: info)

    async def _live(self, core: Core) -> None:
        await core.wait_closed()

    async def _linger(self, core: Core) -> None:
        assert core.close_event is not None
        self._close_promise.settle(self._end_of(core.close_event))
        await self._readable.wait_empty()

    @trio.lowlevel.enable_ki_protection
    async def _close(self, core: Core, closing: tuple[int | None, str]) -> None:
        self._ask(self._options.close_timeout)
        with trio.CancelScope(shield=True):  # every closing handshake has a limit
            await core.aclose(*closing)

    async def _flush(self) -> None:
        """Nothing waits here."""

    def _ended(self, event: CloseEvent, *, failed: bool) -> None:
        self._open_promise.settle(self._unopened(event))
        self._close_promise.settle(self._end_of(event))

    def _unopened(self, event: CloseEvent) -> Callable[[], WebSocketOpenInfo]:
        signal = self._signal

        def refuse() -> WebSocketOpenInfo:
            if signal is not None:
                signal.throwIfAborted()
            raise WebSocketError.of(event)

        return refuse

    def _end_of(self, event: CloseEvent) -> Callable[[], WebSocketCloseInfo]:
        def tell() -> WebSocketCloseInfo:
            if not event.was_clean:
                raise WebSocketError.of(event)
            return WebSocketCloseInfo(event.code, event.reason)

        return tell
