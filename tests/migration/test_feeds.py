"""The feeds of the migration guides: one program in each library, and ours with each of the others."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from programs import ROOT, Program, run_program

from trio_closeevents import connect

FOLDER: Final = ROOT / "docs" / "programs" / "migration"


@dataclass(frozen=True)
class Feed:
    """A program of docs/programs/migration.

    Attributes:
        file: its name.
        at_deadline: the code that a server sees when a client's time is over.
        at_interrupt: the same for Ctrl-C.
        ported: the line that takes the place of the import of trio-websocket.
    """

    file: str
    at_deadline: int
    at_interrupt: int
    ported: str | None = None

    def path(self, folder: Path) -> str:
        """Return where the program is; with another import it is written into *folder*."""
        if self.ported is None:
            return str(FOLDER / self.file)
        before, found, after = (FOLDER / self.file).read_text(encoding="utf-8").partition("import trio_websocket\n")
        assert found
        assert "import trio_websocket" not in after
        (folder / self.file).write_text(f"{before}{self.ported}\n{after}", encoding="utf-8")
        return str(folder / self.file)


pytestmark = pytest.mark.once  # programs take their time, on every Python

ONE_IMPORT: Final = "import trio_closeevents.compat.trio_websocket as trio_websocket"
FEEDS: Final = {
    "websockets.asyncio": Feed("feed_websockets_asyncio.py", 1011, 1011),
    "websockets.trio": Feed("feed_websockets_trio.py", 1006, 1011),
    "trio-websocket": Feed("feed_trio_websocket.py", 1006, 1000),
    "with the one import": Feed("feed_trio_websocket.py", 1001, 1001, ONE_IMPORT),
    "trio-closeevents": Feed("feed_trio_closeevents.py", 1001, 1001),
}
OURS: Final = "trio-closeevents"

# Programs of this library with all others, and the ported one with what it stands in for.
PAIRS: Final = [
    (client, server)
    for client, server in product(FEEDS, FEEDS)
    if OURS in (client, server) or {client, server} <= {"trio-websocket", "with the one import"}
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let websockets not wait long before it connects again."""
    monkeypatch.setenv("WEBSOCKETS_BACKOFF_INITIAL_DELAY", "0.2")
    monkeypatch.setenv("WEBSOCKETS_BACKOFF_MIN_DELAY", "0.2")


@asynccontextmanager
async def run_server(name: str, folder: Path, port: int = 0) -> AsyncGenerator[Program]:
    """Run the server of *name* until the block ends."""
    async with run_program(FEEDS[name].path(folder), "serve", str(port)) as server:
        await server.wait_for("ws://")
        yield server


def follow(name: str, folder: Path, server: Program, topic: str, seconds: float) -> Any:
    """Run the client of *name*."""
    return run_program(FEEDS[name].path(folder), "follow", f"ws://127.0.0.1:{server.port}/", topic, str(seconds))


@pytest.mark.parametrize(("client", "server"), PAIRS)
async def test_client_follows_a_server_over_a_restart(client: str, server: str, tmp_path: Path) -> None:
    """The server ends in order and says 1012; the client comes back to the next one."""
    async with run_server(server, tmp_path) as first, follow(client, tmp_path, first, "tea", 60) as follower:
        await follower.wait_for(r"tea \d+\n.*tea \d+\n")
        assert await first.end(signal.SIGTERM) == 0
        await follower.wait_for(r"ended: 1012 .*back soon")
        async with run_server(server, tmp_path, first.port):
            await follower.wait_for(r"(?s)back soon.*tea \d+\n.*tea \d+\n")
    assert "coffee" not in follower.said


@pytest.mark.parametrize(("client", "server"), PAIRS)
async def test_client_whose_time_is_over_says_what_its_library_says(client: str, server: str, tmp_path: Path) -> None:
    """It ends with status 0, and the server prints how the connection has ended."""
    async with run_server(server, tmp_path) as serving:
        async with follow(client, tmp_path, serving, "coffee", 1) as follower:
            assert await follower.end() == 0
        assert "coffee" in follower.said
        await serving.wait_for(rf"ended: {FEEDS[client].at_deadline}\b")


@pytest.mark.parametrize("client", FEEDS)
async def test_client_is_interrupted(client: str, tmp_path: Path) -> None:
    """Ctrl-C ends the process; what the server sees depends on the library."""
    async with run_server(OURS, tmp_path) as serving:
        async with follow(client, tmp_path, serving, "tea", 60) as follower:
            await follower.wait_for(r"tea \d+\n")
            await follower.end(signal.SIGINT)
        await serving.wait_for(rf"ended: {FEEDS[client].at_interrupt}\b")


@pytest.mark.parametrize("name", FEEDS)
async def test_client_gives_up_when_its_topic_is_refused(name: str, tmp_path: Path) -> None:
    """It does not come back, and ends with a status that says so."""
    async with run_server(name, tmp_path) as serving, follow(name, tmp_path, serving, "milk", 60) as follower:
        assert await follower.end() == 1
    assert "no such topic: milk" in follower.said


@pytest.mark.parametrize("name", FEEDS)
async def test_server_wants_a_topic_soon(name: str, tmp_path: Path) -> None:
    """A client that says nothing is told so after two seconds."""
    async with run_server(name, tmp_path) as serving:
        async with connect(f"ws://127.0.0.1:{serving.port}/") as ws:
            event = await ws.wait_closed()
    assert (event.code, event.reason) == (4408, "name a topic")
