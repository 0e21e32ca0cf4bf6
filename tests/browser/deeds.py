"""What the two sides of an ending do: handlers of our server, acts beside it, and scripts of the page."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import trio
import trio.testing

from trio_closeevents import ReadyState, WebSocket

from .stage import Handler, Stage

FEW: Final = 8  # messages: fewer than our queue takes
MANY: Final = 100  # more than that
LARGE: Final = 2**25  # bytes that do not fit into any buffer


def close_with(code: int | None, reason: str = "") -> Handler:
    async def handler(ws: WebSocket) -> None:
        await ws.aclose(code, reason)

    return handler


def closing(code: int, reason: str) -> str:
    return f"socket.close({code}, '{reason}')"


def raise_(error: BaseException) -> Handler:
    async def handler(ws: WebSocket) -> None:
        raise error

    return handler


async def exit_when_asked(ws: WebSocket) -> None:
    await ws.receive()
    raise SystemExit(3)


async def return_at_once(ws: WebSocket) -> None:
    """Fall off the end."""


async def drop(ws: WebSocket) -> None:
    ws.abort()


async def read_all(ws: WebSocket) -> None:
    """Receive until the end, and let the end out."""
    while True:
        await ws.receive()


async def read_one(ws: WebSocket) -> None:
    """Receive one message, and leave when the others have arrived."""
    await ws.receive()
    while ws.stats.messages_received < FEW:
        await trio.sleep(0.01)


async def read_a_bit(ws: WebSocket) -> None:
    """Leave while the page still sends."""
    await ws.receive()


async def read_slowly(ws: WebSocket) -> None:
    """Take the page's messages after its Close has come."""
    await trio.sleep(0.2)
    count = 0
    async for _ in ws:
        count += 1
    assert count == MANY


async def send_many(ws: WebSocket) -> None:
    """Leave with messages behind that wait to be written."""
    for number in range(MANY):
        await ws.send(f"{number} ".ljust(1000, "x"))


async def send_too_much(ws: WebSocket) -> None:
    """Asked for it, send more at once than any buffer holds."""
    await ws.receive()
    await ws.send(bytes(LARGE))
    await ws.wait_closed()


async def break_off(ws: WebSocket) -> None:
    """Begin a message of pieces, and raise."""

    async def pieces() -> AsyncGenerator[str]:
        yield "one"
        yield "two"
        raise KeyError("three")

    try:
        await ws.send(pieces())
    finally:
        await ws.wait_closed()


async def stop_between_pieces(ws: WebSocket) -> None:
    """Begin a message of pieces, and be cancelled."""

    async def pieces() -> AsyncGenerator[str]:
        yield "one"
        await trio.sleep_forever()

    with trio.move_on_after(0.1):
        await ws.send(pieces())
    await ws.wait_closed()


async def cancel_block(stage: Stage) -> None:
    stage.block_scope.cancel()
    await stage.ended()


async def be_cancelled(stage: Stage) -> None:
    """Wait for nothing but that."""
    await trio.sleep_forever()


async def cancel_server(stage: Stage) -> None:
    stage.scope.cancel()
    await trio.sleep_forever()


async def close_server(stage: Stage) -> None:
    await stage.server.aclose(1012, "new version", grace=5)


async def leave(stage: Stage) -> None:
    """Leave the server's block."""


async def cross(stage: Stage) -> None:
    """Both sides close while nothing arrives, and the network mends."""
    assert stage.cable is not None
    async with trio.open_nursery() as nursery:
        stage.cable.silence()
        await stage.run("socket.close(3001, 'mine')")
        nursery.start_soon(stage.connections[0].aclose, 4001, "ours")
        await trio.testing.wait_all_tasks_blocked()
        stage.cable.mend()


async def cross_empty(stage: Stage) -> None:
    """The same; the page gives no code."""
    assert stage.cable is not None
    async with trio.open_nursery() as nursery:
        stage.cable.silence()
        await stage.run("socket.close()")
        nursery.start_soon(stage.connections[0].aclose, 4001, "ours")
        await trio.testing.wait_all_tasks_blocked()
        stage.cable.mend()


async def send_while_we_close(stage: Stage) -> None:
    """The page sends before it can know that we have closed."""
    assert stage.cable is not None
    (ws,) = stage.connections
    async with trio.open_nursery() as nursery:
        stage.cable.silence()
        nursery.start_soon(ws.aclose, 4001, "ours")
        await trio.testing.wait_all_tasks_blocked()
        await stage.run("socket.send('late'), socket.send(new Uint8Array(1000)), socket.send('too')")
        stage.cable.mend()
    assert ws.stats.messages_dropped == 3
    assert ws.stats.messages_received == 0


async def close_into_silence(stage: Stage) -> None:
    """Our Close goes nowhere, and nothing comes; at last the network is cut."""
    assert stage.cable is not None
    stage.cable.silence()
    await stage.connections[0].aclose(4001, "ours")
    stage.cable.cut()


async def close_and_be_cut(stage: Stage) -> None:
    """Our Close goes nowhere, and the connection is reset while we wait for an answer."""
    assert stage.cable is not None
    async with trio.open_nursery() as nursery:
        stage.cable.silence()
        nursery.start_soon(stage.connections[0].aclose, 4001, "ours")
        await trio.testing.wait_all_tasks_blocked()
        stage.cable.cut()


async def cut(stage: Stage) -> None:
    assert stage.cable is not None
    stage.cable.cut()
    await stage.ended()


async def fall_silent(stage: Stage) -> None:
    """Nothing passes any more, until we have given up."""
    assert stage.cable is not None
    stage.cable.silence()
    await stage.ended()
    stage.cable.cut()


async def get_stuck(stage: Stage) -> WebSocket:
    """Let the handler write a frame that is larger than all buffers, while nothing reaches the page."""
    assert stage.cable is not None
    stage.cable.silence(to_page_alone=True)
    (ws,) = stage.connections
    await stage.run("socket.send('go')")
    with trio.fail_after(5):
        while ws.stats.bytes_sent < LARGE:
            await trio.sleep(0.01)
    return ws


async def stop_half_way(stage: Stage) -> None:
    """The handler is cancelled while half a frame is on the wire, and the rest does not follow."""
    assert stage.cable is not None
    await get_stuck(stage)
    stage.block_scope.cancel()
    await stage.ended()
    stage.cable.cut()


async def close_against_the_stream(stage: Stage) -> None:
    """The page closes, half a frame keeps our answer from being sent, and the network is cut."""
    assert stage.cable is not None
    ws = await get_stuck(stage)
    await stage.run("socket.close(3001, 'mine')")
    with trio.fail_after(5):
        while ws.state is not ReadyState.CLOSING:
            await trio.sleep(0.01)
    stage.cable.cut()
    await stage.ended()
