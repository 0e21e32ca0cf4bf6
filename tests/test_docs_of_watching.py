"""The programs in docs/watching.rst are programs: they run, each as a script of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

PAGE: Final = Path(__file__).parent.parent / "docs" / "watching.rst"
BLOCK: Final = re.compile(r"^\.\. code-block:: python\n(?:    :caption: (\S+)\n)?\n((?:    .*\n|\n)+)", re.MULTILINE)
BLOCKS: Final = [(name, dedent(code)) for name, code in BLOCK.findall(PAGE.read_text(encoding="utf-8"))]
PROGRAMS: Final = {name: code for name, code in BLOCKS if name}
OUTPUT: Final = {"telemetry.py": "thanks for tea\n"}


def test_no_block_is_overlooked() -> None:
    """Every block is found; those without a caption are parts of programs, and compile as such."""
    assert len(BLOCKS) == PAGE.read_text(encoding="utf-8").count("code-block:: python")
    for _, code in BLOCKS:
        compile(f"async def part():\n{re.sub('(?m)^', '    ', code)}", PAGE.name, "exec")


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_of_the_page_runs(name: str, tmp_path: Path) -> None:
    """It ends by itself, without a warning, and prints what it says."""
    script = tmp_path / f"program_{name}"
    script.write_text(PROGRAMS[name], encoding="utf-8")
    command = [sys.executable, "-W", "error", str(script)]
    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=20, check=False, env=env)
    assert done.returncode == 0, done.stderr
    if name in OUTPUT:
        assert done.stdout == OUTPUT[name]
    else:
        assert "Text 5 B 'hello'" in done.stdout
        assert "we closed first: the block returned" in done.stdout
