"""Every test of the contract is played in both roles, over every wire."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from stages import Role, Wire, role, wire

from .stage import Stage

__all__ = ["role", "wire"]

HERE: Final = Path(__file__).parent


@pytest.fixture
def stage(role: Role, wire: Wire) -> Stage:
    return Stage(role, wire)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the contract's tests, which are run on every Python."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("contract")
