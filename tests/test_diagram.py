"""Sequence diagrams, as they are drawn."""

from __future__ import annotations

from trio_closeevents.testing import Arrow, Note, draw


def test_draw_nothing_gives_the_two_sides() -> None:
    """No rows: the names, and no line end."""
    assert draw([]) == "we                    the peer"


def test_draw_arrows_point_to_where_they_go() -> None:
    """Both directions, in order; the width is the same for all."""
    rows = (Arrow(what, to_right) for what, to_right in [("Close 1001", True), ("Close 1001", False), ("FIN", False)])
    assert draw(rows) == (
        "we                    the peer\n"
        " │── Close 1001 ─────────>│\n"
        " │<───────── Close 1001 ──│\n"
        " │<──────────────── FIN ──│"
    )


def test_draw_long_label_widens_the_diagram_and_is_cut_at_60() -> None:
    """60 characters stay whole, of 61 the last two become an ellipsis."""
    longest, too_long = "a" * 60, "b" * 61
    head, whole, cut, short = draw([Arrow(longest, True), Arrow(too_long, False), Arrow("x", True)]).splitlines()
    assert whole == f" │── {longest} ─>│"
    assert cut == f" │<─ {'b' * 59}… ──│"
    assert short == f" │── x {'─' * 60}>│"
    assert head == "we" + " " * 62 + "the peer"


def test_draw_notes_stand_beside_their_side() -> None:
    """On the left they move the diagram, on the right they need no room."""
    rows: list[Arrow | Note] = [
        Note("we are cancelled"),
        Arrow("Close 1001", True),
        Note("has crashed", on_right=True),
        Note("done"),
    ]
    assert draw(rows) == (
        "                we                    the peer\n"
        "we are cancelled │                        │\n"
        "                 │── Close 1001 ─────────>│\n"
        "                 │                        │ has crashed\n"
        "            done │                        │"
    )


def test_draw_names_stand_over_their_lines() -> None:
    """Whatever their lengths, the middle of a name is above the line of its side."""
    for left, right in [("c", "s"), ("the client", "s"), ("c", "the server"), ("client", "server")]:
        head, line = draw([Arrow("FIN", True)], left=left, right=right).splitlines()
        assert line.strip() == "│── FIN ────────────────>│"
        for name, column in ((left, line.index("│")), (right, line.rindex("│"))):
            assert head.index(name) + len(name) // 2 == column


def test_draw_long_names_do_not_touch() -> None:
    """They make room for themselves."""
    head, line = draw(
        [Arrow("FIN", True)], left="a client with a long name", right="a server with one too"
    ).splitlines()
    assert head == "a client with a long name  a server with one too"
    assert line == "            │── FIN ────────────────>│"


def test_arrow_in_words() -> None:
    """One line, without a diagram."""
    assert (str(Arrow("FIN", True)), str(Arrow("Close 1000", False))) == ("→ FIN", "← Close 1000")
