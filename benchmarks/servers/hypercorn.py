"""hypercorn on trio, with a bare ASGI application."""

from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from .common import HOST, MAX_SIZE, Settings, announce, run_trio, stopped

CONNECTIONS: set[Any] = set()


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        event = await receive()
        await send({"type": event["type"] + ".complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})


async def chat(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    CONNECTIONS.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            message = {"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")}
            for each in list(CONNECTIONS):
                await each(message)
    finally:
        CONNECTIONS.discard(send)


async def main(settings: Settings) -> None:
    config = Config()
    config.bind = [f"{HOST}:0"]
    config.backlog = 2048  # its own default of 100 would be the only one below asyncio's
    config.websocket_max_message_size = MAX_SIZE
    config.websocket_ping_interval = None
    config.accesslog = config.errorlog = None
    if settings.certificate is not None:
        config.certfile = config.keyfile = settings.certificate
        config.alpn_protocols = ["http/1.1"]
    run = partial(serve, chat if settings.broadcast else echo, config, shutdown_trigger=stopped, mode="asgi")
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(run)
        announce(int(url.rpartition(":")[2]))


if __name__ == "__main__":
    run_trio(main)
