"""docs/codes.rst says of each close code what the library does, and docs/closing.rst draws its table."""

from __future__ import annotations

import re
import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Final

import pytest

from trio_closeevents import CloseCause, CloseCode, ReconnectPolicy, describe, is_sendable
from trio_closeevents._protocol.closing import TRANSITIONS, State

DOCS: Final = Path(__file__).parent.parent / "docs"
PAGE: Final = (DOCS / "codes.rst").read_text(encoding="utf-8")
TABLES: Final[dict[str, Any]] = runpy.run_path(str(DOCS / "close_codes.py"))
STATES: Final[dict[str, Any]] = runpy.run_path(str(DOCS / "diagrams" / "states.py"))
CLOSING: Final = (DOCS / "closing.rst").read_text(encoding="utf-8")


def rows(table: str) -> list[list[str]]:
    """Return the cells of a list table, row by row."""
    return [re.split(r"\n +- ", row) for row in re.split(r"\n +\* - ", table)[2:]]


# -- the tables and the page -------------------------------------------------------------------------------------------


def test_table_has_every_registered_code_as_the_library_has_it() -> None:
    """In order, with its name, what is raised and whether it is retried."""
    found = rows(TABLES["registered"]())
    assert [int(re.findall(r"\d+", row[0])[0]) for row in found] == list(CloseCode)
    for code, (_, name, senders, raised, retried, sent, shown) in zip(CloseCode, found, strict=True):
        assert name == describe(code)
        assert is_sendable(code) == (senders != "nobody")
        ends_iteration = code in (1000, 1001, 1005)
        error = "RemoteClosed" if ends_iteration else "HandshakeError" if code == 1015 else "ConnectionBroken"
        assert error in raised
        assert (sent == "`close(code)`") == (code == 1000 or code >= 3000)
        assert int(shown) == (1006 if code == 1015 else code)
        assert retried == ("by cause" if code in (1006, 1015) else "yes" if code in ReconnectPolicy().codes else "no")


def test_table_of_ranges_has_no_gap() -> None:
    """And tells what `aclose` takes."""
    found = rows(TABLES["ranges"]())
    ends = [tuple(map(int, row[0].split("–"))) for row in found]
    assert [first for first, _ in ends] == [0, *(last + 1 for _, last in ends[:-1])]
    assert [row[2].startswith("yes") for row in found] == [is_sendable(last) for _, last in ends]


@pytest.mark.parametrize("code", CloseCode)
def test_every_code_is_explained(code: CloseCode) -> None:
    """By a paragraph of its own, which begins with its number and its name."""
    assert f".. _code-{code.value}:\n\n**{code.value}, {describe(code)}.**" in PAGE


def test_every_cause_of_1006_is_explained() -> None:
    """All but `remote`, where the code is the peer's, and `tls`, which is 1015."""
    section = PAGE[PAGE.index(".. _why-1006:") : PAGE.index(".. _in-browsers:")]
    causes = {cause for row in rows(section) for cause in re.findall(r"`(\w+)`", row[0])}
    assert causes == set(CloseCause) - {CloseCause.REMOTE, CloseCause.TLS}


def test_causes_that_are_retried_are_those_of_the_policy() -> None:
    """The page names them."""
    (sentence,) = re.findall(r"for the causes\s+that another attempt may mend: (.*?)\.", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) == set(ReconnectPolicy().causes)


def test_1006_is_found_from_the_first_page() -> None:
    """A link leads there."""
    assert "Why do I see 1006? <why-1006>" in (DOCS / "index.rst").read_text(encoding="utf-8")


def test_rows_that_the_page_names_exist() -> None:
    """Every id is one of docs/closing.rst."""
    named = set(re.findall(r"<((?:end|peer|fail|transport|server|never)-[\w-]+)>", PAGE))
    assert named <= set(re.findall(r"_`([\w-]+)`", CLOSING))
    assert len(named) > 15


# -- the state diagram -------------------------------------------------------------------------------------------------


def test_state_diagram_is_that_of_the_table() -> None:
    """The file is what `python docs/diagrams/states.py` makes of the table as it is."""
    assert (DOCS / "diagrams" / "states.svg").read_text(encoding="utf-8") == STATES["draw"]()
    assert ".. diagram:: states" in CLOSING


def test_state_diagram_has_each_entry_of_the_table() -> None:
    """In its description, for those who cannot see it; and each state in a box."""
    image = ElementTree.fromstring(STATES["draw"]())
    texts = [element.text or "" for element in image.iter("{http://www.w3.org/2000/svg}text")]
    (description,) = image.iter("{http://www.w3.org/2000/svg}desc")
    assert [state.name for state in State if texts.count(state.name) != 1] == []
    assert len((description.text or "").splitlines()) == sum(map(len, TRANSITIONS.values()))


def test_state_diagram_refuses_a_table_that_it_has_no_place_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An arrow that is new, or gone, has to be drawn by somebody."""
    monkeypatch.delitem(STATES["draw"].__globals__["WAYS"], (State.OPEN, State.CLOSED))
    with pytest.raises(ValueError, match=r"\('OPEN', 'CLOSED'\)"):
        STATES["draw"]()
