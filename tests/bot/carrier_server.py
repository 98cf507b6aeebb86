"""A server with every carrier's routes enabled, and its callers and other clients."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelManner, exotel_call
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from lab.simulators.carrier.telnyx import TelnyxAccount, TelnyxManner, telnyx_call
from tests.bot.judged_call import AUTH_TOKEN

CARRIERS = ("twilio", "telnyx", "plivo", "exotel")
# Behaviour that all carriers share is tested on Twilio; `make test-doors` tests it on all.
TWILIO_FIRST = [
    pytest.param(text, marks=[] if text == "twilio" else pytest.mark.doors) for text in CARRIERS
]
KEY, TOKEN = "an-exotel-key", "an-exotel-token"


@dataclass(frozen=True, kw_only=True)
class OpenRoutes:
    """A server's carrier routes, and the one carrier through which callers come."""

    carrier: str
    telnyx: TelnyxAccount
    plivo: PlivoAccount

    @property
    def path(self) -> str:
        return f"/{self.carrier}/media"

    @property
    def header(self) -> str:
        proof = aiohttp.encode_basic_auth(KEY, TOKEN)
        return "Host: here" + f"\r\nAuthorization: {proof}" * (self.carrier == "exotel")

    def changes(self, **usual: Any) -> dict[str, Any]:
        """Return the configuration of the doors; `usual` is the same for Telnyx and Plivo."""
        telnyx = {
            **usual,
            "enabled": True,
            "api_url": self.telnyx.url,
            "api_key": SecretStr(self.telnyx.api_key),
            "public_key": SecretStr(self.telnyx.public_key),
        }
        plivo = {
            **usual,
            "enabled": True,
            "api_url": self.plivo.url,
            "auth_id": SecretStr(self.plivo.auth_id),
            "auth_token": SecretStr(self.plivo.auth_token),
        }
        exotel = {"enabled": True, "api_key": SecretStr(KEY), "api_token": SecretStr(TOKEN)}
        return {"transports": {"telnyx": telnyx, "plivo": plivo, "exotel": exotel}}

    def caller(self, url: str) -> Carrier:
        match self.carrier:
            case "telnyx":
                call = Carrier(url, "", phone=telnyx_call(), manner=TelnyxManner(self.telnyx))
                self.telnyx.register_call(call)
                return call
            case "plivo":
                call = Carrier(url, "", phone=plivo_call(), manner=PlivoManner(self.plivo))
                self.plivo.register_call(call)
                return call
            case "exotel":
                manner = ExotelManner(key=KEY, token=TOKEN)
                return Carrier(url, "", phone=exotel_call(), manner=manner)
            case _:
                return Carrier(url, AUTH_TOKEN)

    @asynccontextmanager
    async def media_socket(
        self, port: int, *, compress: int = 0
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        headers = {}
        if self.carrier == "exotel":
            headers = {"Authorization": aiohttp.encode_basic_auth(KEY, TOKEN)}
        url = f"ws://127.0.0.1:{port}{self.path}"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(url, compress=compress) as socket,
        ):
            yield socket


@asynccontextmanager
async def open_routes(carrier: str) -> AsyncIterator[OpenRoutes]:
    """Open an account at every carrier; callers come through one of them."""
    async with TelnyxAccount() as telnyx, PlivoAccount() as plivo:
        yield OpenRoutes(carrier=carrier, telnyx=telnyx, plivo=plivo)
