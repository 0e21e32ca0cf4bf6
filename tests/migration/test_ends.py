"""The tables of the migration guides about the end of a connection, measured by a raw peer."""

from __future__ import annotations

import math
from typing import Any, Final

import pytest
from trio.testing import MockClock

from trio_closeevents.testing import TEXT, ScriptedPeer

from .libraries import LIBRARIES, Act, ServerAct
from .pages import last_number, table
from .witness import Script, watch_client, watch_server

# The libraries of the columns of both tables of a page.
COLUMNS: Final = {
    "websockets": ("websockets.asyncio", "websockets.trio", "trio-closeevents"),
    "trio-websocket": ("trio-websocket", "with the one import", "trio-closeevents"),
}
SEES: Final[dict[str, tuple[list[Act], list[ServerAct]]]] = {  # what a client does, and what a server
    "returns": (["return"], ["return"]),
    "raises an exception": (["raise"], ["raise"]),
    "is cancelled, or passes a deadline": (["be cancelled", "pass a deadline"], []),
    "is interrupted by Ctrl-C": (["be interrupted"], []),
    "calls `close(4000)`, here `aclose(4000)`": (["close"], []),
    "calls `aclose(4000)`": (["close"], []),
    "belongs to a server that is closed": ([], ["close the server"]),
    "belongs to a server whose task is cancelled": ([], ["cancel the server"]),
}
OTHERS: Final = pytest.mark.once  # websockets leans on private names of trio, which older versions do not have
UNREAD: Final = 100  # messages
LIMITS: Final = {"close_timeout": 3.0, "cancel_timeout": 1.0}  # seconds; real ones for asyncio
NO_TIME: Final = 0.9  # seconds
GIVE_UP: Final = 10.0


async def send_messages(peer: ScriptedPeer) -> None:
    """Send more than anybody reads, then be polite."""
    for _ in range(UNREAD):
        await peer.send(peer.frame(TEXT, b"unread"))
    await peer.be_polite()


TAKES: Final[dict[str, tuple[Act, Script]]] = {
    "returns, and the peer does not answer": ("return", ScriptedPeer.drain),
    "is cancelled, and the peer does not answer": ("be cancelled", ScriptedPeer.drain),
    "returns, and a hundred messages were not received": ("leave messages unread", send_messages),
}


def cells(name: str, *, of_asyncio: bool | None = None) -> list[Any]:
    """Return row, library and cell of the table *name* of each page: all, or those of asyncio, or all but them."""
    return [
        pytest.param(row, library, cell, id=f"{page}: {library} {row}", marks=OTHERS if "websockets" in library else ())
        for page, libraries in COLUMNS.items()
        for row, *rest in table(f"coming_from_{page.replace('-', '_')}", f"{page}-{name}")
        for library, cell in zip(libraries, rest, strict=True)
        if of_asyncio in (None, library == "websockets.asyncio")
    ]


@pytest.mark.parametrize(("row", "library", "cell"), cells("peer-sees"))
async def test_peer_sees_what_the_page_says(row: str, library: str, cell: str) -> None:
    """1006 where no Close frame comes at all."""
    acts, server_acts = SEES[row]
    for act in acts:
        assert (await watch_client(LIBRARIES[library], act)).code == last_number(cell), act
    for server_act in server_acts:
        assert (await watch_server(LIBRARIES[library], server_act)).code == last_number(cell), server_act


@pytest.mark.parametrize(("row", "library", "cell"), cells("leaving-takes", of_asyncio=False))
async def test_leaving_takes_what_the_page_says(row: str, library: str, cell: str, autojump_clock: MockClock) -> None:
    """A limit, by its name; no time worth mentioning; or for ever."""
    autojump_clock.autojump_threshold = 0.05  # the kernel may take a moment
    await check_duration(row, library, cell)


@pytest.mark.parametrize(("row", "library", "cell"), cells("leaving-takes", of_asyncio=True))
async def test_leaving_takes_what_the_page_says_on_asyncio(row: str, library: str, cell: str) -> None:
    """The same, by the only clock that asyncio has."""
    await check_duration(row, library, cell)


async def check_duration(row: str, library: str, cell: str) -> None:
    """Measure how long a client takes, and compare it with the cell."""
    act, script = TAKES[row]
    seen = await watch_client(LIBRARIES[library], act, script, patience=GIVE_UP, **LIMITS)
    match cell:
        case "no time":
            assert seen.seconds < NO_TIME
        case "for ever":
            assert seen.seconds == math.inf
        case _:
            limit = LIMITS[cell.strip("`").replace("disconnect", "close")]
            assert limit <= seen.seconds < limit + NO_TIME
