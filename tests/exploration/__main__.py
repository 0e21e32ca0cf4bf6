"""`python -m exploration`: walk all worlds of the large bounds, and print how many there are."""

from __future__ import annotations

import sys
import time
from collections import Counter

from .bounds import LARGE
from .side import Violation
from .world import Ending, Exploration, Figures


class Progress:
    """A line on the terminal that tells how far a long search has come."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = time.monotonic() + 2

    def __call__(self, worlds: int) -> None:
        """Show it, if there is a terminal and it is time."""
        if sys.stdout.isatty() and time.monotonic() > self._next:
            self._next = time.monotonic() + 0.5
            print(f"\r{self._name:40} {worlds:>10,} ...", end="", flush=True)

    def end(self) -> None:
        """Make room for what comes next."""
        if sys.stdout.isatty():
            print("\r\x1b[K", end="")


def main() -> int:
    """Return the exit status."""
    columns = f"{'nodes':>7} {'worlds':>11} {'transitions':>12} {'final':>8} {'depth':>6} {'seconds':>8}"
    print(f"{'bounds':40} {columns}", flush=True)
    endings: Counter[Ending] = Counter()
    for name, bounds in LARGE.items():
        progress = Progress(name)
        try:
            figures = Exploration(bounds, progress).run()
        except Violation as violation:
            progress.end()
            print(f"{name}: does not hold\n{violation}")
            return 1
        progress.end()
        print(f"{name:40} {row(figures)}", flush=True)
        endings += figures.endings
    print(f"\n{len(endings)} kinds of CloseEvent, and in how many final worlds a side has them:")
    for ending, worlds in sorted(endings.items()):
        clean = "clean" if ending.clean else "not clean"
        print(f"{ending.code:>6}  {ending.cause:18} {ending.initiated_by:10} {clean:10} {worlds:>9,}")
    return 0


def row(figures: Figures) -> str:
    """Return the figures of one search."""
    return (
        f"{sum(figures.nodes):>7,} {figures.worlds:>11,} {figures.transitions:>12,} {figures.final:>8,}"
        f" {figures.depth:>6} {figures.seconds:>8.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
