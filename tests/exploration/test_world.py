"""The closing state machine under everything that can happen, in every order; and that the search would tell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from trio_closeevents._protocol import closing
from trio_closeevents._protocol.closing import TRANSITIONS, Effect, State, Step

from .bounds import NARROW, SMALL
from .side import Violation
from .world import Exploration

pytestmark = pytest.mark.once

Row = Mapping[Step, tuple[State, Effect]]
PAIRS: Final = list(itertools.combinations(State, 2))
ENTRIES: Final = [(state, step) for state, row in TRANSITIONS.items() for step in row]


def wrong_rows(state: State, step: Step) -> Iterator[Row]:
    """Yield the row of *state* with the entry for *step* changed: another target, every other effect, and none."""
    target, effect = TRANSITIONS[state][step]
    states = list(State)
    entries = [(states[states.index(target) - 1], effect)]
    entries += [(target, other) for other in Effect if other is not effect]
    yield from ({**TRANSITIONS[state], step: entry} for entry in entries)
    yield {other: entry for other, entry in TRANSITIONS[state].items() if other is not step}


@pytest.mark.timeout(600)
def test_exploration_of_all_interleavings_finds_nothing() -> None:
    """Two sides and a network that cuts, drops or resets once end as the contract says, whatever comes when."""
    figures = Exploration(SMALL).run()
    assert figures.worlds > 1_000_000
    assert figures.transitions > 4 * figures.worlds
    assert figures.final > 10_000
    causes = {ending.cause for ending in figures.endings}
    assert causes == {
        "cancelled",
        "closed",
        "eof",
        "error",
        "exit",
        "keepalive_timeout",
        "protocol_error",
        "remote",
        "reset",
    }


def test_exploration_of_the_narrow_bounds_finds_nothing() -> None:
    """What the tests below change is right before they change it; bugs and `abort()` are met here."""
    causes = {ending.cause for ending in Exploration(NARROW).run().endings}
    assert causes >= {"aborted", "internal_error"}


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda state: state.name)
def test_exploration_with_two_rows_swapped_fails(monkeypatch: pytest.MonkeyPatch, one: State, other: State) -> None:
    """Two rows of the table in each other's place do not go unnoticed."""
    swapped = {**TRANSITIONS, one: TRANSITIONS[other], other: TRANSITIONS[one]}
    monkeypatch.setattr(closing, "TRANSITIONS", swapped)
    with pytest.raises(Violation):
        Exploration(SMALL).run()


@pytest.mark.parametrize(("state", "step"), ENTRIES, ids=lambda value: value.name)
def test_exploration_with_one_wrong_entry_fails(monkeypatch: pytest.MonkeyPatch, state: State, step: Step) -> None:
    """No entry of the table can be another: another target, another effect, or none at all."""
    for row in wrong_rows(state, step):
        monkeypatch.setattr(closing, "TRANSITIONS", {**TRANSITIONS, state: row})
        with pytest.raises(Violation):
            Exploration(NARROW).run()


def test_violation_tells_the_shortest_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever breaks the table reads what to do to see it, step by step."""
    row = {**TRANSITIONS[State.CLOSE_SENT], Step.RECEIVE_CLOSE: (State.CLOSED, Effect.DECIDE)}
    monkeypatch.setattr(closing, "TRANSITIONS", {**TRANSITIONS, State.CLOSE_SENT: row})
    with pytest.raises(Violation) as caught:
        Exploration(NARROW).run()
    assert str(caught.value).splitlines() == [
        "client returns",
        "client writes",
        "client writes",
        "server returns",
        "server reads the first bytes of Close 1000",
        "server writes",
        "server writes",
        "server reads Close 1000: the state is State.CLOSED, not State.CLOSE_EXCHANGED",
    ]
