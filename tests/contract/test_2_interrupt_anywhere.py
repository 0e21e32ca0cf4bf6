"""Section 2, Ctrl-C: it strikes at any instruction, while a connection opens, lives or ends, and again in its grace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, Final

import pytest

from .interrupted import VARIANTS, complaints_about

pytestmark = pytest.mark.once

TRIES: Final = int(os.environ.get("INTERRUPT_TRIES", "10"))  # of each variant; thousands, by hand
IDLE: Final = ("receiving", "serving", "silent")  # variants whose connections are open and idle for a while


def interrupt(variant: str, tries: int) -> dict[str, Any]:
    """Interrupt a program many times; return the `Summary`."""
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "faulthandler",
            "-W",
            "error",
            "-m",
            "contract.interrupted",
            variant,
            str(tries),
            str(seed(variant)),
        ],
        cwd=Path(__file__).parent.parent,
        # What measures coverage saves it at the end of each process, where the signals would find it.
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60 + tries,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def seed(variant: str) -> int:
    return zlib.crc32(variant.encode())


@pytest.mark.timeout(120 + TRIES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_ctrl_c_at_any_instruction_ends_the_program(variant: str) -> None:
    """The program ends in time and by KeyboardInterrupt, and says nothing else; peers it was open to see 1001."""
    summary = interrupt(variant, TRIES)
    assert not summary["complaints"], "\n\n".join([f"seed {seed(variant)}", *summary["complaints"]])
    assert sum(summary["ended_by"].values()) == TRIES
    assert summary["ended_by"].get("0", 0) < TRIES  # signals strike while the program lives
    assert summary["unheld"] <= 1 + TRIES // 50
    if variant in IDLE:
        assert summary["owed"] >= TRIES // 20
        assert summary["told"] >= 0.9 * summary["owed"]


INTERRUPT: Final = """\
Traceback (most recent call last):
  File "program.py", line 1, in <module>
    trio.run(main)
KeyboardInterrupt
"""
AGAIN: Final = f"{INTERRUPT}\nDuring handling of the above exception, another exception occurred:\n\n{INTERRUPT}"
GROUP: Final = """\
  + Exception Group Traceback (most recent call last):
  |   File "program.py", line 1, in <module>
  |     trio.run(main)
  | BaseExceptionGroup: Exceptions from Trio nursery (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "program.py", line 1, in main
    | KeyboardInterrupt
    +------------------------------------
"""


@pytest.mark.parametrize(("stderr", "signals"), [("", 1), (INTERRUPT, 1), (AGAIN, 2), (GROUP, 1)])
def test_the_traceback_of_an_interrupt_is_fine(stderr: str, signals: int) -> None:
    """One KeyboardInterrupt, one after the other, or one in a group is what Ctrl-C looks like."""
    assert not list(complaints_about(stderr, signals=signals))


@pytest.mark.parametrize(
    "stderr",
    [
        AGAIN,
        INTERRUPT.replace("KeyboardInterrupt", "ValueError: 7"),
        GROUP.replace("KeyboardInterrupt", "trio.Cancelled: cancelled"),
        f"{INTERRUPT}Exception ignored in: <socket.socket fd=9>\nResourceWarning: unclosed <socket.socket fd=9>\n",
        "RuntimeWarning: coroutine 'WebSocket.run' was never awaited\n",
        "trio.TrioInternalError: internal error in Trio - please file a bug!\n",
    ],
)
def test_whatever_else_is_said_is_a_complaint(stderr: str) -> None:
    """Of a single signal, anything but one KeyboardInterrupt is one too many."""
    assert list(complaints_about(stderr, signals=1))
