"""aiohttp, with its C extensions."""

import asyncio

from aiohttp import ClientSession

from .common import MAX_SIZE, Task, task, under_asyncio


async def main(given: Task) -> None:
    async with ClientSession() as session, session.ws_connect(given.url, compress=0, max_msg_size=MAX_SIZE) as ws:
        if given.text:
            await under_asyncio(given, ws.send_str, ws.receive_str)
        else:
            await under_asyncio(given, ws.send_bytes, ws.receive_bytes)


if __name__ == "__main__":
    asyncio.run(main(task()))
