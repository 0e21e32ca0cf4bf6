"""Scenes in which the program is a server."""

from __future__ import annotations

import math
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import trio

from trio_closeevents.testing import TEXT, ScriptedPeer

from .libraries import Library
from .scene import Outcome, Result, Scene, Stage, in_time, quoted

__all__ = ["SCENES"]

SOON: Final = 0.5  # seconds until something happens
STAYS: Final = 3.0  # seconds until a server is cancelled

Tell = Callable[[int], None]
Handle = Callable[[Library, Any], Awaitable[None]]


# -- the program's half ------------------------------------------------------------------------------------------------


async def read_to_the_end(library: Library, ws: Any) -> None:
    while True:
        await library.receive(ws)


async def fail(library: Library, ws: Any) -> None:
    await library.receive(ws)
    raise ValueError("secret")


async def return_later(library: Library, ws: Any) -> None:
    await trio.sleep(SOON)


def serving(handle: Handle, seconds: float = math.inf) -> Callable[[Library, Tell], Awaitable[Outcome]]:
    """Serve for so many seconds, and cancel the server then."""

    async def program(library: Library, tell: Tell) -> Outcome:
        async with trio.open_nursery() as nursery:
            tell(await nursery.start(partial(library.serve, partial(handle, library))))
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()
        return {"raised": ""}

    return program


# -- the peer's half ---------------------------------------------------------------------------------------------------


async def be_polite(stage: Stage) -> None:
    peer = await stage.peer(client=True)
    await peer.be_polite()


async def ask(stage: Stage) -> None:
    peer = await stage.peer(client=True)
    await peer.send(peer.frame(TEXT, b"?"))
    await peer.be_polite()


async def interrupt(stage: Stage) -> None:
    peer = await stage.peer(client=True)
    await trio.sleep(SOON)
    stage.process.send_signal(signal.SIGINT)
    await peer.be_polite()


async def be_reset(stage: Stage) -> None:
    """One client resets its connection; does the other one notice?"""
    other = await stage.peer(client=True)
    peer = await stage.peer(client=True)
    await trio.sleep(SOON)
    await peer.reset()
    with trio.move_on_after(2 * SOON):
        await other.drain()
    try:
        third = await stage.peer(client=True)
    except (OSError, AssertionError):
        stage.result.notes["serves"] = False
    else:
        stage.result.notes["serves"] = third.ended is None
    stage.result.notes["others"] = other.ended is None


async def send_many(stage: Stage) -> None:
    peer = await stage.peer(client=True)
    await peer.send(*[peer.frame(TEXT, b"unread")] * 100)
    await peer.be_polite()


async def send_malformed(stage: Stage) -> None:
    peer = await stage.peer(client=True)
    await trio.sleep(SOON)  # behind the handshake, and not with it
    await peer.send(peer.frame(TEXT, b"reserved", rsv=0b100))
    await peer.be_polite()


async def begin_a_request(stage: Stage) -> None:
    """Send half a request, and wait."""
    stream = await stage.stream()
    begin = trio.current_time()
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    peer = ScriptedPeer(stream, client=True)
    await peer.skip()
    stage.result.notes["seconds"] = trio.current_time() - begin


# -- the words ---------------------------------------------------------------------------------------------------------


def goodbye(result: Result) -> str:
    return result.saw[0]


def serves_on(result: Result) -> str:
    if result.notes.get("serves") and result.notes.get("others"):
        return "the server goes on"
    return f"**the server is gone**: {quoted((result.outcome or {}).get('raised', ''))}"


def dropped_in_time(result: Result) -> str:
    seconds = result.notes.get("seconds")
    return "is kept waiting" if seconds is None else f"is dropped {in_time(seconds)}"


SCENES: Final[tuple[Scene, ...]] = tuple(
    Scene(name, title, "server", program, script, cell)
    for name, title, program, script, cell in (
        ("ctrl-c", "Ctrl-C", serving(read_to_the_end), interrupt, goodbye),
        ("server-cancelled", "the server is cancelled", serving(read_to_the_end, STAYS), be_polite, goodbye),
        ("handler", "an exception leaves the handler", serving(fail), ask, goodbye),
        ("reset", "a client's RST while its handler receives", serving(read_to_the_end), be_reset, serves_on),
        ("server-malformed", "a malformed frame comes", serving(read_to_the_end), send_malformed, goodbye),
        ("server-unread", "100 messages are unread, the handler returns", serving(return_later), send_many, goodbye),
        (
            "slow-request",
            "a client never finishes its request",
            serving(read_to_the_end),
            begin_a_request,
            dropped_in_time,
        ),
    )
)
