"""What the suite sent and what it must get, as one compressed file of records.

Theory. A record is one connection: what each side sent, cut where the network cut it, in the order of arrival. A side's
bytes are kept as they were, but for the payloads of masked frames, which are unmasked where they stand (the keys stay):
random bytes do not compress, and the same message in the other role costs nothing that way. `unmasked` restores them.

What is left out, to keep the file small and the replay quick:

* the cases that `LEFT_OUT` names;
* of the 1000 messages each of 9.7, 9.8, 12 and 13 all but the first 3 to 50, and their answers (`MOST_BYTES`);
* most of the places where the network cut a large message (`MOST_CUTS`).

The file is an xz stream: the length of an index, the index in JSON, and the sides' bytes one after the other.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from .cases import EXPECTED, Case, Role
from .relay import Side, Step
from .wire import Frame, read_frames, split_head, unmasked

__all__ = ["RECORDED", "RECORDING", "Record", "load", "save", "thinned"]

RECORDING: Final = Path(__file__).with_name("recording.xz")

# 7.1.6, where it is the network that decides whether there is an answer to a message before a Close that came with it;
# messages of 4 MiB and more, messages of 1 MiB that the suite sends in other pieces (which the network cuts as it
# likes), and compressed messages of more than 8 KiB.
LEFT_OUT: Final = re.compile(r"7\.1\.6|9\.[12]\.[456]|9\.[34]\.\d|9\.[56]\.[2-6]|1[23]\.\d\.([789]|10|1[2-8])")
RECORDED: Final = [case for case in EXPECTED if LEFT_OUT.fullmatch(case) is None]

MOST_BYTES: Final = 4000  # of the suite's messages in one record,
LEAST_MESSAGES: Final = 3  # but so many in any case,
MOST_MESSAGES: Final = 50  # and so many at most
MOST_CUTS: Final = 32  # in what one side sends at a stretch

SIDES: Final[tuple[Side, ...]] = ("suite", "us")


@dataclass(frozen=True, slots=True)
class Record:
    """One case: one connection, in our *role*."""

    role: Role
    case: Case
    steps: Sequence[Step]

    def sent_by(self, side: Side) -> bytes:
        """Return all that *side* sent."""
        return b"".join(data for sender, data in self.steps if sender == side)

    def __str__(self) -> str:
        return f"{self.role} {self.case}"


def save(records: Iterable[Record], path: Path = RECORDING) -> None:
    """Write the file; everything in it comes from *records*."""
    index, sides = [], []
    for record in records:
        index.append((record.role, record.case, [(SIDES.index(side), len(data)) for side, data in record.steps]))
        sides += [transcribed(record.sent_by(side)) for side in SIDES]
    head = json.dumps(index, separators=(",", ":")).encode()
    path.write_bytes(lzma.compress(b"".join((len(head).to_bytes(4), head, *sides)), preset=9 | lzma.PRESET_EXTREME))


def load(path: Path = RECORDING) -> list[Record]:
    """Read the records, the bytes as they were on the wire."""
    data = memoryview(lzma.decompress(path.read_bytes()))
    at = 4 + int.from_bytes(data[:4])
    records = []
    for role, case, cuts in json.loads(bytes(data[4:at])):
        rest: dict[Side, bytes] = {}
        for number, side in enumerate(SIDES):
            size = sum(length for sender, length in cuts if sender == number)
            rest[side] = transcribed(bytes(data[at : at + size]))
            at += size
        steps = []
        for number, length in cuts:
            side = SIDES[number]
            steps.append(Step(side, rest[side][:length]))
            rest[side] = rest[side][length:]
        records.append(Record(role, case, steps))
    return records


def transcribed(sent: bytes) -> bytes:
    """Unmask, or mask again, what a side sent behind its half of the opening handshake."""
    head, frames = split_head(sent)
    return head + unmasked(frames)


def thinned(record: Record) -> Record:
    """Leave out of a record what the theory above says."""
    kept = {side: messages(record.sent_by(side)) for side in SIDES}
    sizes = [end - start for start, end in kept["suite"]]
    count = LEAST_MESSAGES
    while sum(sizes[: count + 1]) <= MOST_BYTES and count < MOST_MESSAGES:
        count += 1
    steps = list(record.steps)
    if len(sizes) > count:
        if len(kept["us"]) != len(sizes):
            raise ValueError(f"{record}: {len(sizes)} messages and {len(kept['us'])} answers")
        for side in SIDES:
            steps = without(steps, side, kept[side][count][0], kept[side][-1][1])
    return Record(record.role, record.case, joined(steps))


def messages(sent: bytes) -> list[tuple[int, int]]:
    """Return where each message begins and ends, with the control frames in its midst."""
    head, frames = split_head(sent)
    found: list[tuple[int, int]] = []
    first: Frame | None = None
    for frame in read_frames(frames):
        if not frame.is_control:
            first = first or frame
            if frame.fin:
                found.append((len(head) + first.start, len(head) + frame.end))
                first = None
    return found


def without(steps: Iterable[Step], side: Side, start: int, end: int) -> list[Step]:
    """Cut the bytes *start* to *end* out of what *side* sent."""
    at = 0
    result = []
    for step in steps:
        rest = step.data
        if step.side == side:
            rest = rest[: max(0, start - at)] + rest[max(0, end - at) :]
            at += len(step.data)
        if rest or not step.data:
            result.append(Step(step.side, rest))
    return result


def joined(steps: Iterable[Step]) -> list[Step]:
    """Forget cuts: all in what we send at a stretch, all but some in what the suite does."""
    result: list[Step] = []
    for (side, _), run in groupby(steps, lambda step: (step.side, bool(step.data))):
        pieces = [step.data for step in run]
        at_once = len(pieces) if side == "us" else -(-len(pieces) // MOST_CUTS)
        result += [Step(side, b"".join(pieces[i : i + at_once])) for i in range(0, len(pieces), at_once)]
    return result
