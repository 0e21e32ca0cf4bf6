"""`WebSocket`: the interface of browsers (WHATWG WebSockets §3), for trio."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import trio

from trio_closeevents import CloseEvent as EventOfTheCore
from trio_closeevents import ConnectionClosed, ReadyState
from trio_closeevents import WebSocket as Core
from trio_closeevents._public import spelled_out

from ._block import Block
from ._connecting import OPTIONS, ClientOptions
from ._events import Event, MessageEvent, close_event_of, trusted
from ._exceptions import InvalidStateError
from ._target import EventTarget, report
from ._webidl import byte_string, checked_close, usv_string

if TYPE_CHECKING:
    from ._target import EventHandler

__all__ = ["WebSocket"]

BINARY_TYPES: dict[str, Callable[[bytes], bytes | bytearray]] = {"blob": bytes, "arraybuffer": bytearray}


class WebSocket(Block, EventTarget):
    """A connection, as a page has it: `async with WebSocket("wss://host/path") as socket: ...`.

    The connection opens in the background: in the block, or at once in *nursery* if one is given. Nothing is awaited
    but the block; what happens is told by events, `open`, `message`, `error` and `close`. Leaving the block, or the
    end of the nursery, ends the connection as `connect` does: 1000 if it returned, 1011 if an exception left it, 1001
    if it was cancelled. Handlers that are coroutine functions run as tasks; leaving the block cancels them.

    Args:
        url: `ws:` or `wss:`; `http:` and `https:` mean the same. There is no base URL.
        protocols: the subprotocols to ask for, in order of preference. If the server chooses none, that is a failure.
        nursery: open the connection there.
        **options: those of `connect`. Here no limit is set for messages, no Pings are sent, permessage-deflate is
            offered, `close_timeout` is 60 s and `open_timeout` 240 s.

    Raises:
        SyntaxError: the URL is none, or has a fragment or another scheme; a protocol is no token, or there twice.
        TypeError, ValueError: an argument cannot work.
        ImportError: the extra `dom` is missing.
    """

    CONNECTING: ClassVar = ReadyState.CONNECTING
    OPEN: ClassVar = ReadyState.OPEN
    CLOSING: ClassVar = ReadyState.CLOSING
    CLOSED: ClassVar = ReadyState.CLOSED

    @spelled_out(OPTIONS)
    def __init__(
        self,
        url: str,
        protocols: str | Iterable[str] = (),
        *,
        nursery: trio.Nursery | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        EventTarget.__init__(self)
        self._state = ReadyState.CONNECTING
        self._binary_type = "blob"
        self._protocol = self._extensions = ""
        self._bytes_sent = 0  # handed to send()
        self._messages_handled = 0
        self._outgoing: deque[str | bytes] = deque()
        self._closing: tuple[int | None, str] | None = None
        self._work = trio.Event()  # for the task that sends
        self._is_flushing = False  # it ends when it has nothing to do
        self._sent = trio.Event()  # that task is done
        Block.__init__(self, url, protocols, nursery, dict(options))

    def __repr__(self) -> str:
        return f"<dom.WebSocket {self._place.origin} {self._state.name}>"

    # -- attributes -----------------------------------------------------------------------------------------------

    @property
    def readyState(self) -> ReadyState:
        """`CONNECTING`, `OPEN`, `CLOSING` or `CLOSED`; it never goes back."""
        if self._state is ReadyState.OPEN and self._is_closed_by_peer():
            self._state = ReadyState.CLOSING
        return self._state

    ready_state = readyState

    def _is_closed_by_peer(self) -> bool:
        """The peer's Close is here, and all that came before it was told."""
        core = self._core
        return (
            core is not None
            and core.state is not ReadyState.OPEN
            and core.stats.messages_received == self._messages_handled
        )

    @property
    def bufferedAmount(self) -> int:
        """Bytes of messages that `send` was given and the network was not; never reset."""
        core = self._core
        return self._bytes_sent if core is None else self._bytes_sent - core.stats.bytes_sent + core.buffered

    buffered_amount = bufferedAmount

    @property
    def protocol(self) -> str:
        """The subprotocol that the server chose; `""` before that, or if none was asked for."""
        return self._protocol

    @property
    def extensions(self) -> str:
        """The extensions that the server agreed to, as it wrote them."""
        return self._extensions

    @property
    def binaryType(self) -> str:
        """What binary messages are, `bytes` for "blob", `bytearray` for "arraybuffer". Other values are ignored."""
        return self._binary_type

    @binaryType.setter
    def binaryType(self, value: str) -> None:
        if value in BINARY_TYPES:
            self._binary_type = value

    binary_type = binaryType

    @property
    def onopen(self) -> EventHandler | None:
        """Is called with an `Event` when the connection is open."""
        return self._handler("open")

    @onopen.setter
    def onopen(self, handler: EventHandler | None) -> None:
        self._set_handler("open", handler)

    @property
    def onmessage(self) -> EventHandler | None:
        """Is called with a `MessageEvent` for each message."""
        return self._handler("message")

    @onmessage.setter
    def onmessage(self, handler: EventHandler | None) -> None:
        self._set_handler("message", handler)

    @property
    def onerror(self) -> EventHandler | None:
        """Is called with an `Event` that tells nothing, before `onclose`, if the connection failed."""
        return self._handler("error")

    @onerror.setter
    def onerror(self, handler: EventHandler | None) -> None:
        self._set_handler("error", handler)

    @property
    def onclose(self) -> EventHandler | None:
        """Is called with a `CloseEvent` when the connection is over; the last event, and always there."""
        return self._handler("close")

    @onclose.setter
    def onclose(self, handler: EventHandler | None) -> None:
        self._set_handler("close", handler)

    # -- methods --------------------------------------------------------------------------------------------------

    def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message: a `str` as text, anything bytes-like as binary. Returns at once; nothing limits what waits.

        When the connection is closing or closed, nothing is sent, and `bufferedAmount` grows all the same.

        Raises:
            TypeError: *data* is neither.
            InvalidStateError: the connection is not open yet.
        """
        message = usv_string(data, "data") if isinstance(data, str) else byte_string(data, "data")
        state = self.readyState
        if state is ReadyState.CONNECTING:
            raise InvalidStateError("the connection is not open yet: send in a handler of the event 'open'")
        self._bytes_sent += len(message.encode()) if isinstance(message, str) else len(message)
        if state is ReadyState.OPEN:
            self._outgoing.append(message)
            self._work.set()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Begin the closing handshake, behind what was sent; or stop connecting. Returns at once.

        Only the first call counts. Without *code* and *reason* the Close frame is empty, and the event `close` says
        1005 if the server answers it.

        Args:
            code: 1000 or 3000-4999; anything that JavaScript takes for a number will do. `None`: it is missing.
            reason: at most 123 bytes as UTF-8. Alone, it goes with 1000.

        Raises:
            TypeError: *code* stands for no number, or *reason* for no text.
            InvalidAccessError: any other code.
            SyntaxError: the reason is too long.
        """
        closing = checked_close(code, reason)
        state = self.readyState
        if state is ReadyState.CONNECTING:
            self._state = ReadyState.CLOSING
            self._give_up()
        elif state is ReadyState.OPEN:
            self._state = ReadyState.CLOSING
            self._closing = closing
            self._work.set()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _opened(self, core: Core) -> None:
        self._protocol = core.subprotocol or ""
        self._extensions = ", ".join(core.response.headers.get_all("sec-websocket-extensions"))
        self._state = ReadyState.OPEN
        self._spawn(self._send_all, core)
        self._dispatch(trusted(Event("open")))

    @trio.lowlevel.enable_ki_protection
    async def _live(self, core: Core) -> None:
        while True:
            if self._outgoing:
                await trio.lowlevel.checkpoint()  # what a handler has sent goes before anything more is read
            try:
                message = await core.receive()
            except ConnectionClosed:
                break
            if self._state is ReadyState.OPEN:
                data = message if isinstance(message, str) else BINARY_TYPES[self._binary_type](message)
                self._dispatch(trusted(MessageEvent("message", {"data": data, "origin": self._place.origin})))
            self._messages_handled += 1
        self._state = ReadyState.CLOSING

    @trio.lowlevel.enable_ki_protection
    async def _send_all(self, core: Core) -> None:
        """Hand to the core what `send` was given, then what `close` was."""
        try:
            with trio.CancelScope(shield=True):  # the connection's end ends this, and that has a bound
                await self._hand_over(core)
                if self._closing is not None:
                    # What has arrived meanwhile comes first: the peer's Close may be among it.
                    await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()
                    self._ask(self._options.close_timeout)
                    await core.aclose(*self._closing)
        except ConnectionClosed:
            pass
        finally:
            self._sent.set()

    async def _hand_over(self, core: Core) -> None:
        while True:
            while self._outgoing:
                await core.send(self._outgoing.popleft())
            if self._closing is not None or self._is_flushing:
                return
            self._work = trio.Event()
            await self._work.wait()

    async def _flush(self) -> None:
        self._is_flushing = True
        self._work.set()
        await self._sent.wait()

    def _ended(self, event: EventOfTheCore, *, failed: bool) -> None:
        self._state = ReadyState.CLOSED
        self._outgoing.clear()
        self._is_flushing = True
        self._work.set()
        try:
            if failed:
                self._dispatch(trusted(Event("error")))
        finally:
            self._dispatch(close_event_of(event))

    def _start(self, handler: Coroutine[Any, Any, object], event: Event) -> None:
        if self._home is None:
            super()._start(handler, event)
        else:
            self._spawn(self._handle, handler, event)

    async def _handle(self, handler: Coroutine[Any, Any, object], event: Event) -> None:
        """Run an async handler. What it raises is logged, as that of any handler."""
        with trio.CancelScope() as scope:
            self._handler_scopes[scope] = None
            if self._are_handlers_over:
                scope.cancel()
            try:
                await handler
            except Exception as error:
                report(handler, event, error)
            finally:
                del self._handler_scopes[scope]
