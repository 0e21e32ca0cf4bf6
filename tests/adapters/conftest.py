"""Every play has two roles, and travels over memory, TCP and TLS."""

from __future__ import annotations

import pytest
from stages import Role, Wire, role, wire

from .stage import Stage

__all__ = ["role", "wire"]


@pytest.fixture
def stage(role: Role, wire: Wire) -> Stage:
    return Stage(role, wire)
