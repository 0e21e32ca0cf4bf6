"""The tests in docs/testing.rst are tests: they are written into files, and pytest runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Final

PAGE: Final = Path(__file__).parent.parent / "docs" / "testing.rst"
BLOCK: Final = re.compile(r"^\.\. code-block:: python\n    :caption: (\S+)\n\n((?:    .*\n|\n)+)", re.MULTILINE)
CONFIG: Final = "[pytest]\ntrio_mode = true\nfilterwarnings = error\n"


def test_tests_of_the_page_pass(tmp_path: Path) -> None:
    """Each block of Python is a file of tests that a reader can copy, and that passes without a warning."""
    page = PAGE.read_text(encoding="utf-8")
    files = BLOCK.findall(page)
    assert len(files) == page.count("code-block:: python")
    (tmp_path / "pytest.ini").write_text(CONFIG)
    for name, code in files:
        (tmp_path / name).write_text(dedent(code))

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(rf"\b{len(re.findall('def test_', page))} passed", ran.stdout)
