"""Every example in the documentation runs: in `docs/`, in README.md, and in the docstrings of the package.

A block of Python (`.. code-block:: python`, a `literalinclude` of a .py file, a fence in Markdown) is a complete
program, if nothing is said. It runs as a script of its own with every warning an error, and has to end by itself with
status 0. What else it may be is said by marks: comments right above the block, in its column, which readers do not see.

    .. runs in: NAME            It is a fragment, in which `await` may stand anywhere. `surroundings/PAGE.py`, or
                                `common.py` there, has an async function NAME that makes what the fragment needs,
                                runs it and judges it. Trio and the library's public names are always there.
    .. runs beside: server.py   It is a program, and needs another one of the page, by its caption, that runs meanwhile;
                                several by commas. `trio-closeevents serve` with options may be one.
    .. runs until: Ctrl-C       It is a program that does not end by itself. Ctrl-C ends it, with status 0 or by
                                KeyboardInterrupt, or SIGTERM, with status 0. One that others run beside, or import,
                                needs no mark.
    .. run by: test_file.py     Another test runs it, and names it.
    .. not run: the reason      Nothing runs it. It has to compile.

A block with a caption `test_*.py` is a file of tests, for pytest; all of a page are run together. A fence in a
docstring is a fragment; `surroundings/docstrings.py` has a function of the object's name. In Markdown, a mark is a
comment as `<!-- not run: the reason -->`, right above the fence. What stands in `console` blocks are commands behind
`$ `, with what they print; they run too, may run beside something, or are not run for a reason.

What a program prints stands in a block marked `.. printed`, if it is about the block of Python before it, or
`.. printed by: server.py`; of a server with several clients, below each of them. Ports, times and the ids of
connections may be any; `…` stands for anything, and for any lines where it is alone on one.

Programs listen on ports 8000 and 8001, `trio-closeevents serve` on 8765 (its mark has `--port 8765`); what is run is
given free ones in their place.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from documents import Block, blocks_of, literal_blocks, pages, python_sources
from launcher import Launcher
from plays import Play, examples, find, is_tests, outputs_of, run_example, run_fragment, servers
from surroundings import compiled

PYTEST_INI: Final = "[pytest]\ntrio_mode = true\nfilterwarnings = error\n"
PAGES: Final = pages()
EXAMPLES: Final = [block for page in PAGES for block in examples(page)]
DOCSTRINGS: Final = [block for source in python_sources() for block in examples(source)]
CONSOLES: Final = [block for page in PAGES for block in blocks_of(page) if block.language == "console"]
TEST_PAGES: Final = [page for page in PAGES if any(map(is_tests, examples(page)))]

pytestmark = pytest.mark.once  # Python's own changes are for the tests of the library


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as launcher:
        yield launcher


# -- the examples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_example_runs(block: Block, tmp_path: Path, launcher: Launcher) -> None:
    """Or says why not; in the way that its marks say."""
    run_example(block, tmp_path, launcher)


@pytest.mark.parametrize("block", DOCSTRINGS, ids=str)
def test_example_of_docstring_runs(block: Block) -> None:
    """In the surrounding that has the name of what the docstring is about."""
    run_fragment(block, "docstrings", block.owner)


@pytest.mark.parametrize("page", TEST_PAGES, ids=lambda page: page.stem)
def test_tests_of_page_pass(page: Path, tmp_path: Path) -> None:
    """Each block is a file of tests that a reader can copy, and that passes without a warning."""
    files = [block for block in examples(page) if is_tests(block)]
    (tmp_path / "pytest.ini").write_text(PYTEST_INI)
    for block in files:
        (tmp_path / block.caption).write_text(block.padded, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"\b{sum(len(re.findall('def test_', block.code)) for block in files)} passed", done.stdout)


@pytest.mark.parametrize("block", CONSOLES, ids=str)
def test_commands_print_what_the_page_says(block: Block, tmp_path: Path, launcher: Launcher) -> None:
    """Or the page says why they are not run."""
    if "not run" in block.marks:
        assert block.marks["not run"], f"{block.where}: why not?"
    else:
        Play(tmp_path, launcher).run_console(block)


# -- nothing is overlooked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_example_is_overlooked(page: Path) -> None:
    """Whatever a page highlights as Python, or a reader would take for that, is one of the examples."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^\s*>>> |\.\. (?:code|sourcecode|highlight|testcode|doctest)::", text, re.MULTILINE)
    if page.suffix == ".md":
        assert len(re.findall(r"^\s*(?:`{3,}|~{3,})\s*\{?\.?py", text, re.MULTILINE)) == len(examples(page))
        return
    directives = re.findall(r"\.\. code-block:: *py|\.\. literalinclude:: \S+\.py\b", text)
    assert len(directives) == len(examples(page))
    for line, code in literal_blocks(text):
        with pytest.raises(SyntaxError):  # otherwise it says what it is
            compiled(Block(page, line, "python", code, {}))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_marked_as_printed_has_a_program(page: Path) -> None:
    """Which is run by this file, so that somebody compares; and commands are where they are run."""
    printing = [block for block in examples(page) if not {"not run", "run by", "runs in"} & set(block.marks)]
    for block in blocks_of(page):
        if {"printed", "printed by"} & set(block.marks):
            pairs = [(program, program) for program in printing]
            pairs += [
                (find(page, name), program) for program in printing for name in servers(program) if " " not in name
            ]
            assert any(block in outputs_of(program, other) for program, other in pairs), block.where
        if block.language in {"text", "none", "shell", "sh"} and not block.included:
            assert not re.search(r"^\$ ", block.code, re.MULTILINE), f"{block.where}: this is a console"
