"""Summary of a campaign before its start: contacts to call, countries, hours, cost, exclusions.

`campaign start` and the console show it.
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
from contacts.numbers import zone_named
from operations.database.database import Database

MAX_COUNTRIES: Final = 8
MAX_NAMES: Final = 3
AGREED: Final = CallConsent(kind="", given_on="", source="")


@dataclass(slots=True, kw_only=True)
class StartSummary:
    """What starting a campaign would do, by its current rules.

    Attributes:
        contacts: How many contacts it has, including finished ones.
        callable: How many contacts can be called.
        dialling: How many contacts are being called.
        opens_s: When the first contact may be called; `None` if none can be.
        countries: How many callable contacts are in each country, by ISO 3166-1 code.
        names: The names of a few contacts.
        never: How many contacts cannot be called, by the code of the reason.
        lacking: How many contacts have no value for a placeholder of the texts, by placeholder.
        cost: The expected cost of one dial to each callable contact, from the dials so far; `None`
            if none of them has a price.
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
        """Why no contact can be called, in words; empty if one can, or if there are no contacts."""
        if self.callable or self.dialling or not self.contacts:
            return ""
        why = (
            "; ".join(reason_lines(self.never, self.campaign)) or "all of its contacts are finished"
        )
        return f"{self.campaign.name} has no contact that can be called: {why}"

    def lines(self) -> list[str]:
        """Return the summary for people."""
        window, zone = self.campaign.window, "each contact's local time"
        places = ", ".join(f"{place} {n}" for place, n in self.countries.most_common(MAX_COUNTRIES))
        hours = f"{clock_time(window.opens_s)} to {clock_time(window.closes_s)} in {zone}"
        names = f" ({', '.join(self.names)}, …)" if self.names else ""
        lines = [
            f"contacts to call: {self.callable}{names}",
            f"countries: {places or 'none'}",
            f"hours: {hours}; {self._first_call()}",
            f"cost: {self._describe_cost()}",
        ]
        lines += [f"not called: {line}" for line in reason_lines(self.never, self.campaign)]
        lines += [
            f"without a value for {{{name}}}: {count}; they do not hear the texts that use it"
            for name, count in self.lacking.most_common()
        ]
        return lines

    def _first_call(self) -> str:
        """Return when the first call is due, in the campaign's time zone, as words."""
        if self.opens_s is None:
            return "no contact is due"
        at = datetime.fromtimestamp(self.opens_s, zone_named(self.campaign.zone))
        return f"the first from {at.isoformat(timespec='minutes')}"

    def _describe_cost(self) -> str:
        """Return the expected cost and the daily limit, as words."""
        limit = self.campaign.daily_spend
        most = f", at most {limit:.2f} a day" if limit is not None else ""
        if self.cost is None:
            return f"unknown until calls of this campaign have a price{most}"
        return f"about {self.cost:.2f} {self.currency}".rstrip() + most


async def summarize(
    campaign: Campaign, database: Database, *, currency: str, now: float
) -> StartSummary:
    """Return what starting a campaign would do now; all zero if there is no such campaign.

    Raises:
        StorageError: The database does not answer.
    """
    summary = StartSummary(campaign=campaign, currency=currency)
    contacts = UnfinishedContacts(database)
    standing = await Figures(database).standing(campaign.name)
    if standing is None:
        return summary
    summary.contacts = sum(standing.contacts.values())
    summary.dialling = standing.contacts.get("dialling", 0)
    digits = max(6, *map(len, campaign.prefixes)) if campaign.prefixes else 6
    for group in await contacts.groups(campaign.name, digits=digits):
        _add_group(summary, group, now)
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


def _add_group(summary: StartSummary, group: ContactGroup, now: float) -> None:
    """Count a group's contacts as callable, or by the reason why they are not.

    Its example stands for all of them: zones, consent and prefix are the same in a group.
    """
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
    summary.countries[_country_of_number(group.example)] += group.contacts


def _country_of_number(number: str) -> str:
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        region = None
    return region or "unknown"
