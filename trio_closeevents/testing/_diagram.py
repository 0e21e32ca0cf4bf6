"""Sequence diagrams: what travelled between two sides, drawn as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["Arrow", "Note", "Row", "draw"]

LEAST_WIDTH: Final = 24  # characters between the two lines of life
MOST_WIDTH: Final = 60  # a longer label is cut


@dataclass(frozen=True, slots=True)
class Arrow:
    """Something that went from one side to the other: a frame, the end of the transport."""

    what: str
    to_right: bool

    def __str__(self) -> str:
        return f"{'→' if self.to_right else '←'} {self.what}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened on one side."""

    what: str
    on_right: bool = False


Row: TypeAlias = Arrow | Note


def draw(rows: Iterable[Row], *, left: str = "we", right: str = "the peer") -> str:
    """Draw *rows* in their order, from top to bottom, between two lines of life.

    A `Note` stands beside the line of its side; the label of an arrow that is too long for the diagram is cut.

    Returns:
        Lines of plain text, without a line end at the end.
    """
    rows = list(rows)
    labels = [shortened(row.what) for row in rows if isinstance(row, Arrow)]
    width = max([LEAST_WIDTH, len(left) - len(left) // 2 + len(right) // 2, *(len(label) + 6 for label in labels)])
    margin = max([len(left) // 2, *(len(row.what) + 1 for row in rows if isinstance(row, Note) and not row.on_right)])
    lines = [" " * (margin - len(left) // 2) + left.ljust(width + 1 + len(left) // 2 - len(right) // 2) + right]
    for row in rows:
        if isinstance(row, Arrow):
            line = f"── {shortened(row.what)} ".ljust(width - 1, "─") + ">"
            if not row.to_right:
                line = "<" + f" {shortened(row.what)} ──".rjust(width - 1, "─")
            lines.append(f"{' ' * margin}│{line}│")
        elif row.on_right:
            lines.append(f"{' ' * margin}│{' ' * width}│ {row.what}")
        else:
            lines.append(f"{row.what:>{margin - 1}} │{' ' * width}│")
    return "\n".join(lines)


def shortened(label: str) -> str:
    return label if len(label) <= MOST_WIDTH else label[: MOST_WIDTH - 1] + "…"
