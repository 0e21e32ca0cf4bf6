"""One conversation of `connect`: lines go out, messages come in, until one side or the person ends it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from trio_closeevents import (
    CloseEvent,
    ConnectionClosed,
    HandshakeError,
    ReconnectEvent,
    ReconnectPolicy,
    WebSocket,
    stay_connected,
)

from .acts import HELP, Act, Bad, Close, Help, Ping, Send
from .clean import visible
from .face import Face
from .show import console_of, report
from .signals import Stop, stopping
from .status import Status, status_of
from .words import tell, tell_error

__all__ = ["Conversation"]


class Conversation:
    """What `connect` does once its options are understood.

    Args:
        connecting: makes a connection.
        face: where lines come from and messages go to.
        stop: what ends it from outside.
        wait: seconds without a message, behind the end of the input, after which we close.
        reconnect: try again after an ending that may be better the next time.
        quiet: do not tell how it ended.
    """

    def __init__(
        self,
        connecting: Callable[[], AbstractAsyncContextManager[WebSocket]],
        face: Face,
        stop: Stop,
        *,
        wait: float,
        reconnect: bool,
        quiet: bool,
    ) -> None:
        self._connecting = connecting
        self._face = face
        self._stop = stop
        self._wait = wait
        self._policy = ReconnectPolicy() if reconnect else never
        self._quiet = quiet
        self._act: Act | None = None  # what was asked for and is not done yet
        self._websocket: WebSocket | None = None
        self._outcome: CloseEvent | HandshakeError | None = None
        self._silence = trio.CancelScope()
        self._had_bad_input = False
        self._nursery: trio.Nursery | None = None
        send, self._acts = trio.open_memory_channel[Act](math.inf if face.ends_at_once else 0)
        self._send = send

    async def run(self) -> int:
        """Talk, say how it ended, and return the exit status."""
        async with self._face.opened(), stopping(self._stop), trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._read)
            await self._stay_connected()
            nursery.cancel_scope.cancel()
        if self._websocket is not None and self._websocket.close_event is not None:
            self._outcome = self._websocket.close_event
        self._tell()
        return self._status()

    async def _read(self) -> None:
        await self._face.read(self._send)
        if self._face.ends_at_once and self._websocket is None:
            self._stop.stop(Status.INTERRUPTED)  # nobody waits for a connection any more

    async def _stay_connected(self) -> None:
        try:
            await stay_connected(self._connecting, self._session, policy=self._policy, on_event=self._note)
        except HandshakeError as error:
            self._outcome = error

    def _note(self, event: ReconnectEvent) -> None:
        if event.phase == "connecting":
            self._websocket = None
        elif event.phase == "waiting":
            self._outcome = event.outcome
            self._websocket = None
            assert self._nursery is not None
            self._nursery.start_soon(self._face.note, visible(str(event)))

    async def _session(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        await self._face.state(is_open=True)
        async with trio.open_nursery() as nursery:
            listening = trio.CancelScope()
            nursery.start_soon(self._talk, websocket, listening)
            async for item in websocket.events():
                if not isinstance(item, CloseEvent):
                    self._silence.deadline = trio.current_time() + self._wait
                    await self._face.message(item)
            listening.cancel()
        await self._face.state(is_open=False)

    async def _talk(self, websocket: WebSocket, listening: trio.CancelScope) -> None:
        """Do what the input asks for, and close at its end."""
        is_over = False
        with listening:
            try:
                async with trio.open_nursery() as nursery:
                    while self._act is not None or await self._next_act():
                        await self._do(websocket, nursery)
                        self._act = None
                    nursery.cancel_scope.cancel()  # no Pong is waited for
            except* ConnectionClosed:
                is_over = True
            if not is_over and not self._face.ends_at_once:
                await self._wait_for_silence()
        if not is_over and not listening.cancel_called:
            await websocket.aclose(drain=True)

    async def _next_act(self) -> bool:
        try:
            self._act = await self._acts.receive()
        except trio.EndOfChannel:
            return False
        return True

    async def _wait_for_silence(self) -> None:
        """Wait for answers: until nothing has come for a while."""
        with trio.move_on_after(self._wait) as self._silence:
            await trio.sleep_forever()

    async def _do(self, websocket: WebSocket, nursery: trio.Nursery) -> None:
        match self._act:
            case Send(message):
                await websocket.send(message)
            case Ping():
                nursery.start_soon(self._ping, websocket)
            case Close(code, reason):
                try:
                    await websocket.aclose(code, reason, drain=True)
                except ValueError as error:
                    await self._face.note(visible(str(error)), "red")
            case Bad(why):
                self._had_bad_input = True
                await self._face.note(f"not sent: {visible(why)}", "red")
            case Help():
                await self._face.note(HELP)
            case _:
                pass

    async def _ping(self, websocket: WebSocket) -> None:
        latency = await websocket.ping()
        await self._face.note(f"round trip: {1000 * latency:.2f} ms")

    # -- the end -------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        console = console_of(sys.stderr)
        if self._quiet:
            return
        if self._outcome is None:
            report(console, "No connection was open yet.")
            return
        lines = tell_error(self._outcome) if isinstance(self._outcome, HandshakeError) else [tell(self._outcome)]
        style = "" if status_of(self._outcome) is Status.FINE else "red"
        for line in lines:
            report(console, line, style)

    def _status(self) -> int:
        if self._stop.status is not None:
            return self._stop.status
        assert self._outcome is not None
        status = status_of(self._outcome)
        is_bad = self._had_bad_input and not self._face.ends_at_once
        return Status.BAD_INPUT if status is Status.FINE and is_bad else status


def never(outcome: CloseEvent | HandshakeError, failures: int) -> None:
    """Be a policy that does not try again."""
