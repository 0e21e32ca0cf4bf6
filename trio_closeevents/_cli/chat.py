"""The server of `serve --chat`: everybody's messages to everybody, with names."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

from trio_closeevents import CloseFrame, ConnectionClosed, WebSocket, broadcast

from .clean import shorten, visible

__all__ = ["Chat"]

MOST_OF_A_NAME: Final = 32  # characters
PATIENCE: Final = 1.0  # seconds that everybody has to take a message
TOO_SLOW: Final = CloseFrame(1008, "too slow")


class Chat:
    """A room, and who is in it."""

    def __init__(self) -> None:
        self._names: dict[WebSocket, str] = {}
        self._guests = 0

    async def join(self, websocket: WebSocket) -> None:
        """Be the handler of one person's connection."""
        name = self._name(websocket)
        await self._tell(f"* {name} has come")
        self._names[websocket] = name
        try:
            others = ", ".join(self._names.values())
            await websocket.send(f"* welcome, {name}; here: {others}")
            async for message in websocket:
                if isinstance(message, bytes):
                    await websocket.aclose(1003, "this chat is text")
                    break
                await self._tell(f"{name}: {message}")
        except ConnectionClosed:
            pass  # the others are told below
        finally:
            del self._names[websocket]
        event = websocket.close_event
        await self._tell(f"* {name} has left" + ("" if event is None else f": {event.code}"))

    def _name(self, websocket: WebSocket) -> str:
        """Return the name that the URL gives, if nobody has it yet."""
        query = parse_qs(urlsplit(websocket.request.target).query)
        name = shorten(visible(query.get("name", [""])[0].strip()), MOST_OF_A_NAME)
        if name and name not in self._names.values():
            return name
        self._guests += 1
        return f"{name or 'guest'}-{self._guests}"

    async def _tell(self, text: str) -> None:
        await broadcast(self._names, text, slow_after=PATIENCE, slow=TOO_SLOW)
