"""`python -m autobahn PYTHON2.7 FOLDER [full | record | CASE...]`: what `nox -s autobahn -- ...` runs.

Without a third word: all cases of sections 1 to 10, and of 12 and 13 (compression) the first of each subsection. With
`full`: all cases, which takes minutes. With `record`: those that `recording.xz` has, which is written anew if the suite
says of each what it should. Otherwise the cases that are named, as in `5.15 "12.*.3"`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, get_args

import trio

from .cases import EXPECTED, Role, differences, read_index, selected, summary
from .recording import RECORDED, RECORDING, Record, save
from .suite import GivenUp, Suite

PATIENCE: Final = 120  # seconds; the longest case of section 9 takes two
FULL_PATIENCE: Final = 600  # in sections 12 and 13 the suite gives up a case after 480


def main(python: str, folder: str, *words: str) -> int:
    """Run the suite; return the exit code."""
    what = " ".join(words)
    cases = {"": selected(full=False), "full": selected(full=True), "record": RECORDED}.get(what)
    cases = cases or [case for case in EXPECTED if any(fnmatchcase(case, pattern) for pattern in words)]
    if not cases:
        print(f"there is no case like {what}")
        return 2
    records: list[Record] = []
    suite = Suite(
        python=Path(python),
        folder=Path(folder).resolve(),
        cases=cases,
        patience=FULL_PATIENCE if what else PATIENCE,
        records=records if what == "record" else None,
    )
    print(f"{len(suite.cases)} of {len(EXPECTED)} cases in both roles, with reports in {suite.folder}", flush=True)
    trouble: list[str] = []
    try:
        trio.run(suite.run)
    except* (GivenUp, subprocess.CalledProcessError) as group:
        trouble += map(str, leaves(group))
    if not trouble:
        trouble += judge(suite)
    if not trouble and what == "record":
        order = {case: number for number, case in enumerate(EXPECTED)}
        save(sorted(records, key=lambda record: (order[record.case], record.role)))
        print(f"{len(records)} records, {RECORDING.stat().st_size:,} bytes, in {RECORDING}")
    for line in trouble:
        print(line)
    return bool(trouble)


def judge(suite: Suite) -> list[str]:
    """Print the counts; return what the suite says otherwise than expected."""
    expected = {case: EXPECTED[case] for case in suite.cases}
    found = []
    for role in get_args(Role):
        index = read_index(suite.reports(role))
        print(summary(role, index))
        found += differences(role, expected, index)
    return found


def leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    """Return the exceptions of *group* and of the groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
