"""docs/why.rst compares endings: its table is what `python -m benchmarks.endings` writes, and our column holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.endings.__main__ import measure
from benchmarks.endings.libraries import LIBRARIES
from benchmarks.endings.program import SCENES

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = (ROOT / "docs" / "why.rst").read_text(encoding="utf-8")
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
OURS: Final = "trio-closeevents"

# The README's rows, by what is played.
IN_README: Final = {
    "the block is cancelled": "deadline",
    "the server is cancelled": "server-cancelled",
    "an exception leaves the block": "error",
    "a cancelled `send` of a large message": "send",
    "a malformed frame is received": "malformed",
    "leaving the block with unread messages": "unread",
}


def read_table() -> dict[tuple[str, str], dict[str, str]]:
    """Return the cells by role and title, and by library."""
    text = (ROOT / "docs" / "plots" / "endings.rst").read_text(encoding="utf-8")
    found: dict[tuple[str, str], dict[str, str]] = {}
    for role, table in re.findall(r"The program is a (\w+)\n(.*?)\n\n(?=\S)", text, re.DOTALL):
        head, *rows = [re.split(r"\n +- ", f"{row} ") for row in re.split(r"\n +\* -", table)[1:]]
        for row in rows:
            names, cells = ([cell.strip() for cell in cells[1:]] for cells in (head, row))
            found[role, row[0].strip()] = dict(zip([name.strip("`") for name in names], cells, strict=True))
    return found


TABLE: Final = read_table()


def test_table_of_endings_has_a_row_for_every_scene() -> None:
    """In the order in which they are played, for clients and for servers; and it is on the page."""
    assert list(TABLE) == [(scene.role, scene.title) for scene in SCENES.values()]
    for (role, _), cells in TABLE.items():
        assert list(cells) == [name for name, library in LIBRARIES.items() if role == "client" or library.serves]
    assert ".. include:: plots/endings.rst" in PAGE


@pytest.mark.once
async def test_endings_are_what_our_column_says() -> None:
    """All are played again, each in a process of its own, with a scripted peer on a real socket."""
    results = await measure(list(SCENES.values()), [LIBRARIES[OURS]])
    played = {(scene.role, scene.title): scene.cell(results[scene.name][OURS]) for scene in SCENES.values()}
    assert without_seconds(played) == without_seconds({row: cells[OURS] for row, cells in TABLE.items()})


def without_seconds(cells: Mapping[Any, str]) -> dict[Any, str]:
    return {row: re.sub(r"\d+\.\d(?=\N{NO-BREAK SPACE}s)", "…", cell) for row, cell in cells.items()}


def test_readme_s_table_agrees_with_it() -> None:
    """Each cell says the same of the Close frame, of a hang, and of what is torn."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.split("\n") if line[:2] == "| "]
    head = next(row for row in rows if "`websockets.trio` 17.4" in row)
    shown = {row[0]: row[1:] for row in rows if row[0] in IN_README}
    assert list(shown) == list(IN_README)
    libraries = [cell.split("` ")[0].strip("`") for cell in head[1:]]
    for title, cells in shown.items():
        scene = SCENES[IN_README[title]]
        for library, cell in zip(libraries, cells, strict=True):
            measured = TABLE[scene.role, scene.title][library]
            assert said(cell) & {"hang"} == said(measured) & {"hang"}, (title, library)
            if "unread" not in title:  # where the README is about time alone
                assert said(cell) == said(measured), (title, library)


def said(cell: str) -> set[str]:
    return set(re.findall(r"no Close|Close \d+|hang|inside|then", cell)) - ({"hang"} if "no Close" in cell else set())


def test_corrections_of_wsproto_are_all_on_the_page() -> None:
    """Each test that watches wsproto for one has its row."""
    folder = ROOT / "tests" / "protocol"
    named = {
        f"{file.stem}::{name}"
        for file in folder.glob("test_*.py")
        for name in re.findall(r"^def (test_wsproto_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named == set(re.findall(r":test:`protocol/(test_\w+::test_wsproto_\w+)`", PAGE))
