"""Has the ledger know what each dial's call cost, and whether it was abandoned: from the record.

The record gets it from whichever process had the call, and keeps it over that one's death. It is
looked at soon behind the end of a dial, and again for a while: a model is asked about the call
then, which costs, too.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from loguru import logger

from campaigns.call_use import uses_of
from campaigns.dial_news import DialNews
from campaigns.store.dial_calls import DialCalls
from operations.database.database import StorageError

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
        new = [await self.calls.note(each) for each in uses_of(found)]
        more = any(new) or await self.calls.any_ended(self.campaigns, since_s=now - EXPECTED_S)
        return LOOK_S if more else IDLE_S
