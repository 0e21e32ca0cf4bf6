"""trio-closeevents."""

import trio

from trio_closeevents import connect

from .common import MAX_SIZE, Task, task, under_trio


async def main(given: Task) -> None:
    async with connect(given.url, compression=None, ping_interval=None, max_message_size=MAX_SIZE) as ws:
        await under_trio(given, ws.send, ws.receive)


if __name__ == "__main__":
    trio.run(main, task())
