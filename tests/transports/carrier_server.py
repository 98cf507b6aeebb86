"""A small server with every carrier's door, and callers who come through each."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from fastapi import FastAPI
from pydantic import SecretStr

from bot import clock
from bot.call.briefs import Briefs
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelManner, exotel_call
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from lab.simulators.carrier.telnyx import (
    CODES,
    TelnyxAccount,
    TelnyxManner,
    telnyx_call,
    telnyx_payload,
)
from lab.simulators.carrier.telnyx_exchange import TelnyxExchange, telnyx_exchange
from lab.simulators.carrier.webhook import PhoneCall
from tests.transports.twilio_server import WorkerPool, serving
from transports.exotel.routes import ExotelProof, exotel_router
from transports.media_stream.line import LinePatience
from transports.media_stream.webhooks import CarrierHost
from transports.plivo.rest import PlivoRest
from transports.plivo.routes import plivo_router
from transports.telnyx.rest import TelnyxRest
from transports.telnyx.routes import telnyx_router
from transports.telnyx.signature import public_key

KEY, TOKEN = "an-exotel-key", "an-exotel-token"


@dataclass(frozen=True, kw_only=True)
class Doors:
    """The server, and a caller by each carrier."""

    pool: WorkerPool
    exchange: TelnyxExchange
    host: CarrierHost
    plivo: PlivoAccount
    codec: str
    content_type: str
    rate_hz: int

    @property
    def telnyx(self) -> TelnyxAccount:
        """Telnyx's account."""
        return self.exchange.account

    def caller(self, carrier: str, phone: PhoneCall | None = None) -> Carrier:
        """Return a call that rings when it is entered."""
        call = {"telnyx": self._telnyx, "plivo": self._plivo, "exotel": self._exotel}[carrier]
        return call(phone)

    async def news(self, call: Carrier, event: str, **payload: str) -> None:
        """Report a call, as Telnyx."""
        url = f"{self.pool.url}/telnyx/voice"
        async with aiohttp.ClientSession() as session:
            await self.telnyx.tell(session, url, event, telnyx_payload(call.phone) | payload)

    def _telnyx(self, phone: PhoneCall | None) -> Carrier:
        manner = TelnyxManner(self.telnyx, codec=self.codec)
        call = Carrier(self.pool.url, "", phone=phone or telnyx_call(), manner=manner)
        self.telnyx.know(call)
        return call

    def _plivo(self, phone: PhoneCall | None) -> Carrier:
        manner = PlivoManner(self.plivo, content_type=self.content_type)
        call = Carrier(self.pool.url, "", phone=phone or plivo_call(), manner=manner)
        self.plivo.know(call)
        return call

    def _exotel(self, phone: PhoneCall | None) -> Carrier:
        manner = ExotelManner(key=KEY, token=TOKEN, rate_hz=self.rate_hz)
        return Carrier(self.pool.url, "", phone=phone or exotel_call(), manner=manner)


@asynccontextmanager
async def doors(
    *,
    codec: str = "PCMU",
    content_type: str = "audio/x-mulaw;rate=8000",
    rate_hz: int = 8000,
    utc_s: Callable[[], float] = lambda: clock.utc_now().timestamp(),
    returns_within_s: float = 0.0,
    briefs: Briefs | None = None,
    hands_on: bool = True,
) -> AsyncIterator[Doors]:
    """Open every carrier's door on one free port of loopback.

    Args:
        codec: Of Telnyx.
        content_type: Of Plivo.
        rate_hz: Of Exotel.
        utc_s: Seconds since 1970, to judge signatures.
        returns_within_s: The wait for a lost line.
        briefs: Of the contacts that campaigns call.
        hands_on: Whether Plivo knows the address to ask about a transfer.
    """
    it, app = WorkerPool(), FastAPI()
    async with serving(app) as it.port, telnyx_exchange() as exchange, PlivoAccount() as plivo:
        host, telnyx = it.host(briefs.load if briefs else None), exchange.account
        key = public_key(telnyx.public_key)
        assert key is not None
        rest = TelnyxRest(
            api_key=SecretStr(telnyx.api_key),
            api_url=telnyx.url,
            codec=codec,
            rate_hz=CODES[codec].rate_hz,
        )
        patience = LinePatience(returns_within_s=returns_within_s)
        app.include_router(telnyx_router(host, key=key, rest=rest, utc_s=utc_s, patience=patience))
        plivo_rest = PlivoRest(
            auth_id=SecretStr(plivo.auth_id),
            auth_token=SecretStr(plivo.auth_token),
            api_url=plivo.url,
            public_url=host.public_url if hands_on else "",
        )
        token = SecretStr(plivo.auth_token)
        router = plivo_router(
            host,
            auth_token=token,
            rest=plivo_rest,
            content_type=content_type,
            patience=patience,
        )
        app.include_router(router)
        proof = ExotelProof(key=SecretStr(KEY), token=SecretStr(TOKEN))
        app.include_router(exotel_router(host, proof=proof))
        yield Doors(
            pool=it,
            exchange=exchange,
            host=host,
            plivo=plivo,
            codec=codec,
            content_type=content_type,
            rate_hz=rate_hz,
        )
