"""trio-websocket."""

from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from .common import HOST, MAX_SIZE, Settings, announce, run_trio, stopped

CONNECTIONS: set[WebSocketConnection] = set()


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        while True:
            message = await ws.get_message()
            await ws.send_message(message)
    except ConnectionClosed:
        pass


async def chat(request: WebSocketRequest) -> None:
    ws = await request.accept()
    CONNECTIONS.add(ws)
    try:
        while True:
            message = await ws.get_message()
            for each in list(CONNECTIONS):
                try:
                    await each.send_message(message)
                except ConnectionClosed:
                    CONNECTIONS.discard(each)
    except ConnectionClosed:
        pass
    finally:
        CONNECTIONS.discard(ws)


async def main(settings: Settings) -> None:
    handler = chat if settings.broadcast else echo
    run = partial(serve_websocket, handler, HOST, 0, settings.ssl_context, max_message_size=MAX_SIZE)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(run)
        announce(server.port)
        await stopped()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run_trio(main)
