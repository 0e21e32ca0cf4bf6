"""`Owner`: who owns the core's connection, and how it opens and ends.

Theory. A connection of the core belongs to a block. That of `open_websocket` is one, and so is a task in the nursery
that a program has given, which lives until the transport is gone. Both attach the core's `WebSocket` here when it is
open.
"""

from __future__ import annotations

import re
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple

import trio
from wsproto.utilities import LocalProtocolError

import trio_closeevents
from trio_closeevents import CloseCause, CloseEvent, ReadyState, Request, WebSocket, is_sendable
from trio_closeevents import HandshakeError as Unopened

from ._answer import Answer
from ._errors import ConnectionClosed, HandshakeError, handshake_error, one_of
from ._limits import HeaderPairs
from ._values import CloseReason, Endpoint, addresses_of

__all__ = ["Handshake", "Owner"]

FIN_TIMEOUT: Final = 2.0  # seconds that the peer has to end TCP, once both Close frames have travelled
MAX_REASON_BYTES: Final = 123  # as UTF-8 (RFC 6455 §5.5)
FAILURES: Final = {
    CloseCause.PROTOCOL_ERROR: 1002,
    CloseCause.INVALID_PAYLOAD: 1007,
    CloseCause.MESSAGE_TOO_BIG: 1009,
}
IN_A_URL: Final = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")

protected = trio.lowlevel.enable_ki_protection


class Handshake(NamedTuple):
    """What a client asks for."""

    host: str
    path: str
    subprotocols: tuple[str, ...]
    fields: list[tuple[str, str]]


class Turn:
    """What one task at a time may do, and others after it in the order in which they came."""

    def __init__(self) -> None:
        self._is_taken = False
        self._others = trio.lowlevel.ParkingLot()

    async def take(self) -> None:
        """Wait for the turn. No checkpoint if it is free."""
        if self._is_taken:
            await self._others.park()
        self._is_taken = True

    def give_back(self) -> None:
        """Hand it to the next: it stays taken, so that nobody comes between."""
        self._is_taken = bool(self._others)
        self._others.unpark()


class Owner:
    """Owns the core's connection.

    Args:
        asks: what a client asks for; `None`: this is the server.
        options: the core's.

    Attributes:
        websocket: the core's connection, as soon as it is open.
        asked_to_close: this side has closed, with this code.
        is_lent: the program, which has given the stream, may use or close it behind our back.
        path: the request target; at a server `None` until the request was accepted.
    """

    def __init__(self, stream: trio.abc.Stream, asks: Handshake | None, options: dict[str, Any]) -> None:
        self._stream = stream
        self._asks = asks
        self._options = options
        self._is_secured = isinstance(stream, trio.SSLStream)  # by TLS, whoever speaks it
        self._addresses = addresses_of(stream)  # now: the core takes the socket out of it
        self.is_lent = False
        self.path = None if asks is None else asks.path
        self.websocket: WebSocket | None = None
        self.asked_to_close: int | None = None
        self._reason: CloseReason | None = None
        self._turn = Turn()  # of those that receive
        self._kept: deque[str | bytes] = deque()  # messages that are still to be had when the block has been left
        self._has_task = False  # in a nursery, which owns the connection
        self._opening = trio.CancelScope()  # round that task
        self._settled = trio.Event()  # it is open, or never will be
        self._over = trio.Event()  # that task has nothing left to do
        # A server's opening handshake:
        self._propose: Callable[[Request], object] | None = None
        self._is_proposed = False
        self._answer = Answer()

    @property
    def is_client(self) -> bool:
        return self._asks is not None

    def endpoint(self, *, local: bool) -> Endpoint | str:
        """Return one end of the connection; the `repr` of the stream, if it is no TCP."""
        address = self._addresses[0 if local else 1]
        return repr(self._stream) if address is None else Endpoint(address[0], address[1], self._is_secured)

    @property
    def _stream_of_core(self) -> trio.abc.Stream:
        """What the core may have for itself: it takes the socket out of a `trio.SocketStream`."""
        if self.is_lent and isinstance(self._stream, trio.SocketStream):
            return trio.StapledStream(self._stream, self._stream)
        return self._stream

    # -- why it is closed ----------------------------------------------------------------------------------------

    @property
    def closed(self) -> CloseReason | None:
        """Why the connection was closed, or is being closed: the same object as long as the same is known."""
        if (websocket := self.websocket) is None:
            return self._reason
        event = websocket.close_event
        if event is not None:
            self._remember(*self._code_and_reason(event))
        elif websocket.state is not ReadyState.OPEN:
            received = websocket.close_received
            if received is not None:
                self._remember(1005 if received.code is None else received.code, received.reason)
            else:
                self._remember(1006 if self.asked_to_close is None else self.asked_to_close, "")
        return self._reason

    def _remember(self, code: int, reason: str) -> None:
        known = self._reason
        if known is None or (known.code, known.reason or "") != (code, reason):
            self._reason = CloseReason(code, reason or None)

    def _code_and_reason(self, event: CloseEvent) -> tuple[int, str]:
        said = "" if event.sent is None else event.sent.reason
        if event.cause is CloseCause.MESSAGE_TOO_BIG and "fragments" not in said:
            return 1009, f"Exceeded maximum message size: {self._options['max_message_size']} bytes"
        failed = FAILURES.get(event.cause) if event.cause else None
        if failed is not None:
            return failed, said
        return event.code, event.reason

    # -- opening -------------------------------------------------------------------------------------------------

    def client_block(
        self, ssl_context: ssl.SSLContext | None, server_hostname: str, **options: float
    ) -> AbstractAsyncContextManager[WebSocket]:
        """Return the core's block for a client.

        Args:
            ssl_context: for TLS over the stream; `None`: there is none, or the stream speaks it already.
            server_hostname: the name that the server's certificate must have.
            **options: to replace some of the core's.
        """
        assert self._asks is not None
        host, path, subprotocols, fields = self._asks
        self._is_secured |= ssl_context is not None
        place = host if IN_A_URL.fullmatch(host) else "localhost"  # a name for messages: the stream is there already
        target = (path if path.startswith("/") else f"/{path}").replace("#", "%23")
        if not any(name.lower() == "host" for name, _ in fields):
            fields = [("Host", host), *fields]
        more: dict[str, Any] = {**self._options, **options}
        if ssl_context is not None:
            more |= {"ssl_context": ssl_context, "server_hostname": server_hostname}
        return trio_closeevents.connect(
            f"{'wss' if self._is_secured else 'ws'}://{place}{target}",
            stream=self._stream_of_core,
            subprotocols=subprotocols,
            headers=fields,
            user_agent=None,
            **more,
        )

    async def open_in(self, nursery: trio.Nursery, block: AbstractAsyncContextManager[WebSocket]) -> None:
        """Open a client's connection, in a task of *nursery* that owns it from then on.

        Raises:
            HandshakeError: it was not opened.
            RuntimeError: the nursery is closed. The stream is too.
        """
        failure: Unopened | None = await self._start_in(nursery, block)
        if failure is not None:
            raise handshake_error(failure) from failure

    async def propose_in(
        self,
        nursery: trio.Nursery,
        propose: Callable[[Request], object],
        ssl_context: ssl.SSLContext | None = None,
        **options: float,
    ) -> Any:
        """Wait for a client's request, in a task of *nursery* that owns the connection from then on.

        Args:
            propose: makes of the request what this returns.
            ssl_context: for TLS over the stream; `None`: there is none, or the stream speaks it already.
            **options: to replace some of the core's.

        Raises:
            HandshakeError: there was none, or a malformed one, which was answered.
            RuntimeError: the nursery is closed. The stream is too.
        """
        self._is_secured |= ssl_context is not None
        self._propose = propose
        more: dict[str, Any] = {**self._options, **options}
        block = trio_closeevents.accept(
            self._stream_of_core,
            ssl_context=ssl_context,
            select_subprotocol=self._wait_for_answer,
            process_response=self._answer.instead_of,
            server_header=None,
            **more,
        )
        proposed = await self._start_in(nursery, block)
        if isinstance(proposed, Unopened):
            raise HandshakeError(str(proposed)) from proposed
        return proposed

    async def _start_in(self, nursery: trio.Nursery, block: AbstractAsyncContextManager[WebSocket]) -> Any:
        try:
            return await nursery.start(self._own, block)
        finally:
            if not self._has_task:  # it is closed: nobody owns the stream
                await trio.aclose_forcefully(self._stream)

    @protected
    async def _own(self, block: AbstractAsyncContextManager[WebSocket], *, task_status: trio.TaskStatus[Any]) -> None:
        """Be the task that owns the connection. What it has to say first is an error, a proposal, or `None`."""
        self._has_task = True
        self._task_status = task_status
        try:
            with self._opening:
                async with block as websocket:
                    self.attach(websocket)
                    if self.is_client:
                        task_status.started(None)
                    await self._end_tcp(websocket)
                    await self.keep_arrived()
        except Unopened as error:
            if not self._is_proposed:
                task_status.started(error)
        finally:
            if self.websocket is None and self._reason is None:
                self._remember(1006, "")
            self._settled.set()
            self._over.set()

    def attach(self, websocket: WebSocket) -> None:
        """Be open."""
        self.websocket = websocket
        self._settled.set()

    # -- messages ------------------------------------------------------------------------------------------------

    async def send(self, message: str | bytes) -> None:
        """Send a message; on a stream that the program has closed behind our back it could only be queued.

        Raises:
            trio_closeevents.ConnectionClosed: the connection has ended, or is about to.
        """
        websocket = self.opened
        await websocket.send(message)
        if self.is_lent and isinstance(self._stream, trio.SocketStream) and self._stream.socket.fileno() == -1:
            await websocket.wait_closed()
            raise trio_closeevents.ConnectionBroken(connection=websocket)

    async def receive(self) -> str | bytes:
        """Return the next message; whoever comes when a task waits for it already, waits for the next.

        Raises:
            trio_closeevents.ConnectionClosed: there will be none any more, or this side has closed.
        """
        await self._turn.take()
        try:
            if self._kept and self.asked_to_close is None:
                await trio.lowlevel.checkpoint()
                return self._kept.popleft()
            websocket = self.opened
            if self.asked_to_close is not None:
                raise trio_closeevents.LocallyClosed(connection=websocket)
            return await websocket.receive()
        finally:
            self._turn.give_back()

    async def keep_arrived(self) -> None:
        """Take what had arrived before the peer closed out of the core, which drops it when its block is left."""
        if self.asked_to_close is not None:
            return
        await self._turn.take()
        try:
            while True:
                self._kept.append(await self.opened.receive())
        except trio_closeevents.ConnectionClosed:
            pass
        finally:
            self._turn.give_back()

    @property
    def opened(self) -> WebSocket:
        """The core's connection.

        Raises:
            ConnectionClosed: it has never been one.
            LocalProtocolError: it is none yet.
        """
        if self.websocket is not None:
            return self.websocket
        if self.closed is not None:
            raise ConnectionClosed(self.closed)
        raise LocalProtocolError("the connection is not open: its opening handshake is not done")

    # -- a server's opening handshake ----------------------------------------------------------------------------

    async def _wait_for_answer(self, request: Request) -> str | None:
        """Let the program answer *request*; return the subprotocol that it has chosen."""
        assert self._propose is not None
        self._is_proposed = True
        self._task_status.started(self._propose(request))
        return await self._answer.wait()

    async def accept(
        self, path: str, proposed: tuple[str, ...], subprotocol: str | None, headers: HeaderPairs | None
    ) -> None:
        """Answer with the upgrade, and wait until it is done; see `WebSocketRequest.accept`."""
        self._answer.accept(subprotocol, proposed, headers)
        self.path = path
        await self._settled.wait()
        if self.websocket is None:
            raise ConnectionClosed(self.closed)

    async def reject(self, status_code: int, headers: HeaderPairs | None, body: bytes | None) -> None:
        """Answer with something else, and wait until it is done; see `WebSocketRequest.reject`."""
        self._answer.reject(status_code, headers, body)
        self._reason = CloseReason(1006, "Rejected WebSocket handshake")
        await self._over.wait()

    # -- the end -------------------------------------------------------------------------------------------------

    async def end(self, code: int, reason: str | None = None) -> None:
        """Close, and wait until the transport is gone. If cancelled, it still finishes, within `cancel_timeout`.

        Raises:
            ValueError: *code* may not travel in a Close frame. Nothing was sent.
        """
        if (websocket := self.websocket) is None:
            await self._end_unopened()
            return
        text = "" if reason is None else reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        if self.closed is None and is_sendable(code):
            self.asked_to_close = code
        if self._has_task:
            await websocket.aclose(code, text)
        else:
            await self._end_block(websocket, code, text)

    async def end_at_once(self, code: int) -> None:
        """Close as a block that is cancelled does: within `cancel_timeout`."""
        with trio.CancelScope() as scope:
            scope.cancel()
            await self.end(code)

    async def _end_block(self, websocket: WebSocket, code: int, reason: str) -> None:
        """Do so where no task of ours sees to the end of TCP."""
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_tcp, websocket)
                await websocket.aclose(code, reason)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            failure = one_of(group)
        if failure is not None:
            raise failure

    async def _end_tcp(self, websocket: WebSocket) -> None:
        """Wait for the end; a peer that has closed does not always end TCP, as clients of trio-websocket do not."""
        await websocket.wait_closed()
        with trio.move_on_after(FIN_TIMEOUT):
            await websocket.aclose()
        websocket.abort()

    async def _end_unopened(self) -> None:
        if self._has_task:
            self._opening.cancel()
            await self._over.wait()
        else:
            await self._stream.aclose()
