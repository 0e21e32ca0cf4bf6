"""A feed of two topics, with the trio API of websockets: `serve PORT`, or `follow URL TOPIC SECONDS`."""

import itertools
import signal
import sys
from functools import partial

import trio
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.trio.client import connect
from websockets.trio.server import broadcast, serve

# -- the server --------------------------------------------------------------------------------------------------------

followers = {"tea": set(), "coffee": set()}


async def handle(ws):
    topic = None
    with trio.move_on_after(2):
        topic = await ws.recv()
    if topic is None:
        await ws.aclose(4408, "name a topic")
    elif topic not in followers:
        await ws.aclose(4404, f"no such topic: {topic}")
    else:
        followers[topic].add(ws)
        try:
            await ws.wait_closed()
            print("ended:", ws.close_code, ws.close_reason)
        finally:
            followers[topic].discard(ws)


async def tick():
    for number in itertools.count():
        for topic, connections in followers.items():
            await broadcast(connections, f"{topic} {number}")
        await trio.sleep(0.1)


async def run_server(port):
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handle, port, host="127.0.0.1"))
        nursery.start_soon(tick)
        print(f"ws://127.0.0.1:{server.listeners[0].socket.getsockname()[1]}/")
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await anext(signals)
        await server.aclose(code=1012, reason="back soon")
        nursery.cancel_scope.cancel()


# -- the client --------------------------------------------------------------------------------------------------------


async def follow(url, topic, seconds):
    with trio.move_on_after(seconds):
        while True:
            try:
                async with connect(url, open_timeout=5) as ws:
                    await ws.send(topic)
                    async for message in ws:
                        print(message)
            except ConnectionClosed:
                pass
            except (OSError, InvalidHandshake) as error:
                print("not connected:", error)
                await trio.sleep(0.5)
                continue
            print("ended:", ws.close_code, ws.close_reason)
            if ws.close_code == 4404:
                return ws.close_reason


# -- both --------------------------------------------------------------------------------------------------------------

match sys.argv[1:]:
    case "serve", port:
        trio.run(run_server, int(port))
    case "follow", url, topic, seconds:
        sys.exit(trio.run(follow, url, topic, float(seconds)))
