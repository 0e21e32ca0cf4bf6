"""`python smoke.py any`: the package alone, as it is installed, without a single extra; `pure`: in pure Python at that.

Everything public is imported; what needs an extra has to say which. Then a connection is opened and ends.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.metadata import metadata, version

import trio

import trio_closeevents
from trio_closeevents import CloseEvent, WebSocket, connect, open_server

PYTEST = "trio_closeevents.testing.pytest_plugin"  # which nothing but pytest imports


def main(what: str) -> int:
    """Return the exit status; what is wrong is printed."""
    wrong = import_everything()
    if what == "pure" and trio_closeevents.speedups_enabled:
        wrong.append("the extension module is there, although there was no compiler")
    if version("trio-closeevents") != trio_closeevents.__version__:
        wrong.append(f"metadata say {version('trio-closeevents')}, the package says {trio_closeevents.__version__}")
    event = trio.run(talk)
    if (event.code, event.reason, event.was_clean) != (4000, "enough", True):
        wrong.append(f"the connection ended by {event!r}")
    how = "with the extension module" if trio_closeevents.speedups_enabled else "in pure Python"
    print(f"trio-closeevents {trio_closeevents.__version__} {how}: {event}")
    for line in wrong:
        print(line)
    return bool(wrong)


def import_everything() -> list[str]:
    """Import every public module and look up every public name; return what is wrong."""
    extras = metadata("trio-closeevents").get_all("Provides-Extra") or []
    wrong: list[str] = []
    for module in pkgutil.walk_packages(trio_closeevents.__path__, "trio_closeevents."):
        if any(part.startswith("_") for part in module.name.split(".")) or module.name == PYTEST:
            continue
        try:
            names = importlib.import_module(module.name)
            for name in names.__all__:
                getattr(names, name)
        except ImportError as error:
            if not any(f'pip install "trio-closeevents[{extra}]"' in str(error) for extra in extras):
                wrong.append(f"{module.name} does not say which extra it needs: {error!r}")
    return wrong


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)
        await websocket.aclose(4000, "enough")


async def talk() -> CloseEvent:
    """Talk to an echo, and return how that ended."""
    with trio.fail_after(20):
        async with open_server(echo, "127.0.0.1", 0) as server, connect(f"ws://127.0.0.1:{server.port}/") as ws:
            await ws.send("hello")
            await ws.receive()
            return await ws.wait_closed()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
