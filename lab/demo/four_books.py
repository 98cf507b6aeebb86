"""Compares four records of a campaign, contact by contact.

They are the ledger in the database, the report made from it (a table and a page), the reports that
the CRM received, and the carrier's own record. The last two are written by other systems.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from calls.outbound import Dial, DialOutcome
from campaigns.store.dials import KEY, NO_AGENT, TALKED
from lab.callers import CarrierRest, RegisterSimulator
from lab.demo.staged import STATUS_OF, StagedContact, dial_id_of

ROW: Final = re.compile(r'<tr data-outcome="([a-z_]+)"><td>[^<]+</td><td class="number">(\d+)</td>')


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRecords:
    """The four records of one campaign.

    Attributes:
        dials: The ledger.
        rows: The report's table, by number.
        page: How many dials of each outcome the report's page has.
        told: The CRM's reports, by key.
    """

    dials: Sequence[Dial]
    rows: Mapping[str, Mapping[str, str]]
    page: Mapping[str, int]
    told: Mapping[str, Mapping[str, Any]]
    carrier: CarrierRest


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedContact:
    """What each record says about a contact, and the differences; empty if they agree."""

    number: str
    name: str
    ledger: str
    report: str
    register: str
    carrier: str
    differs: tuple[str, ...]

    @property
    def line(self) -> str:
        """The whole comparison as one line."""
        end = f"DIFFER: {'; '.join(self.differs)}" if self.differs else "agree"
        return (
            f"{self.number} {self.name:<6} ledger {self.ledger} | report {self.report} | "
            f"CRM {self.register} | carrier {self.carrier} | {end}"
        )


def read_books(
    folder: Path,
    campaign: str,
    *,
    dials: Sequence[Dial],
    register: RegisterSimulator,
    carrier: CarrierRest,
) -> CampaignRecords:
    """Return the records; the report is read from its files. Blocks."""
    with (folder / f"{campaign}.csv").open(encoding="utf-8", newline="") as file:
        # A number's plus would make it a formula in a spreadsheet, so it has an apostrophe.
        rows = {item["number"].lstrip("'"): item for item in csv.DictReader(file)}
    page = (folder / f"{campaign}.html").read_text(encoding="utf-8")
    return CampaignRecords(
        dials=dials,
        rows=rows,
        page={outcome: int(count) for outcome, count in ROW.findall(page)},
        told=register.book,
        carrier=carrier,
    )


def compare_page(books: CampaignRecords) -> tuple[str, ...]:
    """Return the differences between the report's page and the ledger; none if they agree."""
    counts = Counter(str(dial.outcome) for dial in books.dials)
    if counts == Counter(books.page):
        return ()
    return (f"the report's page has {dict(books.page)}, the ledger {dict(counts)}",)


def compare_contacts(
    books: CampaignRecords, contacts: Sequence[StagedContact]
) -> list[ComparedContact]:
    """Return the comparison for each contact; numbers that only other records have come last."""
    known = {contact.number: contact.name for contact in contacts}
    others = {number for _, number, _ in books.carrier.book} | set(books.rows)
    others |= {str(item["number"]) for item in books.told.values()}
    names = known | dict.fromkeys(sorted(others - known.keys()), "nobody")
    return [_compare_contact(books, number, name) for number, name in names.items()]


def _compare_contact(books: CampaignRecords, number: str, name: str) -> ComparedContact:
    """Compare what the four records say about one contact."""
    dials = sorted((dial for dial in books.dials if dial.number == number), key=_attempt_number)
    row = books.rows.get(number, {})
    reports = {
        key.removeprefix(KEY): report
        for key, report in books.told.items()
        if key.startswith(KEY) and report["number"] == number
    }
    placed = {dial_id_of(url): sid for sid, to, url in books.carrier.book if to == number}
    statuses = [books.carrier.exchange.placed[sid].status for sid in placed.values()]
    differs = (
        *_differences_to_report(dials, row),
        *_differences_to_crm_dials(dials, reports),
        *_differences_to_crm_calls(books, dials, number),
        *_differences_to_carrier(books.carrier, dials, placed),
    )
    return ComparedContact(
        number=number,
        name=name,
        ledger=_join_or_nothing(str(dial.outcome) for dial in dials),
        report=f"{row.get('outcome', 'nothing')} after {row.get('dials', '0')}",
        register=_join_or_nothing(str(report["outcome"]) for report in reports.values()),
        carrier=_join_or_nothing(statuses),
        differs=differs,
    )


def _differences_to_report(dials: Sequence[Dial], row: Mapping[str, str]) -> tuple[str, ...]:
    """Compare with the contact's row in the report's table."""
    if not dials or dials[-1].outcome is None:
        return ("the ledger has no outcome",)
    wanted = {
        "state": "done",
        "outcome": str(dials[-1].outcome),
        "dials": str(len(dials)),
        "length_s": f"{sum(dial.length_s or 0.0 for dial in dials):.1f}",
        "carrier_cost": f"{sum(dial.cost or 0.0 for dial in dials):.4f}",
        "cost": _total_cost(dials),
    }
    return tuple(
        f"the report's {key} is {row.get(key)}, not {value}"
        for key, value in wanted.items()
        if row.get(key) != value
    )


def _total_cost(dials: Sequence[Dial]) -> str:
    """Return the sum of both costs, as in the report; empty if a price is missing and it is 0."""
    total = sum((dial.cost or 0.0) + (dial.providers_cost or 0.0) for dial in dials)
    return "" if not total and any(dial.unpriced for dial in dials) else f"{total:.4f}"


def _differences_to_crm_dials(
    dials: Sequence[Dial], told: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    """Compare with the CRM's reports of dials: one for each dial that reached a carrier."""
    wanted = {
        dial.id: (dial.provider_call_id, str(dial.outcome), round(dial.length_s or 0.0, 3))
        for dial in dials
        if dial.provider_call_id
    }
    found = {
        key: (report["call_id"], report["outcome"], report["length_s"])
        for key, report in told.items()
    }
    return () if found == wanted else (f"the CRM was told {found}, not {wanted}",)


def _differences_to_crm_calls(
    books: CampaignRecords, dials: Sequence[Dial], number: str
) -> tuple[str, ...]:
    """Compare with the CRM's reports of calls: one for each dial with a conversation."""
    talks = [
        dial
        for dial in dials
        if dial.outcome in TALKED and dial.reason != NO_AGENT and dial.provider_call_id
    ]
    unknown = sum(dial.unpriced is None for dial in talks)
    if unknown:
        return (f"the cost of {unknown} calls is not in the ledger yet",)
    talked = len(talks)
    calls = sum(
        report["number"] == number and not key.startswith(KEY) for key, report in books.told.items()
    )
    return () if calls == talked else (f"the CRM was told of {calls} calls, not {talked}",)


def _differences_to_carrier(
    carrier: CarrierRest, dials: Sequence[Dial], placed: Mapping[str, str]
) -> tuple[str, ...]:
    """Compare with the carrier's record: its calls, and the status and price of each."""
    ordered = {dial.id: dial.provider_call_id for dial in dials if dial.provider_call_id}
    if ordered != placed:
        return (f"the carrier has {dict(placed)}, the ledger {ordered}",)
    return tuple(
        problem
        for dial in dials
        if dial.provider_call_id
        for problem in _differences_to_carrier_call(carrier, dial)
    )


def _differences_to_carrier_call(carrier: CarrierRest, dial: Dial) -> tuple[str, ...]:
    """Compare the outcome and the cost of a dial with the carrier's call, which must exist."""
    call = carrier.exchange.placed[dial.provider_call_id]
    price = abs(float(call.price)) if call.price else 0.0
    differs: list[str] = []
    if str(dial.outcome) not in STATUS_OF.get(call.status, frozenset()):
        differs.append(f"dial {dial.attempt} is {dial.outcome}, and {call.status} for the carrier")
    if call.price is None and dial.outcome is DialOutcome.COMPLETED:
        differs.append(f"dial {dial.attempt} has no price yet")
    if abs(price - (dial.cost or 0.0)) > 1e-9:
        differs.append(f"dial {dial.attempt} costs {dial.cost}, and {price} for the carrier")
    return tuple(differs)


def _attempt_number(dial: Dial) -> int:
    return dial.attempt


def _join_or_nothing(words: Iterable[str]) -> str:
    return ", ".join(words) or "nothing"
