"""Fixtures for tests in a browser: one process for all of them, and a page of its own for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from .chromium import Chromium
from .devtools import Browser, Page, open_browser


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The process that all tests of a worker share; one that kills a browser starts another."""
    with Chromium(tmp_path_factory.mktemp("chromium")) as process:
        yield process


@pytest.fixture
async def browser(chromium: Chromium) -> AsyncIterator[Browser]:
    """The test's own connection to it. Its pages are closed at the end, and must not have shown errors."""
    async with open_browser(chromium.url) as browser:
        yield browser
        errors = [error for page in browser.pages for error in page.unexpected_errors]
    assert errors == [], "the console of a page shows errors"


@pytest.fixture
async def page(browser: Browser) -> Page:
    """A fresh, empty tab."""
    return await browser.open_page()
