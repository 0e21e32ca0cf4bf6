"""Chromium's recordings, played with `dom.WebSocket` in Chromium's place: 204 situations, over real sockets.

What sleeps for more than 5 s goes 60 times as fast, and so does the limit for an answer to our Close, which is 60 s in
Chromium and here. The rest takes the time it took there.
"""

from __future__ import annotations

import json
import socket
import ssl
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trustme
from tls import client_context, server_context

from .deviations import DEVIATIONS, Rule, as_rst
from .page import Page
from .scripted_server import LONG, PLAIN_OK, ScriptedServer, serve_scripts

RECORDED: Final = json.loads((Path(__file__).parents[1] / "data" / "chromium_close_events.json").read_text("utf-8"))
SCENARIOS: Final[dict[str, Any]] = RECORDED["scenarios"]
PACE: Final = 60
CLOSE_TIMEOUT: Final = 60
SETTLED: Final = 0.05  # seconds after the last event, for one more that there may not be
TLS: Final = ssl.TLSVersion.TLSv1_3


def group_of(name: str) -> str:
    """Return which situations are played side by side; a page that is busy or sends a lot has all for itself."""
    hooks = str(SCENARIOS[name]["script"]["client"]["hooks"])
    if "busy" in hooks or "62914560" in hooks:
        return name
    return "_".join(name.split("_")[:2]) if name.startswith(("cli", "srv")) else name.split("_")[0]


GROUPS: Final = {
    group: list(names) for group, names in groupby(sorted(SCENARIOS, key=lambda name: (group_of(name), name)), group_of)
}


def is_long(scenario: dict[str, Any]) -> bool:
    """Tell whether a situation took longer in Chromium than a test should."""
    steps = scenario["script"]["server"] or []
    return any(
        (verb == "sleep" and values[0] > LONG) or (verb == "drain" and values[0] > CLOSE_TIMEOUT)
        for verb, *values in steps
    )


class Player:
    """Plays one situation: its server and its page.

    Args:
        contexts: for TLS: a server's, a client's that trusts it, and one that does not.
    """

    def __init__(self, scenario: dict[str, Any], contexts: tuple[ssl.SSLContext, ...]) -> None:
        self.scenario = scenario
        self._secured, self._trusting, self._strange = contexts
        template = scenario["script"]["client"]["url"]
        context = self._secured if template in ("{wss}", "{wss_untrusted}", "{ws_tls}") else None
        self.server = ScriptedServer(scenario["script"]["server"] or PLAIN_OK, pace=PACE, context=context)
        port = self.server.port
        place = f"127.0.0.1:{port}"
        self._url = template.format(
            ws=f"ws://{place}/",
            wss=f"wss://{place}/",
            wss_untrusted=f"wss://{place}/",
            wss_plain=f"wss://{place}/",
            ws_tls=f"ws://{place}/",
            ws_base=f"ws://{place}",
            http=f"http://{place}",
            port=port,
            rid="1",
        )
        self._context = self._strange if template == "{wss_untrusted}" else self._trusting

    async def play(self) -> dict[str, Any]:
        """Return what the page and the server saw."""
        options: dict[str, Any] = {"ssl_context": self._context} if self._url.startswith("wss:") else {}
        async with trio.open_nursery() as nursery:
            limit = CLOSE_TIMEOUT / PACE if is_long(self.scenario) else CLOSE_TIMEOUT
            page = Page(self.scenario["script"]["client"], self._url, nursery, close_timeout=limit, **options)
            await page.wait_closed()
            await trio.sleep(SETTLED)
        with socket.socket() as poke:  # a server to whom nobody came goes too
            poke.setblocking(False)
            poke.connect_ex(("127.0.0.1", self.server.port))
        return {"events": page.events, "calls": page.calls}


async def play(names: list[str], contexts: tuple[ssl.SSLContext, ...]) -> dict[str, dict[str, Any]]:
    """Play situations side by side; return what was seen of each."""
    players = {name: Player(SCENARIOS[name], contexts) for name in names}
    seen: dict[str, dict[str, Any]] = {}

    async def play_one(name: str) -> None:
        seen[name] = await players[name].play()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, serve_scripts, [player.server for player in players.values()])
        for name in names:
            nursery.start_soon(play_one, name)
    for name in names:
        saw = players[name].server.saw
        seen[name]["saw"] = {
            "close_frames": [frame.hex() for frame in saw.close_frames],
            "other_frames_bytes": saw.other_bytes,
            "frames_after_close": saw.frames_after_close,
            "first": saw.ended_first,
        }
    return seen


def recorded(name: str) -> dict[str, Any]:
    """Return what Chromium did, in the form of what `play` returns."""
    scenario = SCENARIOS[name]
    saw = scenario["server_saw"]
    frame = saw and saw["close_frame"]
    return {
        "events": [dict(event) for event in scenario["events"]],
        "calls": [dict(call) for call in scenario["calls"]],
        "saw": saw
        and {
            "close_frames": [frame["raw"]] if frame else [],
            "other_frames_bytes": saw["other_frames_bytes"],
            "frames_after_close": saw["frames_after_close"],
            "first": saw["tcp"]["first"],
        },
    }


def outcomes(name: str) -> list[dict[str, Any]]:
    """Return what would agree with Chromium: what it did, and what else it did in other runs."""
    first = recorded(name)
    found = [first]
    for variant in SCENARIOS[name].get("variants", ()):
        events = [dict(event) for event in first["events"]]
        events[-1] |= variant["close"]
        found.append(first | {"events": events})
    return found


def comparable(seen: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Leave out what no two clients have in common: texts for people, and how much the kernel took."""
    calls = [dict(call) for call in seen["calls"]]
    for call in calls:
        if "threw" in call:
            call["threw"] = {key: value for key, value in call["threw"].items() if key in ("ctor", "name", "code")}
    events = [dict(event) for event in seen["events"]]
    for event, other in zip(events, like["events"], strict=False):
        if event.get("bufferedAmount", 0) > 2**20 and other.get("bufferedAmount", 0) > 2**20:
            event["bufferedAmount"] = "a lot"
    saw = dict(seen["saw"] or {})
    if saw:
        # The reason of a Close that fails the connection is for people.
        saw["close_frames"] = [raw[:4] if raw[:4] in ("03ea", "03ef") else raw for raw in saw["close_frames"]]
    return {"events": events, "calls": calls, "saw": saw}


def differences(seen: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    ours, theirs = comparable(seen, expected), comparable(expected, seen)
    if not expected["saw"]:
        ours["saw"] = theirs["saw"]
    return [f"{key}:\n    expected {theirs[key]}\n    seen     {ours[key]}" for key in ours if ours[key] != theirs[key]]


def judge(name: str, seen: dict[str, Any]) -> str:
    """Return how *seen* differs from what must be; "" if it does not."""
    rules: list[Rule] = [rule for rule in DEVIATIONS if name in rule.scenarios]
    expectations = outcomes(name)
    for rule in rules:
        expectations = [other for each in expectations for other in rule.instead(SCENARIOS[name], each)]
    found = [differences(seen, each) for each in expectations]
    return "" if not all(found) else "\n  ".join([name, *found[0]])


@pytest.fixture(scope="session")
def contexts(authority: trustme.CA, server_certificate: trustme.LeafCert) -> tuple[ssl.SSLContext, ...]:
    """A server's context, a client's that trusts it, and one that trusts somebody else."""
    return server_context(server_certificate, TLS), client_context(authority, TLS), client_context(trustme.CA(), TLS)


def test_every_situation_that_needs_no_page_is_played() -> None:
    """204 of them; each deviation names situations that there are, and none is in two rules."""
    named = [name for rule in DEVIATIONS for name in rule.scenarios]

    assert len(SCENARIOS) == sum(map(len, GROUPS.values())) == 204
    assert set(named) <= set(SCENARIOS)
    assert len(set(named)) == len(named)


def test_deviations_are_documented() -> None:
    """The docs have the same table as the test."""
    page = Path(__file__).parents[2] / "docs" / "dom_deviations.txt"

    assert page.read_text("utf-8") == as_rst()


@pytest.mark.once
@pytest.mark.parametrize("group", GROUPS)
async def test_agrees_with_chromium(group: str, contexts: tuple[ssl.SSLContext, ...]) -> None:
    """Events, their order and all they say, what calls return and raise, and what the server sees are Chromium's,
    or what the rule of a listed deviation has instead."""
    seen = await play(GROUPS[group], contexts)
    complaints = {name: judge(name, seen[name]) for name in GROUPS[group]}
    for name in [name for name in complaints if complaints[name]]:
        # The scripts' times are real, and a machine that is busy misses them: so once more, with nobody beside it.
        complaints[name] = judge(name, (await play([name], contexts))[name])

    assert "\n".join(filter(None, complaints.values())) == ""
