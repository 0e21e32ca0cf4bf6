"""websockets, its trio implementation."""

from functools import partial

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.server import ServerConnection, serve

from .common import HOST, MAX_SIZE, Settings, announce, run_trio, stopped

CONNECTIONS: set[ServerConnection] = set()


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def chat(ws: ServerConnection) -> None:
    CONNECTIONS.add(ws)
    try:
        async for message in ws:
            # One after the other: a nursery with a task for each would be slower still.
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
        chat if settings.broadcast else echo,
        0,
        host=HOST,
        ssl=settings.ssl_context,
        compression=None,
        ping_interval=None,
        max_size=MAX_SIZE,
    )
    async with trio.open_nursery() as nursery:
        server = await nursery.start(run)
        announce(server.listeners[0].socket.getsockname()[1])
        await stopped()
        await server.aclose()


if __name__ == "__main__":
    run_trio(main)
