"""A feed of two topics, with trio-websocket: `serve PORT`, or `follow URL TOPIC SECONDS`."""

import itertools
import signal
import sys
from contextlib import suppress
from functools import partial

import trio
import trio_websocket

# -- the server --------------------------------------------------------------------------------------------------------

followers = {"tea": set(), "coffee": set()}


async def handle(request):
    ws = await request.accept()
    topic = None
    try:
        with trio.move_on_after(2):
            topic = await ws.get_message()
        if topic is None:
            await ws.aclose(4408, "name a topic")
        elif topic not in followers:
            await ws.aclose(4404, f"no such topic: {topic}")
        else:
            followers[topic].add(ws)
            await ws.get_message()  # nothing comes: this waits for the end
    except trio_websocket.ConnectionClosed as closed:
        print("ended:", closed.reason.code, closed.reason.reason)
    finally:
        for connections in followers.values():
            connections.discard(ws)


async def send(ws, message):
    with suppress(trio_websocket.ConnectionClosed):
        await ws.send_message(message)


async def tick():
    for number in itertools.count():
        async with trio.open_nursery() as nursery:
            for topic, connections in followers.items():
                for ws in connections:
                    nursery.start_soon(send, ws, f"{topic} {number}")
        await trio.sleep(0.1)


async def run_server(port):
    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, handle, "127.0.0.1", port, None)
        server = await nursery.start(serve)
        nursery.start_soon(tick)
        print(f"ws://127.0.0.1:{server.port}/")
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await anext(signals)
        with trio.move_on_after(5):
            async with trio.open_nursery() as closing:
                for ws in set().union(*followers.values()):
                    closing.start_soon(ws.aclose, 1012, "back soon")
        nursery.cancel_scope.cancel()


# -- the client --------------------------------------------------------------------------------------------------------


async def keep_alive(ws):
    while True:
        await trio.sleep(20)
        with trio.fail_after(20):
            await ws.ping()


async def read(ws, topic):
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_alive, ws)
            await ws.send_message(topic)
            while True:
                print(await ws.get_message())
    except* (trio_websocket.ConnectionClosed, trio.TooSlowError):
        pass


async def follow(url, topic, seconds):
    with trio.move_on_after(seconds):
        while True:
            try:
                async with trio_websocket.open_websocket_url(url, connect_timeout=5) as ws:
                    await read(ws, topic)
            except trio_websocket.HandshakeError as error:
                print("not connected:", repr(error))
                await trio.sleep(0.5)
                continue
            print("ended:", ws.closed.code, ws.closed.reason)
            if ws.closed.code == 4404:
                return ws.closed.reason


# -- both --------------------------------------------------------------------------------------------------------------

match sys.argv[1:]:
    case "serve", port:
        trio.run(run_server, int(port))
    case "follow", url, topic, seconds:
        sys.exit(trio.run(follow, url, topic, float(seconds)))
