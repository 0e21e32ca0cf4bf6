"""`tools/contents.py`: what is wrong with a distribution is said by name."""

from __future__ import annotations

import tarfile
import zipfile
from email.message import Message
from pathlib import Path
from typing import Final

import pytest

from tools import contents
from tools.contents import check, of_metadata, of_sdist, of_wheel
from tools.version import version_of

NAME: Final = "trio_closeevents-0.1.0-cp311-abi3-linux_x86_64.whl"
METADATA: Final = {
    "Version": "0.1.0",
    "Summary": "It",
    "Keywords": "it",
    "Author": "me",
    "License-Expression": "MIT",
    "Requires-Python": ">=3.9",
    "Description-Content-Type": "text/markdown",
}
CLASSIFIERS: Final = ["Programming Language :: Python :: 3.11", "Programming Language :: Python :: 3.9"]
TREE: Final = ("__init__.py", "_speedups.c", "_speedups.pyi", "_version.py", "py.typed", "testing/__init__.py")
WHEEL: Final = {f"trio_closeevents/{name}" for name in (*TREE, "_speedups.abi3.so")} - {"trio_closeevents/_speedups.c"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with a small package."""
    for name in TREE:
        path = tmp_path / "trio_closeevents" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('__version__: Final = "0.1.0"\n')
    return tmp_path


def metadata(**changed: str | None) -> Message:
    message = Message()
    for name, value in (METADATA | {name.replace("_", "-"): value for name, value in changed.items()}).items():
        if value is not None:
            message[name] = value
    for classifier in CLASSIFIERS:
        message["Classifier"] = classifier
    return message


def test_wheel_with_the_whole_package_is_fine(root: Path) -> None:
    """With the extension module or without it, and with its metadata; the entries of folders are nothing."""
    files = [*WHEEL, "trio_closeevents-0.1.0.dist-info/METADATA", "trio_closeevents/"]

    assert of_wheel(NAME, files, root) == []
    assert of_wheel(NAME, set(files) - {"trio_closeevents/_speedups.abi3.so"}, root) == []


@pytest.mark.parametrize(
    ("name", "lacks", "has", "wrong"),
    [
        (NAME, {"trio_closeevents/py.typed"}, set(), "the wheel lacks trio_closeevents/py.typed"),
        (NAME, {"trio_closeevents/_speedups.pyi"}, set(), "the wheel lacks trio_closeevents/_speedups.pyi"),
        (NAME, set(), {"tests/test_it.py"}, "the wheel has tests/test_it.py"),
        (NAME, set(), {"trio_closeevents/_speedups.c"}, "the wheel has trio_closeevents/_speedups.c"),
        (
            "it-0.1.0-cp313-cp313-linux_x86_64.whl",
            set(),
            set(),
            "it-0.1.0-cp313-cp313-linux_x86_64.whl is no wheel for",
        ),
    ],
)
def test_wheel_that_lacks_or_has_too_much(name: str, lacks: set[str], has: set[str], wrong: str, root: Path) -> None:
    """Each file is named, and so is a wheel that serves one Python alone."""
    (found,) = of_wheel(name, WHEEL - lacks | has, root)

    assert found.startswith(wrong)


def test_sdist_has_what_git_has() -> None:
    """But for what is about the repository; and its own metadata."""
    known = ["README.md", "tests/test_it.py", ".github/workflows/ci.yml"]
    own = ["PKG-INFO", "setup.cfg", "trio_closeevents.egg-info/SOURCES.txt"]

    assert of_sdist(["README.md", "tests/test_it.py", *own], known) == []
    assert of_sdist(["README.md", "tests/.cache", *own], known) == [
        "the source distribution lacks tests/test_it.py",
        "the source distribution has tests/.cache, which git does not know",
    ]


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, None),
        ({"Keywords": None}, "the metadata have no Keywords"),
        ({"Version": "0.2.0"}, "the metadata are of version 0.2.0, the package is 0.1.0"),
        ({"Requires_Python": ">=3.11"}, "Python >=3.11 is required, the lowest classifier is '3.9'"),
    ],
)
def test_metadata(changed: dict[str, str | None], wrong: str | None) -> None:
    """What is missing is named, and what contradicts the package."""
    assert of_metadata(metadata(**changed), "0.1.0", CLASSIFIERS) == ([] if wrong is None else [wrong])


def test_classifier_that_does_not_exist() -> None:
    """The index would refuse it."""
    wrong = of_metadata(metadata(), "0.1.0", CLASSIFIERS[:1])

    assert wrong == ["there is no classifier 'Programming Language :: Python :: 3.9'"]


def distribute(root: Path, folder: Path, version: str = "0.1.0", leave_out: str = "") -> None:
    """Write both distributions of *root* into *folder*."""
    stem = f"trio_closeevents-{version}"
    with zipfile.ZipFile(folder / NAME.replace("0.1.0", version), "w") as wheel:
        for name in WHEEL - {leave_out}:
            wheel.writestr(name, "")
        wheel.writestr(f"{stem}.dist-info/METADATA", metadata(Version=version).as_string())
    with tarfile.open(folder / f"{stem}.tar.gz", "w:gz") as sdist:
        sdist.add(root / "trio_closeevents", f"{stem}/trio_closeevents")


def test_folder_with_both_distributions(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All checks are made, from the archives themselves."""
    folder = tmp_path_factory.mktemp("dist")
    monkeypatch.setattr(contents, "official_classifiers", lambda: CLASSIFIERS)
    assert check(root, folder) == [f"there is not one source distribution and one wheel in {folder}, but []"]
    distribute(root, folder)
    assert version_of(root) == "0.1.0"
    assert check(root, folder) == []
    distribute(root, folder, leave_out="trio_closeevents/py.typed")
    assert check(root, folder) == ["the wheel lacks trio_closeevents/py.typed"]


def test_folder_with_distributions_of_another_version(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What an older build left is not taken for this one."""
    folder = tmp_path_factory.mktemp("dist")
    distribute(root, folder, "0.2.0")

    assert check(root, folder) == [
        "trio_closeevents-0.2.0.tar.gz is not of trio_closeevents-0.1.0",
        "trio_closeevents-0.2.0-cp311-abi3-linux_x86_64.whl is not of trio_closeevents-0.1.0",
    ]
