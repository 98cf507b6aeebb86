"""Twilio's Media Streams, by the lab's carrier."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.webhook import AgentServer, PhoneCall
from tests.transports.conformance.carrier_caller import CarrierCaller
from tests.transports.conformance.server import WorkerPool
from tests.transports.conformance.transport import ELSEWHERE

AUTH_TOKEN = "a-twilio-auth-token"
RETURNS_S = 8.0  # the carrier connects again within 0.1 s; the wait for a vanished caller
ACCOUNT: Final = "AC" + "0" * 32


class Twilio:
    name = "twilio"
    peer = "the lab's carrier"
    cannot: Final[dict[str, str]] = {}
    void: Final[dict[str, str]] = {}
    unproven: Final[dict[str, str]] = {}
    elsewhere = ELSEWHERE

    def __init__(self) -> None:
        self._rest: CarrierRest | None = None

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        del folder
        async with CarrierRest(ACCOUNT, AUTH_TOKEN) as rest:
            self._rest = rest
            rest.exchange.callees[ELSEWHERE.number] = Callee()
            settings = {
                "enabled": True,
                "returns_within_s": RETURNS_S,
                "api_url": rest.url,
                "account_sid": ACCOUNT,
                "auth_token": AUTH_TOKEN,
            }
            yield {"transports": {"twilio": settings}}

    @asynccontextmanager
    async def call(self, pool: WorkerPool) -> AsyncIterator[CarrierCaller]:
        assert self._rest
        self._rest.exchange.server = AgentServer(
            base_url=pool.url, public_url=pool.url, auth_token=AUTH_TOKEN
        )
        carrier = Carrier(pool.url, AUTH_TOKEN, phone=PhoneCall(account_sid=ACCOUNT))
        self._rest.register_call(carrier)
        async with carrier:
            await pool.notes.until("CallStarted")
            yield CarrierCaller(carrier)


TRANSPORT = Twilio()
