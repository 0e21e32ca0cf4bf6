"""Chromium's process, of the program `chromium`, or of what the environment variable `CHROMIUM` names."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["Chromium"]

FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # which does not work for root
    "--remote-debugging-port=0",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # which is small in containers
    "--disable-quic",
    "--no-first-run",
    # nothing that calls home, and nothing that saves power: all pages are in the background here
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)
START_TIMEOUT: Final = 60  # seconds
END_TIMEOUT: Final = 10


class Chromium:
    """A browser that runs, with an empty profile in *folder*; ended with the block.

    It trusts no certificate of ours but those with one of the *trusted* public keys: the SHA-256 of a
    SubjectPublicKeyInfo, in base64.

    Attributes:
        url: where it speaks the DevTools protocol.
        tab: the name of one that connections share, if they have opened one.
    """

    url: str
    tab: str | None = None

    def __init__(self, folder: Path, trusted: Iterable[str] = ()) -> None:
        self._command = [
            os.environ.get("CHROMIUM", "chromium"),
            *FLAGS,
            f"--ignore-certificate-errors-spki-list={','.join(trusted)}",
            f"--user-data-dir={folder / 'profile'}",
            "about:blank",
        ]
        self._told = folder / "profile" / "DevToolsActivePort"
        self._said = folder / "stderr"

    def __enter__(self) -> Self:
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,  # so that all of its processes can be killed together
            )
        try:
            self.url = self._wait_for_url()
        except BaseException:
            self.kill()
            raise
        return self

    def _wait_for_url(self) -> str:
        until = time.monotonic() + START_TIMEOUT
        while time.monotonic() < until and self._process.poll() is None:
            port, _, path = self._told.read_text().partition("\n") if self._told.exists() else ("", "", "")
            if path:
                return f"ws://127.0.0.1:{port}{path}"
            time.sleep(0.02)
        raise AssertionError(f"Chromium does not start:\n{self._said.read_text(errors='replace')}")

    def kill(self) -> None:
        """End all of its processes without a chance to say goodbye."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        self.kill()  # what is left of its children
