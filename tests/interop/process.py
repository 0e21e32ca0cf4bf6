"""The tests' end of the pipe to a peer's process."""

from __future__ import annotations

import itertools
import json
import os
import select
import ssl
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import urlencode

import trio
from tls import CertificateFiles, Wire

from trio_closeevents import WebSocket, accept, connect

from .script import HOST

__all__ = ["LIBRARIES", "Meeting", "PeerProcess", "Report", "Role"]

LIBRARIES: Final = ("websockets_trio", "websockets_asyncio", "trio_websocket")
START_TIMEOUT: Final = 30  # seconds; a busy machine imports slowly
REPORT_TIMEOUT: Final = 20

Role = Literal["client", "server"]  # ours

numbers = itertools.count(1)


@dataclass(frozen=True)
class Report:
    """What a peer saw of one connection, by its own API."""

    messages: list[list[Any]]
    code: int | None
    reason: str


class PeerProcess:
    """A process that serves and opens connections with *library*."""

    def __init__(self, library: str, files: CertificateFiles) -> None:
        self.library = library
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"interop.{library}", files.authority, files.server],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._unread = b""
        self._reports: dict[str, Report] = {}
        if not select.select([self._stdout], [], [], START_TIMEOUT)[0]:
            self.kill()
            raise AssertionError(f"{library} is not ready after {START_TIMEOUT} s")
        self._ports: dict[str, int] = json.loads(self._stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process: at the end of its input it exits by itself, unless it hangs."""
        self._stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
        self._stdout.close()

    def kill(self) -> None:
        """End the process without a chance to say goodbye."""
        self._process.kill()
        self._process.wait()

    def url(self, scheme: Literal["ws", "wss"], port: int | None, path: str) -> str:
        """Return the URL of this peer's server, or of ours at *port*."""
        return f"{scheme}://{HOST}:{self._ports[scheme] if port is None else port}{path}"

    def call(self, url: str) -> None:
        """Let it open a connection."""
        self._stdin.write(json.dumps({"url": url}).encode() + b"\n")

    async def report(self, number: str) -> Report:
        """Wait for what it says about the connection *number*."""
        with trio.fail_after(REPORT_TIMEOUT):
            while number not in self._reports:
                await trio.lowlevel.wait_readable(self._stdout)
                data = os.read(self._stdout.fileno(), 2**16)
                assert data, f"{self.library} has exited"
                *lines, self._unread = (self._unread + data).split(b"\n")
                for line in lines:
                    said = json.loads(line)
                    name = said.pop("id")
                    self._reports[name] = Report(**said)
        return self._reports.pop(number)


class Meeting:
    """One connection between our side, in *role*, and a peer that plays *script*.

    Attributes:
        ws: our side, where a test has put it.
    """

    ws: WebSocket

    def __init__(
        self, peer: PeerProcess, role: Role, wire: Wire, script: str = "echo", *, code: int = 0, reason: str = ""
    ) -> None:
        self.peer = peer
        self.role = role
        self._wire = wire
        self._number = str(next(numbers))
        arguments = {"id": self._number, "code": str(code), "reason": reason}
        self._path = f"/{script}?{urlencode(arguments)}"
        self._scheme: Literal["ws", "wss"] = "wss" if wire.secure else "ws"

    @property
    def patience(self) -> float:
        """Seconds for the ending: ample, but for the one peer that uses up all of them.

        A client of trio-websocket never closes a TLS connection; its socket ends with the garbage collector.
        """
        is_lasting = self.peer.library == "trio_websocket" and self.role == "server" and self._wire.secure
        return 0.7 if is_lasting else 10.0

    async def block(self, **options: Any) -> AbstractAsyncContextManager[WebSocket]:
        """Return the block that owns our side of the connection; it has no limit on messages."""
        limits = {"max_message_size": None, "close_timeout": self.patience, "cancel_timeout": self.patience}
        options = limits | options
        if self.role == "client":
            context: ssl.SSLContext | None = self._wire.client_ssl_context
            return connect(self.peer.url(self._scheme, None, self._path), ssl_context=context, **options)
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        async with listener:
            self.call(listener.socket.getsockname()[1])
            with trio.fail_after(REPORT_TIMEOUT):
                stream = await listener.accept()
        return accept(stream, ssl_context=self._wire.server_ssl_context, **options)

    def call(self, port: int) -> None:
        """Let the peer connect to our server at *port*."""
        self.peer.call(self.peer.url(self._scheme, port, self._path))

    async def report(self) -> Report:
        """Wait for what the peer says when its connection has ended."""
        return await self.peer.report(self._number)
