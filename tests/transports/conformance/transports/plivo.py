"""Plivo's audio streaming, by the lab's carrier."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call, plivo_form
from tests.transports.conformance.carrier_caller import CarrierCaller
from tests.transports.conformance.server import WorkerPool
from tests.transports.conformance.transport import ELSEWHERE

RETURNS_S = 8.0  # the carrier connects again within 0.1 s; the wait for a vanished caller


class Plivo:
    name = "plivo"
    peer = "the lab's carrier"
    cannot: Final[dict[str, str]] = {}
    void: Final[dict[str, str]] = {}
    unproven: Final[dict[str, str]] = {}
    elsewhere = ELSEWHERE

    def __init__(self) -> None:
        self._account: PlivoAccount | None = None

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        del folder
        async with PlivoAccount() as account:
            self._account = account
            settings = {
                "enabled": True,
                "returns_within_s": RETURNS_S,
                "api_url": account.url,
                "auth_id": account.auth_id,
                "auth_token": account.auth_token,
            }
            yield {"transports": {"plivo": settings}}

    @asynccontextmanager
    async def call(self, pool: WorkerPool) -> AsyncIterator[CarrierCaller]:
        assert self._account
        carrier = Carrier(pool.url, "", phone=plivo_call(), manner=PlivoManner(self._account))
        self._account.register_call(carrier)
        async with carrier:
            await pool.notes.until("CallStarted")
            yield CarrierCaller(carrier, pressed=self._keys)
        await self._emit_end(pool, carrier)

    async def _emit_end(self, pool: WorkerPool, carrier: Carrier) -> None:
        """Act as the application's hangup URL: a transferred caller has no stream to close."""
        assert self._account
        form = plivo_form(carrier.phone, "completed") | {"Event": "Hangup"}
        url = f"{pool.url}/plivo/status"
        headers = self._account.signature_headers(url, form)
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, data=form) as answer,
        ):
            assert answer.ok

    def _keys(self) -> str:
        assert self._account
        return "".join(request[2].get("digits", "") for request in self._account.requests)


TRANSPORT = Plivo()
