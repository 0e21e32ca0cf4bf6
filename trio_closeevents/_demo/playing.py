"""`play_rows`: plays rows, and has them judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from .judge import Mismatch, judge
from .row import Outcome, Row
from .verdict import Verdict

__all__ = ["play_row", "play_rows"]

AT_A_TIME: Final = 8  # rows; more would only wait for each other's processor


async def play_row(row: Row) -> Verdict:
    """Play *row* and judge what came of it. A play that fails is a row that is wrong."""
    try:
        outcomes = await row.play()
    except Exception as error:
        return Verdict(row, Outcome(), (Mismatch("play", "an outcome", f"{error!r}"),))
    verdicts = [Verdict(row, outcome, tuple(judge(row.expected, outcome))) for outcome in outcomes]
    return next((verdict for verdict in verdicts if not verdict.as_expected), verdicts[0])


async def play_rows(rows: Sequence[Row], on_played: Callable[[], object] = lambda: None) -> list[Verdict]:
    """Play *rows*, several at a time, and return what the judge says, in their order.

    Args:
        on_played: called whenever a row has been played.
    """
    limiter = trio.CapacityLimiter(AT_A_TIME)
    verdicts: dict[str, Verdict] = {}

    async def play(row: Row) -> None:
        async with limiter:
            verdicts[row.name] = await play_row(row)
            on_played()

    async with trio.open_nursery() as nursery:
        for row in rows:
            nursery.start_soon(play, row)
    return [verdicts[row.name] for row in rows]
