"""One `trio_closeevents` is tested: by this process, and by all that the tests start, in whatever folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import pytest

import trio_closeevents

ROOT: Final = Path(__file__).parent.parent
FOLDERS: Final = (ROOT, ROOT / "tests", ROOT / "examples")  # where tests start programs
PROGRAM: Final = "import trio_closeevents; print(trio_closeevents.__file__)"


def test_package_is_the_installed_one_if_there_is_no_other() -> None:
    """It comes from the tree that the tests are in, or, where that has none, as for the gates, from an installation."""
    found = Path(trio_closeevents.__file__).resolve()
    tree = ROOT / "trio_closeevents"
    installed = Path(sysconfig.get_path("platlib")).resolve() / "trio_closeevents"

    assert found == (tree if tree.exists() else installed) / "__init__.py"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"in {folder.name}")
def test_programs_import_the_same_package(folder: Path) -> None:
    """Python puts the working directory of `-c` and `-m`, and the folder of a script, before all else."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, capture_output=True, text=True, timeout=20)

    assert done.stderr == ""
    assert Path(done.stdout.strip()).samefile(trio_closeevents.__file__)
