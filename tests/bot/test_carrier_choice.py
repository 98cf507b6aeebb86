"""Which carrier places the calls of a configuration."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from bot.config.settings import Settings
from bot.outbound.call_ledger import CallLedger
from bot.outbound.carriers import carrier_of

TOKEN = SecretStr("t")
STAGES = {
    "stt": [{"name": "ears", "kind": "local"}],
    "llm": [{"name": "mind", "kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "k"}],
    "tts": [{"name": "voice", "kind": "local"}],
}
TWILIO = {"enabled": True, "account_sid": SecretStr("AC1"), "auth_token": TOKEN,
          "number": "+15005550006"}  # fmt: skip
PLIVO = {"enabled": True, "auth_id": SecretStr("MA1"), "auth_token": TOKEN,
         "number": "+15005550007"}  # fmt: skip
CHOICES: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, ""),
    "twilio": ({"twilio": TWILIO}, "TwilioCarrier"),
    "plivo": ({"plivo": PLIVO}, "PlivoCarrier"),
    "twilio before plivo": ({"twilio": TWILIO, "plivo": PLIVO}, "TwilioCarrier"),
    "a twilio without a number": (
        {"twilio": TWILIO | {"number": None}, "plivo": PLIVO}, "PlivoCarrier",
    ),
    "a plivo without a number": ({"plivo": PLIVO | {"number": None}}, ""),
    "a plivo that is closed": ({"plivo": PLIVO | {"enabled": False}}, ""),
}  # fmt: skip


def settings_with(transports: dict[str, Any]) -> Settings:
    return Settings.model_validate({"stages": STAGES, "transports": transports})


@pytest.mark.parametrize(("transports", "name"), CHOICES.values(), ids=CHOICES.keys())
async def test_the_first_that_can_call_does(transports: dict[str, Any], name: str) -> None:
    settings = settings_with(transports)
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(settings, CallLedger(), tasks)

    assert (type(carrier).__name__ if carrier else "") == name


async def test_plivo_keeps_to_the_pace_that_its_section_names() -> None:
    settings = settings_with({"plivo": PLIVO | {"calls_per_s": 7}})
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(settings, CallLedger(), tasks)

    assert getattr(carrier, "calls_per_s", None) == 7
