"""What docs/coming_from_websockets.rst says of connecting, and of receiving: in websockets, and here."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Final

import pytest
import trio
import trio.testing
import websockets.client
from websockets.exceptions import (
    ConcurrencyError,
    InvalidStatus,
)

from trio_closeevents import (
    HandshakeError,
    HandshakeRejected,
    HandshakeTimeout,
    ReconnectPolicy,
    Response,
    open_server,
)
from trio_closeevents.testing import BINARY, ScriptedPeer

from .libraries import HOST, connect, connect_asyncio, connect_trio, port_of
from .witness import play

pytestmark = pytest.mark.once  # websockets leans on private names of trio, which older versions do not have

LOOP: Final = """
import sys
from functools import partial

import trio
from websockets.trio.client import connect
from websockets.trio.server import serve


async def handler(ws):
    await ws.send("hello")
    await ws.wait_closed()


async def main(way):
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, 0, host="127.0.0.1"))
        port = server.listeners[0].socket.getsockname()[1]
        with trio.move_on_after(0.5 if way == "deadline" else 10):
            async for ws in connect(f"ws://127.0.0.1:{port}/", proxy=None):
                print(await ws.recv(), flush=True)
                if way == "break":
                    break
                await trio.sleep_forever()
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


trio.run(main, sys.argv[1])
"""


@pytest.mark.parametrize("way", ["break", "deadline"])
def test_loop_of_connections_is_left(way: str) -> None:
    """`async for ws in connect(...)` of the trio API leaves its nursery open behind it, which trio finds out."""
    done = subprocess.run([sys.executable, "-c", LOOP, way], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "hello\n"
    assert done.returncode != 0
    assert "TrioInternalError" in done.stderr or "stack corrupted" in done.stderr


async def test_nobody_listens() -> None:
    """An OSError there; the cause of a HandshakeError here."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    url = f"ws://{HOST}:{port_of(listener)}/"
    await listener.aclose()

    async def main() -> None:
        async with connect_asyncio(url):
            pass

    with pytest.raises(ConnectionRefusedError):
        await trio.to_thread.run_sync(asyncio.run, main())
    with pytest.raises(OSError, match="failed"):
        async with connect_trio(url):
            pass
    with pytest.raises(HandshakeError) as caught:
        async with connect(url):
            pass
    assert not isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.close_event.cause == "refused"


async def test_server_rejects() -> None:
    """The response is there in both, and its status by another name."""

    def process_request(request: object) -> Response:
        return Response(403, body="not you\n")

    async def handler(ws: object) -> None: ...

    async with open_server(handler, HOST, 0, process_request=process_request) as server:
        url = f"ws://{HOST}:{server.port}/"
        with pytest.raises(InvalidStatus) as there:
            async with connect_trio(url):
                pass
        with pytest.raises(HandshakeRejected) as here:
            async with connect(url):
                pass
    assert there.value.response.status_code == here.value.response.status == 403
    assert there.value.response.body == here.value.response.body == b"not you\n"


async def test_server_says_nothing() -> None:
    """`open_timeout` is a TimeoutError there, and a TooSlowError here."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    url = f"ws://{HOST}:{port_of(listener)}/"
    async with listener:
        with pytest.raises(TimeoutError):
            async with connect_trio(url, open_timeout=0.1):
                pass
        with pytest.raises(HandshakeTimeout) as caught:
            async with connect(url, open_timeout=0.1):
                pass
    assert isinstance(caught.value, trio.TooSlowError)
    assert not isinstance(caught.value, TimeoutError)


async def test_two_tasks_receive() -> None:
    """The second is told so, by another exception; the connection is none the worse."""

    async def there(url: str) -> None:
        async with connect_trio(url) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(ws.recv)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ConcurrencyError):
                await ws.recv()
            nursery.cancel_scope.cancel()

    async def here(url: str) -> None:
        async with connect(url) as ws, trio.open_nursery() as nursery:
            nursery.start_soon(ws.receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await ws.receive()
            nursery.cancel_scope.cancel()

    await play(there, ScriptedPeer.be_polite)
    await play(here, ScriptedPeer.be_polite)


def test_statuses_that_are_tried_again() -> None:
    """Those of the page, in `process_exception` there and in `ReconnectPolicy` here."""

    def is_tried_again(status: int) -> bool:
        response = websockets.Response(status, "", websockets.Headers())
        return websockets.client.process_exception(InvalidStatus(response)) is None

    assert {status for status in range(400, 600) if is_tried_again(status)} == {500, 502, 503, 504}
    assert ReconnectPolicy().statuses == {429, 502, 503, 504}
    assert ReconnectPolicy().codes >= {1001, 1012}
    assert not ReconnectPolicy().codes & {1000, 1008, 4404}


async def test_cancelled_receive_in_pieces() -> None:
    """What had begun goes on here; there another call says that the first has not ended."""

    async def send_slowly(peer: ScriptedPeer) -> None:
        await peer.send(peer.frame(BINARY, b"one", fin=False))
        await may_go_on.wait()
        await peer.send(peer.frame(0, b"two"))
        await peer.be_polite()

    async def there(url: str) -> None:
        async with connect_trio(url) as ws:
            pieces = ws.recv_streaming()
            assert await anext(pieces) == b"one"
            with trio.move_on_after(0.1):
                await anext(pieces)
            may_go_on.set()
            with pytest.raises(ConcurrencyError):
                await ws.recv()

    async def here(url: str) -> None:
        async with connect(url) as ws:
            with trio.move_on_after(0.1):
                async with ws.receive_stream() as pieces:
                    async for piece in pieces:
                        assert piece == b"one"
            may_go_on.set()
            async with ws.receive_stream() as pieces:
                assert [piece async for piece in pieces] == [b"two"]

    for program in (there, here):
        may_go_on = trio.Event()
        await play(program, send_slowly)
