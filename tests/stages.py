"""What the stages for one connection have in common: roles, wires with their clocks, and what comes of a play.

A play is run over memory streams under the autojump clock, where every limit is exact, and over real TCP and TLS, where
it is the kernel that says what arrived.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import pytest
import trio
import trio.testing
from tls import Contexts

from trio_closeevents import CloseEvent
from trio_closeevents.testing import ScriptedPeer

__all__ = ["LEFT_BY", "BaseOutcome", "BaseStage", "Role", "Script", "Wire", "role", "run_autojump", "wire"]

Role = Literal["client", "server"]
Script = Callable[[ScriptedPeer], Awaitable[object]]

# What a block may be left by in these tests; trio.Cancelled is absorbed by the scope of the play.
LEFT_BY = (Exception, KeyboardInterrupt, SystemExit, BaseExceptionGroup)

REAL_LIMITS: Final = (1.0, 0.5, 1.0)  # close_timeout, cancel_timeout, tolerance
WIRES: Final = (
    "memory",
    pytest.param("tcp", marks=[pytest.mark.once, pytest.mark.measured]),
    pytest.param("tls1.3", marks=pytest.mark.once),
    # The older one differs in the handshake, and there `test_nasty_peers.py` has it.
    *([pytest.param("tls1.2", marks=pytest.mark.once)] if os.environ.get("ALL_WIRES") else []),
)


@dataclass(frozen=True)
class Wire:
    """What the bytes travel over, and the limits that suit its clock."""

    name: str
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None  # of the server, of the client
    close_timeout: float = 10.0
    cancel_timeout: float = 1.0
    tolerance: float = 0.05  # the ending may take that much longer than its limit

    @property
    def memory(self) -> bool:
        return self.name == "memory"

    @property
    def limits(self) -> dict[str, Any]:
        return {"close_timeout": self.close_timeout, "cancel_timeout": self.cancel_timeout}

    async def pair(self, *, bounded: bool = False) -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
        """Return two connected streams; with *bounded*, memory takes nothing that nobody reads, as sockets do."""
        if self.memory:
            return trio.testing.lockstep_stream_pair() if bounded else trio.testing.memory_stream_pair()
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            ours = await trio.testing.open_stream_to_socket_listener(listener)
            return ours, await listener.accept()


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, server_contexts: Contexts, client_contexts: Contexts) -> Wire:
    """Memory, TCP, TLS, one after the other."""
    name: str = request.param
    if name == "memory":
        return Wire(name)
    if name == "tcp":
        return Wire(name, None, *REAL_LIMITS)
    version = ssl.TLSVersion["TLSv" + name[3:].replace(".", "_")]
    return Wire(name, (server_contexts(version), client_contexts(version)), *REAL_LIMITS)


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> Role:
    """Our side's role, one after the other."""
    value: Role = request.param
    return value


def run_autojump(function: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    """Run as `trio.run` does, but under the autojump clock."""
    options["clock"] = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(function, **options)


class Ending(Protocol):
    """A connection that has a CloseEvent."""

    @property
    def close_event(self) -> CloseEvent | None: ...


WebSocketT = TypeVar("WebSocketT", bound=Ending)


@dataclass
class BaseOutcome(Generic[WebSocketT]):
    """What came of a play."""

    peer: ScriptedPeer
    websocket: WebSocketT | None = None
    raised: BaseException | None = None
    block_left: float = 0.0  # when the block began to end
    seconds: float = 0.0  # from then until it had ended

    @property
    def ws(self) -> WebSocketT:
        assert self.websocket is not None
        return self.websocket

    @property
    def event(self) -> CloseEvent | None:
        return self.ws.close_event


@dataclass(frozen=True)
class BaseStage:
    """Our side's role, and the wire."""

    role: Role
    wire: Wire

    @property
    def is_client(self) -> bool:
        return self.role == "client"

    def took(self, outcome: BaseOutcome[Any], limit: float) -> bool:
        """Tell whether the ending took its whole *limit*, and not more."""
        return limit - 0.01 <= outcome.seconds <= limit + self.wire.tolerance

    def was_quick(self, outcome: BaseOutcome[Any]) -> bool:
        """Tell whether the ending did not wait for any limit."""
        return outcome.seconds < self.wire.cancel_timeout * 0.9
