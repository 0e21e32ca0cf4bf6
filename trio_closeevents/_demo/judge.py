"""The judge: what came of a row against what the contract has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import cast

from trio_closeevents import CloseEvent

from .row import Ending, Expected, Outcome

__all__ = ["Mismatch", "judge"]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that is not as it has to be."""

    what: str
    expected: object
    got: object

    def __str__(self) -> str:
        return f"{self.what}: expected {in_words(self.expected)}, got {in_words(self.got)}"


def in_words(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, cast("tuple[object, ...]", value))) or "nothing"
    return "nothing" if value in ("", None) else str(value)


def judge(expected: Expected, outcome: Outcome) -> list[Mismatch]:
    """Return everything in which *outcome* is not as *expected*."""
    left_by = expected.raised if expected.left_by is None else expected.left_by
    inner = outcome.left_by or outcome.raised
    in_time = expected.at_least <= outcome.seconds <= expected.at_most
    claims = [
        *compare_events("", expected.event, outcome.event),
        *compare_events("the other side's ", expected.other, outcome.other),
        Mismatch("travelled", expected.travelled, outcome.travelled),
        Mismatch("raised", expected.raised, class_name(outcome.raised)),
        Mismatch("left by", left_by, class_name(inner)),
        Mismatch("raised from", expected.raised_from, class_name(inner and inner.__cause__)),
        Mismatch("raised unchanged", True, outcome.unchanged),
        Mismatch("logged", expected.logged, outcome.logged),
        Mismatch("messages", expected.messages, outcome.messages),
        Mismatch("messages dropped", expected.dropped, outcome.dropped),
        Mismatch("status", expected.status, outcome.status),
    ]
    wrong = [claim for claim in claims if not fits(claim.expected, claim.got)]
    if not in_time:
        bounds = f"{expected.at_least:.2f} to {expected.at_most:.2f}"
        wrong.append(Mismatch("seconds", bounds, f"{outcome.seconds:.2f}"))
    return wrong


def compare_events(whose: str, ending: Ending | None, event: CloseEvent | None) -> Iterator[Mismatch]:
    """Claim field by field that *event* is *ending*."""
    if ending is None or event is None:
        yield Mismatch(f"{whose}event", ending, event)
        return
    for field in fields(ending):
        got = getattr(event, field.name)
        yield Mismatch(
            f"{whose}{field.name}",
            getattr(ending, field.name),
            got if isinstance(got, int | None) else str(got),
        )


def class_name(error: BaseException | None) -> str:
    return "" if error is None else type(error).__name__


def fits(expected: object, got: object) -> bool:
    """Tell whether *got* is *expected*, in which strings are patterns."""
    if isinstance(expected, tuple) and isinstance(got, tuple):
        patterns, texts = cast("tuple[object, ...]", expected), cast("tuple[object, ...]", got)
        return len(patterns) == len(texts) and all(map(fits, patterns, texts))
    if isinstance(expected, str) and isinstance(got, str):
        return fnmatchcase(got, expected)
    return expected == got
