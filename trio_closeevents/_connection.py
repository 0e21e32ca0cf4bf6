"""`WebSocket`: one open connection, as its program sees it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from ._adapters import ByteStream, JSONChannel
from ._driver import Driver
from ._errors import ConnectionBroken, ConnectionClosed, LocallyClosed, RemoteClosed
from ._events import CloseCause, CloseCode, CloseEvent, CloseFrame, sendable_frame
from ._fragments import Fragments, Sendable, fragments_of
from ._hooks import unprotected
from ._http import Request, Response
from ._observer import Watching
from ._options import Options, check_limit
from ._payload import check_choice, checked_control_payload, checked_message, decoded
from ._protocol.closing import State
from ._protocol.observed import ObservedSession
from ._protocol.plain import Shared
from ._protocol.session import Piece, Session
from ._status import ReadyState, Stats
from ._stream import MessageStream
from ._transport import Transport
from ._turns import turns_of_this_run

if TYPE_CHECKING:
    from uuid import UUID

__all__ = ["WebSocket"]

END_OF_ITERATION: Final = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD})

logger = logging.getLogger("trio_closeevents")
OPEN: Final = State.OPEN  # members of an enum are slow to look up
protected = trio.lowlevel.enable_ki_protection
checkpoint_if_cancelled = trio.lowlevel.checkpoint_if_cancelled


class WebSocket(trio.abc.Channel[str | bytes]):
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
        self._session = session
        self._options = options
        self._turns = turns_of_this_run()
        self._driver = Driver(session, transport, options, client=client, on_end=self._ended)
        self._reader = self._driver.reader
        self._writer = self._driver.writer
        self._ready = self._reader.inbox.ready
        self._role = "client" if client else "server"
        self._request = request
        self._response = response
        self._subprotocol = subprotocol
        self._on_close = on_close
        self._watching: Watching | None = None
        self._interruption: BaseException | None = None  # out of an observer, for the block to raise
        if isinstance(session, ObservedSession) and options.observer is not None:
            self._watching = Watching(options.observer, self, self._interrupt)
            session.watched_by(self._watching)
        self.under_block: trio.CancelScope | None = None  # with `cancel_on_close`: what ends the block
        self._random_id: int | None = None  # as soon as somebody asks

    # -- messages ------------------------------------------------------------------------------------------------

    @protected
    async def send(self, value: Sendable, *, text: bool | None = None) -> None:
        """Send one message: a `str` as text, anything bytes-like as binary, an iterable of either in fragments.

        Returns when the message is queued and at most 64 KiB wait for the network; *value* may be changed then. If
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
        if perf_counter() < self._turns.until:
            await checkpoint_if_cancelled()
        else:
            await self._turns.checkpoint()
        if self._session.state is not OPEN:
            raise self._closed_error(sending=True) from self._session.error
        writer = self._writer
        if writer.is_hindered:
            stands = await writer.send(message)
        else:
            stands = writer.put(message) or await writer.wait_for_room()
        if not stands:
            raise self._closed_error(sending=True) from self._session.error

    async def _send_parts(self, fragments: Fragments) -> None:
        sent = False
        with self._writer.cut_off_at_the_end():
            await self._send_fragments(fragments)
            sent = True
        if not sent:
            raise self._closed_error(sending=True) from self._session.error

    async def _send_fragments(self, fragments: Fragments) -> None:
        writer = self._writer
        has_turn = is_torn = False
        try:
            await trio.lowlevel.checkpoint()
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
                raise self._closed_error(sending=True) from self._session.error
        finally:
            if has_turn:
                if is_torn and self._session.state is State.OPEN:
                    self._driver.close_for(sys.exception(), keep_arrived=True)
                writer.end_message()
            await fragments.aclose()

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
            raise self._closed_error(sending=False) from self._session.error
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
            raise self._closed_error(sending=False) from self._session.error
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
        await trio.lowlevel.checkpoint()
        self._check_sendable()
        latency = await self._driver.ping(payload)
        if latency is None:
            raise self._closed_error(sending=True) from self._session.error
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
        await trio.lowlevel.checkpoint()
        self._check_sendable()
        self._writer.send_control(self._session.send_pong(data))

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
        await self.see_it_through()
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

    @property
    def close_event(self) -> CloseEvent | None:
        """How the connection ended; `None` until that is decided, and never changed then."""
        return self._session.close_event

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> ReadyState:
        """OPEN; CLOSING from the first Close frame or failure; CLOSED when the transport is gone."""
        if self._session.state is State.OPEN:
            return ReadyState.OPEN
        return ReadyState.CLOSED if self._session.state is State.CLOSED else ReadyState.CLOSING

    @property
    def id(self) -> UUID:
        """A random id, for logs."""
        from uuid import UUID  # it takes long to import, and few ask

        return UUID(int=self._id)

    @property
    def _id(self) -> int:
        if self._random_id is None:
            random = int.from_bytes(os.urandom(16))
            self._random_id = random & ~(0xF000C << 60) | 0x40008 << 60  # version 4 (RFC 9562)
        return self._random_id

    @property
    def _short_id(self) -> str:
        return f"{self._id:032x}"[:8]

    @property
    def subprotocol(self) -> str | None:
        """What both sides agreed on, `None` if nothing."""
        return self._subprotocol

    @property
    def is_client(self) -> bool:
        """This side is the client, and the peer is the server."""
        return self._role == "client"

    @property
    def url(self) -> str:
        """What the request asked for (RFC 9110 §7.1): `ws:`, or `wss:` if TLS is spoken here; `Host`; target."""
        scheme = "wss" if self._driver.transport.is_secure else "ws"
        return f"{scheme}://{self._request.headers.get('host', '')}{self._request.target}"

    @property
    def request(self) -> Request:
        """The client's half of the opening handshake."""
        return self._request

    @property
    def response(self) -> Response:
        """The server's half of the opening handshake."""
        return self._response

    @property
    def local_address(self) -> Any:
        """This side's address, as the socket has it; `None` on a stream that has no socket."""
        return self._driver.transport.local_address

    @property
    def remote_address(self) -> Any:
        """The peer's address, as the socket has it; `None` on a stream that has no socket."""
        return self._driver.transport.remote_address

    @property
    def buffered(self) -> int:
        """Bytes of messages that were sent by the program and not yet given to the network."""
        return self._writer.outbox.payload

    @property
    def latency(self) -> float | None:
        """Seconds of the latest round trip of a Ping and its Pong, a keepalive's or one of `ping`; `None` before it."""
        return self._driver.pings.latency

    @property
    def stats(self) -> Stats:
        """What the connection has carried so far."""
        session = self._session
        return Stats(
            self._writer.messages_sent,
            self._writer.bytes_sent,
            self._reader.messages_received,
            self._reader.bytes_received,
            session.messages_dropped,
            session.bytes_dropped,
        )

    def __repr__(self) -> str:
        end = f", {self.close_event}" if self.close_event is not None else ""
        return f"<WebSocket {self._role} {self._request.target} {self._short_id} {self.state.name}{end}>"

    # -- inside --------------------------------------------------------------------------------------------------

    def offer(self, shared: Shared) -> bool:
        """Queue a message of `broadcast`; tell whether nothing is left to do, because it had room or we have ended."""
        if self._session.state is not State.OPEN:
            return True
        if self._writer.is_hindered:
            return False
        self._writer.put(shared.message, self._session.send_shared(shared))
        return True

    def _check_sendable(self) -> None:
        if self._session.state is not State.OPEN:
            raise self._closed_error(sending=True) from self._session.error

    def _closed_error(self, *, sending: bool) -> ConnectionClosed:
        """Return the exception for what is asked of a connection that has ended or is about to."""
        if self._session.closed_by_us:
            return LocallyClosed(connection=self)
        event = self.close_event
        if not sending and event is not None and event.was_clean and event.code in END_OF_ITERATION:
            return RemoteClosed(connection=self)
        return ConnectionBroken(connection=self)

    def _ended(self) -> None:
        """The CloseEvent was decided: tell the log, the block and the program."""
        event = self._session.close_event
        assert event is not None
        if self.under_block is not None and not self._session.closed_by_us:  # an `aclose` in the block goes on first
            self.under_block.cancel()
        extra = {"websocket": self, "close_event": event}
        logger.info("%s %s (%s) ended: %s", self._role, self._short_id, self._request.target, event, extra=extra)
        if self._watching is not None:
            self._watching.close(event)
        if self._on_close is not None:
            call_on_close(self._on_close, self, event)

    @property
    def ended_under_block(self) -> bool:
        """With `cancel_on_close`: the connection ended while the block ran, which was cancelled therefore."""
        return self.under_block is not None and self.under_block.cancel_called

    def broken(self) -> ConnectionBroken | None:
        """Return what tells of an ending that neither this side nor a clean close of the peer explains."""
        error = self._closed_error(sending=False)
        error.__cause__ = self._session.error
        return error if isinstance(error, ConnectionBroken) else None

    @protected
    def run(self) -> Coroutine[object, object, None]:
        """The connection's own tasks; ends when the transport is gone. Called before the block begins."""
        if self._watching is not None:
            self._watching.open()
        elif self.under_block is None:
            return self._driver.run()
        return self._run_and_tell(self.under_block)

    @protected
    async def _run_and_tell(self, block: trio.CancelScope | None) -> None:
        try:
            await self._driver.run()
        finally:
            if block is not None:
                block.cancel()
        if self._interruption is not None:
            raise self._interruption

    def _interrupt(self, interruption: BaseException) -> None:
        """End the block as if *interruption*, which an observer has raised, had left it."""
        self._interruption = self._interruption or interruption
        self._driver.close_for(interruption, keep_arrived=False)

    def close_for(self, left_by: BaseException | None) -> None:
        """Begin the ending that a block asks for which *left_by* leaves, or which returns (`None`)."""
        self._driver.close_for(left_by, keep_arrived=False)
        self._reader.discard_inbox()
        if isinstance(left_by, GeneratorExit):
            self._driver.abort()

    def close_by_server(self, frame: CloseFrame) -> None:
        """Begin the ending that `Server.aclose` asks for."""
        self._driver.close(frame, CloseCause.CLOSED, self._options.close_timeout, keep_arrived=True)

    async def see_it_through(self) -> None:
        """Wait until the transport is gone, whatever comes; then raise what came."""
        await self._driver.see_it_through()


class Events(AsyncIterator[str | bytes | CloseEvent]):
    """Messages, then the CloseEvent. A class, since an async generator that is left early has to be closed."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._over = False

    async def __anext__(self) -> str | bytes | CloseEvent:
        if self._over:
            raise StopAsyncIteration
        try:
            return await self._websocket.receive()
        except ConnectionClosed:
            event = await self._websocket.wait_closed()
        self._over = True
        return event


def call_on_close(on_close: Callable[[WebSocket, CloseEvent], object], websocket: WebSocket, event: CloseEvent) -> None:
    """Call the program's hook. What it raises is logged: there is nobody else to tell."""
    try:
        unprotected(on_close, websocket, event)
    except Exception as error:
        logger.error("on_close(%r, %s) raised", websocket, event, exc_info=error)
