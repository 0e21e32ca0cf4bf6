"""The limits of a server: who is refused, how, and that the others do not notice."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from nasty import nothing_left, read_all
from tls import HOST, Wire

from trio_closeevents import (
    CloseEvent,
    HandshakeRejected,
    Listen,
    Request,
    Response,
    Server,
    WebSocket,
    _limits,
    connect,
    open_server,
)
from trio_closeevents._limits import Excess, Limits, Seat, Seats, key_of
from trio_closeevents.testing import ScriptedPeer

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
OTHER_HOST = "127.0.0.2"  # Linux has them all


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def has_refused(server: Server, number: int) -> bool:
    return server.refused == number


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.005)


async def dial(port: int, host: str = HOST) -> trio.SocketStream:
    """Connect from the address *host*, without a word."""
    return await trio.open_tcp_stream(HOST, port, local_address=host)


async def status_of(port: int, host: str = HOST) -> int:
    """Try to connect from *host*; return the status of the answer."""
    try:
        async with connect(f"ws://{HOST}:{port}", stream=await dial(port, host)) as ws:
            return ws.response.status
    except HandshakeRejected as error:
        return error.response.status


# -- what counts -------------------------------------------------------------------------------------------------------


def seats(**limits: int) -> Seats:
    return Seats(Limits(**limits))


def seat_of(seats: Seats, host: str) -> Seat:
    seat = seats.take()
    if seat.excess is None:
        seats.identify(seat, (host, 1))
    return seat


def test_seats_count_from_accepting_to_the_end() -> None:
    """A handshake is a connection too; one that is closing still counts."""
    all_seats = seats(max_connections=2)
    first, second, third = [seat_of(all_seats, "1.2.3.4") for _ in range(3)]
    assert (all_seats.connections, all_seats.handshakes) == (2, 2)
    assert third.excess is Excess.CONNECTIONS
    all_seats.leave(third)  # one that was refused takes no place with it
    all_seats.open(first)
    assert (all_seats.connections, all_seats.handshakes) == (2, 1)
    assert seat_of(all_seats, "1.2.3.4").excess is Excess.CONNECTIONS
    all_seats.leave(first)
    all_seats.leave(second)
    assert (all_seats.connections, all_seats.handshakes) == (0, 0)


def test_seats_count_handshakes_until_they_are_over() -> None:
    """A connection that is open, or gone, makes room for the next handshake."""
    all_seats = seats(max_handshakes=2)
    first, second = seat_of(all_seats, "1.2.3.4"), seat_of(all_seats, "1.2.3.4")
    assert seat_of(all_seats, "4.3.2.1").excess is Excess.HANDSHAKES
    all_seats.open(first)
    assert seat_of(all_seats, "4.3.2.1").excess is None
    assert seat_of(all_seats, "4.3.2.1").excess is Excess.HANDSHAKES
    all_seats.leave(second)
    assert seat_of(all_seats, "4.3.2.1").excess is None


def test_seats_count_for_an_address_when_it_is_known() -> None:
    """Until then in all; one that is refused for its address leaves its place to others."""
    all_seats = seats(max_connections=3, max_connections_per_address=1)
    first, second, third = [all_seats.take() for _ in range(3)]
    assert all_seats.identify(first, ("1.2.3.4", 1))
    assert not all_seats.identify(second, ("1.2.3.4", 2))
    assert second.excess is Excess.ADDRESS
    assert all_seats.identify(second, ("4.3.2.1", 2))  # too late
    assert all_seats.connections == all_seats.handshakes == 2
    assert all_seats.identify(third, ("4.3.2.1", 2))
    all_seats.open(first)
    assert seat_of(all_seats, "1.2.3.4").excess is Excess.ADDRESS
    all_seats.leave(first)
    assert seat_of(all_seats, "1.2.3.4").excess is None


def test_one_address_gets_half_of_the_handshakes() -> None:
    """With a limit on addresses; without it there is but one queue."""
    both = seats(max_connections_per_address=100, max_handshakes=5)
    assert [seat_of(both, "1.2.3.4").excess for _ in range(3)] == [None, None, Excess.ADDRESS]
    assert [seat_of(both, "4.3.2.1").excess for _ in range(3)] == [None, None, Excess.ADDRESS]
    alone = seats(max_handshakes=5)
    assert [seat_of(alone, "1.2.3.4").excess for _ in range(6)] == [None] * 5 + [Excess.HANDSHAKES]
    single = seats(max_connections_per_address=100, max_handshakes=1)
    assert seat_of(single, "1.2.3.4").excess is None


def test_seats_forget_addresses_that_are_gone() -> None:
    """A server that runs for years has seen many."""
    all_seats = seats(max_connections_per_address=2, max_handshakes=9)
    for last in range(50):
        address = f"10.0.0.{last}"
        pair = [seat_of(all_seats, address), seat_of(all_seats, address)]
        all_seats.open(pair[0])
        for each in pair:
            all_seats.leave(each)
    assert all_seats._connections_of == all_seats._handshakes_of == {}


def test_refusals_push_out_the_oldest() -> None:
    """One that is over already, or was pushed out, does not count."""
    all_seats = seats(max_connections=1)
    all_seats.take()
    refused = [all_seats.take() for _ in range(_limits.MOST_REFUSALS + 3)]
    dropped: list[Seat] = []
    for seat in refused[:-2]:
        all_seats.refuse(seat, partial(dropped.append, seat))
    assert dropped == refused[:1]
    all_seats.leave(refused[0])  # when its task has ended
    all_seats.leave(refused[7])
    all_seats.refuse(refused[-2], print)
    assert dropped == refused[:1]
    all_seats.refuse(refused[-1], print)
    assert dropped == refused[:2]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        (("1.2.3.4", 80), "1.2.3.4"),
        (("2001:db8:1:2:3:4:5:6", 80, 0, 0), bytes.fromhex("20010db800010002")),
        (("2001:db8:1:2::", 81, 0, 0), bytes.fromhex("20010db800010002")),
        (("2001:db8:1:3::", 81, 0, 0), bytes.fromhex("20010db800010003")),
        (("fe80::1%eth0", 80, 0, 2), bytes.fromhex("fe80000000000000")),
        (("::ffff:1.2.3.4", 80, 0, 0), "1.2.3.4"),
        ("/run/app.sock", None),
        ("", None),
        (b"\0name", None),
        (None, None),
    ],
)
def test_key_is_what_one_client_has(address: object, key: object) -> None:
    """An address of IPv4, also inside one of IPv6, or a /64; nothing of what has no address."""
    assert key_of(address) == key


@pytest.mark.parametrize("name", ["max_connections", "max_connections_per_address", "max_handshakes"])
def test_limit_that_cannot_be_is_refused_at_the_call(name: str) -> None:
    """It counts: it is an `int` of at least one, or `None`."""
    for wrong, error in ((0, ValueError), (-1, ValueError), ("5", TypeError), (True, TypeError), (5.0, TypeError)):
        limits: dict[str, Any] = {name: wrong}
        with pytest.raises(error, match=f"{name} must be "):
            open_server(echo, HOST, 0, **limits)
    allowed: dict[str, Any] = {name: None}
    open_server(echo, HOST, 0, **allowed)


# -- how a client is refused -------------------------------------------------------------------------------------------


@asynccontextmanager
async def full_server(wire: Wire | None = None, **options: Any) -> AsyncGenerator[Any]:
    """Open a server that takes one connection, and take that; its echo works to the end."""
    context = wire.server_ssl_context if wire else None
    client_context = wire.client_ssl_context if wire else None
    options = {"max_connections": 1} | options
    async with nothing_left(), open_server(echo, HOST, 0, ssl_context=context, **options) as server:
        url = wire.url(server.port) if wire else f"ws://{HOST}:{server.port}"
        async with connect(url, ssl_context=client_context) as ws:
            yield server
            await ws.send("still here")
            assert await ws.receive() == "still here"


async def test_client_over_the_limit_is_answered_503(wire: Wire) -> None:
    """With `Retry-After`, through TLS too, as soon as its request is read; the next one gets the place."""
    async with full_server(wire) as server:
        for number in (1, 2):
            with pytest.raises(HandshakeRejected) as caught:
                async with connect(wire.url(server.port), ssl_context=wire.client_ssl_context):
                    pass
            response = caught.value.response
            assert response is not None
            assert response.status == 503
            assert 1 <= int(response.headers["retry-after"]) <= 10
            assert response.body == b"the server has as many connections as it takes\n"
            assert server.refused == number
        assert server.handshakes == 0
        assert "1 connections, 2 refused, open" in repr(server)


async def test_refused_clients_are_told_to_come_back_at_different_times() -> None:
    """Else all of them would be there again at once."""
    all_seats = seats(max_connections=1)
    all_seats.take()
    answers = [all_seats.refuse(all_seats.take(), print) for _ in range(20)]
    assert {int(answer.headers["retry-after"]) for answer in answers} == set(range(1, 11))


async def test_answer_503_survives_what_the_client_still_sends(wire: Wire) -> None:
    """It is half-closed and drained: no reset destroys the answer in a client that sends on."""
    async with full_server(wire) as server:
        stream = await wire.dial(server.port)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def flood() -> None:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(UPGRADE + bytes(2**20))

            await trio.sleep(0.05)
            answer = bytearray()
            while not answer.endswith(b"takes\n"):
                answer += await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 503 ")
        await trio.aclose_forcefully(stream)
        await until(lambda: len(server._serving) == 1)


async def test_refusals_have_a_bound_and_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that say nothing pile up to a number, and hold out nobody."""
    monkeypatch.setattr(_limits, "MOST_REFUSALS", 3)
    async with full_server() as server:
        silent = []
        for number in range(5):
            silent.append(await dial(server.port))
            await until(partial(has_refused, server, number + 1))
        assert await status_of(server.port) == 503
        for stream in silent[:3]:
            assert (await read_all(stream)).startswith(b"HTTP/1.1 503 ")  # nobody had asked, and it was gone
        for stream in silent[3:]:
            await stream.send_all(UPGRADE)
            assert (await read_all(stream)).startswith(b"HTTP/1.1 503 ")
        for stream in silent:
            await stream.aclose()
        await until(lambda: len(server._serving) == 1)


async def test_refusal_that_makes_room_in_its_tls_handshake_is_only_dropped(
    monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    """There is no way to say 503 before TLS is there; on a plain wire there is."""
    monkeypatch.setattr(_limits, "MOST_REFUSALS", 1)
    async with full_server(wire) as server, await dial(server.port) as silent:
        await until(partial(has_refused, server, 1))
        with pytest.raises(HandshakeRejected):
            async with connect(wire.url(server.port), ssl_context=wire.client_ssl_context):
                pass
        assert (await read_all(silent))[:13] == (b"" if wire.secure else b"HTTP/1.1 503 ")


async def test_refusal_takes_no_longer_than_a_handshake() -> None:
    """`open_timeout` bounds it, and its place among the refusals is free again."""
    async with full_server(open_timeout=0.2) as server, await dial(server.port) as silent:
        assert await read_all(silent) == b""
        await until(lambda: len(server._serving) == 1)
        assert server._seats._refusals == {}


async def test_plain_http_is_answered_above_the_limit() -> None:
    """A health check says that the server lives; a client that wants a WebSocket does not reach `process_request`."""
    asked: list[str] = []

    def process_request(request: Request) -> Response | None:
        asked.append(request.target)
        return Response(200, (), "fine\n") if request.path == "/health" else None

    async with full_server(process_request=process_request) as server:
        for target, status in (("/health", b"200"), ("/", b"426")):
            async with await dial(server.port) as stream:
                await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                assert (await read_all(stream)).startswith(b"HTTP/1.1 " + status)
        assert await status_of(server.port) == 503
    assert asked == ["/", "/health", "/"]


async def test_process_response_sees_the_503() -> None:
    """As every answer on its way out."""

    def process_response(request: Request, response: Response) -> Response | None:
        return Response(503, [("Retry-After", "77")]) if response.status == 503 else None

    async with full_server(process_response=process_response) as server:
        with pytest.raises(HandshakeRejected) as caught:
            async with connect(f"ws://{HOST}:{server.port}"):
                pass
        assert caught.value.response is not None
        assert caught.value.response.headers["retry-after"] == "77"


async def test_connection_that_is_closing_counts_until_it_is_gone() -> None:
    """It has a socket and a task as long."""
    async with nothing_left(), open_server(echo, HOST, 0, max_connections=1) as server:
        peer = ScriptedPeer(await dial(server.port), client=True)
        await peer.open()
        await peer.send(peer.frame(8, b"\x03\xe8"))
        await peer.receive_close()  # and the server drains, since our FIN is missing
        assert await status_of(server.port) == 503
        await peer.aclose()
        await until(lambda: not server._serving)
        assert await status_of(server.port) == 101


async def test_server_that_closes_ends_its_refusals_too() -> None:
    """They are answered like other handshakes in progress."""
    async with open_server(echo, HOST, 0, max_handshakes=1) as server:
        async with await dial(server.port) as one, await dial(server.port) as other:
            await until(lambda: server.refused == 1)
            await server.aclose()
            for stream in (one, other):
                assert b"the server is closing" in await read_all(stream)
            assert server.handshakes == 0


async def test_log_has_a_warning_now_and_then(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    """The first refusal is told of, and after a while how many there were; each is a line for debugging."""
    caplog.set_level(logging.DEBUG, "trio_closeevents")

    def lines(level: int) -> list[str]:
        return [each.getMessage() for each in caplog.records if each.levelno == level and "as it takes" in each.message]

    async with full_server() as server:
        for _ in range(4):
            assert await status_of(server.port) == 503
        await until(lambda: len(lines(logging.DEBUG)) == 4)
        assert len(lines(logging.WARNING)) == 1
        assert "1 since it last said so: the server has as many connections as it takes" in lines(logging.WARNING)[0]
        monkeypatch.setattr(server._seats, "_warn_from", 0.0)
        assert await status_of(server.port) == 503
        assert "refuses connections, 4 since it last said so" in lines(logging.WARNING)[1]


# -- who gets in beside them -------------------------------------------------------------------------------------------


async def test_limit_per_address_leaves_other_addresses_alone() -> None:
    """Each has its own number of places."""
    async with nothing_left(), open_server(echo, HOST, 0, max_connections_per_address=2) as server:
        async with AsyncExitStack() as stack:
            for host in (HOST, OTHER_HOST):
                for _ in range(2):
                    url = f"ws://{HOST}:{server.port}"
                    await stack.enter_async_context(connect(url, stream=await dial(server.port, host)))
                assert await status_of(server.port, host) == 503
        await until(lambda: not server._serving)
        assert await status_of(server.port) == 101


async def test_limit_per_address_does_not_apply_to_unix_sockets(tmp_path: Path) -> None:
    """They have none."""
    path = str(tmp_path / "socket")
    async with open_server(echo, listen=[Listen(path)], max_connections_per_address=1), AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(connect("ws://localhost/", stream=await trio.open_unix_socket(path)))


@asynccontextmanager
async def slow_loris(port: int, number: int, host: str) -> AsyncGenerator[None]:
    """Send requests byte by byte and never end one; a connection that is ended is begun again."""

    async def drip() -> None:
        while True:
            await trio.sleep(0.1)  # or there are so many that the machine has nothing left for others
            async with await dial(port, host) as stream:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(UPGRADE[:-2])
                    async with trio.open_nursery() as nursery:

                        @nursery.start_soon
                        async def read() -> None:
                            await read_all(stream)
                            nursery.cancel_scope.cancel()

                        while True:
                            await stream.send_all(b"X: y\r\n")
                            await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(drip)
        yield
        nursery.cancel_scope.cancel()


async def test_slow_loris_leaves_handshakes_to_other_addresses() -> None:
    """It gets half of them at most, and good clients pass by, with the connections that are open."""
    limits: dict[str, Any] = {"max_handshakes": 10, "max_connections_per_address": 100}
    async with nothing_left(), open_server(echo, HOST, 0, open_timeout=5, **limits) as server:
        async with connect(f"ws://{HOST}:{server.port}") as ws:
            async with slow_loris(server.port, 50, OTHER_HOST):
                await until(lambda: server.refused >= 45 and server.handshakes >= 5)
                assert server.handshakes == 5
                for number in range(50):
                    assert await status_of(server.port) == 101
                    await ws.send(str(number))
                    assert await ws.receive() == str(number)
                assert server.handshakes <= 6
        await until(lambda: not server._serving)


async def test_slow_loris_from_one_address_has_but_its_open_timeout() -> None:
    """Without a limit per address it can fill all handshakes, but each of them only for `open_timeout`."""
    async with nothing_left(), open_server(echo, HOST, 0, open_timeout=2, max_handshakes=5) as server:
        async with AsyncExitStack() as stack:
            for _ in range(5):
                stream = await stack.enter_async_context(await dial(server.port))
                await stream.send_all(b"GET")
            await until(lambda: server.handshakes == 5)
            assert await status_of(server.port) == 503
            await until(lambda: server.handshakes == 0)
            assert await status_of(server.port) == 101


CROWD = """
import json, resource, sys, trio
from collections import Counter
from trio_closeevents import connect

port, members, surplus, at_once = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
UPGRADE = (
    b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n"
)
inside, over = 0, trio.Event()
all_inside = trio.Event()
echoes, events, answers = [0] * members, Counter(), Counter()
seconds = []

async def be_member(number):
    global inside
    async with connect(f"ws://127.0.0.1:{port}/", open_timeout=60) as ws:
        inside += 1
        if inside == members:
            all_inside.set()
        await all_inside.wait()
        while not over.is_set() or not echoes[number]:
            began = trio.current_time()
            await ws.send(f"message of {number}")
            assert await ws.receive() == f"message of {number}"
            seconds.append(trio.current_time() - began)
            echoes[number] += 1
            with trio.move_on_after(4):
                await over.wait()
        await ws.aclose()
    events[str(ws.close_event)] += 1

async def be_refused(limiter):
    async with limiter:
        try:
            async with await trio.open_tcp_stream("127.0.0.1", port, happy_eyeballs_delay=60) as stream:
                await stream.send_all(UPGRADE)
                answer = b"".join([part async for part in stream])
            answers[answer.split(b"\\r\\n")[0].decode() + " Retry-After" * (b"Retry-After: " in answer)] += 1
        except (OSError, trio.BrokenResourceError) as error:
            answers[repr(error.__cause__ or error)] += 1

async def main():
    async with trio.open_nursery() as members_nursery:
        for number in range(members):
            members_nursery.start_soon(be_member, number)
        await all_inside.wait()
        limiter = trio.CapacityLimiter(at_once)
        async with trio.open_nursery() as nursery:
            for _ in range(surplus):
                nursery.start_soon(be_refused, limiter)
        over.set()
    seconds.sort()
    print(json.dumps({
        "answers": answers, "events": events, "least": min(echoes), "seconds": seconds[len(seconds) * 99 // 100]
    }))

trio.run(main)
"""


@pytest.mark.once
@pytest.mark.timeout(300)
async def test_ten_thousand_clients_of_a_server_for_one_thousand() -> None:
    """The surplus see 503, each of them; the thousand echo all the while, and end cleanly."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    events: list[CloseEvent] = []
    most = 0

    def process_response(request: Request, response: Response) -> None:
        nonlocal most
        most = max(most, len(server._serving))

    try:
        async with open_server(
            echo,
            HOST,
            0,
            max_connections=1000,
            open_timeout=60,
            process_response=process_response,
            on_close=lambda _, event: events.append(event),
        ) as server:
            command = [sys.executable, "-c", CROWD, *map(str, (server.port, 1000, 9000, 400))]
            with trio.fail_after(280):
                done = await trio.run_process(command, capture_stdout=True)
            await until(lambda: not server._serving)
            assert server.refused == 9000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    seen = json.loads(done.stdout)
    assert seen["answers"] == {"HTTP/1.1 503 Service Unavailable Retry-After": 9000}
    assert list(seen["events"].values()) == [1000]
    assert len(events) == 1000
    assert {(event.code, event.was_clean) for event in events} == {(1000, True)}
    assert seen["least"] >= 1
    assert most <= 1000 + 400
