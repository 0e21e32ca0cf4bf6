"""One side: a real session, and the little that the driver, the reader and the writer know beside it.

Each step does to the session what they do, in their order (`_driver.py`, `_reader.py`, `_writer.py`), and lets the
ghost see it too. Then both are compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from enum import Enum
from types import GeneratorType
from typing import Any, Final, NamedTuple

from trio_closeevents import CloseCause, CloseEvent, CloseFrame
from trio_closeevents._driver import OWING_CLOSE
from trio_closeevents._protocol.closing import State
from trio_closeevents._protocol.session import Session
from trio_closeevents._writer import WRITING_CLOSE

from .bounds import Bounds
from .chunk import FIN, MALFORMED, MESSAGE, RST, Chunk, Wire
from .ghost import Ghost

__all__ = ["DEADLINE", "END", "FINISH", "WRITE", "WRITE_FAILS", "Call", "Side", "Status", "Violation", "offers"]


class Violation(AssertionError):
    """Something that must hold does not."""


WRITE, WRITE_FAILS, FINISH, END = "writes", "fails to write", "half-closes", "is gone"
DEADLINE, KEEPALIVE = "is out of time", "misses the peer's Pong"
ABORT, BUG, SEND = "abort()", "meets a bug", "send()"
RETURN = "returns"
LEAVING: Final = {
    RETURN: (CloseFrame(1000), CloseCause.EXIT),
    "raises an error": (CloseFrame(1011), CloseCause.ERROR),
    "is cancelled": (CloseFrame(1001), CloseCause.CANCELLED),
}
ACLOSE, ACLOSE_EMPTY, ACLOSE_AGAIN = "aclose(4000, 'bye')", "aclose(None)", "aclose(3000)"
ACLOSES: Final = {ACLOSE: CloseFrame(4000, "bye"), ACLOSE_EMPTY: CloseFrame(None), ACLOSE_AGAIN: CloseFrame(3000)}

Call = tuple[str, tuple[Any, ...], dict[str, Any]]  # of a method of the session, or of "read"

MEASURES: Final = frozenset({"looked_at", "messages_dropped", "bytes_dropped"})  # of work; no rule depends on them
VALUES: Final = (int, str, bytes, type(None), Enum, CloseFrame, CloseEvent)


class Status(NamedTuple):
    """What is known of a side beside its session.

    Attributes:
        outbox: what waits to be written.
        queued: our Close frame, from the moment it is in the outbox.
        broken: writing has failed.
        input_end: FIN, RST or a bug ended reading.
        announced: the driver has seen that the event is decided.
        limited: the deadline of the ending runs.
        finishing: our FIN is out, and what comes is thrown away.
        drained: the peer's FIN is in as well.
        gone: the transport is.
        left: the block was left.
        acloses: calls so far.
        sent: messages so far.
        heard: chunks of messages that were read.
        bugs: met so far.
    """

    outbox: tuple[Chunk, ...] = ()
    queued: CloseFrame | None = None
    broken: bool = False
    input_end: CloseCause | None = None
    announced: bool = False
    limited: bool = False
    finishing: bool = False
    drained: bool = False
    gone: bool = False
    left: bool = False
    acloses: int = 0
    sent: int = 0
    heard: int = 0
    bugs: int = 0
    ghost: Ghost = Ghost()
    state: State = State.OPEN
    event: CloseEvent | None = None

    @property
    def reads(self) -> bool:
        """What arrives is read, be it to throw it away."""
        if self.gone or self.state is State.CLOSED:
            return False
        return not self.drained if self.finishing else self.input_end is None

    def may_finish(self, *, client: bool) -> bool:
        """`Reader._may_finish`."""
        if self.state is State.CLOSE_EXCHANGED:
            return not client or self.input_end is not None
        return self.state is State.FAILED


def offers(status: Status, bounds: Bounds, *, client: bool) -> Iterator[tuple[str, bool]]:
    """Yield the steps that a side can take without reading or writing; each with whether it is owed, and no choice."""
    if not status.left:
        leaving = LEAVING if bounds.all_endings else [RETURN]
        yield from ((step, False) for step in leaving)
        if status.acloses == 0:
            yield ACLOSE, False
            if bounds.empty:
                yield ACLOSE_EMPTY, False
        if status.acloses == 1 and bounds.all_endings:
            yield ACLOSE_AGAIN, False
    if status.gone:
        return
    if status.state is State.OPEN:
        yield KEEPALIVE, False
        if not status.left and not status.broken and status.sent < bounds.messages:
            yield SEND, False
    if bounds.aborts and status.state is not State.CLOSED:
        yield ABORT, False
    if status.bugs < bounds.bugs:
        yield BUG, False
    if status.state is State.CLOSED or status.drained:
        yield END, True
    else:
        if not status.finishing and status.may_finish(client=client):
            yield FINISH, True
        if status.limited:
            yield DEADLINE, False


class Side:
    """A session in action. It cannot be copied, and so it is played again from the *log* of its calls."""

    def __init__(self, wire: Wire, log: tuple[Call, ...], status: Status, *, client: bool) -> None:
        self._wire = wire
        self._client = client
        self._session = Session(client=client)
        self._log: list[Call] = []
        self._status = status
        for name, arguments, options in log:
            self._call(name, *arguments, **options)

    def take(self, step: str | Chunk) -> tuple[Chunk, ...]:
        """Take a step, or read a chunk; return what it gives to the network.

        Raises:
            Violation: what came of it is not what the contract says.
        """
        event = self._session.close_event
        try:
            given = self._read(step) if isinstance(step, Chunk) else self._act(step)
            self._digest()
            self._sync()
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"{type(error).__name__}: {error}") from error
        if event is not None and self._session.close_event is not event:
            raise Violation("the event was decided twice")
        self._compare()
        return given

    def outcome(self) -> tuple[Status, tuple[Call, ...], Hashable]:
        """Return what is known of it now, its calls, and all that its session will ever depend on."""
        return self._status, tuple(self._log), freeze(self._session)

    # -- what the driver, the reader and the writer do -----------------------------------------------------------------

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        self._log.append((name, arguments, options))
        if name != "read":
            return getattr(self._session, name)(*arguments, **options)
        self._session.receive_data(*arguments)
        return list(iter(self._session.next_event, None))

    def _set(self, **changes: Any) -> None:
        self._status = self._status._replace(**changes)

    def _act(self, step: str) -> tuple[Chunk, ...]:
        status, ghost = self._status, self._status.ghost
        if step in LEAVING:
            frame, cause = LEAVING[step]
            self._set(left=True, limited=True, ghost=ghost.ask(frame, cause))
            self._call("close", frame, cause, keep_arrived=False)
        elif step in ACLOSES:
            frame, cause = ACLOSES[step], CloseCause.CLOSED
            self._set(acloses=status.acloses + 1, limited=True, ghost=ghost.ask(frame, cause))
            self._call("close", frame, cause, keep_arrived=True)
        elif step == KEEPALIVE:
            self._fail(1011, "keepalive timeout", CloseCause.KEEPALIVE_TIMEOUT)
        elif step == BUG:
            self._set(bugs=status.bugs + 1, input_end=status.input_end or CloseCause.INTERNAL_ERROR)
            self._fail(1011, "", CloseCause.INTERNAL_ERROR)
        elif step == ABORT:
            self._set(ghost=ghost.lose(CloseCause.ABORTED))
            self._call("lose_transport", CloseCause.ABORTED)
        elif step == SEND:
            chunks = self._wire.split_message(b"".join(self._session.send_message(MESSAGE)[:2]), client=self._client)
            self._set(sent=status.sent + 1, outbox=status.outbox + chunks)
        elif step == WRITE:
            return self._write()
        elif step == WRITE_FAILS:
            self._set(broken=True, outbox=(), limited=True, ghost=ghost.break_writing())
        elif step == FINISH:
            self._set(finishing=True, drained=status.input_end in (CloseCause.EOF, CloseCause.RESET))
            return (FIN,)
        else:  # END, DEADLINE
            self._set(gone=True, outbox=(), ghost=ghost.lose(CloseCause.RESET))
            self._call("lose_transport", CloseCause.RESET)
            return () if status.finishing else (FIN,)
        return ()

    def _fail(self, code: int, reason: str, cause: CloseCause) -> None:
        self._set(ghost=self._status.ghost.fail(code, reason, cause))
        self._call("fail", code, reason, cause)

    def _write(self) -> tuple[Chunk, ...]:
        chunk, *rest = self._status.outbox
        self._set(outbox=tuple(rest))
        if chunk.frame is not None and chunk.last:
            self._set(ghost=self._status.ghost.write_close(chunk.frame))
        if not rest and not self._status.broken and self._session.state in WRITING_CLOSE:
            self._call("close_written")
        return (chunk,)

    def _read(self, chunk: Chunk) -> tuple[Chunk, ...]:
        ghost, is_end = self._status.ghost, chunk in (FIN, RST)
        if self._status.finishing:
            self._set(drained=is_end)
        elif is_end:
            cause = CloseCause.EOF if chunk == FIN else CloseCause.RESET
            self._set(input_end=cause, ghost=ghost.read_end(cause))
        else:
            expected: list[str] = []
            if chunk.kind in MALFORMED:
                ghost = ghost.read_malformed(MALFORMED[chunk.kind])
            elif chunk.frame is not None and chunk.last:
                ghost = ghost.read_close(chunk.frame)
            elif chunk.kind == "message":
                self._set(heard=self._status.heard + 1)
                expected = [MESSAGE] if chunk.last and ghost.cause is None else []
            self._set(ghost=ghost)
            data = self._wire.bytes_of(chunk, client=not self._client)
            require("what was received", self._call("read", data), expected)
        return ()

    def _digest(self) -> None:
        """`Reader.digest`: anyone may look again at what was read, at any time."""
        self._call("read", b"")
        cause = self._status.input_end
        if cause is CloseCause.EOF and not self._status.broken:
            self._call("receive_eof")
        elif cause is not None and cause is not CloseCause.INTERNAL_ERROR:
            self._call("lose_transport", CloseCause.RESET)

    def _sync(self) -> None:
        """`Driver.sync`, and what it calls."""
        session = self._session
        if (raw := self._call("take_close_frame")) is not None:
            self._queue_close(raw)
        if session.state is State.OPEN:
            return
        if session.state in (State.FAILING, State.FAILED) or session.cause is CloseCause.REMOTE:
            self._set(limited=True)
        if self._status.broken and session.state in OWING_CLOSE:
            self._call("lose_transport", CloseCause.RESET)
        if session.close_event is not None and not self._status.announced:
            self._set(announced=True)
            if session.state is State.CLOSED:
                self._set(outbox=())

    def _queue_close(self, raw: bytes) -> None:
        require("our Close frame so far", self._status.queued, None)
        chunks = self._wire.split_close(raw, client=self._client)
        self._set(queued=chunks[0].frame)
        if not self._status.broken:
            self._set(outbox=self._status.outbox + chunks)

    # -- what the contract says ----------------------------------------------------------------------------------------

    def _compare(self) -> None:
        session, ghost, queued = self._session, self._status.ghost, self._status.queued
        self._set(state=session.state, event=session.close_event)
        require("the state", session.state, ghost.state())
        require("the cause", session.cause, ghost.cause)
        require("whether a Close frame was queued", queued is not None, ghost.owes)
        if queued is not None:
            require("the code of our Close frame", queued.code, ghost.code)
            if ghost.reason is not None:
                require("the reason of our Close frame", queued.reason, ghost.reason)
        require("the event", session.close_event, ghost.event)
        if self._status.gone:
            require("whether the event is decided at the end", session.close_event is not None, True)


def require(what: str, found: object, expected: object) -> None:
    """Raise `Violation` if *what* was *found* is not what was *expected*."""
    if found != expected:
        raise Violation(f"{what} is {found}, not {expected}")


def freeze(value: Any) -> Hashable:
    """Return all that *value* consists of, as a value."""
    if isinstance(value, VALUES):
        return value
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, GeneratorType):
        return None if value.gi_frame is None else value.gi_frame.f_lasti
    if isinstance(value, Mapping):
        return tuple((key, freeze(each)) for key, each in value.items())
    if isinstance(value, list | tuple | deque):
        return tuple(map(freeze, value))
    return type(value), tuple((name, freeze(each)) for name, each in vars(value).items() if name not in MEASURES)
