"""An account at each carrier of the lab, and our carrier for it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import pytest
from pydantic import SecretStr

from bot.call.briefs import Briefs
from calls.events import Event
from calls.leg_events import AnswererJudged, LegAnswered, LegEnded, LegRinging
from configuration.agent import AgentSettings
from fallbacks.failure import Kind, ServiceError
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelAccount
from lab.simulators.carrier.plivo import PlivoAccount
from lab.simulators.carrier.plivo_exchange import PlivoRestApi
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.telnyx_exchange import TelnyxExchange, telnyx_exchange
from lab.simulators.carrier.webhook import AgentServer
from tests.campaigns.heard_callbacks import ToldNews
from tests.campaigns.placing import ACCOUNT, OURS, A, B, request
from tests.transports.carrier_server import KEY, TOKEN, CarrierServer, carrier_server
from tests.transports.twilio_server import TOKEN as TWILIO_TOKEN
from tests.transports.twilio_server import until
from transports.dialling import CarrierError, DialRefusedError, DialRequest
from transports.exotel.dialling import ExotelCarrier
from transports.exotel.rest import ExotelRest
from transports.plivo.dialling import PlivoCarrier
from transports.plivo.rest import PlivoRest
from transports.telnyx.dialling import TelnyxCarrier
from transports.telnyx.rest import TelnyxRest
from transports.twilio.dialling import TwilioCarrier
from transports.twilio.rest import TwilioRest

PUBLIC: Final = "https://agent.example.com"


@dataclass(kw_only=True)
class Account:
    """One account.

    Attributes:
        api: Accepts dial requests; has `book` and `swallow`.
        faults: Answers with its `answer_with`, if that is set.
        exchange: Rings the callees; has `callees` and `placed`.
        rest: Our REST client.
        key: The field of the client that holds the account's secret.
        make: Makes our carrier.
        news: The reports of callbacks; empty until a test adds some.
    """

    api: Any
    faults: Any
    exchange: Any
    rest: Any
    key: str
    make: Callable[..., Any]
    news: ToldNews = field(default_factory=ToldNews)

    def __post_init__(self) -> None:
        self.carrier = self.make(rest=self.rest, number=OURS, news=self.news)

    def another(self, news: Any = None, **rest: Any) -> Any:
        """Return the carrier of another process, perhaps with another client."""
        changed = replace(self.rest, **rest)
        return self.make(rest=changed, number=OURS, news=news or ToldNews(told=self.news.told))

    @property
    def placed(self) -> Any:
        """The one call that was placed."""
        [placed] = self.exchange.placed.values()
        return placed

    @property
    def ids(self) -> list[str]:
        """The carrier's ids of the ordered calls."""
        return [order[0] for order in self.api.book]


@asynccontextmanager
async def twilio(url: str, *, given: CarrierRest | None = None) -> AsyncIterator[Account]:
    async with nullcontext(given) if given else CarrierRest(ACCOUNT, TWILIO_TOKEN) as api:
        rest = TwilioRest(
            account_sid=ACCOUNT, auth_token=SecretStr(TWILIO_TOKEN), api_url=api.url, public_url=url
        )
        yield Account(
            api=api,
            faults=api,
            exchange=api.exchange,
            rest=rest,
            key="auth_token",
            make=TwilioCarrier,
        )


@asynccontextmanager
async def telnyx(url: str, *, given: TelnyxExchange | None = None) -> AsyncIterator[Account]:
    async with nullcontext(given) if given else telnyx_exchange() as api:
        api.mute = given is None
        rest = TelnyxRest(api_key=SecretStr(api.account.api_key), api_url=api.account.url)
        yield Account(
            api=api,
            faults=api.account,
            exchange=api,
            rest=rest,
            key="api_key",
            make=partial(TelnyxCarrier, connection_id=api.connection_id, public_url=url),
        )


@asynccontextmanager
async def plivo(url: str, *, given: PlivoAccount | None = None) -> AsyncIterator[Account]:
    server = AgentServer(base_url=url, public_url=url, auth_token="") if given else None
    async with (
        nullcontext(given) if given else PlivoAccount() as account,
        PlivoRestApi(account, server) as api,
    ):
        rest = PlivoRest(
            auth_id=SecretStr(account.auth_id),
            auth_token=SecretStr(account.auth_token),
            api_url=account.url,
            public_url=url,
        )
        yield Account(
            api=api,
            faults=account,
            exchange=api.exchange,
            rest=rest,
            key="auth_token",
            make=PlivoCarrier,
        )


@asynccontextmanager
async def exotel(url: str, *, given: tuple[str, str] | None = None) -> AsyncIterator[Account]:
    server = AgentServer(base_url=url, public_url=url, auth_token="") if given else None
    async with ExotelAccount(server) as api:
        api.api_key, api.api_token = given or (api.api_key, api.api_token)
        rest = ExotelRest(
            account_sid=SecretStr(api.account_sid),
            api_key=SecretStr(api.api_key),
            api_token=SecretStr(api.api_token),
            api_url=api.url,
        )
        yield Account(
            api=api,
            faults=api,
            exchange=api.exchange,
            rest=rest,
            key="api_token",
            make=partial(ExotelCarrier, public_url=url),
        )


OPENERS: Final[Mapping[str, Callable[..., AbstractAsyncContextManager[Account]]]] = {
    "twilio": twilio,
    "telnyx": telnyx,
    "plivo": plivo,
    "exotel": exotel,
}


@asynccontextmanager
async def unheard(name: str, **callees: Callee) -> AsyncIterator[Account]:
    """Open an account whose callbacks are not delivered; A is busy, and B does not answer."""
    async with OPENERS[name](PUBLIC) as it:
        it.exchange.callees = {A: Callee(fate="busy"), B: Callee(fate="no-answer")} | callees
        yield it


async def lost(it: Account, wanted: DialRequest) -> None:
    """Place a call whose answer is lost."""
    it.api.swallow = 1
    with pytest.raises(CarrierError) as error:
        await it.carrier.dial(wanted)
    assert not isinstance(error.value, DialRefusedError)


async def failure_of(carrier: Any) -> Kind:
    """Place a call that fails; return why it failed."""
    with pytest.raises(CarrierError) as error:
        await carrier.dial(request("d-1"))
    assert not isinstance(error.value, DialRefusedError)
    assert "s3cret" not in str(error.value)
    assert isinstance(error.value.__cause__, ServiceError)
    return error.value.__cause__.failure.kind


LEG: Final = (LegRinging, LegAnswered, LegEnded, AnswererJudged)


@dataclass(frozen=True, kw_only=True)
class Dialling:
    """A server, and an account whose calls and callbacks reach it."""

    server: CarrierServer
    account: Account

    async def dial(self, **more: Any) -> str:
        """Place a call; return the carrier's id of it."""
        await self.account.carrier.dial(replace(request("d-1"), **more))
        return self.account.ids[-1]

    def facts(self, *kinds: type[Event]) -> list[Event]:
        """Return the events of the leg."""
        return [event for event in self.server.pool.told if isinstance(event, kinds or LEG)]

    async def person(self) -> Carrier:
        """Wait for the person who answers, and return their telephone."""
        await until(lambda: self.account.placed.carrier is not None)
        return self.account.placed.carrier

    async def ended(self) -> LegEnded:
        """Wait for the end of the leg, and return it."""
        await until(lambda: bool(self.facts(LegEnded)))
        [ended] = self.facts(LegEnded)
        assert isinstance(ended, LegEnded)
        return ended


@asynccontextmanager
async def dialling(
    name: str, callee: Callee, *, returns_within_s: float = 30.0, briefs: Briefs | None = None
) -> AsyncIterator[Dialling]:
    """Open a server and an account; A is the callee."""
    async with carrier_server(returns_within_s=returns_within_s, briefs=briefs) as server:
        far_ends = {
            "twilio": server.twilio,
            "telnyx": server.exchange,
            "plivo": server.plivo,
            "exotel": (KEY, TOKEN),
        }
        async with OPENERS[name](server.pool.url, given=far_ends[name]) as account:
            account.exchange.callees[A] = callee
            yield Dialling(server=server, account=account)


def no_briefs() -> Briefs:
    """Return briefs that know no dial."""

    async def look_up(_: str) -> AgentSettings | None:
        return None

    briefs = Briefs()
    briefs.look_up = look_up
    return briefs
