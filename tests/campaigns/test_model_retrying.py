"""The next step for a contact after each outcome of a dial."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.dialled import judge_dial
from calls.outbound import Contact, ContactState, DialOutcome, DialResult, NextStep
from campaigns.model import BUSY_REST_S, OWN_FAULT_REST_S, RULES, Campaign, RetryRule, next_step

NOW = 1_800_000_000.0
SPRING = Campaign(name="spring", attempts=3, rest_s=3600.0)
FRESH = Contact(id=1, campaign="spring", number="+12025550001", attempts=0, dials=1)
OUTCOMES = st.sampled_from(DialOutcome)

FIRST = {
    "completed": (DialOutcome.COMPLETED, "done", None, True),
    "busy": (DialOutcome.BUSY, "resting", BUSY_REST_S, True),
    "no answer": (DialOutcome.NO_ANSWER, "resting", 3600.0, True),
    "voicemail": (DialOutcome.VOICEMAIL, "done", None, True),
    "failed": (DialOutcome.FAILED, "resting", 3600.0, True),
    "cancelled": (DialOutcome.CANCELLED, "resting", 3600.0, False),
    "our own fault": (DialOutcome.AGENT_FAILED, "resting", OWN_FAULT_REST_S, False),
    "refused": (DialOutcome.REFUSED, "excluded", None, False),
    "unknown": (DialOutcome.UNKNOWN, "done", None, True),
}


@pytest.mark.parametrize(("outcome", "state", "rest_s", "counted"), FIRST.values(), ids=FIRST)
def test_a_first_dials_outcome_decides_the_next_dial(
    outcome: DialOutcome, state: ContactState, rest_s: float | None, *, counted: bool
) -> None:
    due_s = 0.0 if rest_s is None else NOW + rest_s

    assert next_step(SPRING, FRESH, DialResult(outcome=outcome), NOW) == NextStep(
        state=state, due_s=due_s, counted=counted
    )


SAID = {
    "busy": (486, DialOutcome.BUSY, "resting", BUSY_REST_S, True),
    "away": (480, DialOutcome.NO_ANSWER, "resting", 3600.0, True),
    "refused without a reason": (481, DialOutcome.FAILED, "resting", 3600.0, True),
    "declined": (603, DialOutcome.BUSY, "done", None, True),
    "unwanted": (607, DialOutcome.BUSY, "done", None, True),
    "no such number": (404, DialOutcome.FAILED, "done", None, True),
    "an incomplete number": (484, DialOutcome.FAILED, "done", None, True),
    "no login": (401, DialOutcome.FAILED, "resting", OWN_FAULT_REST_S, False),
    "no money": (402, DialOutcome.FAILED, "resting", OWN_FAULT_REST_S, False),
    "forbidden": (403, DialOutcome.FAILED, "resting", OWN_FAULT_REST_S, False),
    "no login at the proxy": (407, DialOutcome.FAILED, "resting", OWN_FAULT_REST_S, False),
    "a carrier in trouble": (503, DialOutcome.FAILED, "resting", OWN_FAULT_REST_S, False),
}


@pytest.mark.parametrize(
    ("sip_code", "outcome", "state", "rest_s", "counted"), SAID.values(), ids=SAID
)
def test_the_callees_status_decides_the_next_dial(
    sip_code: int,
    outcome: DialOutcome,
    state: ContactState,
    rest_s: float | None,
    *,
    counted: bool,
) -> None:
    due_s = 0.0 if rest_s is None else NOW + rest_s

    assert next_step(SPRING, FRESH, said(sip_code, outcome), NOW) == NextStep(
        state=state, due_s=due_s, counted=counted
    )


def said(sip_code: int, outcome: DialOutcome) -> DialResult:
    verdict = judge_dial(sip_code)
    return DialResult(outcome=outcome, again=verdict.again, trunk=verdict.trunk)


def test_no_rule_calls_a_contact_who_declined_again() -> None:
    again = replace(SPRING, retry={DialOutcome.BUSY: RetryRule(again=True, counts=False)})

    assert next_step(again, FRESH, said(603, DialOutcome.BUSY), NOW).state == "done"


def test_trunk_failures_do_not_use_up_the_attempts_but_end_one_day() -> None:
    last = replace(FRESH, attempts=2, dials=3)
    fifth = replace(FRESH, attempts=2, dials=7, uncounted=4)

    assert next_step(SPRING, last, said(401, DialOutcome.FAILED), NOW).state == "resting"
    assert next_step(SPRING, fifth, said(401, DialOutcome.FAILED), NOW).state == "done"


def test_every_outcome_has_a_rule() -> None:
    assert set(RULES) == set(DialOutcome)


def test_the_last_attempt_is_the_last() -> None:
    second, third = replace(FRESH, attempts=1, dials=2), replace(FRESH, attempts=2, dials=3)

    assert next_step(SPRING, second, DialResult(outcome=DialOutcome.BUSY), NOW).state == "resting"
    assert next_step(SPRING, third, DialResult(outcome=DialOutcome.BUSY), NOW).state == "done"


def test_our_own_failures_do_not_use_up_the_attempts_but_end_one_day() -> None:
    fourth = replace(FRESH, attempts=2, dials=6, uncounted=3)
    fifth = replace(FRESH, attempts=2, dials=7, uncounted=4)

    assert (
        next_step(SPRING, fourth, DialResult(outcome=DialOutcome.AGENT_FAILED), NOW).state
        == "resting"
    )
    assert (
        next_step(SPRING, fifth, DialResult(outcome=DialOutcome.AGENT_FAILED), NOW).state == "done"
    )


def test_dials_before_a_callback_request_do_not_count_against_it() -> None:
    asked = replace(FRESH, attempts=0, dials=9, uncounted=0)

    assert (
        next_step(SPRING, asked, DialResult(outcome=DialOutcome.AGENT_FAILED), NOW).state
        == "resting"
    )


def test_an_owner_may_change_the_rules() -> None:
    again = replace(SPRING, retry={DialOutcome.VOICEMAIL: RetryRule(again=True, rest_s=60.0)})

    assert next_step(again, FRESH, DialResult(outcome=DialOutcome.VOICEMAIL), NOW) == NextStep(
        state="resting", due_s=NOW + 60.0
    )


@given(outcomes=st.lists(OUTCOMES, max_size=40), attempts=st.integers(1, 5))
def test_a_contact_is_never_dialled_more_often_than_the_rules_allow(
    outcomes: list[DialOutcome], attempts: int
) -> None:
    campaign, contact = replace(SPRING, attempts=attempts), replace(FRESH, dials=0)
    for outcome in outcomes:
        contact = replace(contact, dials=contact.dials + 1)
        step = next_step(campaign, contact, DialResult(outcome=outcome), NOW)
        contact = replace(
            contact,
            attempts=contact.attempts + step.counted,
            uncounted=contact.uncounted + (not step.counted),
        )
        if step.state != "resting":
            break

    assert contact.attempts <= attempts
    assert contact.dials <= attempts + RetryRule(again=True).most
