"""A feed of two topics, with trio-closeevents: `serve PORT`, or `follow URL TOPIC SECONDS`."""

import itertools
import sys
from functools import partial

import trio

from trio_closeevents import ReconnectPolicy, broadcast, close_on_signals, connect, open_server, stay_connected

# -- the server --------------------------------------------------------------------------------------------------------

followers = {"tea": set(), "coffee": set()}


async def handle(ws):
    topic = None
    with trio.move_on_after(2):
        topic = await ws.receive()
    if topic is None:
        await ws.aclose(4408, "name a topic")
    elif topic not in followers:
        await ws.aclose(4404, f"no such topic: {topic}")
    else:
        followers[topic].add(ws)
        try:
            print("ended:", await ws.wait_closed())
        finally:
            followers[topic].discard(ws)


async def tick():
    for number in itertools.count():
        for topic, connections in followers.items():
            await broadcast(connections, f"{topic} {number}", slow_after=0)
        await trio.sleep(0.1)


async def run_server(port):
    async with (
        open_server(handle, "127.0.0.1", port) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(tick)
        print(f"ws://127.0.0.1:{server.port}/")
        await close_on_signals(server, 1012, "back soon")
        nursery.cancel_scope.cancel()


# -- the client --------------------------------------------------------------------------------------------------------


def tell(event):
    if event.outcome is not None:
        print("ended:", event.outcome)


async def follow(url, topic, seconds):
    async def session(ws):
        await ws.send(topic)
        async for message in ws:
            print(message)

    opening = partial(connect, url, open_timeout=5)
    policy = ReconnectPolicy(most=2)  # seconds until the next attempt
    with trio.move_on_after(seconds):
        return str(await stay_connected(opening, session, policy=policy, on_event=tell))


# -- both --------------------------------------------------------------------------------------------------------------

match sys.argv[1:]:
    case "serve", port:
        trio.run(run_server, int(port))
    case "follow", url, topic, seconds:
        sys.exit(trio.run(follow, url, topic, float(seconds)))
