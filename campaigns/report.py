"""What came of a campaign, for its owner: key figures, a table of outcomes, a line a contact."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

from calls.outbound import DialOutcome
from campaigns.csv_export import safe_cell
from storage.campaign_figures import ContactFigures, OutcomeFigures, ReachedContacts
from storage.campaign_office import CampaignStanding

COLUMNS: Final = (
    "number",
    "name",
    "state",
    "outcome",
    "attempts",
    "dials",
    "length_s",
    "cost",
    "last_at",
)
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; color: #222 }
table { border-collapse: collapse; width: 100%; margin: 1em 0 }
th, td { text-align: left; padding: .3em .6em; border-bottom: 1px solid #ddd }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.bar { background: #4a7ebb; height: .8em; min-width: 1px }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigures:
    """The numbers by which a campaign is judged; a share of nothing is None."""

    contacts: int
    finished: int
    dials: int
    success_rate: float | None  # contacts with a completed call, of those that were dialled
    retry_rate: float | None  # dials that were not the first of their contact
    own_fault_rate: float | None  # dials that failed for our own reasons
    length_s: float
    cost: float
    cost_per_contact: float | None  # of those that were dialled
    cost_per_success: float | None


def key_figures(
    standing: CampaignStanding, outcomes: Iterable[OutcomeFigures], *, reached: ReachedContacts
) -> KeyFigures:
    """Return the key figures of a campaign, by its contacts and all its settled dials."""
    rows = list(outcomes)
    dials = sum(each.dials for each in rows if each.outcome != DialOutcome.REFUSED)
    cost = sum(each.cost for each in rows)
    failed = sum(each.dials for each in rows if each.outcome == DialOutcome.AGENT_FAILED)
    return KeyFigures(
        contacts=sum(standing.contacts.values()),
        finished=standing.contacts.get("done", 0) + standing.contacts.get("excluded", 0),
        dials=dials,
        success_rate=_share(reached.completed, reached.dialled),
        retry_rate=_share(max(0, dials - reached.dialled), dials),
        own_fault_rate=_share(failed, dials),
        length_s=sum(each.length_s for each in rows),
        cost=cost,
        cost_per_contact=_share(cost, reached.dialled),
        cost_per_success=_share(cost, reached.completed),
    )


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
                f"{each.cost:.4f}",
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
        '<th class="number">cost</th><th class="number">cost a dial</th></tr>'
        f"{''.join(_outcome_rows(outcomes))}</table></html>\n"
    )


def figure_lines(figures: KeyFigures) -> Sequence[tuple[str, str]]:
    """Return each key figure's name and its value, for people."""
    return (
        ("contacts", f"{figures.finished} of {figures.contacts} finished"),
        ("dials", str(figures.dials)),
        ("success rate", _percent(figures.success_rate)),
        ("retry rate", _percent(figures.retry_rate)),
        ("our own faults", _percent(figures.own_fault_rate)),
        ("talked", f"{figures.length_s / 60:.1f} min"),
        ("cost", _money(figures.cost)),
        ("cost a contact", _money(figures.cost_per_contact)),
        ("cost a success", _money(figures.cost_per_success)),
    )


def _figure_rows(figures: KeyFigures) -> Iterable[str]:
    for name, value in figure_lines(figures):
        yield f'<tr><th>{name}</th><td class="number">{value}</td></tr>'


def _outcome_rows(outcomes: Sequence[OutcomeFigures]) -> Iterable[str]:
    most = max((each.dials for each in outcomes), default=1)
    for each in outcomes:
        numbers = (
            f"{each.length_s / each.dials:.1f} s",
            _money(each.cost),
            _money(each.cost / each.dials),
        )
        cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
        bar = f'<div class="bar" style="width: {100 * each.dials / most:.0f}%"></div>'
        name = escape(each.outcome)
        yield f'<tr><td>{name}</td><td class="number">{each.dials}</td><td>{bar}</td>{cells}</tr>'


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"  # noqa: RUF001 - for people


def _money(amount: float | None) -> str:
    return "–" if amount is None else f"{amount:.4f}"  # noqa: RUF001 - for people


def _moment(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
