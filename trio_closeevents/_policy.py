"""Which exception leaves the block with which Close frame: one table, and one function that looks it up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias, cast

from ._events import CloseCause, CloseCode, CloseFrame, sendable_frame

__all__ = ["ClosePolicy"]

Answer: TypeAlias = int | tuple[int | None, str] | None

NORMAL: Final = CloseFrame(CloseCode.NORMAL_CLOSURE.value)
FAILED: Final = CloseFrame(CloseCode.INTERNAL_ERROR.value)  # without a reason: nothing of the exception leaks
LEAVING: Final = CloseFrame(CloseCode.GOING_AWAY.value)

DEFAULTS: Final[dict[type[BaseException], CloseFrame]] = {Exception: FAILED, BaseException: LEAVING}


class ClosePolicy:
    """Which Close frame is sent when a block is left.

    ```python
    ClosePolicy({PermissionError: (4403, "forbidden")}, on_exit=(1000, "done"))
    ```

    A type is looked up along its MRO, so that an entry for `OSError` also covers `PermissionError`. An exception
    group is looked up leaf by leaf, leaves of `trio.Cancelled` aside; if all leaves have the same answer, that is
    sent, otherwise 1011. What the table does not name keeps the defaults: 1011 for an `Exception`, 1001 for
    anything else (`trio.Cancelled`, `KeyboardInterrupt`). How long the ending may take, and the event's cause, do
    not depend on the policy.

    A policy is a value: it cannot be changed, and equal policies compare equal.

    Args:
        on_exception: exception types, each with `(code, reason)` or a bare code; `None` is an empty Close frame.
        on_exit: the same for a block that returns.

    Raises:
        TypeError: a key is not an exception type, or an answer has the wrong type.
        ValueError: a code or a reason may not travel in a Close frame.
    """

    __slots__ = ("_on_exception", "_on_exit")

    def __init__(
        self, on_exception: Mapping[type[BaseException], Answer] | None = None, *, on_exit: Answer = (1000, "")
    ) -> None:
        if on_exception is not None and not isinstance(on_exception, Mapping):
            raise TypeError(
                f"a ClosePolicy maps exception types to close codes; {type(on_exception).__name__} is no mapping: "
                f"{on_exception!r}"
            )
        for kind in on_exception or ():
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(f"a ClosePolicy maps exception types to close codes; {kind!r} is no exception type")
            if issubclass(kind, BaseExceptionGroup):
                raise TypeError(f"a group is looked up leaf by leaf: name the types of the leaves, not {kind!r}")
        self._on_exception = {kind: as_frame(answer) for kind, answer in (on_exception or {}).items()}
        self._on_exit = as_frame(on_exit)

    def frame_for(self, left_by: BaseException | None, *, aside: type[BaseException]) -> CloseFrame:
        """Return the Close frame for a block that *left_by* leaves, or that returns (`None`).

        Leaves of the type *aside* (trio's `Cancelled`) do not count, unless there are no others.
        """
        if left_by is None:
            return self._on_exit
        all_leaves = list(leaves(left_by))
        counting = [leaf for leaf in all_leaves if not isinstance(leaf, aside)] or all_leaves
        answers = {self._look_up(type(leaf)) for leaf in counting}
        return answers.pop() if len(answers) == 1 else FAILED

    def _look_up(self, kind: type[BaseException]) -> CloseFrame:
        table = DEFAULTS | self._on_exception
        return next(table[parent] for parent in kind.__mro__ if parent in table)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClosePolicy):
            return NotImplemented
        return (self._on_exception, self._on_exit) == (other._on_exception, other._on_exit)

    def __hash__(self) -> int:
        return hash((frozenset(self._on_exception.items()), self._on_exit))

    def __repr__(self) -> str:
        rows = (f"{kind.__qualname__}: {(frame.code, frame.reason)}" for kind, frame in self._on_exception.items())
        return f"ClosePolicy({{{', '.join(rows)}}}, on_exit={(self._on_exit.code, self._on_exit.reason)})"


def as_frame(answer: Answer) -> CloseFrame:
    if isinstance(answer, tuple):
        if len(answer) != 2:
            raise TypeError(f"a ClosePolicy answers with (code, reason), not {answer!r}")
        return sendable_frame(*answer)
    return sendable_frame(answer)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of a group at any depth, or the one that is no group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(inner)
    else:
        yield error


class BlockEnd(NamedTuple):
    """What the end of a block asks for: this Close frame, for this cause, with or without patience."""

    frame: CloseFrame
    cause: CloseCause
    patient: bool  # True: `close_timeout` is the limit; False: `cancel_timeout`


def end_of_block(left_by: BaseException | None, policy: ClosePolicy, *, aside: type[BaseException]) -> BlockEnd:
    """Tell what it means that *left_by* (`None`: nothing) leaves the block."""
    frame = policy.frame_for(left_by, aside=aside)
    if left_by is None:
        return BlockEnd(frame, CloseCause.EXIT, patient=True)
    kinds = [isinstance(leaf, Exception) for leaf in leaves(left_by)]
    return BlockEnd(frame, CloseCause.ERROR if any(kinds) else CloseCause.CANCELLED, patient=all(kinds))
