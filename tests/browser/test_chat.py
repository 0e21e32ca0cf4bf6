"""`examples/chat` in two tabs: what people see of each other, of their own connection, and of its end."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from programs import run_program

from examples.chat.page import answer
from examples.chat.room import MAX_NAME, MAX_TEXT, Room
from trio_closeevents import Server, open_server

from .cable import Cable, open_cable
from .devtools import Browser, Page

HOST: Final = "127.0.0.1"
NETWORK: Final = "WebSocket connection to .* failed"  # what the console says of a network that was cut


@asynccontextmanager
async def open_chat(heartbeat: float = 15, **options: Any) -> AsyncGenerator[Server]:
    """Serve a room as `python -m examples.chat` does."""
    room = Room(heartbeat)
    options = {"process_request": answer, "on_close": room.left, **options}
    async with open_server(room.serve, HOST, 0, **options) as server:
        yield server


@pytest.fixture
async def chat() -> AsyncIterator[Server]:
    """A chat that nobody is in."""
    async with open_chat() as server:
        yield server


@pytest.fixture
async def cable(chat: Server) -> AsyncIterator[Cable]:
    """A cable to it."""
    async with open_cable(chat.port) as cable:
        yield cable


async def at_the_door(browser: Browser, port: int) -> Page:
    """Open the page."""
    page = await browser.open_page(f"http://{HOST}:{port}/")
    await page.wait_for("document.activeElement.id === 'name'")
    return page


async def come(browser: Browser, port: int, name: str) -> Page:
    """Open the page and go in, with the keyboard alone: the name has the focus."""
    page = await at_the_door(browser, port)
    await page.type(name)
    await page.press("Enter")
    await page.wait_for_text("You have come in.", "#log")
    return page


async def say(page: Page, text: str) -> None:
    """Type and press Enter: the message has the focus."""
    await page.type(text)
    await page.press("Enter")


async def shows(page: Page, names: list[str]) -> None:
    """Wait until these are the people who are here."""
    shown = "[...document.querySelectorAll('#names li')].map((each) => each.innerText)"
    await page.wait_for(f"JSON.stringify({shown}) === {json.dumps(json.dumps(names, separators=(',', ':')))}")


async def own_event(page: Page) -> dict[str, str]:
    """Return the page's own CloseEvent, as it shows it."""
    parts = {part: await page.text(f"#ended-{part}") for part in ("code", "reason", "clean")}
    return parts


# -- talking -----------------------------------------------------------------------------------------------------------


async def test_two_tabs_talk(browser: Browser, chat: Server) -> None:
    """Each sees who is here and what is said, once, in order; and the field is empty again."""
    ada = await come(browser, chat.port, "Ada")
    bob = await come(browser, chat.port, "  Bob   B. ")
    await ada.wait_for_text("Bob B. has come in.", "#log")
    for page in (ada, bob):
        await shows(page, ["Ada", "Bob B."])
    await say(ada, "Hello, Bob")
    await bob.wait_for_text("Hello, Bob", "#log")
    await say(bob, "  Hello, Ada \U0001f642 ")
    for page in (ada, bob):
        await page.wait_for_text("Hello, Ada \U0001f642", "#log")
        script = "[...document.querySelectorAll('.said')].map((each) => [each.children[0], each.children[2]])"
        said = await page.evaluate(f"{script}.map((pair) => pair.map((each) => each.innerText))")
        assert said == [["Ada", "Hello, Bob"], ["Bob B.", "Hello, Ada \U0001f642"]]
        assert await page.evaluate("document.activeElement.id + document.querySelector('#text').value") == "text"
    assert await ada.text("#state") == "connected"


async def test_somebody_who_comes_later_is_told_what_was_said(browser: Browser, chat: Server) -> None:
    """The last messages, before their own coming in."""
    ada = await come(browser, chat.port, "Ada")
    await say(ada, "first")
    await say(ada, "second")
    await ada.wait_for_text("second", "#log")
    bob = await come(browser, chat.port, "Bob")
    entries = await bob.evaluate(
        "[...document.querySelectorAll('#log .text, #log .news')].map((each) => each.innerText)"
    )
    assert entries[:3] == ["first", "second", "You have come in."]


async def test_what_people_type_is_text(browser: Browser, chat: Server) -> None:
    """HTML in a name or a message is shown as it was typed, and nothing of it runs or is loaded."""
    html = '<img src=x onerror="document.title=1"><b>bold</b><script>document.title=2</script>'
    ada = await come(browser, chat.port, "<b>Ada</b>")
    bob = await come(browser, chat.port, "Bob")
    await say(ada, html)
    await bob.wait_for_text(html, "#log")
    await shows(bob, ["<b>Ada</b>", "Bob"])
    for page in (ada, bob):
        assert await page.evaluate("document.querySelectorAll('#log img, #log b, #log script, #names b').length") == 0
        assert await page.evaluate("document.title") == "Chat"


async def test_what_is_typed_is_bounded(browser: Browser, chat: Server) -> None:
    """The fields take no more than the server does, and only spaces are nothing."""
    ada = await come(browser, chat.port, "A" * (MAX_NAME + 9))
    await shows(ada, ["A" * MAX_NAME])
    await say(ada, "   ")
    await ada.evaluate("document.querySelector('#text').value = ''")
    await say(ada, "x" * (MAX_TEXT + 9))
    await ada.wait_for("document.querySelector('.said .text')")
    assert await ada.evaluate("[...document.querySelectorAll('.text')].map((each) => each.innerText.length)") == [
        MAX_TEXT
    ]


async def test_name_that_is_taken_leads_back_to_the_door(browser: Browser, chat: Server) -> None:
    """With the reason out of the Close frame, and the name ready to be changed."""
    await come(browser, chat.port, "Ada")
    eve = await at_the_door(browser, chat.port)
    await eve.type("ADA")
    await eve.press("Enter")
    await eve.wait_for_text("Somebody here is called that already.", "#trouble")
    assert await eve.evaluate("getSelection().toString() || document.activeElement.value") == "ADA"
    await eve.type("Eve")
    await eve.press("Enter")
    await eve.wait_for_text("You have come in.", "#log")
    await shows(eve, ["Ada", "Eve"])


# -- ends --------------------------------------------------------------------------------------------------------------


async def test_closed_tab_is_told_to_the_others(browser: Browser, chat: Server) -> None:
    """Chromium says 1001, and people say it in words."""
    ada, bob = await come(browser, chat.port, "Ada"), await come(browser, chat.port, "Bob")
    await ada.close()
    await bob.wait_for_text("Ada closed the tab, or left the page. 1001", "#log")
    await bob.wait_for("document.querySelectorAll('#names li').length === 1")
    assert await bob.evaluate("document.querySelector('.code').className") == "code clean"


async def test_page_that_is_left_for_another_is_told_to_the_others(browser: Browser, chat: Server) -> None:
    """At once: it is not kept alive in the back/forward cache. On the way back it is a page that is loaded again."""
    ada, bob = await come(browser, chat.port, "Ada"), await come(browser, chat.port, "Bob")
    await ada.go_to("about:blank")
    await bob.wait_for_text("Ada closed the tab, or left the page. 1001", "#log")
    await ada.go_back()
    await bob.wait_for_text("Ada is back.", "#log")


async def test_reloaded_page_comes_in_by_itself(browser: Browser, chat: Server) -> None:
    """Under the same name, with what was said."""
    ada, bob = await come(browser, chat.port, "Ada"), await come(browser, chat.port, "Bob")
    await say(bob, "stay!")
    await ada.wait_for_text("stay!", "#log")
    await ada.reload()
    await ada.wait_for_text("You are back.", "#log")
    await ada.wait_for_text("stay!", "#log")
    await bob.wait_for_text("Ada is back.", "#log")


async def test_network_drop_is_told_and_mended(browser: Browser, chat: Server, cable: Cable) -> None:
    """Both sides say what happened, the page comes back by itself, and nothing that was said is lost or doubled."""
    ada, bob = await come(browser, cable.port, "Ada"), await come(browser, chat.port, "Bob")
    ada.expected = [NETWORK]
    await say(ada, "before")
    await bob.wait_for_text("before", "#log")
    cable.cut()
    await bob.wait_for_text("Ada lost the connection, without a goodbye. 1006", "#log")
    await ada.wait_for("!document.querySelector('#ended').hidden")
    assert await own_event(ada) == {"code": "1006", "reason": "none", "clean": "false"}
    assert await ada.evaluate("document.querySelector('#text').disabled") is True
    await say(bob, "meanwhile")
    await bob.wait_for_text("meanwhile", "#log")
    cable.mend()
    await ada.wait_for_text("You are back.", "#log")
    await bob.wait_for_text("Ada is back.", "#log")
    assert await ada.evaluate("[...document.querySelectorAll('.text')].map((each) => each.innerText)") == [
        "before",
        "meanwhile",
    ]
    assert await ada.evaluate("document.querySelector('#ended').hidden") is True
    await say(ada, "after")
    await bob.wait_for_text("after", "#log")


async def test_silent_network_is_noticed_by_both(browser: Browser) -> None:
    """No FIN, no RST: the server misses the Pong, the page the heartbeat."""
    async with open_chat(0.5, ping_interval=0.5, ping_timeout=3) as chat, open_cable(chat.port) as cable:
        ada, bob = await come(browser, cable.port, "Ada"), await come(browser, chat.port, "Bob")
        ada.expected = [NETWORK]
        cable.silence()
        await bob.wait_for_text("Ada has fallen silent", "#log")
        await ada.wait_for_text("Nothing is heard from the server any more.", "#log")
        cable.cut()
        cable.mend()
        await ada.wait_for_text("You are back.", "#log")


async def test_offline_page_connects_when_the_network_is_back(browser: Browser, chat: Server, cable: Cable) -> None:
    """The browser tells: nobody waits for the next attempt."""
    ada = await come(browser, cable.port, "Ada")
    ada.expected = [NETWORK]
    await ada.evaluate("Math.random = () => 1e6")  # the wait would be for ever
    await ada.set_offline(True)
    cable.cut()
    await ada.wait_for_text("waiting to try again", "#state")
    cable.mend()
    await ada.set_offline(False)
    await ada.wait_for_text("You are back.", "#log")


async def test_button_connects_now(browser: Browser, chat: Server, cable: Cable) -> None:
    """For those who do not want to wait."""
    ada = await come(browser, cable.port, "Ada")
    ada.expected = [NETWORK]
    await ada.evaluate("Math.random = () => 1e6")
    cable.cut()
    await ada.wait_for_text("Trying again in", "#wait")
    cable.mend()
    await ada.click("#now")
    await ada.wait_for_text("You are back.", "#log")


async def test_copy_of_a_tab_takes_over(browser: Browser, chat: Server) -> None:
    """The first is told with 4002, and does not fight for its place."""
    ada, bob = await come(browser, chat.port, "Ada"), await come(browser, chat.port, "Bob")
    copy = await browser.open_page(f"http://{HOST}:{chat.port}/")
    storage = json.dumps(await ada.evaluate("({...sessionStorage})"))
    await copy.evaluate(f"Object.assign(sessionStorage, {storage})")
    await copy.reload()
    await copy.wait_for_text("You are back.", "#log")
    await ada.wait_for_text("The chat goes on in another tab.", "#ended")
    assert await own_event(ada) == {"code": "4002", "reason": "“you are here in another tab”", "clean": "true"}
    assert await ada.text("#state") == "not connected"
    await say(bob, "who?")
    await copy.wait_for_text("who?", "#log")
    await shows(bob, ["Bob", "Ada"])


# -- the program -------------------------------------------------------------------------------------------------------


async def test_restart_is_told_and_survived(browser: Browser) -> None:
    """SIGTERM: 1012 with its reason, clean, in words; and everybody is back when the next process is there."""
    words = ("-m", "examples.chat", "--port")
    async with run_program(*words, "0") as first:
        await first.wait_for("The chat is at")
        port = first.port
        ada, bob = await come(browser, port, "Ada"), await come(browser, port, "Bob")
        ada.expected = bob.expected = [NETWORK]
        for page in (ada, bob):
            await page.evaluate("Math.random = () => 0.1")  # the waits would grow for as long as Python starts
        await say(ada, "in the first run")
        await bob.wait_for_text("in the first run", "#log")
        assert await first.end(signal.SIGTERM) == 0
        await ada.wait_for_text("Your connection has ended. The server restarts. 1012", "#log")
    await ada.wait_for_text("The server cannot be reached.", "#ended")
    async with run_program(*words, str(port)):
        for page in (ada, bob):
            await page.wait_for_text("You are back.", "#log")
        await say(bob, "in the second")
        await ada.wait_for_text("in the second", "#log")


async def test_end_of_the_server_is_shown_as_it_was(browser: Browser) -> None:
    """Code, reason and wasClean are those of the event."""
    async with open_chat() as chat:
        ada = await come(browser, chat.port, "Ada")
        ada.expected = [NETWORK]
        await ada.evaluate("Math.random = () => 1e6")
        await chat.aclose(1012, "the server restarts")
        await ada.wait_for_text("The server restarts.", "#ended")
        assert await own_event(ada) == {"code": "1012", "reason": "“the server restarts”", "clean": "true"}


# -- what it looks like ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200], ids=["narrow", "wide"])
async def test_page_fits_and_can_be_read(
    browser: Browser, chat: Server, width: int, dark: bool, tmp_path: Path
) -> None:
    """Nothing sticks out, also of long words; the composer is in sight; text has a contrast of 4.5 at least (WCAG)."""
    ada, bob = await come(browser, chat.port, "Ada"), await come(browser, chat.port, "W" * MAX_NAME)
    for page in (ada, bob):
        await page.look(width=width, dark=dark)
    for number in range(12):
        await say(ada, f"{number} " + "word" * 60)
    await bob.close()
    await ada.wait_for_text("1001", "#log")
    await ada.wait_for("document.getAnimations().length === 0")
    await ada.screenshot(tmp_path / "chat.png")
    assert await ada.evaluate("document.documentElement.scrollWidth") <= width
    past = await ada.evaluate(
        "(({scrollWidth, clientWidth}) => [scrollWidth, clientWidth])(document.querySelector('#past'))"
    )
    assert past[0] <= past[1]
    last = "document.querySelector('#log').lastChild.getBoundingClientRect().bottom"
    assert await ada.evaluate(f"{last} <= document.querySelector('#past').getBoundingClientRect().bottom") is True
    assert await ada.evaluate("document.querySelector('#say').getBoundingClientRect().bottom <= innerHeight") is True
    for hue in range(0, 360, 20):  # names have colours of their own
        names = "document.querySelectorAll('#names li, .name')"
        await ada.evaluate(f"{names}.forEach((name) => name.style.setProperty('--hue', {hue}))")
        assert await ada.evaluate(f"({CONTRASTS})()") == [], f"hue {hue}"


async def test_page_speaks_to_those_who_do_not_see_it(browser: Browser, chat: Server) -> None:
    """Every field and button has a name, the messages are a live log, the state and the end are announced."""
    ada = await come(browser, chat.port, "Ada")
    tree = await ada.call("Accessibility.getFullAXTree")
    found = {
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree["nodes"] if not node["ignored"]
    }
    assert {("log", "Messages"), ("textbox", "Your message"), ("button", "Send"), ("heading", "Here (1)")} <= found
    assert {role for role, _ in found} >= {"status", "main", "list", "listitem"}
    assert not [role for role, name in found if role in ("textbox", "button") and not name]
    assert await ada.evaluate("document.querySelector('#ended').getAttribute('role')") == "alert"
    assert await ada.evaluate("document.documentElement.lang") == "en"


# Texts whose contrast with the nearest background that is not transparent is too small.
CONTRASTS: Final = """
() => {
    const luminance = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((it) => it / 255)
            .map((it) => it <= .04045 ? it / 12.92 : ((it + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const background = (element) => {
        const color = element ? getComputedStyle(element).backgroundColor : "rgb(255, 255, 255)";
        return color === "rgba(0, 0, 0, 0)" ? background(element.parentElement) : color;
    };
    const low = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility()) continue;
        const [light, dim] = [luminance(getComputedStyle(element).color), luminance(background(element))]
            .sort((a, b) => b - a);
        const contrast = (light + .05) / (dim + .05);
        if (contrast < 4.5) low.push([element.innerText.slice(0, 30), contrast]);
    }
    return low;
}
"""
