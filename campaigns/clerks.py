"""Those who write behind the dialer: what each dial cost, and what the owner's register is told."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot import clock
from bot.config.settings import Settings
from calls.entry import Tell
from campaigns.billing import Billing, BillingCarrier
from campaigns.call_costs import CallCosts
from campaigns.carrier import CampaignCarrier
from campaigns.dial_news import DialNews
from campaigns.dial_reports import DialReports
from campaigns.model import Campaign
from campaigns.store.dial_bills import DialBills
from campaigns.store.dial_calls import DialCalls
from campaigns.store.unreported_dials import UnreportedDials
from operations.crm.outbox import CrmOutbox
from operations.keep_running import keep_running


class Clerk(Protocol):
    """One of them; it waits for news of dials."""

    @property
    def news(self) -> DialNews:
        """What wakes it."""
        ...

    async def run(self) -> None:
        """Work until cancelled."""
        ...


class Closable(Protocol):
    """Holds connections."""

    async def close(self) -> None:
        """Let them go."""
        ...


@dataclass(frozen=True, slots=True)
class Clerks:
    """All of them; no dial waits for one."""

    clerks: Mapping[str, Clerk]
    books: Sequence[Closable]

    def heard_by(self, tell: Tell) -> Tell:
        """Return what tells the same, and wakes whoever waits for the end of a dial."""
        for each in self.clerks.values():
            tell = each.news.heard_by(tell)
        return tell

    def work(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Have them work until the tasks are cancelled."""
        return [
            tasks.create_task(keep_running(name, each.run), name=name)
            for name, each in self.clerks.items()
        ]

    async def close(self) -> None:
        """Let the connections go."""
        for each in self.books:
            await each.close()


def clerks_of(
    settings: Settings,
    campaigns: Mapping[str, Campaign],
    carrier: CampaignCarrier,
    *,
    leads: Callable[[], bool],
) -> Clerks:
    """Return those whom this configuration has work for."""
    url, clerks, books = settings.storage.url, dict[str, Clerk](), list[Closable]()
    if campaigns:
        calls = DialCalls(url)
        books.append(calls)
        clerks["what calls used"] = CallCosts(
            calls=calls, campaigns=list(campaigns), leads=leads, now_s=clock.utc_s
        )
    if isinstance(carrier, BillingCarrier):
        bills = DialBills(url)
        books.append(bills)
        clerks["the bills of dials"] = Billing(
            carrier=carrier,
            bills=bills,
            campaigns=list(campaigns),
            leads=leads,
            now_s=clock.utc_s,
        )
    if settings.crm.kind not in ("none", "own") and settings.crm.dials != "none":
        unreported, outbox = UnreportedDials(url), CrmOutbox(url)
        books += [unreported, outbox]
        clerks["the reports of dials"] = DialReports(
            dials=unreported,
            outbox=outbox,
            agents={name: each.agent or "default" for name, each in campaigns.items()},
            talked=settings.crm.dials == "all",
            leads=leads,
            utc_s=clock.utc_s,
        )
    return Clerks(clerks, books)
