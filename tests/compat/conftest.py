"""Fixtures: the real trio-websocket beside the library that stands in for it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import trio_websocket as real
from trio.testing import MockClock

import trio_closeevents.compat.trio_websocket as stand_in

LEAKS = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(params=[pytest.param(real, id="trio-websocket", marks=LEAKS), pytest.param(stand_in, id="stand-in")])
def library(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Both of them, one after the other: what a test says of it holds for both."""
    yield request.param
    stem = request.path.stem
    if request.param is real and (stem in ("test_opening", "test_server") or stem.startswith("test_documented")):
        gc.collect()  # it leaves sockets behind, and no other test is to blame


@pytest.fixture
def trio_websocket(library: Any) -> Any:
    """The same, by the name that programs have for it."""
    return library


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    """A clock that jumps, when the kernel had its moment."""
    autojump_clock.autojump_threshold = 0.05
    return autojump_clock
