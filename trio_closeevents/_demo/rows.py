"""All rows of the demo, in the order of the contract."""

from __future__ import annotations

from typing import Final

from . import rows_block, rows_failing, rows_peer, rows_server, rows_transport
from .row import Row

__all__ = ["ROWS", "SECTIONS"]

SECTIONS: Final = {
    2: "How the block ends decides what is sent",
    3: "What the peer does decides the event",
    4: "Failing the connection",
    5: "The transport died, or never lived",
    7: "The server's end",
}

ROWS: Final[list[Row]] = [
    *rows_block.ROWS,
    *rows_peer.ROWS,
    *rows_failing.ROWS,
    *rows_transport.ROWS,
    *rows_server.ROWS,
]
