"""How long a campaign may still take: by its pace so far, its hours, its limits and who is left.

It is an estimate, for people. The pace is that of the last dials, and never more than the owner
allows. From now on the campaign dials at that pace whoever is awake, day by day, and stops where a
limit of the day stops it. Nothing is said before some dials have ended: there is nothing to go by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from campaigns.model import Campaign
from campaigns.window import next_day_s, opens_s

OPEN_STATES: Final = ("waiting", "dialling", "resting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a campaign has come."""

    contacts: int
    finished: int
    dials: int

    @property
    def left(self) -> int:
        """Return how many contacts are still to be called."""
        return self.contacts - self.finished


def progress_of(*, contacts: Mapping[str, int], outcomes: Mapping[str, int]) -> Progress:
    """Return how far a campaign has come.

    Args:
        contacts: How many in each state.
        outcomes: How many settled dials of each outcome.
    """
    open_ones = sum(contacts.get(open_state, 0) for open_state in OPEN_STATES)
    every = sum(contacts.values())
    return Progress(contacts=every, finished=every - open_ones, dials=sum(outcomes.values()))


FEWEST: Final = 5  # settled dials: chosen, of fewer nothing can be told
GAP_S: Final = 600.0  # chosen: a longer one is a pause or a night, which is no pace
STEP_S: Final = 3600.0  # most hours of business begin with one
MOST_S: Final = 14 * 24 * 3600.0
GROUPS: Final = 4  # of contacts with the same zones: chosen, the others go with the largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Remainder:
    """What a campaign still has before it, and how it has been going.

    Attributes:
        contacts: Still to be called, or to be called again.
        finished: Contacts that are not.
        dials: Settled ones.
        cost: Of all of these together, as far as prices are known.
        intended_s: When the last dials were intended, the oldest first.
        zones: How many contacts of a sample may be in which zones, with spaces between them.
        last_due_s: Before this moment somebody may not be called.
    """

    contacts: int
    finished: int = 0
    dials: int = 0
    cost: float = 0.0
    calls_today: int = 0
    spent_today: float = 0.0
    intended_s: Sequence[float] = ()
    zones: Mapping[str, int]
    last_due_s: float | None = None


def estimate_left_s(campaign: Campaign, rest: Remainder, *, now: float) -> float | None:
    """Return how long it may still take.

    Returns:
        `MOST_S`: that long or longer. None: nothing is left, or there is nothing to go by.
    """
    pace = dials_a_second(campaign, rest.intended_s, now=now)
    if not rest.contacts or pace is None or rest.dials < FEWEST:
        return None
    queue = _groups(rest)
    done_s = _dial_all(campaign, rest, queue, pace=pace, now=now)
    if done_s is None:
        return None
    left_s = max(done_s, rest.last_due_s or 0.0) - now
    return round(min(left_s, MOST_S), 1)


def dials_a_second(campaign: Campaign, intended_s: Sequence[float], *, now: float) -> float | None:
    """Return the pace of the last dials; None: there were too few."""
    if len(intended_s) < FEWEST:
        return None
    gaps = [later - earlier for earlier, later in pairwise((*intended_s, max(now, intended_s[-1])))]
    took_s = sum(min(gap, GAP_S) for gap in gaps)
    allowed = campaign.dials_per_minute / 60.0
    return min(allowed, len(intended_s) / took_s) if took_s > 0.0 else allowed


def _groups(rest: Remainder) -> dict[str, float]:
    """Return how many dials are to be made in which zones."""
    each_takes = max(1.0, rest.dials / rest.finished) if rest.finished else 1.0
    largest = sorted(rest.zones.items(), key=lambda one: -one[1])[:GROUPS] or [("", 1)]
    seen = sum(count for _, count in largest)
    return {zones: rest.contacts * each_takes * count / seen for zones, count in largest}


def _dial_all(
    campaign: Campaign, rest: Remainder, queue: dict[str, float], *, pace: float, now: float
) -> float | None:
    """Return when the last dial is made; None: some may never be."""
    a_day = _dials_of_day(campaign, rest)
    today = _dials_of_day(campaign, rest, calls=rest.calls_today, spent=rest.spent_today)
    midnight_s, moment = next_day_s(campaign.zone, now=now), now
    asleep = dict.fromkeys(queue, 0.0)
    while moment < now + MOST_S:
        if moment >= midnight_s:
            midnight_s, today = next_day_s(campaign.zone, now=moment), a_day
        until = min((moment // STEP_S + 1.0) * STEP_S, midnight_s)
        awake = _awake(campaign, queue, asleep, moment)
        made = min(pace * (until - moment), today, sum(queue[text] for text in awake))
        _take(queue, awake, made)
        today -= made
        if not queue:
            return moment + made / pace if made else None
        moment = until
    return now + MOST_S


def _awake(
    campaign: Campaign, queue: dict[str, float], asleep: dict[str, float], moment: float
) -> list[str]:
    """Return whose hours are open; whoever never has any leaves the queue."""
    awake: list[str] = []
    for zones in list(queue):
        if moment < asleep[zones]:
            continue
        opens = opens_s(zones.split(), campaign.window, now=moment)
        if opens is None:
            del queue[zones]
        elif opens <= moment:
            awake.append(zones)
        else:
            asleep[zones] = opens
    return awake


def _take(queue: dict[str, float], awake: Sequence[str], made: float) -> None:
    """Subtract so many dials from the queues of those who are awake, each its share."""
    whole = sum(queue[text] for text in awake)
    for text in awake:
        queue[text] -= made * queue[text] / whole
        if queue[text] <= 1e-6:
            del queue[text]


def _dials_of_day(
    campaign: Campaign, rest: Remainder, *, calls: int = 0, spent: float = 0.0
) -> float:
    """Return how many dials a day's limits allow behind what it has had."""
    allowed = float("inf")
    if campaign.daily_calls is not None:
        allowed = max(0.0, campaign.daily_calls - calls)
    if campaign.daily_spend is not None and rest.cost and rest.dials:
        allowed = min(allowed, max(0.0, campaign.daily_spend - spent) * rest.dials / rest.cost)
    return allowed
