import trio
from quart import request
from quart_trio import QuartTrio
from together import serve_both

from trio_closeevents import broadcast

app = QuartTrio(__name__)
room = set()


async def talk(ws):
    room.add(ws)
    try:
        async for line in ws:
            await broadcast(room, line, slow_after=1)
    finally:
        room.discard(ws)


@app.get("/who")
async def who():
    return {"here": len(room)}


@app.post("/tell")
async def tell():
    text = await request.get_data(as_text=True)
    await broadcast(room, text, slow_after=1)
    return "told"


if __name__ == "__main__":
    trio.run(serve_both, app, talk)
