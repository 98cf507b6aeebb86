"""What follows for a contact from the outcome of a dial."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.outbound import Contact, ContactState, DialOutcome, NextStep
from campaigns.model import Campaign, RetryRule
from campaigns.retrying import BUSY_REST_S, OWN_FAULT_REST_S, RULES, next_step

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
def test_a_first_dial_is_followed_by(
    outcome: DialOutcome, state: ContactState, rest_s: float | None, *, counted: bool
) -> None:
    due_s = 0.0 if rest_s is None else NOW + rest_s

    assert next_step(SPRING, FRESH, outcome, NOW) == NextStep(
        state=state, due_s=due_s, counted=counted
    )


def test_every_outcome_has_a_rule() -> None:
    assert set(RULES) == set(DialOutcome)


def test_the_last_attempt_is_the_last() -> None:
    second, third = replace(FRESH, attempts=1, dials=2), replace(FRESH, attempts=2, dials=3)

    assert next_step(SPRING, second, DialOutcome.BUSY, NOW).state == "resting"
    assert next_step(SPRING, third, DialOutcome.BUSY, NOW).state == "done"


def test_our_own_faults_do_not_use_up_the_attempts_but_end_one_day() -> None:
    fourth = replace(FRESH, attempts=2, dials=6, uncounted=3)
    fifth = replace(FRESH, attempts=2, dials=7, uncounted=4)

    assert next_step(SPRING, fourth, DialOutcome.AGENT_FAILED, NOW).state == "resting"
    assert next_step(SPRING, fifth, DialOutcome.AGENT_FAILED, NOW).state == "done"


def test_what_there_was_before_they_asked_to_be_called_does_not_end_it() -> None:
    asked = replace(FRESH, attempts=0, dials=9, uncounted=0)

    assert next_step(SPRING, asked, DialOutcome.AGENT_FAILED, NOW).state == "resting"


def test_an_owner_may_rule_otherwise() -> None:
    again = replace(SPRING, retry={DialOutcome.VOICEMAIL: RetryRule(again=True, rest_s=60.0)})

    assert next_step(again, FRESH, DialOutcome.VOICEMAIL, NOW) == NextStep(
        state="resting", due_s=NOW + 60.0
    )


@given(outcomes=st.lists(OUTCOMES, max_size=40), attempts=st.integers(1, 5))
def test_a_contact_is_never_dialled_more_often_than_the_rules_allow(
    outcomes: list[DialOutcome], attempts: int
) -> None:
    campaign, contact = replace(SPRING, attempts=attempts), replace(FRESH, dials=0)
    for outcome in outcomes:
        contact = replace(contact, dials=contact.dials + 1)
        step = next_step(campaign, contact, outcome, NOW)
        contact = replace(
            contact,
            attempts=contact.attempts + step.counted,
            uncounted=contact.uncounted + (not step.counted),
        )
        if step.state != "resting":
            break

    assert contact.attempts <= attempts
    assert contact.dials <= attempts + RetryRule(again=True).most
