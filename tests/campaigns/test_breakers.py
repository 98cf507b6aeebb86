"""A campaign's own breaker: what trips and resets it."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.outbound import Dial
from campaigns.breakers import CampaignBreaker, WatchedCarrier
from tests.kit.dials import confirmed
from transports.dialling import CarrierError, DialRefusedError, DialRequest, FoundCall


def test_consecutive_failures_trip_the_campaign_breaker_once() -> None:
    breaker = CampaignBreaker(limit=3)

    said = [breaker.note(ours=True, reached=False) for _ in range(5)]

    assert said == [False, False, True, False, False]
    assert breaker.tripped


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


REQUEST = DialRequest(dial_id="d", to="+15005550101", campaign="c", confirm=confirmed)
DIAL = Dial(
    id="d",
    campaign="c",
    contact_id=1,
    number="+15005550101",
    attempt=1,
    holder="another",
    lease_until_s=0.0,
    intended_s=100.0,
    provider_call_id="CA1",
)


@dataclass
class OneAnswer:
    """A carrier with one answer to all requests."""

    raises: CarrierError | None = None
    since_s: list[float] = field(default_factory=list)

    async def dial(self, request: DialRequest) -> str:
        if self.raises:
            raise self.raises
        return "CA1"

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        self.since_s.append(since_s)
        if self.raises:
            raise self.raises
        return None


@dataclass
class OneAnswerRecalled(OneAnswer):
    """A carrier that must be told its own ids."""

    recalled: dict[str, str] = field(default_factory=dict)

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        self.recalled[dial_id] = provider_call_id


async def test_a_carrier_is_down_from_an_unanswered_request_until_an_answered_one() -> None:
    carrier = OneAnswer(raises=CarrierError("no answer"))
    watched = WatchedCarrier(carrier)

    with pytest.raises(CarrierError):
        await watched.dial(REQUEST)
    after_silence = watched.down
    carrier.raises = None
    await watched.find(DIAL)

    assert after_silence == "carrier_unreachable"
    assert watched.down == ""
    assert carrier.since_s == [99.0]


async def test_an_unanswered_status_request_shows_that_the_carrier_is_down_too() -> None:
    watched = WatchedCarrier(OneAnswer(raises=CarrierError("no answer")))

    with pytest.raises(CarrierError):
        await watched.find(DIAL)

    assert watched.down == "carrier_unreachable"


async def test_a_refused_number_is_an_answer() -> None:
    carrier = OneAnswer(raises=CarrierError("no answer"))
    watched = WatchedCarrier(carrier)
    with pytest.raises(CarrierError):
        await watched.dial(REQUEST)

    carrier.raises = DialRefusedError("not a number")
    with pytest.raises(DialRefusedError):
        await watched.dial(REQUEST)

    assert watched.down == ""


def test_a_carrier_that_cannot_look_up_our_id_is_asked_by_its_own() -> None:
    carrier = OneAnswerRecalled()

    WatchedCarrier(carrier).recall(DIAL)

    assert carrier.recalled == {"d": "CA1"}
