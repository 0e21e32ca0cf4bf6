"""The closing state machine, row by row and path by path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest

from trio_closeevents._protocol.closing import TRANSITIONS, Effect, State, Step, transition

# What the contract asks for, written down without looking at the table: the next state, and what is to be done.
# A full stop is "stays, nothing to do"; a dash is "cannot happen".
EXPECTED: Final = """
                 SEND_CLOSE          CLOSE_WRITTEN           RECEIVE_CLOSE           FAIL           RECEIVE_EOF    LOSE_TRANSPORT
OPEN             CLOSE_QUEUED+QUEUE  -                       CLOSE_RECEIVED+QUEUE    FAILING+QUEUE  CLOSED+DECIDE  CLOSED+DECIDE
CLOSE_QUEUED     .                   CLOSE_SENT              CLOSE_RECEIVED          FAILING        CLOSED+DECIDE  CLOSED+DECIDE
CLOSE_SENT       .                   -                       CLOSE_EXCHANGED+DECIDE  FAILED+DECIDE  CLOSED+DECIDE  CLOSED+DECIDE
CLOSE_RECEIVED   .                   CLOSE_EXCHANGED+DECIDE  -                       .              .              CLOSED+DECIDE
CLOSE_EXCHANGED  .                   -                       -                       .              .              CLOSED
FAILING          .                   FAILED+DECIDE           -                       .              .              CLOSED+DECIDE
FAILED           .                   -                       -                       .              .              CLOSED
CLOSED           .                   -                       -                       .              .              .
"""  # noqa: E501

EFFECTS: Final = {"": Effect.NOTHING, "QUEUE": Effect.QUEUE_CLOSE, "DECIDE": Effect.DECIDE}

Entry = tuple[State, Effect] | None


def expected() -> dict[tuple[State, Step], Entry]:
    """Read `EXPECTED`."""
    head, *rows = [line.split() for line in EXPECTED.strip().splitlines()]
    table: dict[tuple[State, Step], Entry] = {}
    for name, *cells in rows:
        state = State[name]
        for step, cell in zip(head, cells, strict=True):
            target, _, effect = cell.partition("+")
            if cell == "-":
                table[state, Step[step]] = None
            else:
                table[state, Step[step]] = (state if cell == "." else State[target], EFFECTS[effect])
    return table


TABLE: Final = expected()
PAIRS: Final = [(state, step) for state in State for step in Step]


def paths(state: State) -> Iterator[list[tuple[State, Step, State, Effect]]]:
    """Yield every way from *state* to CLOSED, each as its moves; steps that stay where they are, aside."""
    if state is State.CLOSED:
        yield []
        return
    for step, (target, effect) in TRANSITIONS[state].items():
        if target is not state:
            for rest in paths(target):
                yield [(state, step, target, effect), *rest]


PATHS: Final = list(paths(State.OPEN))


def test_expectation_is_complete() -> None:
    """The expectation has an entry for every state and every step: a new one must be thought about here too."""
    assert list(TABLE) == PAIRS


def test_table_has_a_row_for_every_state() -> None:
    """Every state has a row, CLOSED too: "nothing" is said, not inferred."""
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("state", "step"), PAIRS, ids=lambda value: value.name)
def test_transition_is_as_the_contract_has_it(state: State, step: Step) -> None:
    """Each step in each state leads where the contract says, or is an error that names both sides."""
    entry = TABLE[state, step]
    if entry is None:
        with pytest.raises(RuntimeError, match=rf"^{step.name} is not allowed in {state.name}$"):
            transition(state, step)
    else:
        assert transition(state, step) == entry


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_closed_is_reached_from_every_state(state: State) -> None:
    """Losing the transport ends every connection at once, and no state is a dead end."""
    assert transition(state, Step.LOSE_TRANSPORT)[0] is State.CLOSED
    assert any(True for _ in paths(state))


def test_every_state_is_reached_from_open() -> None:
    """No state is there for nothing."""
    assert {target for path in PATHS for _, _, target, _ in path} | {State.OPEN} == set(State)


def test_every_path_decides_exactly_once() -> None:
    """From OPEN to CLOSED, whatever happens in between, the CloseEvent is decided once: not twice, and not never."""
    for path in PATHS:
        decisions = [effect for _, _, _, effect in path if effect is Effect.DECIDE]
        assert len(decisions) == 1, path


def test_no_path_queues_a_second_close() -> None:
    """Our Close is queued at most once, and only on leaving OPEN."""
    for path in PATHS:
        queued = [before for before, _, _, effect in path if effect is Effect.QUEUE_CLOSE]
        assert queued in ([], [State.OPEN]), path


def test_no_state_is_entered_twice() -> None:
    """An ending goes forward only: a step either stays, which does nothing, or leads to a state never left before."""
    for path in PATHS:
        entered = [State.OPEN, *(target for _, _, target, _ in path)]
        assert len(set(entered)) == len(entered)
    for state, row in TRANSITIONS.items():
        assert {effect for target, effect in row.values() if target is state} <= {Effect.NOTHING}


def test_nothing_is_decided_before_the_close_was_written_or_the_transport_lost() -> None:
    """DECIDE comes with the last of two Close frames, with a failure's Close, or with the loss: section 1, "When"."""
    for path in PATHS:
        steps: list[Step] = []
        for _, step, _, effect in path:
            steps.append(step)
            if effect is Effect.DECIDE:
                break
        exchanged = {Step.CLOSE_WRITTEN, Step.RECEIVE_CLOSE} <= set(steps)
        failed = {Step.CLOSE_WRITTEN, Step.FAIL} <= set(steps)
        assert exchanged or failed or steps[-1] in (Step.LOSE_TRANSPORT, Step.RECEIVE_EOF), path


def test_exchanged_means_that_both_travelled() -> None:
    """CLOSE_EXCHANGED, which is what a clean ending is, is entered by both Close frames alone, in either order."""
    ways = {
        tuple(step for _, step, _, _ in path) for path in PATHS if State.CLOSE_EXCHANGED in {move[2] for move in path}
    }

    assert ways == {
        (Step.SEND_CLOSE, Step.CLOSE_WRITTEN, Step.RECEIVE_CLOSE, Step.LOSE_TRANSPORT),
        (Step.SEND_CLOSE, Step.RECEIVE_CLOSE, Step.CLOSE_WRITTEN, Step.LOSE_TRANSPORT),
        (Step.RECEIVE_CLOSE, Step.CLOSE_WRITTEN, Step.LOSE_TRANSPORT),
    }


def test_failed_connection_never_becomes_clean() -> None:
    """After FAIL nothing of the peer counts (RFC 6455 §7.1.7): there is no way on to CLOSE_EXCHANGED."""
    for path in PATHS:
        entered = [target for _, _, target, _ in path]
        if State.FAILING in entered or State.FAILED in entered:
            assert State.CLOSE_EXCHANGED not in entered
            assert State.CLOSE_RECEIVED not in entered


def test_names_of_the_table_are_those_of_the_code() -> None:
    """States, steps and effects have distinct names, so that an error names one thing."""
    names = [each.name for kind in (State, Step, Effect) for each in kind]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[A-Z_]+", name) for name in names)
