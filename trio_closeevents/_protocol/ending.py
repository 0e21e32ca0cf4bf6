"""How one connection ends: what was asked for, what travelled, and the `CloseEvent` that comes of it.

The rules are those of the table in `closing.py`; here is what they need to know, and what is told to the program.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, cast

from .._events import MAX_REASON_BYTES, CloseCause, CloseCode, CloseEvent, CloseFrame, InitiatedBy
from .closing import Effect, State, Step, transition

__all__ = ["READING", "SKIPPING", "Ending"]

SKIPPING: Final = frozenset({State.CLOSE_QUEUED, State.CLOSE_SENT})
READING: Final = SKIPPING | {State.OPEN}
ASKED_BY_US: Final = frozenset(
    {CloseCause.EXIT, CloseCause.ERROR, CloseCause.CANCELLED, CloseCause.CLOSED, CloseCause.ABORTED}
)


class Ending(ABC):
    """The half of a session that ends it.

    Attributes:
        state: where the closing state machine stands.
        close_event: `None` until it is decided; never changes again.
        error: the exception that came with the loss of the transport, if one did.
    """

    def __init__(self) -> None:
        self.state = State.OPEN
        self.close_event: CloseEvent | None = None
        self.error: BaseException | None = None
        self._cause: CloseCause | None = None
        self._close: CloseFrame | None = None  # ours, from the moment it is queued
        self._unsent_close: bytes | None = None
        self._sent: CloseFrame | None = None
        self._received: CloseFrame | None = None

    @property
    def cause(self) -> CloseCause | None:
        """What came first and ended the connection; `None` as long as nothing did."""
        return self._cause

    @property
    def closed_by_us(self) -> bool:
        """This side asked for the end, and came first."""
        return self._cause in ASKED_BY_US

    # -- what this side does -----------------------------------------------------------------------------------------

    def _begin_close(self, frame: CloseFrame, cause: CloseCause) -> None:
        self._take(Step.SEND_CLOSE, cause, frame)

    def fail(self, code: int, reason: str, cause: CloseCause) -> None:
        """Fail the connection (RFC 6455 §7.1.7): from now on nothing of the peer counts."""
        text = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        self._take(Step.FAIL, cause, CloseFrame(code, text))

    def _fail_invalid(self, reason: str) -> None:
        self.fail(CloseCode.INVALID_FRAME_PAYLOAD_DATA, reason, CloseCause.INVALID_PAYLOAD)

    def take_close_frame(self) -> bytes | None:
        """Return our Close frame once, as soon as it is due; what was queued before goes first, nothing follows."""
        frame, self._unsent_close = self._unsent_close, None
        return frame

    def close_written(self) -> None:
        """Note that the last byte of our Close frame was handed to the kernel."""
        self._sent = self._close
        self._take(Step.CLOSE_WRITTEN)

    # -- what the peer and the network do ----------------------------------------------------------------------------

    @property
    def close_received(self) -> CloseFrame | None:
        """The Close frame of the peer, as soon as it was accepted."""
        return self._received

    def _accept_close(self, frame: CloseFrame) -> None:
        """Note a valid Close frame of the peer."""
        self._received = frame
        self._take(Step.RECEIVE_CLOSE, CloseCause.REMOTE, frame)

    def receive_eof(self) -> None:
        """Note that the peer has shut down its sending side."""
        self._take(Step.RECEIVE_EOF, CloseCause.EOF)

    def lose_transport(self, cause: CloseCause, error: BaseException | None = None) -> None:
        """Note that the transport is gone. *cause* and *error* count if nothing else came first."""
        if self._cause is None:
            self.error = error
        self._take(Step.LOSE_TRANSPORT, cause)

    # -- what comes of it --------------------------------------------------------------------------------------------

    def _take(self, step: Step, cause: CloseCause | None = None, frame: CloseFrame | None = None) -> None:
        """Take a step of the state machine: the one place where `state` changes."""
        before = self.state
        self.state, effect = transition(before, step)
        if self.state is not before and self._cause is None:
            self._cause = cause
        if effect is Effect.QUEUE_CLOSE:
            self._close = cast("CloseFrame", frame)
            self._unsent_close = self._encode_close(self._close)
        elif effect is Effect.DECIDE:
            self.close_event = self._decide()
        if self.state not in READING:
            self._stop_reading()

    def _decide(self) -> CloseEvent:
        received = self._received
        if received is None:
            code = CloseCode.ABNORMAL_CLOSURE.value
        else:
            code = CloseCode.NO_STATUS_RCVD.value if received.code is None else received.code
        return CloseEvent(
            "close",
            code=code,
            reason=received.reason if received else "",
            was_clean=self.state is State.CLOSE_EXCHANGED,
            initiated_by=self._initiator(),
            cause=self._cause,
            sent=self._sent,
            received=received,
        )

    def _initiator(self) -> InitiatedBy:
        if self._cause is not CloseCause.REMOTE and self._sent is not None:
            return "local"
        return "transport" if self._received is None else "remote"

    @abstractmethod
    def _encode_close(self, frame: CloseFrame) -> bytes:
        """Return *frame* as it travels."""

    @abstractmethod
    def _stop_reading(self) -> None:
        """Forget all that was read: nothing of the peer counts any more."""
