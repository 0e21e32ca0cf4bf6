"""The closing state machine, as one table.

A connection that reached OPEN goes through these states until its transport is gone. A `Session` is in one of
them, hands every `Step` to `transition`, and does what the `Effect` says; nothing else in the library knows the rules.

Two moments are told apart that other libraries take for one: our Close is *queued* when somebody asks for it, and
*written* when the kernel has taken its last byte. Only then did it travel. The same for the end: the `CloseEvent` is
*decided* when both Close frames have travelled, the connection was failed or the transport was lost; the transport
may live on for a while (half-close, drain), which changes nothing any more.

Sources: RFC 6455 §7.1 (closing handshake), §5.5.1 (Close frames), §7.1.7 (fail the connection).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

__all__ = ["TRANSITIONS", "Effect", "State", "Step", "transition"]


class Quick(Enum):
    """An enum whose members are looked up in the table below by identity, which is faster than by name."""

    __hash__ = object.__hash__


class State(Quick):
    """Where a connection stands between the opening handshake and the end of its transport."""

    OPEN = auto()
    CLOSE_QUEUED = auto()  # our Close waits to be written, the peer's is awaited
    CLOSE_SENT = auto()  # ours is out, the peer's is awaited
    CLOSE_RECEIVED = auto()  # the peer's is in, ours is being written (RFC 6455 §5.5.1)
    CLOSE_EXCHANGED = auto()  # both travelled: only the transport is left
    FAILING = auto()  # failed: our Close is being written, nothing of the peer counts any more (§7.1.7)
    FAILED = auto()  # failed, and our Close is out: only the transport is left
    CLOSED = auto()  # the transport is gone (§7.1.4)


class Step(Quick):
    """What can happen to a connection."""

    SEND_CLOSE = auto()  # this side wants to close
    CLOSE_WRITTEN = auto()  # the last byte of our Close was handed to the kernel
    RECEIVE_CLOSE = auto()  # a valid Close frame of the peer was read
    FAIL = auto()  # this side must fail the connection
    RECEIVE_EOF = auto()  # the peer has shut down its sending side
    LOSE_TRANSPORT = auto()  # reset, dropped, or out of time


class Effect(Enum):
    """What a transition asks for."""

    NOTHING = auto()
    QUEUE_CLOSE = auto()  # put our Close frame behind what is queued; nothing may follow it
    DECIDE = auto()  # the CloseEvent is fixed now


OPEN, CLOSE_QUEUED, CLOSE_SENT, CLOSE_RECEIVED = State.OPEN, State.CLOSE_QUEUED, State.CLOSE_SENT, State.CLOSE_RECEIVED
CLOSE_EXCHANGED, FAILING, FAILED, CLOSED = State.CLOSE_EXCHANGED, State.FAILING, State.FAILED, State.CLOSED
SEND_CLOSE, CLOSE_WRITTEN, RECEIVE_CLOSE = Step.SEND_CLOSE, Step.CLOSE_WRITTEN, Step.RECEIVE_CLOSE
FAIL, RECEIVE_EOF, LOSE_TRANSPORT = Step.FAIL, Step.RECEIVE_EOF, Step.LOSE_TRANSPORT
NOTHING, QUEUE_CLOSE, DECIDE = Effect.NOTHING, Effect.QUEUE_CLOSE, Effect.DECIDE

TRANSITIONS: Final[Mapping[State, Mapping[Step, tuple[State, Effect]]]] = {
    OPEN: {
        SEND_CLOSE: (CLOSE_QUEUED, QUEUE_CLOSE),
        RECEIVE_CLOSE: (CLOSE_RECEIVED, QUEUE_CLOSE),
        FAIL: (FAILING, QUEUE_CLOSE),
        RECEIVE_EOF: (CLOSED, DECIDE),
        LOSE_TRANSPORT: (CLOSED, DECIDE),
    },
    CLOSE_QUEUED: {
        SEND_CLOSE: (CLOSE_QUEUED, NOTHING),
        CLOSE_WRITTEN: (CLOSE_SENT, NOTHING),
        RECEIVE_CLOSE: (CLOSE_RECEIVED, NOTHING),
        FAIL: (FAILING, NOTHING),
        RECEIVE_EOF: (CLOSED, DECIDE),
        LOSE_TRANSPORT: (CLOSED, DECIDE),
    },
    CLOSE_SENT: {
        SEND_CLOSE: (CLOSE_SENT, NOTHING),
        RECEIVE_CLOSE: (CLOSE_EXCHANGED, DECIDE),
        FAIL: (FAILED, DECIDE),
        RECEIVE_EOF: (CLOSED, DECIDE),
        LOSE_TRANSPORT: (CLOSED, DECIDE),
    },
    CLOSE_RECEIVED: {
        SEND_CLOSE: (CLOSE_RECEIVED, NOTHING),
        CLOSE_WRITTEN: (CLOSE_EXCHANGED, DECIDE),
        FAIL: (CLOSE_RECEIVED, NOTHING),
        RECEIVE_EOF: (CLOSE_RECEIVED, NOTHING),  # a peer that has half-closed can still read our answer
        LOSE_TRANSPORT: (CLOSED, DECIDE),
    },
    CLOSE_EXCHANGED: {
        SEND_CLOSE: (CLOSE_EXCHANGED, NOTHING),
        FAIL: (CLOSE_EXCHANGED, NOTHING),
        RECEIVE_EOF: (CLOSE_EXCHANGED, NOTHING),  # what the client waits for before it closes TCP (§7.1.1)
        LOSE_TRANSPORT: (CLOSED, NOTHING),
    },
    FAILING: {
        SEND_CLOSE: (FAILING, NOTHING),
        CLOSE_WRITTEN: (FAILED, DECIDE),
        FAIL: (FAILING, NOTHING),
        RECEIVE_EOF: (FAILING, NOTHING),
        LOSE_TRANSPORT: (CLOSED, DECIDE),
    },
    FAILED: {
        SEND_CLOSE: (FAILED, NOTHING),
        FAIL: (FAILED, NOTHING),
        RECEIVE_EOF: (FAILED, NOTHING),
        LOSE_TRANSPORT: (CLOSED, NOTHING),
    },
    CLOSED: {
        SEND_CLOSE: (CLOSED, NOTHING),
        FAIL: (CLOSED, NOTHING),
        RECEIVE_EOF: (CLOSED, NOTHING),
        LOSE_TRANSPORT: (CLOSED, NOTHING),
    },
}


def transition(state: State, step: Step) -> tuple[State, Effect]:
    """Look up what *step* does in *state*.

    Raises:
        RuntimeError: the table has no such entry; this is a bug in the library.
    """
    try:
        return TRANSITIONS[state][step]
    except KeyError:
        raise RuntimeError(f"{step.name} is not allowed in {state.name}") from None
