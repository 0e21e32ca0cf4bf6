"""What a soak says on the terminal: a line while it runs, tables at its end."""

from __future__ import annotations

from collections.abc import Iterator

from .level import FEWEST
from .run import Report

__all__ = ["line_of", "lines_of"]


def line_of(report: Report) -> str:
    """Return the line that tells how far it is."""
    rate = report.count / report.seconds
    return (
        f"{report.seconds:6.0f} s  {report.count} connections, {rate:.0f} per second, {len(report.misfits)} misfits; "
        + ", ".join(f"{name} {samples[-1].rss / 2**20:.0f} MiB" for name, samples in report.samples.items())
    )


def lines_of(report: Report) -> Iterator[str]:
    """Return everything that is to be known at the end."""
    yield ""
    yield f"{report.count} connections in {report.seconds:.0f} s, {report.count / report.seconds:.0f} per second"
    yield ""
    codes = sorted({code for _, code in report.outcomes})
    endings = sorted({ending for ending, _ in report.outcomes})
    yield f"{'the client saw':<20}" + "".join(f"{ending:>10}" for ending in endings)
    for code in codes:
        yield f"{code:<20}" + "".join(f"{report.outcomes[ending, code]:>10}" for ending in endings)
    yield ""
    yield f"{'process':<12}{'files':>8}{'at most':>9}{'tasks':>8}{'at most':>9}{'MiB':>8}{'at most':>9}"
    for name, samples in report.samples.items():
        columns = [(each.fds, each.tasks, each.rss / 2**20) for each in samples]
        fds, tasks, rss = zip(*columns, strict=True)
        yield f"{name:<12}{fds[-1]:>8}{max(fds):>9}{tasks[-1]:>8}{max(tasks):>9}{rss[-1]:>8.1f}{max(rss):>9.1f}"
    if min(map(len, report.samples.values())) < FEWEST:
        yield "memory was not judged: too few samples"
    yield ""
    for misfit in report.misfits:
        yield f"MISFIT {misfit}"
    yield f"{len(report.misfits)} misfits, seed {report.seed}"
