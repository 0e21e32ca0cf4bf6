"""What surrounds the fragments of the documentation when they run: a module for each page, and `common` for all.

A surrounding is an async function. It is given a `Fragment`, makes what the fragment needs, awaits the fragment with
that as keywords, and judges what it has done. One that `autojump` decorates runs by that clock.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import io
import random
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout, suppress
from typing import Any, Final, TypeAlias, cast

import trio
from documents import Block
from trio.testing import MockClock

import trio_closeevents

__all__ = ["PORTS", "Fragment", "Surrounding", "autojump", "compiled", "find_surrounding", "free_ports"]

PORTS: Final = ("8000", "8001", "8765")  # which examples may listen on
UNCLAIMED: Final = range(20000, 32000)  # below those that Linux, macOS and Windows give to clients and to port 0

# What a reader takes for granted: trio and the public names of the library.
PUBLIC: Final = {name: getattr(trio_closeevents, name) for name in trio_closeevents.__all__}


class Fragment:
    """A block of code that is no program by itself: `names = await fragment(ws=ws)`.

    Attributes:
        printed: what it has printed; only while it runs, whoever prints.
        port: what stands in the place of 8000.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self._output = io.StringIO()
        self._instead = free_ports()
        self.port = int(self._instead["8000"])

    @property
    def printed(self) -> str:
        return self._output.getvalue()

    def put(self, old: str, new: object) -> None:
        """Let *new* stand where the page has *old*, which it must have."""
        assert old in self._block.code
        self._instead[old] = str(new)

    async def __call__(self, **names: object) -> dict[str, Any]:
        """Run the fragment with *names*, trio and the library's public names; return all names that there are then."""
        namespace: dict[str, Any] = {"__name__": "fragment", "trio": trio, **PUBLIC, **names}
        code = compiled(self._block, self._instead)
        with redirect_stdout(self._output):
            result = eval(code, namespace)
            if inspect.isawaitable(result):
                await result
        return namespace


Surrounding: TypeAlias = Callable[[Fragment], Awaitable[None]]


def autojump(surrounding: Surrounding) -> Surrounding:
    """Let no time pass in a surrounding that needs no network."""
    surrounding.clock = lambda: MockClock(autojump_threshold=0)  # type: ignore[attr-defined]
    return surrounding


def free_ports() -> dict[str, str]:
    """Return what an example may listen on in place of each of `PORTS`.

    None of them is one that the system would give to somebody else meanwhile.
    """
    free: list[str] = []
    while len(free) < len(PORTS):
        port = random.choice(UNCLAIMED)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            free.append(str(port))
    return dict(zip(PORTS, free, strict=True))


def compiled(block: Block, instead: dict[str, str] | None = None) -> Any:
    """Compile a block, in which `await` may stand anywhere, with the line numbers of its page."""
    code = block.padded
    for old, new in (instead or {}).items():
        code = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, code)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(code, str(block.included or block.page), "exec", flags=flags, dont_inherit=True)


def find_surrounding(page: str, name: str) -> Surrounding:
    """Return what *page*, or all pages, call *name*.

    Raises:
        LookupError: there is none.
    """
    for module in (page.replace("-", "_"), "common"):
        if importlib.util.find_spec(f"{__name__}.{module}") is None:
            continue
        found = getattr(importlib.import_module(f"{__name__}.{module}"), name.replace(" ", "_"), None)
        if found is not None:
            return cast("Surrounding", found)
    raise LookupError(f"neither surroundings/{page}.py nor surroundings/common.py has {name!r}")
