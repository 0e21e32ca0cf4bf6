"""What `docs/api.rst` of trio-websocket tells of requests and connections: see `test_documented_examples.py`."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trio_closeevents.testing import PONG, ScriptedPeer

from .documented import HOST, echo_of, scripted, served, url_of


async def test_api_requests_are_accepted(trio_websocket: Any) -> None:
    """With a subprotocol of those proposed, and headers of one's own."""

    async def handler(request: Any) -> None:
        assert request.proposed_subprotocols == ("v2.chat", "v1.chat")
        assert dict(request.headers)[b"x-room"] == b"5"
        assert str(request.local.address) == str(request.remote.address) == HOST
        ws = await request.accept(subprotocol="v1.chat", extra_headers=[(b"X-Greeting", b"hello")])
        assert ws.subprotocol == "v1.chat"
        await ws.aclose()

    async with served(trio_websocket, handler) as server:
        options = {"subprotocols": ["v2.chat", "v1.chat"], "extra_headers": [(b"X-Room", b"5")]}
        async with trio_websocket.open_websocket_url(url_of(server), **options) as ws:
            assert ws.subprotocol == "v1.chat"
            assert (b"x-greeting", b"hello") in ws.handshake_headers


async def test_api_requests_are_rejected(trio_websocket: Any) -> None:
    """With a status, headers and a body, all of which the client gets."""

    async def handler(request: Any) -> None:
        await request.reject(403, extra_headers=[(b"X-Reason", b"no key")], body=b"no entry")

    async with served(trio_websocket, handler) as server:
        with pytest.raises(trio_websocket.ConnectionRejected) as caught:
            async with trio_websocket.open_websocket_url(url_of(server)):
                raise AssertionError("it is not open")
    assert isinstance(caught.value, trio_websocket.HandshakeError)
    assert (caught.value.status_code, caught.value.body) == (403, b"no entry")
    assert (b"x-reason", b"no key") in caught.value.headers
    assert repr(caught.value) == "ConnectionRejected<status_code=403>"


async def test_api_connections_send_text_and_bytes(trio_websocket: Any) -> None:
    """And nothing else; the connection is none the worse."""
    async with served(trio_websocket, echo_of(trio_websocket)) as server:
        async with trio_websocket.open_websocket_url(url_of(server)) as ws:
            for wrong in (None, 1, bytearray(b"x"), ["x"]):
                with pytest.raises(ValueError, match="str or bytes"):
                    await ws.send_message(wrong)
            await ws.send_message("still open")
            assert await ws.get_message() == "still open"


async def test_api_connections_ping_and_pong(trio_websocket: Any) -> None:
    """A payload once at a time; a Pong that nobody asked for is nothing to wait for."""
    async with served(trio_websocket, echo_of(trio_websocket)) as server:
        async with trio_websocket.open_websocket_url(url_of(server)) as ws:
            await ws.ping()
            await ws.ping(b"payload")
            await ws.pong(b"payload")
            await ws.send_message("after")
            assert await ws.get_message() == "after"


async def test_api_connections_ping_twice(trio_websocket: Any) -> None:
    """A Pong that answers a later Ping answers all before it; two with the same payload cannot be told apart."""

    async def answer_the_last(peer: ScriptedPeer) -> None:
        await peer.receive()
        await peer.receive()
        await peer.send(peer.frame(PONG, b"second"))
        await peer.be_polite()

    async with scripted(answer_the_last) as url, trio_websocket.open_websocket_url(url) as ws:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.ping, b"first")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ValueError, match=r"(?i)payload"):
                await ws.ping(b"first")
            await ws.ping(b"second")


async def test_api_connections_are_closed(trio_websocket: Any) -> None:
    """With code and reason; what is asked of a connection that has ended raises ConnectionClosed."""
    seen: list[tuple[int, str | None]] = []

    async def handler(request: Any) -> None:
        ws = await request.accept()
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await ws.get_message()
        seen.append((caught.value.reason.code, caught.value.reason.reason))

    async with served(trio_websocket, handler) as server:
        async with trio_websocket.open_websocket_url(url_of(server)) as ws:
            await ws.aclose(4000, "bye")
            await ws.aclose(4001, "too late")
            for ask in (ws.get_message, partial(ws.send_message, "late"), ws.ping, ws.pong):
                with pytest.raises(trio_websocket.ConnectionClosed):
                    await ask()
        await trio.testing.wait_all_tasks_blocked()
    assert seen == [(4000, "bye")]


async def test_api_messages_before_the_close_are_delivered(trio_websocket: Any) -> None:
    """Those of the peer, in order; then the exception."""

    async def handler(request: Any) -> None:
        ws = await request.accept()
        for number in range(3):
            await ws.send_message(str(number))
        await ws.aclose(1001)

    async with served(trio_websocket, handler) as server:
        async with trio_websocket.open_websocket_url(url_of(server), message_queue_size=10) as ws:
            assert [await ws.get_message() for _ in range(3)] == ["0", "1", "2"]
            with pytest.raises(trio_websocket.ConnectionClosed) as caught:
                await ws.get_message()
    assert caught.value.reason.name == "GOING_AWAY"
