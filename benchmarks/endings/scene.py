"""What a scene is, and the words for what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import trio

from trio_closeevents.testing import ScriptedPeer

from .libraries import Library

__all__ = ["LIMIT", "Outcome", "Result", "Scene", "Stage", "in_time", "name_of", "quoted", "saw", "unless_hung"]

LIMIT: Final = 8.0  # seconds that the program has, from when its connection is open

AT_ONCE: Final = 0.5  # seconds; below it, a busy machine may be why
IN_A_GROUP: Final = " in a group"

Outcome: TypeAlias = dict[str, Any]  # what a program tells at its end, as JSON


@dataclass(slots=True)
class Result:
    """What came of a scene with a library.

    Attributes:
        saw: of each scripted peer, in the order of their connections: how the other side said goodbye.
        frames: the first frames that came to the first peer, in words.
        outcome: what the program told; `None` if it hangs, or ended otherwise.
        complaint: the last line that it wrote to stderr, if it told nothing.
        hangs: it is a client and was killed.
        notes: what a peer found out, by name.
    """

    saw: list[str] = field(default_factory=list[str])
    frames: list[str] = field(default_factory=list[str])
    outcome: Outcome | None = None
    complaint: str = ""
    hangs: bool = False
    notes: Outcome = field(default_factory=dict[str, Any])


class Stage:
    """What the peer's half of a scene is given.

    Attributes:
        result: what has come of it so far.
        process: the program's.
    """

    def __init__(
        self, result: Result, process: trio.Process, connect: Callable[[], Awaitable[trio.SocketStream]]
    ) -> None:
        self.result = result
        self.process = process
        self.peers: list[ScriptedPeer] = []
        self._connect = connect
        self._streams: list[trio.SocketStream] = []

    async def stream(self) -> trio.SocketStream:
        """Return the next connection, as it is."""
        self._streams.append(await self._connect())
        return self._streams[-1]

    async def aclose(self) -> None:
        """Close all connections that there are."""
        for stream in self._streams:
            await trio.aclose_forcefully(stream)

    async def peer(self, *, client: bool) -> ScriptedPeer:
        """Open the next connection."""
        peer = ScriptedPeer(await self.stream(), client=client)
        await peer.open()
        self.peers.append(peer)
        return peer


@dataclass(frozen=True, slots=True)
class Scene:
    """One ending.

    Attributes:
        name: for the command line.
        title: for the table.
        role: the program's.
        program: its half: opens a connection to the URL, or serves and tells its port by the second argument.
        script: the peer's half.
        cell: the words for what came of it.
    """

    name: str
    title: str
    role: Literal["client", "server"]
    program: Callable[[Library, Any], Awaitable[Outcome]]
    script: Callable[[Stage], Awaitable[None]]
    cell: Callable[[Result], str]


def name_of(error: BaseException) -> str:
    """Return its name, or those of what is in the group, at whatever depth."""
    if not isinstance(error, BaseExceptionGroup):
        return type(error).__name__
    inside = {name_of(each).removesuffix(IN_A_GROUP) for each in error.exceptions}
    return " and ".join(sorted(inside)) + IN_A_GROUP


def saw(peer: ScriptedPeer) -> str:
    """Tell how the other side said goodbye."""
    close = peer.close
    if close is not None:
        return "an empty Close" if close.code is None else f"Close {close.code}"
    if peer.ended is None:
        return "no Close, TCP stays open"
    return f"no Close, {peer.ended}"


def quoted(name: str) -> str:
    """Return what `name_of` has returned, for a table."""
    error = name.removesuffix(IN_A_GROUP)
    return f"`{error}`{name[len(error) :]}"


def in_time(seconds: float) -> str:
    return "at once" if seconds < AT_ONCE else f"after {seconds:.1f}\N{NO-BREAK SPACE}s"


def unless_hung(tell: Callable[[Result], str]) -> Callable[[Result], str]:
    """Say of a program that was killed that it was, and what the peer had seen until then; else what *tell* does."""

    def cell(result: Result) -> str:
        if result.hangs:
            return f"{result.saw[0]}; **hangs**" if result.saw else "**hangs**"
        if result.outcome is None:
            return f"fails: {result.complaint}"
        return tell(result)

    return cell
