"""Whether an answer is owed before the turn is decided."""

import pytest

from processors.holding.answer_debt_rules import PendingTurn


@pytest.mark.parametrize(
    ("worded", "finished", "deaf", "owed"),
    [
        (False, None, False, False),  # a cough, as far as anybody knows
        (False, True, False, False),
        (False, False, False, False),
        (True, None, False, True),  # whoever decides is late: it may be ours
        (True, True, False, True),  # words are owed, but it is ours
        (True, False, False, False),  # a caller who thinks
        (False, None, True, True),  # nobody can say, and nobody will
        (False, True, True, True),
        (False, False, True, True),
        (True, None, True, True),
        (True, True, True, True),
        (True, False, True, True),
    ],
)
def test_what_is_owed_follows_from_words_and_verdict(
    worded: bool,  # noqa: FBT001 - a table
    finished: bool | None,  # noqa: FBT001
    deaf: bool,  # noqa: FBT001
    owed: bool,  # noqa: FBT001
) -> None:
    pending = PendingTurn()
    pending.worded, pending.finished = worded, finished

    assert pending.owed(deaf=deaf) is owed


def test_what_was_said_of_a_pause_is_void_when_the_caller_speaks_on() -> None:
    pending = PendingTurn()
    pending.worded, pending.finished = True, False
    pending.begin(unanswered=False)

    assert (pending.worded, pending.finished) == (False, None)


def test_a_decided_turn_is_owed_whatever_was_said_of_it_before() -> None:
    pending = PendingTurn()
    pending.finished = False
    pending.decide()

    assert pending.owed(deaf=False)


@pytest.mark.parametrize("finished", [None, True, False])
def test_a_sound_takes_nothing_from_an_answer_that_was_owed_before_it(
    finished: bool | None,  # noqa: FBT001 - a table
) -> None:
    pending = PendingTurn()
    pending.begin(unanswered=True)
    pending.finished = finished
    owed = [pending.owed(deaf=False)]
    pending.begin(unanswered=False)
    owed.append(pending.owed(deaf=False))
    pending.settle()
    owed.append(pending.owed(deaf=False))

    assert owed == [True, True, False]


def test_words_that_are_added_to_a_question_and_break_off_are_waited_for() -> None:
    pending = PendingTurn()
    pending.begin(unanswered=True)
    pending.worded, pending.finished = True, False

    assert not pending.owed(deaf=False)
