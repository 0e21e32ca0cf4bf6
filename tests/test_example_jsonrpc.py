"""`examples/jsonrpc.py`: calls at once, errors, time limits, and what becomes of calls when the connection ends."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

import pytest
import trio
from programs import run_program
from trio.testing import MockClock, wait_all_tasks_blocked
from websockets.trio.server import ServerConnection, serve

from examples.jsonrpc import CallFailed, CallLost, Client
from trio_closeevents import CloseCause, WebSocket
from trio_closeevents.testing import open_websocket_pair

HOST: Final = "127.0.0.1"


async def received(ws: WebSocket) -> dict[str, Any]:
    """Return the next call."""
    call: dict[str, Any] = json.loads(await ws.receive())
    return call


async def answer(ws: WebSocket, call: dict[str, Any], **outcome: Any) -> None:
    """Answer *call*."""
    await ws.send(json.dumps({"jsonrpc": "2.0", "id": call["id"], **outcome}))


async def test_answers_find_their_calls(autojump_clock: MockClock) -> None:
    """In whatever order they come."""
    results: dict[int, Any] = {}
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        rpc = Client(client)
        nursery.start_soon(rpc.run)

        async def square(number: int) -> None:
            results[number] = await rpc.call("square", number)

        async with trio.open_nursery() as calls:
            for number in range(5):
                calls.start_soon(square, number)
            for call in reversed([await received(server) for _ in range(5)]):
                assert call["jsonrpc"] == "2.0"
                await answer(server, call, result=call["params"][0] ** 2)
        await client.aclose()
    assert results == {number: number**2 for number in range(5)}


async def test_parameters_go_by_position_or_by_name(autojump_clock: MockClock) -> None:
    """Not both; and without any there is no member `params` (JSON-RPC 2.0 §4.2)."""
    async with open_websocket_pair() as (client, server):
        rpc = Client(client)
        await rpc.notify("a", 1, [2])
        await rpc.notify("b", x=1)
        await rpc.notify("c")
        with pytest.raises(TypeError, match="not both"):
            await rpc.call("d", 1, x=1)
        calls = [await received(server) for _ in range(3)]
    assert calls == [
        {"jsonrpc": "2.0", "method": "a", "params": [1, [2]]},
        {"jsonrpc": "2.0", "method": "b", "params": {"x": 1}},
        {"jsonrpc": "2.0", "method": "c"},
    ]


async def test_error_is_raised_with_its_code(autojump_clock: MockClock) -> None:
    """And what else the server says of it."""
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        rpc = Client(client)
        nursery.start_soon(rpc.run)
        nursery.start_soon(fail_one, server)
        with pytest.raises(CallFailed, match=r"^no such thing \(-32601\)$") as caught:
            await rpc.call("guess")
        assert (caught.value.code, caught.value.data) == (-32601, [1])
        await client.aclose()


async def fail_one(server: WebSocket) -> None:
    await answer(server, await received(server), error={"code": -32601, "message": "no such thing", "data": [1]})


async def test_late_answer_harms_nobody(autojump_clock: MockClock) -> None:
    """A call that was cancelled is forgotten; so is an answer that nobody has asked for."""
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        rpc = Client(client)
        nursery.start_soon(rpc.run)
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(1):
                await rpc.call("wait")
        late = await received(server)
        nursery.start_soon(partial(answer, server, late, result="late"))
        await server.send(json.dumps({"id": 99, "result": 1}))
        await server.send("[]")
        await wait_all_tasks_blocked()

        async def reply() -> None:
            await answer(server, await received(server), result="in time")

        nursery.start_soon(reply)
        assert await rpc.call("again") == "in time"
        await client.aclose()


async def test_notifications_of_the_server_are_handed_on(autojump_clock: MockClock) -> None:
    """With their parameters, or `None`."""
    told: list[tuple[str, Any]] = []
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(Client(client, on_notification=lambda *what: told.append(what)).run)
        await server.send('{"jsonrpc": "2.0", "method": "a", "params": {"x": 1}}')
        await server.send('{"jsonrpc": "2.0", "method": "b"}')
        await server.aclose()
    assert told == [("a", {"x": 1}), ("b", None)]


@pytest.mark.parametrize(
    ("end", "code", "cause"),
    [
        (lambda ws: ws.aclose(1001, "bye"), 1001, CloseCause.REMOTE),
        (lambda ws: ws.send("no JSON"), 1007, CloseCause.CLOSED),
        (lambda ws: ws.send("[" * 100_000), 1007, CloseCause.CLOSED),
    ],
    ids=["closed", "no JSON", "deep JSON"],
)
async def test_pending_calls_learn_how_the_connection_ended(
    end: Any, code: int, cause: CloseCause, autojump_clock: MockClock
) -> None:
    """All of them, with the CloseEvent; and so does a call that comes too late."""
    lost: list[CallLost] = []
    async with open_websocket_pair() as (client, server), trio.open_nursery() as nursery:
        rpc = Client(client)
        nursery.start_soon(rpc.run)

        async def call() -> None:
            try:
                await rpc.call("wait")
            except CallLost as error:
                lost.append(error)

        for _ in range(3):
            nursery.start_soon(call)
            await received(server)
        await end(server)
        await client.wait_closed()
        await call()
    assert len(lost) == 4
    for error in lost:
        assert error.event is client.close_event
        assert (error.event.code, error.event.cause) == (code, cause)


# -- the program -------------------------------------------------------------------------------------------------------


async def test_program_plays() -> None:
    """`python examples/jsonrpc.py` shows each thing that can happen to a call."""
    async with run_program("examples/jsonrpc.py") as program:
        assert await program.end() == 0
    for line in (
        "told: welcome ['add', 'wait', 'leave']",
        "add → 6",
        "guess → there is no such method (-32601)",
        "wait → 0.2 s",
        "wait → TooSlowError()",
        "leave → 1001 going away 'closing time', the peer closed first: remote",
        "wait → 1001 going away 'closing time', the peer closed first: remote",
    ):
        assert line in program.said.splitlines()


async def test_program_calls_a_server_of_another_library() -> None:
    """`python examples/jsonrpc.py URL METHOD JSON...` prints the result as JSON."""

    async def handle(ws: ServerConnection) -> None:
        async for message in ws:
            call = json.loads(message)
            await ws.send(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": [call["method"], *call["params"]]}))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handle, 0, host=HOST))
        url = f"ws://{HOST}:{server.listeners[0].socket.getsockname()[1]}/"
        async with run_program("examples/jsonrpc.py", url, "echo", "1", '{"a": null}') as program:
            assert await program.end() == 0
        nursery.cancel_scope.cancel()
    assert program.said == '["echo", 1, {"a": null}]\n'
