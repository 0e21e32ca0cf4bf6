"""Are memory, open files and tasks flat? Samples are taken while no connection is open.

Files and tasks are counted: in the end there are as many as in the beginning. Memory is noisy, and grows while caches
fill; the rule is: the median of the last quarter of the samples is over that of the second quarter by at most 5 %, or
3 MiB if that is more. With fewer than twelve samples there are no quarters to speak of, and memory is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

__all__ = ["FEWEST", "Sample", "misfits_in_samples"]

FEWEST: Final = 12
SHARE: Final = 0.05
LEAST: Final = 3 * 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process has when nothing is going on.

    Attributes:
        rss: bytes of memory.
        busy: connections that had not ended when patience did.
    """

    rss: int
    fds: int
    tasks: int
    busy: int = 0


def misfits_in_samples(name: str, samples: list[Sample]) -> Iterator[str]:
    """Tell what is not flat in the process *name*; the first sample was taken after a warm-up."""
    if any(sample.busy for sample in samples):
        yield f"{name}: connections did not end: {[sample.busy for sample in samples]}"
    for what in ("fds", "tasks"):
        values = [getattr(sample, what) for sample in samples]
        if values and values[-1] != values[0]:
            yield f"{name}: {what} went from {values[0]} to {values[-1]}: {values}"
    memory = [sample.rss for sample in samples]
    if len(memory) >= FEWEST:
        quarter = len(memory) // 4
        early, late = median(memory[quarter : 2 * quarter]), median(memory[-quarter:])
        if late - early > max(SHARE * early, LEAST):
            yield f"{name}: memory went from {early / 2**20:.1f} to {late / 2**20:.1f} MiB: {memory}"
