"""`Verdict`: what the judge says of a row that was played. A value, no I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .judge import Mismatch
from .row import Outcome, Row

__all__ = ["Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row, what came of it, and what is wrong with that.

    Attributes:
        outcome: the first that is wrong; if all are right, the first.
        mismatches: what is wrong with it.
    """

    row: Row
    outcome: Outcome
    mismatches: tuple[Mismatch, ...] = ()

    @property
    def as_expected(self) -> bool:
        """The row is as the contract has it."""
        return not self.mismatches

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        row, outcome = self.row, self.outcome
        return {
            "name": row.name,
            "id": row.id,
            "section": row.section,
            "role": row.role,
            "case": row.case,
            "done": row.done,
            "event": outcome.event and outcome.event.to_dict(),
            "other": outcome.other and outcome.other.to_dict(),
            "travelled": list(outcome.travelled),
            "seconds": round(outcome.seconds, 4),
            "as_expected": self.as_expected,
            "expected": asdict(row.expected),
            "mismatches": [str(each) for each in self.mismatches],
        }
