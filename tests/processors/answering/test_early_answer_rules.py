"""When an answer is requested early, and when it is used."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fallbacks.ladder import EarlyBudget
from processors.answering.early_answer_rules import (
    DropAnswer,
    DropReason,
    EarlyAction,
    EarlyAnswer,
    EarlyQuestion,
    PrepareAnswer,
    bare_words,
)
from tests.thoroughness import promised_machine

HOURS = "Are you open?"


def question(words: str = HOURS, *before: str) -> EarlyQuestion:
    return EarlyQuestion(before=before, words=words)


def stand(
    early: EarlyAnswer, words: str = HOURS, *, complete: bool = True
) -> tuple[EarlyAction, ...]:
    return early.words(words, complete=complete)


def asking(*before: str) -> EarlyAnswer:
    early = EarlyAnswer(EarlyBudget())
    stand(early)
    early.pause()
    early.asked(question(HOURS, *before))
    return early


def test_words_that_have_arrived_are_sent_when_the_caller_falls_silent() -> None:
    early = EarlyAnswer(EarlyBudget())

    assert stand(early) == ()
    assert early.pause() == (PrepareAnswer(HOURS),)


def test_words_that_arrive_in_the_silence_are_sent_when_they_arrive() -> None:
    early = EarlyAnswer(EarlyBudget())

    assert early.pause() == ()
    assert stand(early) == (PrepareAnswer(HOURS),)


def test_pending_words_are_waited_for() -> None:
    early = EarlyAnswer(EarlyBudget())
    early.pause()

    assert stand(early, "Are you", complete=False) == ()
    assert stand(early) == (PrepareAnswer(HOURS),)


def test_the_same_words_are_not_sent_twice() -> None:
    early = asking()

    assert stand(early, "are you open") == ()


def test_the_same_words_inside_a_longer_question_are_not_sent_twice() -> None:
    early = asking()
    early.asked(question(f"Hello. {HOURS}"))  # with what was said before a pause

    assert stand(early, "are you open") == ()
    assert stand(early, "Are you open on Sunday?")[:1] == (DropAnswer("words"),)


def test_other_words_replace_the_first_request() -> None:
    actions = stand(asking(), "Are you open on Sunday?")

    assert actions == (DropAnswer("words"), PrepareAnswer("Are you open on Sunday?"))


@pytest.mark.parametrize("because", ["caller", "exhausted", "ended"])
def test_an_invalidated_request_is_dropped_until_the_next_silence(because: DropReason) -> None:
    early = asking()

    assert early.drop(because) == (DropAnswer(because),)
    assert stand(early, "Are you open on Sunday?") == ()


@pytest.mark.parametrize(
    ("decided", "because"),
    [
        (question("are you open"), None),
        (question("Are you open on Sunday?"), "words"),
        (question(HOURS, "a tool's result"), "context"),
    ],
    ids=["the same", "more words", "another conversation"],
)
def test_an_early_answer_is_used_only_for_the_same_words_after_the_same_conversation(
    decided: EarlyQuestion, because: str | None
) -> None:
    assert asking().decide(decided) == because


def test_after_the_decision_late_words_send_nothing() -> None:
    early = asking()
    early.decide(question())

    assert stand(early, "Hello?") == ()


def test_a_quarter_of_the_recent_requests_may_be_discarded() -> None:
    budget = EarlyBudget(floor=1)
    for _ in range(20):
        budget.note()
    for _ in range(5):
        assert budget.reserve()
    assert not budget.reserve()  # five are in progress, and all may be discarded

    for _ in range(4):
        budget.settle(extra=1)
    budget.settle(extra=0)

    assert budget.reserve()
    assert not budget.reserve()
    assert budget.extra_share == 4 / 20


WORDS = st.sampled_from(["", "Are you open?", "are you open", "Are you open on Sunday?"])


class EarlyMachine(RuleBasedStateMachine):
    """Any events in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = EarlyBudget(floor=2)
        self.early = EarlyAnswer(self.budget)
        self.under_way: str | None = None  # the model's current request
        self.silent = False

    @rule(words=WORDS, complete=st.booleans())
    def words_come(self, *, words: str, complete: bool) -> None:
        self._do(self.early.words(words, complete=complete))

    @rule()
    def caller_pauses(self) -> None:
        self.silent = True
        self._do(self.early.pause())

    @rule()
    def caller_goes_on(self) -> None:
        self.silent = False
        self._do(self.early.drop("caller"))
        assert self.under_way is None

    @rule()
    def nobody_can_answer(self) -> None:
        self.silent = False
        self._do(self.early.drop("exhausted"))
        assert self.under_way is None

    @rule(words=WORDS)
    def turn_is_decided(self, words: str) -> None:
        self.budget.note()
        self.silent = False
        differs = self.early.decide(question(words))
        if self.under_way is not None:
            assert (differs is None) == (bare_words(words) == bare_words(self.under_way))
            self.budget.settle(extra=int(differs is not None))
            self.under_way = None

    @invariant()
    def one_request_at_most_is_under_way_and_only_in_silence(self) -> None:
        asked = self.early.question
        assert (asked.words if asked else None) == self.under_way
        assert self.silent or self.under_way is None
        assert self.budget.reserved == (self.under_way is not None)

    @invariant()
    def requests_in_vain_are_bounded(self) -> None:
        assert self.budget.extra <= max(2, self.budget.asked * 0.25 + 2)

    def _do(self, actions: tuple[EarlyAction, ...]) -> None:
        for action in actions:
            match action:
                case DropAnswer():
                    assert self.under_way is not None
                    self.under_way = None
                    self.budget.settle(extra=1)
                case PrepareAnswer():
                    assert self.under_way is None
                    assert bare_words(action.words)
                    self.under_way = action.words
                    self.early.asked(question(action.words))


TestEarlyMachine = EarlyMachine.TestCase
TestEarlyMachine.settings = promised_machine
