"""What dials cost, added up in the database: the carrier's part, the providers', what is missing.

Nothing that is missing is guessed: it is counted, and said beside the sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, or_
from sqlalchemy.engine import Row

from calls.outbound import DialOutcome
from campaigns.store.unreported_dials import NO_AGENT
from operations.database.campaign_tables import DIALS

BILLED: Final = (DialOutcome.COMPLETED, DialOutcome.VOICEMAIL, DialOutcome.AGENT_FAILED)
"""Somebody picked up: what was not answered is not charged for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialCosts:
    """What some dials cost together, as far as it is known.

    Attributes:
        carrier: Of those whose price the carrier has said.
        providers: What was used in our side of those whose use is wholly priced.
        carrier_owed: Answered dials of which the carrier has not said the price.
        providers_owed: The same of which nothing is known of our side.
        unpriced: Of which a part of our side has no known price.
    """

    carrier: float = 0.0
    providers: float = 0.0
    carrier_owed: int = 0
    providers_owed: int = 0
    unpriced: int = 0

    @property
    def total(self) -> float:
        """Both parts, as far as they are known."""
        return self.carrier + self.providers

    def __add__(self, other: "DialCosts") -> "DialCosts":
        return DialCosts(
            carrier=self.carrier + other.carrier,
            providers=self.providers + other.providers,
            carrier_owed=self.carrier_owed + other.carrier_owed,
            providers_owed=self.providers_owed + other.providers_owed,
            unpriced=self.unpriced + other.unpriced,
        )


def picked_up() -> ColumnElement[bool]:
    """Return whether a dial is over that the carrier had, and that somebody answered."""
    billed = DIALS.c.outcome.in_([each.value for each in BILLED])
    return and_(
        DIALS.c.state == "settled",
        DIALS.c.provider_call_id != "",
        or_(DIALS.c.answered_s.is_not(None), billed),
    )


def cost_columns() -> Sequence[ColumnElement[Any]]:
    """Return what `read_costs` wants of a query that groups dials."""
    owed = picked_up()
    silent = and_(owed, DIALS.c.unpriced.is_(None), DIALS.c.reason != NO_AGENT)
    return (
        func.coalesce(func.sum(DIALS.c.cost), 0.0).label("carrier"),
        func.coalesce(func.sum(DIALS.c.providers_cost), 0.0).label("providers"),
        _count(and_(owed, DIALS.c.cost.is_(None))).label("carrier_owed"),
        _count(silent).label("providers_owed"),
        _count(DIALS.c.unpriced.is_(True)).label("unpriced"),
    )


def read_costs(row: Row[Any]) -> DialCosts:
    """Return the sums of a row."""
    return DialCosts(
        carrier=float(row.carrier),
        providers=float(row.providers),
        carrier_owed=int(row.carrier_owed),
        providers_owed=int(row.providers_owed),
        unpriced=int(row.unpriced),
    )


def _count(which: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((which, 1), else_=0)), 0)
