"""`Relay`: a witness between a client and a server, when both are ours."""

from __future__ import annotations

from typing import Literal

import trio

from trio_closeevents.testing import ScriptedPeer, take_frame

__all__ = ["Relay"]

END_OF_HEAD = b"\r\n\r\n"

Arrow = Literal["→", "←"]


class Relay:
    """Hands on what either side writes, as the bytes that came, FIN as FIN and RST as RST, and keeps a record of it.

    Attributes:
        log: what travelled behind the opening handshake, in the order that it was seen; `→` is from the client.
    """

    def __init__(self) -> None:
        self.log: list[str] = []

    async def run(self, listener: trio.SocketListener, port: int) -> None:
        """Accept one client, connect it to *port*, and relay until both sides have ended."""
        to_client, to_server = await listener.accept(), await trio.open_tcp_stream("127.0.0.1", port)
        client, server = ScriptedPeer(to_client, client=False), ScriptedPeer(to_server, client=True)
        async with to_client, to_server, trio.open_nursery() as nursery:
            nursery.start_soon(self._hand_on, client, server, "→")
            nursery.start_soon(self._hand_on, server, client, "←")

    async def _hand_on(self, source: ScriptedPeer, target: ScriptedPeer, arrow: Arrow) -> None:
        unread = bytearray()
        opening = True
        while data := await source.receive_bytes():
            unread += data
            if opening and END_OF_HEAD in unread:
                opening = False
                del unread[: unread.index(END_OF_HEAD) + len(END_OF_HEAD)]
            while not opening and (frame := take_frame(unread)) is not None:
                self.log.append(f"{arrow} {frame}")
            await target.send(data, label="what the other side has sent")
        if source.ended is not None:  # else the other direction has dropped both
            self.log.append(f"{arrow} {source.ended}")
        if source.ended == "FIN":
            await target.fin()
        else:
            await target.reset()
