"""`documents`: the examples of a page are found, with what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from documents import Block, blocks_of, literal_blocks


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.rst"


def write(page: Path, text: str) -> list[Block]:
    page.write_text(text, encoding="utf-8")
    return list(blocks_of(page))


RST: Final = """\
.. runs in: one place,
   or another
.. a comment

.. runs beside: b.py

.. code-block:: python
    :caption: a.py

    a = 1

    b = 2

text

.. list-table::

    * - .. not run: it is wrong

        .. code-block:: python

            1 +
      - .. code-block:: text

            no

.. runs in: lost by the text between

text

.. code-block:: python

    c
"""


def test_blocks_of_a_page_are_found_with_line_caption_and_marks(page: Path) -> None:
    """Also in the cells of a table; marks are those right above, and nobody else's."""
    assert write(page, RST) == [
        Block(page, 10, "python", "a = 1\n\nb = 2\n", {"runs beside": "b.py"}, "a.py"),
        Block(page, 22, "python", "1 +\n", {"not run": "it is wrong"}),
        Block(page, 25, "text", "no\n", {}),
        Block(page, 33, "python", "c\n", {}),
    ]


def test_fences_are_found_with_line_indent_and_marks(tmp_path: Path) -> None:
    """A comment marks the fence right below it, and no other."""
    page = tmp_path / "page.md"
    markdown = "```python\na\n```\n<!-- not run: a server -->\n\n- x\n\n"
    markdown += "<!-- runs in: a net -->\n\n  ```python\n  if b:\n      c\n  ```\n```sh\nd\n```\n"
    assert write(page, markdown) == [
        Block(page, 2, "python", "a\n", {}),
        Block(page, 11, "python", "if b:\n    c\n", {"runs in": "a net"}),
        Block(page, 15, "sh", "d\n", {}),
    ]


def test_fences_in_docstrings_are_found_with_their_owner(tmp_path: Path) -> None:
    """By the name of the class or function, or of the module."""
    page = tmp_path / "module.py"
    source = 'class A:\n    """One.\n\n    ```python\n    a\n    ```\n    """\n'
    assert write(page, source) == [Block(page, 5, "python", "a\n", {}, owner="A")]


def test_literal_blocks_are_found_with_their_lines() -> None:
    """Behind two colons, also in a list; no directive is one."""
    text = "text::\n\n    a\n\n    b\n\n* item::\n\n    c\n\n.. note::\n\n    d\n"
    assert list(literal_blocks(text)) == [(1, "a\n\nb\n"), (7, "c\n")]
