"""A JSON-RPC 2.0 client over a WebSocket: calls at once, each matched to its answer, until the connection ends.

`python examples/jsonrpc.py` plays against a small server of its own, `python examples/jsonrpc.py URL METHOD [JSON...]`
makes one call to yours.

A time limit is a scope of trio's, as anywhere: `with trio.fail_after(1): await rpc.call("add", 1, 2)`. Whoever waits
for an answer when the connection ends gets a `CallLost`, which has the `CloseEvent`.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import trio

from trio_closeevents import CloseEvent, ConnectionClosed, WebSocket, connect, open_server

__all__ = ["CallFailed", "CallLost", "Client"]


class CallFailed(Exception):
    """The server has answered with an error.

    Attributes:
        code, data: what it says beside the message.
    """

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data

    def __str__(self) -> str:
        return f"{self.args[0]} ({self.code})"


class CallLost(Exception):
    """The connection has ended before the answer came. Whether the server has done its work is not known.

    Attributes:
        event: how it ended.
    """

    def __init__(self, event: CloseEvent) -> None:
        super().__init__(event)
        self.event = event


class Call:
    """A call under way."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: dict[str, Any] | None = None  # as long as there is none, also when none can come any more


class Client:
    """Speaks JSON-RPC on a connection; `run` has to be running meanwhile.

    Args:
        on_notification: called with the method and the parameters of what the server tells without being asked.
    """

    def __init__(
        self, ws: WebSocket, on_notification: Callable[[str, Any], object] = lambda method, params: None
    ) -> None:
        self._ws = ws
        self._channel = ws.as_json()
        self._on_notification = on_notification
        self._ids = itertools.count(1)
        self._calls: dict[int, Call] = {}

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method*, with parameters by position or by name, and return the result. If cancelled, it is forgotten.

        Raises:
            CallFailed: the server has answered with an error.
            CallLost: the connection has ended first.
        """
        number = next(self._ids)
        call = self._calls[number] = Call()
        try:
            await self._send(method, args, kwargs, id=number)
            await call.done.wait()
        except ConnectionClosed:
            pass  # there is no answer, then
        finally:
            del self._calls[number]
        match call.answer:
            case None:
                raise CallLost(await self._ws.wait_closed())
            case {"error": {"code": int(code), "message": str(message), **rest}}:
                raise CallFailed(code, message, rest.get("data"))
            case answer:
                return answer.get("result")

    async def notify(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Tell the server something that has no answer."""
        await self._send(method, args, kwargs)

    async def _send(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], **rest: int) -> None:
        if args and kwargs:
            raise TypeError("parameters go by position or by name, not both")
        params = {"params": args or kwargs} if args or kwargs else {}
        await self._channel.send({"jsonrpc": "2.0", "method": method, **params, **rest})

    async def run(self) -> None:
        """Take what the server says, until the connection ends; then nobody waits for an answer any more."""
        try:
            while True:
                self._take(await self._channel.receive())
        except ConnectionClosed:
            await self._ws.wait_closed()
        except (ValueError, RecursionError):
            await self._ws.aclose(1007, "this is no JSON")
        finally:
            for call in self._calls.values():
                call.done.set()

    def _take(self, message: Any) -> None:
        match message:
            case {"method": str(method)}:
                self._on_notification(method, message.get("params"))
            case {"id": int(number)} if call := self._calls.get(number):
                call.answer = message
                call.done.set()
            case _:
                pass  # an answer that came too late, or nothing that anybody has asked for


# -- the small server --------------------------------------------------------------------------------------------------


async def serve_arithmetic(ws: WebSocket) -> None:
    """Answer `add` and `wait`, one call after the other having its own task; leave at `leave`."""
    channel = ws.as_json()

    async def answer(call: dict[str, Any]) -> None:
        match call:
            case {"method": "add", "params": [*numbers]}:
                outcome: dict[str, Any] = {"result": sum(numbers)}
            case {"method": "wait", "params": {"seconds": seconds}}:
                await trio.sleep(seconds)
                outcome = {"result": f"{seconds} s"}
            case {"method": "leave"}:
                await ws.aclose(1001, "closing time")
                return
            case _:
                outcome = {"error": {"code": -32601, "message": "there is no such method"}}
        await channel.send({"jsonrpc": "2.0", "id": call["id"], **outcome})

    async with trio.open_nursery() as nursery:
        await channel.send({"jsonrpc": "2.0", "method": "welcome", "params": ["add", "wait", "leave"]})
        async for call in channel:
            nursery.start_soon(answer, call)
        nursery.cancel_scope.cancel()


async def play(url: str) -> None:
    """Show what can happen to a call."""
    async with connect(url) as ws, trio.open_nursery() as nursery:
        rpc = Client(ws, on_notification=lambda method, params: print("told:", method, params))
        nursery.start_soon(rpc.run)

        async def show(name: str, *args: Any, **kwargs: Any) -> None:
            try:
                with trio.fail_after(1):
                    print(name, "→", await rpc.call(name, *args, **kwargs))
            except (CallFailed, CallLost, trio.TooSlowError) as error:
                print(name, "→", repr(error) if isinstance(error, trio.TooSlowError) else error)

        async with trio.open_nursery() as calls:  # all at once
            calls.start_soon(show, "add", 1, 2, 3)
            calls.start_soon(lambda: show("wait", seconds=0.2))
            calls.start_soon(lambda: show("wait", seconds=60))
            calls.start_soon(show, "guess")
        async with trio.open_nursery() as calls:
            calls.start_soon(lambda: show("wait", seconds=0.5))
            await show("leave")


async def main(*words: str) -> None:
    """Call what the command line says, or play."""
    if not words:
        async with open_server(serve_arithmetic, "127.0.0.1", 0) as server:
            await play(f"ws://127.0.0.1:{server.port}/")
        return
    url, method, *params = words
    async with connect(url) as ws, trio.open_nursery() as nursery:
        rpc = Client(ws)
        nursery.start_soon(rpc.run)
        print(json.dumps(await rpc.call(method, *map(json.loads, params))))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
