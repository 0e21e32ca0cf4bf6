"""docs/next_door.rst: an ASGI application and a WebSocket server in one process are one service, to the end."""

from __future__ import annotations

import json
import signal
from functools import partial
from typing import Any, Final

import pytest
import trio
from next_door import listening, load, site
from surroundings import free_ports

from trio_closeevents import CloseEvent, connect

APPS: Final = ("starlette_app", "quart_app")


@pytest.mark.parametrize("name", APPS)
async def test_application_and_websockets_share_their_state(name: str) -> None:
    """What one says by HTTP, the other hears; who is connected, the other knows."""
    async with site(name) as here:
        assert json.loads(await here.fetch("/who")) == {"here": 0}
        async with connect(here.ws) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            assert json.loads(await here.fetch("/who")) == {"here": 1}
            assert await here.fetch("/tell", b"the news") == "told"
            assert await ws.receive() == "the news"


@pytest.mark.parametrize("name", APPS)
async def test_sigterm_ends_both(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers are told 1001, and HTTP is answered until the last handler is done."""
    app = load(name)
    done = trio.Event()
    talk = app.talk

    async def with_a_last_word(ws: Any) -> None:
        try:
            await talk(ws)
        finally:
            await done.wait()

    monkeypatch.setattr(app, "talk", with_a_last_word)
    async with site(name, ends=False) as here, connect(here.ws) as ws:
        await ws.ping()
        signal.raise_signal(signal.SIGTERM)
        assert (await ws.wait_closed()).code == 1001
        assert json.loads(await here.fetch("/who")) == {"here": 0}
        done.set()


async def test_http_server_that_fails_takes_the_websockets_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """And their peers are told 1001."""
    failing = trio.Event()
    event: CloseEvent | None = None

    async def broken(app: object, config: object, *, shutdown_trigger: object, task_status: Any) -> None:
        task_status.started()
        await failing.wait()
        raise OSError("no HTTP today")

    app = load("starlette_app")
    together = load("together")
    monkeypatch.setattr(together, "serve_http", broken)
    port = int(free_ports()["8000"])
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="no HTTP today"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(together.serve_both, app.app, app.talk, port=port))
            await listening(port)
            async with trio.open_nursery() as clients:
                async with connect(f"ws://127.0.0.1:{port}/") as ws:
                    failing.set()
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                        event = await ws.wait_closed()
                clients.cancel_scope.cancel()
    assert event is not None
    assert event.code == 1001
