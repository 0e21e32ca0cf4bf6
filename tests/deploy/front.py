"""HAProxy and nginx, run with the files of `docs/deploy` on ports and certificates of our own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template
from typing import Final

import trio

__all__ = ["FOLDER", "FRONTS", "HOST", "ROOT", "Backend", "Front", "free_ports", "missing", "proxy"]

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs" / "deploy"
HOST: Final = "127.0.0.1"
START_LIMIT: Final = 20.0  # seconds
STOP_LIMIT: Final = 10.0
ELSEWHERE: Final = "/usr/sbin:/usr/local/sbin"  # where Debian has them, which is not on everybody's PATH
TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Front:
    """A proxy.

    Attributes:
        file: its configuration.
        replaced: what stands there, and must be something else here; `$port`, `$certificate` and `$folder` are filled
            in.
        arguments: of the command line, likewise with `$file`.
    """

    name: str
    file: str
    replaced: Mapping[str, str]
    arguments: Sequence[str]

    @property
    def path(self) -> str | None:
        return shutil.which(self.name, path=os.pathsep.join([os.environ.get("PATH", ""), ELSEWHERE]))


FRONTS: Final = {
    "haproxy": Front(
        "haproxy",
        "haproxy.cfg",
        {"bind :443 ssl crt /etc/haproxy/site.pem": "bind 127.0.0.1:$port ssl crt $certificate"},
        ["-db", "-f", "$file"],
    ),
    "nginx": Front(
        "nginx",
        "nginx.conf",
        {
            "listen 443 ssl": "listen 127.0.0.1:$port ssl",
            "/etc/nginx/site.pem": "$certificate",
            "worker_connections 20000": "worker_connections 900",
            "http {": "\n".join(["http {", "access_log off;", *(f"{each}_temp_path $folder;" for each in TEMPORARY)]),
        },
        ["-e", "stderr", "-p", "$folder", "-c", "$file", "-g", "daemon off; pid $folder/pid;"],
    ),
}


def missing(name: str) -> str | None:
    """Return why the proxy cannot run here, `None` if it can."""
    return None if FRONTS[name].path else f"NOT RUN: {name} is not installed"


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on at present."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def until_listening(port: int) -> None:
    with trio.fail_after(START_LIMIT):
        while True:
            try:
                stream = await trio.open_tcp_stream(HOST, port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return


@asynccontextmanager
async def proxy(
    name: str,
    folder: Path,
    certificate: Path,
    backends: list[int],
    *,
    change: Callable[[str], str] = lambda text: text,
) -> AsyncGenerator[int]:
    """Run a proxy before *backends*; hand out the port that it listens on, with TLS.

    Args:
        change: what else to do to the configuration.
    """
    front = FRONTS[name]
    (port,) = free_ports(1)
    text = change((FOLDER / front.file).read_text())
    given = {"port": port, "certificate": certificate, "folder": folder, "file": folder / front.file}
    addresses = {f"127.0.0.1:800{number}": f"127.0.0.1:{each}" for number, each in enumerate(backends, 1)}
    for old, new in {**front.replaced, **addresses}.items():
        assert old in text, f"{front.file} has no {old!r}"
        text = text.replace(old, Template(new).substitute(given))
    (folder / front.file).write_text(text)
    assert front.path is not None
    command = [front.path, *(Template(each).substitute(given) for each in front.arguments)]
    with (folder / "log").open("wb") as log:
        process = await trio.lowlevel.open_process(command, stderr=log)
        try:
            await until_listening(port)
            yield port
        finally:
            process.terminate()
            with trio.move_on_after(STOP_LIMIT, shield=True):
                await process.wait()
            process.kill()


class Backend:
    """A server behind the proxy, which is the example `behind_proxy`, in a process that can be restarted."""

    def __init__(self, nursery: trio.Nursery, kind: str, port: int, journal: Path) -> None:
        self._nursery = nursery
        self.port = port
        self._command = [sys.executable, "-m", "examples.behind_proxy", "--port", str(port), "--proxy", kind]
        self._command += ["--journal", str(journal)]

    async def start(self) -> None:
        """Return when it listens."""
        run = partial(trio.run_process, self._command, stdout=subprocess.PIPE, cwd=ROOT, check=False)
        self._process: trio.Process = await self._nursery.start(run)
        assert self._process.stdout is not None
        with trio.fail_after(START_LIMIT):
            line = await self._process.stdout.receive_some()
        assert line.strip() == str(self.port).encode()

    async def stop(self) -> None:
        """Send SIGTERM; return when it is gone."""
        self._process.terminate()
        with trio.fail_after(START_LIMIT):
            assert await self._process.wait() == 0
