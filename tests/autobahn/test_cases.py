"""What is run, and how verdicts are held to what is expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from .cases import EXPECTED, Verdict, differences, read_index, selected, summary
from .echo import AGENT

OK: Final = Verdict("OK", "OK")
FAILED: Final = Verdict("FAILED", "UNCLEAN")


def write_index(folder: Path, verdicts: dict[str, Verdict]) -> None:
    """Write what the suite writes."""
    rows = {
        case: {"behavior": behavior, "behaviorClose": closing, "duration": 1, "reportfile": f"case_{case}.json"}
        for case, (behavior, closing) in verdicts.items()
    }
    folder.joinpath("index.json").write_text(json.dumps({AGENT: rows}))


def test_expected_is_ok_or_informational_in_all_517_cases() -> None:
    """The bar: no NON-STRICT, no UNIMPLEMENTED, and every closing as it should be."""
    assert len(EXPECTED) == 517
    assert [case for case, verdict in EXPECTED.items() if verdict != OK] == ["7.1.6", "7.13.1", "7.13.2"]
    assert {verdict for verdict in EXPECTED.values() if verdict != OK} == {Verdict("INFORMATIONAL", "INFORMATIONAL")}


def test_selected_leaves_out_only_sizes_of_compressed_messages() -> None:
    """Every subsection is run; of 12 and 13 the first size alone, unless all are asked for."""
    assert selected(full=True) == list(EXPECTED)
    assert [case for case in selected(full=False) if case.startswith(("12", "13"))] == [
        *(f"12.{number}.1" for number in range(1, 6)),
        *(f"13.{number}.1" for number in range(1, 8)),
    ]
    assert {case.split(".")[0] for case in selected(full=False)} == {*"1234567", "9", "10", "12", "13"}


def test_differences_tell_case_role_both_verdicts_and_the_report(tmp_path: Path) -> None:
    """A case that went as expected is not mentioned."""
    write_index(tmp_path, {"1.1.1": OK, "1.1.2": FAILED})

    found = differences("client", {"1.1.1": OK, "1.1.2": OK}, read_index(tmp_path))

    report = tmp_path / "case_1.1.2.html"
    assert found == [f"client 1.1.2: expected OK, closing OK, got FAILED, closing UNCLEAN; see {report}"]


def test_differences_mention_a_case_that_is_missing_and_one_that_is_new(tmp_path: Path) -> None:
    """A report that is not there is as bad as one that says FAILED."""
    write_index(tmp_path, {"1.1.3": OK})

    found = differences("server", {"1.1.1": OK}, read_index(tmp_path))

    assert found == [
        "server 1.1.1: expected OK, closing OK, got no report",
        f"server 1.1.3: expected no such case, got OK, closing OK; see {tmp_path / 'case_1.1.3.html'}",
    ]


def test_read_index_without_a_file_has_no_report(tmp_path: Path) -> None:
    """As when the suite ended before its end."""
    index = read_index(tmp_path)

    assert differences("server", {"1.1.1": OK}, index) == ["server 1.1.1: expected OK, closing OK, got no report"]
    assert summary("server", index) == "server: 0 cases: none; closing: none"


def test_summary_counts_verdicts(tmp_path: Path) -> None:
    """One line for each role."""
    write_index(tmp_path, {"1.1.1": OK, "1.1.2": FAILED, "1.1.3": OK})

    assert summary("client", read_index(tmp_path)) == ("client: 3 cases: 2 OK, 1 FAILED; closing: 2 OK, 1 UNCLEAN")
