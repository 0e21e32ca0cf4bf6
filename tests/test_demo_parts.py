"""The parts of the demo that its rows take for granted: the judge, and what stands on the stage."""

from __future__ import annotations

import logging
import ssl
from dataclasses import fields, replace
from typing import Any, Final

import pytest
import trio
import trio.testing

from trio_closeevents import CloseCause, CloseEvent, CloseFrame
from trio_closeevents._demo.judge import judge
from trio_closeevents._demo.leaving import Leaving
from trio_closeevents._demo.log import recorded
from trio_closeevents._demo.relay import Relay
from trio_closeevents._demo.row import Ending, Expected, Outcome
from trio_closeevents.testing import CLOSE, PING, TEXT, Frame, ScriptedPeer, frame

# -- the judge -------------------------------------------------------------------------------------------------------

EVENT: Final = CloseEvent(
    "close",
    code=4001,
    reason="bye",
    was_clean=True,
    initiated_by="local",
    cause=CloseCause.CLOSED,
    sent=CloseFrame(1000),
    received=CloseFrame(4001, "bye"),
)
ENDING: Final = Ending(4001, "closed", "local", True, sent="1000", received="4001 'bye'", reason="bye")
ERROR: Final = ValueError()
ERROR.__cause__ = KeyError()

OUTCOME: Final = Outcome(
    event=EVENT,
    other=EVENT,
    travelled=("→ Close 1000", "← Close 4001 'bye'"),
    raised=ERROR,
    left_by=ERROR,
    logged=("ValueError",),
    messages=("one",),
    dropped="1",
    status=404,
    seconds=1.0,
)
EXPECTED: Final = Expected(
    event=ENDING,
    other=ENDING,
    travelled=("→ Close 1000", "← Close 4001 *"),
    raised="ValueError",
    left_by="ValueError",
    raised_from="KeyError",
    logged=("Value*",),
    messages=("one",),
    dropped="1",
    status=404,
    at_least=0.9,
    at_most=1.1,
)
WRONG_ENDING: Final[dict[str, Any]] = {
    "code": 1000,
    "cause": "exit",
    "initiated_by": "remote",
    "was_clean": False,
    "sent": "4001 'bye'",
    "received": None,
    "reason": "",
}
WRONG: Final[dict[str, Any]] = {
    "event": None,
    "other": None,
    "travelled": ("→ Close 1000",),
    "raised": "",
    "left_by": "TypeError",
    "raised_from": "",
    "logged": (),
    "messages": ("one", "two"),
    "dropped": "0",
    "status": None,
    "at_least": 1.05,
    "at_most": 0.95,
}


def test_judge_of_what_is_expected_says_nothing() -> None:
    """An outcome that is as expected has no mismatch; a pattern stands for any text."""
    assert judge(EXPECTED, OUTCOME) == []


def test_judge_is_tested_for_every_field() -> None:
    """The tests below leave none out."""
    assert set(WRONG) == {field.name for field in fields(Expected)}
    assert set(WRONG_ENDING) == {field.name for field in fields(Ending)}


@pytest.mark.parametrize("name", WRONG)
def test_judge_sees_every_field(name: str) -> None:
    """One wrong expectation is one mismatch."""
    assert len(judge(replace(EXPECTED, **{name: WRONG[name]}), OUTCOME)) == 1


@pytest.mark.parametrize("name", WRONG_ENDING)
@pytest.mark.parametrize("side", ["event", "other"])
def test_judge_sees_every_field_of_an_event(side: str, name: str) -> None:
    """The same for what the events say, on both sides."""
    wrong: dict[str, Any] = {side: replace(ENDING, **{name: WRONG_ENDING[name]})}
    (mismatch,) = judge(replace(EXPECTED, **wrong), OUTCOME)
    assert mismatch.what.endswith(name)


def test_judge_wants_an_event_where_one_is_expected() -> None:
    """No event is not as good as the right one."""
    assert [each.what for each in judge(EXPECTED, replace(OUTCOME, event=None))] == ["event"]


def test_judge_wants_the_exception_unchanged() -> None:
    """Another exception of the same class is a mismatch."""
    (mismatch,) = judge(EXPECTED, replace(OUTCOME, unchanged=False))
    assert str(mismatch) == "raised unchanged: expected True, got False"


def test_mismatch_names_what_is_missing() -> None:
    """An empty text is no text for people."""
    (travelled,) = judge(EXPECTED, replace(OUTCOME, travelled=()))
    assert str(travelled) == "travelled: expected → Close 1000, ← Close 4001 *, got nothing"


# -- what stands on the stage ----------------------------------------------------------------------------------------


async def test_leaving_knows_another_exception_from_the_same() -> None:
    """What came out must be the object that left the inside, with no new context."""
    same, wrapped = Leaving(), Leaving()
    with same.outside(trio.CancelScope()), same.inside():
        raise ERROR
    with wrapped.outside(trio.CancelScope()):
        try:
            with wrapped.inside():
                raise ERROR
        except ValueError:
            raise ValueError from None
    assert (same.left_by, same.raised, same.unchanged) == (ERROR, ERROR, True)
    assert wrapped.left_by is ERROR
    assert not wrapped.unchanged


async def test_leaving_lets_an_interrupt_through() -> None:
    """What left no block of ours is not for the stage."""
    leaving = Leaving()
    with pytest.raises(KeyboardInterrupt), leaving.outside(trio.CancelScope()):
        raise KeyboardInterrupt


def test_recorded_notes_errors_of_its_own_play() -> None:
    """Two plays at a time do not see each other's records; an error without an exception is told by its message."""
    logger = logging.getLogger("trio_closeevents")
    with recorded() as outer:
        logger.error("the first")
        with recorded() as inner:
            logger.error("the second", exc_info=ERROR)
            logger.info("not an error")
    assert (outer, inner) == (["the first"], ["ValueError"])


async def test_relay_hands_on_what_comes_in_pieces() -> None:
    """Heads and frames may arrive torn; the record has whole frames, and RST is handed on as RST."""
    relay = Relay()
    async with trio.open_nursery() as nursery:
        (front,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        (back,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with front, back:
            nursery.start_soon(relay.run, front, back.socket.getsockname()[1])
            client = ScriptedPeer(await trio.testing.open_stream_to_socket_listener(front), client=True)
            server = ScriptedPeer(await back.accept(), client=False)
            nursery.start_soon(server.open)
            await client.open()
            for byte in frame(TEXT, b"torn", masked=True):
                await client.send(bytes([byte]))
                await trio.sleep(0.001)
            assert await server.receive() == Frame(TEXT, b"torn")
            await server.reset()
            await client.drain()
            await client.aclose()
    assert [str(each) for each in relay.traffic.log] == ["→ Text b'torn'", "← RST"]
    assert client.ended == "RST"


async def test_raw_peer_over_tls_sees_how_it_ends(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """A FIN without close_notify is a FIN; a reset of what is below TLS is a reset."""

    async def pair() -> tuple[ScriptedPeer, ScriptedPeer]:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            ours = trio.SSLStream(
                await trio.testing.open_stream_to_socket_listener(listener),
                client_ssl_context,
                server_hostname="localhost",
            )
            theirs = trio.SSLStream(await listener.accept(), server_ssl_context, server_side=True)
            client, server = ScriptedPeer(ours, client=True), ScriptedPeer(theirs, client=False)
            nursery.start_soon(server.open)
            await client.open()
        return client, server

    client, server = await pair()
    await client.fin()
    await server.drain()
    assert server.record == ["FIN"]
    await client.aclose()
    await server.aclose()

    client, server = await pair()
    await client.reset()
    await client.fin()
    await server.drain()
    assert server.record == ["RST"]
    await server.aclose()


async def test_raw_peer_over_memory() -> None:
    """Where there is no socket a reset just closes; a peer that has closed writes and reads nothing more."""
    ours, theirs = trio.testing.memory_stream_pair()
    client, server = ScriptedPeer(ours, client=True), ScriptedPeer(theirs, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.open)
        await client.open(behind=client.frame(TEXT, b"in the same piece"))
    await client.send(client.close_frame(1000))
    assert await server.receive_close() == Frame(CLOSE, b"\x03\xe8")
    await client.reset()
    await client.send(b"\x81")
    await client.fin()
    assert await client.receive() is None
    assert [str(each) for each in client.log] == ["← Close 1000", "← RST", "← 1 bytes", "← FIN"]
    assert client.ended is None
    assert await server.receive_close() is None
    assert await server.receive() is None
    assert [str(each) for each in server.log] == ["→ Text b'in the same piece'", "→ Close 1000", "→ FIN"]


async def test_raw_peer_that_finds_no_upgrade_complains() -> None:
    """A script that stands on a wrong stage fails with what it saw."""
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"HTTP/1.1 404 Not Found\r\n\r\n")
    with pytest.raises(AssertionError, match="404"):
        await ScriptedPeer(ours, client=True).open()
    await theirs.aclose()
    with pytest.raises(AssertionError, match="FIN"):
        await ScriptedPeer(ours, client=True).read_head()


def test_frame_in_words() -> None:
    """A frame says what it is in few words."""
    words = {str(Frame(CLOSE, b"\x03\xe8bye")), str(Frame(CLOSE)), str(Frame(PING)), str(Frame(11, fin=False))}
    assert words == {"Close 1000 'bye'", "Close", "Ping", "opcode 0xb..."}
    assert str(Frame(TEXT, bytes(70000))) == "Text of 70000 B"


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
@pytest.mark.parametrize("client", [True, False], ids=["masked", "bare"])
async def test_raw_peer_reads_frames_of_every_size(size: int, client: bool) -> None:
    """All three forms of the length, torn anywhere."""
    ours, theirs = trio.testing.memory_stream_pair()
    sender, reader = ScriptedPeer(ours, client=client), ScriptedPeer(theirs, client=not client)
    data = sender.frame(TEXT, b"x" * size)
    for cut in (1, 2, 3, 7):
        await sender.stream.send_all(data[:cut])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.stream.send_all, data[cut:])
            assert await reader.receive() == Frame(TEXT, b"x" * size)


def test_frame_may_lie_about_its_length() -> None:
    """For tests: a length of its own."""
    assert frame(TEXT, b"x", masked=False, claim=2**40)[:2] == b"\x81\x7f"
