"""Telnyx's media streaming, by the lab's carrier."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.telnyx import TelnyxAccount, TelnyxManner, telnyx_call
from tests.transports.conformance.carrier_caller import CarrierCaller
from tests.transports.conformance.server import WorkerPool
from tests.transports.conformance.transport import ELSEWHERE

RETURNS_S = 8.0  # the carrier connects again within 0.1 s; the wait for a vanished caller


class Telnyx:
    name = "telnyx"
    peer = "the lab's carrier"
    cannot: Final[dict[str, str]] = {}
    void: Final[dict[str, str]] = {}
    unproven: Final[dict[str, str]] = {}
    elsewhere = ELSEWHERE

    def __init__(self) -> None:
        self._account: TelnyxAccount | None = None

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        del folder
        async with TelnyxAccount() as account:
            self._account = account
            account.people[ELSEWHERE.number] = "answered"
            settings = {
                "enabled": True,
                "returns_within_s": RETURNS_S,
                "api_url": account.url,
                "api_key": account.api_key,
                "public_key": account.public_key,
            }
            yield {"transports": {"telnyx": settings}}

    @asynccontextmanager
    async def call(self, pool: WorkerPool) -> AsyncIterator[CarrierCaller]:
        assert self._account
        manner = TelnyxManner(self._account)
        carrier = Carrier(pool.url, "", phone=telnyx_call(), manner=manner)
        self._account.register_call(carrier)
        async with carrier:
            await pool.notes.until("CallStarted")
            yield CarrierCaller(carrier, pressed=self._keys)

    def _keys(self) -> str:
        assert self._account
        asked = [command for command in self._account.commands if command[1] == "send_dtmf"]
        return "".join(text[2]["digits"] for text in asked)


TRANSPORT = Telnyx()
