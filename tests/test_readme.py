"""The programs in README.md do what the reader will do with them: run.

A block fenced as `python` is a complete program. It runs as a script of its own, with every warning an error. A block
right below the comment `<!-- not run: the reason -->` is only compiled.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

README: Final = Path(__file__).parent.parent / "README.md"
PROGRAM_TIMEOUT: Final = 20  # seconds

BLOCK: Final = re.compile(
    r"""
    (?: <!--\s* not\ run: \s*(?P<not_run>[^\n]*\S)\s* --> \s* )?
    ^ (?P<indent>[ ]*) ```python \n
    (?P<code> .*? )
    ^ (?P=indent) ``` [ ]* $
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Program:
    """One block of a README.

    Attributes:
        line: the line of the README on which the code begins.
        code: the code, behind as many empty lines as make its line numbers those of the README.
        not_run: why it is only compiled, or `None`.
    """

    line: int
    code: str
    not_run: str | None

    def __str__(self) -> str:
        return f"line {self.line}"


def programs(markdown: str) -> list[Program]:
    """Return the Python blocks of *markdown*, in order."""
    found = []
    for block in BLOCK.finditer(markdown):
        line = markdown.count("\n", 0, block.start("code")) + 1
        found.append(Program(line, "\n" * (line - 1) + dedent(block["code"]), block["not_run"]))
    return found


PROGRAMS: Final = programs(README.read_text(encoding="utf-8"))


def test_programs_are_found_with_line_indent_and_mark() -> None:
    """A block is found wherever it stands; the comment marks the block right below it, and no other."""
    markdown = "```python\na\n```\n<!-- not run: a server -->\n\n- x\n\n"
    markdown += "<!-- not run: needs a net -->\n\n  ```python\n  if b:\n      c\n  ```\n```sh\nd\n```\n"

    assert programs(markdown) == [
        Program(2, "\na\n", None),
        Program(11, "\n" * 10 + "if b:\n    c\n", "needs a net"),
    ]


def test_no_block_is_overlooked() -> None:
    """Every fence in README.md that names Python, however it is spelled, is one of the programs."""
    fences = re.findall(r"^\s*(?:`{3,}|~{3,})\s*\{?\.?py", README.read_text(encoding="utf-8"), re.MULTILINE)

    assert len(PROGRAMS) == len(fences)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_program_compiles(program: Program) -> None:
    """Every block is valid Python."""
    compile(program.code, README.name, "exec")


@pytest.mark.parametrize("program", [program for program in PROGRAMS if program.not_run is None], ids=str)
def test_program_runs(program: Program, tmp_path: Path) -> None:
    """A complete program ends by itself, with status 0 and without a warning."""
    script = tmp_path / "readme.py"
    script.write_text(program.code, encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", script],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PROGRAM_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"{README.name}, {program}: still running after {PROGRAM_TIMEOUT} s; output {error.output!r}")

    assert done.returncode == 0, f"{README.name}, {program}: exit status {done.returncode}\n{done.stdout}"
