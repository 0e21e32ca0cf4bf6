"""Our server under cProfile, while the load client drives it: where the time of one work goes, as text."""

from __future__ import annotations

import io
import pstats
import tempfile
from pathlib import Path

from .processes import make_certificate, measure
from .works import OURS, WORKS

__all__ = ["profile"]

LINES = 40


def profile(name: str, *, seconds: float, text: bool) -> str:
    """Return the functions that the work *name* spends most time in.

    Raises:
        ValueError: the work does not run a server.
        Failed: the server or the load client did not do what they should.
    """
    work = WORKS[name]
    if work.role != "server":
        raise ValueError(f"{name} does not measure a server")
    with tempfile.TemporaryDirectory() as folder:
        certificate, file = make_certificate(Path(folder)), Path(folder) / "profile"
        reply = measure(work, OURS, seconds=seconds, text=text, certificate=certificate, profile=file)
        out = io.StringIO()
        statistics = pstats.Stats(str(file), stream=out)
        statistics.strip_dirs().sort_stats("tottime").print_stats(LINES)
    return f"{name} under cProfile, which slows it down: {reply['value']:,.4g} {work.unit}\n{out.getvalue()}"
