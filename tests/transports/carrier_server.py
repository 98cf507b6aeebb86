"""A small server with every carrier's routes, and callers at each."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from fastapi import FastAPI
from pydantic import SecretStr

from bot.call.briefs import Briefs
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelManner, exotel_call
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.telnyx import (
    CODES,
    TelnyxAccount,
    TelnyxManner,
    telnyx_call,
    telnyx_payload,
)
from lab.simulators.carrier.telnyx_exchange import TelnyxExchange, telnyx_exchange
from lab.simulators.carrier.webhook import AgentServer, PhoneCall
from runtime import clock
from tests.campaigns.placing import ACCOUNT
from tests.transports.twilio_server import TOKEN as TWILIO_TOKEN
from tests.transports.twilio_server import WorkerPool, serving
from transports.announcements import WaitingAnswers
from transports.exotel.routes import ExotelAuthenticator, ExotelRoutes
from transports.media_stream.line import LinePatience
from transports.media_stream.webhooks import CarrierHost
from transports.plivo.rest import PlivoRest
from transports.plivo.routes import PlivoRoutes
from transports.telnyx.rest import TelnyxRest
from transports.telnyx.routes import TelnyxRoutes
from transports.telnyx.signature import public_key
from transports.twilio.rest import TwilioRest
from transports.twilio.routes import TwilioRoutes

KEY, TOKEN = "an-exotel-key", "an-exotel-token"


@dataclass(frozen=True, kw_only=True)
class CarrierServer:
    """The server, and a caller at each carrier."""

    pool: WorkerPool
    twilio: CarrierRest
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
        call = getattr(self, f"_{carrier}")
        return call(phone)

    def routes(
        self, patience: LinePatience, *, utc_s: Callable[[], float], hands_on: bool
    ) -> Iterator[TwilioRoutes | TelnyxRoutes | PlivoRoutes | ExotelRoutes]:
        """Yield the routes of every carrier."""
        host, ours = self.host, self.host.public_url if hands_on else ""
        rest = TwilioRest(
            account_sid=ACCOUNT,
            auth_token=SecretStr(TWILIO_TOKEN),
            api_url=self.twilio.url,
            public_url=ours,
        )
        yield TwilioRoutes(host, auth_token=rest.auth_token, rest=rest, patience=patience)
        key = public_key(self.telnyx.public_key)
        assert key is not None
        telnyx_rest = TelnyxRest(
            api_key=SecretStr(self.telnyx.api_key),
            api_url=self.telnyx.url,
            codec=self.codec,
            rate_hz=CODES[self.codec].rate_hz,
            webhook_url=f"{host.public_url}/telnyx/voice" if host.machine else "",
        )
        yield TelnyxRoutes(host, key=key, rest=telnyx_rest, utc_s=utc_s, patience=patience)
        plivo_rest = PlivoRest(
            auth_id=SecretStr(self.plivo.auth_id),
            auth_token=SecretStr(self.plivo.auth_token),
            api_url=self.plivo.url,
            public_url=ours,
        )
        yield PlivoRoutes(
            host,
            auth_token=plivo_rest.auth_token,
            rest=plivo_rest,
            content_type=self.content_type,
            patience=patience,
        )
        authenticator = ExotelAuthenticator(key=SecretStr(KEY), token=SecretStr(TOKEN))
        yield ExotelRoutes(host, authenticator=authenticator)

    async def news(self, call: Carrier, event: str, **payload: str) -> None:
        """Send a webhook about a call, as Telnyx does."""
        url = f"{self.pool.url}/telnyx/voice"
        async with aiohttp.ClientSession() as session:
            await self.telnyx.emit(session, url, event, telnyx_payload(call.phone) | payload)

    def _twilio(self, phone: PhoneCall | None) -> Carrier:
        call = Carrier(self.pool.url, TWILIO_TOKEN, phone=phone)
        self.twilio.register_call(call)
        return call

    def _telnyx(self, phone: PhoneCall | None) -> Carrier:
        manner = TelnyxManner(self.telnyx, codec=self.codec)
        call = Carrier(self.pool.url, "", phone=phone or telnyx_call(), manner=manner)
        self.telnyx.register_call(call)
        return call

    def _plivo(self, phone: PhoneCall | None) -> Carrier:
        manner = PlivoManner(self.plivo, content_type=self.content_type)
        call = Carrier(self.pool.url, "", phone=phone or plivo_call(), manner=manner)
        self.plivo.register_call(call)
        return call

    def _exotel(self, phone: PhoneCall | None) -> Carrier:
        manner = ExotelManner(key=KEY, token=TOKEN, rate_hz=self.rate_hz)
        return Carrier(self.pool.url, "", phone=phone or exotel_call(), manner=manner)


@asynccontextmanager
async def carrier_server(
    *,
    codec: str = "PCMU",
    content_type: str = "audio/x-mulaw;rate=8000",
    rate_hz: int = 8000,
    utc_s: Callable[[], float] = lambda: clock.utc_now().timestamp(),
    returns_within_s: float = 0.0,
    briefs: Briefs | None = None,
    hands_on: bool = True,
    waiting: WaitingAnswers | None = None,
) -> AsyncIterator[CarrierServer]:
    """Serve every carrier's routes on one free port of loopback.

    Args:
        codec: Telnyx's codec.
        content_type: Plivo's audio format.
        rate_hz: Exotel's sample rate.
        utc_s: Returns the seconds since 1970, to check the age of webhooks.
        returns_within_s: How long a call waits for a lost line.
        briefs: The briefs of the contacts that campaigns call.
        hands_on: Whether the carriers know the URL of the transfer webhook.
        waiting: What callers are told whose call has lost its process while no seat is free.
    """
    it, app = WorkerPool(), FastAPI()
    async with (
        serving(app) as it.port,
        CarrierRest(ACCOUNT, TWILIO_TOKEN) as twilio,
        telnyx_exchange() as exchange,
        PlivoAccount() as plivo,
    ):
        twilio.exchange.server = AgentServer(
            base_url=it.url, public_url=it.url, auth_token=TWILIO_TOKEN
        )
        server = CarrierServer(
            pool=it,
            twilio=twilio,
            exchange=exchange,
            host=it.host(briefs.load if briefs else None, waiting=waiting),
            plivo=plivo,
            codec=codec,
            content_type=content_type,
            rate_hz=rate_hz,
        )
        patience = LinePatience(returns_within_s=returns_within_s)
        for routes in server.routes(patience, utc_s=utc_s, hands_on=hands_on):
            app.include_router(routes.router)
        yield server
