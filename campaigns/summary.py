"""Summary of a campaign before its start: contacts to call, countries, hours, cost, exclusions.

It is shown before people are called, by `campaign start` and by the console.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import phonenumbers

from calls.outbound import RULED_OUT, CallConsent, Contact
from campaigns.guard import contact_opens_s
from campaigns.model import Campaign
from campaigns.placeholders import needed_by
from campaigns.refusals import clock_time, reason_lines
from campaigns.store.figures import Figures
from campaigns.store.unfinished import ContactGroup, UnfinishedContacts
from operations.database.database import Database
from operations.numbers import zone_named

MAX_COUNTRIES: Final = 8
MAX_NAMES: Final = 3
AGREED: Final = CallConsent(kind="", given_on="", source="")


@dataclass(slots=True, kw_only=True)
class StartSummary:
    """The contacts of a campaign that are not finished, by its present rules.

    Attributes:
        contacts: All of its contacts, with the finished ones.
        callable: How many can be called.
        dialling: How many are being called.
        opens_s: When the first of them may be called.
        countries: How many of them are in each country, by ISO 3166-1 code.
        names: Of some of them.
        never: How many cannot be called, by the code of the reason.
        lacking: For how many a placeholder of the texts has no value.
        cost: The expected cost of calling each of them once, from the dials so far; `None` if
            there is none with a price.
    """

    campaign: Campaign
    contacts: int = 0
    callable: int = 0
    dialling: int = 0
    opens_s: float | None = None
    countries: Counter[str] = field(default_factory=Counter[str])
    names: Sequence[str] = ()
    never: Counter[str] = field(default_factory=Counter[str])
    lacking: Counter[str] = field(default_factory=Counter[str])
    cost: float | None = None
    currency: str = ""

    @property
    def why_none(self) -> str:
        """Why no contact can be called, in words; empty if one can, or without any contact."""
        if self.callable or self.dialling or not self.contacts:
            return ""
        told = (
            "; ".join(reason_lines(self.never, self.campaign)) or "all of its contacts are finished"
        )
        return f"{self.campaign.name} has no contact that can be called: {told}"

    def lines(self) -> list[str]:
        """Return the summary for people."""
        window, zone = self.campaign.window, "each contact's local time"
        places = ", ".join(f"{place} {n}" for place, n in self.countries.most_common(MAX_COUNTRIES))
        hours = f"{clock_time(window.opens_s)} to {clock_time(window.closes_s)} in {zone}"
        names = f" ({', '.join(self.names)}, …)" if self.names else ""
        told = [
            f"contacts to call: {self.callable}{names}",
            f"countries: {places or 'none'}",
            f"hours: {hours}; {self._first()}",
            f"cost: {self._cost()}",
        ]
        told += [f"not called: {line}" for line in reason_lines(self.never, self.campaign)]
        told += [
            f"without a value for {{{name}}}: {count}; they do not hear the texts that use it"
            for name, count in self.lacking.most_common()
        ]
        return told

    def _first(self) -> str:
        if self.opens_s is None:
            return "no contact is due"
        at = datetime.fromtimestamp(self.opens_s, zone_named(self.campaign.zone))
        return f"the first from {at.isoformat(timespec='minutes')}"

    def _cost(self) -> str:
        limit = self.campaign.daily_spend
        most = f", at most {limit:.2f} a day" if limit is not None else ""
        if self.cost is None:
            return f"unknown until calls of this campaign have a price{most}"
        return f"about {self.cost:.2f} {self.currency}".rstrip() + most


async def summarize(
    campaign: Campaign, database: Database, *, currency: str, now: float
) -> StartSummary:
    """Return what starting a campaign would do now.

    Raises:
        StorageError: The database does not answer.
    """
    summary = StartSummary(campaign=campaign, currency=currency)
    contacts = UnfinishedContacts(database)
    standing = await Figures(database).standing(campaign.name, now=now)
    if standing is None:
        return summary
    summary.contacts = sum(standing.contacts.values())
    summary.dialling = standing.contacts.get("dialling", 0)
    digits = max(6, *map(len, campaign.prefixes)) if campaign.prefixes else 6
    for group in await contacts.groups(campaign.name, digits=digits):
        _add(summary, group, now)
    excluded = await contacts.excluded(campaign.name)
    summary.never.update({why: n for why, n in excluded.items() if why not in RULED_OUT})
    summary.names = await contacts.some_names(campaign.name, most=MAX_NAMES)
    for name in needed_by(campaign):
        if count := await contacts.lacking(campaign.name, name):
            summary.lacking[name] = count
    dials = sum(standing.outcomes.values())
    if standing.cost and dials:
        summary.cost = standing.cost / dials * summary.callable
    return summary


def _add(summary: StartSummary, group: ContactGroup, now: float) -> None:
    contact = Contact(
        id=0,
        campaign=summary.campaign.name,
        number=group.example,
        zones=group.zones,
        consent=AGREED if group.agreed else None,
    )
    opens = contact_opens_s(summary.campaign, contact, now)
    if isinstance(opens, str):
        summary.never[opens] += group.contacts
        return
    summary.callable += group.contacts
    opens = max(opens, group.due_s)
    summary.opens_s = opens if summary.opens_s is None else min(summary.opens_s, opens)
    summary.countries[_country(group.example)] += group.contacts


def _country(number: str) -> str:
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        region = None
    return region or "unknown"
