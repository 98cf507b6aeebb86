"""A campaign's own breaker: what trips and resets it."""

from hypothesis import given
from hypothesis import strategies as st

from campaigns.breakers import CampaignBreaker


def test_consecutive_failures_trip_the_campaign_breaker_once() -> None:
    breaker = CampaignBreaker(limit=3)

    said = [breaker.note(ours=True, reached=False) for _ in range(5)]

    assert said == [False, False, True, False, False]
    assert breaker.tripped


def test_a_talk_in_between_resets_the_count() -> None:
    breaker = CampaignBreaker(limit=2)

    breaker.note(ours=True, reached=False)
    breaker.note(ours=False, reached=True)

    assert not breaker.note(ours=True, reached=False)


def test_unreached_contacts_do_not_count() -> None:
    breaker = CampaignBreaker(limit=2)

    breaker.note(ours=True, reached=False)
    breaker.note(ours=False, reached=False)

    assert breaker.note(ours=True, reached=False)


def test_a_call_that_began_earlier_does_not_reset_the_count() -> None:
    breaker = CampaignBreaker(limit=1)
    breaker.note(ours=True, reached=False)

    breaker.note(ours=False, reached=True)

    assert breaker.tripped
    breaker.reset()
    assert not breaker.tripped


@given(st.lists(st.sampled_from(["ours", "reached", "away"]), max_size=40), st.integers(1, 5))
def test_only_a_run_of_our_own_failures_up_to_the_limit_trips_the_campaign_breaker(
    dials: list[str], limit: int
) -> None:
    breaker = CampaignBreaker(limit=limit)
    for number, each in enumerate(dials, start=1):
        if breaker.note(ours=each == "ours", reached=each == "reached"):
            told = [one for one in dials[:number] if one != "away"]
            assert told[-limit:] == ["ours"] * limit
            return
    longest = max(map(len, "".join(dial[0] for dial in dials if dial != "away").split("r")))
    assert longest < limit
