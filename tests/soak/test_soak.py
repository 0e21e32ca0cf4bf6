"""A short soak for real; and the judge, who has to find what does not fit in records that are made up."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

import pytest

from trio_closeevents import CloseCause, CloseEvent, CloseFrame

from .judge import Judge, misfits_of
from .level import FEWEST, LEAST, Sample, misfits_in_samples
from .plan import Ending, Plan, draw
from .record import Relayed, Remark, Side
from .run import Report, soak
from .table import line_of, lines_of

SEED: Final = 20
SECONDS: Final = 3.0  # rounds that have begun are finished, which takes some seconds more
MEBIBYTE: Final = 2**20


@pytest.mark.once
def test_a_short_soak_has_no_misfits() -> None:
    """Clients, servers and the relay in their processes: all fits, and nothing is left behind."""
    said: list[str] = []
    report = soak(SECONDS, SEED, lambda report: said.append(line_of(report)))
    assert not report.misfits, "\n".join(report.misfits)
    assert report.count >= 20
    assert said
    assert set(report.samples) == {"server 0", "server 1", "relay 0", "client 0", "client 1"}
    assert list(lines_of(report))[-1] == f"0 misfits, seed {SEED}"


def test_a_plan_depends_on_seed_and_number_alone() -> None:
    """Every process draws the same plan, and the next number has another."""
    assert draw(1, 2) == draw(1, 2)
    assert replace(draw(1, 2), number=3) != draw(1, 3)
    assert replace(draw(2, 2), number=2) != draw(1, 2)


def test_plans_have_everything() -> None:
    """Among some hundred plans is every way to end, on each side, and every way to cut."""
    plans = [draw(SEED, number) for number in range(500)]
    kinds = {"return", "error", "cancel", "deadline", "aclose", "abort", "wait"}
    assert {plan.client.kind for plan in plans} == {plan.server.kind for plan in plans} == kinds
    assert {plan.cut.kind for plan in plans if plan.cut is not None} == {"FIN", "RST", "silence"}
    assert {plan.door for plan in plans} == {"plain", "tls", "accept"}
    assert any(plan.gives_up is not None for plan in plans)
    assert any(plan.client.after == plan.server.after for plan in plans)
    assert not any(plan.client.kind == plan.server.kind == "wait" for plan in plans)


# -- the judge, with records that are made up -----------------------------------------------------------------------

BYE: Final = CloseFrame(4000, "bye")
PLAN: Final = Plan(
    number=7,
    process=0,
    door="plain",
    relayed=True,
    cut=None,
    compressed=False,
    gives_up=None,
    sizes=(),
    client=Ending("aclose", 0.1, "receive", (4000, "bye")),
    server=Ending("wait", 0.1, "receive"),
)
CLIENT_EVENT: Final = CloseEvent(
    "close",
    code=4000,
    reason="bye",
    was_clean=True,
    initiated_by="local",
    cause=CloseCause.CLOSED,
    sent=BYE,
    received=BYE,
)
SERVER_EVENT: Final = replace(CLIENT_EVENT, initiated_by="remote", cause=CloseCause.REMOTE)
UNANSWERED: Final = replace(CLIENT_EVENT, code=1006, reason="", was_clean=False, received=None)
LOST: Final = CloseEvent("close", code=1006, initiated_by="transport", cause=CloseCause.EOF)


def client(event: CloseEvent | None = CLIENT_EVENT, **fields: Any) -> Side:
    known: dict[str, Any] = {"opened": True, "seconds": 0.0} | fields
    return Side(number=7, role="client", event=None if event is None else event.to_dict(), **known)


def server(event: CloseEvent | None = SERVER_EVENT, **fields: Any) -> Side:
    known: dict[str, Any] = {"opened": True} | fields
    return Side(number=7, role="server", event=None if event is None else event.to_dict(), **known)


def ending(kind: Any, **fields: Any) -> Plan:
    """Return the plan with another ending of the client's."""
    return replace(PLAN, client=Ending(kind, 0.1, fields.pop("activity", "receive"), **fields))


def event_by(cause: CloseCause, frame: CloseFrame) -> CloseEvent:
    return replace(CLIENT_EVENT, code=frame.code or 1005, reason=frame.reason, cause=cause, sent=frame, received=frame)


def echo_of(frame: CloseFrame) -> CloseEvent:
    return replace(event_by(CloseCause.REMOTE, frame), initiated_by="remote")


FITTING: Final[dict[str, tuple[Plan, list[Side], list[Side], str]]] = {
    "both clean": (PLAN, [client()], [server()], ""),
    "returned": (
        ending("return"),
        [client(event_by(CloseCause.EXIT, CloseFrame(1000)))],
        [server(echo_of(CloseFrame(1000)))],
        "",
    ),
    "error": (
        ending("error"),
        [client(event_by(CloseCause.ERROR, CloseFrame(1011)), left_by="Boom")],
        [server(echo_of(CloseFrame(1011)))],
        "",
    ),
    "cancelled": (
        ending("deadline"),
        [client(event_by(CloseCause.CANCELLED, CloseFrame(1001)), left_by="Cancelled")],
        [server(echo_of(CloseFrame(1001)))],
        "",
    ),
    "broken off in a message": (
        ending("return", activity="fragments"),
        [client(event_by(CloseCause.CANCELLED, CloseFrame(1001)))],
        [server(echo_of(CloseFrame(1001)))],
        "",
    ),
    "aborted": (
        ending("abort"),
        [client(replace(LOST, cause=CloseCause.ABORTED))],
        [server(LOST)],
        "",
    ),
    "cut before the Close": (PLAN, [client(LOST)], [server(LOST)], "FIN"),
    "cut behind the Close": (PLAN, [client(UNANSWERED)], [server(replace(LOST, cause=CloseCause.RESET))], "RST"),
    "cut in the opening": (PLAN, [client(LOST, opened=False)], [], "FIN"),
    "cut behind the server's answer": (PLAN, [client(LOST, opened=False)], [server(LOST)], "RST"),
    "given up": (replace(PLAN, gives_up=0.01), [client(None, opened=False)], [], ""),
    "silent": (
        PLAN,
        [client(UNANSWERED)],
        [
            server(
                replace(
                    LOST,
                    initiated_by="local",
                    cause=CloseCause.KEEPALIVE_TIMEOUT,
                    sent=CloseFrame(1011, "keepalive timeout"),
                )
            )
        ],
        "silence",
    ),
    "server closed": (
        ending("wait"),
        [client(echo_of(CloseFrame(1012, "aclose")))],
        [server(event_by(CloseCause.CLOSED, CloseFrame(1012, "aclose")), server_end=(1012, "aclose"))],
        "",
    ),
    "crossing": (
        PLAN,
        [client(replace(CLIENT_EVENT, code=1000, reason="", received=CloseFrame(1000)))],
        [server(replace(CLIENT_EVENT, cause=CloseCause.EXIT, sent=CloseFrame(1000)))],
        "",
    ),
}


@pytest.mark.parametrize("name", FITTING)
def test_records_that_fit(name: str) -> None:
    """The judge has nothing to say."""
    assert not list(misfits_of(*FITTING[name]))


MISFITTING: Final[dict[str, tuple[str, Plan, list[Side], list[Side], str]]] = {
    "no record": ("0 records of the client", PLAN, [], [server()], ""),
    "two records": ("2 records of the client", PLAN, [client(), client()], [server()], ""),
    "two of the server": ("2 records of the server", PLAN, [client()], [server(), server()], ""),
    "no server": ("the server did not", PLAN, [client()], [], ""),
    "no event": ("the server has no event", PLAN, [client()], [server(None)], ""),
    "given up by itself": ("was not cancelled", PLAN, [client(None, opened=False)], [], ""),
    "never opened, and clean": ("never opened has", PLAN, [client(opened=False)], [], ""),
    "another code": (
        "is not that of the Close",
        PLAN,
        [client(replace(CLIENT_EVENT, code=1000))],
        [server()],
        "",
    ),
    "another reason": ("the reason", PLAN, [client(replace(CLIENT_EVENT, reason="hi"))], [server()], ""),
    "clean by half": ("clean exactly if", PLAN, [client(replace(CLIENT_EVENT, was_clean=False))], [server()], ""),
    "wrong initiator": (
        "said to have begun",
        PLAN,
        [client(replace(CLIENT_EVENT, initiated_by="remote"))],
        [server()],
        "",
    ),
    "lost, and yet closed": (
        "lost first",
        PLAN,
        [client(replace(CLIENT_EVENT, cause=CloseCause.EOF))],
        [server()],
        "FIN",
    ),
    "failed, and yet accepted": (
        "has accepted",
        PLAN,
        [client(replace(CLIENT_EVENT, cause=CloseCause.INTERNAL_ERROR))],
        [server()],
        "",
    ),
    "another cause": ("cause error", PLAN, [client(replace(CLIENT_EVENT, cause=CloseCause.ERROR))], [server()], ""),
    "lost for nothing": ("cause eof", PLAN, [client()], [server(LOST)], ""),
    "kept alive too little": (
        "cause keepalive_timeout",
        PLAN,
        [client()],
        [server(replace(LOST, cause=CloseCause.KEEPALIVE_TIMEOUT))],
        "FIN",
    ),
    "wrong frame": (
        "it sent (1000, '')",
        ending("cancel"),
        [client(event_by(CloseCause.CANCELLED, CloseFrame(1000)), left_by="Cancelled")],
        [server(echo_of(CloseFrame(1000)))],
        "",
    ),
    "no echo": ("no echo", PLAN, [client()], [server(replace(SERVER_EVENT, sent=CloseFrame(1000)))], ""),
    "received what nobody sent": (
        "and the other sent 4000 'bye'",
        PLAN,
        [client()],
        [server(echo_of(CloseFrame(4001)))],
        "RST",
    ),
    "received nothing": ("it received nothing", PLAN, [client(UNANSWERED)], [server()], ""),
    "not clean": ("nothing explains that", PLAN, [client(UNANSWERED)], [server(LOST)], ""),
    "closed by a ghost": ("never opened", PLAN, [client(LOST, opened=False)], [server()], "FIN"),
    "swallowed": (
        "left by nothing",
        ending("error"),
        [client(event_by(CloseCause.ERROR, CloseFrame(1011)))],
        [server(echo_of(CloseFrame(1011)))],
        "",
    ),
    "thrown in": ("left by ConnectionBroken", PLAN, [client(left_by="ConnectionBroken")], [server()], ""),
    "too slow": ("the ending took 9.00 s", PLAN, [client(seconds=9.0)], [server()], ""),
}


@pytest.mark.parametrize("name", MISFITTING)
def test_records_that_do_not_fit(name: str) -> None:
    """The judge finds it, and says what it is."""
    complaint, *records = MISFITTING[name]
    assert re.search(re.escape(complaint), "\n".join(misfits_of(*records)))  # type: ignore[arg-type]


def test_the_judge_counts_and_tells_in_full() -> None:
    """A misfit comes with its plan and with all records of its connection."""
    judge = Judge(lambda number: replace(PLAN, number=number))
    relayed = Relayed(7, "")
    judge.take([client(), server(), relayed], [7])
    assert (judge.count, judge.misfits) == (1, [])
    assert judge.outcomes == {("aclose", "4000"): 1}
    judge.take([client(UNANSWERED), server(), relayed, Remark("an internal error")], [7, 9])
    assert judge.count == 3
    assert judge.outcomes["aclose", "1006, not clean"] == 1
    logged, unanswered, missing = judge.misfits
    assert logged == "logged: an internal error"
    assert all(str(part) in unanswered for part in (PLAN, server(), relayed, "connection 7"))
    assert "0 records of the client" in missing


# -- flat or not ------------------------------------------------------------------------------------------------------


def samples(*rss: float, fds: int = 10, tasks: int = 5) -> list[Sample]:
    return [Sample(int(each * MEBIBYTE), fds, tasks) for each in rss]


@pytest.mark.parametrize(
    "flat",
    [
        samples(30, 40, *[50] * FEWEST),  # a warm-up
        samples(*[50, 52] * FEWEST),  # noise
        samples(*[200 + i / 2 for i in range(FEWEST)]),  # within 5 %
        samples(10, 90),  # too few to judge
    ],
)
def test_what_is_flat(flat: list[Sample]) -> None:
    """Memory may warm up, and be noisy."""
    assert not list(misfits_in_samples("server 0", flat))


@pytest.mark.parametrize(
    ("complaint", "steep"),
    [
        ("memory went from", samples(*[50 + 2 * i for i in range(FEWEST)])),
        ("memory went from", samples(*[50] * FEWEST, *[51 + LEAST / MEBIBYTE] * FEWEST)),
        ("fds went from 10 to 11", [*samples(50), *samples(50, fds=11)]),
        ("tasks went from 5 to 6", [*samples(50), *samples(50, tasks=6)]),
        ("connections did not end: [2]", [Sample(50, 10, 5, busy=2)]),
    ],
)
def test_what_is_not_flat(complaint: str, steep: list[Sample]) -> None:
    """A leak shows, be it of memory, files, tasks or connections."""
    (found,) = misfits_in_samples("server 0", steep)
    assert found.startswith(f"server 0: {complaint}")


def test_the_table_has_a_row_for_each_code() -> None:
    """What is printed at the end tells every outcome, and every misfit in full."""
    report = Report(SEED, 2.0, 4, samples={"server 0": samples(50, 51)}, misfits=["connection 7\n    lost"])
    report.outcomes["abort", "1006, not clean"] = 4
    text = "\n".join(lines_of(report))
    assert "4 connections in 2 s, 2 per second" in text
    assert re.search(r"^1006, not clean +4$", text, re.MULTILINE)
    assert "memory was not judged" in text
    assert text.endswith(f"MISFIT connection 7\n    lost\n1 misfits, seed {SEED}")
