"""A whole soak: rounds of connections, and between them a look at what was written down and at what is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trustme

from .crew import Crew, Member
from .judge import Judge
from .level import Sample, misfits_in_samples
from .plan import draw
from .worker import HOST

__all__ = ["Report", "soak"]

ROUND: Final = (0.5, 8.0)  # seconds, at least and at most
ROUNDS: Final = 12  # of a soak that is short
ROUND_TIMEOUT: Final = 60.0  # seconds more than a round that it may take: it hangs


@dataclass
class Report:
    """What came of a soak.

    Attributes:
        seconds: of all rounds, the waiting between them included.
        count: connections that were tried.
        outcomes: how many, by the client's ending and the code of its event.
        samples: of each process, the first after a warm-up.
        misfits: in full.
    """

    seed: int
    seconds: float = 0
    count: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    misfits: list[str] = field(default_factory=list)


def soak(seconds: float, seed: int, progress: Callable[[Report], object]) -> Report:
    """Soak for *seconds*, calling *progress* after each round."""
    with TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "authority.pem")
        issued = authority.issue_cert(HOST)
        issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        with Crew(seed, folder, folder / "authority.pem", folder / "server.pem") as crew:
            return soak_with(crew, seconds, seed, progress)


def soak_with(crew: Crew, seconds: float, seed: int, progress: Callable[[Report], object]) -> Report:
    report = Report(seed)
    judge = Judge(partial(draw, seed))
    length = min(max(seconds / ROUNDS, ROUND[0]), ROUND[1])
    began = time.monotonic()
    first = 0
    while not first or time.monotonic() - began < seconds:
        first = play_round(crew, judge, first, length)
        for member in crew.members:
            report.samples.setdefault(member.name, []).append(sample(member))
        report.seconds = time.monotonic() - began
        report.count, report.outcomes, report.misfits = judge.count, judge.outcomes, list(judge.misfits)
        progress(report)
    for member in crew.members:
        # The first round was the warm-up; the sample after it is the first that counts.
        report.misfits += misfits_in_samples(member.name, report.samples[member.name])
        report.misfits += member.end()
    return report


def play_round(crew: Crew, judge: Judge, first: int, length: float) -> int:
    """Let the clients open connections, numbered from *first*; return the first number of the next round."""
    step = len(crew.clients)
    for index, client in enumerate(crew.clients):
        client.tell(do="round", first=first + index, seconds=length, step=step)
    counts: list[int] = [client.answer(length + ROUND_TIMEOUT)["done"] for client in crew.clients]
    settle(crew)
    started = [first + index + step * number for index, count in enumerate(counts) for number in range(count)]
    judge.take([record for member in crew.members for record in member.records], started)
    return first + step * max(counts)


def settle(crew: Crew) -> None:
    """Wait until nobody has a connection, so that all records are written."""
    for member in crew.members:
        sample(member)


def sample(member: Member) -> Sample:
    member.tell(do="sample")
    return Sample(**member.answer(ROUND_TIMEOUT))
