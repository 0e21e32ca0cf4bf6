"""Steps: what raw peers do. The script of a row is a few of them, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from trio_closeevents import ReadyState
from trio_closeevents.testing import BINARY, PING, PONG, TEXT, Arrow, ScriptedPeer

from .act import Act, Script

__all__ = [
    "Piece",
    "cancel",
    "close",
    "drain",
    "echo",
    "end",
    "end_second",
    "fin",
    "flood",
    "give_cue",
    "ping",
    "pong",
    "raw",
    "read_close",
    "read_head",
    "read_pong",
    "reset",
    "say",
    "script",
    "skip",
    "text",
    "wait_closing",
    "wait_cue",
    "wait_left",
    "wait_over",
    "wait_sending",
]

Piece = Callable[[ScriptedPeer], bytes]


def script(*steps: Script) -> Script:
    """Return a script out of *steps*."""

    async def play(act: Act) -> None:
        for step in steps:
            await step(act)

    return play


# -- sending -------------------------------------------------------------------------------------------------------


def text(value: str) -> Piece:
    """Return what makes a text message."""
    return lambda peer: peer.frame(TEXT, value.encode())


def close(code: int | None, reason: str = "") -> Piece:
    """Return what makes a Close frame, with any code at all."""
    return lambda peer: peer.close_frame(code, reason)


def ping(payload: bytes) -> Piece:
    """Return what makes a Ping."""
    return lambda peer: peer.frame(PING, payload)


def pong(payload: bytes) -> Piece:
    """Return what makes a Pong."""
    return lambda peer: peer.frame(PONG, payload)


def raw(data: bytes) -> Piece:
    """Return what makes *data*, whoever sends it."""
    return lambda peer: data


def say(*pieces: Piece, label: str | None = None) -> Script:
    """Send *pieces* in one go; the log has *label* in place of their names."""

    async def step(act: Act) -> None:
        await act.peer.send(*(piece(act.peer) for piece in pieces), label=label)

    return step


async def echo(act: Act) -> None:
    """Answer our Close frame with the same."""
    ours = act.peer.close
    assert ours is not None
    await act.peer.send(act.peer.frame(ours.opcode, ours.payload))


async def flood(act: Act) -> None:
    """Send messages until our Close comes, and read that."""
    peer = act.peer
    message = peer.frame(BINARY, bytes(2**14))
    peer.log.append(Arrow("Binary, on and on", to_right=False))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.receive_close)
        with suppress(trio.BrokenResourceError):
            while peer.close is None:
                await peer.stream.send_all(message)


# -- reading -------------------------------------------------------------------------------------------------------


async def read_close(act: Act) -> None:
    """Read up to our Close frame."""
    await act.peer.receive_close()


async def read_pong(act: Act) -> None:
    """Read up to a Pong: then our side has seen all that was sent before the Ping."""
    received = await act.peer.receive()
    assert received is not None
    assert received.opcode == PONG


async def read_head(act: Act) -> None:
    """Read the head of our request or response, and put its first line into the log."""
    first_line, *_ = (await act.peer.read_head()).decode().splitlines()
    act.peer.log.append(Arrow(first_line, to_right=True))


async def drain(act: Act) -> None:
    """Read to the end of the transport."""
    await act.peer.drain()


async def skip(act: Act) -> None:
    """Read to the end of the transport what need not be frames."""
    await act.peer.skip()


# -- ending --------------------------------------------------------------------------------------------------------


async def fin(act: Act) -> None:
    """Shut down the sending side."""
    await act.peer.fin()


async def reset(act: Act) -> None:
    """Drop the transport with RST."""
    await act.peer.reset()


async def end(act: Act) -> None:
    """End the transport in the order of RFC 6455 §7.1.1: a server first, a client second."""
    for step in (drain, fin) if act.peer.client else (fin, drain):
        await step(act)


async def end_second(act: Act) -> None:
    """Let our side end the transport first."""
    await drain(act)
    await fin(act)


async def cancel(act: Act) -> None:
    """Cancel the scope round the block."""
    act.scope.cancel()


# -- waiting -------------------------------------------------------------------------------------------------------


async def give_cue(act: Act) -> None:
    """Let the block go on."""
    act.cue.set()


async def wait_cue(act: Act) -> None:
    """Wait until the block gives its cue."""
    await act.cue.wait()


async def wait_sending(act: Act) -> None:
    """Wait until our side has more to send than the network takes."""
    await act.begun.wait()
    while not act.ws.buffered:  # noqa: ASYNC110  # nothing tells
        await trio.sleep(0.002)  # pragma: no cover  # at times it has at once


async def wait_closing(act: Act) -> None:
    """Wait until our side knows that it ends."""
    while act.ws.state is ReadyState.OPEN:  # noqa: ASYNC110  # nothing tells
        await trio.sleep(0.002)


async def wait_left(act: Act) -> None:
    """Wait until the inside of the block was left."""
    await act.left.wait()


async def wait_over(act: Act) -> None:
    """Wait until the ending is over."""
    await act.over.wait()
