"""The breakers of a dialer's campaigns: one that trips pauses its campaign, in all processes.

Each has two. One counts calls that failed for our own reasons, one what the carrier refused to dial
at all, or could not: one number may be none, but several in a row say that something of ours is
wrong, such as the number that we call from, or that the trunk is not well.
"""

from collections.abc import Iterable
from typing import Final

from calls.campaign_events import CampaignPaused
from calls.outbound import DialOutcome, DialResult
from campaigns.call_result import REACHED
from campaigns.campaign_breaker import CampaignBreaker
from campaigns.carrier import REFUSED
from campaigns.dialer_parts import DialerParts
from campaigns.store.office import CampaignStanding
from operations.database.database import StorageError

FAILED_IN_A_ROW: Final = "agent_failed_in_a_row"
REFUSED_IN_A_ROW: Final = "carrier_refused_in_a_row"
PAUSES: Final = (FAILED_IN_A_ROW, REFUSED_IN_A_ROW)
"""Why a campaign paused itself; only an operator's word has it go on."""
NOT_PLACED: Final = frozenset({DialOutcome.REFUSED, DialOutcome.UNKNOWN})


class CampaignBreakers:
    """Those of each campaign, by why it pauses."""

    def __init__(self, campaigns: Iterable[str], parts: DialerParts) -> None:
        """Have them for each of these campaigns."""
        self._parts = parts
        limit = parts.settings.failures
        self._breakers = {
            name: {why: CampaignBreaker(limit=limit) for why in PAUSES} for name in campaigns
        }
        self._runs_since_s: dict[str, float] = {}
        self._owed: dict[str, str] = {}  # why, of those that no database has taken for paused yet

    def tripped(self, campaign: str) -> str:
        """Return why a campaign is to pause; empty: it is not."""
        return next((why for why, each in self._breakers[campaign].items() if each.tripped), "")

    def look(self, running: CampaignStanding) -> None:
        """Begin anew if somebody has said, since the last look, that the campaign goes on."""
        if self._runs_since_s.get(running.name) != running.changed_s:
            self._runs_since_s[running.name] = running.changed_s
            for each in self._breakers[running.name].values():
                each.reset()

    async def learn(self, campaign: str, result: DialResult) -> None:
        """Count what became of a dial."""
        failed, refused = self._breakers[campaign].values()
        ours = result.outcome is DialOutcome.AGENT_FAILED
        unheard = result.reason == REFUSED or result.trunk != "well"
        placed = not unheard and result.outcome not in NOT_PLACED
        if failed.note(ours=ours, reached=result.outcome in REACHED):
            self._owed[campaign] = FAILED_IN_A_ROW
        if refused.note(ours=unheard, reached=placed):
            self._owed[campaign] = REFUSED_IN_A_ROW
        if campaign in self._owed:
            await self.pause_tripped()

    async def pause_tripped(self) -> None:
        """Pause the campaigns whose breakers have tripped since.

        Raises:
            StorageError: The database did not take it: it is owed, or an operator would find a
                campaign that runs and calls nobody, and that cannot be resumed.
        """
        for campaign in sorted(self._owed):
            why = self._owed.pop(campaign)  # first: somebody else may come by meanwhile
            now, in_a_row = self._parts.now_s(), self._breakers[campaign][why].in_a_row
            try:
                await self._parts.office.move(campaign, "paused", reason=why, now=now)
            except StorageError:
                self._owed[campaign] = why
                raise
            self._parts.tell(CampaignPaused(campaign=campaign, reason=why, in_a_row=in_a_row))
