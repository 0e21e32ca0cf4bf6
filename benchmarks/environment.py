"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import trio_closeevents

__all__ = ["compiled", "environment"]

DISTRIBUTIONS: Final = (
    "trio-closeevents",
    "trio",
    "wsproto",
    "h11",
    "websockets",
    "trio-websocket",
    "aiohttp",
    "picows",
    "aiofastnet",
    "uvloop",
    "hypercorn",
    "httpx-ws",
)


def compiled() -> bool:
    """Return whether our C extension is in use; the servers inherit what decides that."""
    return bool(getattr(trio_closeevents, "speedups_enabled", False))


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version,
        "system": platform.platform(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load average": os.getloadavg(),
        "speedups": compiled(),
        "versions": {name: version_of(name) for name in DISTRIBUTIONS},
    }
