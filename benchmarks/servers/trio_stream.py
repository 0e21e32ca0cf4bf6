"""The floor: a plain trio stream that echoes bytes, `receive_some` and `send_all`; no WebSocket."""

import trio

from .common import HOST, Settings, announce, run_trio, stopped

STREAMS: set[trio.abc.Stream] = set()


async def echo(stream: trio.abc.Stream) -> None:
    try:
        while data := await stream.receive_some():
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass
    finally:
        await trio.aclose_forcefully(stream)


async def chat(stream: trio.abc.Stream) -> None:
    try:
        await stream.send_all(await stream.receive_some())  # the byte that tells that the connection is accepted
        STREAMS.add(stream)
        while data := await stream.receive_some():
            for each in list(STREAMS):
                await each.send_all(data)
    except trio.BrokenResourceError:
        pass
    finally:
        STREAMS.discard(stream)
        await trio.aclose_forcefully(stream)


async def main(settings: Settings) -> None:
    handler = chat if settings.broadcast else echo
    context = settings.ssl_context
    async with trio.open_nursery() as nursery:
        opened = await trio.open_tcp_listeners(0, host=HOST)
        listeners = [trio.SSLListener(each, context) for each in opened] if context is not None else opened
        await nursery.start(trio.serve_listeners, handler, listeners)
        announce(opened[0].socket.getsockname()[1])
        await stopped()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run_trio(main)
