"""What this machine has: Pythons, a browser, proxies."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["find_browser", "find_proxy", "find_python", "probe"]

BROWSERS: Final = ("chromium", "google-chrome", "google-chrome-stable")


@cache
def probe(candidate: Path) -> tuple[str, str]:
    """Return the version of the CPython at *candidate* and its own path; two empty strings if it does not run."""
    if not os.access(candidate, os.X_OK):
        return "", ""
    script = (
        "import platform, sys;"
        "print(platform.python_implementation() + ' %d.%d ' % sys.version_info[:2] + sys.executable)"
    )
    try:
        done = subprocess.run(
            [candidate, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return "", ""
    name, version, path = done.stdout.strip().split(maxsplit=2) if done.returncode == 0 else ("", "", "")
    return (version, path) if name == "CPython" else ("", "")


def find_python(version: str) -> str | None:
    """Return the path of a CPython *version* that really runs, or `None`.

    It may be on PATH under its own name, among pyenv's versions (whose shims on PATH may refuse to run), or be what
    PATH calls Python.
    """
    path = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [
        *(folder / f"python{version}" for folder in path),
        *(folder / "bin" / f"python{version}" for folder in sorted(pyenv.glob(f"versions/{version}.*"), reverse=True)),
        *(folder / name for folder in path for name in ("python3", "python")),
    ]
    return next((found for it in candidates for seen, found in [probe(it)] if seen == version), None)


def find_browser() -> str | None:
    """Return the path of a Chromium, or of what is made of it."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def find_proxy(name: str) -> str | None:
    """Return the path of a proxy, which Debian keeps away from most users' PATH."""
    return shutil.which(name, path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin"]))
