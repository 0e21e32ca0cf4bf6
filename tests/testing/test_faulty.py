"""`FaultyStream`: at the byte that was chosen, in the direction that was chosen, and nowhere else."""

from __future__ import annotations

from typing import Any, Final

import pytest
import trio
import trio.testing

from trio_closeevents.testing import Fault, FaultyStream

Ends = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]

DATA: Final = b"0123456789"
AFTER: Final = [0, 1, 4, 10]
BREAKS: Final = ["eof", "reset", "stall", "lose"]


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Return what comes until the stream ends, and `!` behind it if it ends by an error."""
    data = b""
    try:
        async for piece in stream:
            data += piece
    except trio.BrokenResourceError:
        data += b"!"
    return data


async def pass_through(faulty: FaultyStream, other: trio.abc.Stream, *, sending: bool) -> bytes:
    """Send `DATA` in one direction; return what came."""
    came = bytearray()
    writer, reader = (faulty, other) if sending else (other, faulty)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, DATA)
        while len(came) < len(DATA):
            came += await reader.receive_some()
    return bytes(came)


# -- without a fault -------------------------------------------------------------------------------------------------


async def test_faulty_stream_in_small_pieces_is_a_proper_stream() -> None:
    """With a Fault that only makes pieces small, it passes trio's own test of streams."""

    async def make() -> tuple[FaultyStream, FaultyStream]:
        ours, theirs = trio.testing.memory_stream_pair()
        small = Fault(chunk=1009)
        return FaultyStream(ours, receiving=small, sending=small), FaultyStream(theirs, receiving=small, sending=small)

    async def make_clogged() -> tuple[FaultyStream, FaultyStream]:
        ours, theirs = trio.testing.lockstep_stream_pair()
        return FaultyStream(ours), FaultyStream(theirs)

    await trio.testing.check_half_closeable_stream(make, None)
    await trio.testing.check_two_way_stream(make, make_clogged)


@pytest.mark.parametrize("sending", [True, False], ids=["sending", "receiving"])
@pytest.mark.parametrize("fault", [Fault(), Fault(after=11), Fault(chunk=3), Fault(chunk=3, after=100, then="reset")])
async def test_fault_beyond_the_data_changes_no_byte(ends: Ends, fault: Fault, sending: bool) -> None:
    """What is not reached does not break; the counter of the direction, and no other, tells what passed."""
    faulty = FaultyStream(ends[0], sending=fault) if sending else FaultyStream(ends[0], receiving=fault)
    assert await pass_through(faulty, ends[1], sending=sending) == DATA
    assert (faulty.sent, faulty.received) == ((10, 0) if sending else (0, 10))
    await ends[1].send_eof()
    await faulty.send_eof()
    assert (await faulty.receive_some(), await ends[1].receive_some()) == (b"", b"")


@pytest.mark.parametrize("chunk", [1, 3])
async def test_received_chunks_are_no_larger_than_told(ends: Ends, chunk: int) -> None:
    """Neither than `chunk`, nor than what the caller takes, nor does one reach beyond the fault."""
    faulty = FaultyStream(ends[0], receiving=Fault(chunk=chunk, after=5))
    await ends[1].send_all(DATA)
    sizes = [len(await faulty.receive_some(size)) for size in (None, 100, 1, None, None, None)]
    assert sizes == ([1, 1, 1, 1, 1, 0] if chunk == 1 else [3, 2, 0, 0, 0, 0])


async def test_sent_chunks_are_no_larger_than_told() -> None:
    """The other end gets them one by one: on a stream without a buffer that can be seen."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    faulty = FaultyStream(ours, sending=Fault(chunk=4))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(faulty.send_all, DATA)
        assert [await theirs.receive_some() for _ in range(3)] == [b"0123", b"4567", b"89"]


# -- sending breaks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("chunk", [None, 3])
async def test_sending_eof_ends_behind_that_byte(ends: Ends, after: int, chunk: int | None) -> None:
    """The other end reads so much, and the end; who writes more is told; the other direction goes on."""
    faulty = FaultyStream(ends[0], sending=Fault(chunk=chunk, after=after))
    if after < len(DATA):
        with pytest.raises(trio.BrokenResourceError, match=f"cut behind {after} bytes") as caught:
            await faulty.send_all(DATA)
        assert isinstance(caught.value.__cause__, BrokenPipeError)
    else:
        await faulty.send_all(DATA)  # not a byte is missing, so nothing is told yet
    assert await read_all(ends[1]) == DATA[:after]
    with pytest.raises(trio.BrokenResourceError):
        await faulty.send_all(b"more")
    await faulty.wait_send_all_might_not_block()
    await faulty.send_all(b"")
    await faulty.send_eof()
    await ends[1].send_all(b"back")
    assert await faulty.receive_some() == b"back"
    assert (faulty.sent, faulty.received) == (after, 4)


@pytest.mark.parametrize("after", AFTER)
async def test_sending_reset_takes_both_directions(ends: Ends, after: int) -> None:
    """Both ends: reading and writing fail, in memory as well as there the other end can tell."""
    faulty = FaultyStream(ends[0], sending=Fault(after=after, then="reset"))
    if after < len(DATA):
        with pytest.raises(trio.BrokenResourceError, match="reset") as caught:
            await faulty.send_all(DATA)
        assert isinstance(caught.value.__cause__, ConnectionResetError)
    else:
        await faulty.send_all(DATA)
    for again in (faulty.receive_some, faulty.send_eof, faulty.wait_send_all_might_not_block):
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await again()
    if isinstance(ends[1], trio.SocketStream):
        assert (await read_all(ends[1])).endswith(b"!")
    else:
        assert await read_all(ends[1]) == DATA[:after]
    with pytest.raises(trio.BrokenResourceError):
        await ends[1].send_all(b"back")


@pytest.mark.parametrize("after", AFTER)
async def test_sending_stall_waits_until_closed(ends: Ends, after: int) -> None:
    """The other end gets so much; writing more waits, and closing wakes all who wait."""
    faulty = FaultyStream(ends[0], sending=Fault(after=after, then="stall"))
    with trio.move_on_after(0.01) as scope:
        await faulty.send_all(DATA)
    assert scope.cancelled_caught is (after < len(DATA))
    assert faulty.sent == after

    async def closed(wait: Any, *args: Any) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await wait(*args)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(closed, faulty.send_all, b"more")
        nursery.start_soon(closed, faulty.wait_send_all_might_not_block)
        nursery.start_soon(closed, faulty.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="another task is already sending"):
            await faulty.send_all(b"even more")
        with pytest.raises(trio.BusyResourceError, match="another task is sending"):
            await faulty.send_eof()
        await faulty.aclose()
    assert await read_all(ends[1]) == DATA[:after]


@pytest.mark.parametrize("after", AFTER)
async def test_sending_lose_says_nothing(ends: Ends, after: int) -> None:
    """What is written behind that byte vanishes, the end too; only closing is seen."""
    faulty = FaultyStream(ends[0], sending=Fault(chunk=3, after=after, then="lose"))
    for _ in range(3):
        await faulty.send_all(DATA)
    await faulty.wait_send_all_might_not_block()
    await faulty.send_eof()
    await faulty.aclose()
    assert await read_all(ends[1]) == DATA[:after]
    assert faulty.sent == after


@pytest.mark.parametrize("then", BREAKS)
async def test_empty_send_passes_nothing_and_never_waits(ends: Ends, then: Any) -> None:
    """It does not wait where nothing passes, and is a checkpoint all the same."""
    faulty = FaultyStream(ends[0], sending=Fault(after=0, then=then))
    with trio.testing.assert_checkpoints():
        await faulty.send_all(b"")
    assert faulty.sent == 0


@pytest.mark.parametrize("then", ["eof", "reset"])
async def test_send_eof_where_it_breaks_breaks(ends: Ends, then: Any) -> None:
    """Who sends the end where the fault is gets what the fault has: the end, or a reset."""
    faulty = FaultyStream(ends[0], sending=Fault(after=0, then=then))
    await faulty.send_eof()
    is_rst = then == "reset" and isinstance(ends[1], trio.SocketStream)
    assert await read_all(ends[1]) == (b"!" if is_rst else b"")


async def test_cancelled_stalled_send_lets_the_next_one_wait(autojump_clock: trio.testing.MockClock) -> None:
    """It is an ordinary cancellation: nobody is busy behind it, and what passed stays counted."""
    ours, theirs = trio.testing.memory_stream_pair()
    faulty = FaultyStream(ours, sending=Fault(chunk=2, after=4, then="stall"))
    for _ in range(2):
        with trio.move_on_after(5) as scope:
            await faulty.send_all(DATA)
        assert scope.cancelled_caught
    assert faulty.sent == 4
    assert await theirs.receive_some() == DATA[:4]
    assert trio.current_time() == 10


# -- receiving breaks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("chunk", [None, 3])
async def test_receiving_eof_reads_the_end_early(ends: Ends, after: int, chunk: int | None) -> None:
    """We read so much, and the end, again and again; the other direction goes on."""
    faulty = FaultyStream(ends[0], receiving=Fault(chunk=chunk, after=after))
    await ends[1].send_all(DATA)
    assert await read_all(faulty) == DATA[:after]
    with trio.testing.assert_checkpoints():
        assert await faulty.receive_some() == b""
    await faulty.send_all(b"on")
    assert await ends[1].receive_some() == b"on"
    assert (faulty.sent, faulty.received) == (2, after)


@pytest.mark.parametrize("after", AFTER)
async def test_receiving_reset_takes_both_directions(ends: Ends, after: int) -> None:
    """We read so much, then nothing works any more, here and there."""
    faulty = FaultyStream(ends[0], receiving=Fault(after=after, then="reset"))
    await ends[1].send_all(DATA)
    assert await read_all(faulty) == DATA[:after] + b"!"
    with pytest.raises(trio.BrokenResourceError, match="reset"):
        await faulty.send_all(b"on")
    assert await read_all(ends[1]) == (b"!" if isinstance(ends[1], trio.SocketStream) else b"")
    await faulty.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await faulty.receive_some()


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("then", ["stall", "lose"])
async def test_receiving_nothing_more_waits_until_closed(ends: Ends, after: int, then: Any) -> None:
    """We read so much, and wait: not even the end comes. Closing wakes who waits."""
    faulty = FaultyStream(ends[0], receiving=Fault(after=after, then=then))
    await ends[1].send_all(DATA)
    await ends[1].send_eof()
    got = bytearray()
    while len(got) < after:
        got += await faulty.receive_some()
    assert bytes(got) == DATA[:after]
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await faulty.receive_some()

        await trio.testing.wait_all_tasks_blocked(0.01)
        await faulty.aclose()
    assert faulty.received == after


async def test_receiving_stall_holds_the_writer_back_and_lose_does_not() -> None:
    """Where nobody reads, a stream without a buffer takes nothing; where it gets lost, it takes all."""
    for then, is_held in (("stall", True), ("lose", False)):
        ours, theirs = trio.testing.lockstep_stream_pair()
        faulty = FaultyStream(ours, receiving=Fault(after=0, then=then))  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(faulty.receive_some)
            with trio.move_on_after(0.01) as scope:
                await theirs.send_all(DATA)
            assert scope.cancelled_caught is is_held
            nursery.cancel_scope.cancel()


# -- both, and the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [None, "stall", "lose"])
async def test_sending_reset_wakes_who_receives(ends: Ends, waiting: Any) -> None:
    """A reset is one for the task in `receive_some` too, even where nothing passes."""
    receiving = Fault() if waiting is None else Fault(after=0, then=waiting)
    faulty = FaultyStream(ends[0], receiving=receiving, sending=Fault(after=1, then="reset"))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def receive() -> None:
            with pytest.raises(trio.BrokenResourceError, match="reset"):
                await faulty.receive_some()

        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(2):
            await faulty.send_all(b"x")


@pytest.mark.parametrize("method", ["send_all", "wait_send_all_might_not_block"])
@pytest.mark.parametrize("stall", [True, False])
async def test_receiving_reset_wakes_who_sends(method: str, stall: bool) -> None:
    """The same for a task that waits to send, for the stream or for the fault."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    sending = Fault(after=0, then="stall") if stall else Fault()
    faulty = FaultyStream(ours, receiving=Fault(after=1, then="reset"), sending=sending)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError, match="reset"):
                await (faulty.send_all(DATA) if method == "send_all" else faulty.wait_send_all_might_not_block())

        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(theirs.send_all, b"x")
        with trio.fail_after(2):
            assert await faulty.receive_some() == b"x"


@pytest.mark.parametrize("then", BREAKS)
async def test_closed_faulty_stream_says_so(ends: Ends, then: Any) -> None:
    """Closed by ourselves comes before broken; closing twice is fine."""
    fault = Fault(after=0, then=then)
    faulty = FaultyStream(ends[0], receiving=fault, sending=fault)
    await faulty.send_all(b"")
    await faulty.aclose()
    await faulty.aclose()
    for call in (faulty.receive_some, faulty.send_eof, faulty.wait_send_all_might_not_block):
        with pytest.raises(trio.ClosedResourceError):
            await call()
    with pytest.raises(trio.ClosedResourceError):
        await faulty.send_all(b"x")


@pytest.mark.parametrize("method", ["receive_some", "send_all", "wait_send_all_might_not_block"])
async def test_closing_what_is_below_is_told_as_it_is(method: str) -> None:
    """The stream was given away; who closes it all the same gets what it says."""
    ours, _ = trio.testing.memory_stream_pair()
    for fault in (Fault(), Fault(after=0, then="lose")):
        faulty = FaultyStream(ours, receiving=fault)
        await ours.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await (faulty.send_all(b"x") if method == "send_all" else getattr(faulty, method)())


# -- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk": 0}, "chunk must be a number of bytes from 1 on, or None, not 0"),
        ({"chunk": 1.5}, "chunk must be a number of bytes from 1 on, or None, not 1.5"),
        ({"after": -1}, "after must be a number of bytes from 0 on, or None, not -1"),
        ({"after": "5"}, "after must be a number of bytes from 0 on, or None, not '5'"),
        ({"then": "explode"}, "then must be one of eof, reset, stall, lose, not 'explode'"),
    ],
)
def test_fault_that_cannot_be_says_why(arguments: dict[str, Any], message: str) -> None:
    """A wrong argument is told when the Fault is made."""
    with pytest.raises(ValueError) as caught:
        Fault(**arguments)
    assert str(caught.value) == message


async def test_faulty_stream_of_something_else_says_why() -> None:
    """It is made of a stream and of Faults."""
    ours, _ = trio.testing.memory_stream_pair()
    wrong: Any = 5
    with pytest.raises(TypeError, match=r"^stream must be a trio\.abc\.HalfCloseableStream, not int: 5$"):
        FaultyStream(wrong)
    for name in ("receiving", "sending"):
        arguments: dict[str, Any] = {name: "eof"}
        with pytest.raises(TypeError, match=f"^{name} must be a Fault, not str: 'eof'$"):
            FaultyStream(ours, **arguments)
