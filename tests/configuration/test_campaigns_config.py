"""A campaign in the configuration; a mistake in it is one clear line."""

import pytest

from calls.outbound import DialOutcome
from campaigns.model import CallingWindow, Campaign, RetryRule, campaign_of
from tests.configuration.reading import read, refused

WHOLE = """
agents: {sales: {}}
campaigns:
  spring:
    agent: sales
    goals: ["find a date"]
    prefixes: [+49, "+43"]
    region: NO
    daily_calls: 500
    daily_spend: 40
    window: {begin: 09:00, end: 18:30, days: [mon, sat]}
    attempts: 2
    retry: {busy: {rest_s: 60}, voicemail: {}, no_answer: {again: false, counts: false}}
    on_outage: skip
"""


def test_a_campaign_has_the_configured_values() -> None:
    settings = read(WHOLE).settings.campaigns["spring"]

    campaign = campaign_of("spring", settings)

    assert (campaign.name, campaign.agent, campaign.goals) == ("spring", "sales", ("find a date",))
    assert (campaign.prefixes, campaign.region) == (("+49", "+43"), "NO")
    assert (campaign.daily_calls, campaign.daily_spend) == (500, 40.0)
    assert campaign.window == CallingWindow(
        opens_s=9 * 3600.0, closes_s=18.5 * 3600.0, days=frozenset({0, 5})
    )
    assert (campaign.attempts, campaign.on_outage) == (2, "skip")
    assert campaign.retry == {
        DialOutcome.BUSY: RetryRule(again=True, rest_s=60.0),
        DialOutcome.VOICEMAIL: RetryRule(again=True),
        DialOutcome.NO_ANSWER: RetryRule(again=False, counts=False),
    }


def test_missing_keys_have_their_defaults() -> None:
    settings = read("campaigns: {spring: {}}").settings.campaigns["spring"]

    assert campaign_of("spring", settings) == Campaign(name="spring")


WRONG = {
    "no such agent": ("agent: sales", 'agent is "sales", which is not one of `agents`: none'),
    "no day": ("window: {days: []}", "window.days is empty; it must be a list of 1 or more"),
    "a day that is none": ("window: {days: [monday]}", "window.days[0]"),
    "an end before its begin": ('window: {begin: "21:00", end: "08:00"}', "must be before `end`"),
    "no time of day": ('window: {end: "25:00"}', "it must be a time of day such as 21:00"),
    "no zone": ("zone: Mars/Olympus", "it must be a time zone such as Europe/Berlin"),
    "no country": ("region: Germany", "it must be a country such as US or DE"),
    "a prefix without a country code": ('prefixes: ["030"]', 'such as "+49"'),
    "no attempts": ("attempts: 0", "attempts is 0; it must be at least 1"),
    "no pace": ("dials_per_minute: 0", "it must be more than 0"),
    "no money": ("daily_spend: -1", "it must be more than 0"),
    "an outcome that is never retried": ("retry: {completed: {}}", "retry.completed"),
    "an unknown key": ("rest: 5", "did you mean rest_s?"),
    "another way out": ("on_outage: wait", "'hold', 'skip' or 'degraded'"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_one_line_with_the_key_and_the_cure(text: str, says: str) -> None:
    (line,) = refused(f"campaigns:\n  spring:\n    {text}\n")

    assert "campaigns.spring" in line
    assert says in line


OUTBOUND = {
    "no country": ("countries: [Germany]", "countries[0]", "it must be a country such as US or DE"),
    "not the code": ("countries: [UK]", 'is "UK"', "it must be GB for the United Kingdom"),
    "a code that twenty countries share": ('prefixes: ["+1"]', 'is "+1"', "US, AG, AI, …"),
    "one that four share": ('prefixes: ["+44"]', 'is "+44"', "GB, GG, IM, …"),
    "half a country code": ('prefixes: ["+4"]', 'is "+4"', "a country in `countries`"),
    "a shape without a plus": ('denied: ["1...976"]', 'is "1...976"', 'such as "+1...976"'),
    "a shape of letters": ('denied: ["+1NPA976"]', 'is "+1NPA976"', "a dot stands for any digit"),
    "a class": ("cost_classes: [cheap]", "cost_classes[0]", "'premium'"),
    "no calls": ("hourly: 0", "hourly is 0", "at least 1"),
}


@pytest.mark.parametrize(("text", "held", "cure"), OUTBOUND.values(), ids=OUTBOUND)
def test_a_mistake_in_the_outbound_rules_is_one_line(text: str, held: str, cure: str) -> None:
    (line,) = refused(f"outbound:\n  {text}\n")

    assert "outbound." in line
    assert held in line
    assert cure in line


def test_the_outbound_rules_are_read_as_written() -> None:
    said = read(
        "outbound: {countries: [NO, DE], prefixes: [+4314, '+1876'], denied: ['+1...540', +1900]}"
    ).settings.outbound

    assert said.denied == ("+1...540", "+1900")
    assert (said.countries, said.prefixes) == (("NO", "DE"), ("+4314", "+1876"))
