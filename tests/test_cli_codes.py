"""`codes`, and the words and exit statuses for endings."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from terminals import open_terminal, run

from trio_closeevents import CloseCause, CloseCode, CloseEvent, CloseFrame, describe, is_sendable
from trio_closeevents._cli.registry import RANGES, REGISTERED, explain
from trio_closeevents._cli.status import MEANINGS, Status, status_of
from trio_closeevents._cli.words import tell

pytestmark = [pytest.mark.once, pytest.mark.measured]  # processes take their time, on every Python

# -- what is known of codes ------------------------------------------------------------------------------------------


def test_registry_has_all_codes_that_the_library_names() -> None:
    """Every registered code is explained."""
    assert list(REGISTERED) == [code.value for code in CloseCode]


@pytest.mark.parametrize("code", [*CloseCode, 0, 999, 1004, 1016, 2999, 3001, 3999, 4000, 4999, 5000, 65535])
def test_explanation_agrees_with_the_library(code: int) -> None:
    """Who may send a code, its name and what becomes of it are what the library makes of it."""
    entry = explain(code)
    assert entry.name == describe(code)
    assert entry.travels == is_sendable(code) == (entry.senders != "nobody")
    assert entry.meaning.endswith(".")
    assert entry.constant == (CloseCode(code).name if code in REGISTERED else None)


def test_ranges_have_no_gap() -> None:
    """Every number of two bytes is in one range."""
    assert [first for first, *_ in RANGES] == [0, *(last + 1 for _, last, *_ in RANGES[:-1])]
    assert RANGES[-1][1] == 65535


def test_explanation_of_what_is_retried() -> None:
    """The default policy decides; what never travels is decided by the cause."""
    assert [explain(code).retried for code in (1000, 1001, 1006, 1012, 1015, 3008, 4000)] == [
        *("no", "yes", "by cause", "yes", "by cause", "yes", "no")
    ]


# -- the command -----------------------------------------------------------------------------------------------------


async def test_codes_in_a_pipe_is_a_line_for_each() -> None:
    """Plain text, with a line for every code and range, for grep."""
    done = await run("codes")
    lines = done.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == [
        *("code", *map(str, REGISTERED), "0-999", "1000-2999", "3000-3999", "4000-4999", "5000-65535")
    ]
    going_away = re.split(r"\s{2,}", lines[2].strip())
    assert going_away[:5] == ["1001", "going away", "both", "yes", "RFC 6455 §7.4.1"]
    assert b"\x1b" not in done.stdout
    assert (done.stderr, done.returncode) == (b"", 0)


@pytest.mark.parametrize("columns", [60, 100, 160])
async def test_codes_on_a_terminal_fits_and_is_coloured(columns: int) -> None:
    """Whatever the width, nothing runs over it; NO_COLOR and TERM=dumb take the colours."""
    async with open_terminal("codes", columns=columns) as terminal:
        assert await terminal.wait() == 0
    assert sum(bool(re.match(r"\d", line)) for line in terminal.lines) == len(REGISTERED) + len(RANGES)
    assert terminal.styles
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        async with open_terminal("codes", env=env) as terminal:
            assert await terminal.wait() == 0
        assert not any(re.search(r"3\d", style) for style in terminal.styles)


@pytest.mark.parametrize(
    ("code", "first", "travels"),
    [
        ("1006", "1006  abnormal closure  CloseCode.ABNORMAL_CLOSURE", False),
        ("going_away", "1001  going away  CloseCode.GOING_AWAY", True),
        ("Service-Restart", "1012  service restart  CloseCode.SERVICE_RESTART", True),
        ("1004", "1004  reserved", False),
        ("3500", "3500  libraries and frameworks, registered", True),
        ("4100", "4100  applications, private use", True),
        ("65535", "65535  no close code", False),
    ],
)
async def test_codes_explains_one(code: str, first: str, travels: bool) -> None:
    """By number or name; one that is not registered is explained by its range."""
    done = await run("codes", code)
    lines = done.stdout.decode().splitlines()
    assert lines[0] == first
    assert lines[1] == explain(int(first.split()[0])).meaning
    assert lines[3].split(maxsplit=1)[1].startswith("yes" if travels else "no")


@pytest.mark.parametrize("code", ["65536", "123456789", "-1", "bye", "\u0661"])
async def test_codes_of_what_is_no_code(code: str) -> None:
    """What no Close frame has room for, and what is no name, is a usage error."""
    done = await run("codes", "--", code)
    assert f"{code!r} is neither a number from 0 to 65535 nor a name like going_away" in done.stderr.decode()
    assert (done.stdout, done.returncode) == (b"", 2)


# -- endings in words ------------------------------------------------------------------------------------------------


def ending(cause: CloseCause, **fields: Any) -> CloseEvent:
    defaults: dict[str, Any] = {"code": 1006, "cause": cause, "initiated_by": "local"}
    return CloseEvent("close", **(defaults | fields))


OURS: Final = CloseFrame(1000)


@pytest.mark.parametrize(
    ("event", "told", "status"),
    [
        (
            ending(CloseCause.EXIT, code=1000, was_clean=True, sent=OURS, received=OURS),
            "We closed the connection with 1000 (normal closure), and the peer answered with the same.",
            Status.FINE,
        ),
        (
            ending(CloseCause.CLOSED, code=1005, was_clean=True, sent=OURS, received=CloseFrame()),
            "We closed the connection with 1000 (normal closure), and the peer answered with an empty Close frame.",
            Status.FINE,
        ),
        (
            ending(CloseCause.REMOTE, code=1012, sent=None, received=CloseFrame(1012), initiated_by="remote"),
            "The peer closed the connection with 1012 (service restart), and was gone before our answer.",
            Status.BROKEN,
        ),
        (
            ending(CloseCause.CANCELLED, initiated_by="transport"),
            "We were about to close the connection, and could not send the Close frame any more.",
            Status.BROKEN,
        ),
        (
            ending(CloseCause.ABORTED, initiated_by="transport"),
            "We dropped the connection without a Close frame.",
            Status.BROKEN,
        ),
        (
            ending(CloseCause.KEEPALIVE_TIMEOUT, sent=CloseFrame(1011, "keepalive timeout")),
            (
                "We closed the connection with 1011 (internal error), “keepalive timeout”, because nothing came from "
                "the peer any more, no Pong either."
            ),
            Status.BROKEN,
        ),
        (
            ending(CloseCause.INTERNAL_ERROR, sent=CloseFrame(1011)),
            "We closed the connection with 1011 (internal error), because of a bug in this program.",
            Status.BROKEN,
        ),
    ],
)
def test_tell_says_what_happened(event: CloseEvent, told: str, status: Status) -> None:
    """What happened, who began it, and what the code means, in whole sentences."""
    assert tell(event) == f"{told} Close code {event.code}, {describe(event.code)}: {explain(event.code).meaning}"
    assert status_of(event) is status


@pytest.mark.parametrize("cause", CloseCause)
def test_tell_has_words_for_every_cause(cause: CloseCause) -> None:
    """No cause that the library has is without a sentence."""
    for sent in (None, OURS):
        assert tell(ending(cause, sent=sent)).endswith(explain(1006).meaning)


async def test_statuses_are_documented() -> None:
    """Every exit status is in the help text."""
    done = await run("connect", "--help", env={"COLUMNS": "100"})
    for status, meaning in MEANINGS.items():
        assert f"{status.value:>3}  {meaning}\n" in done.stdout.decode()
    assert list(MEANINGS) == list(Status)
