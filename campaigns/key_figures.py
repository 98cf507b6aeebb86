"""The numbers by which a campaign is judged: pure, of what the database has added up."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add

from calls.outbound import DialOutcome
from campaigns.store.dial_costs import DialCosts
from campaigns.store.figures import OutcomeFigures, ReachedContacts
from campaigns.store.office import CampaignStanding
from campaigns.troubles import HouseFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigures:
    """The numbers by which a campaign is judged; a share of nothing is None."""

    contacts: int
    finished: int
    dials: int
    success_rate: float | None  # contacts with a completed call, of those that were dialled
    retry_rate: float | None  # dials that were not the first of their contact
    own_fault_rate: float | None  # dials that failed for our own reasons
    abandoned: int  # calls that the person ended before they had heard one answer
    abandoned_rate: float | None  # of the calls with people and machines who picked up
    length_s: float
    costs: DialCosts
    cost_per_contact: float | None  # of those that were dialled
    cost_per_success: float | None
    house: HouseFigures


def key_figures(
    standing: CampaignStanding,
    outcomes: Iterable[OutcomeFigures],
    *,
    reached: ReachedContacts,
    house: HouseFigures,
) -> KeyFigures:
    """Return the key figures of a campaign, by its contacts and all its settled dials."""
    rows = list(outcomes)
    dials = sum(each.dials for each in rows if each.outcome != DialOutcome.REFUSED)
    costs = reduce(add, (each.costs for each in rows), DialCosts())
    failed = sum(each.dials for each in rows if each.outcome == DialOutcome.AGENT_FAILED)
    return KeyFigures(
        contacts=sum(standing.contacts.values()),
        finished=standing.contacts.get("done", 0) + standing.contacts.get("excluded", 0),
        dials=dials,
        success_rate=share(reached.completed, reached.dialled),
        retry_rate=share(max(0, dials - reached.dialled), dials),
        own_fault_rate=share(failed, dials),
        abandoned=reached.abandoned,
        abandoned_rate=share(reached.abandoned, reached.talked),
        length_s=sum(each.length_s for each in rows),
        costs=costs,
        cost_per_contact=share(costs.total, reached.dialled),
        cost_per_success=share(costs.total, reached.completed),
        house=house,
    )


def share(part: float, whole: float) -> float | None:
    """Return a part of a whole; of nothing there is none."""
    return part / whole if whole else None
