"""The callbacks of a dial, in one process and in several."""

import pytest

from calls.leg_events import AnswererJudged, LegAnswered, LegEnded, LegOutcome, LegRinging
from calls.leg_progress import LegEvent
from transports.dialling import HeardLeg, join_heard_legs

RINGING = LegRinging(call_ref="c", ref="d")
ANSWERED = LegAnswered(call_ref="c", ref="d", after_s=1.0)
MACHINE = AnswererJudged(call_ref="c", ref="d", answerer="machine", machine=True, after_s=2.0)
HUMAN = AnswererJudged(call_ref="c", ref="d", answerer="human", machine=False, after_s=2.0)
BUSY = LegEnded(call_ref="c", ref="d", outcome="busy")
COMPLETED = LegEnded(call_ref="c", ref="d", outcome="completed")
CASES: dict[str, tuple[list[LegEvent], bool, LegOutcome | None]] = {
    "it rings": ([RINGING], False, None),
    "somebody picked up": ([RINGING, ANSWERED], True, None),
    "busy": ([RINGING, BUSY], False, "busy"),
    "a person": ([ANSWERED, HUMAN, COMPLETED], True, "completed"),
    "a machine": ([ANSWERED, MACHINE, COMPLETED], True, "voicemail"),
    "a machine, told of behind the end": ([ANSWERED, COMPLETED, MACHINE], True, "voicemail"),
}


@pytest.mark.parametrize(("facts", "answered", "outcome"), CASES.values(), ids=CASES.keys())
def test_a_leg_is_the_sum_of_its_callbacks(
    facts: list[LegEvent], *, answered: bool, outcome: LegOutcome | None
) -> None:
    leg = HeardLeg(call_ref="c")
    for fact in facts:
        leg = leg.apply(fact)

    assert (leg.answered, leg.outcome) == (answered, outcome)


@pytest.mark.parametrize(
    ("ended", "sip_code", "again", "trunk"),
    [
        ("busy", 603, "never", "well"),
        ("failed", 404, "never", "well"),
        ("failed", 503, "later", "strained"),
        ("no-answer", 480, "later", "well"),
    ],
)
def test_a_sip_status_decides_about_the_number_and_the_trunk(
    ended: LegOutcome, sip_code: int, again: str, trunk: str
) -> None:
    told = LegEnded(call_ref="c", ref="d", outcome=ended, sip_code=sip_code)
    whole = join_heard_legs([HeardLeg(call_ref="c"), HeardLeg(call_ref="c").apply(told)])

    assert whole is not None
    assert whole.found.verdict is not None
    assert (whole.found.verdict.again, whole.found.verdict.trunk) == (again, trunk)


@pytest.mark.parametrize(
    ("ended", "sip_code"), [("completed", 200), ("cancelled", 487), ("busy", None)]
)
def test_without_a_status_an_unanswered_dial_decides_nothing(
    ended: LegOutcome, sip_code: int | None
) -> None:
    told = LegEnded(call_ref="c", ref="d", outcome=ended, sip_code=sip_code)

    assert HeardLeg(call_ref="c").apply(told).found.verdict is None


def test_callbacks_of_two_processes_are_merged() -> None:
    one = HeardLeg(call_ref="c", answered=True, machine=True)
    other = HeardLeg(call_ref="c", ended="completed")

    whole = join_heard_legs([one, other])

    assert whole is not None
    assert (whole.answered, whole.outcome) == (True, "voicemail")
    assert join_heard_legs([]) is None
