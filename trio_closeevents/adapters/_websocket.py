"""`AdaptedWebSocket`: a connection of `trio_websocket`, as its program sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import trio

from trio_closeevents import (
    CloseCause,
    CloseCode,
    CloseEvent,
    ClosePolicy,
    ConnectionBroken,
    ConnectionClosed,
    LocallyClosed,
    RemoteClosed,
)

from ._ending import Ending

if TYPE_CHECKING:
    from trio_websocket import WebSocketConnection

__all__ = ["AdaptedWebSocket"]

END_OF_ITERATION: Final = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD})
LOOK_AGAIN: Final = 0.05  # seconds between two looks at what nothing announces

protected = trio.lowlevel.enable_ki_protection


class AdaptedWebSocket(trio.abc.Channel[str | bytes]):
    """A connection of `trio_websocket` in this library's shape; `from_trio_websocket` lends it to a block.

    Any number of tasks may send, one at a time may receive. For all else there is `connection`. A program may go on
    to receive from that one: nothing is taken from it unless it is asked for here.

    Attributes:
        connection: the `trio_websocket.WebSocketConnection`. Its `aclose` is not for the program to call.
    """

    def __init__(self, connection: WebSocketConnection, ending: Ending) -> None:
        from trio_websocket import ConnectionClosed

        self.connection = connection
        self._ending = ending
        self._their_closed = ConnectionClosed
        self._receiving = False

    @property
    def close_event(self) -> CloseEvent | None:
        """How the connection ended, as far as that can be known; `None` until then, and the same object ever after."""
        return self._ending.look()

    @protected
    async def wait_closed(self) -> CloseEvent:
        """Wait until the connection has ended, and return how.

        The package announces nothing, so this looks every 50 ms. A Close of the peer behind messages that nobody
        receives is not seen: the package reads no further than its `message_queue_size`.
        """
        await trio.lowlevel.checkpoint()
        while (event := self.close_event) is None:
            with trio.move_on_after(LOOK_AGAIN):
                await self._ending.decided.wait()
        return event

    @protected
    async def send(self, value: str | bytes | bytearray | memoryview) -> None:
        """Send one message: a `str` as text, anything bytes-like as binary.

        Returns when the package has handed it to the network. If cancelled, the message is sent whole, before any
        Close, or not at all; the connection stays usable either way.

        Raises:
            TypeError: *value* is neither `str` nor bytes-like. Nothing was sent.
            ValueError: text that UTF-8 cannot carry. The same.
            LocallyClosed: this side has closed, or left the block.
            ConnectionBroken: the connection ended otherwise, or the peer is closing it.
        """
        message = checked_message(value)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._ending.is_closing:
            raise self._closed_error(sending=True)
        delivery = await self._ending.send(message)
        if delivery.error is not None and not isinstance(delivery.error, self._their_closed):
            raise delivery.error
        if not delivery.is_done:
            await self._ending.settle()
            raise self._closed_error(sending=True) from delivery.error

    @protected
    async def receive(self) -> str | bytes:
        """Return the next message: text as `str`, binary as `bytes`.

        If cancelled, nothing is lost. Messages that arrived before the peer's Close are handed out first; those that
        arrived before our own are dropped by the package.

        Raises:
            RemoteClosed: it ended with 1000, 1001 or no code, and this side did not ask for it. Whether that was clean
                is not known.
            LocallyClosed: this side has closed, or left the block.
            ConnectionBroken: it ended otherwise. Or the package's reader was cancelled, with the nursery that it lives
                in, and hears nothing any more: `event` is `None` then until the block has ended.
            trio.BusyResourceError: another task is in `receive` already. The connection is untouched.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._receiving:
            raise trio.BusyResourceError("another task is in receive() already")
        if self._ending.is_closing:
            raise self._closed_error(sending=False)
        self._receiving = True
        try:
            return await self.connection.get_message()
        except self._their_closed as error:
            await self._ending.settle()
            raise self._closed_error(sending=False) from error
        finally:
            self._receiving = False

    @protected
    async def aclose(self, code: int | None = 1000, reason: str = "") -> None:
        """Run the closing handshake, then close the transport.

        Returns at most `close_timeout` seconds after the first call. A second call sends nothing and waits too; any
        task may call it. If cancelled, it still finishes, within `cancel_timeout` seconds, and then raises
        `trio.Cancelled`.

        Args:
            code: 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 §7.4); `None` sends an empty Close frame.
            reason: at most 123 bytes as UTF-8; needs a code.

        Raises:
            TypeError: *code* or *reason* has the wrong type. Nothing was sent.
            ValueError: *code* or *reason* may not travel in a Close frame. Nothing was sent.
        """
        frame = ClosePolicy(on_exit=(code, reason)).frame_for(None, aside=trio.Cancelled)
        self._ending.begin(frame, CloseCause.CLOSED, self._ending.options.close_timeout)
        await self._ending.see_it_through()

    def _closed_error(self, *, sending: bool) -> ConnectionClosed:
        event = self.close_event
        if self._ending.is_ours:
            return LocallyClosed(connection=self)
        if not sending and event is not None and event.code in END_OF_ITERATION:
            return RemoteClosed(connection=self)
        return ConnectionBroken(connection=self)

    def __repr__(self) -> str:
        return f"<AdaptedWebSocket over {self.connection}, {self.close_event or 'not ended'}>"


def checked_message(value: object) -> str | bytes:
    """Return *value* as the package takes it, or raise what `send` documents."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(cast("bytes", value))
    raise TypeError(f"a message must be str, bytes, bytearray or memoryview, not {type(value).__name__}: {value!r:.80}")
