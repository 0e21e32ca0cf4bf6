"""`python -m benchmarks`: measure, print, write; README.md tells more."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from .environment import environment
from .processes import Failed, make_certificate, measure
from .profiling import profile
from .report import bars_as_rst, show_bars, show_result
from .results import Result
from .works import LIBRARIES, OURS, WORKS, choose


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="trio-closeevents beside other libraries")
    parser.add_argument("works", nargs="*", help="their names, or how these begin; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long one measurement lasts (default: 2)")
    parser.add_argument("--quick", action="store_true", help="one round of 0.3 s: does everything work?")
    parser.add_argument("--only", metavar="LIBRARY,…", help=f"of {', '.join(LIBRARIES)}; ours is always there")
    parser.add_argument("--text", action="store_true", help="send text in place of binary messages")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="draw into FOLDER, as SVG")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="write the bars to FILE, as reStructuredText")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source", help="measure nothing, show this JSON file")
    parser.add_argument("--profile", metavar="WORK", help="print a profile of our server at WORK, and nothing else")
    parser.add_argument("--list", action="store_true", help="print the names of all works")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 0.3
    if arguments.profile is not None and arguments.profile not in WORKS:
        parser.error(f"no work is called {arguments.profile!r}")
    try:
        arguments.chosen = choose(arguments.works)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def run(arguments: argparse.Namespace, about: dict[str, Any]) -> dict[str, Result]:
    """Measure the chosen works; in each round every library once, and each round begins with another."""
    only = None if arguments.only is None else {OURS, *arguments.only.split(",")}
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder))
        for name in arguments.chosen:
            work = WORKS[name]
            libraries = [each for each in work.libraries if only is None or each in only]
            results[name] = result = Result(name)
            for number in range(arguments.rounds * work.each):
                turn = number % len(libraries)
                for library in libraries[turn:] + libraries[:turn]:
                    try:
                        reply = measure(
                            work, library, seconds=arguments.seconds, text=arguments.text, certificate=certificate
                        )
                    except Failed as error:
                        result.fail(library, str(error))
                    else:
                        result.add(library, reply)
            show_result(results, name, compiled=about["speedups"])
            save(arguments.json, about, results)  # as far as it goes: a run can be long
    return results


def save(file: Path | None, about: dict[str, Any], results: dict[str, Result]) -> None:
    if file is not None:
        content = {**about, "works": {name: result.as_json() for name, result in results.items()}}
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def load(file: Path) -> tuple[dict[str, Any], dict[str, Result]]:
    content = json.loads(file.read_text())
    works = content.pop("works")
    return content, {name: Result(name, each["replies"], each["errors"]) for name, each in works.items()}


def main() -> None:
    arguments = parse()
    if arguments.list:
        for name, work in WORKS.items():
            print(f"{name:20} {work.title}")
        return
    if arguments.profile is not None:
        print(profile(arguments.profile, seconds=arguments.seconds, text=arguments.text))
        return
    if arguments.source is not None:
        about, results = load(arguments.source)
        for name in results:
            show_result(results, name, compiled=about["speedups"])
    else:
        about = {**environment(), "rounds": arguments.rounds, "seconds": arguments.seconds, "text": arguments.text}
        print(f"{about['cpu']}, {about['cores']} cores, Python {sys.version.split()[0]}")
        print(", ".join(f"{name} {version}" for name, version in about["versions"].items()), end="\n\n", flush=True)
        results = run(arguments, about)
    show_bars(results, compiled=about["speedups"])
    if arguments.rst is not None:
        arguments.rst.write_text(bars_as_rst(results, compiled=about["speedups"]))
    if arguments.plot is not None:
        from .plots import draw  # matplotlib takes a second, and is needed only here

        for path in draw(results, arguments.plot):
            print(path)


if __name__ == "__main__":
    main()
