"""trio-closeevents."""

from functools import partial

import trio

import trio_closeevents
from trio_closeevents import ConnectionClosed, WebSocket, serve

from .common import HOST, MAX_SIZE, Settings, announce, run_trio, stopped

CONNECTIONS: set[WebSocket] = set()
broadcast = getattr(trio_closeevents, "broadcast", None)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def chat(ws: WebSocket) -> None:
    CONNECTIONS.add(ws)
    try:
        async for message in ws:
            if broadcast is not None:
                done = broadcast(CONNECTIONS, message)
                if done is not None:
                    await done
                continue
            for each in list(CONNECTIONS):
                try:
                    await each.send(message)
                except ConnectionClosed:
                    pass
    finally:
        CONNECTIONS.discard(ws)


async def main(settings: Settings) -> None:
    run = partial(
        serve,
        ssl_context=settings.ssl_context,
        compression=None,
        ping_interval=None,
        max_message_size=MAX_SIZE,
    )
    async with trio.open_nursery() as nursery:
        server = await nursery.start(run, chat if settings.broadcast else echo, HOST, 0)
        announce(server.port)
        await stopped()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run_trio(main)
