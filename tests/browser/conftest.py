"""Fixtures for tests in a browser: one process for all of them, and a page of its own for each.

When a test fails, what its pages show is kept as PNG files, in the folder that the environment variable `SCREENSHOTS`
names (`nox -s browser` says `.nox/.cache/screenshots`) or in pytest's temporary one. The failure says where.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .chromium import Chromium
from .devtools import Browser, Page, open_browser


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory, server_certificate: trustme.LeafCert) -> Iterator[Chromium]:
    """The process that all tests of a worker share; one that kills a browser starts another."""
    certificate = x509.load_pem_x509_certificate(server_certificate.cert_chain_pems[0].bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    trusted = base64.b64encode(hashlib.sha256(key).digest()).decode()
    with Chromium(tmp_path_factory.mktemp("chromium"), [trusted]) as process:
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


@pytest.fixture
async def shared_page(chromium: Chromium, browser: Browser) -> Page:
    """A tab that shows what the last test has left there; for tests that are many, since it costs nothing."""
    chromium.tab = chromium.tab or await browser.open_tab(keep=True)
    return await browser.attach(chromium.tab)


# -- screenshots of failures -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for them."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.getbasetemp() / "screenshots").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let every test that has a browser keep what is to be seen when it fails."""
    is_async = inspect.iscoroutinefunction(getattr(item, "obj", None))
    if isinstance(item, pytest.Function) and is_async and "chromium" in item.fixturenames:
        item.obj = keeping_screenshots(item, item.obj)


def keeping_screenshots(item: pytest.Function, test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Wrap *test*. It has to be done in there: at the end of the test its pages are closed."""

    @wraps(test)
    async def run(**fixtures: Any) -> None:
        try:
            await test(**fixtures)
        except Exception as error:
            folder = cast("Path", item.funcargs["screenshots"])
            with trio.move_on_after(10):
                for path in await keep_screenshots(fixtures, folder, item.name):
                    error.add_note(f"screenshot: {path}")
            raise

    return run


async def keep_screenshots(fixtures: dict[str, Any], folder: Path, name: str) -> list[Path]:
    """Save what the pages of a test show; return where."""
    browsers = [each.browser if isinstance(each, Page) else each for each in fixtures.values()]
    browser = next(each for each in browsers if isinstance(each, Browser))  # a test has but one
    pages = [page for page in browser.pages if not page.is_closed]
    paths: list[Path] = []
    for number, page in enumerate(pages, 1):
        path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-')}-{number}.png"
        await page.screenshot(path)
        paths.append(path)
    return paths
