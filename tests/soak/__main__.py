"""`python -m soak MINUTES [--seed N]`: open and end connections until the time is up; exit status 1 if any misfits."""

from __future__ import annotations

import argparse
import random
import sys

from .run import Report, soak
from .table import line_of, lines_of


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    given = parser.parse_args()
    print(f"soaking for {given.minutes:g} minutes, seed {given.seed}", flush=True)
    report = soak(given.minutes * 60, given.seed, progress)
    print(*lines_of(report), sep="\n")
    return 1 if report.misfits else 0


def progress(report: Report) -> None:
    print(line_of(report), flush=True)


if __name__ == "__main__":
    sys.exit(main())
