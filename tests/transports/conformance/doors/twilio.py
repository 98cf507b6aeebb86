"""Twilio's Media Streams, by the lab's carrier."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from faultlab.carrier.carrier import Carrier
from tests.transports.conformance.carrier_caller import CarrierCaller
from tests.transports.conformance.door import ELSEWHERE
from tests.transports.conformance.house import House

AUTH_TOKEN = "a-twilio-auth-token"
RETURNS_S = 8.0  # the carrier connects again within 0.1 s; who vanished is waited for so long
CANNOT: Final = {
    "transfer": "without the account's REST interface the call cannot be handed on",
}


class Twilio:
    name = "twilio"
    peer = "the lab's carrier"
    cannot = CANNOT
    void: Final[dict[str, str]] = {}
    unproven: Final[dict[str, str]] = {}
    elsewhere = ELSEWHERE

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        del folder
        door = {"enabled": True, "auth_token": AUTH_TOKEN, "returns_within_s": RETURNS_S}
        yield {"transports": {"twilio": door}}

    @asynccontextmanager
    async def call(self, house: House) -> AsyncIterator[CarrierCaller]:
        async with Carrier(house.url, AUTH_TOKEN) as carrier:
            await house.notes.until("CallStarted")
            yield CarrierCaller(carrier)


DOOR = Twilio()
