"""Sequence diagrams: what travelled between two sides, drawn as text or as SVG.

A `Diagram` has rows. A `Row` is an `Arrow`, a `Note` at one of the sides or a `Remark` across both.

Theory. Both drawings have one layout, which counts in cells of a font of fixed width: a column of times if any row has
one, a margin for what is noted on the left, and the room between the two lines of life. What cannot be shown, control
characters above all, is escaped here and nowhere else: whatever the rows say, no terminal is told to do anything.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Final, TypeAlias

__all__ = ["Arrow", "Diagram", "Note", "Remark", "Row", "draw", "draw_svg", "visible"]

LEAST_WIDTH: Final = 24  # cells between the two lines of life
MOST_WIDTH: Final = 60  # a longer label is cut, a longer remark gets several lines

# SVG, in pixels
FONT: Final = 13
CELL: Final = 7.83  # the advance of the widest of the usual fonts of fixed width at that size
LINE: Final = 20  # from one line of text to the next
ARROW: Final = 30  # an arrow with its label above
HEAD: Final = 30  # the names of the sides
TITLE: Final = 28
PADDING: Final = 12
TIP: Final = 8  # of an arrow

# As a document of its own, or as an image, it has the reader's colours; as a part of a page, the page's.
STYLE: Final = (
    "svg:root{color-scheme:light dark;color:#1f2328}"
    "@media(prefers-color-scheme:dark){svg:root{color:#e6edf3}}"
    f".sequence text{{font:{FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "fill:currentColor;white-space:pre}"
    ".sequence path{stroke:currentColor;fill:none}"
    ".sequence .tip{fill:currentColor}"
    ".sequence .life,.sequence .time,.sequence .remark{opacity:.65}"
    ".sequence .name,.sequence .title{font-weight:bold}"
)


@dataclass(frozen=True, slots=True)
class Arrow:
    """Something that went from one side to the other: a frame, the end of the transport.

    Attributes:
        what: its label.
        to_right: where it went.
        at: when, in seconds since the beginning; `None` if nobody wants to know.
    """

    what: str
    to_right: bool
    at: float | None = None

    def __str__(self) -> str:
        return f"{'→' if self.to_right else '←'} {self.what}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened on one side.

    Attributes:
        what: its text.
        on_right: on which.
        at: when, in seconds since the beginning.
    """

    what: str
    on_right: bool = False
    at: float | None = None

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to say of both sides, between their lines: what is left out, how it ended.

    Attributes:
        what: its text, which may need several lines.
        at: when, in seconds since the beginning.
    """

    what: str
    at: float | None = None

    def __str__(self) -> str:
        return self.what


Row: TypeAlias = Arrow | Note | Remark


@dataclass(frozen=True, slots=True)
class Diagram:
    """A sequence diagram. `str()` draws it as text.

    Attributes:
        rows: what is drawn, from top to bottom.
        left: the name of the side on the left.
        right: that of the other.
        title: what it is a diagram of.
    """

    rows: tuple[Row, ...]
    left: str = "we"
    right: str = "the peer"
    title: str = ""

    def __str__(self) -> str:
        return draw(self.rows, left=self.left, right=self.right)

    def svg(self) -> str:
        """Draw it as SVG, a document of its own: see `draw_svg`."""
        return draw_svg(self)


def draw(rows: Iterable[Row], *, left: str = "we", right: str = "the peer") -> str:
    """Draw *rows* in their order, from top to bottom, between two lines of life.

    A `Note` stands beside the line of its side, a `Remark` between both; the label of an arrow that is too long for the
    diagram is cut. If any row has a time, all times stand at the left.

    Returns:
        Lines of plain text, without a line end at the end and without a character that a terminal would act on.
    """
    plan = Layout(rows, left, right)
    margin, width = plan.margin, plan.width
    overhang = plan.right_name_begins - cells(plan.left)
    lines = [f"{' ' * (plan.clock + margin - cells(plan.left) // 2)}{plan.left}{' ' * overhang}{plan.right}"]
    for row, text in plan.rows:
        time = plan.time_of(row).rjust(plan.clock)
        if isinstance(row, Arrow):
            line = f"{to_cells(f'── {text[0]} ', width - 1, '─')}>"
            if not row.to_right:
                line = f"<{to_cells(f' {text[0]} ──', width - 1, '─', at_end=True)}"
            lines.append(f"{time}{' ' * margin}│{line}│")
        elif isinstance(row, Remark):
            for piece in text:
                centred = to_cells(" " * ((width - cells(piece)) // 2) + piece, width)
                lines.append(f"{time}{' ' * margin}│{centred}│")
                time = " " * plan.clock
        elif row.on_right:
            lines.append(f"{time}{' ' * margin}│{' ' * width}│ {text[0]}")
        else:
            lines.append(f"{time}{to_cells(text[0], margin - 1, at_end=True)} │{' ' * width}│")
    return "\n".join(lines)


def draw_svg(*diagrams: Diagram, title: str = "") -> str:
    """Draw *diagrams*, one below the other, as one SVG document: `trace.svg` for a file, or for a page.

    It needs nothing but itself: fonts are the reader's, and so are the colours, light or dark; within a page it has the
    page's colour of text. `<title>` and `<desc>` tell the same in words.

    Args:
        diagrams: those with a title have it above them.
        title: of the whole; by default that of the first one that has any.
    """
    title = visible(title or next((each.title for each in diagrams if each.title), "a sequence diagram"))
    pictures: list[str] = []
    words: list[str] = []
    top = width = 0.0
    for each in diagrams:
        plan = Layout(each.rows, each.left, each.right)
        heading = visible(each.title) if len(diagrams) > 1 else ""
        picture = Picture(plan, heading)
        pictures.append(f'<g transform="translate(0 {top:g})">{picture}</g>')
        words += [f"{heading}:"] * bool(heading) + plan.words()
        top, width = top + picture.height, max(width, picture.width)
    size = f'width="{width:.0f}" height="{top:.0f}" viewBox="0 0 {width:.0f} {top:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="sequence" role="img" {size}>\n'
        f"<title>{escape(title)}</title>\n<desc>{escape(chr(10).join(words))}</desc>\n<style>{STYLE}</style>\n"
        + "\n".join(pictures)
        + "\n</svg>\n"
    )


class Layout:
    """Where things stand, in cells.

    Attributes:
        rows: each with its text, which has as many lines as it needs.
        clock: the width of the column of times; 0 without times.
        margin: from there to the left line of life.
        width: between the two lines of life.
    """

    def __init__(self, rows: Iterable[Row], left: str, right: str) -> None:
        rows = list(rows)
        self.left, self.right = visible(left), visible(right)
        labels = [shortened(visible(row.what)) for row in rows if isinstance(row, Arrow)]
        remarks = [min(cells(visible(row.what)), MOST_WIDTH) for row in rows if isinstance(row, Remark)]
        names = cells(self.left) - cells(self.left) // 2 + cells(self.right) // 2
        self.width = max([LEAST_WIDTH, names, *(cells(label) + 6 for label in labels), *(most + 4 for most in remarks)])
        notes = [cells(visible(row.what)) + 1 for row in rows if isinstance(row, Note) and not row.on_right]
        self.margin = max([cells(self.left) // 2, *notes])
        times = [cells(self.time_of(row)) for row in rows if row.at is not None]
        self.clock = max(times, default=0)
        self.margin += 2 * bool(times)
        self.rows = [(row, self._text_of(row)) for row in rows]

    def _text_of(self, row: Row) -> list[str]:
        text = visible(row.what)
        if isinstance(row, Remark):
            return wrapped(text, self.width - 4)
        return [shortened(text) if isinstance(row, Arrow) else text]

    @staticmethod
    def time_of(row: Row) -> str:
        return "" if row.at is None else f"{row.at:.3f}"

    @property
    def right_name_begins(self) -> int:
        """Where the name on the right begins, seen from where that on the left does."""
        return self.width + 1 + cells(self.left) // 2 - cells(self.right) // 2

    def words(self) -> list[str]:
        """Return one line for each row."""
        told: list[str] = []
        for row, text in self.rows:
            sides = (self.left, self.right)
            who = ""
            if isinstance(row, Arrow):
                who = f"{sides[not row.to_right]} to {sides[row.to_right]}: "
            elif isinstance(row, Note):
                who = f"{sides[row.on_right]}: "
            time = "" if row.at is None else f"{self.time_of(row)} s, "
            told.append(time + who + " ".join(text))
        return told


class Picture:
    """One diagram as elements of SVG; `str()` gives them."""

    def __init__(self, plan: Layout, heading: str) -> None:
        self._plan = plan
        names = cells(plan.left) // 2 + 1
        self._left = PADDING + (plan.clock + max(plan.margin, names)) * CELL
        self._right = self._left + (plan.width + 2) * CELL
        notes = [cells(text[0]) + 1 for row, text in plan.rows if isinstance(row, Note) and row.on_right]
        self.width = self._right + max([cells(plan.right) // 2 + 1, *notes]) * CELL + PADDING
        self._parts: list[str] = []
        self._y = float(PADDING)
        if heading:
            self._write(heading, PADDING, self._y + FONT, "title")
            self._y += TITLE
        self._write(plan.left, self._left, self._y + FONT, "name", "middle")
        self._write(plan.right, self._right, self._y + FONT, "name", "middle")
        self._y += HEAD - PADDING
        top = self._y
        for row, text in plan.rows:
            self._draw_row(row, text)
        for x in (self._left, self._right):
            self._parts.append(f'<path class="life" d="M{x:.1f} {top:g}V{self._y + PADDING / 2:g}"/>')
        self.height = self._y + PADDING

    def __str__(self) -> str:
        return "\n".join(self._parts)

    def _draw_row(self, row: Row, text: list[str]) -> None:
        top = self._y
        middle = (self._left + self._right) / 2
        if isinstance(row, Arrow):
            self._y += ARROW
            begin, end = (self._left, self._right) if row.to_right else (self._right, self._left)
            back = -TIP if row.to_right else TIP
            y = self._y - 4
            self._write(text[0], middle, y - 6, "", "middle")
            self._parts.append(f'<path d="M{begin:.1f} {y:g}H{end + back:.1f}"/>')
            self._parts.append(f'<path class="tip" d="M{end:.1f} {y:g}l{back} -4v8z"/>')
        elif isinstance(row, Remark):
            for line in text:
                self._y += LINE
                self._write(line, middle, self._y - 3, "remark", "middle")
        else:
            self._y += LINE
            x = self._right + CELL if row.on_right else self._left - CELL
            self._write(text[0], x, self._y - 5, "", "start" if row.on_right else "end")
        baseline = self._y - 10 if isinstance(row, Arrow) else top + LINE - 4
        self._write(self._plan.time_of(row), PADDING + self._plan.clock * CELL, baseline, "time", "end")

    def _write(self, text: str, x: float, y: float, kind: str, anchor: str = "start") -> None:
        if text:
            style = f' class="{kind}"' if kind else ""
            style += f' text-anchor="{anchor}"' if anchor != "start" else ""
            self._parts.append(f'<text x="{x:.1f}" y="{y:g}"{style}>{escape(text)}</text>')


def visible(text: str) -> str:
    """Return *text* with everything escaped that has no shape of its own, or that changes how the rest is shown."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def cells(text: str) -> int:
    """Count the cells of a terminal that *text* takes."""
    if text.isascii():
        return len(text)
    return sum(cells_of(each) for each in text)


def cells_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):  # it stands above the one before
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def to_cells(text: str, width: int, fill: str = " ", *, at_end: bool = False) -> str:
    """Fill *text* up to *width* cells."""
    missing = fill * (width - cells(text))
    return missing + text if at_end else text + missing


def shortened(label: str, most: int = MOST_WIDTH) -> str:
    if cells(label) <= most:
        return label
    while cells(label) > most - 1:
        label = label[: -max(1, (cells(label) - most) // 2)]
    return label + "…"


def wrapped(text: str, width: int) -> list[str]:
    """Break *text* into lines, between words; a word that is too long for a line is cut."""
    lines = [""]
    for word in text.split(" "):
        word = shortened(word, width)
        if lines[-1] and cells(lines[-1]) + 1 + cells(word) > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines
