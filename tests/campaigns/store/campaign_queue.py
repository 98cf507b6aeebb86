"""A queue of outbound calls with contacts in it, as several processes see it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from calls.outbound import CallConsent, Claim, DialResult, NextStep, NothingToDial
from campaigns.guard import rules_of
from campaigns.model import Campaign
from campaigns.store.contacts import Contacts, NewContact
from campaigns.store.figures import CampaignStanding, Figures
from campaigns.store.queue import Queue
from operations.database.database import Database
from tests.kit.clock import always

NOON = 1_800_014_400.0  # 2027-01-15, 12:00 UTC, a Friday
LEASE_S = 6.0
CONSENT = CallConsent(kind="written", given_on="2026-11-01", source="form 7")
DONE = NextStep(state="done")
FAST = Campaign(name="spring", dials_per_minute=6e6, concurrent=1000, attempts=3)


def caller_number(index: int) -> str:
    return f"+1202555{index:04}"


def new_contacts(many: int, **values: object) -> list[NewContact]:
    one = NewContact(number="", zones=("Europe/London",), consent=CONSENT)
    return [
        replace(one, number=caller_number(index), **values)  # type: ignore[arg-type]
        for index in range(many)
    ]


@dataclass(slots=True, kw_only=True)
class OpenQueue:
    """The queue as one process sees it; `other` returns the view of another process."""

    url: str
    database: Database
    store: Queue
    book: Contacts
    figures: Figures

    async def fill(self, contacts: Sequence[NewContact], campaign: str = "spring") -> None:
        await self.book.add(campaign, contacts, now=NOON - 60.0)
        await self.store.move(campaign, "running", now=NOON)

    async def claim(self, campaign: Campaign = FAST, *, now: float = NOON) -> Claim | NothingToDial:
        return await self.store.claim(
            campaign.name, rules_of(campaign, now=now), now_s=always(now), lease_s=LEASE_S
        )

    async def take(self, campaign: Campaign = FAST, *, now: float = NOON) -> Claim:
        claim = await self.claim(campaign, now=now)
        assert isinstance(claim, Claim), claim
        return claim

    async def nothing(self, campaign: Campaign = FAST, *, now: float = NOON) -> NothingToDial:
        claim = await self.claim(campaign, now=now)
        assert isinstance(claim, NothingToDial), claim
        return claim

    async def settle(
        self,
        result: DialResult,
        *,
        then: NextStep = DONE,
        campaign: Campaign = FAST,
        now: float = NOON,
        took_s: float = 0.0,
    ) -> Claim:
        """Claim a contact, place the dial, and settle it with this result."""
        claim = await self.take(campaign, now=now)
        await self.store.confirm(claim.dial, now_s=always(now), lease_s=LEASE_S)
        await self.store.note_placed(claim.dial, f"CA-{claim.dial.id}")
        await self.store.settle(claim.dial, result, then=then, now=now + took_s)
        return claim

    async def standing(self) -> CampaignStanding:
        standing = await self.figures.standing("spring")
        assert standing
        return standing

    async def close(self) -> None:
        await self.database.close()


def open_queue(url: str, holder: str) -> OpenQueue:
    database = Database(url)
    return OpenQueue(
        url=url,
        database=database,
        store=Queue(database, holder=holder),
        book=Contacts(database),
        figures=Figures(database),
    )


@asynccontextmanager
async def queues(url: str, many: int) -> AsyncIterator[list[OpenQueue]]:
    """Yield the views that this many processes have of one queue."""
    opened = [open_queue(url, f"process-{index}") for index in range(many)]
    try:
        yield opened
    finally:
        for item in opened:
            await item.close()
