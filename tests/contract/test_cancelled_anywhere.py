"""Whatever a program does with a connection, it can be cancelled at any step of the scheduler.

`end-cancelled`, `end-aclose`, `never-wanted`, and the promises of section 6 about `send` and `receive`. Every scenario
is cancelled at its first step, its second, and so on to its end, and `cancel_at_every_checkpoint` judges each ending.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import pytest
import trio

from trio_closeevents import ConnectionClosed, WebSocket
from trio_closeevents.testing import BINARY, TEXT, ScriptedPeer, cancel_at_every_checkpoint

pytestmark = pytest.mark.unmeasured

Scenario = Callable[[WebSocket], Awaitable[object]]
Script = Callable[[ScriptedPeer], Awaitable[object]]
Wire = Literal["memory", "lockstep", "tcp"]
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]

LARGE: Final = 8 * 2**20  # bytes of a message
STRIDE: Final = int(os.environ.get("CANCEL_STRIDE", "0"))  # 1 tries every step of the longest scenarios too


# -- what our side does --------------------------------------------------------------------------------------------


async def leave(_: WebSocket) -> None:
    """Nothing but to open and to end."""


async def receive_idle(websocket: WebSocket) -> None:
    with trio.move_on_after(0.01):
        await websocket.receive()


async def receive_in_pieces(websocket: WebSocket) -> None:
    assert await websocket.receive() == "arrives in pieces"


async def receive_stream(websocket: WebSocket) -> None:
    async with websocket.receive_stream() as pieces:
        assert "".join([str(piece) async for piece in pieces]) == "arrives in pieces"


async def ping(websocket: WebSocket) -> None:
    await websocket.ping()
    await websocket.ping(b"again")


async def send_small(websocket: WebSocket) -> None:
    await websocket.send("small")
    await websocket.send(b"too")


async def send_large(websocket: WebSocket) -> None:
    await websocket.send(bytes(LARGE))
    await websocket.send("and one behind it")


async def send_fragments(websocket: WebSocket) -> None:
    async def parts() -> AsyncIterator[str]:
        for part in ("one, ", "two, ", "three"):
            await trio.lowlevel.checkpoint()
            yield part

    await websocket.send(parts())
    await websocket.send([b"a", b"list"])


async def send_and_receive(websocket: WebSocket) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(websocket.send, "from another task")
        await websocket.receive()


async def aclose(websocket: WebSocket) -> None:
    await websocket.aclose(4000, "bye")


async def aclose_twice(websocket: WebSocket) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(websocket.aclose, 4000)
        nursery.start_soon(websocket.aclose, 4000)


async def fail(websocket: WebSocket) -> None:
    await websocket.send("before it fails")
    raise ValueError("on purpose")


async def read_on(websocket: WebSocket) -> None:
    try:
        async for _ in websocket:
            pass
    except ConnectionClosed:
        pass


async def wait_closed(websocket: WebSocket) -> None:
    await websocket.wait_closed()


# -- what the peer does --------------------------------------------------------------------------------------------


async def send_in_pieces(peer: ScriptedPeer) -> None:
    """A message that arrives in three pieces, with time between them."""
    data = peer.frame(TEXT, b"arrives ", fin=False) + peer.frame(0, b"in pieces")
    for piece in (data[:3], data[3:-4], data[-4:]):
        await peer.send(piece, label="a piece")
        await trio.sleep(0.001)
    await peer.be_polite()


async def greet(peer: ScriptedPeer) -> None:
    await peer.send(peer.frame(BINARY, b"hello"))
    await peer.be_polite()


async def read_slowly(peer: ScriptedPeer) -> None:
    await trio.sleep(0.02)
    await peer.be_polite()


async def close_first(peer: ScriptedPeer) -> None:
    await peer.send(peer.close_frame(4001, "the peer wants to go"))
    await peer.be_polite()


async def close_at_the_same_time(peer: ScriptedPeer) -> None:
    await peer.receive()
    await peer.send(peer.close_frame(4001))
    await peer.be_polite()


async def never_answer(peer: ScriptedPeer) -> None:
    await peer.drain()


async def never_read(_: ScriptedPeer) -> None:
    await trio.sleep(0.3)


@dataclass(frozen=True)
class Case:
    """A scenario, the peer that goes with it, and what else it needs."""

    scenario: Scenario
    peer: Script = ScriptedPeer.be_polite
    own_codes: tuple[int, ...] = ()
    raises: tuple[type[Exception], ...] = ()
    stride: int = 1
    limit: float = 0.5

    def play(self, role: Literal["client", "server"], wire: Wire, contexts: Contexts | None = None) -> int:
        """Play it, cancelled at every step; return how often that was."""
        runs = cancel_at_every_checkpoint(
            self.scenario,
            peer=self.peer,
            role=role,
            wire=wire,
            ssl_contexts=contexts,
            own_codes=self.own_codes,
            raises=self.raises,
            stride=STRIDE or self.stride,
            cancel_timeout=self.limit,
            close_timeout=self.limit,
            max_message_size=None,
        )
        return len(runs) - 1


CASES: Final = {
    "opening": Case(leave),
    "idle receive": Case(receive_idle),
    "message in arrival": Case(receive_in_pieces, send_in_pieces),
    "stream in arrival": Case(receive_stream, send_in_pieces),
    "ping": Case(ping),
    "small send": Case(send_small),
    "fragmented send": Case(send_fragments),
    "send and receive": Case(send_and_receive, greet),
    "aclose": Case(aclose),
    "two at once in aclose": Case(aclose_twice, own_codes=(4000,)),
    "aclose, no answer": Case(aclose, never_answer, limit=0.05),
    "block that fails": Case(fail, raises=(ValueError,)),
    "peer closes first": Case(read_on, close_first),
    "peer closes, wait_closed": Case(wait_closed, close_first),
    "peer closes at the same time": Case(send_small, close_at_the_same_time, own_codes=(1000,)),
}
LARGE_CASES: Final = {
    "read slowly": Case(send_large, read_slowly, stride=97),
    "never read": Case(send_large, never_read, stride=97, limit=0.05),
}


@pytest.mark.parametrize("role", ["client", pytest.param("server", marks=pytest.mark.once)])
@pytest.mark.parametrize(
    "wire", ["memory", *(pytest.param(wire, marks=pytest.mark.once) for wire in ("lockstep", "tcp"))]
)
@pytest.mark.parametrize("name", CASES)
def test_cancelled_at_every_step_ends_as_the_contract_has_it(
    name: str, wire: Wire, role: Literal["client", "server"]
) -> None:
    """Behind each step of the scheduler: 1001, or the Close that was under way, and nothing is left."""
    assert CASES[name].play(role, wire) > 1


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("wire", ["lockstep", "tcp"])
@pytest.mark.once
@pytest.mark.parametrize("name", LARGE_CASES)
def test_cancelled_large_send_is_finished_or_torn_for_good(
    name: str, wire: Wire, role: Literal["client", "server"]
) -> None:
    """8 MB to a slow reader: whole, and then 1001, or half a frame and nothing behind it."""
    assert LARGE_CASES[name].play(role, wire) > 1


@pytest.mark.once
@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("wire", ["memory", "tcp"])
@pytest.mark.parametrize("name", ["opening", "idle receive", "small send", "aclose", "peer closes first"])
def test_cancelled_at_every_step_over_tls_ends_as_the_contract_has_it(
    name: str,
    wire: Wire,
    role: Literal["client", "server"],
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    """The same over TLS, whose handshake can be cancelled too."""
    assert CASES[name].play(role, wire, (server_ssl_context, client_ssl_context)) > 10
