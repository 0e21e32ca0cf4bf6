"""Runs the examples of the documentation as their marks say, and judges what they have done; see `test_docs.py`."""

from __future__ import annotations

import ast
import difflib
import math
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
from documents import PACKAGE, PYTHON, ROOT, Block, blocks_of
from launcher import LIMIT, TIMED_OUT, Launcher, Running
from surroundings import PORTS, Fragment, compiled, find_surrounding, free_ports

__all__ = [
    "Play",
    "assert_same_text",
    "examples",
    "is_tests",
    "outputs_of",
    "run_example",
    "run_fragment",
    "runs_with_others",
]

MAIN: Final = "trio_closeevents.__main__"
ENDS: Final = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}
# What Python has to say of Ctrl-C; asyncio adds its own.
INTERRUPTION: Final = re.compile(
    r"^Traceback .*\n(?:[ ].*\n|\n|(?:asyncio\.exceptions\.)?CancelledError\n|(?:During|The above|Traceback) .*\n)*"
    r"KeyboardInterrupt\n\Z",
    re.MULTILINE,
)
COMPLAINTS: Final = re.compile(r"^Exception ignored|^Traceback|Warning: ", re.MULTILINE)

# What may be any, in what a program prints: ids of connections, ports, times of day, durations.
ANY: Final = (
    (re.compile(r"\b[0-9a-f]{8}\b"), "ID"),
    (re.compile(r":\d{4,5}\b"), ":PORT"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+\.\d+\b"), "0.0"),
)


# -- which block is what -----------------------------------------------------------------------------------------------


def is_tests(block: Block) -> bool:
    return block.caption.startswith("test_")


def examples(page: Path) -> list[Block]:
    """Return the blocks of Python of *page*."""
    return [block for block in blocks_of(page) if block.language in PYTHON]


def servers(block: Block) -> list[str]:
    """Return what runs beside a block."""
    return [name.strip() for name in block.marks.get("runs beside", "").split(",") if name.strip()]


def runs_with_others(block: Block) -> bool:
    """Tell whether other blocks of the page run beside this one, or import it, so that it is run with them."""
    importing = re.compile(rf"^\s*(?:from|import) {Path(block.name).stem}\b", re.MULTILINE)
    others = [other for other in blocks_of(block.page) if other != block]
    return bool(block.name) and any(block.name in servers(other) or importing.search(other.code) for other in others)


def find(page: Path, name: str) -> Block:
    """Return the block of *page* that has that name."""
    found = [block for block in blocks_of(page) if block.name == name]
    assert len(found) == 1, f"{page}: {len(found)} blocks are called {name!r}"
    return found[0]


def outputs_of(block: Block, beside: Block | None = None) -> list[Block]:
    """Return the blocks of the page that say what this one prints, when it is run for itself or *beside* another.

    Of a program that several others run beside, each of them may have a block: the last Python above it tells.
    """
    found, last = [], None
    for other in blocks_of(block.page):
        if other.language in PYTHON:
            last = other
        by_name = bool(block.name) and other.marks.get("printed by") == block.name
        if (by_name and (beside is None or last in (beside, block))) or ("printed" in other.marks and last == block):
            found.append(other)
    return found


class Play:
    """A block that is run, with what runs beside it, in a folder of its own."""

    def __init__(self, folder: Path, launcher: Launcher) -> None:
        self._folder = folder
        self._launcher = launcher
        self._ports = free_ports()

    def with_own_ports(self, text: str) -> str:
        return re.sub(rf"\b(?:{'|'.join(PORTS)})\b", lambda port: self._ports[port[0]], text)

    def start(self, block: Block) -> Running:
        """Start a program."""
        for other in examples(block.page):
            if other.name:  # it may be imported
                (self._folder / other.name).write_text(self.with_own_ports(other.padded), encoding="utf-8")
        script = self._folder / (block.name or f"line_{block.line}.py")
        script.write_text(self.with_own_ports(block.padded), encoding="utf-8")
        return self._launcher.start(script)

    def start_command(self, command: str) -> Running:
        """Start the program `trio-closeevents`, as its script does."""
        name, *words = shlex.split(self.with_own_ports(command))
        assert name == "trio-closeevents", f"there is no {name!r} here"
        script = self._folder / "command.py"
        script.write_text(f"import sys\nfrom {MAIN} import main\nsys.argv[1:] = {words!r}\nmain()\n")
        return self._launcher.start(script)

    def wait_until_up(self, process: Running, text: str, *, answering: bool = False) -> None:
        """Wait until all ports that *text* names take connections; if it names none, until something is printed.

        With *answering* wait until they answer a request as well: whatever the program does first is done then.
        """
        ports = [number for port, number in self._ports.items() if re.search(rf"\b{port}\b", text)]
        deadline = time.monotonic() + LIMIT
        while not (all(map(takes_connections, ports)) if ports else process.printed):
            assert not process.has_ended, f"it has ended:\n{process.printed}"
            assert time.monotonic() < deadline, f"it did not come up:\n{process.printed}"
            time.sleep(0.01)
        for port in ports if answering else ():
            with socket.create_connection(("127.0.0.1", int(port)), LIMIT) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                connection.recv(1)

    def run(self, block: Block) -> None:
        """Run a program, with what runs beside it, and judge what all of them have done."""
        with self.running_beside(block) as beside:
            program = self.start(block)
            until = ENDS[block.marks["runs until"]] if "runs until" in block.marks else None
            if until is not None:
                self.wait_until_up(program, "" if beside else block.code, answering=True)
                program.end(until)
            status = program.wait()
            self.judge(block, program.printed, status, outputs_of(block), until)
        self.judge_servers(block, beside)

    def judge_servers(self, block: Block, beside: dict[str, Running]) -> None:
        for name, server in beside.items():
            if " " not in name:
                other = find(block.page, name)
                self.judge(other, server.printed, server.wait(), outputs_of(other, block), signal.SIGINT)

    @contextmanager
    def running_beside(self, block: Block) -> Generator[dict[str, Running]]:
        """Start what runs beside *block*, one after the other, and interrupt it at the end."""
        beside: dict[str, Running] = {}
        try:
            for name in servers(block):
                is_command = " " in name
                beside[name] = self.start_command(name) if is_command else self.start(find(block.page, name))
                self.wait_until_up(beside[name], name if is_command else find(block.page, name).code)
            yield beside
        finally:
            for each in reversed(beside.values()):
                each.end(signal.SIGINT)

    def judge(
        self, block: Block, printed: str, status: int, outputs: list[Block], ended_by: signal.Signals | None
    ) -> None:
        assert status != TIMED_OUT, f"{block.where}: still running after {LIMIT} s\n{printed}"
        if ended_by is signal.SIGINT and status == -signal.SIGINT:
            printed, status = INTERRUPTION.sub("", printed), 0
        assert status == 0, f"{block.where}: exit status {status}\n{printed}"
        assert not COMPLAINTS.search(printed), f"{block.where}:\n{printed}"
        for output in outputs:
            assert_same_text(printed, self.with_own_ports(output.code), output.where)

    def run_console(self, block: Block) -> None:
        """Run the commands of a block, one after the other, and compare what they print."""
        commands = re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]
        assert commands, f"{block.where}: no line begins with '$ '"
        with self.running_beside(block) as beside:
            for command in commands:
                words, _, expected = re.sub(r"\\\n", " ", command).partition("\n")
                printed = run_command(self.with_own_ports(words), self._folder)
                assert_same_text(printed, self.with_own_ports(expected), block.where)
        self.judge_servers(block, beside)


def run_command(words: str, folder: Path) -> str:
    """Run a command of a shell, and return what it prints on both of its outputs."""
    path = os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
    env = {**os.environ, "PATH": path, "PYTHONUTF8": "1", "PYTHONWARNINGS": "error"}
    command, output = ["bash", "-c", words], subprocess.STDOUT
    done = subprocess.run(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output, timeout=LIMIT
    )
    return done.stdout.decode()


def takes_connections(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def plain(text: str) -> str:
    """Return a text without what may be any, and without blanks at the ends of lines."""
    for pattern, word in ANY:
        text = pattern.sub(word, text)
    return re.sub(r"[ \t]+$", "", text.strip("\n"), flags=re.MULTILINE)


def assert_same_text(printed: str, expected: str, where: str) -> None:
    """Compare, apart from what may be any."""
    printed, expected = plain(printed), plain(expected)
    lines = re.escape(expected + "\n").replace("\\\n", "\n")
    lines = re.sub(r"^…\n", r"(?:.*\\n)*", lines, flags=re.MULTILINE)
    if not re.fullmatch(lines.replace("…", ".*"), printed + "\n"):
        difference = difflib.ndiff(expected.splitlines(), printed.splitlines())
        pytest.fail(f"{where}: - is what the page says, + is what was printed\n" + "\n".join(difference))


# -- in the way that the marks say ------------------------------------------------------------------------------------


def run_example(block: Block, folder: Path, launcher: Launcher) -> None:
    if "not run" in block.marks:
        assert block.marks["not run"], f"{block.where}: why not?"
        compile_quietly(block)
    elif "run by" in block.marks:
        assert_names(ROOT / "tests" / block.marks["run by"], block)
    elif "runs in" in block.marks:
        run_fragment(block, block.page.stem, block.marks["runs in"])
    elif block.included and block.included.is_relative_to(PACKAGE):
        pass  # the library, which has its own tests
    elif not is_tests(block) and not runs_with_others(block):
        assert does_something(block), f"{block.where}: it only defines; is it a fragment, which `runs in` something?"
        Play(folder, launcher).run(block)


def does_something(block: Block) -> bool:
    """Tell whether a program imports what it needs and does more than to define."""
    try:
        kinds = {type(statement) for statement in ast.parse(block.code).body}
    except SyntaxError:
        return True  # which is what running it will say
    return bool(kinds & {ast.Import, ast.ImportFrom}) and bool(kinds & {ast.Expr, ast.With, ast.For, ast.If, ast.Try})


def compile_quietly(block: Block) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(block)


def assert_names(test: Path, block: Block) -> None:
    """Check that a file of tests, or one of a folder, names the program."""
    assert test.exists(), f"{block.where}: there is no {test}"
    files = list(test.rglob("*.py")) if test.is_dir() else [test]
    name = Path(block.name).stem
    assert any(name in file.read_text(encoding="utf-8") for file in files), f"{block.where}: {test} has no {name!r}"


def run_fragment(block: Block, page: str, name: str) -> None:
    try:
        surrounding = find_surrounding(page, name)
    except LookupError as error:
        pytest.fail(f"{block.where}: {error}")
    clock = getattr(surrounding, "clock", None)

    async def play() -> None:
        with trio.fail_after(math.inf if clock else LIMIT):  # a mock clock has no mercy
            await surrounding(Fragment(block))

    trio.run(play, clock=clock() if clock else None)
