"""What the closing contract says of one side, from what has happened to it: without the table, and without a session.

A ghost sees what the side sees: what its program asks for, which frames were read whole, which were written whole. It
knows what must have come of it: the state, the Close frame on the wire, the CloseEvent, and the moment of its decision.
"""

from __future__ import annotations

from typing import NamedTuple

from trio_closeevents import CloseCause, CloseEvent, CloseFrame
from trio_closeevents._events import InitiatedBy
from trio_closeevents._protocol.closing import State

from .chunk import Offence

__all__ = ["Ghost"]


class Ghost(NamedTuple):
    """What has happened to one side so far.

    Attributes:
        cause: what came first, and ends the connection.
        code: of the Close frame that this side must send; `None`: an empty one, or none at all.
        reason: of that frame; `None` where the contract leaves the words open.
        owes: this side must send a Close frame.
        written: the kernel has taken it whole.
        received: the Close frame of the peer that counts.
        failed: the connection was failed while it mattered.
        broken: writing has failed.
        lost: the transport is lost.
        event: the CloseEvent, once it is decided.
    """

    cause: CloseCause | None = None
    code: int | None = None
    reason: str | None = ""
    owes: bool = False
    written: bool = False
    received: CloseFrame | None = None
    failed: bool = False
    broken: bool = False
    lost: bool = False
    event: CloseEvent | None = None

    # -- what happens ------------------------------------------------------------------------------------------------

    def ask(self, frame: CloseFrame, cause: CloseCause) -> Ghost:
        """The program wants to close, by leaving its block or with `aclose` (section 2); the first one counts."""
        if self.cause is not None:
            return self
        return self._replace(cause=cause, code=frame.code, reason=frame.reason, owes=True)

    def read_close(self, frame: CloseFrame) -> Ghost:
        """A Close frame of the peer was read whole (section 3): it is answered with itself, if it is the first."""
        if self._is_deaf:
            return self
        heard = self._replace(received=frame)
        return heard.ask(frame, CloseCause.REMOTE)._settle()

    def read_malformed(self, offence: Offence) -> Ghost:
        """A malformed frame was read (section 4); there is no second Close for it (`peer-garbage-after-ours`)."""
        if offence.as_data and self.cause is not None:
            return self
        return self.fail(offence.code, None, offence.cause)

    def fail(self, code: int, reason: str | None, cause: CloseCause) -> Ghost:
        """This side must fail the connection; after the peer's Close there is nothing left to fail."""
        if self._is_deaf:
            return self
        if self.cause is not None:
            return self._replace(failed=True)._settle()
        return self._replace(cause=cause, code=code, reason=reason, owes=True, failed=True)._settle()

    def write_close(self, frame: CloseFrame) -> Ghost:
        """The kernel has taken the last byte of our Close, which was *frame*."""
        return self._replace(written=True, reason=frame.reason)._settle()

    def break_writing(self) -> Ghost:
        """A write has failed; what the peer has sent before is still read."""
        return self._replace(broken=True)._settle()

    def read_end(self, cause: CloseCause) -> Ghost:
        """FIN or RST was read (section 5). After FIN, a peer that can still read is sent the Close that it is owed."""
        if cause is CloseCause.EOF and not self.broken:
            return self if self._is_deaf else self.lose(cause)
        return self.lose(CloseCause.RESET)

    def lose(self, cause: CloseCause) -> Ghost:
        """The transport is lost, or dropped."""
        return self._replace(lost=True, cause=self.cause or cause)._settle()

    # -- what must have come of it -----------------------------------------------------------------------------------

    @property
    def _is_deaf(self) -> bool:
        """Nothing of the peer counts any more."""
        return self.received is not None or self.failed or self.lost

    def _settle(self) -> Ghost:
        """Decide the event, if it is time (section 1)."""
        ghost = self
        ended = ghost.received is not None or ghost.failed
        if ended and ghost.broken and not ghost.written:
            ghost = ghost._replace(lost=True)  # nothing but our Close was awaited
        if ghost.event is None and (ghost.lost or (ended and ghost.written)):
            ghost = ghost._replace(event=ghost._decide())
        return ghost

    def _decide(self) -> CloseEvent:
        code = 1006
        if self.received is not None:
            code = 1005 if self.received.code is None else self.received.code
        return CloseEvent(
            "close",
            code=code,
            reason="" if self.received is None else self.received.reason,
            was_clean=self.written and self.received is not None and not self.failed,
            initiated_by=self._initiator(),
            cause=self.cause,
            sent=CloseFrame(self.code, self.reason or "") if self.written else None,
            received=self.received,
        )

    def _initiator(self) -> InitiatedBy:
        if self.received is not None and (self.cause is CloseCause.REMOTE or not self.written):
            return "remote"
        return "local" if self.written else "transport"

    def state(self) -> State:
        """Return where the session must stand."""
        if self.lost:
            return State.CLOSED
        if self.failed:
            return State.FAILED if self.written else State.FAILING
        if self.received is not None:
            return State.CLOSE_EXCHANGED if self.written else State.CLOSE_RECEIVED
        if self.owes:
            return State.CLOSE_SENT if self.written else State.CLOSE_QUEUED
        return State.OPEN
