"""Results as pictures: SVG, dark on light."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

from .results import Result
from .works import CEILING, CROWDS, FLOOR, LIBRARIES, OURS, SHUTDOWNS

__all__ = ["draw"]

# Okabe and Ito's colours, which most readers can tell apart; ours is black.
COLOURS: Final = dict(
    zip(
        LIBRARIES,
        ("#000000", "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#999999", "#bbbbbb"),
        strict=True,
    )
)
STYLE: Final[dict[Any, Any]] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e5e5e5",
    "font.size": 10,
    "svg.hashsalt": "benchmarks",  # the same figures draw the same file
}
# Small messages in a row, of which a byte stream knows nothing: thousands of them are one to it.
NOT_FLOOR: Final = ("echo-32", "echo-1k")
# In each picture the works of one kind, under short names.
GROUPS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "server": (
        "The server's side: how many times as fast as …",
        {
            "echo-32": "echo\n32 B",
            "echo-1k": "echo\n1 KiB",
            "echo-64k": "echo\n64 KiB",
            "echo-1m": "echo\n1 MiB",
            "pingpong-32": "ping-pong\n32 B",
            "crowd-200": "ping-pong\n200 at once",
            "broadcast-1000": "broadcast\nto 1,000",
            "opening-echo-1": "opening,\nclosing",
        },
    ),
    "tls": (
        "The server's side over TLS: how many times as fast as …",
        {
            "tls-echo-32": "echo\n32 B",
            "tls-echo-1k": "echo\n1 KiB",
            "tls-echo-64k": "echo\n64 KiB",
            "tls-echo-1m": "echo\n1 MiB",
            "tls-pingpong-32": "ping-pong\n32 B",
            "tls-opening-1": "opening,\nclosing",
        },
    ),
    "client": (
        "The client's side: how many times as fast as …",
        {
            "client-echo-32": "echo\n32 B",
            "client-echo-1k": "echo\n1 KiB",
            "client-echo-64k": "echo\n64 KiB",
            "client-echo-1m": "echo\n1 MiB",
            "client-pingpong-32": "ping-pong\n32 B",
        },
    ),
}


def draw(results: Mapping[str, Result], folder: Path) -> list[Path]:
    """Draw what there are figures for, and return the files."""
    mpl.use("svg")
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    with plt.rc_context(STYLE):
        for name, (title, labels) in GROUPS.items():
            chosen = {work: label for work, label in labels.items() if work in results}
            if chosen:
                drawn.append(save(draw_ratios(results, title, chosen), folder / f"{name}.svg"))
        lines = (
            ("scaling", CROWDS, "Ping-pong of 32 B on many connections", "messages per second"),
            ("shutdown", SHUTDOWNS, "Stopping a server", "seconds until the last peer has its 1001"),
        )
        for name, numbers, title, label in lines:
            present = [number for number in numbers if f"{name}-{number}" in results]
            if len(present) > 1:
                drawn.append(save(draw_lines(results, name, present, title, label), folder / f"{name}.svg"))
    return drawn


def save(figure: Any, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return path


def draw_ratios(results: Mapping[str, Result], title: str, works: Mapping[str, str]) -> Any:
    """One group of bars per work, one bar per library; the line at 1 is "as fast as"."""
    peers = [
        each
        for each in LIBRARIES
        if each not in (OURS, CEILING) and any(results[work].ratio(each) is not None for work in works)
    ]
    figure, axes = plt.subplots(figsize=(1.5 + 1.25 * len(works), 4.5))
    width = 0.84 / max(1, len(peers))
    for number, peer in enumerate(peers):
        for place, work in enumerate(works):
            ratio = results[work].ratio(peer)
            if ratio is None or (peer == FLOOR and work.endswith(NOT_FLOOR)):
                continue
            x = place - 0.42 + (number + 0.5) * width
            # On a scale of logarithms a bar begins at 1 and goes up or down.
            axes.bar(x, ratio.median - 1, width * 0.92, bottom=1, color=COLOURS[peer])
            axes.plot([x, x], [ratio.low, ratio.high], color="#333333", linewidth=0.8)
        axes.bar(0, 0, bottom=1, color=COLOURS[peer], label=peer)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_xticks(range(len(works)), list(works.values()))
    axes.grid(visible=False, axis="x")
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def draw_lines(results: Mapping[str, Result], name: str, numbers: list[int], title: str, label: str) -> Any:
    """One line per library over the number of connections; a bar where the rounds differ."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for library in LIBRARIES:
        spreads = [(number, results[f"{name}-{number}"].spread(library)) for number in numbers]
        points = [(number, spread) for number, spread in spreads if spread is not None]
        if not points:
            continue
        middles = [spread.median for _, spread in points]
        axes.errorbar(
            [number for number, _ in points],
            middles,
            yerr=[
                [spread.median - spread.low for _, spread in points],
                [spread.high - spread.median for _, spread in points],
            ],
            color=COLOURS[library],
            linewidth=2.5 if library == OURS else 1.2,
            marker="o",
            markersize=4,
            label=library,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_xlabel("connections")
    axes.set_ylabel(label)
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, bbox_to_anchor=(1.01, 1), loc="upper left")
    return figure
