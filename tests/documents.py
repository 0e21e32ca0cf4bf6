"""The examples in the documentation, found: in pages, in README.md, and in the Markdown fences of docstrings.

An example is a block of Python, or of commands and what they print (`console`). What stands in the comments right above
it, in the same column, are its marks, which no reader sees; `test_docs.py` says what they mean. A block of text may be
marked as well, as what a program has printed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

import trio_closeevents

__all__ = [
    "DOCS",
    "MARKS",
    "PACKAGE",
    "PYTHON",
    "ROOT",
    "Block",
    "blocks_of",
    "literal_blocks",
    "pages",
    "python_sources",
]

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
PACKAGE: Final = Path(trio_closeevents.__file__).parent  # beside the tests, or as it is installed
MADE: Final = {"_build", "_generated"}  # folders that a build of the documentation makes

PYTHON: Final = frozenset({"python", "python3", "py", "py3"})
MARKS: Final = ("runs in", "runs beside", "runs until", "run by", "not run", "printed by", "printed")

LEAD: Final = r"(?P<lead>[ ]*(?:[*-][ ]+)*)"  # a block may be the first thing in a cell of a list table
MARK: Final = re.compile(rf"{LEAD}\.\. (?P<name>{'|'.join(MARKS)})(?::[ ]*(?P<value>.*))?$")
DIRECTIVE: Final = re.compile(rf"{LEAD}\.\. (?P<kind>code-block|literalinclude)::[ ]*(?P<argument>.*?)[ ]*$")
OPTION: Final = re.compile(r"[ ]*:(?P<name>[\w-]+):[ ]*(?P<value>.*)$")
FENCE: Final = re.compile(
    rf"""
    (?P<marks> (?: <!--\s* (?:{"|".join(map(re.escape, MARKS))}) (?::[^\n]*?)? \s*--> \s* )* )
    ^ (?P<indent>[ ]*) ``` (?P<language>\w+) \n
    (?P<code> .*? )
    ^ (?P=indent) ``` [ ]* $
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
COMMENT: Final = re.compile(rf"<!--\s*(?P<name>{'|'.join(MARKS)})(?::[ ]*(?P<value>[^\n]*?))?\s*-->")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code in a document.

    Attributes:
        page: the file that it stands in.
        line: the line of that file on which the code begins, or the directive that includes it.
        language: the one it is highlighted as.
        code: what it has.
        marks: the marks above it, with their values; `""` where one has none.
        caption: the name above it.
        included: the file that the code is from, if it stands in one of its own.
        owner: of a docstring, the name of the object.
    """

    page: Path
    line: int
    language: str
    code: str
    marks: dict[str, str]
    caption: str = ""
    included: Path | None = None
    owner: str = ""

    def __str__(self) -> str:
        return f"{self.page.stem}:{self.caption or self.owner or self.line}"

    @property
    def where(self) -> str:
        """The place, as a reader of a failure wants it."""
        return f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page}:{self.line}"

    @property
    def name(self) -> str:
        """What other blocks of the page call it, and its file when it runs."""
        if self.included:
            return self.included.name
        return self.caption if re.fullmatch(r"[\w-]+\.py", self.caption) else ""

    @property
    def padded(self) -> str:
        """The code, behind as many empty lines as make its line numbers those of the page."""
        return self.code if self.included else "\n" * (self.line - 1) + self.code


def pages() -> list[Path]:
    """Return every page of the documentation, and README.md."""
    found = (page for page in DOCS.rglob("*.rst") if not MADE & set(page.relative_to(DOCS).parts))
    return [ROOT / "README.md", *sorted(found)]


def python_sources() -> list[Path]:
    """Return the modules whose docstrings the reference shows."""
    return sorted(PACKAGE.rglob("*.py"))


def blocks_of(page: Path) -> tuple[Block, ...]:
    """Return the blocks of a document, in order."""
    text = page.read_text(encoding="utf-8")
    match page.suffix:
        case ".rst":
            return tuple(rst_blocks(page, text.splitlines()))
        case ".py":
            return tuple(docstring_blocks(page, ast.parse(text)))
        case _:
            return tuple(fenced_blocks(page, text))


def rst_blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    marks: dict[str, str] = {}
    column = at = 0
    while at < len(lines):
        line = lines[at]
        if mark := MARK.match(line):
            column, value = len(mark["lead"]), [mark["value"] or ""]
            while at + 1 < len(lines) and indent_of(lines[at + 1]) > column:
                at += 1
                value.append(lines[at].strip())
            marks[mark["name"]] = " ".join(value).strip()
            at += 1
        elif directive := DIRECTIVE.match(line):
            own = marks if len(directive["lead"]) == column else {}
            block, at = rst_block(page, lines, at, directive, own)
            yield block
            marks = {}
        else:
            marks = marks if not line.strip() else {}
            at += 1


def rst_block(
    page: Path, lines: list[str], at: int, directive: re.Match[str], marks: dict[str, str]
) -> tuple[Block, int]:
    """Return the block of the directive on line *at*, and the line behind it."""
    start, column, options = at, len(directive["lead"]), dict[str, str]()
    at += 1
    while at < len(lines) and (option := OPTION.match(lines[at])) and indent_of(lines[at]) > column:
        options[option["name"]] = option["value"].strip()
        at += 1
    content: list[str] = []
    while at < len(lines) and (not lines[at].strip() or indent_of(lines[at]) > column):
        content.append(lines[at])
        at += 1
    caption = options.get("caption", "")
    if directive["kind"] == "literalinclude":
        file = (page.parent / directive["argument"]).resolve()
        if file.is_relative_to(ROOT / PACKAGE.name):
            file = PACKAGE / file.relative_to(ROOT / PACKAGE.name)
        language = options.get("language", "python" if file.suffix == ".py" else "none")
        return Block(page, start + 1, language, file.read_text(encoding="utf-8"), marks, caption, file), at
    first = next((number for number, line in enumerate(content) if line.strip()), 0)
    code = dedent("\n".join(content[first:])).rstrip() + "\n"
    return Block(page, at - len(content) + first + 1, directive["argument"], code, marks, caption), at


def indent_of(line: str) -> int:
    """Return the column in which a line begins; 0 for an empty one."""
    return len(line) - len(line.lstrip()) if line.strip() else 0


def fenced_blocks(page: Path, markdown: str, first_line: int = 1, owner: str = "") -> Iterator[Block]:
    for fence in FENCE.finditer(markdown):
        marks = {comment["name"]: comment["value"] or "" for comment in COMMENT.finditer(fence["marks"])}
        line = markdown.count("\n", 0, fence.start("code")) + first_line
        yield Block(page, line, fence["language"], dedent(fence["code"]), marks, owner=owner)


def docstring_blocks(page: Path, module: ast.Module) -> Iterator[Block]:
    for node in ast.walk(module):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if ast.get_docstring(node, clean=False) and isinstance(first, ast.Expr):
            docstring = ast.get_docstring(node, clean=False) or ""
            yield from fenced_blocks(page, docstring, first.lineno, getattr(node, "name", "") or page.stem)


def literal_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the content of what stands indented behind `::` in a page."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if not re.search(r"::\s*$", line) or re.match(r"\s*(?:[*-]\s+)*\.\. ", line):
            continue
        content = []
        for following in lines[at + 1 :]:
            if following.strip() and indent_of(following) <= indent_of(line):
                break
            content.append(following)
        yield at + 1, dedent("\n".join(content)).strip("\n") + "\n"
