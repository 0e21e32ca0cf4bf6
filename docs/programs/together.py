"""An ASGI application and a WebSocket server in one process, with one end for both."""

from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_http

from trio_closeevents import close_on_signals, open_server


async def serve_both(app, handler, *, http_port=8001, port=8000):
    """Serve until SIGTERM or Ctrl-C; then say 1001, and answer what was asked."""
    config = Config()
    config.bind = [f"127.0.0.1:{http_port}"]
    config.graceful_timeout = 5
    ended = trio.Event()
    http = partial(serve_http, app, config, shutdown_trigger=ended.wait)
    async with (
        open_server(handler, "127.0.0.1", port) as server,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(http)
        await close_on_signals(server, grace=5)
        ended.set()
