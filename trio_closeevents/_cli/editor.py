"""A line that is being typed: keys in, lines out. Knows no terminal.

Theory. Bytes are decoded and cut into tokens: a run of printable characters, one control character, or an escape
sequence, which may arrive in pieces. Each token that does something has a row in `KEYS`. What is pasted comes between
two marks (bracketed paste) and is taken as it is, with its line ends, so that a message of several lines can be typed.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from rich.cells import cell_len

__all__ = ["Editor", "Key", "window"]

TOKEN: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|\x1b[^\[O]|[\x00-\x1a\x1c-\x1f\x7f]|[^\x00-\x1f\x7f]+")
PASTE_BEGINS: Final = "\x1b[200~"
PASTE_ENDS: Final = "\x1b[201~"
SHOWN_AS: Final = {"\n": "⏎", "\t": " "}
MOST_LINES: Final = 1000  # that can be had again


class Key(Enum):
    """What a key asks of somebody else than the line."""

    END = auto()  # Ctrl-D on an empty line
    CLEAR = auto()  # Ctrl-L


class Editor:
    """The line, the cursor in it, and the lines before."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0  # in characters
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._undecided = ""  # what may be the beginning of an escape sequence, or is being pasted
        self._in_paste = False
        self._lines: list[str] = []
        self._at = 0  # which of them is shown; their number if it is none
        self._draft = ""  # what stood in the line before that
        self._done: list[str | Key] = []

    def feed(self, data: bytes) -> list[str | Key]:
        """Take what the terminal sent, and return the lines that were finished by it, and keys that are not ours."""
        self._undecided += self._decoder.decode(data)
        while self._undecided and (self._paste() if self._in_paste else self._take_token()):
            pass
        done, self._done = self._done, []
        return done

    def _paste(self) -> bool:
        pasted, mark, rest = self._undecided.partition(PASTE_ENDS)
        if not mark:
            return False
        self._in_paste = False
        self._undecided = rest
        lines = pasted.replace("\r\n", "\n").replace("\r", "\n")
        self._insert("".join(each for each in lines if each.isprintable() or each in SHOWN_AS))
        return True

    def _take_token(self) -> bool:
        match = TOKEN.match(self._undecided)
        if match is None:
            return False
        token = match.group()
        self._undecided = self._undecided[match.end() :]
        if token == PASTE_BEGINS:
            self._in_paste = True
        elif token in KEYS:
            KEYS[token](self)
        elif token[0] >= " " and token[0] != "\x7f":
            self._insert("".join(filter(str.isprintable, token)))
        return True

    def _insert(self, text: str) -> None:
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def _replace(self, begin: int, end: int) -> None:
        self.text = self.text[:begin] + self.text[end:]
        self.cursor = begin

    def _show(self, text: str) -> None:
        self.text = text
        self.cursor = len(text)

    # -- keys ----------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Finish the line."""
        if self.text.strip() and self._lines[-1:] != [self.text]:
            self._lines = [*self._lines, self.text][-MOST_LINES:]
        self._at = len(self._lines)
        self._done.append(self.text)
        self._show("")

    def left(self) -> None:
        self.cursor = max(0, self.cursor - 1)

    def right(self) -> None:
        self.cursor = min(len(self.text), self.cursor + 1)

    def home(self) -> None:
        self.cursor = 0

    def end(self) -> None:
        self.cursor = len(self.text)

    def word_left(self) -> None:
        self.cursor = self._word_begin()

    def word_right(self) -> None:
        rest = self.text[self.cursor :]
        self.cursor += len(rest) - len(rest.lstrip()) + len((rest.split() or [""])[0])

    def rub_out(self) -> None:
        self._replace(max(0, self.cursor - 1), self.cursor)

    def rub_out_word(self) -> None:
        self._replace(self._word_begin(), self.cursor)

    def rub_out_all_before(self) -> None:
        self._replace(0, self.cursor)

    def delete(self) -> None:
        self._replace(self.cursor, self.cursor + 1)

    def delete_rest(self) -> None:
        self._replace(self.cursor, len(self.text))

    def delete_or_end(self) -> None:
        if self.text:
            self.delete()
        else:
            self._done.append(Key.END)

    def older(self) -> None:
        if self._at == len(self._lines):
            self._draft = self.text
        if self._at > 0:
            self._at -= 1
            self._show(self._lines[self._at])

    def newer(self) -> None:
        if self._at < len(self._lines):
            self._at += 1
            self._show([*self._lines, self._draft][self._at])

    def clear(self) -> None:
        self._done.append(Key.CLEAR)

    def _word_begin(self) -> int:
        before = self.text[: self.cursor].rstrip()
        return len(before) - len((before.split() or [""])[-1])


KEYS: Final[Mapping[str, Callable[[Editor], None]]] = {
    "\n": Editor.enter,
    "\r": Editor.enter,
    "\x01": Editor.home,
    "\x02": Editor.left,
    "\x04": Editor.delete_or_end,
    "\x05": Editor.end,
    "\x06": Editor.right,
    "\x08": Editor.rub_out,
    "\x0b": Editor.delete_rest,
    "\x0c": Editor.clear,
    "\x0e": Editor.newer,
    "\x10": Editor.older,
    "\x15": Editor.rub_out_all_before,
    "\x17": Editor.rub_out_word,
    "\x7f": Editor.rub_out,
    "\x1b\x7f": Editor.rub_out_word,
    "\x1bb": Editor.word_left,
    "\x1bf": Editor.word_right,
    "\x1b[3~": Editor.delete,
    **{f"\x1b{kind}A": Editor.older for kind in "[O"},
    **{f"\x1b{kind}B": Editor.newer for kind in "[O"},
    **{f"\x1b{kind}C": Editor.right for kind in "[O"},
    **{f"\x1b{kind}D": Editor.left for kind in "[O"},
    "\x1b[1;5C": Editor.word_right,
    "\x1b[1;5D": Editor.word_left,
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), Editor.home),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"), Editor.end),
}


def window(text: str, cursor: int, width: int) -> tuple[str, int]:
    """Return the part of a line round its cursor that fits into *width* columns, and the column of the cursor in it."""
    shown = "".join(SHOWN_AS.get(each, each) for each in text)
    begin, column = cursor, 0
    while begin > 0 and column + (cells := cell_len(shown[begin - 1])) < width:
        begin -= 1
        column += cells
    end, total = cursor, column
    while end < len(shown) and total + (cells := cell_len(shown[end])) <= width:
        end += 1
        total += cells
    return shown[begin:end], column
