"""Scenes in which the program is a client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import trio

from trio_closeevents.testing import TEXT, ScriptedPeer

from .libraries import Library
from .scene import Outcome, Result, Scene, Stage, in_time, name_of, quoted, unless_hung

__all__ = ["SCENES"]

SOON: Final = 0.5  # seconds until something happens
LARGE: Final = 8_000_000  # characters
UNREAD: Final = 100  # messages
SLOW: Final = 12  # messages that the slow program reads, one each half second


# -- the program's half ------------------------------------------------------------------------------------------------


async def crash_beside(library: Library, url: str) -> Outcome:
    async def crash() -> None:
        await trio.sleep(SOON)
        raise KeyError("crash")

    raised, begin = "", trio.current_time()
    try:
        async with trio.open_nursery() as nursery, library.connect(url) as ws:
            begin = trio.current_time() + SOON
            nursery.start_soon(crash)
            await library.receive(ws)
    except BaseException as error:
        raised = name_of(error)
    return {"raised": raised, "seconds": trio.current_time() - begin}


async def pass_deadline(library: Library, url: str) -> Outcome:
    with trio.CancelScope() as scope:
        async with library.connect(url) as ws:
            scope.deadline = trio.current_time() + SOON
            await library.receive(ws)
    return {"caught": scope.cancelled_caught, "seconds": trio.current_time() - scope.deadline}


async def fail(library: Library, url: str) -> Outcome:
    raised = ""
    try:
        async with library.connect(url):
            raise ValueError("secret")
    except Exception as error:
        raised = name_of(error)
    return {"raised": raised}


async def leave(library: Library, url: str) -> Outcome:
    async with library.connect(url):
        await trio.sleep(SOON)
        begin = trio.current_time()
    return {"seconds": trio.current_time() - begin}


async def read_to_the_end(library: Library, url: str) -> Outcome:
    raised = ""
    async with library.connect(url) as ws:
        begin = trio.current_time()
        try:
            while True:
                await library.receive(ws)
        except Exception as error:
            raised = name_of(error)
    return {"raised": raised, "seconds": trio.current_time() - begin}


async def close_with_1006(library: Library, url: str) -> Outcome:
    raised = ""
    async with library.connect(url) as ws:
        try:
            await library.close(ws, 1006)
        except Exception as error:
            raised = name_of(error)
            await library.send(ws, "after")
    return {"raised": raised}


async def read_one(library: Library, url: str) -> Outcome:
    size = 0
    async with library.connect(url) as ws:
        with suppress(Exception):
            size = len(await library.receive(ws))
    return {"size": size}


async def just_open(library: Library, url: str) -> Outcome:
    raised, begin = "", trio.current_time()
    try:
        async with library.connect(url):
            pass
    except BaseException as error:
        raised = name_of(error)
    return {"raised": raised, "seconds": trio.current_time() - begin}


async def ping_to_the_end(library: Library, url: str) -> Outcome:
    raised = ""

    async def read() -> None:
        with suppress(Exception):
            while True:
                await library.receive(ws)

    async with library.connect(url) as ws, trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            await library.ping(ws)
        except Exception as error:
            raised = name_of(error)
    return {"raised": raised}


async def break_off_a_send(library: Library, url: str) -> Outcome:
    async with library.connect(url) as ws:
        with trio.move_on_after(SOON) as scope:
            await library.send(ws, "x" * LARGE)
        raised = ""
        try:
            await library.send(ws, "after")
        except Exception as error:
            raised = name_of(error)
    return {"cancelled": scope.cancelled_caught, "raised": raised}


async def read_slowly(library: Library, url: str) -> Outcome:
    read = 0
    async with library.connect(url) as ws:
        with suppress(Exception):
            while read < SLOW:
                await library.receive(ws)
                read += 1
                await trio.sleep(0.5)
    return {"read": read}


# -- the peer's half ---------------------------------------------------------------------------------------------------


def after_opening(script: Callable[[ScriptedPeer], Awaitable[object]]) -> Callable[[Stage], Awaitable[None]]:
    async def run(stage: Stage) -> None:
        await script(await stage.peer(client=False))

    return run


async def send_malformed(peer: ScriptedPeer) -> None:
    await trio.sleep(SOON)  # behind the handshake, and not with it
    await peer.send(peer.frame(TEXT, b"reserved", rsv=0b100))
    await peer.be_polite()


async def send_no_utf8(peer: ScriptedPeer) -> None:
    await trio.sleep(SOON)  # behind the handshake, and not with it
    await peer.send(peer.frame(TEXT, b"\xff\xfe"))
    await peer.be_polite()


async def send_three_mebibytes(peer: ScriptedPeer) -> None:
    await trio.sleep(SOON)  # behind the handshake, and not with it
    await peer.send(peer.frame(TEXT, b"x" * (3 * 2**20)))
    await peer.be_polite()


async def send_many(peer: ScriptedPeer) -> None:
    await peer.send(*[peer.frame(TEXT, b"unread")] * UNREAD)
    await peer.be_polite()


async def close_and_stay(peer: ScriptedPeer) -> None:
    await peer.send(peer.close_frame(1000))
    await peer.drain()
    await trio.sleep_forever()


async def say_nothing(stage: Stage) -> None:
    stream = await stage.stream()
    while await stream.receive_some():
        pass


async def close_without_pong(peer: ScriptedPeer) -> None:
    await peer.receive()
    await trio.sleep(SOON)
    await peer.send(peer.close_frame(1000))
    await peer.drain()
    await peer.aclose()


async def read_late(stage: Stage) -> None:
    """Read nothing until the send was cancelled, and then look what comes."""
    peer = await stage.peer(client=False)
    await trio.sleep(3 * SOON)
    first = await peer.receive()
    whole = first is not None and first.payload == b"x" * LARGE
    second = await peer.receive() if whole else None
    begun = unmasked(peer.unread) if first is None else first.payload
    stage.result.notes.update(
        whole=whole, then=second is not None and second.payload == b"after", inside=bool(begun.strip(b"x"))
    )
    await peer.be_polite()


def unmasked(part: bytes) -> bytes:
    """Return the payload of a long frame that has not come to its end."""
    head, key = 2 + 8 + 4, part[10:14]
    mask = (key * (len(part) // 4))[: len(part) - head]
    return (int.from_bytes(part[head:]) ^ int.from_bytes(mask)).to_bytes(len(mask))


# -- the words ---------------------------------------------------------------------------------------------------------


def goodbye(result: Result) -> str:
    return result.saw[0]


def taken_or_goodbye(result: Result) -> str:
    return "is taken" if (result.outcome or {}).get("size") else result.saw[0]


def refused_or_sent(result: Result) -> str:
    raised = (result.outcome or {}).get("raised")
    if raised and result.frames[:1] == ["Text b'after'"]:
        return f"{quoted(raised)}; nothing is sent"
    return f"{result.saw[0]}; {quoted(raised) if raised else 'no error'}"


def goodbye_in_time(result: Result) -> str:
    outcome: Any = result.outcome
    return f"{result.saw[0]} {in_time(outcome['seconds'])}"


def goodbye_and_raised(result: Result) -> str:
    outcome: Any = result.outcome
    return f"{result.saw[0]}; {quoted(outcome['raised'])}"


def raised_in_time(result: Result) -> str:
    outcome: Any = result.outcome
    return f"{quoted(outcome['raised'])} {in_time(outcome['seconds'])}"


def only_raised(result: Result) -> str:
    raised = (result.outcome or {}).get("raised")
    return f"raises {quoted(raised)}" if raised else "returns"


def whole_or_torn(result: Result) -> str:
    if result.notes.get("whole"):
        return "the message, then the next" if result.notes.get("then") else "the message, and no next"
    return "the next inside the torn one" if result.notes.get("inside") else "half a message, and no next"


def how_far(result: Result) -> str:
    outcome: Any = result.outcome
    if outcome["read"] == SLOW:
        return "all are read"
    return f"ends after {outcome['read']}; {result.saw[0]}"


polite = after_opening(ScriptedPeer.be_polite)
SCENES: Final[tuple[Scene, ...]] = tuple(
    Scene(name, title, "client", program, script, unless_hung(cell))
    for name, title, program, script, cell in (
        ("deadline", "a deadline cancels the block", pass_deadline, polite, goodbye_in_time),
        ("crash", "a task beside the block crashes", crash_beside, polite, goodbye_in_time),
        ("error", "an exception leaves the block", fail, polite, goodbye_and_raised),
        ("send", "a `send` of 8 MB is cancelled, another follows", break_off_a_send, read_late, whole_or_torn),
        ("illegal", "`aclose(1006)`, which may not travel", close_with_1006, polite, refused_or_sent),
        ("unread", "100 messages are unread, the block returns", leave, after_opening(send_many), goodbye_in_time),
        ("malformed", "a malformed frame comes", read_to_the_end, after_opening(send_malformed), goodbye),
        ("utf8", "text that is not UTF-8 comes", read_to_the_end, after_opening(send_no_utf8), goodbye),
        ("large", "3 MiB come in one message", read_one, after_opening(send_three_mebibytes), taken_or_goodbye),
        ("slow", "the program is slower than the peer", read_slowly, after_opening(send_many), how_far),
        (
            "stays",
            "the peer closes, and never ends TCP",
            read_to_the_end,
            after_opening(close_and_stay),
            goodbye_in_time,
        ),
        (
            "ping",
            "a `ping` waits when the peer closes",
            ping_to_the_end,
            after_opening(close_without_pong),
            only_raised,
        ),
        ("silent", "the server never answers the handshake", just_open, say_nothing, raised_in_time),
    )
)
