"""Figures, and what follows from them: medians, spreads, ratios, and whether a bar is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, Self

from .load.job import Reply
from .works import CEILING, OURS, SHUTDOWNS, TLS_BAR, WORKS, Work

__all__ = ["Result", "Spread", "Verdict", "brief", "figure", "linearity", "verdicts"]


NEAR: Final = 0.7  # of the ceiling
BUSY: Final = 0.9  # of one core: below that, not the server alone limits


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Self | None:
        return cls(median(values), min(values), max(values)) if values else None


@dataclass(slots=True)
class Result:
    """All rounds of one work.

    Attributes:
        replies: by library, one per round; a round that failed is `None`.
        errors: by library, what went wrong, with how often.
    """

    name: str
    replies: dict[str, list[Reply | None]] = field(default_factory=dict[str, list[Reply | None]])
    errors: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])

    @property
    def work(self) -> Work:
        return WORKS[self.name]

    def add(self, library: str, reply: Reply) -> None:
        self.replies.setdefault(library, []).append(reply)

    def fail(self, library: str, error: str) -> None:
        self.replies.setdefault(library, []).append(None)
        counts = self.errors.setdefault(library, {})
        counts[error] = counts.get(error, 0) + 1

    @property
    def saturates(self) -> bool:
        """Whether the load client could be what limits: not where one message at a time is on its way."""
        return self.work.job.get("kind") == "pipelined" or self.work.job.get("connections", 1) > 1

    def values(self, library: str) -> list[float | None]:
        return [None if reply is None else reply["value"] for reply in self.replies.get(library, [])]

    def spread(self, library: str) -> Spread | None:
        return Spread.of([value for value in self.values(library) if value is not None])

    def ratio(self, library: str) -> Spread | None:
        """Return our figure divided by that of *library*, round by round: what disturbs a round disturbs both."""
        pairs = zip(self.values(OURS), self.values(library), strict=False)
        return Spread.of([ours / theirs for ours, theirs in pairs if ours is not None and theirs])

    def notes(self) -> list[str]:
        """Return what a reader of the figures has to know."""
        found: list[str] = []
        ceiling = self.spread(CEILING)
        for library in self.work.libraries:
            for error, times in self.errors.get(library, {}).items():
                found.append(f"{library}: failed in {times} of {len(self.replies[library])} rounds: {error}")
            own = self.spread(library)
            if self.saturates and ceiling is not None and own is not None and library != CEILING:
                part = own.median / ceiling.median
                if part > NEAR:
                    found.append(f"{library}: at {part:.0%} of the ceiling; the load client is part of this figure")
            replies = [reply for reply in self.replies.get(library, []) if reply is not None]
            busy = [reply["busy"] for reply in replies if "busy" in reply]
            if self.saturates and library != CEILING and busy and median(busy) < BUSY:
                found.append(f"{library}: its server ran only {median(busy):.0%} of the time")
            unanswered = sum(reply.get("unanswered", 0) for reply in replies)
            if unanswered:
                part = unanswered / sum(reply["connections"] for reply in replies)
                found.append(f"{library}: {part:.1%} of the connections ended without an answer to the Close frame")
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.work.title,
            "unit": self.work.unit,
            "less is better": self.work.less,
            "replies": self.replies,
            "errors": self.errors,
            "ratios": {
                library: {"median": ratio.median, "low": ratio.low, "high": ratio.high}
                for library in self.work.libraries
                if library != OURS and (ratio := self.ratio(library)) is not None
            },
        }


def figure(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 else f"{value:.2e}"


def brief(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bar: what it is measured against, what it asks for, what was measured."""

    against: str
    bar: str
    measured: str
    met: bool


def verdicts(results: Mapping[str, Result], name: str, *, compiled: bool) -> list[Verdict]:
    """Return the bars of the work *name*.

    Args:
        compiled: our C extension is in use.
    """
    result = results[name]
    work = result.work
    found: list[Verdict] = []
    for library, bar in work.bars.items():
        asked = bar.compiled if compiled and bar.compiled is not None else bar.ratio
        ratio = result.ratio(library)
        if not asked or ratio is None:
            continue
        met = ratio.median <= asked if work.less else ratio.median >= asked
        found.append(Verdict(library, f"{'at most ' if work.less else ''}{asked:g}x", f"{brief(ratio.median)}x", met))
    own = result.spread(OURS)
    if work.at_most is not None and own is not None:
        bar_text = f"at most {figure(work.at_most)} {work.unit}"
        found.append(Verdict("itself", bar_text, f"{figure(own.median)} {work.unit}", own.median <= work.at_most))
    if work.plain is not None and work.plain in results:
        for library in work.libraries:
            plain, ratio = results[work.plain].ratio(library), result.ratio(library)
            if library != OURS and plain is not None and ratio is not None:
                part = ratio.median / plain.median
                found.append(Verdict(library, f"{TLS_BAR:g} of plain's", f"{part:.2f} of plain's", part >= TLS_BAR))
    return found


def linearity(results: Mapping[str, Result]) -> str | None:
    """Return how the time of a shutdown grows: what one connection costs among many, by that among few."""
    times: dict[int, float] = {}
    for number in SHUTDOWNS:
        result = results.get(f"shutdown-{number}")
        spread = None if result is None else result.spread(OURS)
        if spread is not None:
            times[number] = spread.median / number
    if len(times) < 2:
        return None
    each = ", ".join(f"{number:,}: {time * 1e6:.0f} µs" for number, time in times.items())
    few, many = min(times), max(times)
    growth = times[many] / times[few]
    return f"shutdown, time per connection: {each}; among {many:,} it is {growth:.2f} of what it is among {few:,}"
