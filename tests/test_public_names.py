"""`trio_closeevents` itself: the names that are promised, and what importing them costs."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

import trio_closeevents

PROMISED: Final = {
    # opening
    "connect",
    "stay_connected",
    "ReconnectPolicy",
    "ReconnectEvent",
    "accept",
    "broadcast",
    "close_on_signals",
    "speedups_enabled",
    "serve",
    "open_server",
    "basic_auth",
    "Routes",
    "TrustedProxies",
    "Listen",
    "inherited_sockets",
    "Server",
    "WebSocket",
    "MessageStream",
    "ByteStream",
    "JSONChannel",
    "Options",
    "OptionsDict",
    "Deflate",
    "Observer",
    "Headers",
    "Request",
    "Response",
    # while open
    "ReadyState",
    "Stats",
    # the end
    "CloseCause",
    "CloseCode",
    "CloseEvent",
    "CloseFrame",
    "ClosePolicy",
    "describe",
    "is_sendable",
    # exceptions
    "ConnectionClosed",
    "RemoteClosed",
    "LocallyClosed",
    "ConnectionBroken",
    "HandshakeError",
    "HandshakeRejected",
    "HandshakeTimeout",
}

MODULES: Final = {  # and what is promised of them
    "diagram": {"Arrow", "Diagram", "Note", "Remark", "Row", "draw", "draw_svg", "visible"},
    "otel": {"OpenTelemetry"},
    "trace": {"Trace"},
}

PACKAGE: Final = Path(trio_closeevents.__file__).parent

# What the library does with the modules that the interpreter has not loaded for trio, wsproto and h11 already.
LOADED: Final = """
import sys
import h11, trio, wsproto
before = set(sys.modules)
import trio_closeevents
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def run(program: str) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.split()


def test_public_names_are_the_promised_ones() -> None:
    """`__all__` has each name once, in order, and nothing else is public by accident."""
    assert set(trio_closeevents.__all__) == PROMISED
    assert trio_closeevents.__all__ == sorted(PROMISED)
    modules = {name for name, value in vars(trio_closeevents).items() if inspect.ismodule(value)}
    assert {name for name in vars(trio_closeevents) if not name.startswith("_")} - modules == PROMISED


@pytest.mark.parametrize(("name", "promised"), MODULES.items())
def test_public_modules_have_the_promised_names(name: str, promised: set[str]) -> None:
    """Those that are imported by their own name, with what they need of others."""
    module = importlib.import_module(f"trio_closeevents.{name}")
    assert set(module.__all__) == promised
    assert module.__all__ == sorted(promised)


def test_star_import_brings_the_promised_names() -> None:
    """`from trio_closeevents import *` has them all."""
    names: dict[str, Any] = {}
    exec("from trio_closeevents import *", names)

    assert set(names) - {"__builtins__"} == PROMISED


def test_package_is_typed() -> None:
    """Type checkers look into a package that has `py.typed`."""
    assert (PACKAGE / "py.typed").exists()


def test_modules_promise_what_they_have() -> None:
    """Every name in an `__all__` inside the package is there."""
    for path in PACKAGE.glob("_*.py"):
        module = importlib.import_module(f"trio_closeevents.{path.stem}")
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{path.name}: {name}"


def test_importing_loads_no_other_package() -> None:
    """Beyond trio, wsproto and h11 only the standard library is loaded: not rich, not what the tests need."""
    loaded = set(run(LOADED)) - {"trio_closeevents"}

    assert {name for name in loaded if name not in sys.stdlib_module_names} == set()


def test_importing_loads_no_part_that_was_not_asked_for() -> None:
    """The demo is loaded by the command line alone, and importing starts nothing."""
    loaded = run("import sys, trio_closeevents; print(*sys.modules)")

    assert "trio_closeevents._connection" in loaded
    assert not {
        "click",
        "rich",
        "trio_closeevents._cli",
        "trio_closeevents._demo",
        "trio_closeevents.__main__",
        "asyncio",
    } & set(loaded)


def test_protocol_and_values_load_no_trio() -> None:
    """The values, the state machine and the frames can be had without trio, as far as their own imports go."""
    program = """
import sys, types
package = types.ModuleType("trio_closeevents")
package.__path__ = ["trio_closeevents"]
sys.modules["trio_closeevents"] = package
import trio_closeevents._events, trio_closeevents._policy, trio_closeevents._http, trio_closeevents._url
import trio_closeevents._protocol.closing, trio_closeevents._protocol.frames
import trio_closeevents._protocol.session, trio_closeevents._protocol.handshake
print(*sys.modules)
"""
    assert not {"trio", "outcome", "sniffio", "asyncio"} & set(run(program))
