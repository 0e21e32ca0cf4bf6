"""A stand-in for trio-websocket 0.12.2: `import trio_closeevents.compat.trio_websocket as trio_websocket`.

Every public name of that library, with its signatures, defaults, exceptions and `repr`s, on the connections of this
one: what ends is told to the peer, in bounded time, and a connection has a `close_event` too.
"""

from ._client import connect_websocket, connect_websocket_url, open_websocket, open_websocket_url, wrap_client_stream
from ._connection import WebSocketConnection, WebSocketRequest
from ._errors import ConnectionClosed, ConnectionRejected, ConnectionTimeout, DisconnectionTimeout, HandshakeError
from ._server import WebSocketServer, serve_websocket, wrap_server_stream
from ._values import CloseReason, Endpoint

__version__ = "0.12.2"  # of the library that this stands in for

__all__ = [
    "CloseReason",
    "ConnectionClosed",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "Endpoint",
    "HandshakeError",
    "WebSocketConnection",
    "WebSocketRequest",
    "WebSocketServer",
    "connect_websocket",
    "connect_websocket_url",
    "open_websocket",
    "open_websocket_url",
    "serve_websocket",
    "wrap_client_stream",
    "wrap_server_stream",
]
