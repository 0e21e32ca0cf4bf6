"""Tools to test programs that speak WebSocket: connections without a network, and peers that misbehave."""

from ._diagram import Arrow, Note, draw
from ._frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, frame, take_frame
from ._peer import ScriptedPeer

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Arrow",
    "Frame",
    "Note",
    "ScriptedPeer",
    "draw",
    "frame",
    "take_frame",
]
