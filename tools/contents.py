"""`python -m tools.contents FOLDER`: what is in the source distribution and the wheel that were built there.

The wheel has the package, whole, and nothing else. The source distribution has all that git knows of the tree, but for
what is about the repository itself: it takes the tests and the documentation along, so that both can be built and run
from it. Of what stands in the metadata, that is checked which no other tool looks at.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Container, Iterable
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

from .version import PACKAGE, ROOT, version_of

__all__ = ["check", "main", "of_metadata", "of_sdist", "of_wheel"]

DISTRIBUTION: Final = "trio-closeevents"
EXTENSION: Final = f"{PACKAGE}/_speedups.abi3.so"
TAG: Final = "cp311-abi3-"  # one wheel of a platform serves every Python from 3.11 on
REQUIRED: Final = ("Summary", "Keywords", "Author", "License-Expression", "Requires-Python", "Description-Content-Type")
COUNTED: Final = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def check(root: Path, folder: Path) -> list[str]:
    """Return what is wrong with the distributions of *root* in *folder*."""
    sdists, wheels = sorted(folder.glob("*.tar.gz")), sorted(folder.glob("*.whl"))
    if len(sdists) != 1 or len(wheels) != 1:
        return [f"there is not one source distribution and one wheel in {folder}, but {[*sdists, *wheels]}"]
    stem = f"{PACKAGE}-{version_of(root)}"
    wrong = [f"{each.name} is not of {stem}" for each in (*sdists, *wheels) if not each.name.startswith(stem)]
    if wrong:
        return wrong
    known = known_to_git(root)
    with zipfile.ZipFile(wheels[0]) as wheel:
        wrong += of_wheel(wheels[0].name, wheel.namelist(), root)
        metadata = HeaderParser().parsestr(wheel.read(f"{stem}.dist-info/METADATA").decode())
        wrong += of_metadata(metadata, version_of(root), official_classifiers())
    with tarfile.open(sdists[0]) as sdist:
        names = [each.name.removeprefix(f"{stem}/") for each in sdist.getmembers() if each.isfile()]
    return wrong + (of_sdist(names, known) if known else [])


def known_to_git(root: Path) -> set[str]:
    """Return the files of *root* that git does not ignore; none where there is no repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True) if (root / ".git").exists() else None
    return {name for name in done.stdout.splitlines() if (root / name).is_file()} if done is not None else set()


def of_wheel(name: str, files: Iterable[str], root: Path) -> list[str]:
    """Return what is wrong with the *files* of a wheel of that *name*."""
    files = {each for each in files if not each.startswith(f"{PACKAGE}-") and not each.endswith("/")}
    source = {
        str(path.relative_to(root).as_posix())
        for path in (root / PACKAGE).rglob("*")
        if path.suffix in (".py", ".pyi") or path.name == "py.typed"
    }
    wrong = [f"the wheel lacks {each}" for each in sorted(source - files)]
    wrong += [f"the wheel has {each}" for each in sorted(files - source - {EXTENSION})]
    if TAG not in name:
        wrong.append(f"{name} is no wheel for {TAG}*")
    return wrong


def of_sdist(files: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return what is wrong with the *files* of a source distribution, if git has those that are *known*."""
    files = {each for each in files if each not in ("PKG-INFO", "setup.cfg") and ".egg-info" not in each}
    meant = {each for each in known if not each.startswith(".")}
    return [
        *(f"the source distribution lacks {each}" for each in sorted(meant - files)),
        *(f"the source distribution has {each}, which git does not know" for each in sorted(files - meant)),
    ]


def of_metadata(metadata: Message, version: str, official: Container[str]) -> list[str]:
    """Return what is wrong with the *metadata* of that *version*, if there are these *official* classifiers."""
    wrong = [f"the metadata have no {each}" for each in REQUIRED if not metadata[each]]
    if metadata["Version"] != version:
        wrong.append(f"the metadata are of version {metadata['Version']}, the package is {version}")
    given = metadata.get_all("Classifier") or []
    wrong += [f"there is no classifier {each!r}" for each in given if each not in official]
    lowest = min((match[1] for each in given if (match := COUNTED.fullmatch(each))), key=minor, default="")
    if metadata["Requires-Python"] != f">={lowest}":
        wrong.append(f"Python {metadata['Requires-Python']} is required, the lowest classifier is {lowest!r}")
    return wrong


def official_classifiers() -> Container[str]:
    """Return those that the package index takes."""
    from trove_classifiers import classifiers  # no test needs it

    return classifiers


def minor(version: str) -> int:
    """Return a key by which 3.9 comes before 3.11."""
    return int(version.rpartition(".")[2])


def main(folder: str) -> int:
    """Print what is wrong, and return the exit status."""
    wrong = check(ROOT, Path(folder))
    print(*wrong or [f"{DISTRIBUTION} {version_of(ROOT)}: the distributions have what they should"], sep="\n")
    if not any(EXTENSION in zipfile.ZipFile(each).namelist() for each in Path(folder).glob("*.whl")):
        print(f"NOT BUILT: {EXTENSION} (no C compiler?)")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
