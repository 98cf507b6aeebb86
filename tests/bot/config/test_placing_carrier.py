"""Through whom a configuration places calls."""

import asyncio
from typing import Any

import pytest

from bot.config.settings import Settings
from bot.outbound.carrier_book import CarrierBook
from bot.outbound.carriers import carrier_of
from campaigns.telnyx_carrier import TelnyxCarrier
from campaigns.twilio_carrier import TwilioCarrier

NUMBER = "+15005550006"
TWILIO = {"enabled": True, "account_sid": "AC1", "auth_token": "t", "number": NUMBER}
TELNYX = {
    "enabled": True,
    "api_key": "k",
    "public_key": "p",
    "connection_id": "1684641123236054244",
    "number": NUMBER,
}
STAGES = {each: [{"name": each, "kind": "local"}] for each in ("stt", "tts")} | {
    "llm": [{"kind": "openai", "name": "mind", "url": "http://127.0.0.1:9/v1", "api_key": "k"}]
}
PLACING: dict[str, tuple[dict[str, Any], type | None]] = {
    "nobody": ({}, None),
    "telnyx": ({"telnyx": TELNYX}, TelnyxCarrier),
    "twilio first": ({"twilio": TWILIO, "telnyx": TELNYX}, TwilioCarrier),
    "telnyx without its application": ({"telnyx": TELNYX | {"connection_id": None}}, None),
    "telnyx without a number": ({"telnyx": TELNYX | {"number": None}}, None),
    "telnyx, closed": ({"telnyx": TELNYX | {"enabled": False}}, None),
}


@pytest.mark.parametrize(("transports", "kind"), PLACING.values(), ids=PLACING.keys())
async def test_who_places_the_calls(transports: dict[str, Any], kind: type | None) -> None:
    settings = Settings.model_validate({"stages": STAGES, "transports": transports})
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(settings, CarrierBook(), tasks)

    assert carrier is None if kind is None else isinstance(carrier, kind)


async def test_telnyx_is_told_to_listen_and_how_fast_it_may_be_asked() -> None:
    more = {"machine_detection": "premium", "calls_per_s": 4.0}
    transports = {"telnyx": TELNYX | more}
    settings = Settings.model_validate({"stages": STAGES, "transports": transports})
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(settings, CarrierBook(), tasks)

    assert isinstance(carrier, TelnyxCarrier)
    assert (carrier.machine, carrier.calls_per_s) == ("premium", 4.0)
