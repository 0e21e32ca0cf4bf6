"""The version, as the only place that says it has it; read, not imported, so that nothing need be installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["PACKAGE", "ROOT", "version_of"]

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = "trio_closeevents"
LINE: Final = re.compile(r'^__version__: Final = "(.+)"$', re.MULTILINE)


def version_of(root: Path) -> str:
    """Return the version that the tree in *root* is of."""
    found = LINE.search((root / PACKAGE / "_version.py").read_text("utf-8"))
    assert found is not None, f"_version.py has no line {LINE.pattern}"
    return found[1]
