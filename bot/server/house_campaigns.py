"""The campaigns of the house, live: one process reads the database, and every watcher is told."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from bot import clock
from bot.outbound.campaign_list import list_campaigns, merge_holds, standing_still, why_held
from bot.outbound.opening import Outbound
from bot.workers.pool import House
from operations.database.database import StorageError
from operations.notify.incident_rules import Place
from operations.notify.trouble_rules import CAMPAIGN

LOOK_S: Final = 3.0  # chosen: dials take longer than that, and each look counts a whole ledger
HOLDS: Final = "campaign holds"
VIEW: Final = "campaigns"
UNKNOWN: Final = "The database does not answer."


class HouseCampaigns:
    """All who watch share one look, in whichever process they are."""

    def __init__(self, outbound: Outbound, house: House) -> None:
        """Answer what other processes ask of this one."""
        self._outbound = outbound
        self._house = house
        self._last: dict[str, Any] = {"campaigns": [], "problem": ""}
        self._looked_at = -LOOK_S
        self._looking = asyncio.Lock()
        house.peers.answer(HOLDS, self._own_holds)
        house.peers.answer(VIEW, self._own_view)

    async def all(self) -> list[dict[str, Any]]:
        """Return every campaign as it is now.

        Raises:
            StorageError: The database does not answer.
        """
        held = merge_holds(await self._house.peers.ask_all(HOLDS))
        return await list_campaigns(self._outbound, held)

    def lasting(self) -> Sequence[Place]:
        """Return where operators have been told of a standstill that lasts; the leader knows."""
        if not self._house.leads:
            return ()
        return [(CAMPAIGN, name) for name in standing_still(self._outbound)]

    async def watch(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield them, and again whenever they have changed; of none it is said once."""
        shown: Mapping[str, Any] = {"campaigns": [], "problem": ""}
        if not self._outbound.campaigns:
            yield shown
            return
        while True:
            seen = await self._seen()
            if seen is not None and seen != shown:
                shown = seen
                yield seen
            await asyncio.sleep(LOOK_S)

    async def _seen(self) -> Mapping[str, Any] | None:
        """Return what the process sees that leads; None: none does, for a moment."""
        views = await self._house.peers.ask_all(VIEW)
        return next((each for each in views if each), None)

    async def _own_view(self, _: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if not self._house.leads:
            return None
        async with self._looking:
            if clock.monotonic() >= self._looked_at + LOOK_S / 2:
                self._last = await self._look()
                self._looked_at = clock.monotonic()
        return self._last

    async def _look(self) -> dict[str, Any]:
        try:
            return {"campaigns": await self.all(), "problem": ""}
        except StorageError:  # what was seen last is not wrong for that
            return {**self._last, "problem": UNKNOWN}

    async def _own_holds(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return why_held(self._outbound) if self._house.leads else {}
