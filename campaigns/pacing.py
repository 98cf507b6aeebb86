"""The pace of dials: calls at once, per minute and per day, and spending."""

import asyncio
from contextlib import suppress
from typing import Final

from calls.outbound import CampaignUse, NothingToDial, TokenBucket
from campaigns.model import Campaign
from campaigns.window import next_day_s

WAKE_UP_GAP_S: Final = 1.0  # the shortest time between two wake-ups


class DialEvents:
    """Wakes one waiting job when a dial ends."""

    def __init__(self) -> None:
        self._dial_ended = asyncio.Event()

    def set(self) -> None:
        """Wake the job."""
        self._dial_ended.set()

    async def wait(self, within_s: float) -> None:
        """Wait until a dial has ended since the last call, for at most `within_s`.

        The wait takes `WAKE_UP_GAP_S` more in any case, so that dials that end together wake the
        job once.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._dial_ended.wait()
        self._dial_ended.clear()
        await asyncio.sleep(WAKE_UP_GAP_S)


TOLERANCE: Final = 1e-6  # of a token: rounding must not refuse a claim at `again_s`


def pace(campaign: Campaign, use: CampaignUse, now: float) -> TokenBucket | NothingToDial:
    """Return the campaign's bucket after one more dial, or why there may be no dial now.

    The first limit that is reached decides. Nothing is stored: the caller stores the bucket.
    """
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
    """Return the bucket without one token, or when there will be one.

    The bucket holds the tokens of one second, but at least one. So dials are spread evenly, and an
    idle minute is not followed by a burst.
    """
    per_second = per_minute / 60.0
    added = max(0.0, now - bucket.filled_s) * per_second  # a clock set back adds nothing
    tokens = min(max(1.0, per_second), bucket.tokens + added)
    if tokens < 1.0 - TOLERANCE:
        return NothingToDial(reason="pace", again_s=now + (1.0 - tokens) / per_second)
    return TokenBucket(tokens=max(0.0, tokens - 1.0), filled_s=now)
