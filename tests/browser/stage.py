"""A page and our server, with a connection between them that ends: what both say of it.

Theory. The page's `CloseEvent` has what the *server* sent, and ours what the *page* sent. So where our Close frame has
arrived, the page's code and reason are those of our event's `sent`; where none has, the page has 1006.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import trio

from trio_closeevents import (
    CloseEvent,
    HandshakeError,
    Observer,
    Request,
    Response,
    Server,
    WebSocket,
    accept,
    open_server,
)

from .cable import Cable, open_cable
from .devtools import PATIENCE, Page

__all__ = ["FAILED", "HOST", "Handler", "Pongs", "Shown", "Stage", "answer", "frozen", "open_stage", "wait_for_end"]

HOST: Final = "127.0.0.1"
FAILED: Final = "WebSocket connection to .* failed"  # what the console says of a connection that did not end in order
Handler: TypeAlias = Callable[[WebSocket], Awaitable[object]]

PAGE: Final = """<!DOCTYPE html><title>A page with a WebSocket</title><link rel="icon" href="data:,">
<script>
// Opens a connection, and notes all events of it. `shown` is there with the last one.
let socket, events = [], messages = [], shown;
const here = location.href.replace("http", "ws").split("?")[0] + "socket";
const opened = (url = here) => new Promise((resolve) => {
    socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    for (const type of ["open", "message", "error", "close"]) {
        socket.addEventListener(type, () => { events.push(type); document.body.append(type + " "); });
    }
    socket.addEventListener("open", () => resolve(true));
    socket.addEventListener("message", ({data}) => messages.push(data));
    socket.addEventListener("close", ({code, reason, wasClean}) => {
        shown = {code, reason, wasClean, events};
        document.body.append(JSON.stringify(shown));
        resolve(false);
    });
});
</script><body></body>
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a script in the page sees of the end.

    Attributes:
        was_clean: `None` in an expectation: that depends on who is faster.
        error: whether an `error` event came before the `close` event.
    """

    code: int
    reason: str = ""
    was_clean: bool | None = True
    error: bool = False


async def wait_for_end(ws: WebSocket) -> None:
    """Be a handler that only watches."""
    await ws.wait_closed()


class Pongs(Observer):
    """Counts what the keepalive is answered with."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = trio.Event()

    def pong(self, websocket: WebSocket, payload: bytes, *, sent: bool) -> None:
        """Be told of one."""
        if not sent:
            self._count += 1
            self._changed.set()

    async def come(self, number: int) -> None:
        """Wait for so many more."""
        enough = self._count + number
        with trio.fail_after(PATIENCE):
            while self._count < enough:
                self._changed = trio.Event()
                await self._changed.wait()


class Stage:
    """A server, and a page of it in a tab; `open_stage` makes it.

    Attributes:
        server: ours; whatever is sent to it by a page goes through `cable`, if there is one.
        page: what the tab shows.
        scope: around the server.
        block_scope: around the block of the connection, where that is made by hand.
        connections: all that were opened, in order.
        events: how they ended, in order.
    """

    def __init__(self, page: Page, handler: Handler) -> None:
        self.server: Server
        self.page = page
        self.cable: Cable | None = None
        self.scope = trio.CancelScope()
        self.block_scope = trio.CancelScope()
        self.connections: list[WebSocket] = []
        self.events: list[CloseEvent] = []
        self._handler = handler
        self._changed = trio.Event()

    # -- the server's side -----------------------------------------------------------------------------------------

    async def serve(self, ws: WebSocket) -> None:
        """Be the server's handler."""
        self.connections.append(ws)
        self._changed.set()
        await self._handler(ws)

    async def serve_stream(self, stream: trio.SocketStream, **options: Any) -> None:
        """Be a handler of streams, in place of a `Server`'s."""
        with trio.CancelScope() as scope, suppress(HandshakeError):  # which is what plain HTTP is to `accept`
            async with accept(stream, **options) as ws:
                self.block_scope = scope
                await self.serve(ws)

    def note(self, ws: WebSocket, event: CloseEvent) -> None:
        """Be the server's `on_close`."""
        self.events.append(event)
        self._changed.set()

    async def wait_until(self, is_true: Callable[[], object]) -> None:
        """Wait for something that a connection's beginning or end brings."""
        with trio.fail_after(PATIENCE):
            while not is_true():
                self._changed = trio.Event()
                await self._changed.wait()

    async def ended(self) -> CloseEvent:
        """Wait for the first event of the server's."""
        await self.wait_until(lambda: self.events)
        return self.events[0]

    # -- the page's side -------------------------------------------------------------------------------------------

    async def run(self, script: str) -> Any:
        """Evaluate *script* in the page, which knows `socket`, `events` and `messages`."""
        return await self.page.evaluate(script)

    async def shown(self) -> Shown:
        """Wait for the `close` event of the page, which has to be its last event."""
        shown = await self.page.wait_for("shown")
        assert await self.page.evaluate("socket.readyState") == 3
        before, last = shown["events"][:-1], shown["events"][-1]
        assert last == "close"
        assert before.count("error") + before.count("close") == before[-1:].count("error"), shown
        return Shown(shown["code"], shown["reason"], shown["wasClean"], "error" in before)


def answer(request: Request) -> Response | None:
    """Be the server's `process_request`: a page beside its WebSocket. What is asked for with `?no-store` has that."""
    if request.path == "/socket":
        return None
    store = {"Cache-Control": "no-store"} if "no-store" in request.target else {}
    return Response(200, {"Content-Type": "text/html; charset=utf-8", **store}, PAGE)


@asynccontextmanager
async def open_stage(
    page: Page,
    handler: Handler = wait_for_end,
    *,
    cable: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    by_hand: bool = False,
    query: str = "",
    **options: Any,
) -> AsyncGenerator[Stage]:
    """Serve a page, show it in the tab *page*, and connect it. With a *cable*, the page comes through that.

    *by_hand* there is no `Server`: each connection is an `accept` in a block and a scope of its own.
    """
    stage = Stage(page, handler)
    options = {"process_request": answer, "on_close": stage.note, "ssl_context": ssl_context, **options}
    with stage.scope:
        async with AsyncExitStack() as stack:
            if by_hand:
                port = await stack.enter_async_context(open_listener(stage, **options))
            else:
                stage.server = await stack.enter_async_context(open_server(stage.serve, HOST, 0, **options))
                port = stage.server.port
            if cable:
                stage.cable = await stack.enter_async_context(open_cable(port))
                port = stage.cable.port
            await page.go_to(f"{'https' if ssl_context else 'http'}://{HOST}:{port}/{query}")
            await stage.run("opened()")
            yield stage


@asynccontextmanager
async def open_listener(stage: Stage, **options: Any) -> AsyncGenerator[int]:
    """Serve without a `Server`; return the port."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, partial(stage.serve_stream, **options), [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def frozen(page: Page) -> AsyncGenerator[None]:
    """Let no script run in *page* until the block ends: one waits there for an answer, as a bad page would."""
    is_frozen, thaws = trio.Event(), trio.Event()

    async def hold(_: Request) -> Response:
        is_frozen.set()
        await thaws.wait()
        return Response(200, {"Access-Control-Allow-Origin": "*"})

    options: dict[str, Any] = {"process_request": hold, "open_timeout": math.inf}
    async with open_server(wait_for_end, HOST, 0, **options) as server, trio.open_nursery() as nursery:
        ask = f"asked.open('GET', 'http://{HOST}:{server.port}/', false)"
        nursery.start_soon(page.evaluate, f"(() => {{ const asked = new XMLHttpRequest(); {ask}; asked.send(); }})()")
        try:
            with trio.fail_after(PATIENCE):
                await is_frozen.wait()
            yield
        finally:
            thaws.set()
