"""Whether an answer is pending before the turn is decided."""

import pytest

from processors.holding.pending_answer_rules import PendingTurn


@pytest.mark.parametrize(
    ("worded", "finished", "deaf", "owed"),
    [
        (False, None, False, False),  # a cough, as far as is known
        (False, True, False, False),
        (False, False, False, False),
        (True, None, False, True),  # the decision is late: it may be our turn
        (True, True, False, True),  # words are pending, but it is our turn
        (True, False, False, False),  # a caller who thinks
        (False, None, True, True),  # undecided, and it stays so
        (False, True, True, True),
        (False, False, True, True),
        (True, None, True, True),
        (True, True, True, True),
        (True, False, True, True),
    ],
)
def test_a_pending_answer_follows_from_words_and_verdict(
    worded: bool,  # noqa: FBT001 - a table
    finished: bool | None,  # noqa: FBT001
    deaf: bool,  # noqa: FBT001
    owed: bool,  # noqa: FBT001
) -> None:
    pending = PendingTurn()
    pending.finished = finished

    assert pending.is_pending(worded=worded, deaf=deaf) is owed


def test_a_verdict_on_a_pause_is_void_when_the_caller_continues() -> None:
    pending = PendingTurn()
    pending.finished = False
    pending.begin(unanswered=False)

    assert pending.is_pending(worded=True, deaf=False)


def test_after_a_decided_turn_an_answer_is_pending_whatever_was_said_before() -> None:
    pending = PendingTurn()
    pending.finished = False
    pending.decide()

    assert pending.is_pending(worded=False, deaf=False)


@pytest.mark.parametrize("finished", [None, True, False])
def test_a_sound_does_not_cancel_an_answer_that_was_pending_before_it(
    finished: bool | None,  # noqa: FBT001 - a table
) -> None:
    pending = PendingTurn()
    pending.begin(unanswered=True)
    pending.finished = finished
    owed = [pending.is_pending(worded=False, deaf=False)]
    pending.begin(unanswered=False)
    owed.append(pending.is_pending(worded=False, deaf=False))
    pending.settle()
    owed.append(pending.is_pending(worded=False, deaf=False))

    assert owed == [True, True, False]


def test_words_that_are_added_to_a_question_and_break_off_are_waited_for() -> None:
    pending = PendingTurn()
    pending.begin(unanswered=True)
    pending.finished = False

    assert not pending.is_pending(worded=True, deaf=False)
