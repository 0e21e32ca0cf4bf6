"""`Row`: one promise of the closing contract, how it is played, and what has to come of it. Values, no I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from trio_closeevents import CloseEvent

__all__ = ["AT_ONCE", "Ending", "Expected", "Outcome", "Play", "Role", "Row"]

# Seconds: an ending that waits for no limit is over by then, on a busy machine too. The limits of the rows that wait
# for none are longer.
AT_ONCE: Final = 2.5

Role = Literal["client", "server", "both"]


@dataclass(frozen=True, slots=True)
class Ending:
    """What a `CloseEvent` has to say.

    The strings are patterns, in which `*` stands for any text. Where the contract leaves the text of a reason to the
    library, there is one.

    Attributes:
        sent: what `str()` makes of the Close frame that was sent, `None` for none.
        received: the same for the one that was accepted.
    """

    code: int
    cause: str
    initiated_by: Literal["local", "remote", "transport"]
    was_clean: bool = False
    sent: str | None = None
    received: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What has to come of a row. The strings are patterns, as in `Ending`.

    Attributes:
        event: of the side under test; `None` if no connection came about, nor an exception that tells of one.
        travelled: what the raw peer (or the relay between two sides of ours) saw: `→` from the side under test, `←`
            to it.
        other: the event of the other side, where that is ours too.
        raised: the class of the exception that came out of the block, or of the server; `""` for none.
        raised_from: the class of the `__cause__` of what left the inside.
        left_by: the class of the exception that left the inside of the block, or the handler; `None`: as `raised`.
        logged: the classes of the exceptions that were logged as errors.
        messages: what the block received.
        dropped: how many messages of the peer were dropped after our Close.
        status: of the server's answer in place of the upgrade.
        at_least: seconds from the beginning of the block until the transport is gone.
        at_most: the same.
    """

    event: Ending | None
    travelled: tuple[str, ...]
    other: Ending | None = None
    raised: str = ""
    left_by: str | None = None
    raised_from: str = ""
    logged: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    dropped: str = "0"
    status: int | None = None
    at_least: float = 0
    at_most: float = AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of playing a row: the same things, as they were.

    Attributes:
        raised: what came out of the block, as its owner saw it.
        left_by: what left the block, as the block saw it.
        unchanged: the one is the other, the very same object, with the `__context__` that it had.
    """

    event: CloseEvent | None = None
    travelled: tuple[str, ...] = ()
    other: CloseEvent | None = None
    raised: BaseException | None = None
    left_by: BaseException | None = None
    unchanged: bool = True
    logged: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    dropped: str = "0"
    status: int | None = None
    seconds: float = 0


Play = Callable[[], Awaitable[Sequence[Outcome]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the demo.

    Attributes:
        id: the row of the contract.
        section: the section of the contract.
        role: the side under test; `"both"`: our client and our server, with a relay between them as the witness.
        done: what is done, in words.
        play: plays it on real sockets; returns one outcome or several, which all have to be as expected.
        case: tells rows of one id and role apart.
    """

    id: str
    section: int
    role: Role
    done: str
    play: Play
    expected: Expected
    case: str = ""

    @property
    def name(self) -> str:
        """A name that no other row has."""
        return "-".join(filter(None, [self.id, self.role, self.case]))
