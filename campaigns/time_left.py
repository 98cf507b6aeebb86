"""Estimates how long a campaign may still take.

The estimate assumes the pace of the last dials, but at most the configured pace. It simulates the
campaign hour by hour: contacts within their calling hours are dialled at that pace, up to the daily
limits. There is no estimate before a few dials have ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from campaigns.model import Campaign
from campaigns.window import next_day_s, opens_s

UNFINISHED_STATES: Final = ("waiting", "dialling", "resting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a campaign."""

    contacts: int
    finished: int
    dials: int

    @property
    def left(self) -> int:
        """How many contacts are not finished."""
        return self.contacts - self.finished


def progress_of(*, contacts: Mapping[str, int], outcomes: Mapping[str, int]) -> Progress:
    """Return the progress of a campaign.

    Args:
        contacts: The number of contacts in each state.
        outcomes: The number of settled dials with each outcome.
    """
    unfinished = sum(contacts.get(state, 0) for state in UNFINISHED_STATES)
    total = sum(contacts.values())
    return Progress(contacts=total, finished=total - unfinished, dials=sum(outcomes.values()))


MIN_DIALS: Final = 5  # for an estimate, chosen: fewer do not show a pace
MAX_GAP_S: Final = 600.0  # chosen: a longer gap is a pause or a night, and counts as this long
STEP_S: Final = 3600.0  # calling hours usually begin on the hour
MAX_ESTIMATE_S: Final = 14 * 24 * 3600.0
# Chosen: the largest groups of contacts with the same zones; the others are spread over them.
MAX_GROUPS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Remainder:
    """What is left of a campaign, and its course so far.

    Attributes:
        contacts: How many contacts are still to be called.
        finished: How many other contacts there are.
        dials: How many dials are settled.
        cost: The total cost of these dials, as far as prices are known.
        intended_s: When the last dials were intended, the oldest first.
        zones: How many of the sampled contacts have the possible time zones in the key, which
            separates them by spaces.
        last_due_s: The latest due time of a contact.
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
    """Return how many seconds the campaign may still take.

    Returns:
        At most `MAX_ESTIMATE_S`, which means that long or longer. `None` if nothing is left to do,
        if there are too few dials for an estimate, or if the remaining contacts can never be
        called.
    """
    pace = dials_a_second(campaign, rest.intended_s, now=now)
    if not rest.contacts or pace is None or rest.dials < MIN_DIALS:
        return None
    queue = _dials_by_zones(rest)
    done_s = _dial_all(campaign, rest, queue, pace=pace, now=now)
    if done_s is None:
        return None
    left_s = max(done_s, rest.last_due_s or 0.0) - now
    return round(min(left_s, MAX_ESTIMATE_S), 1)


def dials_a_second(campaign: Campaign, intended_s: Sequence[float], *, now: float) -> float | None:
    """Return the pace of the last dials, at most the configured one; `None` for too few dials.

    The time since the last dial counts as well, so that the pace of a campaign that waits falls.
    """
    if len(intended_s) < MIN_DIALS:
        return None
    gaps = [later - earlier for earlier, later in pairwise((*intended_s, max(now, intended_s[-1])))]
    took_s = sum(min(gap, MAX_GAP_S) for gap in gaps)
    allowed = campaign.dials_per_minute / 60.0
    return min(allowed, len(intended_s) / took_s) if took_s > 0.0 else allowed


def _dials_by_zones(rest: Remainder) -> dict[str, float]:
    """Return the number of expected dials, by the contacts' possible time zones.

    A contact takes as many dials as the finished ones took on average, at least one. Only the
    `MAX_GROUPS` largest groups are returned; the others are counted in these, in proportion.
    """
    dials_each = max(1.0, rest.dials / rest.finished) if rest.finished else 1.0
    largest = sorted(rest.zones.items(), key=lambda item: -item[1])[:MAX_GROUPS] or [("", 1)]
    sampled = sum(count for _, count in largest)
    return {zones: rest.contacts * dials_each * count / sampled for zones, count in largest}


def _dial_all(
    campaign: Campaign, rest: Remainder, queue: dict[str, float], *, pace: float, now: float
) -> float | None:
    """Return when the last dial is made, at most in `MAX_ESTIMATE_S`; `None` if never.

    Consumes `queue`, in steps that end at full hours and at the campaign's midnight.
    """
    daily_limit = _dials_of_day(campaign, rest)
    left_today = _dials_of_day(campaign, rest, calls=rest.calls_today, spent=rest.spent_today)
    midnight_s, moment = next_day_s(campaign.zone, now=now), now
    opens_at = dict.fromkeys(queue, 0.0)
    while moment < now + MAX_ESTIMATE_S:
        if moment >= midnight_s:
            midnight_s, left_today = next_day_s(campaign.zone, now=moment), daily_limit
        until = min((moment // STEP_S + 1.0) * STEP_S, midnight_s)
        callable_now = _callable_groups(campaign, queue, opens_at, moment)
        waiting = sum(queue[zones] for zones in callable_now)
        made = min(pace * (until - moment), left_today, waiting)
        _subtract_dials(queue, callable_now, made)
        left_today -= made
        if not queue:
            # Without a dial, the last groups were removed because they can never be called.
            return moment + made / pace if made else None
        moment = until
    return now + MAX_ESTIMATE_S


def _callable_groups(
    campaign: Campaign, queue: dict[str, float], opens_at: dict[str, float], moment: float
) -> list[str]:
    """Return the groups that may be called now; remove those that never may from `queue`.

    The opening of a closed group is kept in `opens_at`, so that it is not computed in each step.
    """
    callable_now: list[str] = []
    for zones in list(queue):
        if moment < opens_at[zones]:
            continue
        opens = opens_s(zones.split(), campaign.window, now=moment)
        if opens is None:
            del queue[zones]
        elif opens <= moment:
            callable_now.append(zones)
        else:
            opens_at[zones] = opens
    return callable_now


def _subtract_dials(queue: dict[str, float], callable_now: Sequence[str], made: float) -> None:
    """Subtract `made` dials from the groups that may be called, in proportion to their size.

    A group without a rest is removed from `queue`.
    """
    total = sum(queue[zones] for zones in callable_now)
    for zones in callable_now:
        queue[zones] -= made * queue[zones] / total
        if queue[zones] <= 1e-6:  # rounding may leave a rest
            del queue[zones]


def _dials_of_day(
    campaign: Campaign, rest: Remainder, *, calls: int = 0, spent: float = 0.0
) -> float:
    """Return how many more dials the daily limits allow after these calls and costs.

    Infinite without limits. Spending is converted by the average cost of the dials so far.
    """
    allowed = float("inf")
    if campaign.daily_calls is not None:
        allowed = max(0.0, campaign.daily_calls - calls)
    if campaign.daily_spend is not None and rest.cost and rest.dials:
        allowed = min(allowed, max(0.0, campaign.daily_spend - spent) * rest.dials / rest.cost)
    return allowed
