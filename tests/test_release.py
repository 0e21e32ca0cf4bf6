"""`tools/release.py`: each line of the checklist holds where it should, and says why not where it does not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tools import release
from tools.release import CHECKLIST, check, main, remains

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")

CHANGELOG: Final = """Changelog
=========

.. towncrier release notes start

0.2.0 (2026-01-02)
------------------

- It ends.

0.1.0 (2025-12-01)
------------------
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def git(root: Path, words: str) -> None:
    subprocess.run(["git", *words.split()], cwd=root, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which 0.2.0 is ready, and 0.1.0 is out."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    write(tmp_path / "trio_closeevents/_version.py", '__version__: Final = "0.2.0"\n')
    write(tmp_path / "newsfragments/.gitignore", "!.gitignore\n")
    write(tmp_path / "docs/changelog.rst", CHANGELOG)
    git(tmp_path, "init --initial-branch main")
    commit(tmp_path)
    git(tmp_path, "tag v0.1.0")
    return tmp_path


def commit(root: Path) -> None:
    git(root, "add --all")
    git(root, "commit --allow-empty --message it")


def problems(root: Path) -> list[str]:
    """Return what stands against a release of *root*."""
    return [problem for problem in check(root).values() if problem is not None]


def test_release_that_is_ready(root: Path) -> None:
    """Nothing stands against it, and each claim was looked at."""
    assert check(root) == dict.fromkeys([str(each.__doc__) for each in CHECKLIST])


def version(text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        write(root / "trio_closeevents/_version.py", f'__version__: Final = "{text}"\n')
        write(root / "docs/changelog.rst", CHANGELOG.replace("0.2.0", text))
        commit(root)

    return change


def changelog(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        write(root / "docs/changelog.rst", CHANGELOG.replace(old, new))
        commit(root)

    return change


def with_fragment(root: Path) -> None:
    write(root / "newsfragments/+it.feature.rst", "It.\n")
    commit(root)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (version("0.2"), None),
        (version("0.2.0rc1"), None),
        (version("0.10.0"), None),
        (version("zero"), "'zero' is none"),
        (version("0.2.0-rc.1"), "0.2.0-rc.1 is 0.2.0rc1 in its normal form"),
        (version("0.2.0.dev1"), "0.2.0.dev1 is not for the public"),
        (version("0.2.0+mine"), "0.2.0+mine is not for the public"),
        (version("0.1.0"), "0.1.0 is not newer than the tag v0.1.0"),
        (version("0.0.9"), "0.0.9 is not newer than the tag v0.1.0"),
        (lambda root: git(root, "tag v0.2.0"), "0.2.0 is not newer than the tag v0.2.0"),
        (lambda root: git(root, "checkout -b other"), "it is other"),
        (lambda root: git(root, "checkout --detach"), "it is none"),
        (lambda root: write(root / "docs/new.rst", ""), "not so docs/new.rst"),
        (lambda root: write(root / "newsfragments/.gitignore", ""), "not so newsfragments/.gitignore"),
        (with_fragment, "1 do: say `nox -s changelog`, look at it, commit it"),
        (changelog("0.2.0 (2026-01-02)\n---", "0.3.0 (2026-01-02)\n---"), "it begins with 0.3.0, not with 0.2.0"),
        (changelog("2026-01-02", "9999-01-02"), "9999-01-02 has not come"),
    ],
)
def test_checklist(change: Callable[[Path], None], problem: str | None, root: Path) -> None:
    """One thing is not as it should be, and that alone is told."""
    change(root)

    assert problems(root) == ([] if problem is None else [problem])


def test_changelog_without_a_version(root: Path) -> None:
    """Before the first release there is no section at all."""
    write(root / "docs/changelog.rst", CHANGELOG[: CHANGELOG.index("0.2.0")])
    commit(root)

    assert problems(root) == ["it begins with nothing, not with 0.2.0"]


def test_command_prints_the_checklist(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its status is that of the whole."""
    monkeypatch.setattr(release, "ROOT", root)
    assert main("check") == 0
    assert capsys.readouterr().out.count("  yes  ") == len(CHECKLIST)
    with_fragment(root)
    assert main("check") == 1
    assert "\n  NOT  No news fragment waits for the changelog: 1 do" in capsys.readouterr().out


def test_command_says_what_remains(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tag, push and upload, with the names that they have this time."""
    monkeypatch.setattr(release, "ROOT", root)

    assert main("remains", "dist/a", "dist/b") == 0
    said = capsys.readouterr().out
    assert said == remains(root, ["dist/a", "dist/b"]) + "\n"
    for words in ("git tag --sign v0.2.0", "git push origin main v0.2.0", "twine upload dist/a dist/b"):
        assert words in said
