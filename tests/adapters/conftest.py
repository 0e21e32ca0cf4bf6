"""Every play has two roles, and travels over memory, TCP and TLS."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Callable

import pytest
from contract.conftest import REAL_LIMITS, run_autojump
from contract.stage import Role, Wire

from .stage import Stage

WIRES = (
    "memory",
    pytest.param("tcp", marks=[pytest.mark.once, pytest.mark.measured]),
    pytest.param("tls1.3", marks=pytest.mark.once),
)


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
    version = ssl.TLSVersion.TLSv1_3
    return Wire(name, (server_contexts(version), client_contexts(version)), *REAL_LIMITS)


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> Role:
    value: Role = request.param
    return value


@pytest.fixture
def stage(role: Role, wire: Wire) -> Stage:
    return Stage(role, wire)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Over memory streams time is the autojump clock's, over sockets it is real."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        is_here = "adapters" in item.path.parts
        if is_here and parameters.get("wire") == "memory" and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_autojump), append=False)
