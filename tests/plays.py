"""Runs the examples of the documentation as their marks say, and judges what they have done; see `test_docs.py`."""

from __future__ import annotations

import ast
import difflib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Final, Protocol

import pytest
import trio
from documents import PYTHON, ROOT, Block, blocks_of
from launcher import LIMIT, TIMED_OUT, Launcher
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

INTERRUPTED: Final = (0, -signal.SIGINT, 128 + signal.SIGINT)
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


class Process(Protocol):
    """What `launcher.Running` and `Command` are."""

    @property
    def printed(self) -> str: ...
    @property
    def has_ended(self) -> bool: ...
    def wait(self) -> int: ...
    def interrupt(self) -> int: ...


class Command:
    """A command of a shell, in a folder."""

    def __init__(self, words: str, folder: Path) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
        self._output = folder / "command.out"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-c", words],
                cwd=folder,
                env={**os.environ, "PATH": path, "PYTHONUTF8": "1", "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return self._output.read_text(encoding="utf-8")

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        try:
            return self._process.wait(LIMIT)
        finally:
            self._process.kill()

    def interrupt(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self.wait()


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
    """Tell whether other blocks of the page run beside this one, so that it is run with them."""
    return bool(block.name) and any(block.name in servers(other) for other in blocks_of(block.page))


def find(page: Path, name: str) -> Block:
    """Return the block of *page* that has that name."""
    found = [block for block in blocks_of(page) if block.name == name]
    assert len(found) == 1, f"{page}: {len(found)} blocks are called {name!r}"
    return found[0]


def outputs_of(block: Block) -> list[Block]:
    """Return the blocks of the page that say what this one prints."""
    found, last = [], None
    for other in blocks_of(block.page):
        if other.language in PYTHON:
            last = other
        by_name = bool(block.name) and other.marks.get("printed by") == block.name
        if by_name or ("printed" in other.marks and last == block):
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

    def start(self, block: Block) -> Process:
        """Start a program."""
        script = self._folder / (block.name or f"line_{block.line}.py")
        script.write_text(self.with_own_ports(block.padded), encoding="utf-8")
        return self._launcher.start(script)

    def start_beside(self, page: Path, name: str) -> Process:
        """Start a program that runs beside others, by its caption, or a command; return when it is up."""
        text = name if " " in name else find(page, name).code
        process = Command("exec " + self.with_own_ports(name), self._folder) if " " in name else None
        started = process or self.start(find(page, name))
        self.wait_until_up(started, text)
        return started

    def wait_until_up(self, process: Process, text: str) -> None:
        """Wait until all ports that *text* names take connections; if it names none, until something is printed."""
        ports = [number for port, number in self._ports.items() if re.search(rf"\b{port}\b", text)]
        deadline = time.monotonic() + LIMIT
        while not (all(map(takes_connections, ports)) if ports else process.printed):
            assert not process.has_ended, f"it has ended:\n{process.printed}"
            assert time.monotonic() < deadline, f"it did not come up:\n{process.printed}"
            time.sleep(0.01)

    def run(self, block: Block) -> None:
        """Run a program, with what runs beside it, and judge what all of them have done."""
        beside = {name: self.start_beside(block.page, name) for name in servers(block)}
        program = self.start(block)
        endless = "runs until" in block.marks
        if endless:
            self.wait_until_up(program, block.code)
        status = program.interrupt() if endless else program.wait()
        statuses = {name: server.interrupt() for name, server in beside.items()}
        self.judge(block, program.printed, status, INTERRUPTED if endless else (0,))
        for name, server in beside.items():
            if " " not in name:
                self.judge(find(block.page, name), server.printed, statuses[name], INTERRUPTED)

    def judge(self, block: Block, printed: str, status: int, allowed: tuple[int, ...]) -> None:
        assert status != TIMED_OUT, f"{block.where}: still running after {LIMIT} s\n{printed}"
        assert status in allowed, f"{block.where}: exit status {status}\n{printed}"
        if status == -signal.SIGINT:
            printed = INTERRUPTION.sub("", printed)
        assert not COMPLAINTS.search(printed), f"{block.where}:\n{printed}"
        for output in outputs_of(block):
            assert_same_text(printed, self.with_own_ports(output.code), output.where)

    def run_console(self, block: Block) -> None:
        """Run the commands of a block, one after the other, and compare what they print."""
        beside = [self.start_beside(block.page, name) for name in servers(block)]
        commands = re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]
        assert commands, f"{block.where}: no line begins with '$ '"
        try:
            for command in commands:
                words, _, expected = re.sub(r"\\\n", " ", command).partition("\n")
                running = Command(self.with_own_ports(words), self._folder)
                running.wait()
                assert_same_text(running.printed, self.with_own_ports(expected), block.where)
        finally:
            for each in beside:
                each.interrupt()


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
    elif block.included and block.included.is_relative_to(ROOT / "trio_closeevents"):
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
        with trio.fail_after(LIMIT):
            await surrounding(Fragment(block))

    trio.run(play, clock=clock() if clock else None)
