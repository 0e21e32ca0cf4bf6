"""A process with three servers, each of which ends and begins again on its port all the time, while clients come."""

from __future__ import annotations

import random
import ssl
import uuid
from dataclasses import replace
from functools import partial
from typing import Any, Final

import trio

from trio_closeevents import CloseEvent, HandshakeError, Server, WebSocket, accept, open_server

from .plan import Door, Frame, Plan, draw
from .record import Side
from .side import LIMITS, Boom, cancel_later, names_of, play
from .worker import HOST, Worker, run, say

__all__ = ["ServerWorker"]

LIFE: Final = (2.0, 10.0)  # seconds of one server; its end takes some seconds too, until silent clients are given up
OPTIONS: Final[dict[str, Any]] = LIMITS | {"compression": "deflate"}
CANCELLED: Final[Frame] = (1001, "")
ENDINGS: Final = ("return", "cancel", "aclose", "grace")


class Generation:
    """One server, from its start to its end.

    Attributes:
        ending: the Close frame that it sends to all, from its end on.
    """

    def __init__(self) -> None:
        self.ending: Frame | None = None


class ServerWorker(Worker):
    """The servers' side of all connections."""

    def __init__(self, orders: Any) -> None:
        super().__init__(orders)
        self._up: set[Door] = set()
        self._halves: dict[uuid.UUID, CloseEvent | Side] = {}
        self._chance = random.Random(f"{orders.seed}-server-{orders.index}")

    @property
    def settled(self) -> bool:
        return not self.busy and not self._halves and len(self._up) == 3

    async def work(self, nursery: trio.Nursery) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.orders.certificate)
        ports: dict[str, int] = {
            "plain": await nursery.start(partial(self._serve, "plain", None)),
            "tls": await nursery.start(partial(self._serve, "tls", context)),
            "accept": await nursery.start(self._accept),
        }
        say(ports=ports)

    # -- servers that come and go --------------------------------------------------------------------------------

    async def _serve(
        self,
        door: Door,
        context: ssl.SSLContext | None,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        port = 0
        while True:
            generation = Generation()
            server: Server
            with trio.CancelScope() as scope:
                try:
                    async with open_server(
                        partial(self._handle, generation),
                        HOST,
                        port,
                        ssl_context=context,
                        on_close=self._note,
                        **OPTIONS,
                    ) as server:
                        if not port:
                            port = server.port
                            task_status.started(port)
                        self._up.add(door)
                        await trio.sleep(self._chance.uniform(*LIFE))
                        await self._end(generation, server, scope)
                except OSError:  # somebody has borrowed the port for a connection
                    pass
            self._up.discard(door)
            await trio.sleep(self._chance.uniform(0, 0.2))

    async def _end(self, generation: Generation, server: Server, scope: trio.CancelScope) -> None:
        how = self._chance.choice(ENDINGS)
        generation.ending = CANCELLED
        if how == "cancel":
            scope.cancel()
            await trio.lowlevel.checkpoint()
        elif how != "return":
            generation.ending = (self._chance.choice((1001, 1012, 4000)), how)
            await server.aclose(*generation.ending, grace=0 if how == "aclose" else self._chance.uniform(0, 0.5))

    async def _handle(self, generation: Generation, ws: WebSocket) -> None:
        left_by: BaseException | None = None
        self.busy += 1
        plan = self._plan(ws)
        try:
            await play(ws, plan.server, plan)
        except BaseException as error:
            left_by = error
            raise
        finally:
            self.busy -= 1
            self._add(ws, Side(number=plan.number, role="server", opened=True, left_by=names_of(left_by),
                               server_end=generation.ending))  # fmt: skip
            left_by = None

    # -- a listener of our own -----------------------------------------------------------------------------------

    async def _accept(self, *, task_status: trio.TaskStatus[int]) -> None:
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host=HOST)
            task_status.started(listener.socket.getsockname()[1])
            self._up.add("accept")
            await trio.serve_listeners(self._own, [listener], handler_nursery=nursery)

    async def _own(self, stream: trio.SocketStream) -> None:
        self.busy += 1
        left_by: BaseException | None = None
        ws: WebSocket | None = None
        ended_at = 0.0
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            try:
                with scope:
                    try:
                        async with accept(stream, on_close=self._note, **OPTIONS) as ws:
                            ending = self._plan(ws).server
                            if ending.kind == "deadline":
                                scope.deadline = trio.current_time() + ending.after
                            elif ending.kind == "cancel":
                                nursery.start_soon(cancel_later, scope, ending.after)
                            try:
                                await play(ws, ending, self._plan(ws))
                            finally:
                                ended_at = trio.current_time()
                    except BaseException as error:
                        left_by = error
                        raise
            except* (HandshakeError, Boom):
                pass
            if ws is not None:
                took = trio.current_time() - ended_at
                self._add(ws, Side(number=self._plan(ws).number, role="server", opened=True,
                                   left_by=names_of(left_by), seconds=took))  # fmt: skip
            left_by = None
        self.busy -= 1

    # -- records -------------------------------------------------------------------------------------------------

    def _plan(self, ws: WebSocket) -> Plan:
        return draw(self.orders.seed, int(ws.request.target.rpartition("-")[2]))

    def _note(self, ws: WebSocket, event: CloseEvent) -> None:
        """Be told of the event, which may come before the end of the handler and behind it."""
        self._add(ws, event)

    def _add(self, ws: WebSocket, half: CloseEvent | Side) -> None:
        other = self._halves.pop(ws.id, None)
        if isinstance(half, CloseEvent) and isinstance(other, Side):
            self._write(half, other)
        elif isinstance(half, Side) and isinstance(other, CloseEvent):
            self._write(other, half)
        else:
            self._halves[ws.id] = half  # a second one of the same kind stays here, and the sample shows it

    def _write(self, event: CloseEvent, side: Side) -> None:
        self.journal.write(replace(side, event=event.to_dict()))


if __name__ == "__main__":
    run(ServerWorker)
