"""`python -m benchmarks.endings`: play the endings with every library, print what came of them, write the tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import trio

from ..environment import environment
from .libraries import LIBRARIES, Library
from .play import play
from .program import SCENES
from .scene import Result, Scene
from .table import as_rst, as_text

AT_A_TIME: Final = 4


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endings", description="How connections end")
    parser.add_argument("scenes", nargs="*", help="their names; default: all")
    parser.add_argument("--only", metavar="LIBRARY,…", help=f"of {', '.join(LIBRARIES)}")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="write the tables to FILE, as reStructuredText")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was seen to FILE")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source", help="play nothing, show this JSON file")
    parser.add_argument("--list", action="store_true", help="print the names of all scenes")
    arguments = parser.parse_args()
    if strange := [name for name in arguments.scenes if name not in SCENES]:
        parser.error(f"no scene is called {strange[0]!r}")
    return arguments


async def measure(scenes: Sequence[Scene], libraries: Sequence[Library]) -> dict[str, dict[str, Result]]:
    """Play all of it, some at a time: most of a scene's time is waiting."""
    results: dict[str, dict[str, Result]] = {scene.name: {} for scene in scenes}
    limit = trio.CapacityLimiter(AT_A_TIME)

    async def run(scene: Scene, library: Library) -> None:
        async with limit:
            results[scene.name][library.name] = await play(scene, library)

    async with trio.open_nursery() as nursery:
        for scene in scenes:
            for library in libraries:
                if scene.role == "client" or library.serves:
                    nursery.start_soon(run, scene, library)
    return results


def load(file: Path) -> tuple[dict[str, Any], dict[str, dict[str, Result]]]:
    about = json.loads(file.read_text())
    scenes = about.pop("scenes")
    return about, {name: {library: Result(**each) for library, each in row.items()} for name, row in scenes.items()}


def main() -> None:
    arguments = parse()
    if arguments.list:
        for scene in SCENES.values():
            print(f"{scene.name:18} {scene.role}: {scene.title}")
        return
    scenes = [scene for name, scene in SCENES.items() if not arguments.scenes or name in arguments.scenes]
    only = arguments.only.split(",") if arguments.only else list(LIBRARIES)
    libraries = [library for name, library in LIBRARIES.items() if name in only]
    if arguments.source is not None:
        about, results = load(arguments.source)
        scenes = [scene for scene in scenes if scene.name in results]
    else:
        about, results = environment(), trio.run(measure, scenes, libraries)
    if arguments.json is not None:
        seen = {name: {library: asdict(each) for library, each in row.items()} for name, row in results.items()}
        arguments.json.write_text(json.dumps({**about, "scenes": seen}, indent=1, ensure_ascii=False) + "\n")
    print(as_text(scenes, libraries, results))
    if arguments.rst is not None:
        arguments.rst.write_text(as_rst(scenes, libraries, results, about), encoding="utf-8")


if __name__ == "__main__":
    main()
