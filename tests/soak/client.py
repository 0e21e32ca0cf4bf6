"""A process with clients, many at once; some cancel their opening, and some find no server."""

from __future__ import annotations

import math
import random
import ssl
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import trio

from trio_closeevents import CloseEvent, HandshakeError, WebSocket, connect

from .plan import Plan, draw
from .record import Side
from .side import LIMITS, Boom, cancel_later, names_of, play
from .worker import HOST, Worker, run, say

__all__ = ["ClientWorker"]

PER_SECOND: Final = 50.0  # connections that one process opens
AT_ONCE: Final = 60


class ClientWorker(Worker):
    """The clients' side of all connections."""

    def __init__(self, orders: Any) -> None:
        super().__init__(orders)
        self._context = ssl.create_default_context(cafile=orders.authority)
        self._chance = random.Random(f"{orders.seed}-client-{orders.index}")

    async def work(self, nursery: trio.Nursery) -> None:
        say(ready=True)

    async def play_round(self, first: int, seconds: float, step: int) -> int:
        number = first
        async with trio.open_nursery() as nursery:
            until = trio.current_time() + seconds
            while trio.current_time() < until:
                if self.busy < AT_ONCE:
                    nursery.start_soon(self._converse, draw(self.orders.seed, number))
                    number += step
                await trio.sleep(self._chance.expovariate(PER_SECOND))
        return (number - first) // step

    async def _converse(self, plan: Plan) -> None:
        self.busy += 1
        event: CloseEvent | None = None
        left_by: BaseException | None = None
        ws: WebSocket | None = None
        ended_at = 0.0
        scope = trio.CancelScope()
        if plan.gives_up is not None:
            scope.deadline = trio.current_time() + plan.gives_up
        async with trio.open_nursery() as nursery:
            try:
                with scope:
                    block = await self._block(plan)
                    try:
                        async with block as ws:
                            scope.deadline = math.inf
                            if plan.client.kind == "deadline":
                                scope.deadline = trio.current_time() + plan.client.after
                            elif plan.client.kind == "cancel":
                                nursery.start_soon(cancel_later, scope, plan.client.after)
                            try:
                                await play(ws, plan.client, plan)
                            finally:
                                ended_at = trio.current_time()
                    except BaseException as error:
                        left_by = error
                        raise
            except* HandshakeError as group:
                (failure,) = group.exceptions
                event = failure.close_event if isinstance(failure, HandshakeError) else None
            except* (Boom, OSError):
                pass
        self.busy -= 1
        if ws is not None:
            event = ws.close_event
        self.journal.write(
            Side(
                number=plan.number,
                role="client",
                opened=ws is not None,
                event=None if event is None else event.to_dict(),
                left_by=names_of(left_by),
                seconds=trio.current_time() - ended_at if ws is not None else None,
            )
        )

    async def _block(self, plan: Plan) -> AbstractAsyncContextManager[WebSocket]:
        port = self.orders.ports[plan.process][plan.door]
        secure = plan.door == "tls"
        options: dict[str, Any] = LIMITS | {"compression": "deflate" if plan.compressed else None}
        return connect(
            f"{'wss' if secure else 'ws'}://{HOST}:{port}/{self.orders.seed}-{plan.number}",
            stream=await self._reach_relay(plan.number, port) if plan.relayed else None,
            ssl_context=self._context if secure else None,
            **options,
        )

    async def _reach_relay(self, number: int, port: int) -> trio.SocketStream:
        """Connect to the relay, and tell it in one line who this is and where to go."""
        stream = await trio.open_tcp_stream(HOST, self.orders.relay)
        try:
            await stream.send_all(f"{number} {port}\n".encode())
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream


if __name__ == "__main__":
    run(ClientWorker)
