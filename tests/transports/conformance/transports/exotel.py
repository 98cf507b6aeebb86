"""Exotel's Voicebot applet, by the lab's carrier; after a lost line, the flow has it once more."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelManner, exotel_call
from tests.transports.conformance.carrier_caller import CarrierCaller
from tests.transports.conformance.server import WorkerPool
from tests.transports.conformance.transport import ELSEWHERE

KEY, TOKEN = "an-exotel-key", "an-exotel-token"
CANNOT: Final = {"transfer": "Exotel's flow decides where a call goes"}


class ExotelCaller(CarrierCaller):
    async def reset_line(self) -> None:
        applet = self._carrier.instructions.stream_url
        self._carrier.instructions = replace(self._carrier.instructions, action=applet)
        await super().reset_line()


class Exotel:
    name = "exotel"
    peer = "the lab's carrier, whose flow has a second Voicebot step"
    cannot = CANNOT
    void: Final[dict[str, str]] = {}
    unproven: Final[dict[str, str]] = {}
    elsewhere = ELSEWHERE

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        del folder
        settings = {"enabled": True, "api_key": KEY, "api_token": TOKEN}
        yield {"transports": {"exotel": settings}}

    @asynccontextmanager
    async def call(self, pool: WorkerPool) -> AsyncIterator[CarrierCaller]:
        manner = ExotelManner(key=KEY, token=TOKEN)
        async with Carrier(pool.url, "", phone=exotel_call(), manner=manner) as carrier:
            await pool.notes.until("CallStarted")
            yield ExotelCaller(carrier)


TRANSPORT = Exotel()
