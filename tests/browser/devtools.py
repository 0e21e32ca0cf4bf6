"""The DevTools protocol, spoken by our own client: a browser that tests can use as a person does.

Theory. One connection carries calls, their results and events, all as JSON. A task takes what comes: a result wakes
its call, and the events of a page go to the page. Every test has a connection of its own, and a page lives in a browser
context (cookies, storage, cache) of its own, which is gone with the connection.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from trio_closeevents import connect

__all__ = ["Browser", "DevToolsError", "Page", "open_browser"]

PATIENCE: Final = 20.0  # seconds for anything that a page is waited for
KEYS: Final = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, "")}  # virtual key code, text

# What a script throws becomes the description of the exception.
WAIT_FOR: Final = """
new Promise((resolve) => {
    const look = () => { const value = (%s); if (value) resolve(value); else setTimeout(look, 15); };
    look();
})
"""


class DevToolsError(Exception):
    """The browser refuses a call, or a script has thrown."""


class Browser:
    """A connection to a browser; `open_browser` makes it."""

    def __init__(self, channel: trio.abc.Channel[Any]) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._calls: dict[int, tuple[trio.Event, dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    @property
    def pages(self) -> list[Page]:
        """All pages that were opened, in order, those that are closed included."""
        return list(self._pages.values())

    async def run(self) -> None:
        """Take what the browser says, until it is gone."""
        try:
            async for message in self._channel:
                if "id" in message:
                    done, answer = self._calls.pop(message["id"])
                    answer.update(message)
                    done.set()
                elif page := self._pages.get(message.get("sessionId")):
                    page.notice(message["method"], message["params"])
        except trio.BrokenResourceError:
            pass  # somebody has killed it
        for done, answer in self._calls.values():
            answer["error"] = "the browser is gone"
            done.set()

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call *method* of the browser, or of the page with *session*; return the result."""
        number = next(self._numbers)
        done, answer = self._calls[number] = trio.Event(), {}
        call = {"id": number, "method": method, "params": params}
        await self._channel.send(call if session is None else {**call, "sessionId": session})
        with trio.fail_after(PATIENCE):
            await done.wait()
        if "error" in answer:
            raise DevToolsError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open_page(self, url: str = "about:blank") -> Page:
        """Open *url* as somebody does who has never been there."""
        page = await self.attach(await self.open_tab(keep=False))
        if url != "about:blank":
            await page.go_to(url)
        return page

    async def open_tab(self, *, keep: bool) -> str:
        """Open an empty tab in a context of its own, which may outlive this connection; return its name."""
        context = await self.call("Target.createBrowserContext", disposeOnDetach=not keep)
        context_id: str = context["browserContextId"]
        target: str = (await self.call("Target.createTarget", url="about:blank", browserContextId=context_id))[
            "targetId"
        ]
        return target

    async def attach(self, target: str) -> Page:
        """Take a tab by its name."""
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, target, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        return page


class Page:
    """A tab.

    Attributes:
        browser: what it is a tab of.
        is_closed: whether `close` was called.
        errors: what the console shows as errors, and exceptions that no script has caught. A test fails of those that
            match none of `expected`.
        expected: patterns of errors that belong to the test.
        sockets: what the browser tells of the page's WebSockets, as (method, params).
    """

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.browser = browser
        self._target = target
        self._session = session
        self._loaded = trio.Event()
        self.is_closed = False
        self.errors: list[str] = []
        self.expected: list[str] = []
        self.sockets: list[tuple[str, dict[str, Any]]] = []

    @property
    def unexpected_errors(self) -> list[str]:
        """Those of `errors` that the test does not know of."""
        return [error for error in self.errors if not any(re.search(pattern, error) for pattern in self.expected)]

    def notice(self, method: str, params: dict[str, Any]) -> None:
        """Take an event of the page."""
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Runtime.exceptionThrown":
                self.errors.append(thrown(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.errors.append(json.dumps(params["args"]))
            case _ if method.startswith("Network.webSocket"):
                self.sockets.append((method, params))
            case _:
                pass

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol, of this page."""
        return await self.browser.call(method, self._session, **params)

    # -- where it is -----------------------------------------------------------------------------------------------

    async def go_to(self, url: str) -> None:
        """Navigate, and wait until the page is loaded."""
        self._loaded = trio.Event()
        result = await self.call("Page.navigate", url=url)
        if "errorText" in result:
            raise DevToolsError(f"{url}: {result['errorText']}")
        with trio.fail_after(PATIENCE):
            await self._loaded.wait()

    async def reload(self) -> None:
        """Press the button for that, and wait until the page is loaded again."""
        self._loaded = trio.Event()
        await self.call("Page.reload")
        with trio.fail_after(PATIENCE):
            await self._loaded.wait()

    async def go_back(self) -> None:
        """Press the button for that; the page may come out of the back/forward cache."""
        history = await self.call("Page.getNavigationHistory")
        entry = history["entries"][history["currentIndex"] - 1]
        await self.call("Page.navigateToHistoryEntry", entryId=entry["id"])

    async def close(self) -> None:
        """Close the tab as a person does."""
        self.is_closed = True
        await self.browser.call("Target.closeTarget", targetId=self._target)

    async def crash(self) -> None:
        """End its process, as a bug in there would."""
        self.is_closed = True
        await self.call("Page.crash")

    # -- what is in it ---------------------------------------------------------------------------------------------

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression; a promise is awaited."""
        result = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in result:
            raise DevToolsError(f"{script}: {thrown(result['exceptionDetails'])}")
        return result["result"].get("value")

    async def wait_for(self, script: str) -> Any:
        """Wait until an expression is true; return its value."""
        with trio.move_on_after(PATIENCE - 1):
            return await self.evaluate(WAIT_FOR % script)
        raise AssertionError(f"never true: {script}\nerrors: {self.errors}\nthe page says:\n{await self.text()}")

    async def text(self, selector: str = "body") -> str:
        """Return the text that can be seen."""
        found: str = await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
        return found

    async def wait_for_text(self, text: str, selector: str = "body") -> None:
        """Wait until *text* can be seen."""
        await self.wait_for(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})")

    # -- what a person does ------------------------------------------------------------------------------------------

    async def click(self, selector: str) -> None:
        """Click into the middle of an element."""
        x, y = await self.evaluate(
            f"(() => {{ const element = document.querySelector({json.dumps(selector)}); element.scrollIntoView(); "
            "const box = element.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def type(self, text: str) -> None:
        """Type into whatever has the focus."""
        await self.call("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        """Press a key, and let go of it."""
        code, text = KEYS[key]
        names = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **names)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **names)

    # -- what it looks like, and where it runs -----------------------------------------------------------------------

    async def look(self, *, width: int = 1000, height: int = 700, dark: bool = False) -> None:
        """Set the size of the window, in CSS pixels, and what the person prefers."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, path: Path) -> None:
        """Save what can be seen as a PNG."""
        result = await self.call("Page.captureScreenshot", format="png")
        await trio.Path(path).write_bytes(base64.b64decode(result["data"]))

    async def set_offline(self, offline: bool) -> None:
        """Let the browser believe that there is no network. What is connected stays so: `Cable` cuts that."""
        await self.call(
            "Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )


def thrown(details: dict[str, Any]) -> str:
    """Tell what a script has thrown."""
    return str(details.get("exception", {}).get("description") or details["text"])


@asynccontextmanager
async def open_browser(url: str) -> AsyncGenerator[Browser]:
    """Connect to the browser that speaks DevTools at *url*. Leaving closes all pages that were opened in the block."""
    async with connect(url, max_message_size=None, ping_interval=None, proxy=None) as ws:
        browser = Browser(ws.as_json())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(browser.run)
            yield browser
            nursery.cancel_scope.cancel()
