"""Bytes on trio: one class for plain sockets, one for any other `trio.abc.Stream`.

Both have the same few operations. A socket can be asked without waiting (`take`, `write_nowait`), and any task may do
the asking. A stream can only be awaited: one task reads and one writes, and neither is a task of the user, since a
cancelled `SSLStream.send_all` leaves the stream broken.

Theory of the end. To close a socket with unread bytes in it sends RST, and the RST may destroy our Close frame in the
peer's receive buffer. So `finish` shuts down the sending side first, reads until the peer has done the same, and
throws away what it reads. Somebody else's deadline bounds it; `aclose` is what follows in every case.
"""

from __future__ import annotations

import socket as stdlib_socket
import ssl
from contextlib import suppress
from typing import Any, Final, Protocol, cast

import trio

from ._outbox import Outbox

__all__ = [
    "LOST",
    "SocketTransport",
    "StreamTransport",
    "Transport",
    "as_tls",
    "is_open",
    "open_transport",
    "os_error",
    "socket_names",
    "stream_names",
]

CHUNK: Final = 64 * 1024  # bytes to read at once
MUCH: Final = 256 * 1024  # where that was not enough

HAS_SENDMSG: Final = hasattr(stdlib_socket.socket, "sendmsg")  # not on Windows

# How a stream tells that it is no longer good; the cause is the operating system's error.
LOST: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Transport(Protocol):
    """A byte stream under a connection.

    Attributes:
        any_task: any task may wait for input and write, with no hand-over; `write_nowait` writes.
        is_secure: TLS is spoken on it.
        has_part: the last `take` found nothing but a part of something: the peer lives.
        is_clogged: it has something to say by itself, which the network has not taken yet; `write` goes on with it.
        local_address, remote_address: as the socket has them, `None` where there are none; a server puts the client's
            there when a proxy has named it.
    """

    any_task: bool
    is_secure: bool
    has_part: bool = False
    is_clogged: bool = False
    local_address: Any
    remote_address: Any

    async def wait_input(self) -> None:
        """Wait until `take` has something. If cancelled, nothing is lost."""
        ...

    def take(self) -> bytes | None:
        """Return what has arrived: `b""` at its end, `None` if there is nothing yet. One of `LOST` if it broke."""
        ...

    async def read(self) -> bytes:
        """Wait for what arrives and return it, `b""` at its end. One of `LOST` if it broke."""
        while (data := self.take()) is None:
            await self.wait_input()
        return data

    def interrupt(self) -> None:
        """Let `wait_input` return, although nothing may have arrived."""
        ...

    def try_send(self, data: bytes) -> int:
        """Hand over what the network takes at once of *data*; tell how much. One of `LOST` if it broke."""
        ...

    def write_nowait(self, outbox: Outbox) -> bool:
        """Hand over what the network takes at once, up to `MUCH`; tell whether it would take more.

        One of `LOST` if it broke.
        """
        ...

    async def write(self, outbox: Outbox) -> None:
        """Hand over some of what is queued, or wait until the network would take some. One of `LOST` if it broke."""
        ...

    async def write_all(self, data: bytes) -> None:
        """Hand over all of *data*. One of `LOST` if it broke."""
        sent = self.try_send(data)
        if sent < len(data):
            outbox = Outbox()
            outbox.append(data)
            outbox.heads(sent)
            outbox.advance(sent)
            while outbox.size:
                await self.write(outbox)

    async def finish(self) -> None:
        """Shut down the sending side, read to the end of what the peer sends, and throw it away.

        Nothing may be waiting in `wait_input` or `write`. Returns at the end, or when the transport broke.
        """
        ...

    def drop(self) -> None:
        """Close at once, without waiting. Whoever waits is woken. Idempotent."""
        ...

    async def aclose(self) -> None:
        """Finish a `drop` that could not be done without waiting. Idempotent."""
        ...


class SocketTransport(Transport):
    """A plain socket. It is taken out of its `trio.SocketStream`, which cannot be used any more."""

    any_task = True
    is_secure = False

    def __init__(self, stream: trio.SocketStream) -> None:
        given = stream.socket
        self._socket = stdlib_socket.socket(given.family, given.type, given.proto, given.detach())
        self._socket.setblocking(False)
        self.local_address, self.remote_address = socket_names(self._socket)
        self._chunk = CHUNK

    async def wait_input(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except trio.ClosedResourceError:
            return  # interrupted, or closed, which `take` will tell

    def interrupt(self) -> None:
        trio.lowlevel.notify_closing(self._socket)  # which closes nothing, and wakes who waits

    @property
    def _is_closed(self) -> bool:
        return self._socket.fileno() == -1

    def take(self) -> bytes | None:
        try:
            data = self._socket.recv(self._chunk)
        except (BlockingIOError, InterruptedError):
            return None
        self._chunk = MUCH if len(data) == self._chunk else CHUNK
        return data

    def try_send(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def write_nowait(self, outbox: Outbox) -> bool:
        room = MUCH
        try:
            while outbox.size and room > 0:
                heads = outbox.heads(room)
                if len(heads) == 1:
                    sent = self._socket.send(heads[0])
                elif HAS_SENDMSG:
                    sent = self._socket.sendmsg(heads)
                else:
                    sent = self._socket.send(b"".join(heads))
                outbox.advance(sent)
                room -= sent
        except (BlockingIOError, InterruptedError):
            return False
        return True

    async def write(self, outbox: Outbox) -> None:
        if not self.write_nowait(outbox):
            await self._wait_for_room()
        elif outbox.size:
            await trio.lowlevel.checkpoint()

    async def _wait_for_room(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._socket)
        except trio.ClosedResourceError:
            if self._is_closed:
                raise

    async def finish(self) -> None:
        with suppress(*LOST):
            self._socket.shutdown(stdlib_socket.SHUT_WR)
            await self._drain()

    async def _drain(self) -> None:
        """Read to the end of what the peer sends, and throw it away."""
        with suppress(*LOST):
            while (data := SocketTransport.take(self)) != b"":  # whatever it means to a subclass
                if data is None:
                    await self.wait_input()
                else:
                    await trio.lowlevel.checkpoint()

    def drop(self) -> None:
        if not self._is_closed:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def aclose(self) -> None:
        self.drop()
        await trio.lowlevel.checkpoint()


class StreamTransport(Transport):
    """Any `trio.abc.Stream`: TLS, memory, whatever a program brings along."""

    any_task = False

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._tls = as_tls(stream)
        self.is_secure = self._tls is not None
        self._below = self._tls.transport_stream if self._tls else stream
        self._arrived: bytes | None = None
        self.local_address, self.remote_address = stream_names(stream)

    async def wait_input(self) -> None:
        try:
            self._arrived = bytes(await self._stream.receive_some(CHUNK))
        except trio.BrokenResourceError as error:
            if not isinstance(error.__cause__, ssl.SSLEOFError):
                raise
            self._arrived = b""  # TLS without close_notify: the WebSocket close tells whether something is missing

    def interrupt(self) -> None:
        """Nothing: only one task reads from a stream, and it is cancelled."""

    def take(self) -> bytes | None:
        arrived, self._arrived = self._arrived, None
        return arrived

    def try_send(self, data: bytes) -> int:
        """Nothing: a stream is only written to by awaiting."""
        return 0

    def write_nowait(self, outbox: Outbox) -> bool:
        """Nothing, for the same reason."""
        return False

    async def write(self, outbox: Outbox) -> None:
        data = outbox.head()
        await self._stream.send_all(data)
        outbox.advance(len(data))

    async def finish(self) -> None:
        with suppress(*LOST):
            if self._tls is not None:
                await end_tls(self._tls)
            if isinstance(self._below, trio.abc.HalfCloseableStream):
                await self._below.send_eof()
                while await self._below.receive_some(CHUNK):
                    pass

    def drop(self) -> None:
        """Nothing: a stream is only closed by awaiting; `aclose` does it."""

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)
        await trio.aclose_forcefully(self._below)  # an SSLStream that was unwrapped does not close what is below it


async def end_tls(stream: trio.SSLStream[trio.abc.Stream]) -> None:
    """Send close_notify.

    A peer that floods makes OpenSSL refuse (`BrokenResourceError`), and one that does not answer makes us wait: half
    of the time that is left, since the FIN below wants some of it too.
    """
    now = trio.current_time()
    with trio.move_on_at(now + (trio.current_effective_deadline() - now) / 2), suppress(*LOST):
        await stream.unwrap()


def open_transport(stream: trio.abc.Stream) -> Transport:
    """Return the transport for *stream*, which belongs to it from now on.

    Raises:
        trio.ClosedResourceError: the stream is closed already.
    """
    if not isinstance(stream, trio.SocketStream):
        return StreamTransport(stream)
    if not is_open(stream):
        raise trio.ClosedResourceError("the stream is closed")
    return SocketTransport(stream)


def is_open(stream: trio.SocketStream) -> bool:
    return stream.socket.fileno() != -1


def os_error(error: BaseException) -> BaseException:
    """Return the operating system's error behind one of trio's, if there is one."""
    return error.__cause__ if isinstance(error.__cause__, OSError) else error


def as_tls(stream: trio.abc.Stream | None) -> trio.SSLStream[trio.abc.Stream] | None:
    return cast("trio.SSLStream[trio.abc.Stream]", stream) if isinstance(stream, trio.SSLStream) else None


def socket_names(sock: Any) -> tuple[Any, Any]:
    names: list[Any] = []
    for ask in (sock.getsockname, sock.getpeername):
        try:
            names.append(ask())
        except OSError:  # the peer is gone already
            names.append(None)
    return names[0], names[1]


def stream_names(stream: trio.abc.Stream) -> tuple[Any, Any]:
    while (tls := as_tls(stream)) is not None:
        stream = tls.transport_stream
    return socket_names(stream.socket) if isinstance(stream, trio.SocketStream) else (None, None)
