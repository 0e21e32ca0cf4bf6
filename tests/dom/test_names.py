"""`trio_closeevents.dom` itself: the names that are promised, and what importing them costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from trio_closeevents import dom

PROMISED: Final = {
    "AbortController",
    "AbortError",
    "AbortSignal",
    "ClientOptions",
    "CloseEvent",
    "CloseEventInit",
    "DOMException",
    "Event",
    "EventInit",
    "EventTarget",
    "InvalidAccessError",
    "InvalidStateError",
    "MessageEvent",
    "MessageEventInit",
    "Promise",
    "SyntaxError",
    "WebSocket",
    "WebSocketCloseInfo",
    "WebSocketError",
    "WebSocketOpenInfo",
    "WebSocketStream",
}
ROOT: Final = Path(__file__).parents[2]
# Neither is needed before somebody uses a URL.
PROGRAM: Final = "import sys, trio_closeevents; assert 'trio_closeevents.dom' not in sys.modules; \
import trio_closeevents.dom; assert 'ada_url' not in sys.modules"


def public_parts() -> list[tuple[str, Any]]:
    """Return every public name, and the public methods and properties that its class defines itself."""
    parts: list[tuple[str, Any]] = []
    for name in sorted(PROMISED):
        value = getattr(dom, name)
        parts.append((name, value))
        for attribute, member in vars(value).items():
            if not attribute.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                parts.append((f"{name}.{attribute}", inspect.unwrap(getattr(value, attribute))))
    return parts


def test_public_names_are_the_promised_ones() -> None:
    """`__all__` has each name once, in order."""
    assert dom.__all__ == sorted(PROMISED)


@pytest.mark.parametrize(("name", "value"), public_parts(), ids=[name for name, _ in public_parts()])
def test_public_name_has_a_docstring_of_its_own(name: str, value: Any) -> None:
    """`help()` says what the signature cannot, in a line that ends in a full stop."""
    first = inspect.cleandoc(value.__doc__ or "").split("\n\n")[0]
    assert first.endswith((".", ":", "...`.")), name


def test_repr_tells_what_a_thing_is() -> None:
    """Enough to know it by in a log, and no password."""
    controller, stream = dom.AbortController(), dom.WebSocketStream("ws://u:secret@h/x")
    before = [repr(each) for each in (controller, stream.opened, dom.EventTarget())]
    controller.abort()

    assert before == ["<AbortController of <AbortSignal>>", "<Promise pending>", "<EventTarget with 0 listeners>"]
    assert repr(controller) == "<AbortController of <AbortSignal, aborted>>"
    assert repr(stream) == "<dom.WebSocketStream ws://h>"
    assert repr(dom.WebSocket("ws://u:secret@h/x")) == "<dom.WebSocket ws://h CONNECTING>"


def test_public_names_are_documented() -> None:
    """Each of them is on the page."""
    page = (ROOT / "docs" / "dom.rst").read_text("utf-8")

    assert [name for name in PROMISED if name not in page] == []


def test_import_is_lazy() -> None:
    """The core does not load this package, and this package does not load the parser of URLs."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)

    assert done.stderr == ""
