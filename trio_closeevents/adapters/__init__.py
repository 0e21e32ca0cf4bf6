"""This library's ending for connections of other packages, for programs that cannot change their import yet.

`from_trio_websocket` takes one of `trio_websocket` (extra `trio-websocket`).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

from trio_closeevents import ClosePolicy, Options, WebSocket

from ._block import AdaptedBlock
from ._websocket import AdaptedWebSocket

if TYPE_CHECKING:
    from trio_websocket import WebSocketConnection

__all__ = ["AdaptedWebSocket", "from_trio_websocket"]

DEFAULTS: Final = Options()
DROP_IN: Final = "trio_closeevents.compat.trio_websocket"


def from_trio_websocket(
    connection: WebSocketConnection,
    *,
    close_timeout: float = DEFAULTS.close_timeout,
    cancel_timeout: float = DEFAULTS.cancel_timeout,
    policy: ClosePolicy = DEFAULTS.policy,
) -> AbstractAsyncContextManager[AdaptedWebSocket, None]:
    """Give a live `trio_websocket.WebSocketConnection`, of a client or of a server, this library's ending.

    ``async with from_trio_websocket(connection) as ws:`` ends the connection as the end of the block asks for: a block
    that returns sends 1000, one that an exception leaves 1011, one that is cancelled or interrupted 1001; *policy*
    changes that. The exception that leaves the block goes on unchanged, and a cancelled block stays cancelled. Entering
    is no checkpoint: from there on the block owns the end of the connection. What the package does when its own block
    is left then does nothing more.

    All of it is done with the package's public names, and these tell little. What cannot be known of the end, and is
    not claimed in `close_event`:

    * Which Close frames travelled. `sent` and `received` are `None`, and `was_clean` is `False`, which says nothing
      here.
    * Who began. `initiated_by` is ``"transport"`` if the transport was lost and nobody had closed, `None` otherwise.
    * Why it ended, unless this side's own wish came first: `cause` is `EXIT`, `ERROR`, `CANCELLED` or `CLOSED` then,
      `None` otherwise. FIN and RST look alike.
    * Whether 1002, 1007 or 1009 came from the peer, or the package failed the connection. They are handed on, with the
      package's reason; a failure of this library's own would be 1006.
    * What the program does behind the adapter's back. After `connection.aclose()` the package reports 1000, whatever it
      sends, until the peer has answered. A `connection.send_message()` that is cancelled may leave half a frame, into
      which the Close frame falls.

    What cannot be done:

    * To read the peer's answer when a scope that holds both this block and the package's own (`open_websocket_url`, a
      server's handler) is cancelled: the package's reader is cancelled with it. The Close frame is sent at once, the
      transport is closed `cancel_timeout` later, and the event is 1006. With a scope between the two the reader lives
      on, and the answer is waited for.
    * To shut TCP down in order. It is closed, which the peer sees as RST if something of it is unread.
    * To drop TCP when the peer closed first, or the package failed the connection: its `aclose` does nothing then. When
      the package's own block is left, a client waits for the server to end TCP, without a limit, and leaves its own
      socket to the garbage collector. A message that the limit breaks off is followed by the package's own answer.
    * To send our Close frame when the peer's arrives while ours waits: a server of the package drops TCP as soon
      as it has read that one.
    * To answer a Ping that arrives behind our Close frame. It crashes the package's reader, with a `LocalProtocolError`
      of wsproto that leaves the nursery in which the connection was opened.

    Args:
        connection: is open already. Its own block, or the nursery that it was opened in, lasts longer than this one.
        close_timeout: seconds that an ordinary ending may take.
        cancel_timeout: the same for a block that was cancelled or interrupted.
        policy: which exception leaves the block with which Close frame.

    Raises:
        TypeError: *connection* is anything else, such as a connection of this library; or an option has the wrong type.
        ValueError: a limit is negative or not finite.
        ImportError: the package is not installed.
    """
    check_connection(connection)
    options = Options(close_timeout=close_timeout, cancel_timeout=cancel_timeout, policy=policy)
    return AdaptedBlock(connection, options)


def check_connection(connection: object) -> None:
    if isinstance(connection, WebSocket):
        raise TypeError(
            f"{connection!r} is a connection of trio_closeevents, which needs no adapter: it has close_event, "
            f"wait_closed() and this ending already"
        )
    if any(kind.__module__.startswith(DROP_IN) for kind in type(connection).__mro__):
        raise TypeError(
            f"{connection!r} is a connection of {DROP_IN}, which needs no adapter: it has close_event, and sends 1001 "
            f"when its block is cancelled"
        )
    try:
        from trio_websocket import WebSocketConnection
    except ImportError as error:
        raise ImportError(
            'from_trio_websocket() needs trio-websocket: pip install "trio-closeevents[trio-websocket]"'
        ) from error
    if not isinstance(connection, WebSocketConnection):
        raise TypeError(
            f"from_trio_websocket() needs a trio_websocket.WebSocketConnection, not {type(connection).__name__}: "
            f"{connection!r:.80}"
        )
