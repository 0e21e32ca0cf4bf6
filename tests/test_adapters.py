"""A connection as a byte stream, and as a channel of JSON values."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from trio_closeevents import CloseCause, CloseFrame, ConnectionBroken
from trio_closeevents.testing import open_scripted_pair, open_websocket_pair

# -- bytes -------------------------------------------------------------------------------------------------------------


async def test_stream_is_one_as_trio_has_it() -> None:
    """Bytes, whole and cut, from any buffer; the end of one direction leaves the other open."""
    async with open_websocket_pair() as pair:
        client, server = pair.client.as_stream(), pair.server.as_stream()
        async with trio.open_nursery() as nursery:
            data = bytes(range(256)) * 2000
            received = bytearray()

            async def receive() -> None:
                async for part in server:
                    received.extend(part)

            nursery.start_soon(receive)
            for view in (data, bytearray(data), memoryview(data).cast("H"), b""):
                await client.send_all(view)
            await client.send_eof()
            await client.send_eof()
        assert received == data * 3
        assert await server.receive_some() == b""
        await server.send_all(b"back")
        assert await client.receive_some(3) == b"bac"
        assert await client.receive_some(3) == b"k"
        with pytest.raises(trio.ClosedResourceError, match="send_eof"):
            await client.send_all(b"late")
        with pytest.raises(trio.ClosedResourceError):
            await client.wait_send_all_might_not_block()


async def test_stream_sends_messages_of_a_bounded_size() -> None:
    """So that no limit of a peer is in the way."""
    async with open_websocket_pair() as (client, server):
        stream = client.as_stream()
        await stream.wait_send_all_might_not_block()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(150_000))
            assert [len(await server.receive()) for _ in range(3)] == [65536, 65536, 150_000 - 2 * 65536]


async def test_stream_ends_when_the_peer_closes_cleanly() -> None:
    """As with FIN; what had come before is read first."""
    async with open_websocket_pair() as (client, server):
        await server.send(b"last words")
        await server.as_stream().aclose()
        stream = client.as_stream()
        assert [part async for part in stream] == [b"last words"]
        assert await stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"late")


async def test_stream_breaks_when_the_connection_does() -> None:
    """And is closed when this side has closed."""
    async with open_websocket_pair() as (client, server):
        await server.aclose(1011)
        with pytest.raises(ConnectionBroken):
            await client.as_stream().receive_some()
    async with open_websocket_pair() as (client, server):
        async with client.as_stream() as stream:
            pass
        assert client.close_event is not None
        assert client.close_event.cause is CloseCause.CLOSED
        for method in (stream.receive_some, stream.send_eof, stream.wait_send_all_might_not_block):
            with pytest.raises(trio.ClosedResourceError):
                await method()


async def test_text_in_a_stream_is_refused() -> None:
    """With 1003, the code for data of a type that nobody can take (RFC 6455 §7.4.1)."""
    async with open_scripted_pair() as (websocket, peer):
        stream = websocket.as_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.be_polite)
            await peer.send(peer.frame(1, b"text"))
            with pytest.raises(trio.BrokenResourceError, match="the peer has sent text"):
                await stream.receive_some()
    assert peer.record[0] == "Close 1003 'a byte stream has no text'"


async def test_one_task_sends_and_one_receives() -> None:
    """Another one is told so, and nothing of it is sent."""
    pair = open_websocket_pair(streams=trio.testing.lockstep_stream_pair(), max_queue=1, close_timeout=1)
    async with pair as (client, _):
        stream = client.as_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_some)
            nursery.start_soon(stream.send_all, bytes(1_000_000))
            await trio.testing.wait_all_tasks_blocked()
            for method in (stream.wait_send_all_might_not_block, stream.send_eof, lambda: stream.send_all(b"")):
                with pytest.raises(trio.BusyResourceError):
                    await method()
            with pytest.raises(trio.BusyResourceError):
                await stream.receive_some()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
async def test_size_that_is_none_is_refused(size: Any, error: type[Exception]) -> None:
    """Nothing is lost by it."""
    async with open_websocket_pair() as (client, server):
        await server.send(b"whole")
        stream = client.as_stream()
        with pytest.raises(error, match=r"max_bytes must be"):
            await stream.receive_some(size)
        assert await stream.receive_some() == b"whole"


# -- values ------------------------------------------------------------------------------------------------------------


async def test_values_travel_as_json_in_text() -> None:
    """Both ways; iteration ends as that of the connection does."""
    async with open_websocket_pair() as (client, server):
        values = [{"a": [1, 2.5, None, True, "\u20ac"]}, [], "text", 5]
        ours, theirs = client.as_json(), server.as_json()
        for value in values:
            await ours.send(value)
        await server.send(b'{"binary": true}')
        assert [await theirs.receive() for _ in values] == values
        assert await ours.receive() == {"binary": True}
        await client.send("1")
        assert await server.receive() == "1"
        await ours.aclose()
        assert [value async for value in theirs] == []


async def test_any_json_library_will_do() -> None:
    """One that makes bytes too: what travels is text."""

    def dumps(value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":")).encode()

    def loads(data: str | bytes) -> Any:
        return json.loads(data, parse_float=str)

    async with open_websocket_pair() as (client, server):
        await client.as_json(dumps=dumps, loads=loads).send({"a": 1.5})
        assert await server.receive() == '{"a":1.5}'
        await server.send('{"a":1.50}')
        assert await client.as_json(loads=loads).receive() == {"a": "1.50"}


async def test_what_is_no_json_leaves_the_connection_open() -> None:
    """In both directions."""
    async with open_websocket_pair() as (client, server):
        channel = client.as_json()
        with pytest.raises(TypeError, match="not JSON serializable"):
            await channel.send(object())
        await server.send("{")
        await server.send("1")
        with pytest.raises(json.JSONDecodeError):
            await channel.receive()
        assert await channel.receive() == 1


async def test_json_channel_knows_its_connection_and_closes_it_with_any_code() -> None:
    """What a channel does not do, the WebSocket under it does."""
    async with open_websocket_pair() as (client, server):
        channel = client.as_json()
        assert channel.websocket is client
        with pytest.raises(ValueError, match=r"1006 .* may not be sent"):
            await channel.aclose(1006)
        assert client.close_event is None
        await channel.aclose(4000, "no more values")
        assert (server.close_event and server.close_event.received) == CloseFrame(4000, "no more values")
    async with open_websocket_pair() as (client, server):
        async with client.as_json():
            pass
        assert (server.close_event and server.close_event.received) == CloseFrame(1000)
