"""The pace of dials: calls at once, per minute and per day, spending, and the carrier's rate."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from calls.outbound import CampaignUse, NothingToDial, TokenBucket
from campaigns.model import Campaign
from campaigns.window import next_day_s

REST_S: Final = 1.0  # least time between two wake-ups


class DialEvents:
    """Wakes one waiting job when a dial ends."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def set(self) -> None:
        """Wake the job."""
        self._news.set()

    async def wait(self, within_s: float) -> None:
        """Return when a dial has ended since the last call, or after `within_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()
        await asyncio.sleep(REST_S)


class SilentLooks:
    """When to look for dials of silent processes.

    Normally twice per lease. After a database failure, before every claim for one lease: running
    dials may have missed their renewal then, each at a different moment, so a slot that seems free
    may not be.
    """

    def __init__(self, lease_s: float, *, now_s: Callable[[], float]) -> None:
        """Start without a look."""
        self._lease_s = lease_s
        self._now_s = now_s
        self._looked_s = float("-inf")
        self._broken_s = float("-inf")

    @property
    def due(self) -> bool:
        """Whether a look is due now."""
        # A last look in the future means that the clock was set back.
        rested = 0.0 <= self._now_s() - self._looked_s < self._lease_s / 2
        return not rested or self._looked_s - self._broken_s <= self._lease_s

    def looked(self, at_s: float) -> None:
        """Record a look that the database answered, with its time."""
        self._looked_s = at_s

    def doubt(self) -> None:
        """Record that the database failed, or that a dial was left to its lease."""
        self._broken_s = self._now_s()


HAIR: Final = 1e-6  # of a token: rounding must not refuse a claim at `again_s`


def pace(campaign: Campaign, use: CampaignUse, now: float) -> TokenBucket | NothingToDial:
    """Return the bucket after one more dial, or why there may be none."""
    if use.calls_now >= campaign.concurrent:
        return NothingToDial(reason="concurrent")
    if campaign.daily_calls is not None and use.calls_today >= campaign.daily_calls:
        return NothingToDial(reason="daily_calls", again_s=next_day_s(campaign.zone, now=now))
    if campaign.daily_spend is not None and use.spent_today >= campaign.daily_spend:
        return NothingToDial(reason="daily_spend", again_s=next_day_s(campaign.zone, now=now))
    return take_token(use.bucket, per_minute=campaign.dials_per_minute, now=now)


def take_token(
    bucket: TokenBucket, *, per_minute: float, now: float
) -> TokenBucket | NothingToDial:
    """Take one token, or return when there will be one.

    The bucket holds one second's tokens, at least one. So dials are spread evenly, and an idle
    minute is not made up for in a burst.
    """
    a_second = per_minute / 60.0
    added = max(0.0, now - bucket.filled_s) * a_second  # a clock set back adds nothing
    tokens = min(max(1.0, a_second), bucket.tokens + added)
    if tokens < 1.0 - HAIR:
        return NothingToDial(reason="pace", again_s=now + (1.0 - tokens) / a_second)
    return TokenBucket(tokens=max(0.0, tokens - 1.0), filled_s=now)
