"""The steps from an answered call to a talk or a hang-up."""

import pytest

from processors.answerer.answerer_rules import (
    Answerer,
    AnsweringRules,
    Decide,
    LeaveMessage,
    Open,
    PartFromMachine,
    SayWho,
)
from processors.answerer.course_rules import AnsweringCourse, AnsweringState
from processors.answerer.phrase_rules import Cue

RULES = AnsweringRules()


def answered(*, leaves_message: bool = True) -> AnsweringCourse:
    course = AnsweringCourse(RULES, leaves_message=leaves_message)
    course.listen(10.0)
    return course


def test_the_answerer_is_reported_once_with_the_time_since_the_answer() -> None:
    course = answered()

    assert course.decide(Answerer.HUMAN, "pause", 12.5) == (
        Decide(answerer=Answerer.HUMAN, why="pause", after_s=2.5),
    )
    assert course.decide(Answerer.HUMAN, "words", 13.0) == ()
    assert course.decide(Answerer.MENU, "words", 14.0) == (
        Decide(answerer=Answerer.MENU, why="words", after_s=4.0, revised=True),
    )


@pytest.mark.parametrize(
    ("cue", "leaves_message", "state"),
    [
        (Cue.SCREENING, True, AnsweringState.ASKED),
        (Cue.VOICEMAIL, True, AnsweringState.MAILBOX),
        (Cue.VOICEMAIL, False, AnsweringState.PARTING),
        (Cue.FULL, True, AnsweringState.PARTING),
        (Cue.MENU, True, AnsweringState.PARTING),
    ],
)
def test_each_kind_of_machine_has_its_actions(
    cue: Cue, state: AnsweringState, *, leaves_message: bool
) -> None:
    course = answered(leaves_message=leaves_message)
    course.meet_machine(cue, 11.0)

    assert (course.state, course.by_words) == (state, True)


def test_a_mailbox_gets_the_message_after_its_greeting() -> None:
    course = answered()

    assert course.leave_message(11.0, at_end=False) == ()
    assert course.state is AnsweringState.MAILBOX
    assert course.leave_message(15.0, at_end=True) == (LeaveMessage(),)
    assert course.state is AnsweringState.OVER


@pytest.mark.parametrize("at_end", [False, True])
def test_a_mailbox_that_was_full_once_gets_no_message(*, at_end: bool) -> None:
    course = answered()
    course.meet_machine(Cue.FULL, 11.0)

    assert course.leave_message(12.0, at_end=at_end) == (
        PartFromMachine(answerer=Answerer.VOICEMAIL),
    )


def test_a_person_found_late_is_waited_for_again() -> None:
    course = answered()
    course.meet_machine(Cue.VOICEMAIL, 11.0)
    (said,) = course.take_back(14.0)

    assert isinstance(said, Decide)
    assert (said.answerer, said.revised) == (Answerer.UNDECIDED, True)
    assert (course.state, course.round_at) == (AnsweringState.PAUSING, 14.0)


def test_an_answerer_taken_for_a_person_in_time_is_not_waited_for() -> None:
    course = answered()
    course.await_pause("time", 12.8)

    assert (course.state, course.round_at) == (AnsweringState.PAUSING, 10.0)


def test_speech_before_a_talk_does_not_count_in_it() -> None:
    course = answered()
    course.heard.voiced(11.0)

    assert course.greet(Answerer.HUMAN, "carrier", 13.0)[-1] == Open()
    assert (course.spoke_s, course.watched_until) == (2.0, 13.0 + RULES.overlap_s)
    assert course.heard.speech_s == 0.0


def test_after_an_assistant_the_course_starts_over() -> None:
    course = answered()
    course.heard.voiced(11.0)
    course.meet_machine(Cue.SCREENING, 12.0)

    assert course.say_who(14.0) == (SayWho(),)
    assert course.screened
    assert not course.heard.spoken
    assert (course.state, course.round_at) == (AnsweringState.LISTENING, 14.0)
    assert course.decide(Answerer.HUMAN, "pause", 15.0)[0].after_s == 5.0  # from the answer
