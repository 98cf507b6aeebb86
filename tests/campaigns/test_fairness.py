"""The order among campaigns that run at the same time."""

from collections import Counter
from dataclasses import replace

from campaigns.guard import CampaignTurn, order_of_turns

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
