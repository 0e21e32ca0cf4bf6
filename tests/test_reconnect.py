"""A client that stays connected: what it tries again, how long it waits, and what its server sees."""

from __future__ import annotations

import datetime
import random
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from nasty import nothing_left
from tls import HOST

from trio_closeevents import (
    CloseCause,
    CloseEvent,
    ConnectionBroken,
    HandshakeError,
    HandshakeRejected,
    ReconnectEvent,
    ReconnectPolicy,
    Response,
    WebSocket,
    accept,
    connect,
    open_server,
    stay_connected,
)

STOPPING_CAUSES = frozenset(CloseCause) - {
    CloseCause.EOF,
    CloseCause.RESET,
    CloseCause.KEEPALIVE_TIMEOUT,
    CloseCause.REFUSED,
    CloseCause.TIMEOUT,
    CloseCause.REMOTE,
}
RETRIED_CODES = {1001, 1005, 1011, 1012, 1013, 1014, 3008}
CODES = [1000, *range(1001, 1004), 1005, *range(1007, 1015), 3000, 3003, 3008, 3999, 4000, 4401, 4999]


def ended(cause: CloseCause, code: int = 1006) -> CloseEvent:
    return CloseEvent("close", code=code, cause=cause, initiated_by="remote")


def failed(cause: CloseCause, response: Response | None = None, because: Exception | None = None) -> HandshakeError:
    error = HandshakeError("no connection", ended(cause), response)
    error.__cause__ = because
    return error


# -- the policy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_policy_reads_the_code_of_a_peer(code: int) -> None:
    """What may be better the next time is tried again, what the peer holds against us is not."""
    assert (ReconnectPolicy()(ended(CloseCause.REMOTE, code), 1) is not None) == (code in RETRIED_CODES)


@pytest.mark.parametrize("cause", list(CloseCause))
@pytest.mark.parametrize("code", [1001, 1006, 1012])
def test_policy_reads_the_cause_first(cause: CloseCause, code: int) -> None:
    """Of an ending that the peer did not ask for, its code does not count."""
    if cause is not CloseCause.REMOTE:
        assert (ReconnectPolicy()(ended(cause, code), 1) is None) == (cause in STOPPING_CAUSES)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 426, 429, 500, 502, 503, 504])
def test_policy_reads_the_status(status: int) -> None:
    """Of an answer in place of the upgrade, be it a proxy's."""
    outcome = failed(CloseCause.REJECTED, Response(status))
    assert (ReconnectPolicy()(outcome, 1) is not None) == (status in {429, 502, 503, 504})


@pytest.mark.parametrize(
    ("because", "again"),
    [
        (ssl.SSLCertVerificationError("bad"), False),
        (ssl.SSLError("wrong version"), False),
        (ssl.SSLEOFError("gone"), True),
        (ConnectionResetError("gone"), True),
        (None, False),
    ],
)
def test_policy_reads_why_tls_failed(because: Exception | None, again: bool) -> None:
    """A lost connection is one also in a TLS handshake; a certificate does not get better."""
    assert (ReconnectPolicy()(failed(CloseCause.TLS, because=because), 1) is not None) == again


def test_policy_backs_off_with_full_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 0 to a limit that doubles, up to one that does not."""
    limits: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        limits.append(high)
        return high / 2

    monkeypatch.setattr(random, "uniform", uniform)
    policy = ReconnectPolicy(first=0.5, most=3)
    waits = [policy(ended(CloseCause.EOF), failures) for failures in (1, 2, 3, 4, 5, 10**9)]
    assert limits == [0.5, 1, 2, 3, 3, 3]
    assert waits == [0.25, 0.5, 1, 1.5, 1.5, 1.5]
    assert ReconnectPolicy(first=0.5, jitter=False)(ended(CloseCause.EOF), 2) == 1


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("120", 120, 120),
        (" 7 ", 7, 7),
        ("0", 0, 1),
        ("-5", 0, 1),
        ("soon", 0, 1),
        ("1.5", 0, 1),
        ("\xb2", 0, 1),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 1),
        ("Fri, 31 Dec 1999 23:59:59 -0000", 0, 1),
        ("Fri, 99 Dec 1999 23:59:59 GMT", 0, 1),
        ("21 Oct 2015 07:28:00 +" + "9" * 24, 0, 1),
        ("9999999999", 3600, 3600),
        ("Fri, 21 Oct 9998 07:28:00 GMT", 3600, 3600),
    ],
)
def test_policy_hears_retry_after(value: str, least: float, most: float) -> None:
    """RFC 9110 §10.2.3: seconds or a date; never shorter than without."""
    wait = ReconnectPolicy()(failed(CloseCause.REJECTED, Response(503, {"Retry-After": value})), 1)
    assert wait is not None
    assert least <= wait <= most


def test_policy_hears_a_date_in_retry_after() -> None:
    """In the future, this time."""
    date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    response = Response(429, {"Retry-After": format_datetime(date, usegmt=True)})
    wait = ReconnectPolicy()(failed(CloseCause.REJECTED, response), 1)
    assert wait is not None
    assert 90 < wait <= 100


def test_policy_stops_after_so_many_failures() -> None:
    """In a row."""
    policy = ReconnectPolicy(max_failures=3)
    assert [policy(ended(CloseCause.EOF), failures) is None for failures in (1, 2, 3, 4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"first": -1}, ValueError),
        ({"first": 2, "most": 1}, ValueError),
        ({"most": float("inf")}, ValueError),
        ({"most_retry_after": "1"}, TypeError),
        ({"max_failures": 0}, ValueError),
        ({"max_failures": 1.5}, TypeError),
        ({"jitter": 3}, TypeError),
        ({"codes": 1000}, TypeError),
        ({"codes": {"4100"}}, TypeError),
        ({"codes": [True]}, TypeError),
        ({"codes": {99999}}, ValueError),
        ({"codes": {999}}, ValueError),
        ({"codes": {5000}}, ValueError),
        ({"statuses": {99}}, ValueError),
        ({"statuses": {600}}, ValueError),
        ({"statuses": {503.0}}, TypeError),
        ({"statuses": [[503]]}, TypeError),
        ({"causes": 3}, TypeError),
        ({"causes": "eof"}, TypeError),
        ({"causes": {"nonsense"}}, ValueError),
        ({"causes": {1006}}, ValueError),
    ],
)
def test_policy_that_cannot_be_is_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    """When it is made, by a message that names the field and the value."""
    with pytest.raises(error, match=r"must (not )?be") as caught:
        ReconnectPolicy(**wrong)
    ((name, value),) = list(wrong.items())[:1]
    shown = value if isinstance(value, str | int | float) else next(iter(value))
    assert name in str(caught.value)
    assert repr(shown) in str(caught.value)


def test_policy_takes_any_iterable_and_causes_by_name() -> None:
    """Each becomes a frozenset, so that the policy stays a value; nothing at all is a set too."""
    policy = ReconnectPolicy(codes=[4100, 4100], statuses=iter((503,)), causes={"eof", CloseCause.RESET})
    assert policy == ReconnectPolicy(
        codes=frozenset({4100}), statuses=frozenset({503}), causes=frozenset({CloseCause.EOF, CloseCause.RESET})
    )
    assert hash(policy) == hash(policy)
    assert all(type(each) is CloseCause for each in policy.causes)
    assert policy(ended(CloseCause.RESET), 1) is not None
    assert ReconnectPolicy(causes=())(ended(CloseCause.RESET), 1) is None


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), True])
async def test_policy_that_returns_nonsense_is_told(delay: float, nursery: trio.Nursery) -> None:
    """By name, and before anything else is told."""

    def policy(outcome: object, failures: int) -> float | None:
        return delay

    network = Network(nursery, closing(1012))
    with pytest.raises(ValueError, match=f"the policy has returned {delay!r}"):
        await stay_connected(network.connect, read, policy=policy, on_event=network.events.append)
    assert network.told[-1][0] == "open"


def test_policy_is_a_value() -> None:
    """It can be compared, and be a key."""
    assert ReconnectPolicy(first=2) == ReconnectPolicy(first=2) != ReconnectPolicy()
    assert len({ReconnectPolicy(), ReconnectPolicy()}) == 1


# -- staying connected, without a network and in no time ---------------------------------------------------------------


class Network:
    """Servers made of memory, one for each attempt.

    Attributes:
        seen: how each connection ended, as its server saw it.
        events: what `stay_connected` has told.
    """

    def __init__(self, nursery: trio.Nursery, *handlers: Callable[[WebSocket], Any] | Exception) -> None:
        self._nursery = nursery
        self._handlers = list(handlers)
        self.seen: list[CloseEvent] = []
        self.events: list[ReconnectEvent] = []

    def connect(self) -> AbstractAsyncContextManager[WebSocket]:
        handler = self._handlers.pop(0)
        if isinstance(handler, Exception):
            raise handler
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs, handler)
        return connect("ws://localhost/", stream=ours)

    async def _serve(self, stream: trio.abc.Stream, handler: Callable[[WebSocket], Any]) -> None:
        def answer(_: object) -> Response | None:
            return handler if isinstance(handler, Response) else None

        try:
            async with accept(stream, process_request=answer) as ws:
                await handler(ws)
        except HandshakeError:
            return
        assert ws.close_event is not None
        self.seen.append(ws.close_event)

    @property
    def told(self) -> list[tuple[str, int, int]]:
        return [(each.phase, each.attempt, each.failures) for each in self.events]


def closing(code: int | None, after: float = 0) -> Callable[[WebSocket], Any]:
    async def handle(ws: WebSocket) -> None:
        await trio.sleep(after)
        await ws.aclose(code)

    return handle


async def listening(ws: WebSocket) -> None:
    await ws.wait_closed()


async def read(ws: WebSocket) -> None:
    async for _ in ws:
        pass


EXACT = ReconnectPolicy(jitter=False)


async def test_session_runs_again_until_the_policy_stops(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """Every attempt and every end is told; the wait doubles, and what stops is returned."""
    network = Network(nursery, closing(1012), closing(None), closing(1013), closing(4000))
    began = trio.current_time()
    last = await stay_connected(network.connect, read, policy=EXACT, on_event=network.events.append)
    assert trio.current_time() - began == pytest.approx(1 + 2 + 4, abs=0.1)
    assert (last.code, last.cause) == (4000, CloseCause.REMOTE)
    assert network.told == [
        *(("connecting", 1, 0), ("open", 1, 0), ("waiting", 1, 1)),
        *(("connecting", 2, 1), ("open", 2, 1), ("waiting", 2, 2)),
        *(("connecting", 3, 2), ("open", 3, 2), ("waiting", 3, 3)),
        *(("connecting", 4, 3), ("open", 4, 3), ("stopped", 4, 4)),
    ]
    outcomes = [each.outcome for each in network.events if isinstance(each.outcome, CloseEvent)]
    assert [each.code for each in outcomes] == [1012, 1005, 1013, 4000]
    assert [each.delay for each in network.events if each.phase == "waiting"] == [1, 2, 4]


async def test_stable_connection_begins_anew(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """One that lived long enough was a success."""
    network = Network(nursery, closing(1012), closing(1012, after=31), closing(1012), closing(1000))
    await stay_connected(network.connect, read, policy=EXACT, on_event=network.events.append)
    assert [each.delay for each in network.events if each.phase == "waiting"] == [1, 1, 2]


async def test_attempt_that_fails_is_an_outcome(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """503 is tried again, 401 is raised."""
    busy: Any = Response(503, {"Retry-After": "100"})
    network = Network(nursery, busy, closing(1001), Response(401))  # type: ignore[arg-type]  # in place of a handler
    began = trio.current_time()
    with pytest.raises(HandshakeRejected, match="401 Unauthorized") as caught:
        await stay_connected(network.connect, read, policy=EXACT, on_event=network.events.append)
    assert trio.current_time() - began == pytest.approx(100 + 2, abs=0.1)
    assert network.events[-1].outcome is caught.value
    assert network.told[-1] == ("stopped", 3, 3)


async def test_own_policy_decides(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """Any function of this form will do."""
    network = Network(nursery, closing(4000), closing(4000), closing(4000))
    asked: list[tuple[object, int]] = []

    def policy(outcome: object, failures: int) -> float | None:
        asked.append((outcome, failures))
        return 0 if failures < 3 else None

    last = await stay_connected(network.connect, read, policy=policy)
    assert last == asked[-1][0]
    assert [failures for _, failures in asked] == [1, 2, 3]


@pytest.mark.parametrize("way", ["return", "break"])
async def test_session_that_returns_has_heard_enough(way: str, nursery: trio.Nursery) -> None:
    """1000, and no further attempt."""

    async def session(ws: WebSocket) -> None:
        async for _ in ws:
            if way == "break":
                break
            return

    async def handler(ws: WebSocket) -> None:
        await ws.send("enough")
        await ws.wait_closed()

    network = Network(nursery, handler)
    last = await stay_connected(network.connect, session)
    await trio.testing.wait_all_tasks_blocked()
    assert (last.cause, network.seen[0].code) == (CloseCause.EXIT, 1000)


async def test_session_that_closes_has_had_enough(nursery: trio.Nursery) -> None:
    """Also if the peer does not answer, or the session goes on as if nothing had happened."""

    async def session(ws: WebSocket) -> None:
        await ws.aclose(4001)
        await ws.send("more")

    network = Network(nursery, listening)
    last = await stay_connected(network.connect, session)
    assert (last.cause, network.seen[0].code) == (CloseCause.CLOSED, 4001)

    async def aborting(ws: WebSocket) -> None:
        ws.abort()

    network = Network(nursery, listening)
    assert (await stay_connected(network.connect, aborting)).cause is CloseCause.ABORTED


@pytest.mark.parametrize("grouped", [False, True])
async def test_exception_of_the_session_goes_on(grouped: bool, nursery: trio.Nursery) -> None:
    """The same object, not wrapped; the peer sees 1011."""
    error = ExceptionGroup("", [KeyError("mine"), ConnectionBroken()]) if grouped else KeyError("mine")

    async def session(ws: WebSocket) -> None:
        raise error

    network = Network(nursery, listening)
    with pytest.raises(type(error)) as caught:
        await stay_connected(network.connect, session)
    await trio.testing.wait_all_tasks_blocked()
    assert caught.value is error
    assert network.seen[0].code == 1011


async def test_connection_closed_in_a_group_is_an_ending(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    """As it comes out of a nursery of the session."""

    async def session(ws: WebSocket) -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(ws.receive)
            tasks.start_soon(ws.ping)
            await ws.wait_closed()
            await ws.send("late")

    network = Network(nursery, closing(1012), closing(4000))
    assert (await stay_connected(network.connect, session)).code == 4000


async def test_ending_of_another_connection_is_an_exception(nursery: trio.Nursery) -> None:
    """One that the session had besides. Ours ends as by any exception."""
    stranger = ConnectionBroken(ended(CloseCause.EOF))

    async def session(ws: WebSocket) -> None:
        raise stranger

    network = Network(nursery, listening)
    with pytest.raises(ConnectionBroken) as caught:
        await stay_connected(network.connect, session)
    assert caught.value is stranger

    async def closing_first(ws: WebSocket) -> None:
        await ws.aclose()
        raise stranger

    network = Network(nursery, listening)
    with pytest.raises(ConnectionBroken) as caught:
        await stay_connected(network.connect, closing_first)
    assert caught.value is stranger

    unopened = failed(CloseCause.REFUSED)

    async def connecting(ws: WebSocket) -> None:
        raise unopened

    network = Network(nursery, listening)
    with pytest.raises(HandshakeError) as refused:
        await stay_connected(network.connect, connecting)
    assert refused.value is unopened


async def test_function_that_makes_the_connection_may_raise(nursery: trio.Nursery) -> None:
    """It is called for every attempt, and what it raises goes on."""
    network = Network(nursery, LookupError("no token"))
    with pytest.raises(LookupError, match="no token"):
        await stay_connected(network.connect, read)


async def test_cancelled_session_tells_1001(nursery: trio.Nursery) -> None:
    """The cancellation goes on; nothing is corrupted by it."""
    network = Network(nursery, listening)
    with trio.CancelScope() as scope:

        async def session(ws: WebSocket) -> None:
            scope.cancel()
            await ws.receive()

        await stay_connected(network.connect, session)
    await trio.testing.wait_all_tasks_blocked()
    assert scope.cancelled_caught
    assert network.seen[0].code == 1001


async def test_cancelled_wait_ends_it(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """Between two connections too."""
    network = Network(nursery, closing(1012))
    policy = ReconnectPolicy(first=60, jitter=False)
    with trio.move_on_after(5) as scope:
        await stay_connected(network.connect, read, policy=policy, on_event=network.events.append)
    assert scope.cancelled_caught
    assert network.told[-1] == ("waiting", 1, 1)


async def test_every_retry_and_the_stop_are_logged(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """A program without `on_event` can be watched too: where, how it ended, what follows; no password."""
    caplog.set_level("INFO", "trio_closeevents")
    network = Network(nursery, closing(1012), closing(3003))
    await stay_connected(network.connect, read, policy=EXACT, on_event=network.events.append)
    told = [each for each in caplog.records if hasattr(each, "reconnect_event")]
    assert [each.getMessage() for each in told] == [
        "connect('ws://localhost/'), attempt 1: 1012 service restart, the peer closed first: remote; the next in 1 s",
        "connect('ws://localhost/'), attempt 2: 3003 forbidden, the peer closed first: remote; no other follows",
    ]
    assert [(each.levelname, vars(each)["reconnect_event"]) for each in told] == [
        ("INFO", event) for event in network.events if event.phase in ("waiting", "stopped")
    ]

    caplog.clear()
    with pytest.raises(HandshakeError):
        await stay_connected("ws://ada:secret@localhost:1/", read, policy=ReconnectPolicy(max_failures=1))
    assert caplog.messages[-1].startswith("connect('ws://localhost:1/'), attempt 1: no connection to ws://localhost:1/")
    assert "secret" not in caplog.text


# -- what cannot be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (lambda: connect("ws://a"), r"not Connecting: connect\('ws://a'\); write lambda: connect\(\.\.\.\)"),
        (lambda: b"ws://a", "target must be a URL or a function that returns what connect returns, not bytes: b'ws"),
        (lambda: None, "not NoneType: None"),
    ],
)
async def test_target_that_is_no_place_is_refused(target: Callable[[], Any], words: str) -> None:
    """Before anything is opened; a connection can be made but once."""
    with pytest.raises(TypeError, match=words):
        await stay_connected(target(), read)


async def test_target_that_returns_no_connection_is_told() -> None:
    """As an async function does."""

    async def dial() -> AbstractAsyncContextManager[WebSocket]:
        return connect("ws://a")

    made = dial()
    with pytest.raises(TypeError, match="target must return what connect returns, not coroutine: <coroutine"):
        await stay_connected(lambda: made, read)  # type: ignore[arg-type,return-value]
    made.close()


async def test_session_that_is_no_function_is_refused() -> None:
    """A call of one is a mistake that is made easily."""
    called = read(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"session must be an async function, not coroutine: <coroutine object read"):
        await stay_connected("ws://localhost:1/", called)  # type: ignore[arg-type]
    called.close()


async def test_session_that_is_not_async_is_told(nursery: trio.Nursery) -> None:
    """By name, and not as something that cannot be awaited."""

    def session(ws: WebSocket) -> None:
        pass

    network = Network(nursery, listening)
    with pytest.raises(TypeError, match=r"<function .*session at .*> returned None: it must be an async function"):
        await stay_connected(network.connect, session)  # type: ignore[arg-type]
    await trio.testing.wait_all_tasks_blocked()
    assert network.seen[0].code == 1011


# -- a real server that is killed and comes back -----------------------------------------------------------------------

SERVER = """
import sys, trio, trio_closeevents
async def echo(ws):
    async for message in ws:
        await ws.send(message)
trio.run(trio_closeevents.serve, echo, "127.0.0.1", int(sys.argv[1]))
"""


async def test_server_that_is_killed_and_comes_back() -> None:
    """SIGKILL is `eof` or `reset`, nobody there is `refused`: all that is tried again, until the session returns."""
    async with open_server(listening, HOST, 0) as server:
        port = server.port  # free in a moment
    events: list[ReconnectEvent] = []
    answered: list[str | bytes] = []
    processes: list[subprocess.Popen[bytes]] = []

    async def session(ws: WebSocket) -> None:
        for number in range(3):
            await ws.send(str(number))
            answered.append(await ws.receive())
        if len(answered) < 9:
            processes[-1].kill()
            await ws.receive()

    def note(event: ReconnectEvent) -> None:
        events.append(event)
        refused = isinstance(event.outcome, HandshakeError) and event.outcome.close_event.cause is CloseCause.REFUSED
        if event.phase == "waiting" and refused and all(process.poll() is not None for process in processes):
            processes.append(subprocess.Popen([sys.executable, "-c", SERVER, str(port)]))

    async with nothing_left():
        policy = ReconnectPolicy(first=0.05, most=0.2)
        with trio.fail_after(30):
            last = await stay_connected(partial(connect, f"ws://{HOST}:{port}"), session, policy=policy, on_event=note)
    processes[-1].kill()
    for process in processes:
        process.wait()
    assert last.cause is CloseCause.EXIT
    assert answered == ["0", "1", "2"] * 3
    assert len(processes) == 3
    causes = [each.outcome.cause for each in events if isinstance(each.outcome, CloseEvent)]
    assert [cause in {CloseCause.EOF, CloseCause.RESET} for cause in causes] == [True, True, False]


def test_events_read_well_in_a_log() -> None:
    """Each is one line that says what has happened and what follows."""
    assert str(ReconnectEvent("connecting", 2, 1)) == "attempt 2: connecting"
    lost = ended(CloseCause.EOF)
    assert str(ReconnectEvent("waiting", 2, 1, lost, 0.12345)) == f"attempt 2: {lost}; the next in 0.123 s"
    assert (
        str(ReconnectEvent("stopped", 3, 2, failed(CloseCause.REFUSED))) == "attempt 3: no connection; no other follows"
    )
