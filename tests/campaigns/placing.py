"""Helpers for tests of any carrier that places calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from pydantic import SecretStr

from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.rest import CarrierRest
from tests.campaigns.heard_callbacks import ToldNews
from tests.kit.dials import confirmed
from transports.dialling import CampaignCarrier, DialRequest, DialWithdrawnError, FoundCall
from transports.twilio.dialling import TwilioCarrier
from transports.twilio.rest import TwilioRest

OURS: Final = "+15005550006"
A: Final = "+15005550111"
B: Final = "+15005550112"
ACCOUNT, TOKEN = "AC" + "0" * 32, "a-token"


def request(dial_id: str, to: str = A) -> DialRequest:
    return DialRequest(dial_id=dial_id, to=to, campaign="c", confirm=confirmed)


async def ended(it: CampaignCarrier, dial_id: str, to: str = A) -> FoundCall:
    while True:
        found = await it.find(dial_id, to, 0.0)
        assert found is not None, "a call that was placed was taken for none"
        if found.outcome is not None:
            return found
        await asyncio.sleep(1.0)


async def _withdraw() -> None:
    raise DialWithdrawnError("not_running")


def withdrawn(dial_id: str) -> DialRequest:
    """Return a request that is withdrawn when the carrier would be asked."""
    return DialRequest(dial_id=dial_id, to=A, campaign="c", confirm=_withdraw)


@asynccontextmanager
async def twilio_office(
    calls_per_s: float = 1.0,
) -> AsyncIterator[tuple[CarrierRest, TwilioCarrier]]:
    """Open an account at the lab's Twilio, and our carrier for it."""
    async with CarrierRest(ACCOUNT, TOKEN) as office:
        office.exchange.callees = {A: Callee(fate="busy"), B: Callee(fate="no-answer")}
        rest = TwilioRest(
            account_sid=ACCOUNT,
            auth_token=SecretStr(TOKEN),
            api_url=office.url,
            public_url="https://agent.example.com",
        )
        yield (
            office,
            TwilioCarrier(rest=rest, number=OURS, news=ToldNews(), calls_per_s=calls_per_s),
        )
