"""Plays the endings of `ends.rst`, has `Trace` draw them, and writes down what each side saw.

`python docs/diagrams/ends.py` writes a picture and a table of each into `ends/`; a test compares. The page shows the
programs themselves, so what is read is what was played. They meet in memory, on a network that takes 20 ms each way and
a clock that nobody waits for, so the pictures never differ. A server as a whole wants real sockets: `Shutdown` has
them, and a clock that stands still until it is told to jump.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import trio
from trio.testing import MockClock, memory_stream_pair

import trio_closeevents
from trio_closeevents import WebSocket, accept, open_server
from trio_closeevents.diagram import Diagram, draw_svg
from trio_closeevents.testing import TEXT, ScriptedPeer
from trio_closeevents.trace import Trace

__all__ = ["SITUATIONS", "Other", "Situation", "make"]

HERE: Final = Path(__file__).parent / "ends"
DELAY: Final = 0.02  # seconds from one side to the other
NOON: float = 1  # by the clock of trio, on both sides
ANSWERS: Final[Mapping[Any, str]] = {"time?": "12:30"}

Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[WebSocket]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one side saw of the end: a row of the table."""

    who: str
    end: str
    raised: str


@dataclass(frozen=True, slots=True)
class Other:
    """What somebody else would have seen in a side's place; tests look at each of them.

    Attributes:
        who: the library or the browser, and its place.
        end: what it says of the end; of a page its event's code, reason and `wasClean`.
        raised: by the same program, as far as there is one.
        case: where tests/browser/endings.py plays it, if it is a page.
    """

    who: str
    end: str
    raised: str
    case: str = ""


def websockets(role: str, end: str, raised: str = "`ConnectionClosedError`") -> Other:
    return Other(f"`websockets` as the {role}", f"`{end}`", raised)


def page(code: int, reason: str, *, case: str, clean: bool = True) -> Other:
    end = f"`code: {code}, reason: {reason!r}, wasClean: {str(clean).lower()}`"
    return Other("a page in a browser as the client", end, "nothing; there is a `close` event", case)


class Network:
    """Carries bytes both ways, each of them for `DELAY` seconds; from *lost_at* on they are lost."""

    def __init__(self, lost_at: float) -> None:
        self.client, near = memory_stream_pair()
        self.server, far = memory_stream_pair()
        self._ways = ((near, far), (far, near))
        self._lost_at = lost_at

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for source, sink in self._ways:
                send, receive = trio.open_memory_channel[tuple[float, bytes]](math.inf)
                nursery.start_soon(self._pick_up, source, send)
                nursery.start_soon(self._hand_over, receive, sink)

    async def _pick_up(self, source: trio.abc.ReceiveStream, send: trio.MemorySendChannel[tuple[float, bytes]]) -> None:
        data = b"?"
        while data:
            data = bytes(await source.receive_some())
            send.send_nowait((trio.current_time() + DELAY, data))

    async def _hand_over(
        self, receive: trio.MemoryReceiveChannel[tuple[float, bytes]], sink: trio.abc.HalfCloseableStream
    ) -> None:
        async for at, data in receive:
            await trio.sleep_until(at)
            if at >= self._lost_at:
                continue
            with suppress(trio.BrokenResourceError):  # nobody is there any more
                await (sink.send_all(data) if data else sink.send_eof())


class Situation:
    """One ending. Derive from it, and say what the two sides do.

    Attributes:
        name: of its files.
        title: of the picture.
        ours: whose trace is drawn.
        options: of the server's connection.
        payload: how much of the messages is shown: see `Trace`.
        lost_at: when the network loses what it is given.
        others: what others would have seen.
        gone: what is said of a server that runs no program any more, a peer that is scripted: see `peer`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    ours: ClassVar[str] = "client"
    options: ClassVar[Mapping[str, Any]] = {}
    payload: ClassVar[int] = 32
    lost_at: ClassVar[float] = math.inf
    others: ClassVar[tuple[Other, ...]] = ()
    gone: ClassVar[str] = ""

    def __init__(self) -> None:
        self.network = Network(self.lost_at)
        self.connections: dict[str, WebSocket] = {}
        self.raised: dict[str, BaseException | None] = {}

    # -- what each of them says ------------------------------------------------------------------------------------

    async def client(self, connect: Connect) -> None:
        """Open a connection, and see it through."""
        raise NotImplementedError

    async def server(self, ws: WebSocket) -> None:
        """Handle the connection."""
        async for question in ws:
            await ws.send(ANSWERS[question])

    async def peer(self, peer: ScriptedPeer) -> None:
        """Be the server in its place, if `gone` is not empty."""
        raise NotImplementedError

    # -- the play --------------------------------------------------------------------------------------------------

    async def play(self) -> list[Diagram]:
        """Play it, and return what the trace has drawn; `rows` has the rest then."""
        trace = Trace(payload=self.payload)
        client_trace, server_trace = (trace if self.ours == role else None for role in ("client", "server"))

        def connect(url: str) -> AbstractAsyncContextManager[WebSocket]:
            opening = trio_closeevents.connect(url, stream=self.network.client, observer=client_trace)
            return self._watched("the client", opening)

        async def be_server() -> None:
            if self.gone:
                peer = ScriptedPeer(self.network.server, client=False)
                await peer.open()
                await self.peer(peer)
                return
            opening = accept(self.network.server, **self.options, observer=server_trace)
            with suppress(Exception):  # a `Server` logs it
                async with self._watched("the server", opening) as ws:
                    await self.server(ws)
            over.set()

        over = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.network.run)
            nursery.start_soon(be_server)
            with suppress(Exception):  # it is in the table
                await self.client(connect)
            if not self.gone:
                await over.wait()
            nursery.cancel_scope.cancel()
        return [replace(each, title="") for each in trace.diagrams]

    @asynccontextmanager
    async def _watched(self, who: str, block: AbstractAsyncContextManager[WebSocket]) -> AsyncGenerator[WebSocket]:
        raised: BaseException | None = None
        async with block as ws:
            try:
                yield ws
            except BaseException as error:
                raised = error
                raise
            finally:
                self.raised[who] = raised
                self.connections[who] = ws

    def rows(self) -> list[Seen | Other]:
        """Return what each side saw, the client first."""
        sides = [seen(who, self.connections[who], self.raised[who]) for who in sorted(self.connections)]
        return [*sides, *[Seen("the server", self.gone, "")] * bool(self.gone), *self.others]


def seen(who: str, ws: WebSocket, raised: BaseException | None) -> Seen:
    return Seen(who, f"`{ws.close_event}`", "nothing" if raised is None else f"`{type(raised).__name__}`")


def table(rows: Iterable[Seen | Other]) -> str:
    """Return *rows* as reStructuredText."""
    cells = [("who", "how it ended", "what was raised"), *((each.who, each.end, each.raised) for each in rows)]
    lines = [".. list-table::", "    :header-rows: 1", "    :widths: 23 53 24", ""]
    for row in cells:
        lines += [f"    {'* -' if column == 0 else '  -'} {cell}".rstrip() for column, cell in enumerate(row)]
    return "\n".join([*lines, ""])


class Ordinary(Situation):
    name = "ordinary"
    title = "The client's block returns"
    others = (websockets("server", "received 1000 (OK); then sent 1000 (OK)", "nothing"),)

    async def client(self, connect: Connect) -> None:
        async with connect("ws://example.org/") as ws:
            await ws.send("time?")
            print(await ws.receive())


class ServerFirst(Situation):
    name = "server-first"
    title = "The server closes first"
    others = (
        websockets("client", "received 4000 (private use) one each; then sent 4000 (private use) one each"),
        page(4000, "one each", case="end-aclose (4000, 'bye ☃')"),
    )

    async def client(self, connect: Connect) -> None:
        async with connect("ws://example.org/") as ws:
            await ws.send("time?")
            async for answer in ws:
                print(answer)

    async def server(self, ws: WebSocket) -> None:
        question = await ws.receive()
        await ws.send(ANSWERS[question])
        await ws.aclose(4000, "one each")


class Crossing(Situation):
    name = "crossing"
    title = "Both close at the same moment"
    others = (
        websockets("client", "sent 3001 (registered) enough; then received 4001 (private use) closing time", "nothing"),
        page(4001, "closing time", case="peer-crossing"),
    )

    async def client(self, connect: Connect) -> None:
        async with connect("ws://example.org/") as ws:
            await trio.sleep_until(NOON)
            await ws.aclose(3001, "enough")

    async def server(self, ws: WebSocket) -> None:
        await trio.sleep_until(NOON)
        await ws.aclose(4001, "closing time")


class Cancelled(Situation):
    name = "cancelled"
    title = "A deadline cancels the client's block"
    others = (websockets("server", "received 1001 (going away); then sent 1001 (going away)", "`ConnectionClosedOK`"),)

    async def client(self, connect: Connect) -> None:
        with trio.move_on_after(0.5):
            async with connect("ws://example.org/") as ws:
                await ws.send("time?")
                print(await ws.receive())  # no answer comes in time

    async def server(self, ws: WebSocket) -> None:
        async for question in ws:
            await trio.sleep(3)  # it looks at a slow clock
            await ws.send(ANSWERS[question])


class Failed(Situation):
    name = "exception"
    title = "An exception leaves the server's handler"
    others = (
        websockets("client", "received 1011 (internal error); then sent 1011 (internal error)"),
        page(1011, "", case="server-handler-error"),
    )

    async def client(self, connect: Connect) -> None:
        async with connect("ws://example.org/") as ws:
            await ws.send("weather?")
            print(await ws.receive())

    async def server(self, ws: WebSocket) -> None:
        async for question in ws:
            await ws.send(ANSWERS[question])  # KeyError: 'weather?'


class Silent(Situation):
    name = "silent"
    title = "The client's block returns, and nobody answers"
    gone = "nothing: its process has been stopped"

    async def client(self, connect: Connect) -> None:
        async with connect("ws://example.org/") as ws:
            await ws.send("time?")
            print(await ws.receive())

    async def peer(self, peer: ScriptedPeer) -> None:
        await peer.receive()
        await peer.send(peer.frame(TEXT, b"12:30"))
        await trio.sleep_forever()


class Killed(Situation):
    name = "killed"
    title = "The server's process is killed"
    gone = "nothing: it is no more"
    others = (
        websockets("client", "no close frame received or sent"),
        page(1006, "", clean=False, case="end-abort"),
    )

    async def client(self, connect: Connect) -> None:
        async with connect("ws://example.org/") as ws:
            await ws.send("time?")
            async for answer in ws:
                print(answer)

    async def peer(self, peer: ScriptedPeer) -> None:
        await peer.receive()
        await peer.send(peer.frame(TEXT, b"12:30"))
        await trio.sleep(2)
        await peer.aclose()


class Lost(Situation):
    name = "lost"
    title = "The network is gone without a word"
    payload = 0
    lost_at = 5

    async def client(self, connect: Connect) -> None:
        async with connect("ws://example.org/") as ws:
            await ws.send("time?")
            async for answer in ws:
                print(answer)


class TooBig(Situation):
    name = "too-big"
    title = "The server refuses a message"
    ours = "server"
    options: ClassVar[Mapping[str, Any]] = {"max_message_size": 1000}
    others = (
        websockets(
            "client",
            "received 1009 (message too big) message of 5000 bytes is over the limit of 1000; then sent 1009 "
            "(message too big) message of 5000 bytes is over the limit of 1000",
        ),
        page(1009, "message of 5000 bytes is over the limit of 1000", case="fail-size"),
    )

    async def client(self, connect: Connect) -> None:
        async with connect("ws://example.org/") as ws:
            await ws.send("time?")
            await ws.send("please? " * 625)
            async for answer in ws:
                print(answer)


class Shutdown(Situation):
    name = "shutdown"
    title = "A server ends, with one client that listens and one that does not"
    ours = "server"
    others = (
        websockets(
            "client", "received 1001 (going away) restarting; then sent 1001 (going away) restarting", "nothing"
        ),
        page(1001, "restarting", case="server-aclose"),
    )
    clients: ClassVar = ("the client that listens", "the client that sleeps")

    async def play(self) -> list[Diagram]:
        trace, clock = Trace(), trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.autojump_threshold = math.inf  # what sockets do takes time, and nobody knows how much
        handled: list[tuple[WebSocket, trio.Event]] = []

        async def handler(ws: WebSocket) -> None:
            who = f"the server, of {self.clients[len(handled)]}"
            over = trio.Event()
            handled.append((ws, over))
            try:
                async with self._watched(who, nullcontext(ws)):
                    await self.server(ws)
            finally:
                over.set()

        async with (
            open_server(handler, "127.0.0.1", 0, observer=trace) as server,
            self._watched(self.clients[0], trio_closeevents.connect(f"ws://127.0.0.1:{server.port}/")) as awake,
            await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
            trio.open_nursery() as nursery,
        ):
            await awake.send("time?")
            await awake.receive()
            asleep = ScriptedPeer(stream, client=True)
            await asleep.open()
            await wait_until(lambda: len(handled) == 2)
            clock.jump(5)
            nursery.start_soon(self.end, server)
            await awake.wait_closed()
            await handled[0][1].wait()
            await asleep.receive_close()  # it is there, but nobody looks
            clock.jump(5)
            await handled[1][1].wait()
            clock.jump(1)
            await handled[1][0].wait_closed()
        return [
            replace(trace.of(ws), title=f"the server, and {name}")
            for name, (ws, _) in zip(self.clients, handled, strict=True)
        ]

    async def end(self, server: trio_closeevents.Server) -> None:
        await server.aclose(1001, "restarting", grace=5)


SITUATIONS: Final[tuple[type[Situation], ...]] = (
    Ordinary,
    ServerFirst,
    Crossing,
    Cancelled,
    Failed,
    Silent,
    Killed,
    Lost,
    TooBig,
    Shutdown,
)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Let others have their turns until it holds: for what sockets bring, which has no event."""
    while not condition():
        await trio.lowlevel.checkpoint()


def make() -> dict[str, str]:
    """Return the content of each file by its name."""
    files: dict[str, str] = {}
    for kind in SITUATIONS:
        situation = kind()
        play: Callable[[], Awaitable[list[Diagram]]] = situation.play
        diagrams = trio.run(play, clock=MockClock(autojump_threshold=0))
        files[f"{kind.name}.svg"] = draw_svg(*diagrams, title=kind.title)
        files[f"{kind.name}.rst"] = table(situation.rows())
    return files


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for name, content in make().items():
        (HERE / name).write_text(content, encoding="utf-8")
