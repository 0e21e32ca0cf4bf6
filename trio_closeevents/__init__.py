"""WebSockets for trio, in which the end of a connection is a value you can trust."""

from ._accept import accept
from ._client import connect
from ._connection import ReadyState, Stats, WebSocket
from ._errors import (
    ConnectionBroken,
    ConnectionClosed,
    HandshakeError,
    HandshakeRejected,
    HandshakeTimeout,
    LocallyClosed,
    RemoteClosed,
)
from ._events import CloseCause, CloseCode, CloseEvent, CloseFrame, describe, is_sendable
from ._http import Headers, Request, Response
from ._options import Options
from ._policy import ClosePolicy
from ._server import Server, open_server, serve

__all__ = [
    "CloseCause",
    "CloseCode",
    "CloseEvent",
    "CloseFrame",
    "ClosePolicy",
    "ConnectionBroken",
    "ConnectionClosed",
    "HandshakeError",
    "HandshakeRejected",
    "HandshakeTimeout",
    "Headers",
    "LocallyClosed",
    "Options",
    "ReadyState",
    "RemoteClosed",
    "Request",
    "Response",
    "Server",
    "Stats",
    "WebSocket",
    "accept",
    "connect",
    "describe",
    "is_sendable",
    "open_server",
    "serve",
]
