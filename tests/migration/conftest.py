"""A fixture for tests of what trio-websocket leaves behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def swept() -> Iterator[None]:
    """What the test leaves to the garbage collector is found before the next one begins, which is not to blame."""
    yield
    gc.collect()
