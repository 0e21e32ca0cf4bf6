"""The program in docs/adapter.rst runs, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent
from typing import Final

PAGE: Final = Path(__file__).parent.parent / "docs" / "adapter.rst"
BLOCK: Final = re.compile(r"^\.\. code-block:: python\n(?:    :caption: (\S+)\n)?\n((?:    .*\n|\n)+)", re.MULTILINE)
OUTPUT: Final = "hello world\n1001 going away: cancelled\n"


def test_program_of_the_page_runs(tmp_path: Path) -> None:
    """It ends by itself, without a warning; the part without a caption compiles."""
    text = PAGE.read_text(encoding="utf-8")
    programs = {name: dedent(code) for name, code in BLOCK.findall(text)}
    assert list(programs) == ["both.py", ""]
    assert len(programs) == text.count("code-block:: python")
    compile(f"async def part():\n{indent(programs[''], '    ')}", PAGE.name, "exec")
    script = tmp_path / "both.py"
    script.write_text(programs["both.py"], encoding="utf-8")

    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout == OUTPUT
    assert all(f"`{line}`" in text or f"    {line}\n" in text for line in OUTPUT.splitlines())
