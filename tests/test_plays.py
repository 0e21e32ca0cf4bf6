"""`plays`: an example that does not do as it says fails, whatever it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import test_docs
from documents import Block, blocks_of
from launcher import Launcher
from plays import assert_same_text, run_example, runs_with_others

PROGRAM: Final = ".. code-block:: python\n    :caption: a.py\n\n    {}\n"
PRINTED: Final = "\n.. printed{}\n\n.. code-block:: text\n\n    {}\n"
SERVER: Final = """\
.. code-block:: python
    :caption: server.py

    import socket
    with socket.create_server(("127.0.0.1", 8000)) as server:
        while True:
            server.accept()[0].close()
            print("gone")

"""
CLIENT: Final = "import socket; s = socket.create_connection(('127.0.0.1', 8000)); print(s.recv(1), 1.25); s.close()"
LEAK: Final = "import socket; s = socket.socket(); print(1)"


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as launcher:
        yield launcher


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.rst"


def write(page: Path, text: str) -> tuple[Block, ...]:
    page.write_text(text, encoding="utf-8")
    return blocks_of(page)


@pytest.mark.parametrize(
    ("mark", "code", "complaint"),
    [
        ("", "import sys; sys.exit(3)", "exit status 3"),
        ("", "import warnings; warnings.warn('old')", "exit status 1"),
        ("", "from trio import sleep; await sleep(1)", "exit status 1"),
        ("", LEAK, "ResourceWarning"),
        ("", "import trio; answer = 42", "it only defines"),
        ("", "print(42)", "it only defines"),
        ("not run:", "1", "why not"),
        ("not run: because", "1 +", "invalid syntax"),
        ("run by: test_nowhere.py", "1", "there is no"),
        ("runs in: nowhere", "1", "neither"),
        ("runs in: nothing", "await trio.sleep(0); 1 / 0", "division by zero"),
        ("runs beside: b.py", "import sys; print(1)", "0 blocks are called 'b.py'"),
        ("runs until: Ctrl-C", "import sys; sys.exit(3)", "it has ended"),
    ],
)
def test_example_that_does_not_do_as_it_says_fails(
    mark: str, code: str, complaint: str, page: Path, launcher: Launcher
) -> None:
    """Whatever it says of itself."""
    (block,) = write(page, f".. {mark}\n\n" * bool(mark) + PROGRAM.format(code))
    with pytest.raises((AssertionError, pytest.fail.Exception, SyntaxError, ZeroDivisionError)) as failure:
        run_example(block, page.parent, launcher)
    assert complaint in str(failure.value)


def test_example_that_another_test_runs_is_named_there(page: Path, launcher: Launcher) -> None:
    """By its file's name, without the suffix."""
    text = ".. run by: {}\n\n" + PROGRAM.replace("a.py", "plays.py").format(1)
    run_example(write(page, text.format("test_plays.py"))[0], page.parent, launcher)
    with pytest.raises(AssertionError, match="has no 'plays'"):
        run_example(write(page, text.format("test_url.py"))[0], page.parent, launcher)


def test_program_that_prints_something_else_fails(page: Path, launcher: Launcher) -> None:
    """Than the page says right below it."""
    block, _ = write(page, PROGRAM.format("import sys; print(1)") + PRINTED.format("", 2))
    with pytest.raises(pytest.fail.Exception, match=r"- 2\n\+ 1"):
        run_example(block, page.parent, launcher)


@pytest.mark.parametrize(("said", "complaint"), [("…\n    go…", None), ("nothing", r"- nothing\n\+ gone")])
def test_program_runs_beside_another_and_both_print(
    said: str, complaint: str | None, page: Path, launcher: Launcher
) -> None:
    """The one that runs beside is ended by Ctrl-C, and what it has printed is compared too."""
    client = ".. runs beside: server.py\n\n" + PROGRAM.format(CLIENT) + PRINTED.format("", "b'' 7.5")
    server, block, *_ = write(page, SERVER + client + PRINTED.format(" by: server.py", said))
    assert runs_with_others(server)
    if complaint is None:
        run_example(block, page.parent, launcher)
        return
    with pytest.raises(pytest.fail.Exception, match=complaint):
        run_example(block, page.parent, launcher)


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("server 1f0c9a4e at :4711, 1.5 s\n", "server 00000000 at :80123, 23.12 s", True),
        ("a  \n\n", "a", True),
        ("a\nb\nc\n", "a\n…\n", True),
        ("a\nb\nc\n", "…\nc", True),
        ("a.b\n", "a…", True),
        ("a.b\n", "a+b", False),
        ("a\nb\n", "a…", False),
        ("12\n", "13", False),
    ],
)
def test_output_is_compared_apart_from_what_may_be_any(printed: str, expected: str, same: bool) -> None:
    """Ids, ports, decimal numbers, and what stands for anything."""
    if same:
        assert_same_text(printed, expected, "here")
    else:
        with pytest.raises(pytest.fail.Exception, match="here"):
            assert_same_text(printed, expected, "here")


@pytest.mark.parametrize("code", [".. code-block:: pycon\n\n    1\n", "text::\n\n    x = 1\n", ">>> 1\n"])
def test_example_in_another_guise_fails(code: str, page: Path) -> None:
    """As a session of the interpreter, or behind two colons."""
    write(page, code)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_docs.test_no_example_is_overlooked(page)
