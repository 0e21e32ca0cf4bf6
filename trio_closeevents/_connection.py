"""`WebSocket`: one open connection, as its program sees it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from time import perf_counter
from typing import Any, Final, Literal, cast, overload

import trio

from ._adapters import ByteStream, Events, JSONChannel
from ._events import CloseCause, CloseEvent, sendable_frame
from ._facts import Facts
from ._fragments import Fragments, Sendable, fragments_of
from ._http import Request, Response
from ._life import Life
from ._options import Options, check_limit
from ._payload import check_choice, checked_control_payload, checked_message, decoded
from ._protocol.closing import State
from ._protocol.session import Piece, Session
from ._stream import MessageStream
from ._transport import Transport
from ._turns import turns_of_this_run

__all__ = ["WebSocket", "life_of"]

OPEN: Final = State.OPEN  # members of an enum are slow to look up
protected = trio.lowlevel.enable_ki_protection
checkpoint_if_cancelled = trio.lowlevel.checkpoint_if_cancelled


class WebSocket(Facts, trio.abc.Channel[str | bytes]):
    """An open WebSocket connection; `connect`, `accept` and `serve` make it.

    Any number of tasks may send, one at a time may receive. Everything that waits wakes when the connection ends.
    Every async method checks for cancellation. `send` and `receive` let other tasks run when they have to wait, and
    else once in a millisecond; the others do at every call.
    """

    def __init__(
        self,
        session: Session,
        transport: Transport,
        options: Options,
        *,
        client: bool,
        request: Request,
        response: Response,
        subprotocol: str | None,
        on_close: Callable[[WebSocket, CloseEvent], object] | None = None,
    ) -> None:
        self._life = Life(self, session, transport, options, client=client, on_close=on_close)
        self._session = session
        self._options = options
        self._turns = turns_of_this_run()
        self._driver = self._life.driver
        self._reader = self._driver.reader
        self._writer = self._driver.writer
        self._ready = self._reader.inbox.ready
        self._request = request
        self._response = response
        self._subprotocol = subprotocol

    # -- messages ------------------------------------------------------------------------------------------------

    @protected
    async def send(self, value: Sendable, *, text: bool | None = None) -> None:
        """Send one message: a `str` as text, anything bytes-like as binary, an iterable of either in fragments.

        Returns when the message is queued and at most 64 KiB wait for the network; *value* may be changed then.
        Messages of several tasks are sent in the order of the calls. If
        cancelled while it waits, the message is either queued whole, and will be sent before any Close, or not at all;
        the connection stays usable either way.

        An iterable, asynchronous or not, is sent part by part (RFC 6455 §5.4); the messages of other tasks wait
        meanwhile, Pings and Pongs do not. A list or tuple is checked whole before anything is sent. If the iterable
        raises, or this is cancelled between two parts, there is no way back: the connection closes with the code that
        a block would have for that (1011, 1001), and the exception goes on. When the connection ends, an iterable that
        waits for its next part is cancelled. An asynchronous generator is closed, however this ends.

        Args:
            value: the message, or its parts.
            text: `True` sends bytes as text, `False` sends `str` as binary, in UTF-8; `None`: as it is.

        Raises:
            TypeError: *value* is neither `str` nor bytes-like nor an iterable of one of them. The connection stays
                open, unless a part was sent already.
            ValueError: text that UTF-8 cannot carry, bytes as text that are not UTF-8, or an iterable without a part
                and no *text* to tell its type. The same.
            RuntimeError: an iterable that is being sent calls this, and would wait for itself.
            LocallyClosed: this side has closed, or left the block.
            ConnectionBroken: the connection ended otherwise, or the peer is closing it.
        """
        message: str | bytes
        if text is None and (type(value) is bytes or (type(value) is str and value.isascii())):
            message = value  # there is nothing to check
        else:
            if text is not None:
                check_choice("text", text)
            if (fragments := fragments_of(value, text)) is not None:
                await self._send_parts(fragments)
                return
            message = checked_message(value, text)
        await checkpoint_if_cancelled()
        if self._session.state is not OPEN:
            raise self._life.closed_error(sending=True) from self._session.error
        writer = self._writer
        if writer.is_hindered:
            stands = await writer.send(message)
        else:
            stands = writer.put(message) or await writer.wait_for_room()
        if not stands:
            raise self._life.closed_error(sending=True) from self._session.error
        if perf_counter() >= self._turns.until:
            await self._turns.give()  # not before: others would send first what they were asked to send later

    async def _send_parts(self, fragments: Fragments) -> None:
        sent = False
        with self._writer.cut_off_at_the_end():
            await self._send_fragments(fragments)
            sent = True
        if not sent:
            raise self._life.closed_error(sending=True) from self._session.error
        await self._turns.give()

    async def _send_fragments(self, fragments: Fragments) -> None:
        writer = self._writer
        has_turn = is_torn = False
        try:
            await checkpoint_if_cancelled()
            self._check_sendable()
            part = await fragments.next()
            if part is None:
                fragments.end()  # raises if it is no message
            has_turn = stands = await writer.begin_message()
            while stands and part is not None:
                if part:
                    is_torn = True
                    stands = await writer.send_fragment(part, last=False)
                part = await fragments.next() if stands else None
            if stands:
                end = fragments.end()
                is_torn = False  # from here on it is queued whole
                stands = await writer.send_fragment(end, last=True)
            if not stands:
                raise self._life.closed_error(sending=True) from self._session.error
        finally:
            if has_turn:
                if is_torn and self._session.state is State.OPEN:
                    self._driver.close_for(sys.exception(), keep_arrived=True)
                writer.end_message()
            await fragments.aclose()

    @overload
    async def receive(self, *, decode: None = None) -> str | bytes: ...

    @overload
    async def receive(self, *, decode: Literal[True]) -> str: ...

    @overload
    async def receive(self, *, decode: Literal[False]) -> bytes: ...

    @overload
    async def receive(self, *, decode: bool | None) -> str | bytes: ...

    @protected
    async def receive(self, *, decode: bool | None = None) -> str | bytes:
        """Return the next message: text as `str`, binary as `bytes`.

        If cancelled, nothing is lost: the next call returns the message. What had arrived before the end, or before
        our own Close, is handed out first.

        Args:
            decode: `True` returns a `str`, of binary messages too; `False` returns `bytes`, of text too, in UTF-8.

        Raises:
            ValueError: *decode* is true, and a binary message is not UTF-8. The next call can still return it.
            RemoteClosed: the peer has closed cleanly with 1000, 1001 or no code.
            LocallyClosed: this side has closed, or left the block.
            ConnectionBroken: the connection ended otherwise. Its `__cause__` is the socket's error, if there was one.
            trio.BusyResourceError: another task is in `receive` already. The connection is untouched.
            RuntimeError: a message is half read: an exception has left the block of its `receive_stream`.
        """
        if decode is not None:
            check_choice("decode", decode)
        elif self._ready and self._reader.is_free and perf_counter() < self._turns.until:
            await checkpoint_if_cancelled()
            return self._ready.pop()
        self._reader.check_whole()
        message = self._delivered(await self._reader.receive())
        if decode is True and isinstance(message, bytes):
            try:
                return decoded(message)
            except ValueError:
                self._reader.inbox.put_back(message)
                raise
        return message.encode() if decode is False and isinstance(message, str) else message

    @protected
    async def __anext__(self) -> str | bytes:
        if self._ready and self._reader.is_free and perf_counter() < self._turns.until:
            await checkpoint_if_cancelled()
            return self._ready.pop()
        self._reader.check_whole()
        try:
            return self._delivered(await self._reader.receive())
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def _delivered(self, message: str | bytes | Piece | None) -> str | bytes:
        if message is None:
            raise self._life.closed_error(sending=False) from self._session.error
        return cast("str | bytes", message)

    def receive_stream(self, *, max_size: int | None = None) -> MessageStream:
        """Receive the next message piece by piece, as it arrives: for messages that are larger than memory.

        ``async with ws.receive_stream() as pieces:`` waits for the message to begin; ``async for piece in pieces:``
        gives its pieces. If that is cancelled, nothing is lost. A block that is left normally before the message has
        ended skips the rest of it; after one that an exception or a cancellation has left, the next `receive_stream`
        goes on where it was, with no piece if only the end was still to be told. As long as a block is open, nobody
        else may receive.

        A message over `max_message_size` that arrives while nobody receives waits for somebody who does, and nothing
        behind it is seen: so one can be received in pieces whose size only *max_size* limits.

        Args:
            max_size: the most bytes the message may have, decoded; a larger one fails the connection with 1009.
                `None`: no limit.

        Raises:
            TypeError, ValueError: *max_size* is no limit.
            RemoteClosed, LocallyClosed, ConnectionBroken: as for `receive`, from the block's beginning and from the
                iteration.
            trio.BusyResourceError: another task receives already.
        """
        check_limit("max_size", max_size, 0)
        return MessageStream(self._reader, self._receive, max_size)

    async def _receive(self) -> str | bytes | Piece:
        message: str | bytes | Piece | None = await self._reader.receive()
        if message is None:
            raise self._life.closed_error(sending=False) from self._session.error
        return message

    def events(self) -> AsyncIterator[str | bytes | CloseEvent]:
        """Iterate over the messages, with the `CloseEvent` as the last item, whatever it says."""
        return Events(self)

    def as_stream(self) -> ByteStream:
        """Return the connection as a `trio.abc.HalfCloseableStream`: bytes, which travel in binary messages."""
        return ByteStream(self)

    def as_json(
        self,
        *,
        dumps: Callable[[Any], str | bytes] | None = None,
        loads: Callable[[str | bytes], Any] | None = None,
    ) -> JSONChannel:
        """Return the connection as a `trio.abc.Channel` of values, which travel as JSON in text messages.

        Args:
            dumps: makes JSON of a value, as `str` or as bytes in UTF-8; `json.dumps` if `None`.
            loads: makes a value of JSON; `json.loads` if `None`.
        """
        return JSONChannel(self, dumps, loads)

    @protected
    async def ping(self, payload: bytes | bytearray | memoryview | None = None) -> float:
        """Send a Ping and wait for its Pong (RFC 6455 §5.5.2). A Pong answers all older Pings too.

        Args:
            payload: at most 125 bytes, not those of a Ping that is under way; random if `None`.

        Returns:
            Seconds from queueing the Ping to its Pong.

        Raises:
            TypeError: *payload* is not bytes-like.
            ValueError: *payload* is too long, or under way already.
            LocallyClosed, ConnectionBroken: as for `send`; also when the connection ends before the Pong.
        """
        if payload is not None:
            payload = checked_control_payload(payload)
            if payload in self._driver.pings:
                raise ValueError(f"a Ping with payload {payload!r} is under way already: wait for it, or use another")
        await checkpoint_if_cancelled()
        self._check_sendable()
        latency = await self._driver.ping(payload)
        if latency is None:
            raise self._life.closed_error(sending=True) from self._session.error
        return latency

    @protected
    async def pong(self, payload: bytes | bytearray | memoryview = b"") -> None:
        """Send an unsolicited Pong (RFC 6455 §5.5.3); Pings of the peer are answered without it.

        Raises:
            TypeError: *payload* is not bytes-like.
            ValueError: *payload* is longer than 125 bytes.
            LocallyClosed, ConnectionBroken: as for `send`.
        """
        data = checked_control_payload(payload)
        await checkpoint_if_cancelled()
        self._check_sendable()
        self._writer.send_control(self._session.send_pong(data))
        await trio.lowlevel.cancel_shielded_checkpoint()

    # -- the end -------------------------------------------------------------------------------------------------

    @protected
    async def aclose(self, code: int | None = 1000, reason: str = "", *, drain: bool = False) -> None:
        """Run the closing handshake, then close the transport (RFC 6455 §7.1.2).

        Returns when the transport is gone, at most `close_timeout` seconds after the first call. Raises nothing of
        the network's. A second call sends nothing and waits too; any task may call it, at any time. If cancelled, it
        still finishes, within `cancel_timeout` seconds, and then raises `trio.Cancelled`.

        Args:
            code: 1000-1003, 1007-1014 or 3000-4999 (§7.4); `None` sends an empty Close frame.
            reason: at most 123 bytes as UTF-8; needs a code.
            drain: what the peer still sends before its own Close is received, as if the connection were open, and not
                dropped. Another task may be in `receive`, or what is in the queue is received after this. A queue that
                is full holds the peer's Close back, up to `close_timeout`.

        Raises:
            TypeError: *code*, *reason* or *drain* has the wrong type. Nothing was sent.
            ValueError: *code* or *reason* may not travel in a Close frame. Nothing was sent.
        """
        frame = sendable_frame(code, reason)
        if not isinstance(drain, bool):
            raise TypeError(f"drain must be a bool, not {drain!r}")
        self._driver.close(frame, CloseCause.CLOSED, self._options.close_timeout, keep_arrived=True, drain=drain)
        await self._life.see_it_through()
        await trio.lowlevel.checkpoint()

    @protected
    def abort(self) -> None:
        """Drop the transport now, without a Close frame: the peer sees 1006. Not a checkpoint. Idempotent."""
        self._driver.abort()

    @protected
    async def wait_closed(self) -> CloseEvent:
        """Wait until it is decided how the connection ended, and return that."""
        self._reader.take_over()
        await self._driver.decided.wait()
        event = self._session.close_event
        assert event is not None
        return event

    def _check_sendable(self) -> None:
        if self._session.state is not OPEN:
            raise self._life.closed_error(sending=True) from self._session.error


def life_of(websocket: WebSocket) -> Life:
    """Return what the block, the server and `broadcast` see to."""
    return websocket._life  # pyright: ignore[reportPrivateUsage]  # a program must not see it, the library does
