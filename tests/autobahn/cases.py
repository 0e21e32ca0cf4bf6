"""Which cases of the suite are run, and what it must say about each.

`expected.json` has a row for every case of the suite: its verdict on what the peer did, and on how the connection was
closed. They hold for both roles. INFORMATIONAL is what the suite says where the RFC leaves open what is right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from .echo import AGENT

__all__ = ["EXPECTED", "Role", "Verdict", "differences", "read_index", "selected", "summary"]

Role = Literal["server", "client"]  # ours
Case = str  # "12.1.1"


class Verdict(NamedTuple):
    """What the suite says of one case: `behavior` and `behaviorClose` in its reports."""

    behavior: str
    closing: str

    def __str__(self) -> str:
        return f"{self.behavior}, closing {self.closing}"


EXPECTED: Final[Mapping[Case, Verdict]] = {
    case: Verdict(*row) for case, row in json.loads(Path(__file__).with_name("expected.json").read_bytes()).items()
}

# Sections 12 and 13, compression, are 216 cases of 1000 messages each: ten minutes and more.
SLOW_SECTIONS: Final = ("12", "13")


def selected(*, full: bool) -> list[Case]:
    """Return the cases to run: all of them, or of each subsection of the slow sections only the first one."""
    return [case for case in EXPECTED if full or case.split(".")[0] not in SLOW_SECTIONS or case.split(".")[2] == "1"]


@dataclass(frozen=True, slots=True)
class Index:
    """What `index.json` of a run says.

    Attributes:
        verdicts: by case, those alone that the suite has a report of.
        reports: where its report on a case is, for people to read.
    """

    verdicts: Mapping[Case, Verdict]
    reports: Mapping[Case, Path]


def read_index(folder: Path) -> Index:
    """Read what the suite has written into *folder*; nothing if there is nothing."""
    file = folder / "index.json"
    rows: dict[Case, Any] = json.loads(file.read_bytes()).get(AGENT, {}) if file.exists() else {}
    return Index(
        {case: Verdict(row["behavior"], row["behaviorClose"]) for case, row in rows.items()},
        {case: (folder / row["reportfile"]).with_suffix(".html") for case, row in rows.items()},
    )


def differences(role: Role, expected: Mapping[Case, Verdict], index: Index) -> list[str]:
    """Return a line for each case that ended otherwise, was not run, or is not known."""
    lines = []
    for case in [*expected, *(case for case in index.verdicts if case not in expected)]:
        wanted, got = expected.get(case), index.verdicts.get(case)
        if wanted != got:
            where = f"; see {index.reports[case]}" if case in index.reports else ""
            lines.append(f"{role} {case}: expected {wanted or 'no such case'}, got {got or 'no report'}{where}")
    return lines


def summary(role: Role, index: Index) -> str:
    """Return how many cases got which verdict, in one line."""
    behaviors = Counter(verdict.behavior for verdict in index.verdicts.values())
    closings = Counter(verdict.closing for verdict in index.verdicts.values())
    return f"{role}: {len(index.verdicts)} cases: {listed(behaviors)}; closing: {listed(closings)}"


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) or "none"
