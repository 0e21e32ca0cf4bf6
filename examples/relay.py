"""A proxy between WebSockets: what one side says reaches the other, and so does how it ended.

Run it before a server, `python examples/relay.py ws://127.0.0.1:8000/ --port 9000`, and connect to
ws://127.0.0.1:9000/ in its place.

Close codes are carried across as they are, but for those that stand for the absence of a Close frame: nobody may send
them (RFC 6455 §7.4.1). 1005 becomes an empty Close frame, 1006 and 1015 become 1014, bad gateway.
"""

from __future__ import annotations

import argparse
import logging

import trio

from trio_closeevents import (
    CloseEvent,
    ConnectionClosed,
    HandshakeError,
    WebSocket,
    close_on_signals,
    connect,
    is_sendable,
    open_server,
)

__all__ = ["Relay", "across", "join"]

logger = logging.getLogger("relay")


class Relay:
    """Connects everyone who comes to the server at *url*.

    Args:
        url: without a path: that of the client's request is used, with its query.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    async def serve(self, front: WebSocket) -> None:
        """Be the handler of one client."""
        target = front.request.target
        if not target.startswith("/"):  # behind a host, anything else would be a part of it
            await front.aclose(1008, "the target of the request is no path")
            return
        try:
            async with connect(self._url + target) as back:
                await join(front, back)
        except HandshakeError as error:
            logger.warning("%s", error)
            await front.aclose(1014, "the server behind this proxy cannot be reached")


async def join(one: WebSocket, other: WebSocket) -> None:
    """Carry messages both ways until both connections have ended; each is told how the other did."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, one, other)
        nursery.start_soon(carry, other, one)


async def carry(source: WebSocket, sink: WebSocket) -> None:
    """Hand on what *source* says, and its end. The next message is asked for when the last one has found room."""
    async for event in source.events():
        match event:
            case CloseEvent():
                await sink.aclose(*across(event))
            case message:
                try:
                    await sink.send(message)
                except ConnectionClosed:
                    return  # the other direction tells `source` about it


def across(event: CloseEvent) -> tuple[int | None, str]:
    """Return the close code and reason that tell the other side of *event*."""
    match event:
        case CloseEvent(1005):
            return None, ""
        case CloseEvent(code, reason) if is_sendable(code):
            return code, reason
        case _:
            return 1014, f"the other side is gone: {event.cause}"


async def main(url: str, host: str, port: int) -> None:
    """Relay until SIGINT or SIGTERM: then everybody is told 1001."""
    async with open_server(Relay(url).serve, host, port) as server:
        print(f"ws://{host}:{server.port}/ leads to {url}", flush=True)
        await close_on_signals(server)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A proxy between WebSockets.")
    parser.add_argument("url")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")  # every end, with its CloseEvent
    trio.run(main, *vars(parser.parse_args()).values())
