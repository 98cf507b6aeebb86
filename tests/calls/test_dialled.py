"""The meaning of a SIP status for the record, for the number, and for the trunk."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.dialled import ANSWERED, VERDICTS, judge_dial
from calls.leg_events import LegOutcome

CODES = ("canceled", "unavailable", "resource_exhausted", "failed_precondition", "unheard_of", "")


@pytest.mark.parametrize(
    ("sip_code", "outcome", "again", "trunk"),
    [
        (486, "busy", "later", "well"),
        (600, "busy", "later", "well"),
        (480, "no-answer", "later", "well"),
        (408, "no-answer", "later", "well"),
        (504, "no-answer", "later", "well"),
        (487, "cancelled", "no", "well"),
        (603, "busy", "never", "well"),
        (607, "busy", "never", "well"),
        (608, "failed", "later", "refusing"),
        (428, "failed", "later", "refusing"),
        (438, "failed", "later", "refusing"),
        (401, "failed", "later", "refusing"),
        (402, "failed", "later", "refusing"),
        (403, "failed", "later", "refusing"),
        (407, "failed", "later", "refusing"),
        (404, "failed", "never", "well"),
        (410, "failed", "never", "well"),
        (484, "failed", "never", "well"),
        (485, "failed", "never", "well"),
        (604, "failed", "never", "well"),
        (301, "failed", "never", "well"),
        (488, "failed", "later", "refusing"),
        (500, "failed", "later", "strained"),
        (503, "failed", "later", "strained"),
        (481, "failed", "later", "well"),
        (299, "failed", "later", "well"),
    ],
)
def test_a_status_decides_the_outcome(sip_code: int, outcome: str, again: str, trunk: str) -> None:
    verdict = judge_dial(sip_code)

    assert (verdict.outcome, verdict.again, verdict.trunk) == (outcome, again, trunk)


@pytest.mark.parametrize(
    ("code", "outcome", "again", "trunk", "reason"),
    [
        ("canceled", "no-answer", "later", "well", "rang_out"),
        ("unavailable", "failed", "later", "strained", "gateway_full"),
        ("resource_exhausted", "failed", "later", "strained", "gateway_full"),
        ("failed_precondition", "failed", "later", "refusing", "login_refused"),
        ("invalid_argument", "failed", "later", "refusing", "bad_request"),
        ("unauthenticated", "failed", "later", "refusing", "key_refused"),
        ("internal", "failed", "later", "strained", "gateway_lost"),
        ("unknown", "failed", "later", "strained", "gateway_lost"),
        ("", "failed", "later", "strained", "gateway_lost"),
    ],
)
def test_without_a_status_the_gateways_reason_decides(
    code: str, outcome: str, again: str, trunk: str, reason: str
) -> None:
    verdict = judge_dial(None, code=code)

    assert (verdict.outcome, verdict.again, verdict.trunk) == (outcome, again, trunk)
    assert verdict.reason == reason


@pytest.mark.parametrize(
    ("code", "words", "outcome", "trunk", "reason"),
    [
        ("canceled", "sip request timed out", "no-answer", "well", "rang_out"),
        ("deadline_exceeded", "sip request timed out", "no-answer", "well", "rang_out"),
        (
            "canceled", "transaction failed to complete (0 intermediate responses)",
            "failed", "strained", "carrier_trouble",
        ),
        (
            "canceled", "Transaction failed to complete (2 intermediate responses)",
            "failed", "strained", "carrier_trouble",
        ),
        ("canceled", "response channel closed", "failed", "strained", "carrier_trouble"),
        ("canceled", "service shutting down", "failed", "strained", "gateway_lost"),
        ("deadline_exceeded", "context deadline exceeded", "failed", "strained", "gateway_lost"),
        ("deadline_exceeded", "", "failed", "strained", "gateway_lost"),
        ("unavailable", "transaction failed", "failed", "strained", "gateway_full"),
    ],
)  # fmt: skip
def test_an_unreachable_trunk_is_not_an_unanswered_call(
    code: str, words: str, outcome: str, trunk: str, reason: str
) -> None:
    verdict = judge_dial(None, code=code, words=words)

    assert (verdict.outcome, verdict.trunk, verdict.reason) == (outcome, trunk, reason)
    assert verdict.again == "later"


@given(st.text() | st.sampled_from(CODES))
def test_a_gateways_reason_alone_settles_no_contact_and_only_ringing_clears_the_trunk(
    code: str,
) -> None:
    verdict = judge_dial(None, code=code)

    assert verdict.again == "later"
    assert (verdict.trunk == "well") == (verdict.outcome == "no-answer")


@given(st.integers(100, 700), st.sampled_from(CODES))
def test_with_a_status_the_gateways_reason_is_ignored(sip_code: int, code: str) -> None:
    said = judge_dial(sip_code, code=code, words="transaction failed to complete")

    assert said == judge_dial(sip_code)


@given(st.none() | st.integers(0, 999), st.sampled_from(CODES))
def test_every_status_has_a_verdict_and_none_is_a_pick_up(sip_code: int | None, code: str) -> None:
    verdict = judge_dial(sip_code, code=code)

    assert verdict.outcome in get_args(LegOutcome)
    assert verdict.outcome != ANSWERED.outcome
    assert verdict.reason.isidentifier()


def test_only_statuses_about_the_number_or_its_owner_are_final() -> None:
    never = {code for code, verdict in VERDICTS.items() if verdict.again == "never"}

    assert never == {301, 302, 400, 404, 410, 484, 485, 603, 604, 607}
    assert all(VERDICTS[code].trunk == "well" for code in never)
