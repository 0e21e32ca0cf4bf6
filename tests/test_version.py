"""The version stands in one file, and everything else that tells it has it from there."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from typing import Final

from tools.version import version_of
from trio_closeevents import __version__
from trio_closeevents._version import USER_AGENT

ROOT: Final = Path(__file__).parent.parent


def test_version_of_the_metadata_is_that_of_the_package() -> None:
    """pip, the User-Agent of a client and the attribute say the same. (After a change of it, install anew.)"""
    assert metadata("trio-closeevents")["Version"] == __version__
    assert f"trio-closeevents/{__version__}" == USER_AGENT
    if (ROOT / "trio_closeevents").exists():
        assert version_of(ROOT) == __version__


def test_no_other_file_says_the_version() -> None:
    """pyproject.toml and the documentation have it from the package; the pages do not repeat it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "trio_closeevents._version.__version__"}
    conf = (ROOT / "docs" / "conf.py").read_text("utf-8")
    assert re.search(r"^release = version = __version__$", conf, re.MULTILINE)
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.rst")]
    said = re.compile(rf"trio-closeevents[ /=]*{re.escape(__version__)}")
    assert [page.name for page in pages if page.name != "changelog.rst" and said.search(page.read_text("utf-8"))] == []
