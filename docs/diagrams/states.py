"""Makes the state diagram of the closing algorithm out of its table, `trio_closeevents/_protocol/closing.py`.

`python docs/diagrams/states.py` writes `states.svg`; a test compares. Where things are is said here, by hand; which
arrows there are, what they are called and what they do is said by the table alone. An arrow of the table that has no
place here, or a place without an arrow, is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from trio_closeevents._protocol.closing import TRANSITIONS, Effect, State, Step

FILE: Final = Path(__file__).parent / "states.svg"
WIDTH: Final = 784
HEIGHT: Final = 560
HALF: Final = 74  # of a state's width
TALL: Final = 20  # half of its height
BAR: Final = 490  # where the last state begins, which is as wide as the picture: every other leads there

WORDS: Final[Mapping[Step, str]] = {
    Step.SEND_CLOSE: "send Close",
    Step.CLOSE_WRITTEN: "Close written",
    Step.RECEIVE_CLOSE: "receive Close",
    Step.FAIL: "fail",
    Step.RECEIVE_EOF: "EOF",
    Step.LOSE_TRANSPORT: "lost",
}

# The middle of each state.
PLACES: Final[Mapping[State, tuple[int, int]]] = {
    State.OPEN: (360, 50),
    State.CLOSE_RECEIVED: (84, 180),
    State.CLOSE_QUEUED: (360, 180),
    State.FAILING: (590, 180),
    State.CLOSE_SENT: (360, 285),
    State.CLOSE_EXCHANGED: (222, 395),
    State.FAILED: (590, 395),
    State.CLOSED: (WIDTH // 2, BAR + TALL),
}


class Way(NamedTuple):
    """Where an arrow goes, and where its words stand: the first line's start, middle or end."""

    path: str
    x: int
    y: int
    anchor: str = "start"


WAYS: Final[Mapping[tuple[State, State], Way]] = {
    (State.OPEN, State.CLOSE_RECEIVED): Way("M286 50H84V160", 92, 106),
    (State.OPEN, State.CLOSE_QUEUED): Way("M360 70V160", 368, 106),
    (State.OPEN, State.FAILING): Way("M434 60H590V160", 582, 106, "end"),
    (State.OPEN, State.CLOSED): Way(f"M434 40H744V{BAR}", 750, 460),
    (State.CLOSE_QUEUED, State.CLOSE_RECEIVED): Way("M286 180H158", 222, 173, "middle"),
    (State.CLOSE_QUEUED, State.CLOSE_SENT): Way("M360 200V265", 352, 238, "end"),
    (State.CLOSE_QUEUED, State.FAILING): Way("M434 180H516", 475, 173, "middle"),
    (State.CLOSE_QUEUED, State.CLOSED): Way(f"M410 200V230H462V{BAR}", 468, 460),
    (State.CLOSE_SENT, State.CLOSE_EXCHANGED): Way("M286 285H222V375", 230, 336),
    (State.CLOSE_SENT, State.FAILED): Way("M434 285H560V375", 500, 278),
    (State.CLOSE_SENT, State.CLOSED): Way(f"M360 305V{BAR}", 366, 460),
    (State.CLOSE_RECEIVED, State.CLOSE_EXCHANGED): Way("M110 200V395H148", 118, 318),
    (State.CLOSE_RECEIVED, State.CLOSED): Way(f"M60 200V{BAR}", 66, 474),
    (State.CLOSE_EXCHANGED, State.CLOSED): Way(f"M222 415V{BAR}", 228, 474),
    (State.FAILING, State.FAILED): Way("M604 200V375", 597, 238, "end"),
    (State.FAILING, State.CLOSED): Way(f"M640 200V230H690V{BAR}", 696, 474),
    (State.FAILED, State.CLOSED): Way(f"M590 415V{BAR}", 596, 474),
}

STYLE: Final = (
    "svg:root{color-scheme:light dark;color:#1f2328;--decided:#9a3412}"
    "@media(prefers-color-scheme:dark){svg:root{color:#e6edf3;--decided:#fdba74}}"
    ".states text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:currentColor}"
    ".states path,.states rect{stroke:currentColor;fill:none}.states .tip{fill:currentColor}"
    ".states .decides{stroke:var(--decided);stroke-width:2.2}.states .decides.tip{fill:var(--decided)}"
    ".states .name{font-weight:bold}.states .stays{font-size:9.5px}.states .stays,.states .effect{opacity:.75}"
)


def arrows() -> dict[tuple[State, State], list[tuple[Step, Effect]]]:
    """Return the table by its arrows: what leads from one state to another, and with which effect."""
    found: dict[tuple[State, State], list[tuple[Step, Effect]]] = {}
    for state, row in TRANSITIONS.items():
        for step, (target, effect) in row.items():
            found.setdefault((state, target), []).append((step, effect))
    return found


def draw() -> str:
    """Return the picture.

    Raises:
        ValueError: the table has other arrows than this drawing has places for.
    """
    table = arrows()
    moves = {ends: steps for ends, steps in table.items() if ends[0] is not ends[1]}
    if strange := moves.keys() ^ WAYS.keys():
        raise ValueError(f"in the table or in the drawing alone: {[(a.name, b.name) for a, b in strange]}")
    parts = [part for ends, steps in moves.items() for part in draw_arrow(WAYS[ends], steps)]
    parts += [
        part for state in State for part in draw_state(state, [step for step, _ in table.get((state, state), [])])
    ]
    sentences = [
        f"{state.name}, {step.name}: {target.name}{'' if effect is Effect.NOTHING else f', {effect.name}'}"
        for state, row in TRANSITIONS.items()
        for step, (target, effect) in row.items()
    ]
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="states" role="img" {size}>',
            "<title>The closing state machine</title>",
            f"<desc>{escape(chr(10).join(sentences))}</desc>",
            f"<style>{STYLE}</style>",
            *parts,
            f'<path class="decides" d="M10 {HEIGHT - 9}h30"/>',
            text("the CloseEvent is decided", 48, HEIGHT - 5),
            text("\N{CLOCKWISE OPEN CIRCLE ARROW} changes nothing", 260, HEIGHT - 5),
            "</svg>\n",
        ]
    )


def draw_arrow(way: Way, steps: list[tuple[Step, Effect]]) -> list[str]:
    """Draw an arrow with the steps that take it below each other, and what they do."""
    effects = {effect for _, effect in steps}
    kind = "decides" if effects == {Effect.DECIDE} else ""
    lines = [text(WORDS[step], way.x, way.y + 14 * row, way.anchor) for row, (step, _) in enumerate(steps)]
    if Effect.QUEUE_CLOSE in effects:
        lines.append(text("queue Close", way.x, way.y + 14 * len(steps), way.anchor, "effect"))
    return [f'<path class="{kind}" d="{way.path}"/>', tip(way.path, kind), *lines]


def tip(path: str, kind: str) -> str:
    """Draw the head of an arrow at the end of *path*, which goes there along an axis."""
    x, y = (int(number) for number in path[1:].replace("H", " ").replace("V", " ").split()[:2])
    last, size = "", 0
    for part in path.replace("H", "|H").replace("V", "|V").split("|")[1:]:
        last, size = part[0], int(part[1:]) - (x if part[0] == "H" else y)
        x, y = (int(part[1:]), y) if part[0] == "H" else (x, int(part[1:]))
    back = -8 if size > 0 else 8
    shape = f"l{back} -4v8z" if last == "H" else f"l-4 {back}h8z"
    return f'<path class="{kind} tip" d="M{x} {y}{shape}"/>'


def draw_state(state: State, stays: list[Step]) -> list[str]:
    """Draw a box with the name, and with the steps that change nothing."""
    x, y = PLACES[state]
    half = WIDTH // 2 - 10 if state is State.CLOSED else HALF
    loop = ", ".join(WORDS[step] for step in stays)
    return [
        f'<rect x="{x - half}" y="{y - TALL}" width="{2 * half}" height="{2 * TALL}" rx="6"/>',
        text(state.name, x, y - 2 if stays else y + 4, "middle", "name"),
        *([text(f"\N{CLOCKWISE OPEN CIRCLE ARROW} {loop}", x, y + 13, "middle", "stays")] if stays else []),
    ]


def text(words: str, x: int, y: int, anchor: str = "start", kind: str = "") -> str:
    """Write a line."""
    shown = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{shown}>{escape(words)}</text>'


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
