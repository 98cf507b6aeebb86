"""The report of a campaign: key figures, a table of outcomes, and a CSV line for each contact."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from html import escape
from operator import add
from pathlib import Path
from typing import Final, TypeAlias

from calls.outbound import DialOutcome
from calls.sentences import HELD, OUTCOMES, phrase
from campaigns.store.dials import DialCosts
from campaigns.store.figures import (
    CampaignStanding,
    ContactFigures,
    OpenSpell,
    OutcomeFigures,
    ReachedContacts,
)
from operations.csv_cells import safe_cell
from operations.moments import for_people, iso
from operations.notify.alert import Alert

PAUSE_S: Final = 900.0  # chosen: longer than the rest after a busy number
HOUR_S: Final = 3_600.0
UNHEARD: Final = "unheard"  # `how` of an alert that was closed without knowing when it ended

Span: TypeAlias = tuple[float, float]
"""Start and end, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignHealth:
    """The health of the worker pool while a campaign called.

    A campaign called during its dials, and during pauses of at most `PAUSE_S` between them, so
    nights and days off are not counted. Breakers and alerts are those of the whole worker pool.

    Attributes:
        open_s: How long breakers were open, summed over the rungs; a rung counts while its breaker
            was open in any process. `None` if the campaign never called.
        mttr_s: Mean time to recover of the incidents that began in that time and whose end is
            known; `None` if there are none.
        incidents_open: Incidents that began in that time and have not ended.
        alerts: Alerts about incidents of that time that operators received.
        called_s: How long the campaign called.
    """

    open_s: float | None = None
    mttr_s: float | None = None
    incidents_open: int = 0
    alerts: int = 0
    called_s: float = 0.0

    @property
    def alerts_per_hour(self) -> float | None:
        """Alerts per hour in which the campaign called; `None` if it never did."""
        return self.alerts * HOUR_S / self.called_s if self.called_s else None


def spans_of(dials: Iterable[Span]) -> Sequence[Span]:
    """Return the spans in which a campaign called, from the spans of its dials."""
    return _merge_spans(dials, PAUSE_S)


def campaign_health(
    spans: Sequence[Span], spells: Iterable[OpenSpell], alerts: Iterable[Alert]
) -> CampaignHealth:
    """Return the worker pool's health in these spans, which must not overlap.

    Incidents and alerts count if they began within a span; breakers by the time within one.
    """
    if not spans:
        return CampaignHealth()
    began = [
        alert
        for alert in alerts
        if any(begin_s <= alert.began_s <= end_s for begin_s, end_s in spans)
    ]
    recovery_s = [
        alert.lasted_s for alert in began if alert.ended_s is not None and alert.how != UNHEARD
    ]
    return CampaignHealth(
        open_s=open_s(spells, spans),
        mttr_s=sum(recovery_s) / len(recovery_s) if recovery_s else None,
        incidents_open=sum(alert.ended_s is None for alert in began),
        alerts=sum(alert.revision > 0 for alert in began),
        called_s=sum(end_s - begin_s for begin_s, end_s in spans),
    )


def open_s(spells: Iterable[OpenSpell], spans: Sequence[Span]) -> float:
    """Return how long breakers were open in these spans; overlaps of one rung count once."""
    rungs: dict[tuple[str, str], list[Span]] = {}
    for spell in spells:
        # A spell without a recorded end counts until its process was last seen.
        ended_s = spell.seen_s if spell.ended_s is None else spell.ended_s
        if ended_s is not None and ended_s > spell.began_s:
            rungs.setdefault((spell.stage, spell.provider), []).append((spell.began_s, ended_s))
    return sum(
        max(0.0, min(closed_s, end_s) - max(opened_s, begin_s))
        for rung_spans in rungs.values()
        for opened_s, closed_s in _merge_spans(rung_spans, 0.0)
        for begin_s, end_s in spans
    )


def _merge_spans(spans: Iterable[Span], pause_s: float) -> Sequence[Span]:
    """Return the spans in order; those at most `pause_s` apart become one."""
    merged: list[Span] = []
    for began_s, ended_s in sorted(spans):
        if merged and began_s <= merged[-1][1] + pause_s:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ended_s))
        else:
            merged.append((began_s, max(began_s, ended_s)))
    return merged


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigures:
    """Key figures of a campaign; a rate or a mean is `None` if its denominator is 0."""

    contacts: int
    finished: int
    dials: int
    success_rate: float | None  # contacts with a completed call, as a share of those dialled
    retry_rate: float | None  # dials that were not the first of their contact, of all dials
    own_fault_rate: float | None  # dials that failed for our own reasons, of all dials
    abandoned: int  # calls that the callee ended before the agent's first answer
    abandoned_rate: float | None  # of the dials with a call on our side
    length_s: float  # in all
    costs: DialCosts
    cost_per_contact: float | None  # per dialled contact
    cost_per_success: float | None
    pool: CampaignHealth


def key_figures(
    standing: CampaignStanding,
    outcomes: Iterable[OutcomeFigures],
    *,
    reached: ReachedContacts,
    pool: CampaignHealth,
) -> KeyFigures:
    """Return the key figures of a campaign, from its contacts and all settled dials.

    Refused dials do not count as dials, since the carrier was not asked. Costs are of all outcomes.
    """
    rows = list(outcomes)
    dials = sum(row.dials for row in rows if row.outcome != DialOutcome.REFUSED)
    costs = reduce(add, (row.costs for row in rows), DialCosts())
    failed = sum(row.dials for row in rows if row.outcome == DialOutcome.AGENT_FAILED)
    return KeyFigures(
        contacts=sum(standing.contacts.values()),
        finished=standing.contacts.get("done", 0) + standing.contacts.get("excluded", 0),
        dials=dials,
        success_rate=share_of(reached.completed, reached.dialled),
        retry_rate=share_of(max(0, dials - reached.dialled), dials),
        own_fault_rate=share_of(failed, dials),
        abandoned=reached.abandoned,
        abandoned_rate=share_of(reached.abandoned, reached.talked),
        length_s=sum(row.length_s for row in rows),
        costs=costs,
        cost_per_contact=share_of(costs.total, reached.dialled),
        cost_per_success=share_of(costs.total, reached.completed),
        pool=pool,
    )


def share_of(part: float, whole: float) -> float | None:
    """Return the share; `None` if the whole is 0."""
    return part / whole if whole else None


COLUMNS: Final = (
    "number",
    "name",
    "state",
    "reason",
    "outcome",
    "attempts",
    "dials",
    "length_s",
    "carrier_cost",
    "providers_cost",
    "cost",
    "cost_lacks",
    "last_at",
    "currency",
)
NONE: Final = "–"  # noqa: RUF001 - shown to people
PAGE: Final = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")


async def contact_lines(
    contacts: AsyncIterator[ContactFigures], *, currency: str = ""
) -> AsyncIterator[str]:
    """Yield the lines of a CSV file, header first; no cell can become a spreadsheet's formula."""
    yield _csv_line(COLUMNS)
    async for contact in contacts:
        yield _csv_line(
            (
                safe_cell(contact.number),
                safe_cell(contact.name),
                contact.state,
                contact.reason,
                contact.outcome,
                str(contact.attempts),
                str(contact.dials),
                f"{contact.length_s:.1f}",
                _format_amount(contact.costs.carrier, contact.costs.carrier_owed),
                _format_amount(
                    contact.costs.providers, contact.costs.providers_owed + contact.costs.unpriced
                ),
                _format_amount(contact.costs.total, _missing_prices(contact.costs)),
                missing_costs(contact.costs),
                iso(contact.last_s, "seconds"),
                safe_cell(currency),
            )
        )


def page(
    standing: CampaignStanding,
    figures: KeyFigures,
    outcomes: Sequence[OutcomeFigures],
    now: float,
    *,
    currency: str = "",
) -> str:
    """Return the report as a self-contained HTML page; all texts from outside are escaped."""
    reason = f": {escape(phrase(HELD, standing.reason))}" if standing.reason else ""
    return PAGE.format(
        title=f"Campaign {escape(standing.name)}",
        state=escape(standing.state) + reason,
        at=for_people(now),
        figures="".join(_figure_rows(figures, currency)),
        outcomes="".join(_outcome_rows(outcomes, currency)),
    )


def figure_lines(figures: KeyFigures, *, currency: str = "") -> Sequence[tuple[str, str]]:
    """Return the name and the formatted value of each key figure."""
    costs, lacking = figures.costs, missing_costs(figures.costs)
    least = "at least " if lacking else ""
    return (
        ("contacts", f"{figures.finished} of {figures.contacts} finished"),
        ("dials", str(figures.dials)),
        ("success rate", _format_percent(figures.success_rate)),
        ("retry rate", _format_percent(figures.retry_rate)),
        ("failures on our side", _format_percent(figures.own_fault_rate)),
        ("abandoned calls", f"{figures.abandoned} ({_format_percent(figures.abandoned_rate)})"),
        ("breakers open", _format_seconds(figures.pool.open_s)),
        ("time to recover", _format_recovery(figures.pool)),
        ("alerts per hour", _format_alert_rate(figures.pool)),
        ("talked", f"{figures.length_s / 60:.1f} min"),
        ("carrier cost", _format_money(costs.carrier, currency)),
        ("provider cost", _format_money(costs.providers, currency)),
        ("cost", _format_money(costs.total, currency) + (f" ({lacking})" if lacking else "")),
        ("cost per contact", least + _format_money(figures.cost_per_contact, currency)),
        ("cost per success", least + _format_money(figures.cost_per_success, currency)),
    )


def missing_costs(costs: DialCosts) -> str:
    """Return in words which costs are missing from a sum; empty if it is complete."""
    counts = {
        "without the carrier's price": costs.carrier_owed,
        "without provider costs": costs.providers_owed,
        "unpriced": costs.unpriced,
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _format_seconds(span_s: float | None) -> str:
    return NONE if span_s is None else f"{span_s:.1f} s"


def _format_recovery(pool: CampaignHealth) -> str:
    lasting = f" ({pool.incidents_open} open)" if pool.incidents_open else ""
    return _format_seconds(pool.mttr_s) + lasting


def _format_alert_rate(pool: CampaignHealth) -> str:
    per_hour = pool.alerts_per_hour
    return NONE if per_hour is None else f"{per_hour:.1f} ({pool.alerts} in all)"


def _figure_rows(figures: KeyFigures, currency: str) -> Iterable[str]:
    for name, value in figure_lines(figures, currency=currency):
        yield f'<tr><th>{name}</th><td class="number">{escape(value)}</td></tr>'


def _outcome_rows(outcomes: Sequence[OutcomeFigures], currency: str) -> Iterable[str]:
    """Yield a row of HTML for each outcome: dials with a bar, mean length, costs."""
    most = max((outcome.dials for outcome in outcomes), default=1)
    for outcome in outcomes:
        numbers = (
            f"{outcome.length_s / outcome.dials:.1f} s",
            escape(_format_money(outcome.costs.carrier, currency)),
            escape(_format_money(outcome.costs.providers, currency)),
            escape(_format_money(outcome.cost, currency)),
            escape(_format_money(outcome.cost / outcome.dials, currency)),
        )
        cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
        bar = f'<div class="bar" style="width: {100 * outcome.dials / most:.0f}%"></div>'
        name = escape(phrase(OUTCOMES, outcome.outcome))
        lacking = f"<td>{missing_costs(outcome.costs)}</td>"
        head = f'<td>{name}</td><td class="number">{outcome.dials}</td><td>{bar}</td>'
        yield f'<tr data-outcome="{outcome.outcome}">{head}{cells}{lacking}</tr>'


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _format_percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.1f} %"


def _format_money(amount: float | None, currency: str) -> str:
    return NONE if amount is None else f"{amount:.4f} {currency}".rstrip()


def _format_amount(amount: float, lacking: int) -> str:
    """Return a sum for a spreadsheet; empty if no part of it is known."""
    return "" if lacking and not amount else f"{amount:.4f}"


def _missing_prices(costs: DialCosts) -> int:
    return costs.carrier_owed + costs.providers_owed + costs.unpriced
