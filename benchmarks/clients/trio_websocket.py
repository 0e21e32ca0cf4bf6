"""trio-websocket."""

import trio
from trio_websocket import open_websocket_url

from .common import MAX_SIZE, Task, task, under_trio


async def main(given: Task) -> None:
    async with open_websocket_url(given.url, max_message_size=MAX_SIZE) as ws:
        await under_trio(given, ws.send_message, ws.get_message)


if __name__ == "__main__":
    trio.run(main, task())
