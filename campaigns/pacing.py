"""How fast a campaign may go: how many calls at once, a minute and a day, and for how much."""

from typing import Final

from calls.outbound import CampaignUse, NothingToDial, TokenBucket
from campaigns.model import Campaign
from campaigns.window import next_day_s

HAIR: Final = 1e-6  # of a token: whoever comes at the very moment that was named finds it


def pace(campaign: Campaign, use: CampaignUse, now: float) -> TokenBucket | NothingToDial:
    """Return what is left of the pace behind one more dial, or why there may be none."""
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
    """Take one token, or say when there is one.

    The bucket holds what comes in one second, and at least one: dials are spread, and those of a
    minute in which nobody was due are not made up for in one burst.
    """
    a_second = per_minute / 60.0
    come = max(0.0, now - bucket.filled_s) * a_second  # a clock that was put back fills nothing
    tokens = min(max(1.0, a_second), bucket.tokens + come)
    if tokens < 1.0 - HAIR:
        return NothingToDial(reason="pace", again_s=now + (1.0 - tokens) / a_second)
    return TokenBucket(tokens=max(0.0, tokens - 1.0), filled_s=now)
