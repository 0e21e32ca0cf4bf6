"""picows on uvloop: its core API, which calls a listener per frame; both are written in Cython and C."""

import asyncio

import uvloop
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from .common import HOST, MAX_SIZE, Settings, announce, settings, stop_event

CONNECTIONS: set[WSTransport] = set()


class Echo(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        CONNECTIONS.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        CONNECTIONS.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Chat(Echo):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
            return
        message = frame.get_payload_as_bytes()
        for each in CONNECTIONS:
            each.send(frame.msg_type, message)


def echo(request: WSUpgradeRequest) -> WSListener:
    return Echo()


def chat(request: WSUpgradeRequest) -> WSListener:
    return Chat()


async def main(chosen: Settings) -> None:
    server = await ws_create_server(
        chat if chosen.broadcast else echo,
        HOST,
        0,
        ssl=chosen.ssl_context,
        max_frame_size=MAX_SIZE,
    )
    announce(server.sockets[0].getsockname()[1])
    await stop_event().wait()
    server.close()
    connections = list(CONNECTIONS)
    for transport in connections:
        transport.send_close(WSCloseCode.GOING_AWAY)
    await asyncio.gather(*(transport.wait_disconnected() for transport in connections))


if __name__ == "__main__":
    uvloop.run(main(settings()))
