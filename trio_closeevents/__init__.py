"""WebSockets for trio, in which the end of a connection is a value you can trust.

`connect` opens a connection, and `stay_connected` opens it again; `open_server` and `serve` run a server, and `accept`
is the server's side of a single connection. Each connection is a block that owns a `WebSocket`. However the block ends,
the peer is told so, and what the connection came to is one `CloseEvent`: `ws.close_event`.

`Options` has the limits and timeouts, `ClosePolicy` says which exception is which close code, and `ConnectionClosed` is
what `send` and `receive` raise after the end. `speedups_enabled` tells whether the extension module is there; without
it, all is the same, in pure Python.

What else there is has to be imported by its name:

* `trio_closeevents.testing` tests programs without a network; `trio_closeevents.testing.pytest_plugin` has fixtures.
* `trio_closeevents.trace` records what travels, and `trio_closeevents.diagram` draws it.
* `trio_closeevents.otel` measures it (extra `otel`).
* `trio_closeevents.routing` leads paths to handlers (extra `routing`).
* `trio_closeevents.dom` has the interfaces of browsers (extra `dom`).
* `trio_closeevents.compat` has stand-ins: `trio_closeevents.compat.trio_websocket` for trio-websocket.
* `trio_closeevents.adapters` gives connections of trio-websocket itself an ending (extra `trio-websocket`).
"""

from ._accept import accept
from ._adapters import ByteStream, JSONChannel
from ._auth import basic_auth
from ._broadcast import broadcast
from ._client import connect
from ._compression import Deflate
from ._connection import WebSocket
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
from ._forwarded import TrustedProxies
from ._http import Headers, Request, Response
from ._listen import Listen, inherited_sockets
from ._observer import Observer
from ._options import Options, OptionsDict
from ._policy import ClosePolicy
from ._protocol.masking import speedups_enabled
from ._public import publish as _publish
from ._reconnect import ReconnectEvent, ReconnectPolicy, stay_connected
from ._routes import Routes
from ._serve import open_server, serve
from ._server import Server
from ._signals import close_on_signals
from ._status import ReadyState, Stats
from ._stream import MessageStream
from ._version import __version__ as __version__

__all__ = [
    "ByteStream",
    "CloseCause",
    "CloseCode",
    "CloseEvent",
    "CloseFrame",
    "ClosePolicy",
    "ConnectionBroken",
    "ConnectionClosed",
    "Deflate",
    "HandshakeError",
    "HandshakeRejected",
    "HandshakeTimeout",
    "Headers",
    "JSONChannel",
    "Listen",
    "LocallyClosed",
    "MessageStream",
    "Observer",
    "Options",
    "OptionsDict",
    "ReadyState",
    "ReconnectEvent",
    "ReconnectPolicy",
    "RemoteClosed",
    "Request",
    "Response",
    "Routes",
    "Server",
    "Stats",
    "TrustedProxies",
    "WebSocket",
    "accept",
    "basic_auth",
    "broadcast",
    "close_on_signals",
    "connect",
    "describe",
    "inherited_sockets",
    "is_sendable",
    "open_server",
    "serve",
    "speedups_enabled",
    "stay_connected",
]

_publish(__name__, __all__, globals())
