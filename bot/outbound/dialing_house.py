"""The house that a dialer dials for, and the calls in it, as the dialer wants to see them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from loguru import logger

from bot.call.briefs import Briefs, briefed
from bot.config.agent import AgentSettings
from bot.config.settings import Settings
from bot.outbound.call_ledger import CallLedger
from bot.workers.pool import House
from bot.workers.process import Process
from calls.outbound import Claim
from campaigns.call_verdict import KINDS, CallVerdict, judge_recorded
from campaigns.model import Campaign
from campaigns.store.dial_calls import DialCalls
from operations.database.database import StorageError

RECORD_S: Final = 1.0  # for one look at the record (chosen): it is looked at again and again


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseOfCalls:
    """Seats and stages of a house."""

    process: Process
    house: House

    @property
    def leads(self) -> bool:
        """Whether it is this process that dials for the house."""
        return self.house.leads and not self.leaving

    @property
    def leaving(self) -> bool:
        """Whether this process is to end, and takes no call any more."""
        return self.process.switchboard.why_closed == "draining"

    def seats(self) -> int:
        """Return how many more calls the house could take now, whichever process gets them."""
        if self.house.why_closed:
            return 0
        return min(self.house.room, self.process.switchboard.free)

    def usable(self) -> Mapping[str, bool]:
        """Return for each stage whether any of its rungs may be asked now."""
        return self.process.providers.usable()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsOfTheHouse:
    """Our own side of the calls: whom they are briefed by, and how they went."""

    ledger: CallLedger
    record: DialCalls
    briefs: Briefs
    agent_of: Callable[[Campaign], AgentSettings]

    async def prepare(self, campaign: Campaign, claim: Claim) -> None:
        """Have whoever picks up talked to as the campaign wants."""
        agent = briefed(self.agent_of(campaign), campaign, claim.contact)
        self.briefs.keep(claim.dial.id, agent)

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        """Return how our side of a call stands; None: there was none.

        A process that has left took what it knew of its calls along; the record has it, too.
        """
        return await self.ledger.verdict(dial_id) or await self._recorded(dial_id)

    async def wait(self, dial_id: str, within_s: float) -> None:
        """Return when there is news of a dial, or after this time."""
        await self.ledger.wait(dial_id, within_s)

    def forget(self, dial_id: str) -> None:
        """Keep nothing of a dial any more."""
        self.ledger.forget(dial_id)
        self.briefs.forget(dial_id)

    async def _recorded(self, dial_id: str) -> CallVerdict | None:
        try:
            async with asyncio.timeout(RECORD_S):
                end = await self.record.end(dial_id, list(KINDS))
        except (StorageError, TimeoutError) as error:
            logger.debug("the record does not say how the call of {} ended: {!r}", dial_id, error)
            return None
        return judge_recorded(end) if end else None


def agent_of(settings: Settings, campaign: Campaign) -> AgentSettings:
    """Return the agent that a campaign's calls are made by."""
    return settings.agents.get(campaign.agent, settings.agent)
