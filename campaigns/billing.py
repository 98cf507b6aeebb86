"""Asks a carrier what calls cost that are over, until it says so; their outcome never waits for it.

It is asked soon, and then each time after twice as long, for a day: a carrier knows the price of a
short call in seconds or in hours.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Protocol, runtime_checkable

from loguru import logger

from calls.outbound import Dial
from campaigns.carrier import CarrierError
from campaigns.pacing import DialNews
from campaigns.store.dials import DialBills, DialCalls, DialledCall, DialUse
from operations.database.database import StorageError

# What the calls behind one dial come to for its campaign: what they used, whether they were left.
#
# *Abandoned* is a call that the person ended before they had heard one answer of ours: what was
# said first, to whoever picks up, is none. Regulators mean by the word what a dialler does to
# people (47 CFR 64.1200(a)(7): nobody speaks within 2 s of their greeting); that stands among our
# own faults.

THEY_WENT: Final = "caller_hung_up"


def uses_of(calls: Iterable[DialledCall]) -> Sequence[DialUse]:
    """Return what is to be known of each dial."""
    ordered = sorted(calls, key=lambda each: each.dial_id)  # stable: the earlier call stays first
    return [_use(dial_id, list(own)) for dial_id, own in groupby(ordered, lambda it: it.dial_id)]


def _use(dial_id: str, calls: Sequence[DialledCall]) -> DialUse:
    costs = [call.cost for call in calls if call.cost is not None]
    return DialUse(
        dial_id=dial_id,
        cost=math.fsum(costs) if len(costs) == len(calls) else None,
        abandoned=calls[-1].reason == THEY_WENT and not any(call.turns for call in calls),
    )


# Has the ledger know what each dial's call cost, and whether it was abandoned: from the record.
#
# The record gets it from whichever process had the call, and keeps it over that one's death. It is
# looked at soon behind the end of a dial, and again for a while: a model is asked about the call
# then, which costs, too.

REACH_S: Final = 7 * 86_400.0  # of dials that are looked at: a week without a server (chosen)
NEAR_S: Final = 14_400.0 + 3_600.0  # the same a look later: the longest dial, and an hour
LOOK_S: Final = 5.0  # while there may be more
EXPECTED_S: Final = 900.0  # behind a dial's end; its call is written down, and asked about
IDLE_S: Final = 600.0  # without news of dials
UNWELL_S: Final = 30.0  # before a database that failed is asked again


@dataclass(slots=True, kw_only=True)
class CallCosts:
    """Of one process; it looks while it leads its house."""

    calls: DialCalls
    campaigns: Sequence[str]
    leads: Callable[[], bool]
    now_s: Callable[[], float]
    news: DialNews = field(default_factory=DialNews)

    async def run(self) -> None:
        """Look until cancelled."""
        wait_s = IDLE_S
        while True:
            reach_s = NEAR_S if wait_s == LOOK_S else REACH_S
            try:
                wait_s = await self.take_over(reach_s) if self.leads() else IDLE_S
            except StorageError as error:
                logger.warning("what calls used is not in the ledger yet: {}", error)
                wait_s = UNWELL_S
            if wait_s == IDLE_S:
                await self.news.wait(IDLE_S)
            else:
                await asyncio.sleep(wait_s)

    async def take_over(self, reach_s: float = REACH_S) -> float:
        """Copy what is new of dials that are no older; return when it is worth a look again.

        Raises:
            StorageError: The database does not answer.
        """
        now = self.now_s()
        found = await self.calls.news(self.campaigns, since_s=now - reach_s)
        new = [await self.calls.note(use) for use in uses_of(found)]
        more = any(new) or await self.calls.any_ended(self.campaigns, since_s=now - EXPECTED_S)
        return LOOK_S if more else IDLE_S


FIRST_S: Final = 3.0  # after the end of a dial
DAY_S: Final = 86_400.0
LONGEST_DIAL_S: Final = 14_400.0  # Twilio's own limit of a call
AT_ONCE: Final = 20  # dials that are asked about in one look


@runtime_checkable
class BillingCarrier(Protocol):
    """A carrier that says what a call cost."""

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return it, in the account's currency; None: it is not known yet.

        Raises:
            CarrierError: It did not answer.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Billing:
    """Of one process; it asks while it leads its house."""

    carrier: BillingCarrier
    bills: DialBills
    campaigns: Sequence[str]
    leads: Callable[[], bool]
    now_s: Callable[[], float]
    news: DialNews = field(default_factory=DialNews)
    _due_s: dict[str, float] = field(default_factory=dict[str, float])  # by the dial's id

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                wait_s = await self.ask_due() if self.leads() else IDLE_S
            except (StorageError, CarrierError) as error:
                logger.warning("what calls cost is not known yet: {}", error)
                wait_s = UNWELL_S
            if wait_s == IDLE_S:
                await self.news.wait(IDLE_S)
            else:
                await asyncio.sleep(wait_s)

    async def ask_due(self) -> float:
        """Ask about those whose turn it is; return how long nobody's turn comes.

        Raises:
            CarrierError: It answered about none of them: it is away.
            StorageError: The database is.
        """
        now = self.now_s()
        since_s = now - DAY_S - LONGEST_DIAL_S
        owed = {one.id: one for one in await self.bills.open_ones(self.campaigns, since_s=since_s)}
        self._due_s = {item.id: self._due(item, now) for item in owed.values()}
        due = sorted((at, name) for name, at in self._due_s.items() if at <= now)
        await self._ask_all([owed[name] for _, name in due[:AT_ONCE]])
        waiting = [at for at in self._due_s.values() if at < float("inf")]
        return max(LOOK_S, min(IDLE_S, min(waiting) - now)) if waiting else IDLE_S

    def _due(self, dial: Dial, now: float) -> float:
        """Return when a dial is to be asked about; one that was never is asked about soon."""
        ended_s = dial.ended_s or now
        if now - ended_s > DAY_S:
            return float("inf")
        return self._due_s.get(dial.id, ended_s + FIRST_S)

    async def _ask_all(self, dials: Sequence[Dial]) -> None:
        refused: list[CarrierError] = []
        for dial in dials:
            try:
                await self._ask(dial)
            except CarrierError as error:  # about this call; the others may well be answered
                refused.append(error)
        if not refused:
            return
        if len(refused) == len(dials):
            raise refused[-1]
        logger.warning("what {} calls cost is not known yet: {}", len(refused), refused[-1])

    async def _ask(self, dial: Dial) -> None:
        now = self.now_s()
        age_s = max(FIRST_S, now - (dial.ended_s or now))
        self._due_s[dial.id] = now + age_s  # also when it does not answer
        cost = await self.carrier.cost_of(dial.provider_call_id)
        if cost is not None:
            await self.bills.charge(dial, cost)
            del self._due_s[dial.id]
