"""The verdict on a dialled call, from its events: a failure on our side or not."""

from collections.abc import Sequence

import pytest

from calls.events import CallEnded, CallFailed, Event
from calls.leg_events import AnswererHeard
from calls.state import state_of
from campaigns.call_verdict import judge_call
from fallbacks.events import AttemptWon, StageExhausted, StageRecovered
from fallbacks.failure import Severity


def ended(reason: str) -> CallEnded:
    return CallEnded(reason=reason, length_s=12.0)


OUT = StageExhausted(stage="tts", attempts=2)
TEXT_AT_FAULT = StageExhausted(stage="tts", attempts=2, severity=Severity.MEDIUM)
BACK = StageRecovered(stage="tts", down_s=3.0)
WON = AttemptWon(stage="tts", provider="cartesia", attempt=3, after_s=0.2)


@pytest.mark.parametrize(
    ("facts", "failed"),
    [
        ([ended("caller_hung_up")], ""),
        ([ended("agent_hung_up")], ""),
        ([ended("failed")], "failed"),
        ([ended("outage")], "outage"),
        ([ended("shutdown")], "shutdown"),
        ([CallFailed(where="call", error="ValueError"), ended("failed")], "call_failed"),
        ([OUT, ended("caller_hung_up")], "tts_out"),
        ([TEXT_AT_FAULT, ended("caller_hung_up")], ""),
        ([OUT, BACK, ended("caller_hung_up")], ""),
        ([OUT, WON, ended("caller_hung_up")], ""),
        ([ended("caller_hung_up"), OUT], "tts_out"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_call_either_failed_on_our_side_or_did_not(facts: Sequence[Event], failed: str) -> None:
    verdict = judge_call(state_of(facts))

    assert verdict.over
    assert verdict.failed == failed
    assert verdict.length_s == 12.0


def heard(answerer: str) -> AnswererHeard:
    return AnswererHeard(answerer=answerer, why="words", after_s=2.0)


@pytest.mark.parametrize(
    ("facts", "machine"),
    [
        ([ended("caller_hung_up")], False),
        ([ended("voicemail")], True),
        ([ended("menu")], True),
        ([heard("voicemail"), ended("caller_hung_up")], True),  # a mailbox may hang up first
        ([heard("menu"), ended("caller_hung_up")], True),
        ([heard("undecided"), heard("voicemail"), ended("caller_hung_up")], True),
        ([heard("voicemail"), heard("human"), ended("caller_hung_up")], False),
        ([heard("undecided"), ended("caller_hung_up")], False),
    ],
    ids=lambda each: "",
)
def test_the_last_machine_verdict_counts(facts: Sequence[Event], *, machine: bool) -> None:
    assert judge_call(state_of(facts)).machine is machine


def test_a_call_in_progress_has_no_verdict_yet() -> None:
    assert not judge_call(state_of([OUT])).over
