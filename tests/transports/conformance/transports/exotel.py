"""Exotel's voice bot applet, by the lab's carrier."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelManner, exotel_call
from tests.transports.conformance.carrier_caller import CarrierCaller
from tests.transports.conformance.server import WorkerPool
from tests.transports.conformance.transport import ELSEWHERE

KEY, TOKEN = "an-exotel-key", "an-exotel-token"
CANNOT: Final = {
    "transfer": "Exotel's flow decides where a call goes",
    "reconnect": "if the socket is lost, Exotel's flow goes on without the agent",
}


class Exotel:
    name = "exotel"
    peer = "the lab's carrier"
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
            yield CarrierCaller(carrier)


TRANSPORT = Exotel()
