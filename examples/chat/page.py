"""What the server answers to plain HTTP: the page, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from trio_closeevents import Request, Response

__all__ = ["SOCKET", "answer"]

FOLDER: Final = Path(__file__).parent / "page"
SOCKET: Final = "/socket"
TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "chat.css": "text/css; charset=utf-8",
    "chat.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
HEADERS: Final = {
    # Chromium keeps a page that may be stored alive when somebody navigates away, for ten minutes, with its WebSocket
    # open and nobody behind it. One that may not is let go of, and the server is told: 1001.
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def load(name: str) -> Response:
    return Response(200, {"Content-Type": TYPES[name], **HEADERS}, (FOLDER / name).read_bytes())


PAGES: Final = {f"/{name}": load(name) for name in TYPES}
PAGES["/"] = PAGES["/index.html"]


def answer(request: Request) -> Response | None:
    """Be the server's `process_request`: the page's files, and for its own connections `None`, which is the upgrade."""
    if request.path == SOCKET:
        return None if is_from_here(request) else Response(403, body="this chat is for its own page\n")
    if request.method not in ("GET", "HEAD"):
        return Response(405, {"Allow": "GET, HEAD"})
    return PAGES.get(request.path) or Response(404, HEADERS, "there is no such page\n")


def is_from_here(request: Request) -> bool:
    """Tell whether the page that connects is ours: other sites must not speak with a visitor's voice.

    A program has no page, and sends no `Origin`.
    """
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers["host"]
