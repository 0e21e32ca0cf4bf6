"""`python -m tools.release check` and `... remains`: the checklist of a release, and what it leaves to a person.

The session `release` of the noxfile runs the one before the gates and the other behind them. Nothing is written, tagged
or uploaded here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Final

from packaging.version import InvalidVersion, Version

from .version import ROOT, version_of

__all__ = ["CHECKLIST", "check", "main", "remains"]

BRANCH: Final = "main"
HEADING: Final = re.compile(r"^(\S+) \((\d{4}-\d\d-\d\d)\)\n-{3,}$", re.MULTILINE)  # towncrier's, in pyproject.toml
REMAINS: Final = """
What remains is for a person:

  1. See that CI is green for {commit}, and that its last lines name nothing that was not run.
  2. git tag --sign {tag} --message "trio-closeevents {version}"
  3. git push origin {branch} {tag}
  4. python -m twine upload {files}
  5. python -m pip install trio-closeevents=={version}, in a new environment; python -m trio_closeevents demo.
  6. Publish the release on GitHub, with the section {version} of docs/changelog.rst.
"""


def git(root: Path, *words: str) -> str:
    """Return what git says."""
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.rstrip("\n")


def version_is_fit(root: Path) -> str | None:
    """The version is one of PEP 440, in its normal form, and neither of development nor local"""
    text = version_of(root)
    try:
        version = Version(text)
    except InvalidVersion:
        return f"{text!r} is none"
    if str(version) != text:
        return f"{text} is {version} in its normal form"
    return f"{text} is not for the public" if version.is_devrelease or version.local else None


def version_is_new(root: Path) -> str | None:
    """The version is newer than every tag"""
    version = Version(version_of(root))
    tags = [Version(tag[1:]) for tag in git(root, "tag", "--list", "v[0-9]*").splitlines()]
    return f"{version} is not newer than the tag v{max(tags)}" if tags and max(tags) >= version else None


def branch_is_main(root: Path) -> str | None:
    """The branch is main"""
    branch = git(root, "branch", "--show-current")
    return None if branch == BRANCH else f"it is {branch or 'none'}"


def tree_is_clean(root: Path) -> str | None:
    """Everything is committed"""
    changed = [line[3:] for line in git(root, "status", "--porcelain").splitlines()]
    return f"not so {', '.join(changed[:5])}{' and more' * (len(changed) > 5)}" if changed else None


def fragments_are_built(root: Path) -> str | None:
    """No news fragment waits for the changelog"""
    waiting = [each.name for each in (root / "newsfragments").iterdir() if each.name != ".gitignore"]
    return f"{len(waiting)} do: say `nox -s changelog`, look at it, commit it" if waiting else None


def changelog_has_it(root: Path) -> str | None:
    """The changelog begins with the version, and with a day that has come"""
    heading = HEADING.search((root / "docs" / "changelog.rst").read_text("utf-8"))
    if heading is None or heading[1] != version_of(root):
        return f"it begins with {heading[1] if heading else 'nothing'}, not with {version_of(root)}"
    return f"{heading[2]} has not come" if date.fromisoformat(heading[2]) > date.today() else None


Check = Callable[[Path], str | None]
CHECKLIST: Final[tuple[Check, ...]] = (
    version_is_fit,
    version_is_new,
    branch_is_main,
    tree_is_clean,
    fragments_are_built,
    changelog_has_it,
)


def check(root: Path) -> Mapping[str, str | None]:
    """Return of each claim why it does not hold, or `None`; the first one, if not even the version can be read."""
    found: dict[str, str | None] = {}
    for claim in CHECKLIST:
        found[str(claim.__doc__)] = problem = claim(root)
        if claim is version_is_fit and problem is not None:
            break
    return found


def remains(root: Path, files: list[str]) -> str:
    """Return what a person does, when all else is done."""
    version = version_of(root)
    commit = git(root, "rev-parse", "--short", "HEAD")
    return REMAINS.format(
        commit=commit, tag=f"v{version}", version=version, branch=BRANCH, files=" ".join(files) or "dist/*"
    )


def main(what: str, *files: str) -> int:
    """Print what was asked for, and return the exit status."""
    if what == "remains":
        print(remains(ROOT, list(files)))
        return 0
    found = check(ROOT)
    for claim, problem in found.items():
        print(f"  {'NOT' if problem else 'yes'}  {claim}{f': {problem}' if problem else ''}")
    return any(found.values())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
