"""`python -m examples.chat [--host HOST] [--port PORT]`: serve the page and its connections on one port."""

from __future__ import annotations

import argparse
import logging

import trio

from trio_closeevents import close_on_signals, open_server

from .page import answer
from .room import MAX_MESSAGE_BYTES, MAX_PEOPLE, Room


async def main(host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; then tell everybody that the server restarts, and is worth another try."""
    room = Room()
    async with open_server(
        room.serve,
        host,
        port,
        process_request=answer,
        on_close=room.left,
        max_message_size=MAX_MESSAGE_BYTES,
        max_connections=2 * MAX_PEOPLE,
        ping_interval=10,
        ping_timeout=10,
    ) as server:
        print(f"The chat is at http://{host}:{server.port}/", flush=True)
        await close_on_signals(server, 1012, "the server restarts", grace=3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.chat", description="A chat in the browser.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    trio.run(main, *vars(parser.parse_args()).values())
