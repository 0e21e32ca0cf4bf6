"""The table "What is different on purpose" of docs/coming_from_trio_websocket.rst, on both of its sides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import h11
import pytest
import trio
import trio_websocket as real
from trio.testing import MockClock

import trio_closeevents.compat.trio_websocket as mended
from trio_closeevents.testing import CLOSE, ScriptedPeer

from .libraries import HOST, port_of
from .witness import LEAVES_SOCKETS, play

FOR_EVER: Final = 50.0  # seconds, more than any limit here


@pytest.fixture(
    params=[pytest.param(real, id="trio-websocket", marks=LEAVES_SOCKETS), pytest.param(mended, id="mended")]
)
def package(request: pytest.FixtureRequest, swept: None) -> Any:
    """trio-websocket, and what takes its place."""
    return request.param


@pytest.fixture
def is_mended(package: Any) -> bool:
    """Whether this is what takes its place."""
    return package is mended


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    """A clock that jumps, when the kernel had its moment."""
    autojump_clock.autojump_threshold = 0.05
    return autojump_clock


async def is_over(program: Callable[[], Awaitable[object]]) -> bool:
    """Return whether *program* ends at all."""
    with trio.move_on_after(FOR_EVER) as scope:
        await program()
    return not scope.cancelled_caught


async def close_first(peer: ScriptedPeer) -> None:
    await peer.send(peer.frame(CLOSE, (1000).to_bytes(2)))
    await peer.receive_close()


async def test_server_accepts_and_says_nothing(package: Any, is_mended: bool, clock: MockClock) -> None:
    """`connect_timeout` passes, and is of no use in 0.12.2."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)

    async def program() -> None:
        with pytest.raises(package.ConnectionTimeout):
            async with package.open_websocket_url(f"ws://{HOST}:{port_of(listener)}/", connect_timeout=5):
                raise AssertionError("it is not open")

    async with listener:
        assert await is_over(program) == is_mended


async def test_server_leaves_tcp_open(package: Any, is_mended: bool, clock: MockClock) -> None:
    """Behind its Close, which was answered."""

    over = trio.Event()

    async def close_and_stay(peer: ScriptedPeer) -> None:
        await close_first(peer)
        await over.wait()

    async def program(url: str) -> None:
        async def main() -> None:
            async with package.open_websocket_url(url, disconnect_timeout=5) as ws:
                with pytest.raises(package.ConnectionClosed):
                    await ws.get_message()

        assert await is_over(main) == is_mended
        over.set()

    await play(program, close_and_stay)


async def test_ping_waits_when_the_connection_ends(package: Any, is_mended: bool, clock: MockClock) -> None:
    """The peer answers it with a Close."""

    async def answer_with_a_close(peer: ScriptedPeer) -> None:
        await peer.receive()
        await close_first(peer)
        await peer.fin()

    async def program(url: str) -> None:
        async with package.open_websocket_url(url) as ws:

            async def ping() -> None:
                with pytest.raises(package.ConnectionClosed):
                    await ws.ping()

            assert await is_over(ping) == is_mended

    await play(program, answer_with_a_close)


async def test_closed_after_a_close_of_our_own(package: Any, is_mended: bool) -> None:
    """While the answer is awaited, and when the peer has hung up without one."""
    asked, looked = trio.Event(), trio.Event()

    async def hang_up(peer: ScriptedPeer) -> None:
        await peer.receive_close()
        asked.set()
        await looked.wait()
        await peer.fin()

    async def program(url: str) -> list[int]:
        codes: list[int] = []
        async with package.open_websocket_url(url) as ws:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.aclose, 4000)
                await asked.wait()
                codes.append(ws.closed.code)
                looked.set()
            codes.append(ws.closed.code)
        return codes

    assert await play(program, hang_up) == ([4000, 1006] if is_mended else [1000, 1000])


@pytest.mark.parametrize(("wrong", "code"), [(b"\xc1\x00", 1002), (b"\x81\x02\xff\xfe", 1007)], ids=["frame", "UTF-8"])
async def test_peer_breaks_the_protocol(package: Any, is_mended: bool, wrong: bytes, code: int) -> None:
    """`closed` says so in both."""
    peers: list[ScriptedPeer] = []
    seen = trio.Event()

    async def break_the_protocol(peer: ScriptedPeer) -> None:
        peers.append(peer)
        await peer.send(wrong)
        await seen.wait()
        await peer.fin()
        with trio.move_on_after(0.5):
            await peer.drain()  # which 0.12.2 keeps waiting too

    async def program(url: str) -> None:
        async with package.open_websocket_url(url) as ws:
            with pytest.raises(package.ConnectionClosed) as caught:
                await ws.get_message()
            assert caught.value.reason.code == ws.closed.code == code
            seen.set()

    await play(program, break_the_protocol)
    (peer,) = peers
    assert (peer.close is not None and peer.close.code == code) == is_mended


async def test_answer_is_no_handshake(package: Any, is_mended: bool) -> None:
    """An accept key that is wrong."""
    over = trio.Event()
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)

    async def answer() -> None:
        async with await listener.accept() as stream:
            await stream.receive_some()
            await stream.send_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: wrong\r\n\r\n"
            )
            await over.wait()

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(package.HandshakeError if is_mended else h11.LocalProtocolError):
            async with package.open_websocket_url(f"ws://{HOST}:{port_of(listener)}/"):
                raise AssertionError("it is not open")
        over.set()


async def test_server_hangs_up_before_its_answer(package: Any, is_mended: bool, clock: MockClock) -> None:
    """At once, or not before `connect_timeout` has passed."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)

    async def hang_up() -> None:
        async with await listener.accept() as stream:
            await stream.receive_some()

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(hang_up)
        started = trio.current_time()
        with pytest.raises(package.HandshakeError):
            async with package.open_websocket_url(f"ws://{HOST}:{port_of(listener)}/", connect_timeout=5):
                raise AssertionError("it is not open")
        assert (trio.current_time() - started < 1) == is_mended


async def test_client_resets_its_connection(package: Any, is_mended: bool) -> None:
    """While a handler waits for a message, and does not expect that."""
    opened = trio.Event()

    async def handler(request: Any) -> None:
        ws = await request.accept()
        opened.set()
        await ws.get_message()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(package.serve_websocket, handler, HOST, 0, None))
            peer = ScriptedPeer(await trio.open_tcp_stream(HOST, server.port), client=True)
            await peer.open()
            await opened.wait()
            await peer.reset()
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()

    if is_mended:
        await main()
    else:
        with pytest.RaisesGroup(package.ConnectionClosed, flatten_subgroups=True, allow_unwrapped=True):
            await main()
