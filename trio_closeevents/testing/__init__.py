"""Tools to test programs that speak WebSocket: connections without a network, peers and streams that misbehave.

`open_websocket_pair` connects two WebSockets in memory, `open_scripted_pair` one with a `ScriptedPeer`, which sends
what it is told to, right or wrong. `FaultyStream` breaks at a byte, and `cancel_at_every_checkpoint` cancels a handler
at each of its steps. `assert_ended` and `assert_peer_saw` show what travelled when they fail.

`CONTINUATION`, `TEXT`, `BINARY`, `CLOSE`, `PING` and `PONG` are the opcodes of frames (RFC 6455 §11.8), for `frame`,
which writes one by hand.
"""

from trio_closeevents._public import publish as _publish
from trio_closeevents.diagram import Arrow, Note, draw

from ._asserts import assert_ended, assert_peer_saw
from ._cancel import cancel_at_every_checkpoint
from ._faulty import Fault, FaultyStream
from ._frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, frame, take_frame
from ._judge import CancelledRun, tally
from ._pair import PeerPair, WebSocketPair, open_scripted_pair, open_websocket_pair
from ._peer import NotOpened, ScriptedPeer
from ._traffic import Traffic

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Arrow",
    "CancelledRun",
    "Fault",
    "FaultyStream",
    "Frame",
    "NotOpened",
    "Note",
    "PeerPair",
    "ScriptedPeer",
    "Traffic",
    "WebSocketPair",
    "assert_ended",
    "assert_peer_saw",
    "cancel_at_every_checkpoint",
    "draw",
    "frame",
    "open_scripted_pair",
    "open_websocket_pair",
    "take_frame",
    "tally",
]

_publish(__name__, __all__, globals())
