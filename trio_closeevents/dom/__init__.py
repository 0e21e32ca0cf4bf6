"""The WebSocket interfaces of browsers, for trio programs: what pages call `WebSocket`, `CloseEvent`, `EventTarget`."""

from trio_closeevents._public import publish as _publish

from ._connecting import ClientOptions
from ._events import CloseEvent, CloseEventInit, Event, EventInit, MessageEvent, MessageEventInit
from ._exceptions import AbortError, DOMException, InvalidAccessError, InvalidStateError, SyntaxError
from ._stream import Promise, WebSocketCloseInfo, WebSocketError, WebSocketOpenInfo, WebSocketStream
from ._target import AbortController, AbortSignal, EventTarget
from ._websocket import WebSocket

__all__ = [
    "AbortController",
    "AbortError",
    "AbortSignal",
    "ClientOptions",
    "CloseEvent",
    "CloseEventInit",
    "DOMException",
    "Event",
    "EventInit",
    "EventTarget",
    "InvalidAccessError",
    "InvalidStateError",
    "MessageEvent",
    "MessageEventInit",
    "Promise",
    "SyntaxError",
    "WebSocket",
    "WebSocketCloseInfo",
    "WebSocketError",
    "WebSocketOpenInfo",
    "WebSocketStream",
]

_publish(__name__, __all__, globals())
