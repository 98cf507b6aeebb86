"""The breakers of a dialer's campaigns: one that trips pauses its campaign, in all processes."""

from collections.abc import Iterable
from typing import Final

from calls.campaign_events import CampaignPaused
from calls.outbound import DialOutcome, DialResult
from campaigns.call_result import REACHED
from campaigns.campaign_breaker import CampaignBreaker
from campaigns.dialer_parts import DialerParts
from storage.campaign_office import CampaignStanding
from storage.database import StorageError

IN_A_ROW: Final = "agent_failed_in_a_row"


class CampaignBreakers:
    """Each campaign's own."""

    def __init__(self, campaigns: Iterable[str], parts: DialerParts) -> None:
        """Have one for each of these campaigns."""
        self._parts = parts
        self._breakers = {
            name: CampaignBreaker(limit=parts.settings.failures) for name in campaigns
        }
        self._tripped_s: dict[str, float] = {}
        self._owed: set[str] = set()  # those that no database has taken for paused yet

    def tripped(self, campaign: str) -> bool:
        """Return whether a campaign is to pause."""
        return self._breakers[campaign].tripped

    def look(self, running: CampaignStanding, now: float) -> None:
        """Begin anew if somebody has said, since it tripped, that the campaign goes on."""
        if running.changed_s > self._tripped_s.get(running.name, now):
            self._breakers[running.name].reset()

    async def learn(self, campaign: str, result: DialResult) -> None:
        """Count what became of a dial."""
        breaker, ours = self._breakers[campaign], result.outcome is DialOutcome.AGENT_FAILED
        if breaker.note(ours=ours, reached=result.outcome in REACHED):
            self._tripped_s[campaign] = self._parts.now_s()
            self._owed.add(campaign)
            await self.pause_tripped()

    async def pause_tripped(self) -> None:
        """Pause the campaigns whose breakers have tripped since.

        Raises:
            StorageError: The database did not take it: it is owed, or an operator would find a
                campaign that runs and calls nobody, and that cannot be resumed.
        """
        for campaign in sorted(self._owed):
            self._owed.discard(campaign)  # first: somebody else may come by meanwhile
            now, in_a_row = self._parts.now_s(), self._breakers[campaign].in_a_row
            try:
                await self._parts.office.move(campaign, "paused", reason=IN_A_ROW, now=now)
            except StorageError:
                self._owed.add(campaign)
                raise
            self._parts.tell(CampaignPaused(campaign=campaign, reason=IN_A_ROW, in_a_row=in_a_row))
