"""websockets, its asyncio implementation, with its C extension."""

import asyncio

from websockets.asyncio.server import ServerConnection, broadcast, serve

from .common import HOST, MAX_SIZE, Settings, announce, settings, stop_event

CONNECTIONS: set[ServerConnection] = set()


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def chat(ws: ServerConnection) -> None:
    CONNECTIONS.add(ws)
    try:
        async for message in ws:
            broadcast(CONNECTIONS, message)
    finally:
        CONNECTIONS.discard(ws)


async def main(chosen: Settings) -> None:
    server = await serve(
        chat if chosen.broadcast else echo,
        HOST,
        0,
        ssl=chosen.ssl_context,
        compression=None,
        ping_interval=None,
        max_size=MAX_SIZE,
    )
    async with server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await stop_event().wait()


if __name__ == "__main__":
    asyncio.run(main(settings()))
