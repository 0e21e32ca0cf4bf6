"""The demo: its rows, its table and its command.

The rows are those that `python -m trio_closeevents demo` plays, on real sockets.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from trio_closeevents import CloseEvent, CloseFrame, _policy
from trio_closeevents._demo import command, stage, terminal
from trio_closeevents._demo.blocks import leave
from trio_closeevents._demo.judge import judge
from trio_closeevents._demo.playing import play_row, play_rows
from trio_closeevents._demo.row import Outcome, Row
from trio_closeevents._demo.rows import ROWS, SECTIONS
from trio_closeevents._demo.steps import drain
from trio_closeevents._demo.table import make_table
from trio_closeevents._demo.verdict import Verdict

CONTRACT: Final = Path(__file__).parent.parent / "docs" / "closing.rst"
MAX_SECONDS: Final = 15  # for the whole demo

BY_NAME: Final = {row.name: row for row in ROWS}
A_ROW: Final = BY_NAME["end-error-client"]
SOME: Final = [
    A_ROW,
    BY_NAME["peer-first-both"],
    BY_NAME["never-wanted-server"],
    BY_NAME["server-handler-error-server"],
]


# -- the rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row(row: Row) -> None:
    """What comes of the row is what the contract has."""
    verdict = await play_row(row)
    assert verdict.as_expected, "\n".join(map(str, verdict.mismatches))


def test_rows_are_all_of_the_contract() -> None:
    """Every id of sections 2 to 5 and 7 has a row."""
    ids = re.findall(r"_`((?:end|peer|fail|transport|never|server)-[a-z0-9-]+)`", CONTRACT.read_text(encoding="utf-8"))
    assert set(ids) == {row.id for row in ROWS}


def test_rows_have_names_of_their_own_and_are_in_order() -> None:
    """The JSON and the tests tell rows apart by name; the table goes through the sections one by one."""
    assert len(BY_NAME) == len(ROWS)
    assert list(dict.fromkeys(row.section for row in ROWS)) == list(SECTIONS)


def test_rows_that_wait_for_no_limit_would_show_if_they_did() -> None:
    """The limits of an ordinary row are longer than the time it may take."""
    ordinary = [row for row in ROWS if not row.expected.at_least]
    assert all(row.expected.at_most < min(stage.LIMITS.values()) for row in ordinary)


# -- rows that are wrong ---------------------------------------------------------------------------------------------


async def test_play_row_with_a_wrong_expectation_fails() -> None:
    """What a row expects is compared with what really came."""
    verdict = await play_row(replace(A_ROW, expected=replace(A_ROW.expected, travelled=("→ Close 1000",))))
    assert [each.what for each in verdict.mismatches] == ["travelled"]


async def test_play_row_that_cannot_be_played_fails() -> None:
    """A play that raises is a row that is wrong, and the others go on."""

    async def play() -> Sequence[Outcome]:
        raise ExceptionGroup("no luck", [OSError("no sockets left")])

    verdicts = await play_rows([replace(A_ROW, play=play, case="broken"), A_ROW])
    assert [verdict.as_expected for verdict in verdicts] == [False, True]
    assert "no sockets left" in str(verdicts[0].mismatches[0])


async def test_play_row_judges_every_outcome() -> None:
    """A row of several connections is wrong if one is, and tells which."""
    (good,) = await A_ROW.play()
    bad = replace(good, travelled=())

    async def play() -> Sequence[Outcome]:
        return [good, bad, good]

    verdict = await play_row(replace(A_ROW, play=play))
    assert verdict.outcome is bad
    assert not verdict.as_expected


async def test_play_row_that_hangs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A play is over after its timeout, whatever hangs."""
    monkeypatch.setattr(stage, "PLAY_TIMEOUT", 0.05)
    play = partial(stage.play_client, leave, drain, close_timeout=5)
    verdict = await play_row(replace(A_ROW, play=play))
    assert "TooSlowError" in str(verdict.mismatches[0])


async def test_play_row_lets_an_interrupt_through() -> None:
    """Ctrl-C is no mismatch."""

    async def play() -> Sequence[Outcome]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await play_row(replace(A_ROW, play=play))


def test_demo_of_a_sabotaged_library_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A library that sends another code than the contract has: the row is wrong, and so is the exit status."""
    assert command.play(SOME) == 0
    assert "✗" not in capsys.readouterr().out
    monkeypatch.setitem(_policy.DEFAULTS, Exception, CloseFrame(1001))
    monkeypatch.setenv("COLUMNS", "160")
    assert command.play([A_ROW]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert sum(line.endswith("✗") for line in lines) == 1
    assert any(line.startswith("code: expected 1011, got 1001") for line in lines)
    assert any(line.endswith("→ Close 1011  ← Close 1011  ← FIN  → FIN") for line in lines)
    assert lines[-1].endswith("1 not as the contract has them: end-error-client")


# -- the table -------------------------------------------------------------------------------------------------------


def render(verdicts: Sequence[Verdict], width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(make_table(verdicts, width))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [80, 100, 160])
async def test_table_fits_its_width(width: int) -> None:
    """Nothing is torn off on the right, and no column is lost."""
    verdicts = [await play_row(row) for row in SOME]
    lines = render(verdicts, width)
    assert max(map(len, lines)) <= width
    assert sum(line.endswith("✓") for line in lines) == len(SOME)
    for row in SOME:
        assert any(line.startswith(f"{row.id} ") for line in lines)
        assert any(line.startswith(f"§ {row.section}  ") for line in lines)


async def test_table_shows_both_events_and_what_travelled() -> None:
    """The other side's event stands below ours; frames are not torn."""
    text = "\n".join(render([await play_row(BY_NAME["peer-first-both"])], 160))
    assert "1000 normal closure, the peer closed first" in text
    assert "server: 1000 normal closure, after we sent" in text
    assert "← Close 1000  → Close 1000" in text


async def test_table_says_what_is_the_same_once() -> None:
    """An id, and what was done, are not repeated below themselves."""
    pair = [await play_row(BY_NAME[name]) for name in ("end-abort-client", "end-abort-server")]
    text = "\n".join(render(pair, 140))
    assert text.count("end-abort") == text.count("abort() inside") == 1
    assert text.count("✓") == 2


def test_table_of_a_row_that_could_not_be_played() -> None:
    """Where nothing came of a row, the table says so."""
    verdict = Verdict(A_ROW, Outcome(), tuple(judge(A_ROW.expected, Outcome())))
    text = " ".join("\n".join(render([verdict], 160)).split())
    assert "no connection, no event" in text
    assert " nothing " in text


# -- the command -----------------------------------------------------------------------------------------------------


def test_demo_prints_its_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no terminal, the table has a width of its own, and nothing of the progress is printed."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert command.play(SOME) == 0
    shown = capsys.readouterr()
    assert not shown.err
    lines = shown.out.splitlines()
    assert max(map(len, lines)) == terminal.PIPE_WIDTH
    assert lines[-1].startswith(f"✓ {len(SOME)} rows in ")


def test_demo_respects_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS says how wide the table may be; less than it needs makes it no narrower."""
    for columns, width in (("110", 110), ("20", terminal.LEAST_WIDTH)):
        monkeypatch.setenv("COLUMNS", columns)
        assert command.play(SOME) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) == width


def test_demo_on_a_terminal_shows_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress goes to stderr; colours only to a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert command.play(SOME) == 0
    shown = capsys.readouterr()
    assert "playing the closing contract" in shown.err
    assert f"{len(SOME)}/{len(SOME)}" in shown.err
    assert "\x1b[32m✓" in shown.out


def test_demo_on_a_stream_that_has_no_encoding() -> None:
    """Whatever stands in for stdout is good enough."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert command.play(SOME) == 0
    assert "✓" in out.getvalue()


def test_demo_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints one JSON object and nothing else; the events can be made out of it again."""
    assert command.play(SOME, as_json=True) == 0
    shown = capsys.readouterr()
    assert not shown.err
    result = json.loads(shown.out)
    assert result["as_expected"] is True
    first, both, unwanted, _ = result["rows"]
    assert [row["name"] for row in result["rows"]] == [row.name for row in SOME]
    assert (first["id"], first["section"], first["role"], first["done"]) == ("end-error", 2, "client", A_ROW.done)
    assert CloseEvent.from_dict(first["event"]).code == 1011
    assert first["travelled"] == list(A_ROW.expected.travelled)
    assert 0 <= first["seconds"] <= A_ROW.expected.at_most
    assert first["mismatches"] == []
    assert CloseEvent.from_dict(both["other"]).initiated_by == "local"
    assert unwanted["event"] is None


def test_demo_in_json_of_a_wrong_row(capsys: pytest.CaptureFixture[str]) -> None:
    """What was expected, and what is wrong, is there too; the exit status is 1."""
    wrong = replace(A_ROW, expected=replace(A_ROW.expected, travelled=()))
    assert command.play([wrong], as_json=True) == 1
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["as_expected"] is False
    assert row["expected"]["travelled"] == []
    assert row["mismatches"] == [f"travelled: expected nothing, got {', '.join(A_ROW.expected.travelled)}"]


def test_demo_of_no_rows_has_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing played is nothing proved."""
    assert command.play([]) == 1
    assert command.play([], as_json=True) == 1
    assert capsys.readouterr().out


def test_demo_that_is_interrupted_has_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is not answered with a traceback."""

    async def play() -> Sequence[Outcome]:
        raise KeyboardInterrupt

    for as_json in (False, True):
        assert command.play([replace(A_ROW, play=play)], as_json=as_json) == 130
        assert capsys.readouterr() == ("", "interrupted\n")


def test_whole_demo_in_a_process_of_its_own() -> None:
    """Every row is as the contract has it, in time, and nothing is written to stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "trio_closeevents", "demo", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    result = json.loads(done.stdout)
    assert [row["name"] for row in result["rows"] if not row["as_expected"]] == []
    assert len(result["rows"]) == len(ROWS)
    assert done.returncode == 0
    assert done.stderr == ""
    assert result["seconds"] < MAX_SECONDS


def test_import_of_the_library_leaves_the_demo_alone() -> None:
    """Neither rich nor the demo is imported by a program that uses the library."""
    program = "import sys, trio_closeevents; print([name for name in sys.modules if 'rich' in name or '_demo' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
