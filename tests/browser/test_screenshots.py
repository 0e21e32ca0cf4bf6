"""A test that fails leaves a picture of what the page showed, and says where."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from .conftest import keeping_screenshots
from .devtools import Browser, Page


async def test_failure_leaves_a_picture_of_each_page(
    browser: Browser, page: Page, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    """Of those that are not closed; the failure goes on, with a note."""

    async def fail(page: Page) -> None:
        raise AssertionError("as it does here")

    await (await browser.open_page()).close()
    await page.evaluate("document.body.append('what was to be seen')")
    with pytest.raises(AssertionError, match="as it does here") as caught:
        await keeping_screenshots(request.node, fail)(page=page)
    (note,) = caught.value.__notes__
    path = trio.Path(note.removeprefix("screenshot: "))
    assert Path(path.parent) == screenshots
    assert (await path.read_bytes()).startswith(b"\x89PNG")
    await path.unlink()
