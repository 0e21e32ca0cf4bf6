"""A whole conversation of a client and a server, both ours, cut behind every byte of it, in each direction.

`never-opened`, `transport-eof`, `transport-reset`, `fail-keepalive`, `peer-lost`, `peer-silent`, `peer-close-and-gone`:
where the cut falls decides which of them it is, and `EXPECTED` says so for both sides.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import pytest
import trio
import trio.testing

from trio_closeevents import CloseEvent, ConnectionClosed, HandshakeError, OptionsDict, WebSocket, accept, connect
from trio_closeevents.testing import Fault, FaultyStream
from trio_closeevents.testing._faulty import BREAKS, reset

pytestmark = [pytest.mark.once, pytest.mark.unmeasured]

Program = Callable[[WebSocket], Awaitable[object]]
Break = Literal["eof", "reset", "stall", "lose"]
Streams = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]
Lend = Callable[["Cut"], AbstractAsyncContextManager[Streams]]

MESSAGE: Final = "hello"
LIMITS: Final[OptionsDict] = {
    "open_timeout": 3.0,
    "close_timeout": 2.0,
    "cancel_timeout": 1.0,
    "ping_interval": 5.0,
    "ping_timeout": 5.0,
}
LONGEST: Final = 3 + 5 + 5 + 2 + 1.0  # seconds: all limits one after the other
TEXT_TO_SERVER, TEXT_TO_CLIENT = 2 + 4 + len(MESSAGE), 2 + len(MESSAGE)  # bytes of the frames
CLOSE_TO_SERVER, CLOSE_TO_CLIENT = 2 + 4 + 2, 2 + 2


# -- the conversations ---------------------------------------------------------------------------------------------


async def ask_and_leave(websocket: WebSocket) -> None:
    """The client that leaves its block when it has its answer: Close 1000."""
    await websocket.send(MESSAGE)
    assert await websocket.receive() == MESSAGE.upper()


async def ask_and_stay(websocket: WebSocket) -> None:
    """The client that reads on until the server closes."""
    await ask_and_leave(websocket)
    await websocket.receive()


async def answer(websocket: WebSocket) -> None:
    """The server that answers until the client closes."""
    async for message in websocket:
        await websocket.send(str(message).upper())


async def answer_and_close(websocket: WebSocket) -> None:
    """The server that answers once and closes with 4000."""
    await websocket.send(str(await websocket.receive()).upper())
    await websocket.aclose(4000)


CONVERSATIONS: Final[dict[str, tuple[Program, Program]]] = {
    "client closes": (ask_and_leave, answer),
    "server closes": (ask_and_stay, answer_and_close),
}


# -- the wires ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """Where it is cut: the direction, behind how many bytes, and how."""

    to_server: bool = True
    after: int | None = None
    then: Break = "eof"
    chunk: int | None = None

    @property
    def faults(self) -> dict[str, Fault]:
        """What goes wrong, as the client's side has it."""
        fault, other = Fault(self.chunk, self.after, self.then), Fault(self.chunk)
        return {"sending": fault, "receiving": other} if self.to_server else {"sending": other, "receiving": fault}


@asynccontextmanager
async def in_memory(cut: Cut) -> AsyncGenerator[Streams]:
    """Lend both ends of a stream in memory, the client's being faulty."""
    ours, theirs = trio.testing.memory_stream_pair()
    yield FaultyStream(ours, **cut.faults), theirs


@asynccontextmanager
async def on_sockets(cut: Cut) -> AsyncGenerator[Streams]:
    """Lend two plain sockets, with a relay between them that is faulty on the server's side."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        ours = await trio.testing.open_stream_to_socket_listener(listener)
        near = await listener.accept()
        far = await trio.testing.open_stream_to_socket_listener(listener)
        theirs = await listener.accept()
    faulty = FaultyStream(far, **cut.faults)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, near, faulty)
        nursery.start_soon(relay, faulty, near)
        yield ours, theirs
    for stream in (near, far):
        await trio.aclose_forcefully(stream)


async def relay(source: trio.abc.HalfCloseableStream, target: trio.abc.HalfCloseableStream) -> None:
    """Hand on what comes, FIN as FIN and RST as RST."""
    try:
        while data := await source.receive_some():
            await target.send_all(data)
        await target.send_eof()
    except trio.ClosedResourceError:
        pass  # the other direction was reset
    except trio.BrokenResourceError as error:
        if not isinstance(error.__cause__, BrokenPipeError):  # a FIN has been sent already: what comes now is lost
            for stream in (source, target):
                await reset(stream)


# -- one run -------------------------------------------------------------------------------------------------------


@dataclass
class End:
    """How one side ended."""

    event: CloseEvent | None = None
    refused: CloseEvent | None = None
    websocket: WebSocket | None = None

    def __str__(self) -> str:
        if self.event is None:
            return f"refused {self.refused.cause}" if self.refused else "nothing"
        return f"{self.event.code} {self.event.cause}" + (" clean" if self.event.was_clean else "")

    async def live(self, block: AbstractAsyncContextManager[WebSocket], program: Program) -> None:
        """Open the connection, run *program*, and end."""
        try:
            async with block as self.websocket:
                await program(self.websocket)
        except HandshakeError as error:
            self.refused = error.close_event
        except ConnectionClosed:
            pass  # the program was in the middle of something: its CloseEvent tells how it ended
        if self.websocket is not None:
            self.event = self.websocket.close_event
            assert self.event is not None


@dataclass
class Run:
    """What came of a conversation, and how many bytes went each way."""

    client: End = field(default_factory=End)
    server: End = field(default_factory=End)
    to_server: int = 0
    to_client: int = 0

    def check_values(self) -> None:
        """What holds wherever the cut was."""
        for end, other in ((self.client, self.server), (self.server, self.client)):
            event = end.event
            if event is None:
                continue
            assert event.was_clean is (None not in (event.sent, event.received) and event.code != 1006)
            assert event.code == (1006 if event.received is None else event.received.code)
            local = event.cause != "remote" and event.sent is not None
            assert event.initiated_by == ("local" if local else "remote" if event.received else "transport")
            if event.received is not None:
                assert other.event is not None
                assert event.received == other.event.sent or other.event.sent is None
        if self.client.event and self.server.event and self.client.event.was_clean and self.server.event.was_clean:
            assert self.client.event.sent == self.server.event.received
            assert self.server.event.sent == self.client.event.received


async def converse(programs: tuple[Program, Program], cut: Cut, lend: Lend = in_memory) -> Run:
    """Let a client and a server talk; return when both have ended, and nothing is left of them."""
    run = Run()
    client, server = programs
    began = trio.current_time()
    with trio.fail_after(2 * LONGEST):
        async with lend(cut) as (ours, theirs):
            tasks = trio.lowlevel.current_statistics().tasks_living
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run.client.live, connect("ws://x/", stream=ours, **LIMITS), client)
                nursery.start_soon(run.server.live, accept(theirs, **LIMITS), server)
            assert trio.lowlevel.current_statistics().tasks_living <= tasks
            assert trio.current_time() - began <= LONGEST
    if isinstance(ours, FaultyStream):
        run.to_server, run.to_client = ours.sent, ours.received
    run.check_values()
    return run


# -- what the contract has -----------------------------------------------------------------------------------------


def zone(cut: Cut, total: int) -> str:
    """Tell what *cut* falls into: the head, before the message is whole, before the Close is whole, behind it all."""
    text, close = (TEXT_TO_SERVER, CLOSE_TO_SERVER) if cut.to_server else (TEXT_TO_CLIENT, CLOSE_TO_CLIENT)
    assert cut.after is not None
    ends = {"head": total - close - text, "open": total - close, "closing": total}
    return next((name for name, end in ends.items() if cut.after < end), "over")


# What the contract has for both sides: client | server, by conversation, direction, zone and kind of cut.
EXPECTED: Final = """
any           | to server | head    | eof   | refused eof or refused reset     | refused eof
any           | to server | head    | reset | refused reset                    | refused eof or refused reset
any           | to server | head    | stall | refused timeout                  | refused timeout
any           | to server | head    | lose  | refused timeout                  | refused timeout
any           | to server | open    | eof   | 1006 eof or 1006 reset           | 1006 eof
any           | to server | open    | reset | 1006 reset                       | 1006 eof or 1006 reset
any           | to server | open    | stall | 1011 remote                      | 1006 keepalive_timeout
any           | to server | open    | lose  | 1011 remote clean                | 1006 keepalive_timeout
client closes | to server | closing | eof   | 1006 exit                        | 1006 eof
client closes | to server | closing | reset | 1006 exit                        | 1006 eof or 1006 reset
client closes | to server | closing | stall | 1006 exit                        | 1006 eof
client closes | to server | closing | lose  | 1006 exit                        | 1006 eof
client closes | to server | over    | eof   | 1000 exit clean                  | 1000 remote clean
client closes | to server | over    | reset | 1006 exit                        | 1000 remote or 1000 remote clean
client closes | to server | over    | stall | 1000 exit clean                  | 1000 remote clean
client closes | to server | over    | lose  | 1000 exit clean                  | 1000 remote clean
server closes | to server | closing | eof   | 4000 remote or 4000 remote clean | 1006 closed
server closes | to server | closing | reset | 4000 remote or 4000 remote clean | 1006 closed
server closes | to server | closing | stall | 4000 remote                      | 1006 closed
server closes | to server | closing | lose  | 4000 remote clean                | 1006 closed
server closes | to server | over    | eof   | 4000 remote clean                | 4000 closed clean
server closes | to server | over    | reset | 4000 remote or 4000 remote clean | 4000 closed clean
server closes | to server | over    | stall | 4000 remote clean                | 4000 closed clean
server closes | to server | over    | lose  | 4000 remote clean                | 4000 closed clean
any           | to client | head    | eof   | refused eof                      | 1006 eof or refused reset
any           | to client | head    | reset | refused reset                    | 1006 eof or 1006 reset or refused reset
any           | to client | head    | stall | refused timeout                  | 1006 eof
any           | to client | head    | lose  | refused timeout                  | 1006 eof
client closes | to client | open    | eof   | 1006 eof                         | 1006 eof or 1006 reset
client closes | to client | open    | reset | 1006 reset                       | 1006 eof or 1006 reset
client closes | to client | open    | stall | 1006 keepalive_timeout           | 1011 remote clean
client closes | to client | open    | lose  | 1006 keepalive_timeout           | 1011 remote clean
client closes | to client | closing | any   | 1006 exit                        | 1000 remote clean
client closes | to client | over    | any   | 1000 exit clean                  | 1000 remote clean
server closes | to client | open    | eof   | 1006 eof                         | 1006 closed
server closes | to client | open    | reset | 1006 reset                       | 1006 closed
server closes | to client | open    | stall | 1006 reset                       | 1006 closed
server closes | to client | open    | lose  | 1006 reset                       | 1006 closed
server closes | to client | closing | eof   | 1006 eof                         | 1006 closed
server closes | to client | closing | reset | 1006 reset                       | 1006 closed
server closes | to client | closing | stall | 1006 reset                       | 1006 closed
server closes | to client | closing | lose  | 1006 reset                       | 1006 closed
server closes | to client | over    | eof   | 4000 remote clean                | 4000 closed clean
server closes | to client | over    | reset | 4000 remote or 4000 remote clean | 1006 closed
server closes | to client | over    | stall | 4000 remote clean                | 4000 closed clean
server closes | to client | over    | lose  | 4000 remote clean                | 4000 closed clean
"""
ZONES: Final = ("head", "open", "closing", "over")

Ends = tuple[set[str], set[str]]


def expected() -> dict[tuple[str, ...], Ends]:
    """Read `EXPECTED`."""
    table: dict[tuple[str, ...], Ends] = {}
    for line in EXPECTED.strip().splitlines():
        *key, client, server = (cell.strip() for cell in line.split("|"))
        table[tuple(key)] = set(client.split(" or ")), set(server.split(" or "))
    return table


TABLE: Final = expected()


def ends_in(conversation: str, cut: Cut, zone: str) -> Ends:
    """Return what the contract has where *cut* falls into *zone*: of the client, and of the server."""
    direction = "to server" if cut.to_server else "to client"
    keys = [(name, direction, zone, then) for name in (conversation, "any") for then in (cut.then, "any")]
    (row,) = [TABLE[key] for key in keys if key in TABLE]
    return row


def judge(conversation: str, cut: Cut, total: int, run: Run) -> None:
    """Compare both ends with the table.

    At the first byte of a zone, one side may have got further than the other knows; and a reset may destroy what had
    arrived before it. Then it is as in the zone before.
    """
    here = zone(cut, total)
    zones = {here}
    if cut.after and (cut.then == "reset" or zone(replace(cut, after=cut.after - 1), total) != here):
        zones.add(ZONES[max(0, ZONES.index(here) - 1)])
    ends = [ends_in(conversation, cut, each) for each in zones]
    assert any(str(run.client) in client for client, _ in ends), f"{cut} in {here}: {run}"
    assert any(str(run.server) in server for _, server in ends), f"{cut} in {here}: {run}"


async def cut_everywhere(conversation: str, to_server: bool, then: Break, lend: Lend) -> int:
    """Cut *conversation* behind every byte of one direction, and judge each run; return how many there were."""
    programs = CONVERSATIONS[conversation]
    whole = await converse(programs, Cut(), in_memory)
    total = whole.to_server if to_server else whole.to_client
    for after in range(total + 1):
        cut = Cut(to_server, after, then)
        judge(conversation, cut, total, await converse(programs, cut, lend))
    return total + 1


@pytest.mark.parametrize("then", BREAKS)
@pytest.mark.parametrize("to_server", [True, False], ids=["to server", "to client"])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_conversation_cut_behind_every_byte_ends_as_the_contract_has_it(
    conversation: str, to_server: bool, then: Break
) -> None:
    """In memory, where every limit is exact: both ends are what the table has for that byte."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(cut_everywhere, conversation, to_server, then, in_memory, clock=clock) > 100


@pytest.mark.once
@pytest.mark.parametrize("then", ["eof", "reset"])
@pytest.mark.parametrize("to_server", [True, False], ids=["to server", "to client"])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_conversation_on_sockets_cut_behind_every_byte_ends_as_the_contract_has_it(
    conversation: str, to_server: bool, then: Break
) -> None:
    """The same on real sockets, with a relay that breaks."""
    assert await cut_everywhere(conversation, to_server, then, on_sockets) > 100


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("lend", [in_memory, on_sockets])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_conversation_in_small_pieces_ends_as_in_one(conversation: str, lend: Lend, chunk: int) -> None:
    """Short reads and partial writes, down to one byte at a time, change nothing."""
    whole = await converse(CONVERSATIONS[conversation], Cut(), lend)
    pieces = await converse(CONVERSATIONS[conversation], Cut(chunk=chunk), lend)

    assert (str(pieces.client), str(pieces.server)) == (str(whole.client), str(whole.server))
    assert str(whole.client).endswith("clean")
