"""Which carrier places the calls of a configuration."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from bot.carriers import carrier_of
from bot.outbound.call_ledger import CarrierReports
from configuration.settings import Settings
from tests.kit.stages import STAGES
from transports.telnyx.dialling import TelnyxCarrier

TOKEN = SecretStr("t")
TWILIO = {"enabled": True, "account_sid": SecretStr("AC1"), "auth_token": TOKEN,
          "number": "+15005550006"}  # fmt: skip
TELNYX = {"enabled": True, "api_key": SecretStr("k"), "public_key": SecretStr("p"),
          "connection_id": "1684641123236054244", "number": "+15005550006"}  # fmt: skip
PLIVO = {"enabled": True, "auth_id": SecretStr("MA1"), "auth_token": TOKEN,
         "number": "+15005550007"}  # fmt: skip
EXOTEL = {"enabled": True, "account_sid": SecretStr("ex1"), "api_key": SecretStr("k"),
          "api_token": TOKEN, "number": "+15005550008"}  # fmt: skip
LIVEKIT = {"enabled": True, "api_key": SecretStr("k"), "api_secret": TOKEN,
           "sip": {"server": "sip.example.com"}}  # fmt: skip
CHOICES: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, ""),
    "twilio": ({"twilio": TWILIO}, "TwilioCarrier"),
    "telnyx": ({"telnyx": TELNYX}, "TelnyxCarrier"),
    "plivo": ({"plivo": PLIVO}, "PlivoCarrier"),
    "exotel": ({"exotel": EXOTEL}, "ExotelCarrier"),
    "livekit": ({"livekit": LIVEKIT}, "LivekitCarrier"),
    "twilio before telnyx": ({"twilio": TWILIO, "telnyx": TELNYX}, "TwilioCarrier"),
    "twilio before plivo": ({"twilio": TWILIO, "plivo": PLIVO}, "TwilioCarrier"),
    "twilio before livekit": ({"twilio": TWILIO, "livekit": LIVEKIT}, "TwilioCarrier"),
    "telnyx before plivo": ({"telnyx": TELNYX, "plivo": PLIVO}, "TelnyxCarrier"),
    "telnyx before livekit": ({"telnyx": TELNYX, "livekit": LIVEKIT}, "TelnyxCarrier"),
    "plivo before exotel": ({"plivo": PLIVO, "exotel": EXOTEL}, "PlivoCarrier"),
    "plivo before livekit": ({"plivo": PLIVO, "livekit": LIVEKIT}, "PlivoCarrier"),
    "exotel before livekit": ({"exotel": EXOTEL, "livekit": LIVEKIT}, "ExotelCarrier"),
    "a twilio without a number": (
        {"twilio": TWILIO | {"number": None}, "plivo": PLIVO}, "PlivoCarrier",
    ),
    "a telnyx without its application": ({"telnyx": TELNYX | {"connection_id": None}}, ""),
    "a telnyx without a number": ({"telnyx": TELNYX | {"number": None}}, ""),
    "a telnyx that is closed": ({"telnyx": TELNYX | {"enabled": False}}, ""),
    "a plivo without a number": ({"plivo": PLIVO | {"number": None}}, ""),
    "a plivo that is closed": ({"plivo": PLIVO | {"enabled": False}}, ""),
    "an exotel without a number": ({"exotel": EXOTEL | {"number": None}}, ""),
    "an exotel without its account": ({"exotel": EXOTEL | {"account_sid": None}}, ""),
    "an exotel without its token": ({"exotel": EXOTEL | {"api_token": None}}, ""),
    "an exotel that is closed": ({"exotel": EXOTEL | {"enabled": False}}, ""),
}  # fmt: skip


def settings_with(transports: dict[str, Any]) -> Settings:
    return Settings.model_validate({"stages": STAGES, "transports": transports})


@pytest.mark.parametrize(("transports", "name"), CHOICES.values(), ids=CHOICES.keys())
async def test_the_first_carrier_that_can_call_is_used(
    transports: dict[str, Any], name: str
) -> None:
    settings = settings_with(transports)
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(settings, CarrierReports(), tasks)

    assert (type(carrier).__name__ if carrier else "") == name


async def test_telnyx_gets_its_detection_setting_and_its_request_rate() -> None:
    more = {"machine_detection": "premium", "calls_per_s": 4.0}
    settings = settings_with({"telnyx": TELNYX | more})
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(settings, CarrierReports(), tasks)

    assert isinstance(carrier, TelnyxCarrier)
    assert (carrier.machine, carrier.calls_per_s) == ("premium", 4.0)


@pytest.mark.parametrize(("name", "section"), [("plivo", PLIVO), ("exotel", EXOTEL)])
async def test_a_carrier_keeps_the_pace_of_its_section(name: str, section: dict[str, Any]) -> None:
    settings = settings_with({name: section | {"calls_per_s": 7}})
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(settings, CarrierReports(), tasks)

    assert getattr(carrier, "calls_per_s", None) == 7
