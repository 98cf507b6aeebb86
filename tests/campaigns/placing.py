"""What is asked of any carrier that places calls."""

import asyncio
from typing import Final

from campaigns.carrier import CampaignCarrier, DialRequest, FoundCall

OURS: Final = "+15005550006"
A: Final = "+15005550111"
B: Final = "+15005550112"


def request(dial_id: str, to: str = A) -> DialRequest:
    return DialRequest(dial_id=dial_id, to=to, campaign="c")


async def ended(it: CampaignCarrier, dial_id: str, to: str = A) -> FoundCall:
    while (  # noqa: ASYNC110 - the carrier tells nobody here
        found := await it.find(dial_id, to, 0.0)
    ) is None or found.outcome is None:
        await asyncio.sleep(1.0)
    return found
