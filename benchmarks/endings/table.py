"""What was seen, as text and as reStructuredText."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .libraries import TIMEOUT, Library
from .scene import LIMIT, Result, Scene

__all__ = ["as_rst", "as_text"]

Results = Mapping[str, Mapping[str, Result]]


def cell_of(scene: Scene, library: Library, results: Results) -> str:
    result = results[scene.name].get(library.name)
    return "–" if result is None else scene.cell(result)


def as_text(scenes: Sequence[Scene], libraries: Sequence[Library], results: Results) -> str:
    lines: list[str] = []
    for scene in scenes:
        lines.append(f"{scene.role}: {scene.title}")
        lines += [f"    {library.name:18} {cell_of(scene, library, results)}" for library in libraries]
    return "\n".join(lines)


def as_rst(scenes: Sequence[Scene], libraries: Sequence[Library], results: Results, about: Mapping[str, Any]) -> str:
    """Return a table of the clients, one of the servers, and what they were made of."""
    parts: list[str] = []
    for role in ("client", "server"):
        chosen = [scene for scene in scenes if scene.role == role]
        columns = [library for library in libraries if role == "client" or library.serves]
        if not chosen:
            continue
        widths = f"28 {' '.join([str(72 // len(columns))] * len(columns))}"
        lines = [f".. list-table:: The program is a {role}", "    :header-rows: 1", f"    :widths: {widths}"]
        lines += ["    :class: measured", ""]
        rows = [["", *(f"`{library.name}`" for library in columns)]]
        rows += [[scene.title, *(cell_of(scene, library, results) for library in columns)] for scene in chosen]
        for row in rows:
            lines += [f"    {'* -' if number == 0 else '  -'} {cell}".rstrip() for number, cell in enumerate(row)]
        parts.append("\n".join(lines))
    versions = [f"{library.name} {about['versions'][library.distribution]}" for library in libraries]
    versions += [f"{name} {about['versions'][name]}" for name in ("trio", "wsproto")]
    python = str(about["python"]).split()[0]
    parts.append(
        f"Seen on {str(about['when'])[:10]} with {', '.join(versions)} and Python {python}. Every timeout that a "
        f"library has was {TIMEOUT:g} s; *hangs* is said of what was not done after {LIMIT:g} s."
    )
    return "\n\n".join(parts) + "\n"
