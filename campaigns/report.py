"""What came of a campaign, for its owner: key figures, a table of outcomes, a line a contact."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from campaigns.key_figures import KeyFigures
from campaigns.store.dial_costs import DialCosts
from campaigns.store.figures import ContactFigures, OutcomeFigures
from campaigns.store.office import CampaignStanding
from campaigns.troubles import HouseFigures
from operations.csv_cells import safe_cell

COLUMNS: Final = (
    "number",
    "name",
    "state",
    "outcome",
    "attempts",
    "dials",
    "length_s",
    "carrier_cost",
    "providers_cost",
    "cost",
    "cost_lacks",
    "last_at",
)
NONE: Final = "–"  # noqa: RUF001 - for people
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; color: #222 }
table { border-collapse: collapse; width: 100%; margin: 1em 0 }
th, td { text-align: left; padding: .3em .6em; border-bottom: 1px solid #ddd }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.bar { background: #4a7ebb; height: .8em; min-width: 1px }
"""


async def contact_lines(contacts: AsyncIterator[ContactFigures]) -> AsyncIterator[str]:
    """Return the lines of a CSV file, its header first; nothing in it is a formula."""
    yield _csv_line(COLUMNS)
    async for each in contacts:
        yield _csv_line(
            (
                safe_cell(each.number),
                safe_cell(each.name),
                each.state,
                each.outcome,
                str(each.attempts),
                str(each.dials),
                f"{each.length_s:.1f}",
                _amount(each.costs.carrier, each.costs.carrier_owed),
                _amount(each.costs.providers, each.costs.providers_owed + each.costs.unpriced),
                _amount(each.costs.total, _lacking(each.costs)),
                lacks(each.costs),
                _moment(each.last_s),
            )
        )


def page(
    standing: CampaignStanding, figures: KeyFigures, outcomes: Sequence[OutcomeFigures], now: float
) -> str:
    """Return an HTML page that needs nothing beside it."""
    title = f"Campaign {escape(standing.name)}"
    reason = f": {escape(standing.reason)}" if standing.reason else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1>"
        f"<p>{escape(standing.state)}{reason} · {_moment(now)}</p>"
        f"<table>{''.join(_figure_rows(figures))}</table>"
        "<h2>Outcomes</h2><table><tr><th>outcome</th>"
        '<th class="number">dials</th><th></th><th class="number">mean length</th>'
        '<th class="number">carrier</th><th class="number">providers</th>'
        '<th class="number">cost</th><th class="number">cost a dial</th><th>not in it</th></tr>'
        f"{''.join(_outcome_rows(outcomes))}</table></html>\n"
    )


def figure_lines(figures: KeyFigures) -> Sequence[tuple[str, str]]:
    """Return each key figure's name and its value, for people."""
    costs, lacking = figures.costs, lacks(figures.costs)
    least = "at least " if lacking else ""
    return (
        ("contacts", f"{figures.finished} of {figures.contacts} finished"),
        ("dials", str(figures.dials)),
        ("success rate", _percent(figures.success_rate)),
        ("retry rate", _percent(figures.retry_rate)),
        ("our own faults", _percent(figures.own_fault_rate)),
        ("abandoned calls", f"{figures.abandoned} ({_percent(figures.abandoned_rate)})"),
        ("seconds OPEN", _seconds(figures.house.open_s)),
        ("time to recover", _recovery(figures.house)),
        ("alerts an hour", _rate(figures.house)),
        ("talked", f"{figures.length_s / 60:.1f} min"),
        ("carrier's part", _money(costs.carrier)),
        ("providers' part", _money(costs.providers)),
        ("cost", f"{_money(costs.total)} ({lacking})" if lacking else _money(costs.total)),
        ("cost a contact", least + _money(figures.cost_per_contact)),
        ("cost a success", least + _money(figures.cost_per_success)),
    )


def lacks(costs: DialCosts) -> str:
    """Return what is not in a sum, in words; empty: nothing."""
    counts = {
        "without the carrier's price": costs.carrier_owed,
        "without the providers' part": costs.providers_owed,
        "unpriced": costs.unpriced,
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _seconds(span_s: float | None) -> str:
    return NONE if span_s is None else f"{span_s:.1f} s"


def _recovery(house: HouseFigures) -> str:
    lasting = f" ({house.incidents_open} not over)" if house.incidents_open else ""
    return _seconds(house.mttr_s) + lasting


def _rate(house: HouseFigures) -> str:
    per_hour = house.alerts_per_hour
    return NONE if per_hour is None else f"{per_hour:.1f} ({house.alerts} in all)"


def _figure_rows(figures: KeyFigures) -> Iterable[str]:
    for name, value in figure_lines(figures):
        yield f'<tr><th>{name}</th><td class="number">{value}</td></tr>'


def _outcome_rows(outcomes: Sequence[OutcomeFigures]) -> Iterable[str]:
    most = max((each.dials for each in outcomes), default=1)
    for each in outcomes:
        numbers = (
            f"{each.length_s / each.dials:.1f} s",
            _money(each.costs.carrier),
            _money(each.costs.providers),
            _money(each.cost),
            _money(each.cost / each.dials),
        )
        cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
        bar = f'<div class="bar" style="width: {100 * each.dials / most:.0f}%"></div>'
        name = escape(each.outcome)
        lacking = f"<td>{lacks(each.costs)}</td>"
        head = f'<td>{name}</td><td class="number">{each.dials}</td><td>{bar}</td>'
        yield f"<tr>{head}{cells}{lacking}</tr>"


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.1f} %"


def _money(amount: float | None) -> str:
    return NONE if amount is None else f"{amount:.4f}"


def _amount(amount: float, lacking: int) -> str:
    """Return a sum for a spreadsheet; empty: all of it is lacking."""
    return "" if lacking and not amount else f"{amount:.4f}"


def _lacking(costs: DialCosts) -> int:
    return costs.carrier_owed + costs.providers_owed + costs.unpriced


def _moment(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
