"""What the load client is asked for, and what it answers: JSON on the command line, JSON on the standard output."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

__all__ = ["FLOOR_BYTE", "Job", "Reply"]

# A server that echoes bytes has no opening handshake: one byte there and back tells that the connection is accepted.
FLOOR_BYTE: Final = b"!"

Reply = dict[str, Any]  # "value" is the figure, the rest is what stands behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One measurement.

    Attributes:
        kind: which of the functions in `benchmarks.load.__main__` measures.
        port: where the server listens, on the loopback.
        pid: the server's process, for its memory and for the signal that stops it.
        seconds: how long to measure, after a warm-up of a fifth of that.
        size: bytes in a message.
        connections: how many at once.
        tls: speak TLS; the certificate is not verified.
        floor: the server echoes bytes and knows no WebSocket.
        text: send text in place of binary messages.
        spoken: every connection echoes one message before it is called idle, or closed.
    """

    kind: str
    port: int
    pid: int
    seconds: float
    size: int = 32
    connections: int = 1
    tls: bool = False
    floor: bool = False
    text: bool = False
    spoken: bool = False

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, line: str) -> Self:
        return cls(**json.loads(line))
