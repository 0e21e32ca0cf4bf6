"""The stage: plays acts on real sockets of the loopback, in every role."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Final

import trio

from trio_closeevents import Server, WebSocket, accept, connect, open_server

from .act import Act, Block, Enter, Script, in_block
from .leaving import Leaving
from .log import recorded
from .relay import Relay
from .row import Outcome

__all__ = [
    "HOST",
    "LIMITS",
    "Direct",
    "on_stage",
    "play_accept",
    "play_both",
    "play_client",
    "play_server",
    "when_left",
]

HOST: Final = "127.0.0.1"
PLAY_TIMEOUT: Final = 10.0  # seconds; only a broken play takes that long

# For rows that wait for no limit. One that is waited for by mistake is longer than `AT_ONCE`, and shows.
LIMITS: Final[dict[str, Any]] = {"open_timeout": 4, "close_timeout": 8, "cancel_timeout": 4}

Direct = Callable[[Server, Sequence[Act]], Any]
Run = Callable[..., AbstractAsyncContextManager[Server]]
Wrap = Callable[[trio.SocketStream], trio.abc.Stream]


@contextmanager
def on_stage() -> Generator[list[str]]:
    """What every play stands in; yields what is logged."""
    with recorded() as logged, trio.fail_after(PLAY_TIMEOUT):
        yield logged


@asynccontextmanager
async def listening() -> AsyncGenerator[tuple[trio.SocketListener, int]]:
    """Listen on the loopback; yields the port too."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        yield listener, listener.socket.getsockname()[1]


async def play_client(
    block: Block,
    script: Script,
    *,
    opens: bool = True,
    scheme: str = "ws",
    enter: Enter = in_block,
    wrap: Wrap | None = None,
    **options: Any,
) -> list[Outcome]:
    """Play our client against a raw server.

    Args:
        opens: the server does its half of the opening handshake before *script* begins.
        enter: how the block is entered.
        wrap: makes the stream that is given to `connect`, out of one that is connected.
        **options: of `connect`.
    """
    act = Act(block=block)

    async def be_server(listener: trio.SocketListener) -> None:
        await act.be_peer(await listener.accept(), script, client=False, opens=opens)

    with on_stage() as logged:
        async with listening() as (listener, port), trio.open_nursery() as nursery:
            nursery.start_soon(be_server, listener)
            stream = wrap(await trio.open_tcp_stream(HOST, port)) if wrap else None
            await act.own(connect(f"{scheme}://{HOST}:{port}/", stream=stream, **LIMITS | options), enter)
    return [act.outcome(logged)]


async def play_accept(
    block: Block,
    script: Script,
    *,
    opens: bool = True,
    enter: Enter = in_block,
    wrap: Wrap | None = None,
    **options: Any,
) -> list[Outcome]:
    """Play `accept` against a raw client. Arguments are those of `play_client`."""
    act = Act(block=block)

    async def be_client(port: int) -> None:
        await act.be_peer(await trio.open_tcp_stream(HOST, port), script, client=True, opens=opens)

    with on_stage() as logged:
        async with listening() as (listener, port), trio.open_nursery() as nursery:
            nursery.start_soon(be_client, port)
            accepted = await listener.accept()
            await act.own(accept(wrap(accepted) if wrap else accepted, **LIMITS | options), enter)
    return [act.outcome(logged)]


async def play_server(
    *parts: tuple[Block, Script],
    direct: Direct | None = None,
    run: Run = open_server,
    **options: Any,
) -> list[Outcome]:
    """Play our server against raw clients, one for each pair of handler and script.

    Args:
        direct: what is done in the server's own block; by default it waits for all handlers, and closes nothing.
        run: opens the server.
        **options: of `open_server`.
    """
    scope, leaving = trio.CancelScope(), Leaving()
    acts = [Act(block=block, scope=scope) for block, _ in parts]
    of_port: dict[int, Act] = {}

    async def handler(websocket: WebSocket) -> None:
        with leaving.inside(handler=True):
            await of_port[websocket.remote_address[1]].perform(websocket)

    async def be_client(act: Act, script: Script, port: int) -> None:
        stream = await trio.open_tcp_stream(HOST, port)
        of_port[stream.socket.getsockname()[1]] = act
        await act.be_peer(stream, script, client=True, opens=True)

    with on_stage() as logged:
        async with trio.open_nursery() as nursery:
            with leaving.outside(scope):
                async with run(handler, HOST, 0, **LIMITS | options) as server:
                    for act, (_, script) in zip(acts, parts, strict=True):
                        act.server = server
                        nursery.start_soon(be_client, act, script, server.port)
                    with leaving.inside():
                        await (direct or when_left)(server, acts)
            for act in acts:
                act.finish()
    return [act.outcome(logged, leaving=leaving) for act in acts]


async def when_left(server: Server, acts: Sequence[Act]) -> None:
    """Wait until all handlers have left, and then until the server has seen to it."""
    for act in acts:
        await act.left.wait()
    await server.aclose(grace=math.inf)


async def play_both(block: Block, handler_block: Block, **options: Any) -> list[Outcome]:
    """Play our client, whose block is *block*, against our server, with a relay between them.

    Args:
        handler_block: what the handler does.
        **options: of both sides.
    """
    relay = Relay()
    options = LIMITS | options
    act, other = Act(block=block), Act(block=handler_block)
    with on_stage() as logged:
        async with (
            open_server(other.perform, HOST, 0, **options) as server,
            listening() as (listener, port),
            trio.open_nursery() as nursery,
        ):
            act.server = server
            nursery.start_soon(relay.run, listener, server.port)
            await act.own(connect(f"ws://{HOST}:{port}/", **options), in_block)
            await when_left(server, [other])
    return [act.outcome(logged, travelled=relay.traffic.log, other=other.ws)]
