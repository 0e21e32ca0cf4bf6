"""Fixtures: the real trio-websocket beside the library that stands in for it."""

from __future__ import annotations

from typing import Any

import pytest
import trio_websocket as real

import trio_closeevents.compat.trio_websocket as stand_in


@pytest.fixture(params=["trio-websocket", "stand-in"])
def library(request: pytest.FixtureRequest) -> Any:
    """Both of them, one after the other: what a test says of it holds for both."""
    return real if request.param == "trio-websocket" else stand_in
