"""`cancel_at_every_checkpoint`: the same scenario again and again, cancelled one step of the scheduler later each time.

Theory. To cancel behind the first step of any task, the second, and so on, is to cancel everywhere. Each run is a
`trio.run` of its own, with a peer in memory or on a socket that notes what it sees, and each is judged by what the
closing contract has for the moment of the cancellation.

In memory nothing depends on the network or on real time. trio itself is free to choose between tasks that could go on
at the same moment, so the steps of two runs may differ in their order; no judgement depends on that.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import ssl
import sys
import warnings
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Final, Literal, TypeAlias, Unpack

import trio
import trio.testing

from trio_closeevents import ConnectionClosed, Options, OptionsDict, WebSocket, accept, connect
from trio_closeevents._public import spelled_out

from ._judge import CancelledRun, Judge
from ._pair import Role, Script
from ._peer import NotOpened, ScriptedPeer
from ._steps import Steps

__all__ = ["cancel_at_every_checkpoint"]

Scenario: TypeAlias = Callable[[WebSocket], Awaitable[object]]
Wire: TypeAlias = Literal["memory", "lockstep", "tcp"]

GIVE_UP: Final = 60.0  # seconds for one run; only one that hangs takes that long
TIME_TO_DRAIN: Final = 1.0  # seconds for a peer, when our side is gone
TOLERANCE: Final = {"memory": 0.02, "lockstep": 0.02, "tcp": 1.0}  # seconds, beyond `cancel_timeout`
DESCRIPTORS: Final = "/dev/fd"  # where the system has it
SMALL_BUFFER: Final = 2**15  # bytes: what a socket takes that nobody reads
LOGGER: Final = logging.getLogger("trio_closeevents")


@spelled_out(signature(Options).parameters.values())
def cancel_at_every_checkpoint(
    scenario: Scenario,
    *,
    peer: Script = ScriptedPeer.be_polite,
    role: Role = "client",
    wire: Wire = "memory",
    ssl_contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    raises: tuple[type[Exception], ...] = (),
    own_codes: Sequence[int | None] = (),
    stride: int = 1,
    **options: Unpack[OptionsDict],
) -> list[CancelledRun]:
    """Run *scenario* over and over, cancel it one step later each time, and judge each ending.

    A run opens a connection, passes it to *scenario* in its block, and ends it; the cancellation comes from a scope
    round all of that, first in the opening handshake. It goes on until a run is over before it is cancelled. Each
    calls `trio.run`, so this is for tests that are plain functions.

    What is checked of each run: `trio.Cancelled` went on, or the exception that had left the scenario before; the peer
    saw Close 1001 if the connection was open and had nothing to echo, the Close that was under way if its ending had
    begun, nothing at all in the opening handshake, and no Close only if a frame before it could not be finished in
    time; nothing came behind the Close or behind half a frame; there is one CloseEvent, it was logged once, and fits
    what the peer saw; all was over within `cancel_timeout` of the cancellation, or of the scenario's end if it took
    time to clean up; and no task and no file descriptor is left.

    Args:
        scenario: called with the `WebSocket`, as a handler is.
        peer: what the other end does after the opening handshake.
        role: that of the connection under test.
        wire: ``"memory"``; ``"lockstep"``, which is memory that takes nothing that nobody reads; or ``"tcp"``, which is
            real sockets of the loopback in real time. In memory the clock is the autojump clock.
        ssl_contexts: of the server and of the client, which then speak TLS over the wire.
        raises: what *scenario* may raise, beside `ConnectionClosed`; any other exception goes on to the caller, with a
            note that tells the step.
        own_codes: close codes that *scenario* itself may send after it was cancelled; 1000 if it finishes its work
            behind a shield and returns.
        stride: try every so many steps only.
        **options: see `Options`; `cancel_timeout` counts.

    Returns:
        All runs, first the one without a cancellation, then the others in order.

    Raises:
        AssertionError: a run is not as it should be; the message shows what travelled.
        RuntimeError: called inside `trio.run`.
        TypeError, ValueError: an argument is wrong.
    """
    if runs_already():
        raise RuntimeError("cancel_at_every_checkpoint() runs trio itself: call it from a test that is not async")
    if wire not in TOLERANCE:
        raise ValueError(f"wire must be one of {', '.join(TOLERANCE)}, not {wire!r}")
    if not isinstance(stride, int) or stride < 1:
        raise ValueError(f"stride must be a number of steps from 1 on, not {stride!r}")
    gc.collect()  # what others have left is theirs
    stage = Stage(scenario, peer, role, wire, ssl_contexts, (ConnectionClosed, *raises), options)
    runs = [stage.run(None)]
    judge = Judge(runs[0], tuple(own_codes), Options(**options).cancel_timeout, TOLERANCE[wire])
    judge.judge(runs[0])
    step = 1
    while True:
        run = stage.run(step)
        judge.judge(run)
        if run.moment == "never":
            return runs
        runs.append(run)
        step += stride


@dataclass(frozen=True)
class Stage:
    """What all runs have in common."""

    scenario: Scenario
    script: Script
    role: Role
    wire: Wire
    ssl_contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None
    raises: tuple[type[Exception], ...]
    options: OptionsDict

    def run(self, step: int | None) -> CancelledRun:
        """Play the scenario once, cancelled behind *step*; nothing is left of it then."""
        run = CancelledRun(step)
        steps = Steps(step, run.note_moment)
        clock = None if self.wire == "tcp" else trio.testing.MockClock(autojump_threshold=0)
        before = count_descriptors()
        with warnings.catch_warnings(record=True) as warned, logged_events(run):
            warnings.simplefilter("always", ResourceWarning)
            try:
                trio.run(self._play, run, steps, clock=clock, instruments=[steps])
            except trio.TooSlowError:
                way_out = "; nobody cancels the first run, so the scenario must return, or the peer close"
                run.check(False, f"it did not end within {GIVE_UP:g} s" + (way_out if step is None else ""))
            after = count_descriptors()
        run.steps = steps.count
        leaks = [str(each.message) for each in warned if issubclass(each.category, ResourceWarning)]
        run.check(after <= before, f"{after - before} file descriptors are left")
        run.check(not leaks, f"something was left for the garbage collector: {leaks}")
        unexpected = None if isinstance(run.raised, self.raises) else run.raised
        if (error := run.peer_error or unexpected) is not None:
            error.add_note(str(run))
            raise error
        return run

    async def _play(self, run: CancelledRun, steps: Steps) -> None:
        ours, theirs = await self._streams()
        run.peer = ScriptedPeer(theirs, client=self.role == "server")
        tasks = trio.lowlevel.current_statistics().tasks_living
        with trio.fail_after(GIVE_UP):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._be_peer, run)
                await self._be_us(run, steps, ours)
                nursery.cancel_scope.deadline = trio.current_time() + TIME_TO_DRAIN
            left = trio.lowlevel.current_statistics().tasks_living - tasks
        run.check(left == 0, f"{left} tasks are left")

    async def _be_us(self, run: CancelledRun, steps: Steps, stream: trio.abc.Stream) -> None:
        steps.begin()
        try:
            with steps.scope:
                async with self._block(stream) as run.websocket:
                    try:
                        await self.scenario(run.websocket)
                        run.returned = True
                    finally:
                        run.left_at = trio.current_time()
                        left_by = sys.exception()
                        run.left_by = None if isinstance(left_by, trio.Cancelled) else left_by
        except Exception as error:
            run.raised = error
        finally:
            steps.end()
            run.event = run.websocket.close_event if run.websocket is not None else None
        run.over_at = trio.current_time()
        run.absorbed = steps.scope.cancelled_caught
        run.was_ready = steps.was_ready

    async def _be_peer(self, run: CancelledRun) -> None:
        peer = run.peer
        try:
            if self.ssl_contexts is not None:
                await self._secure(peer)
            await peer.open()
        except (NotOpened, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # we were cancelled in the opening handshake
        else:
            try:
                await self.script(peer)
            except Exception as error:
                run.peer_error = error
            await peer.drain()
        finally:
            await peer.aclose()

    async def _secure(self, peer: ScriptedPeer) -> None:
        assert self.ssl_contexts is not None
        context = self.ssl_contexts[1 if peer.client else 0]
        peer.stream = trio.SSLStream(
            peer.stream, context, server_side=not peer.client, server_hostname="localhost" if peer.client else None
        )
        await peer.stream.do_handshake()

    def _block(self, stream: trio.abc.Stream) -> AbstractAsyncContextManager[WebSocket]:
        contexts = self.ssl_contexts
        if self.role == "server":
            return accept(stream, ssl_context=contexts and contexts[0], **self.options)
        url = "wss://localhost/" if contexts else "ws://localhost/"
        return connect(url, stream=stream, ssl_context=contexts and contexts[1], **self.options)

    async def _streams(self) -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
        if self.wire != "tcp":
            pair = trio.testing.memory_stream_pair if self.wire == "memory" else trio.testing.lockstep_stream_pair
            return pair()
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            ours = await trio.testing.open_stream_to_socket_listener(listener)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            return ours, await listener.accept()


def runs_already() -> bool:
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True


def count_descriptors() -> int:
    """Return how many file descriptors are open; 0 where the system does not tell."""
    try:
        return len(os.listdir(DESCRIPTORS))
    except OSError:  # pragma: no cover  # no such directory on this system
        return 0


class CountEvents(logging.Handler):
    """Counts how often the end of a run's connection is logged."""

    def __init__(self, run: CancelledRun) -> None:
        super().__init__(logging.INFO)
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        websocket = getattr(record, "websocket", None)
        self._run.events_logged += websocket is not None and websocket is self._run.websocket


@contextmanager
def logged_events(run: CancelledRun) -> Generator[None]:
    """Let the ends of connections be logged, and counted, whatever the level is."""
    handler, level = CountEvents(run), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(handler)
