"""The tables of the migration guides, as their tests read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["DOCS", "last_number", "literals", "table"]

DOCS: Final = Path(__file__).parent.parent.parent / "docs"
LITERAL: Final = re.compile(r"``(.+?)``")


def table(page: str, name: str) -> list[list[str]]:
    """Return the cells of the list table *name* of *page*, row by row, without its header."""
    text = (DOCS / f"{page}.rst").read_text(encoding="utf-8")
    head, found, rest = text.partition(f"    :name: {name}\n")
    assert found, f"{page} has no table {name}"
    assert head.rpartition("\n\n")[2].startswith(".. list-table::")
    match = re.match(r"(?:    :.*\n)*\n((?:    .*\n|\n)+)", rest)
    assert match is not None
    _, _, *rows = re.split(r"(?m)^    \* - ", match[1])
    return [[" ".join(cell.split()) for cell in re.split(r"(?m)^      - ", row)] for row in rows]


def literals(cell: str) -> list[str]:
    """Return what stands between double backticks."""
    return LITERAL.findall(cell)


def last_number(cell: str) -> int:
    """Return the close code that *cell* names last."""
    return int(re.findall(r"\b\d{4}\b", cell)[-1])
