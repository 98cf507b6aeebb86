"""A caller is transferred: never both parties lost, never silent, exactly one end."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot.call.transfer.decision import (
    ACCEPT_S,
    ANNOUNCED_S,
    JOIN_S,
    LEAVING_S,
    SAID_S,
    SUMMARY_S,
    UNANSWERED_S,
    At,
    How,
    Steps,
    TransferDecision,
)
from bot.call.transfer.decision import TransferStep as Do
from calls.handover import RESULT_S, Handover
from tests.thoroughness import promised_machine

RING_S = 20.0
Report = Callable[[TransferDecision, float], Steps]

ANNOUNCED: Report = TransferDecision.announced
SUMMARY_READY: Report = TransferDecision.summary_ready
ANSWERED: Report = partial(TransferDecision.person_called, outcome="connected")
BRIEFED: Report = TransferDecision.briefed
ACCEPTED: Report = partial(TransferDecision.person_decided, accepts=True)
DECLINED: Report = partial(TransferDecision.person_decided, accepts=False)
PERSON_GONE: Report = TransferDecision.person_gone
JOINED: Report = partial(TransferDecision.joined, ok=True)


def not_reached(outcome: Handover) -> Report:
    return partial(TransferDecision.person_called, outcome=outcome)


def handed_on(outcome: Handover) -> Report:
    return partial(TransferDecision.handed_on, outcome=outcome)


def walked(how: How, *reports: Report) -> tuple[TransferDecision, list[Do]]:
    """Return an attempt after these reports, a second apart, and all its steps."""
    transfer = TransferDecision(how, ring_s=RING_S)
    done = list(transfer.start(100.0))
    for at, report in enumerate(reports, start=101):
        done += report(transfer, float(at))
    return transfer, done


def test_a_person_who_accepts_is_connected_with_the_caller() -> None:
    transfer, done = walked(
        How.BRIEF,
        *(ANNOUNCED, SUMMARY_READY, ANSWERED, BRIEFED, ACCEPTED, JOINED),
    )

    assert done == [Do.ANNOUNCE, Do.SUMMARISE, Do.CALL, Do.HOLD, Do.BRIEF, Do.JOIN]
    assert (transfer.outcome, transfer.at) == ("connected", At.TOGETHER)


def test_a_person_may_accept_before_the_end_of_the_summary() -> None:
    _, done = walked(How.BRIEF, SUMMARY_READY, ANSWERED, ACCEPTED)

    assert done[-1] == Do.JOIN


def test_an_early_person_waits_for_the_summary_for_a_while() -> None:
    transfer, done = walked(How.BRIEF, ANNOUNCED, ANSWERED)

    assert Do.BRIEF not in done
    assert transfer.wake_at == 102.0 + SUMMARY_S
    assert transfer.tick(102.0 + SUMMARY_S) == (Do.BRIEF,)
    assert transfer.summary_ready(110.0) == ()


def test_a_silent_answerer_is_asked_once_more_and_then_counts_as_a_machine() -> None:
    transfer, _ = walked(How.BRIEF, ANNOUNCED, SUMMARY_READY, ANSWERED, BRIEFED)

    assert transfer.tick(104.0 + ACCEPT_S) == (Do.ASK_AGAIN,)
    assert transfer.briefed(115.0) == ()
    assert transfer.tick(115.0 + ACCEPT_S) == (Do.DROP, Do.COME_BACK)
    assert (transfer.drop_reason, transfer.outcome) == ("not_accepted", "no_answer")


@pytest.mark.parametrize("outcome", ["busy", "no_answer", "declined", "failed", "not_offered"])
@pytest.mark.parametrize("how", [How.BRIEF, How.CALL])
def test_without_an_answer_the_agent_returns(how: How, outcome: Handover) -> None:
    transfer, done = walked(how, ANNOUNCED, not_reached(outcome))

    assert done[-1] == Do.COME_BACK
    assert transfer.outcome == outcome


def test_a_person_who_declines_is_dropped_and_the_agent_returns() -> None:
    transfer, done = walked(How.BRIEF, ANNOUNCED, SUMMARY_READY, ANSWERED, DECLINED)

    assert done[-2:] == [Do.DROP, Do.COME_BACK]
    assert (transfer.drop_reason, transfer.outcome) == ("declined", "declined")


def test_the_leg_transfers_only_after_the_announcement_was_heard() -> None:
    transfer, done = walked(How.HAND_ON)

    assert done == [Do.ANNOUNCE]
    assert transfer.announced(103.0) == (Do.HOLD, Do.HAND_ON)
    assert transfer.handed_on(110.0, "connected") == (Do.LET_GO,)


def test_an_announcement_that_hangs_blocks_nothing() -> None:
    transfer, _ = walked(How.HAND_ON)

    assert transfer.tick(100.0 + ANNOUNCED_S) == (Do.HOLD, Do.HAND_ON)
    assert transfer.announced(109.0) == ()


def test_the_agent_returns_after_a_failed_transfer_by_the_leg() -> None:
    transfer, done = walked(How.HAND_ON, ANNOUNCED, handed_on("busy"))

    assert (done[-1], transfer.outcome) == (Do.COME_BACK, "busy")


def test_a_person_without_a_briefing_is_connected_at_once() -> None:
    _, done = walked(How.CALL, ANNOUNCED, ANSWERED)

    assert done == [Do.ANNOUNCE, Do.CALL, Do.HOLD, Do.JOIN]


def test_no_tone_begins_while_the_two_are_connected() -> None:
    _, done = walked(How.CALL, ANSWERED, ANNOUNCED, JOINED)

    assert done == [Do.ANNOUNCE, Do.CALL, Do.JOIN]


def test_a_person_who_hangs_up_after_the_talk_returns_the_caller() -> None:
    transfer, done = walked(How.CALL, ANNOUNCED, ANSWERED, JOINED, PERSON_GONE)

    assert done[-1] == Do.TAKE_BACK
    assert (transfer.talked_s, transfer.outcome) == (1.0, "connected")


def test_a_silent_carrier_is_waited_for_a_bounded_time() -> None:
    transfer, _ = walked(How.CALL, ANNOUNCED)

    due_at = 100.0 + RING_S + UNANSWERED_S
    assert transfer.wake_at == due_at
    assert transfer.tick(due_at) == (Do.DROP, Do.COME_BACK)
    assert (transfer.drop_reason, transfer.outcome) == ("no_answer", "no_answer")
    assert transfer.person_called(due_at + 1, "connected") == (Do.DROP,)
    assert transfer.drop_reason == "too_late"


def test_the_line_returns_the_result_of_a_blind_transfer_before_it_is_given_up() -> None:
    transfer, _ = walked(How.HAND_ON, ANNOUNCED)
    result_at = 101.0 + RING_S + RESULT_S

    assert transfer.tick(result_at) == ()
    assert transfer.handed_on(result_at, "busy") == (Do.COME_BACK,)
    assert transfer.outcome == "busy"


def test_a_line_that_returns_no_result_is_waited_for_a_bounded_time() -> None:
    transfer, _ = walked(How.HAND_ON, ANNOUNCED)

    assert transfer.tick(101.0 + RING_S + LEAVING_S) == (Do.COME_BACK,)
    assert transfer.outcome == "failed"


REPORTS = (
    ANNOUNCED, SUMMARY_READY, ANSWERED, not_reached("busy"), BRIEFED,
    ACCEPTED, DECLINED, PERSON_GONE, JOINED, partial(TransferDecision.joined, ok=False),
    handed_on("connected"), handed_on("failed"),
)  # fmt: skip
MAX_S = max(ANNOUNCED_S, RING_S + LEAVING_S, SUMMARY_S, SAID_S, ACCEPT_S, JOIN_S)


class Attempt(RuleBasedStateMachine):
    """Any report in any order, late or twice."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.transfer: TransferDecision | None = None
        self.done: list[Do] = []
        self.caller_there = True
        self.dropped_since_called = False

    def count(self, *steps: Do) -> int:
        return sum(step in steps for step in self.done)

    @precondition(lambda self: self.transfer is None)
    @rule(how=st.sampled_from(How))
    def start(self, how: How) -> None:
        self.transfer = TransferDecision(how, ring_s=RING_S)
        self.done += self.transfer.start(self.now)

    @precondition(lambda self: self.transfer is not None)
    @rule(report=st.sampled_from(REPORTS), after_s=st.floats(0, 5))
    def happen(self, report: Report, after_s: float) -> None:
        assert self.transfer
        self.now += after_s
        self.done += report(self.transfer, self.now)

    @precondition(lambda self: self.transfer is not None)
    @rule(after_s=st.floats(0, MAX_S))
    def pass_time(self, after_s: float) -> None:
        assert self.transfer
        self.now += after_s
        self.done += self.transfer.tick(self.now)

    @precondition(lambda self: self.transfer is not None and self.caller_there)
    @rule()
    def caller_hangs_up(self) -> None:
        assert self.transfer
        before, at = self.count(Do.DROP), self.transfer.at
        self.done += self.transfer.caller_gone(self.now)
        self.caller_there = False
        called = self.count(Do.CALL) > 0
        assert self.transfer.at is At.OVER
        assert self.count(Do.DROP) - before == int(called and at is not At.OVER)

    @invariant()
    def one_end(self) -> None:
        """Either the caller is connected or the agent returns, never both, and once."""
        if self.transfer is None:
            return
        together = int(self.transfer.at is At.TOGETHER)
        ends = self.count(Do.COME_BACK, Do.LET_GO) + together + self.count(Do.TAKE_BACK)
        assert ends <= 1
        if self.transfer.at is At.OVER and self.caller_there:
            assert ends == 1
        if self.count(Do.COME_BACK):
            assert self.transfer.outcome != "connected"

    @invariant()
    def nobody_is_lost(self) -> None:
        """A called person is talked with, waited for, dropped, or has hung up."""
        if self.transfer is None or not self.count(Do.CALL):
            return
        over = self.transfer.at is At.OVER
        assert not over or self.count(Do.DROP) or self.count(Do.TAKE_BACK)

    @invariant()
    def nobody_waits_in_silence(self) -> None:
        """A waiting caller has heard the announcement and hears tones, for a bounded time."""
        if self.transfer is None or self.transfer.at in (At.TOGETHER, At.OVER):
            return
        assert self.transfer.wake_at is not None
        rounded_s = 1e-6  # of sums and differences of moments
        assert self.transfer.wake_at - self.now <= MAX_S + rounded_s
        assert self.count(Do.HOLD) <= 1
        assert self.count(Do.ANNOUNCE) == 1


TestAttempt = Attempt.TestCase
TestAttempt.settings = promised_machine
