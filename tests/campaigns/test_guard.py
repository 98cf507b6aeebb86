"""Whether the next contact may be dialled: each reason, and their order."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.outbound import CallConsent, Contact
from campaigns.guard import (
    GO,
    CampaignTurn,
    Circumstances,
    contact_opens_s,
    judge_dial_now,
    order_of_turns,
    stage_down,
)
from campaigns.model import Campaign
from configuration.campaigns import OnOutage

WELL = Circumstances(usable={"stt": True, "llm": True, "tts": True}, seats=3)
NO_VOICE = replace(WELL, usable={"stt": True, "llm": True, "tts": False})


@pytest.mark.parametrize("on_outage", ["hold", "skip", "degraded"])
def test_a_contact_is_dialled_if_nothing_prevents_it(on_outage: OnOutage) -> None:
    assert judge_dial_now(WELL, on_outage=on_outage) == GO


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (replace(WELL, tripped="agent_failed_in_a_row"), "agent_failed_in_a_row"),
        (replace(WELL, carrier_down="carrier_unreachable"), "carrier_unreachable"),
        (replace(WELL, seats=0), "no_seat"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
@pytest.mark.parametrize("on_outage", ["hold", "skip", "degraded"])
def test_reasons_other_than_outages_only_hold(
    now: Circumstances, reason: str, on_outage: OnOutage
) -> None:
    verdict = judge_dial_now(now, on_outage=on_outage)

    assert (verdict.step, verdict.reason) == ("hold", reason)


@pytest.mark.parametrize(
    ("on_outage", "step"), [("hold", "hold"), ("skip", "skip"), ("degraded", "dial")]
)
def test_an_outage_is_handled_as_the_owner_chose(on_outage: OnOutage, step: str) -> None:
    verdict = judge_dial_now(NO_VOICE, on_outage=on_outage)

    assert (verdict.step, verdict.reason, verdict.outage) == (step, "tts_down", True)
    assert verdict.degraded == (on_outage == "degraded")


def test_a_full_server_is_no_outage() -> None:
    assert not judge_dial_now(replace(WELL, seats=0), on_outage="hold").outage


def test_a_reason_that_needs_a_person_is_named_before_a_passing_one() -> None:
    both = replace(
        NO_VOICE, tripped="agent_failed_in_a_row", carrier_down="carrier_unreachable", seats=0
    )

    assert judge_dial_now(both, on_outage="skip").reason == "agent_failed_in_a_row"


def test_the_stage_that_a_call_needs_first_is_named_first() -> None:
    assert stage_down({"tts": False, "llm": False, "stt": True}) == "llm_down"


@given(
    now=st.builds(
        Circumstances,
        tripped=st.sampled_from(["", "agent_failed_in_a_row"]),
        carrier_down=st.sampled_from(["", "carrier_unreachable"]),
        seats=st.integers(-1, 2),
        usable=st.dictionaries(st.sampled_from(["stt", "llm", "tts"]), st.booleans()),
    ),
    on_outage=st.sampled_from(["hold", "skip", "degraded"]),
)
def test_a_hold_always_has_a_reason_and_a_dial_never(
    now: Circumstances, on_outage: OnOutage
) -> None:
    verdict = judge_dial_now(now, on_outage=on_outage)
    all_well = all(now.usable.values())

    assert (verdict == GO) == (not verdict.reason)
    assert verdict.step != "dial" or all_well or on_outage == "degraded"
    assert verdict.step != "dial" or (not now.tripped and now.seats > 0)
    assert verdict.step != "skip" or (not all_well and on_outage == "skip")


NOON = 1_800_014_400.0
CONSENT = CallConsent(kind="written", given_on="2026-11-01", source="form 7")
ADA = Contact(
    id=1, campaign="spring", number="+442079460000", zones=("Europe/London",), consent=CONSENT
)
SPRING = Campaign(name="spring")

CASES = {
    "with consent": (SPRING, ADA, NOON),
    "without consent": (SPRING, replace(ADA, consent=None), "no_consent"),
    "without consent where none is needed": (
        replace(SPRING, consent_required=False),
        replace(ADA, consent=None),
        NOON,
    ),
    "with a prefix": (replace(SPRING, prefixes=("+1", "+44")), ADA, NOON),
    "with another prefix": (
        replace(SPRING, prefixes=("+1", "+49")),
        ADA,
        "prefix_not_allowed",
    ),
    "in zones without a common hour": (
        SPRING,
        replace(ADA, zones=("Europe/Kaliningrad", "Asia/Kamchatka", "America/New_York")),
        "no_common_hour",
    ),
    "in no zone that is known": (SPRING, replace(ADA, zones=()), "no_zone"),
    "in the night": (SPRING, replace(ADA, zones=("America/Los_Angeles",)), NOON + 4 * 3600),
}


@pytest.mark.parametrize(("campaign", "contact", "opens"), CASES.values(), ids=CASES)
def test_a_contact_is_callable_only_under_the_rules(
    campaign: Campaign, contact: Contact, opens: float | str
) -> None:
    assert contact_opens_s(campaign, contact, NOON) == opens


LARGE = CampaignTurn(name="large", calls_now=0, concurrent=20, claimed_s=1.0)
SMALL = CampaignTurn(name="small", calls_now=0, concurrent=2, claimed_s=2.0)


def test_the_campaign_with_the_smallest_share_of_its_limit_is_first() -> None:
    assert order_of_turns([replace(LARGE, calls_now=9), replace(SMALL, calls_now=1)]) == [
        "large",
        "small",
    ]
    assert order_of_turns([replace(LARGE, calls_now=11), replace(SMALL, calls_now=1)]) == [
        "small",
        "large",
    ]


def test_among_equals_the_longest_wait_is_first() -> None:
    assert order_of_turns([SMALL, LARGE]) == ["large", "small"]
    assert order_of_turns([replace(LARGE, claimed_s=3.0), SMALL]) == ["small", "large"]


def test_eleven_places_are_shared_in_proportion_to_campaign_size() -> None:
    turns = {"large": LARGE, "small": SMALL}
    for place in range(11):
        name = order_of_turns(turns.values())[0]
        one = turns[name]
        turns[name] = replace(one, calls_now=one.calls_now + 1, claimed_s=10.0 + place)

    assert Counter({name: one.calls_now for name, one in turns.items()}) == {
        "large": 10,
        "small": 1,
    }
