"""Makes the diagrams of these pages: plays the connections in memory, and has `Trace` draw them.

`python docs/diagrams/make.py` writes them; a test compares. The clock is the autojump clock, so they never differ.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import trio
from trio.testing import MockClock

from trio_closeevents.testing import PONG, TEXT, ScriptedPeer, open_scripted_pair
from trio_closeevents.trace import Trace

HERE: Final = Path(__file__).parent


async def converse(trace: Trace) -> None:
    """A client asks, gets more than it asked for, and is asked to leave."""

    async def talk(peer: ScriptedPeer) -> None:
        await peer.receive()
        await trio.sleep(0.18)
        news = [peer.frame(TEXT, f"news number {number}, at some length".encode()) for number in range(1200)]
        await peer.send(*news)
        ping = await peer.receive()
        await trio.sleep(0.042)
        await peer.send(peer.frame(PONG, b"" if ping is None else ping.payload))
        await trio.sleep(3)
        await peer.send(peer.close_frame(1001, "restarting"))
        await peer.be_polite()

    async with open_scripted_pair(talk, observer=trace, ping_interval=None) as (websocket, _):
        await websocket.send("news, please")
        for _ in range(1200):
            await websocket.receive()
        await websocket.ping(b"still there?")
        await websocket.wait_closed()


async def fall_silent(trace: Trace) -> None:
    """The peer answers nothing any more, not even a Ping."""

    async def talk(peer: ScriptedPeer) -> None:
        await peer.receive()
        await peer.send(peer.frame(TEXT, b"hello yourself"))
        await trio.sleep_forever()

    async with open_scripted_pair(talk, observer=trace) as (websocket, _):
        await websocket.send("hello")
        await websocket.receive()
        await websocket.wait_closed()


PLAYS: Final[dict[str, tuple[Callable[[Trace], Awaitable[None]], str]]] = {
    "conversation": (converse, "A conversation that the server ends with 1001"),
    "silence": (fall_silent, "A peer falls silent, and the connection fails with 1011"),
}


def make() -> dict[str, str]:
    """Return the content of each file by its name."""
    files: dict[str, str] = {}
    for name, (play, title) in PLAYS.items():
        trace = Trace(payload=0 if name == "silence" else 32)
        trio.run(play, trace, clock=MockClock(autojump_threshold=0))
        files[f"{name}.txt"] = f"{trace}\n"
        files[f"{name}.svg"] = trace.svg(title=title)
    return files


if __name__ == "__main__":
    for name, content in make().items():
        (HERE / name).write_text(content, encoding="utf-8")
