"""Every test of the contract is played in both roles, over every wire."""

from __future__ import annotations

import inspect
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trio.testing

from .stage import Role, Stage, Wire

HERE: Final = Path(__file__).parent
WIRES = (
    "memory",
    pytest.param("tcp", marks=[pytest.mark.once, pytest.mark.measured]),
    pytest.param("tls1.3", marks=pytest.mark.once),
    # The older one differs in the handshake, and there `test_nasty_peers.py` has it.
    *([pytest.param("tls1.2", marks=pytest.mark.once)] if os.environ.get("ALL_WIRES") else []),
)
REAL_LIMITS = (1.0, 0.5, 1.0)  # close_timeout, cancel_timeout, tolerance


@pytest.fixture(params=WIRES)
def wire(
    request: pytest.FixtureRequest,
    server_contexts: Callable[[ssl.TLSVersion], ssl.SSLContext],
    client_contexts: Callable[[ssl.TLSVersion], ssl.SSLContext],
) -> Wire:
    name: str = request.param
    if name == "memory":
        return Wire(name)
    if name == "tcp":
        return Wire(name, None, *REAL_LIMITS)
    version = ssl.TLSVersion["TLSv" + name[3:].replace(".", "_")]
    return Wire(name, (server_contexts(version), client_contexts(version)), *REAL_LIMITS)


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> Role:
    value: Role = request.param
    return value


@pytest.fixture
def stage(role: Role, wire: Wire) -> Stage:
    return Stage(role, wire)


def run_autojump(function: Callable[..., Awaitable[Any]], **options: Any) -> Any:
    """Run as `trio.run` does, but under the autojump clock."""
    options["clock"] = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(function, **options)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Over memory streams time is the autojump clock's, over sockets it is real."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("contract")
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if parameters.get("wire") == "memory" and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_autojump), append=False)
