"""docs/deploy/next_door.conf: nginx makes one site of an ASGI application and a WebSocket server."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path
from urllib.request import urlopen

import pytest
import trio
from next_door import site
from tls import CertificateFiles

from trio_closeevents import connect

from .front import FOLDER, missing, proxy

pytestmark = pytest.mark.once

LOCATION = re.compile(r" *location / \{.*?\n        \}\n", re.DOTALL)


async def test_paths_lead_to_both(
    tmp_path: Path, certificate_files: CertificateFiles, client_ssl_context: ssl.SSLContext
) -> None:
    """`/ws` to the one, everything else to the other; how a connection ends goes through."""
    if (reason := missing("nginx")) is not None:
        pytest.skip(reason)
    async with site("starlette_app") as here:
        ports = {"8000": here.ws.split(":")[2].strip("/"), "8001": here.http.split(":")[2]}
        places = re.sub("800[01]", lambda port: ports[port[0]], (FOLDER / "next_door.conf").read_text())

        def with_both(text: str) -> str:
            changed, count = LOCATION.subn(places, text)
            assert count == 1
            return changed

        async with proxy("nginx", tmp_path, certificate_files.server, [1, 2], change=with_both) as port:

            def ask(path: str, data: bytes | None = None) -> str:
                with urlopen(f"https://localhost:{port}{path}", data, timeout=10, context=client_ssl_context) as answer:
                    return str(answer.read().decode())

            async with connect(f"wss://localhost:{port}/ws", ssl_context=client_ssl_context) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
                assert json.loads(await trio.to_thread.run_sync(ask, "/who")) == {"here": 1}
                assert await trio.to_thread.run_sync(ask, "/tell", b"the news") == "told"
                assert await ws.receive() == "the news"
                await ws.aclose(4000, "bye")
            assert ws.close_event is not None
            assert (ws.close_event.code, ws.close_event.was_clean) == (4000, True)
