"""`MessageStream`: one message, piece by piece as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import trio

from ._protocol.session import Piece
from ._reader import Reader

__all__ = ["MessageStream"]

protected = trio.lowlevel.enable_ki_protection


class MessageStream(AbstractAsyncContextManager["MessageStream"], AsyncIterator[str | bytes]):
    """The pieces of one message; `WebSocket.receive_stream` makes it.

    A piece is never empty, and one of text ends where a character ends. A message without content has no piece.
    """

    def __init__(
        self, reader: Reader, receive: Callable[[], Awaitable[str | bytes | Piece]], max_size: int | None
    ) -> None:
        self._reader = reader
        self._receive = receive
        self._max_size = max_size
        self._piece: Piece | None = None  # that was received, and not handed out
        self._is_text = False
        self._is_over = False  # the last piece was received
        self._is_told = False  # and who iterates knows
        self._is_open = False

    @property
    def is_text(self) -> bool:
        """The message is text."""
        return self._is_text

    @protected
    async def __aenter__(self) -> MessageStream:
        self._reader.begin_stream(self._max_size)
        try:
            self._piece = await self._next_piece()
        finally:
            if self._piece is None:
                self._reader.give_up_stream()
        self._is_text = isinstance(self._piece.data, str)
        self._is_open = True
        self._is_told = False
        return self

    @protected
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        piece, self._piece = self._piece, None
        if error is not None and piece is None and self._is_over and not self._is_told:
            piece = Piece("" if self._is_text else b"", last=True)  # so that who goes on learns where the message ends
        self._reader.end_stream(piece, keep=error is not None)

    @protected
    async def __anext__(self) -> str | bytes:
        """Wait for the next piece. If cancelled, nothing is lost: the next call returns it."""
        if not self._is_open:
            raise RuntimeError("the pieces of a message can be had only inside `async with ws.receive_stream()`")
        if self._piece is not None:
            await trio.lowlevel.checkpoint()
        while self._piece is not None or not self._is_over:
            piece, self._piece = self._piece or await self._next_piece(), None
            if piece.data:
                return piece.data
        await trio.lowlevel.checkpoint()
        self._is_told = True
        raise StopAsyncIteration

    async def _next_piece(self) -> Piece:
        received = await self._receive()
        piece = received if isinstance(received, Piece) else Piece(received, last=True)
        self._is_over = piece.last
        return piece

    def __repr__(self) -> str:
        what = "text" if self._is_text else "binary"
        state = "not open" if not self._is_open else f"{what}, all of it here" if self._is_over else f"{what}, arriving"
        return f"<MessageStream {state}>"
