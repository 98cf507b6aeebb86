"""A caller is transferred: never both parties lost, never silent, exactly one end."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from calls.handover import Handover
from processors.transfer.decision import (
    ACCEPT_S,
    ANNOUNCED_S,
    ANSWER_S,
    JOIN_S,
    SAID_S,
    SUMMARY_S,
    Announce,
    Announced,
    At,
    Brief,
    Briefed,
    CallerGone,
    CallPerson,
    ComeBack,
    DropPerson,
    HandedOn,
    HandingAction,
    HandingEvent,
    HandOn,
    HoldCaller,
    How,
    Join,
    JoinFailed,
    LetGo,
    PersonAccepted,
    PersonAnswered,
    PersonDeclined,
    PersonGone,
    PersonNotReached,
    Summarise,
    SummaryReady,
    TakeBack,
    TransferDecision,
    TwoJoined,
)
from tests.thoroughness import promised_machine

RING_S = 20.0


def walked(how: How, *events: HandingEvent) -> tuple[TransferDecision, list[HandingAction]]:
    """Return an attempt after these events, a second apart, and all its actions."""
    handing = TransferDecision(how, ring_s=RING_S)
    done = list(handing.start(100.0))
    for at, event in enumerate(events, start=101):
        done += handing.handle(event, float(at))
    return handing, done


def test_a_person_who_accepts_is_connected_with_the_caller() -> None:
    handing, done = walked(
        How.BRIEF,
        *(Announced(), SummaryReady(), PersonAnswered(), Briefed(), PersonAccepted(), TwoJoined()),
    )

    assert done == [Announce(), Summarise(), CallPerson(), HoldCaller(), Brief(), Join()]
    assert (handing.outcome, handing.at) == ("connected", At.TOGETHER)


def test_a_person_may_accept_before_the_end_of_the_summary() -> None:
    _, done = walked(How.BRIEF, SummaryReady(), PersonAnswered(), PersonAccepted())

    assert done[-1] == Join()


def test_an_early_person_waits_for_the_summary_for_a_while() -> None:
    handing, done = walked(How.BRIEF, Announced(), PersonAnswered())

    assert Brief() not in done
    assert handing.wake_at == 102.0 + SUMMARY_S
    assert handing.tick(102.0 + SUMMARY_S) == (Brief(),)
    assert handing.handle(SummaryReady(), 110.0) == ()


def test_a_silent_answerer_is_asked_once_more_and_then_counts_as_a_machine() -> None:
    handing, _ = walked(How.BRIEF, Announced(), SummaryReady(), PersonAnswered(), Briefed())

    assert handing.tick(104.0 + ACCEPT_S) == (Brief(again=True),)
    assert handing.handle(Briefed(), 115.0) == ()
    assert handing.tick(115.0 + ACCEPT_S) == (
        DropPerson(reason="not_accepted"),
        ComeBack(outcome="no_answer"),
    )


@pytest.mark.parametrize("outcome", ["busy", "no_answer", "declined", "failed", "not_offered"])
@pytest.mark.parametrize("how", [How.BRIEF, How.CALL])
def test_without_an_answer_the_agent_returns(how: How, outcome: Handover) -> None:
    handing, done = walked(how, Announced(), PersonNotReached(outcome=outcome))

    assert done[-1] == ComeBack(outcome=outcome)
    assert handing.outcome == outcome


def test_a_person_who_declines_is_dropped_and_the_agent_returns() -> None:
    _, done = walked(How.BRIEF, Announced(), SummaryReady(), PersonAnswered(), PersonDeclined())

    assert done[-2:] == [DropPerson(reason="declined"), ComeBack(outcome="declined")]


def test_the_leg_transfers_only_after_the_announcement_was_heard() -> None:
    handing, done = walked(How.HAND_ON)

    assert done == [Announce()]
    assert handing.handle(Announced(), 103.0) == (HoldCaller(), HandOn())
    assert handing.handle(HandedOn(outcome="connected"), 110.0) == (LetGo(),)


def test_an_announcement_that_hangs_blocks_nothing() -> None:
    handing, _ = walked(How.HAND_ON)

    assert handing.tick(100.0 + ANNOUNCED_S) == (HoldCaller(), HandOn())
    assert handing.handle(Announced(), 109.0) == ()


def test_a_failed_transfer_by_the_leg_brings_the_agent_back() -> None:
    _, done = walked(How.HAND_ON, Announced(), HandedOn(outcome="busy"))

    assert done[-1] == ComeBack(outcome="busy")


def test_a_person_without_a_briefing_is_connected_at_once() -> None:
    _, done = walked(How.CALL, Announced(), PersonAnswered())

    assert done == [Announce(), CallPerson(), HoldCaller(), Join()]


def test_no_tone_begins_while_the_two_are_connected() -> None:
    _, done = walked(How.CALL, PersonAnswered(), Announced(), TwoJoined())

    assert done == [Announce(), CallPerson(), Join()]


def test_a_person_who_hangs_up_after_the_talk_returns_the_caller() -> None:
    handing, done = walked(How.CALL, Announced(), PersonAnswered(), TwoJoined(), PersonGone())

    assert done[-1] == TakeBack(talked_s=1.0)
    assert handing.outcome == "connected"


def test_a_silent_carrier_is_waited_for_a_bounded_time() -> None:
    handing, _ = walked(How.CALL, Announced())

    due_at = 100.0 + RING_S + ANSWER_S
    assert handing.wake_at == due_at
    assert handing.tick(due_at) == (DropPerson(reason="no_answer"), ComeBack(outcome="no_answer"))
    assert handing.handle(PersonAnswered(), due_at + 1) == (DropPerson(reason="too_late"),)


EVENTS = (
    Announced(), SummaryReady(), PersonAnswered(), PersonNotReached(outcome="busy"), Briefed(),
    PersonAccepted(), PersonDeclined(), PersonGone(), TwoJoined(), JoinFailed(),
    HandedOn(outcome="connected"), HandedOn(outcome="failed"),
)  # fmt: skip
LONGEST_S = max(ANNOUNCED_S, RING_S + ANSWER_S, SUMMARY_S, SAID_S, ACCEPT_S, JOIN_S)


class Attempt(RuleBasedStateMachine):
    """Any event in any order, late or twice."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.handing: TransferDecision | None = None
        self.done: list[HandingAction] = []
        self.caller_there = True
        self.dropped_since_called = False

    def take(self, actions: tuple[HandingAction, ...]) -> None:
        self.done += actions

    def count(self, *kinds: type) -> int:
        return sum(isinstance(item, kinds) for item in self.done)

    @precondition(lambda self: self.handing is None)
    @rule(how=st.sampled_from(How))
    def start(self, how: How) -> None:
        self.handing = TransferDecision(how, ring_s=RING_S)
        self.take(self.handing.start(self.now))

    @precondition(lambda self: self.handing is not None)
    @rule(event=st.sampled_from(EVENTS), after_s=st.floats(0, 5))
    def happen(self, event: HandingEvent, after_s: float) -> None:
        assert self.handing
        self.now += after_s
        self.take(self.handing.handle(event, self.now))

    @precondition(lambda self: self.handing is not None)
    @rule(after_s=st.floats(0, LONGEST_S))
    def pass_time(self, after_s: float) -> None:
        assert self.handing
        self.now += after_s
        self.take(self.handing.tick(self.now))

    @precondition(lambda self: self.handing is not None and self.caller_there)
    @rule()
    def caller_hangs_up(self) -> None:
        assert self.handing
        before, at = self.count(DropPerson), self.handing.at
        self.take(self.handing.handle(CallerGone(), self.now))
        self.caller_there = False
        called = self.count(CallPerson) > 0
        assert self.handing.at is At.OVER
        assert self.count(DropPerson) - before == int(called and at is not At.OVER)

    @invariant()
    def one_end(self) -> None:
        """Either the caller is connected or the agent returns, never both, and once."""
        if self.handing is None:
            return
        together = int(self.handing.at is At.TOGETHER)
        ends = self.count(ComeBack, LetGo) + together + self.count(TakeBack)
        assert ends <= 1
        if self.handing.at is At.OVER and self.caller_there:
            assert ends == 1
        if self.count(ComeBack):
            assert self.handing.outcome != "connected"

    @invariant()
    def nobody_is_lost(self) -> None:
        """A called person is talked with, waited for, dropped, or has hung up."""
        if self.handing is None or not self.count(CallPerson):
            return
        over = self.handing.at is At.OVER
        assert not over or self.count(DropPerson) or self.count(TakeBack)

    @invariant()
    def nobody_waits_in_silence(self) -> None:
        """A waiting caller has heard the announcement and hears tones, for a bounded time."""
        if self.handing is None or self.handing.at in (At.TOGETHER, At.OVER):
            return
        assert self.handing.wake_at is not None
        rounded_s = 1e-6  # of sums and differences of moments
        assert self.handing.wake_at - self.now <= LONGEST_S + rounded_s
        assert self.count(HoldCaller) <= 1
        assert self.count(Announce) == 1


TestAttempt = Attempt.TestCase
TestAttempt.settings = promised_machine
