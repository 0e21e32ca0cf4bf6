import trio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from together import serve_both

from trio_closeevents import broadcast

room = set()


async def talk(ws):
    room.add(ws)
    try:
        async for line in ws:
            await broadcast(room, line, slow_after=1)
    finally:
        room.discard(ws)


async def who(request):
    return JSONResponse({"here": len(room)})


async def tell(request):
    text = (await request.body()).decode()
    await broadcast(room, text, slow_after=1)
    return PlainTextResponse("told")


app = Starlette(routes=[Route("/who", who), Route("/tell", tell, methods=["POST"])])

if __name__ == "__main__":
    trio.run(serve_both, app, talk)
