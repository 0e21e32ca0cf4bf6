"""`Relay`: a witness between a client and a server, when both are ours."""

from __future__ import annotations

from functools import partial

import trio

from trio_closeevents.testing import ScriptedPeer, Traffic

__all__ = ["Relay"]


class Relay:
    """Hands on what either side writes, as the bytes that came, FIN as FIN and RST as RST, and keeps a record of it.

    Attributes:
        traffic: what travelled, with the client on the left.
    """

    def __init__(self) -> None:
        self.traffic = Traffic()

    async def run(self, listener: trio.SocketListener, port: int) -> None:
        """Accept one client, connect it to *port*, and relay until both sides have ended."""
        to_client, to_server = await listener.accept(), await trio.open_tcp_stream("127.0.0.1", port)
        client, server = ScriptedPeer(to_client, client=False), ScriptedPeer(to_server, client=True)
        async with to_client, to_server, trio.open_nursery() as nursery:
            nursery.start_soon(partial(self._hand_on, client, server, to_right=True))
            nursery.start_soon(partial(self._hand_on, server, client, to_right=False))

    async def _hand_on(self, source: ScriptedPeer, target: ScriptedPeer, *, to_right: bool) -> None:
        while data := await source.receive_bytes():
            self.traffic.feed(data, to_right=to_right)
            await target.send(data, label="what the other side has sent")
        if source.ended is not None:  # else the other direction has dropped both
            self.traffic.end(source.ended, to_right=to_right)
        if source.ended == "FIN":
            await target.fin()
        else:
            await target.reset()
