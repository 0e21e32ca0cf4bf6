"""websockets, its trio implementation."""

import trio
from websockets.trio.client import connect

from .common import MAX_SIZE, Task, task, under_trio


async def main(given: Task) -> None:
    async with connect(given.url, compression=None, ping_interval=None, max_size=MAX_SIZE, proxy=None) as ws:
        await under_trio(given, ws.send, ws.recv)


if __name__ == "__main__":
    trio.run(main, task())
