"""A feed of two topics, with the asyncio API of websockets: `serve PORT`, or `follow URL TOPIC SECONDS`."""

import asyncio
import itertools
import signal
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

# -- the server --------------------------------------------------------------------------------------------------------

followers = {"tea": set(), "coffee": set()}


async def handle(ws):
    try:
        async with asyncio.timeout(2):
            topic = await ws.recv()
    except TimeoutError:
        await ws.close(4408, "name a topic")
        return
    if topic not in followers:
        await ws.close(4404, f"no such topic: {topic}")
        return
    followers[topic].add(ws)
    try:
        await ws.wait_closed()
        print("ended:", ws.close_code, ws.close_reason)
    finally:
        followers[topic].discard(ws)


async def tick():
    for number in itertools.count():
        for topic, connections in followers.items():
            broadcast(connections, f"{topic} {number}")
        await asyncio.sleep(0.1)


async def run_server(port):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await serve(handle, "127.0.0.1", port)
    ticking = asyncio.create_task(tick())
    print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    await stop.wait()
    ticking.cancel()
    server.close(code=1012, reason="back soon")
    await server.wait_closed()


# -- the client --------------------------------------------------------------------------------------------------------


async def follow(url, topic, seconds):
    try:
        async with asyncio.timeout(seconds):
            async for ws in connect(url, open_timeout=5):
                try:
                    await ws.send(topic)
                    async for message in ws:
                        print(message)
                except ConnectionClosed:
                    pass
                print("ended:", ws.close_code, ws.close_reason)
                if ws.close_code == 4404:
                    return ws.close_reason
    except TimeoutError:
        return None


# -- both --------------------------------------------------------------------------------------------------------------

match sys.argv[1:]:
    case "serve", port:
        asyncio.run(run_server(int(port)))
    case "follow", url, topic, seconds:
        sys.exit(asyncio.run(follow(url, topic, float(seconds))))
