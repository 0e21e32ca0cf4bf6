"""TLS over a plain socket.

Theory. `trio.SSLStream` can only be awaited: each record that it reads is a wait of its own, and a cancelled write
leaves it broken. The protocol itself needs none of that: `ssl.SSLObject` turns bytes into bytes in memory. So TLS that
we begin ourselves, on a socket, keeps all that a socket has: anybody may ask it without waiting, what has arrived is
taken together, and a write that is cut off goes on later where it was.

Ciphertext that the network has not taken yet stays here; its plaintext counts as queued until all of it is gone.
"""

from __future__ import annotations

import socket as stdlib_socket
import ssl
from contextlib import suppress
from typing import Final, cast

import trio

from ._outbox import Outbox
from ._runs import PerRun
from ._transport import CHUNK, LOST, MUCH, SocketTransport
from ._waiters import Waiters

__all__ = ["TLSTransport"]

RECORD: Final = 16 * 1024  # bytes that a TLS record carries at most (RFC 8446 §5.1)
PORTION: Final = 66 * 1024  # plaintext to encrypt at once: a message of 64 KiB, and its header
MUCH_TO_SAY: Final = 16 * 1024  # bytes of answers that TLS itself has for a peer that does not read: more is a flood
NOTHING: Final = memoryview(b"")


class Scratch:
    """Room for what is only looked at for a moment. To allocate it each time costs as much as to decrypt it."""

    def __init__(self) -> None:
        self.ciphertext = memoryview(bytearray(2 * CHUNK))
        self.plaintext = memoryview(bytearray(2 * CHUNK + RECORD))  # and a record that had come in part before


scratch_of_this_run: Final = PerRun("scratch", Scratch).get


class TLSTransport(SocketTransport):
    """TLS over a socket, which is taken out of its `trio.SocketStream`. `handshake` comes first."""

    is_secure = True

    def __init__(
        self, stream: trio.SocketStream, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None
    ) -> None:
        self._arrived = ssl.MemoryBIO()
        self._encrypted = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._arrived, self._encrypted, server_side=server_side, server_hostname=server_hostname
        )
        super().__init__(stream)
        self._unsent = NOTHING  # ciphertext
        self._covered = 0  # how many bytes of the outbox it carries
        self._is_renegotiating = False  # so that nothing can be written before something was read
        self._renegotiation = Waiters()
        self._is_finishing = False
        self._scratch = scratch_of_this_run()
        self._early: bytes | None = None  # what came together with the end of the handshake, or before a failure
        self._end: OSError | bytes | None = None  # what comes after all that was taken

    async def handshake(self) -> None:
        """Agree with the peer on keys.

        Raises:
            OSError: it failed, or the socket did. The peer is told why, if it can be.
        """
        while not self._is_agreed():
            await self._send_encrypted()
            await self.wait_input()
            self._fetch()
            if self._end is not None:
                raise ssl.SSLEOFError("the peer hung up")
        await self._send_encrypted()
        if self._arrived.pending:
            self._early = self._decrypt()

    def _is_agreed(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            with suppress(OSError):
                self._flush()  # the alert
            raise
        return True

    @property
    def is_clogged(self) -> bool:  # type: ignore[override]
        return bool(self._unsent) and not self._is_finishing

    def take(self) -> bytes | None:
        if self._early is not None:
            early, self._early = self._early, None
            return early
        if isinstance(self._end, OSError):
            raise self._end
        if self._end is not None:
            return self._end
        if not self._fetch():
            self.has_part = False
            return None
        self._renegotiation.wake_all()
        if self._end is not None:
            return self._end
        data = self._decrypt()
        self.has_part = data is None
        return data

    def _fetch(self) -> bool:
        """Hand to TLS what has arrived; tell whether there was anything, the end of it included."""
        buffer = self._scratch.ciphertext
        try:
            size = self._socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return False
        if size:
            self._arrived.write(buffer[:size])
        else:  # with or without close_notify: the WebSocket close tells whether something is missing
            self._end = b""
        return True

    def _decrypt(self) -> bytes | None:
        """Return what can be read of what has arrived: `b""` at the end, `None` if that is less than a record."""
        buffer = self._scratch.plaintext
        size = 0
        try:
            while part := cast("int", self._tls.read(RECORD, buffer[size:])):
                size += part
                if not self._arrived.pending:
                    break
            else:
                self._end = b""  # close_notify
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._end = error
        self._answer()
        if size:
            return bytes(buffer[:size])
        if isinstance(self._end, OSError):
            raise self._end
        return self._end

    def _answer(self) -> None:
        """Hand over what TLS itself has to say to what was read: new keys, an alert."""
        if not self._encrypted.pending:
            return
        with suppress(OSError):  # which the next write tells of
            self._flush()
        if self._encrypted.pending > MUCH_TO_SAY and self._end is None:
            self._end = ConnectionAbortedError("the peer wants answers of TLS, and does not read them")

    def try_send(self, data: bytes) -> int:
        """As on a socket, but what is not gone wholly is not gone at all: it is begun, and `write_nowait` goes on."""
        if not self._flush():
            return 0
        try:
            self._covered = self._tls.write(data)
        except ssl.SSLWantReadError:
            return 0
        if not self._flush():
            return 0
        self._covered = 0
        return len(data)

    def write_nowait(self, outbox: Outbox) -> bool:
        room = MUCH
        while self._flush():
            outbox.advance(self._covered)
            room -= self._covered
            self._covered = 0
            if not outbox.size or room <= 0:
                return True
            try:
                for head in outbox.heads(PORTION):
                    self._covered += self._tls.write(head)
            except ssl.SSLWantReadError:
                self._is_renegotiating = True
                return False
        return False

    def _flush(self) -> bool:
        """Hand over ciphertext; tell whether none is left."""
        try:
            while self._unsent or self._encrypted.pending:
                self._unsent = self._unsent or memoryview(self._encrypted.read())
                self._unsent = self._unsent[self._socket.send(self._unsent) :] or NOTHING
        except (BlockingIOError, InterruptedError):
            return False
        return True

    async def _wait_for_room(self) -> None:
        if self._is_renegotiating:  # until something was read (TLS 1.2)
            self._is_renegotiating = False
            await self._renegotiation.park()
        else:
            await super()._wait_for_room()

    async def _send_encrypted(self) -> None:
        while not self._flush():
            await trio.lowlevel.wait_writable(self._socket)

    def interrupt(self) -> None:
        super().interrupt()
        self._renegotiation.wake_all()

    def drop(self) -> None:
        super().drop()
        self._renegotiation.wake_all()

    async def finish(self) -> None:
        self._is_finishing = True
        with suppress(OSError):  # a peer that floods makes OpenSSL refuse, and there is no need to wait for its answer
            self._tls.unwrap()
        self.interrupt()  # whoever writes leaves the socket to us
        with suppress(OSError):
            if self._flush():
                await super().finish()
                return
        # What the peer sends has to be drained meanwhile: it may not read before that.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_output)
            await self._drain()

    @trio.lowlevel.enable_ki_protection
    async def _end_output(self) -> None:
        with suppress(*LOST):
            await self._send_encrypted()
            self._socket.shutdown(stdlib_socket.SHUT_WR)
