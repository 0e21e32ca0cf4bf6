"""Which exception leaves the block with which Close frame, for what cause, and with how much patience."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Final

import pytest
import trio

from trio_closeevents import CloseCause, CloseCode, CloseFrame, ClosePolicy
from trio_closeevents._policy import end_of_block, leaves

NORMAL: Final = CloseFrame(1000)
LEAVING: Final = CloseFrame(1001)
FAILED: Final = CloseFrame(1011)


def make_cancelled() -> trio.Cancelled:
    """Return one as trio raises it: its constructor is not public."""
    caught: list[trio.Cancelled] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                caught.append(error)
                raise

    trio.run(main)
    return caught[0]


CANCELLED: Final = make_cancelled()


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("group", errors)


def frame_for(policy: ClosePolicy, left_by: BaseException | None) -> CloseFrame:
    return policy.frame_for(left_by, aside=trio.Cancelled)


# -- the table of the contract, section 2 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_by", "frame", "cause", "patient"),
    [
        pytest.param(None, NORMAL, "exit", True, id="end-return"),
        pytest.param(ValueError("x"), FAILED, "error", True, id="end-error"),
        pytest.param(group(ValueError()), FAILED, "error", True, id="end-error-group"),
        pytest.param(group(group(group(OSError())), KeyError()), FAILED, "error", True, id="end-error-nested-group"),
        pytest.param(group(KeyboardInterrupt(), KeyError()), FAILED, "error", False, id="end-error-and-interrupt"),
        pytest.param(group(SystemExit(), group(KeyError())), FAILED, "error", False, id="end-error-deep-and-exit"),
        pytest.param(group(CANCELLED, KeyError()), FAILED, "error", False, id="end-error-and-cancelled"),
        pytest.param(CANCELLED, LEAVING, "cancelled", False, id="end-cancelled"),
        pytest.param(group(CANCELLED), LEAVING, "cancelled", False, id="end-cancelled-group"),
        pytest.param(group(CANCELLED, group(CANCELLED)), LEAVING, "cancelled", False, id="end-cancelled-nested-group"),
        pytest.param(KeyboardInterrupt(), LEAVING, "cancelled", False, id="end-interrupt"),
        pytest.param(SystemExit(1), LEAVING, "cancelled", False, id="end-interrupt-exit"),
        pytest.param(BaseException(), LEAVING, "cancelled", False, id="end-interrupt-other"),
        pytest.param(group(KeyboardInterrupt(), CANCELLED), LEAVING, "cancelled", False, id="end-interrupt-group"),
        pytest.param(GeneratorExit(), LEAVING, "cancelled", False, id="end-generator"),
    ],
)
def test_end_of_block_follows_the_contract(
    left_by: BaseException | None, frame: CloseFrame, cause: str, patient: bool
) -> None:
    """Each way to leave a block has its Close frame, its cause and its limit (`patient`: `close_timeout`)."""
    end = end_of_block(left_by, ClosePolicy(), aside=trio.Cancelled)

    assert (end.frame, end.cause, end.patient) == (frame, CloseCause(cause), patient)


@pytest.mark.parametrize(
    ("left_by", "cause", "patient"),
    [
        (None, "exit", True),
        (ValueError(), "error", True),
        (KeyboardInterrupt(), "cancelled", False),
        (group(ValueError(), SystemExit()), "error", False),
    ],
)
def test_end_of_block_with_a_policy_keeps_cause_and_patience(
    left_by: BaseException | None, cause: str, patient: bool
) -> None:
    """A policy changes what is sent, and nothing else."""
    policy = ClosePolicy({Exception: 4000, BaseException: 4000}, on_exit=4000)
    end = end_of_block(left_by, policy, aside=trio.Cancelled)

    assert (end.frame, end.cause, end.patient) == (CloseFrame(4000), CloseCause(cause), patient)


def test_nothing_of_the_exception_leaks_into_the_frame() -> None:
    """The default for an error has no reason, whatever the exception says."""
    assert frame_for(ClosePolicy(), ValueError("secret")).reason == ""


# -- looking up ------------------------------------------------------------------------------------------------------


def test_policy_looks_along_the_mro() -> None:
    """An entry for a base covers what is derived from it; the nearest entry counts."""

    class Forbidden(PermissionError):
        pass

    policy = ClosePolicy({OSError: (4000, "os"), PermissionError: (4403, "forbidden")})

    assert frame_for(policy, OSError()) == CloseFrame(4000, "os")
    assert frame_for(policy, FileNotFoundError()) == CloseFrame(4000, "os")
    assert frame_for(policy, PermissionError()) == CloseFrame(4403, "forbidden")
    assert frame_for(policy, Forbidden()) == CloseFrame(4403, "forbidden")
    assert frame_for(policy, ValueError()) == FAILED


def test_policy_with_two_bases_takes_the_first_in_the_mro() -> None:
    """The order of the bases decides, not that of the table."""

    class Both(KeyError, OSError):
        pass

    assert frame_for(ClosePolicy({OSError: 4001, KeyError: 4002}), Both()) == CloseFrame(4002)


def test_policy_entry_for_exception_replaces_the_default() -> None:
    """`Exception` covers every error that has no entry of its own."""
    policy = ClosePolicy({Exception: (4500, "oops")})

    assert frame_for(policy, ValueError()) == CloseFrame(4500, "oops")
    assert frame_for(policy, KeyboardInterrupt()) == LEAVING


def test_policy_entry_for_base_exception_is_for_what_is_no_exception() -> None:
    """`Exception` stands nearer in every error's MRO, and keeps its default of 1011."""
    policy = ClosePolicy({BaseException: 4001})

    assert frame_for(policy, KeyboardInterrupt()) == CloseFrame(4001)
    assert frame_for(policy, CANCELLED) == CloseFrame(4001)
    assert frame_for(policy, ValueError()) == FAILED


def test_policy_entry_for_cancelled_counts_for_a_cancelled_block() -> None:
    """A pure cancellation is looked up as anything else; beside other leaves it does not count."""
    policy = ClosePolicy({trio.Cancelled: (4001, "shutdown"), KeyError: 4002})

    assert frame_for(policy, CANCELLED) == CloseFrame(4001, "shutdown")
    assert frame_for(policy, group(CANCELLED, CANCELLED)) == CloseFrame(4001, "shutdown")
    assert frame_for(policy, group(CANCELLED, KeyError())) == CloseFrame(4002)
    assert frame_for(policy, group(CANCELLED, KeyboardInterrupt())) == LEAVING


def test_policy_with_agreeing_leaves_sends_their_answer() -> None:
    """One answer from all leaves of a group counts, at any depth, even if it comes from different entries."""
    policy = ClosePolicy({KeyError: (4000, "key"), LookupError: (4000, "key"), ValueError: 4001})

    assert frame_for(policy, group(KeyError(), KeyError())) == CloseFrame(4000, "key")
    assert frame_for(policy, group(KeyError(), group(IndexError(), group(CANCELLED)))) == CloseFrame(4000, "key")


def test_policy_with_disagreeing_leaves_sends_1011() -> None:
    """Two answers are none: a reason counts as much as a code, and so does the default."""
    policy = ClosePolicy({KeyError: (4000, "key"), IndexError: (4000, "index"), Exception: (4500, "other")})

    assert frame_for(policy, group(KeyError(), IndexError())) == FAILED
    assert frame_for(policy, group(KeyError(), ValueError())) == FAILED
    assert frame_for(policy, group(KeyError(), group(KeyboardInterrupt()))) == FAILED
    assert frame_for(ClosePolicy({SystemExit: 4001}), group(SystemExit(), KeyboardInterrupt())) == FAILED


def test_policy_on_exit_is_what_a_returning_block_sends() -> None:
    """`on_exit` is for a block that returns; `None` is an empty Close frame."""
    assert frame_for(ClosePolicy(), None) == NORMAL
    assert frame_for(ClosePolicy(on_exit=(4000, "done")), None) == CloseFrame(4000, "done")
    assert frame_for(ClosePolicy(on_exit=4000), None) == CloseFrame(4000)
    assert frame_for(ClosePolicy(on_exit=None), None) == CloseFrame()
    assert frame_for(ClosePolicy({Exception: 4001}, on_exit=4000), ValueError()) == CloseFrame(4001)


@pytest.mark.parametrize(
    ("answer", "frame"),
    [
        ((4403, "forbidden"), CloseFrame(4403, "forbidden")),
        (4403, CloseFrame(4403)),
        (CloseCode.FORBIDDEN, CloseFrame(3003)),
        (None, CloseFrame()),
        ((None, ""), CloseFrame()),
        ((1000, "x" * 123), CloseFrame(1000, "x" * 123)),
    ],
    ids=str,
)
def test_policy_answer_is_a_code_with_or_without_a_reason(answer: Any, frame: CloseFrame) -> None:
    """An answer is `(code, reason)`, a bare code, or `None` for an empty Close frame."""
    assert frame_for(ClosePolicy({ValueError: answer}), ValueError()) == frame
    assert frame_for(ClosePolicy(on_exit=answer), None) == frame


# -- building --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (1005, ValueError, "close code 1005"),
        (1006, ValueError, "close code 1006"),
        ((999, ""), ValueError, "close code 999"),
        ((5000, "x"), ValueError, "close code 5000"),
        ((1000, "x" * 124), ValueError, "124 bytes as UTF-8, the limit is 123"),
        ((None, "bye"), ValueError, "'bye' needs a close code"),
        (True, TypeError, "not bool: True"),
        ("1000", TypeError, "not str: '1000'"),
        ([1000, ""], TypeError, "not list: [1000, '']"),
        ((1000, None), TypeError, "not NoneType: None"),
        ((1000,), TypeError, "(code, reason), not (1000,)"),
        ((1000, "", 1), TypeError, "(code, reason), not (1000, '', 1)"),
        ((), TypeError, "(code, reason), not ()"),
    ],
    ids=str,
)
def test_policy_with_a_bad_answer_cannot_be_built(answer: Any, error: type[Exception], words: str) -> None:
    """Codes and reasons are checked when the policy is made, not when a block ends; on_exit too."""
    with pytest.raises(error) as in_table:
        ClosePolicy({ValueError: answer})
    with pytest.raises(error) as on_exit:
        ClosePolicy(on_exit=answer)

    assert words in str(in_table.value)
    assert words in str(on_exit.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"ValueError": 4000}, "'ValueError' is no exception type"),
        ({int: 4000}, "<class 'int'> is no exception type"),
        ({4000: ValueError}, "4000 is no exception type"),
        ({ExceptionGroup: 4000}, "<class 'ExceptionGroup'>"),
        ({BaseExceptionGroup: 4000}, "<class 'BaseExceptionGroup'>"),
        ([(ValueError, 4000)], "list is no mapping"),
        ([ValueError], "list is no mapping"),
        (ValueError, "type is no mapping"),
    ],
    ids=str,
)
def test_policy_of_anything_but_exception_types_cannot_be_built(table: Any, words: str) -> None:
    """The table maps exception types; a group is none, since groups are looked up leaf by leaf."""
    with pytest.raises(TypeError) as caught:
        ClosePolicy(table)

    assert words in str(caught.value)


def test_policy_takes_on_exit_by_keyword_only() -> None:
    """What a bare number means would be a riddle."""
    with pytest.raises(TypeError):
        ClosePolicy({}, 1000)  # type: ignore[call-arg]


# -- a value ---------------------------------------------------------------------------------------------------------


def test_policy_does_not_follow_the_mapping_it_was_made_of() -> None:
    """What is changed in the mapping later does not change the policy."""
    table: dict[type[BaseException], Any] = {ValueError: 4000}
    policy = ClosePolicy(table)
    table[ValueError] = 4001
    table[KeyError] = 1005

    assert policy == ClosePolicy({ValueError: 4000})


def test_policies_are_equal_by_value() -> None:
    """The same answers make equal policies with equal hashes, in whatever form and order they were given."""
    one = ClosePolicy({ValueError: 4000, KeyError: (4001, "x")}, on_exit=1000)
    other = ClosePolicy({KeyError: (4001, "x"), ValueError: (4000, "")})

    assert one == other
    assert hash(one) == hash(other)
    assert ClosePolicy() == ClosePolicy({})
    assert one != ClosePolicy({ValueError: 4000})
    assert one != ClosePolicy({ValueError: 4000, KeyError: (4001, "x")}, on_exit=4000)
    assert one != (4000, "")
    assert len({one, other, ClosePolicy()}) == 2


def test_policy_can_be_copied_and_pickled() -> None:
    """It is a value that may travel to another process."""
    policy = ClosePolicy({ValueError: (4000, "x")}, on_exit=None)

    for twin in (copy.copy(policy), copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))):
        assert twin == policy


def test_policy_has_no_room_for_other_attributes() -> None:
    """A misspelled attribute is an error."""
    with pytest.raises(AttributeError):
        ClosePolicy().on_exit = 4000  # type: ignore[attr-defined]


def test_policy_repr_is_how_to_write_it() -> None:
    """`repr` evaluates back, given the names of the exceptions."""
    policy = ClosePolicy({PermissionError: (4403, "forbidden"), KeyError: None}, on_exit=(1000, "done"))

    assert repr(policy) == (
        "ClosePolicy({PermissionError: (4403, 'forbidden'), KeyError: (None, '')}, on_exit=(1000, 'done'))"
    )
    assert eval(repr(policy)) == policy
    assert eval(repr(ClosePolicy())) == ClosePolicy()


def test_leaves_of_a_group_come_in_order() -> None:
    """`leaves` yields what is in a group at any depth, and the one exception that is no group."""
    one, two, three = ValueError(), KeyError(), SystemExit()

    assert list(leaves(group(one, group(group(two)), three))) == [one, two, three]
    assert list(leaves(one)) == [one]
