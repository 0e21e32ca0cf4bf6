"""Sequence diagrams, as they are drawn."""

from __future__ import annotations

from xml.etree import ElementTree

from trio_closeevents.diagram import Arrow, Diagram, Note, Remark, Row, draw, draw_svg, visible


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
    rows: list[Row] = [
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


def test_draw_times_stand_at_the_left_of_all_rows() -> None:
    """If any row has one; the others have none."""
    rows: list[Row] = [
        Arrow("Close 1001", True, at=0),
        Note("waits", at=9.9996),
        Note("does not", on_right=True, at=0.5),
        Arrow("FIN", False),
    ]
    assert draw(rows) == (
        "             we                    the peer\n"
        " 0.000        │── Close 1001 ─────────>│\n"
        "10.000  waits │                        │\n"
        " 0.500        │                        │ does not\n"
        "              │<──────────────── FIN ──│"
    )


def test_draw_remarks_stand_between_the_sides_on_as_many_lines_as_they_need() -> None:
    """They widen the diagram up to 60 cells; a word that is longer than a line is cut."""
    rows: list[Row] = [Remark("short", at=1.5), Remark(f"{'ab ' * 22}{'x' * 80} end"), Remark("")]
    head, first, *rest = draw(rows).splitlines()
    assert head == "       we                                                            the peer"
    assert first == f"1.500   │{'short':^63} │"
    assert [line.strip() for line in rest] == [
        f"│{' '.join(['ab'] * 20):^64}│",
        f"│{'ab ab':^63} │",
        f"│  {'x' * 59}…  │",
        f"│{'end':^63} │",
        f"│{'':64}│",
    ]


def test_draw_counts_cells_not_characters() -> None:
    """Wide characters take two, those that stand above another none; long labels are cut by cells."""
    wide, accented, long = "日本", "e\u0301", "語" * 40
    lines = draw([Arrow(wide, True), Arrow(accented, True), Arrow(long, False), Remark(wide)]).splitlines()[1:]
    assert lines[0] == f" │── {wide} {'─' * 56}>│"
    assert lines[1] == f" │── {accented} {'─' * 59}>│"
    assert lines[2] == f" │<─ {'語' * 29}… ──│"
    assert lines[3] == f" │{' ' * 30}{wide}{' ' * 31}│"


def test_draw_escapes_what_a_terminal_acts_on() -> None:
    """In labels, notes, remarks and names."""
    nasty = "\x1b[2J\n\u202e\x9b"
    rows: list[Row] = [Arrow(nasty, True), Note(nasty), Note(nasty, on_right=True), Remark(nasty)]
    drawn = draw(rows, left=nasty, right=nasty)
    assert drawn.count("\\x1b[2J\\n\\u202e\\x9b") == 6
    assert all(line.isprintable() for line in drawn.split("\n"))
    assert len(drawn.split("\n")) == 5
    assert visible(nasty) == "\\x1b[2J\\n\\u202e\\x9b"


def elements(picture: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture).iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def test_svg_tells_the_same_in_shapes_and_in_words() -> None:
    """A text and an arrow for each row, `<title>` and `<desc>` for who cannot see it, and nothing from elsewhere."""
    rows: tuple[Row, ...] = (
        Arrow("hi <b>&", True, at=0.25),
        Arrow("FIN", False),
        Note("left", at=1),
        Note("right", on_right=True),
        Remark("the end"),
    )
    diagram = Diagram(rows, "client", "server", "how it went")
    picture = diagram.svg()
    assert str(diagram) == draw(rows, left="client", right="server")
    assert [each.text for each in elements(picture, "title")] == ["how it went"]
    assert [each.text for each in elements(picture, "desc")] == [
        "0.250 s, client to server: hi <b>&\nserver to client: FIN\n1.000 s, client: left\nserver: right\nthe end"
    ]
    assert [each.text for each in elements(picture, "text")] == [
        "client", "server", "hi <b>&", "0.250", "FIN", "left", "1.000", "right", "the end",
    ]  # fmt: skip
    assert len([each for each in elements(picture, "path") if each.get("class") == "tip"]) == 2
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert "url(" not in picture
    width = float(ElementTree.fromstring(picture).get("width", ""))
    assert all(0 <= float(each.get("x", "")) < width for each in elements(picture, "text"))


def test_svg_of_several_diagrams_has_them_below_each_other() -> None:
    """Each with its title above it, and all of them in the words."""
    one, two = Diagram((Arrow("FIN", True),), title="one"), Diagram((Remark("x" * 60),), title="two")
    picture = draw_svg(one, two)
    assert [each.text for each in elements(picture, "title")] == ["one"]
    assert [each.text for each in elements(picture, "desc")] == [f"one:\nwe to the peer: FIN\ntwo:\n{'x' * 60}"]
    first, second = elements(picture, "g")
    assert first.get("transform") == "translate(0 0)" != second.get("transform")
    assert {"one", "two"} <= {each.text for each in elements(picture, "text")}
    heights = [float(ElementTree.fromstring(each).get("height", "")) for each in (picture, one.svg(), two.svg())]
    assert heights[0] > heights[1] + heights[2]
    assert elements(draw_svg(title="none at all"), "title")[0].text == "none at all"
    assert elements(draw_svg(Diagram(())), "title")[0].text == "a sequence diagram"


def test_rows_in_words() -> None:
    """Notes and remarks are their text."""
    assert (str(Note("left")), str(Remark("the end"))) == ("left", "the end")
