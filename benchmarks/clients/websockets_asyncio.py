"""websockets, its asyncio implementation, with its C extension."""

import asyncio

from websockets.asyncio.client import connect

from .common import MAX_SIZE, Task, task, under_asyncio


async def main(given: Task) -> None:
    async with connect(given.url, compression=None, ping_interval=None, max_size=MAX_SIZE, proxy=None) as ws:
        await under_asyncio(given, ws.send, ws.recv)


if __name__ == "__main__":
    asyncio.run(main(task()))
