"""`trio_closeevents.dom` itself: the names that are promised, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

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


def test_public_names_are_the_promised_ones() -> None:
    """`__all__` has each name once, in order."""
    assert dom.__all__ == sorted(PROMISED)


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
