"""aiohttp, with its C extensions."""

import asyncio

from aiohttp import WSCloseCode, WSMsgType, web

from .common import HOST, MAX_SIZE, Settings, announce, settings, stop_event

CONNECTIONS: set[web.WebSocketResponse] = set()


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=False, max_msg_size=MAX_SIZE)
    await ws.prepare(request)
    CONNECTIONS.add(ws)  # what its documentation says an orderly shutdown needs
    try:
        async for message in ws:
            if message.type is WSMsgType.BINARY:
                await ws.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
    finally:
        CONNECTIONS.discard(ws)
    return ws


async def chat(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=False, max_msg_size=MAX_SIZE)
    await ws.prepare(request)
    CONNECTIONS.add(ws)
    try:
        async for message in ws:
            for each in list(CONNECTIONS):
                if message.type is WSMsgType.BINARY:
                    await each.send_bytes(message.data)
                elif message.type is WSMsgType.TEXT:
                    await each.send_str(message.data)
    finally:
        CONNECTIONS.discard(ws)
    return ws


async def close_all(app: web.Application) -> None:
    await asyncio.gather(*(ws.close(code=WSCloseCode.GOING_AWAY) for ws in list(CONNECTIONS)))


async def main(chosen: Settings) -> None:
    app = web.Application()
    app.router.add_get("/", chat if chosen.broadcast else echo)
    app.on_shutdown.append(close_all)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=chosen.ssl_context).start()
    announce(runner.addresses[0][1])
    await stop_event().wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(settings()))
