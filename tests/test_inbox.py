"""What has arrived and nobody has asked for: its order and its bounds, whichever way it came in."""

from __future__ import annotations

import pytest

from trio_closeevents._inbox import MANY, Inbox
from trio_closeevents._protocol.assembly import Piece


def test_messages_come_out_as_they_came_in() -> None:
    """Those that were read together first, then the others."""
    inbox = Inbox(16, 2**20)
    inbox.make_ready(["a", b"b", "ä"], 4)
    inbox.put("d")
    inbox.put(b"e")
    assert len(inbox) == 5
    assert [inbox.take() for _ in range(6)] == ["a", b"b", "ä", "d", b"e", None]
    assert inbox.ready == []


def test_message_that_is_put_back_is_the_oldest_again() -> None:
    """Before those that were read with it, too."""
    inbox = Inbox(16, 2**20)
    inbox.make_ready(["a", "b", "c"], 3)
    assert inbox.take() == "a"
    inbox.put_back("a")
    assert inbox.oldest == "a"
    assert [inbox.take() for _ in range(4)] == ["a", "b", "c", None]
    inbox.put_back("a")
    assert inbox.take() == "a"


def test_bounds_count_every_message() -> None:
    """The number is exact; of the bytes of text that is not ASCII, rather too many are counted than too few."""
    inbox = Inbox(3, 10)
    assert inbox.room == 3
    inbox.make_ready(["ää", "b"], 5)
    assert (inbox.room, inbox.is_full(), inbox.is_full(5)) == (1, False, True)
    inbox.put(b"x")
    assert inbox.is_full()
    assert inbox.room == 0
    inbox.take()
    assert not inbox.is_full()
    inbox.put(b"x" * 9)
    inbox.take()
    assert inbox.is_full()
    inbox.clear()
    assert (len(inbox), inbox.is_full(), inbox.oldest) == (0, False, None)


@pytest.mark.parametrize("size", [0, 5])
def test_without_bounds_nothing_is_full(size: int) -> None:
    """But no more than `MANY` are read at once."""
    inbox = Inbox(None, None)
    inbox.put(b"x" * size)
    assert not inbox.is_full(2**40)
    assert inbox.room == MANY


def test_pieces_of_one_message_are_taken_together() -> None:
    """Up to the last of them, and nothing behind it."""
    inbox = Inbox(None, None)
    for part in (Piece(b"a", last=False), Piece(b"b", last=True), Piece(b"c", last=False), "d"):
        inbox.put(part)
    assert [piece.data for piece in inbox.take_pieces()] == [b"a", b"b"]
    assert [piece.data for piece in inbox.take_pieces()] == [b"c"]
    assert inbox.take() == "d"
