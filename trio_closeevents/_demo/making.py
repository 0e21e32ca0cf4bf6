"""`make_rows`: the same promise, once for every role in which it makes sense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypedDict

from .act import Block, Script
from .blocks import read_to_the_end
from .row import Expected, Play, Role, Row
from .stage import play_both, play_client, play_server

__all__ = ["Bounds", "came_out", "ends", "make_rows", "takes"]

TOLERANCE: Final = 1.2  # seconds that an ending may take beyond its limit, on a busy machine


class CameOut(TypedDict):
    """Where an exception is seen, as fields of `Expected`."""

    raised: str
    left_by: str | None


class Bounds(TypedDict):
    """How long an ending takes, as fields of `Expected`."""

    at_least: float
    at_most: float


def make_rows(
    section: int,
    id: str,
    done: str,
    block: Block,
    script: Script,
    expected: Callable[[Role], Expected],
    *,
    roles: Sequence[Role] = ("client", "server"),
    case: str = "",
    handler: Block = read_to_the_end,
    **options: Any,
) -> list[Row]:
    """Return a row for each of *roles*.

    Args:
        script: what the raw peer does, for the roles `"client"` and `"server"`.
        expected: what has to come of it, by role.
        handler: what the server's handler does, for the role `"both"`.
        **options: of the library.
    """
    plays: dict[Role, Play] = {
        "client": partial(play_client, block, script, **options),
        "server": partial(play_server, (block, script), **options),
        "both": partial(play_both, block, handler, **options),
    }
    return [Row(id, section, role, done, plays[role], expected(role), case) for role in roles]


def ends(role: Role) -> tuple[str, str]:
    """Return who ends the transport first, when both Close frames are done: the server (RFC 6455 §7.1.1)."""
    return ("→ FIN", "← FIN") if role == "server" else ("← FIN", "→ FIN")


def came_out(role: Role, kind: str) -> CameOut:
    """Expect an exception that comes out of a block; one that leaves a handler does not come out of the server."""
    return {"raised": "", "left_by": kind} if role == "server" else {"raised": kind, "left_by": None}


def takes(limit: float) -> Bounds:
    """Expect an ending that takes its whole *limit*, and not more; clocks may round it down."""
    return {"at_least": limit - 0.01, "at_most": limit + TOLERANCE}
