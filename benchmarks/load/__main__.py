"""Measure once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Final

from .. import wire
from .broadcast import broadcast
from .idle import memory, shutdown
from .job import Job, Reply
from .opening import opening
from .pingpong import crowd, pingpong
from .pipelined import pipelined

KINDS: Final[Mapping[str, Callable[[Job], Reply]]] = {
    "broadcast": broadcast,
    "crowd": crowd,
    "memory": memory,
    "opening": opening,
    "pingpong": pingpong,
    "pipelined": pipelined,
    "shutdown": shutdown,
}

if __name__ == "__main__":
    wire.allow_many_files()
    job = Job.loads(sys.argv[1])
    print(json.dumps(KINDS[job.kind](job)))
