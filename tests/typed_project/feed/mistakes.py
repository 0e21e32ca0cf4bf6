"""What type checkers have to refuse: without its comment, each of these lines is an error."""

from __future__ import annotations

from trio_closeevents import (
    CloseCode,
    CloseEvent,
    ClosePolicy,
    Headers,
    Request,
    Response,
    WebSocket,
    broadcast,
    connect,
    open_server,
    serve,
    stay_connected,
)


def handle_at_once(ws: WebSocket) -> None:
    """Be no handler: it is not async."""


async def handle(ws: WebSocket) -> None:
    """Be a handler."""
    await ws.send(5)  # type: ignore[arg-type]
    await ws.send("text", text="yes")  # type: ignore[arg-type]
    await ws.aclose("1000")  # type: ignore[arg-type]
    (await ws.receive()).encode()  # type: ignore[union-attr]
    (await ws.receive(decode=False)).encode()  # type: ignore[attr-defined]
    print(ws.close_event.code)  # type: ignore[union-attr]
    ws.close_event = None  # type: ignore[misc]
    ws.send_text("text")  # type: ignore[attr-defined]
    async for message in ws.events():
        print(message.code)  # type: ignore[union-attr]


async def session(ws: WebSocket, name: str) -> None:
    """Be a session that wants too much."""


def wait_long(outcome: CloseEvent, failures: int) -> str:
    """Be no policy."""
    return "long"


async def make_mistakes(event: CloseEvent, headers: Headers, request: Request) -> None:
    """Be wrong in every call."""
    connect("ws://a", max_mesage_size=1)  # type: ignore[call-arg]
    connect("ws://a", max_message_size="1k")  # type: ignore[arg-type]
    connect("ws://a", compression="gzip")  # type: ignore[arg-type]
    connect("ws://a", subprotocols=5)  # type: ignore[arg-type]
    connect("ws://a", origins=["https://a"])  # type: ignore[call-arg]
    await connect("ws://a")  # type: ignore[misc]
    async for _ in connect("ws://a"):  # type: ignore[attr-defined]
        pass
    async with connect("ws://a") as ws, open_server(handle, "a", 0) as server:
        await broadcast(ws, "text")  # type: ignore[arg-type]
        await broadcast(server.connections, 5)  # type: ignore[arg-type]
        server.connections.add(ws)  # type: ignore[attr-defined]
    open_server(handle_at_once, "a", 0)  # type: ignore[arg-type]
    open_server(handle, "a", "0")  # type: ignore[arg-type]
    open_server(handle, "a", 0, process_request=handle)  # type: ignore[arg-type]
    open_server(handle, "a", 0, on_close=wait_long)  # type: ignore[arg-type]
    await serve(handle, port="0")  # type: ignore[arg-type]
    await stay_connected("ws://a", session)  # type: ignore[arg-type]
    await stay_connected("ws://a", handle, policy=wait_long)  # type: ignore[arg-type]
    ClosePolicy({"PermissionError": 4403})  # type: ignore[dict-item]
    ClosePolicy(on_exit="done")  # type: ignore[arg-type]
    Response("200")  # type: ignore[arg-type]
    CloseEvent("close", 1000)  # type: ignore[call-arg]
    CloseEvent("close", initiated_by="peer")  # type: ignore[arg-type]
    event.code = 1000  # type: ignore[misc]
    headers["host"] = "a"  # type: ignore[index]
    request.target = "/"  # type: ignore[misc]
    print(CloseCode.GOING_AWAY.reason)  # type: ignore[attr-defined]
