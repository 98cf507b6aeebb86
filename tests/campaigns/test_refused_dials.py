"""A refused dial is over: a stopping server does not wait for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from aiohttp import web
from pydantic import SecretStr

from campaigns.dialing import DialerSettings
from campaigns.one_call import OneCall
from campaigns.order_gate import Order
from tests.campaigns.dialing import Floor, dialing, now_s, running, until
from tests.campaigns.heard_callbacks import ToldNews
from tests.campaigns.placing import ACCOUNT, OURS, A
from tests.kit.dials import OpenGate
from transports.dialling import CampaignCarrier
from transports.exotel.dialling import ExotelCarrier
from transports.exotel.rest import ExotelRest
from transports.livekit.dialling import LivekitCarrier, open_exchange
from transports.plivo.dialling import PlivoCarrier
from transports.plivo.rest import PlivoRest
from transports.telnyx.dialling import TelnyxCarrier
from transports.telnyx.rest import TelnyxRest
from transports.twilio.dialling import TwilioCarrier
from transports.twilio.rest import TwilioRest

pytestmark = pytest.mark.virtual_time

KEY: Final = SecretStr("a-key-of-thirty-two-characters-or-more")
PUBLIC: Final = "https://agent.example.com"
REFUSED: Final = -1  # the connection
HANGS: Final = 0
REFUSALS: Final = (400, 429, 503, REFUSED, HANGS)
KNOWN_S: Final = 20.0  # by then each carrier has refused, or answered nothing
STOP_S: Final = 3.0


def twilio(url: str, _: asyncio.TaskGroup) -> CampaignCarrier:
    rest = TwilioRest(account_sid=ACCOUNT, auth_token=KEY, api_url=url, public_url=PUBLIC)
    return TwilioCarrier(rest=rest, number=OURS, news=ToldNews(), calls_per_s=1.0)


def telnyx(url: str, _: asyncio.TaskGroup) -> CampaignCarrier:
    rest = TelnyxRest(api_key=KEY, api_url=url)
    return TelnyxCarrier(
        rest=rest, connection_id="1", public_url=PUBLIC, number=OURS, news=ToldNews()
    )


def plivo(url: str, _: asyncio.TaskGroup) -> CampaignCarrier:
    rest = PlivoRest(auth_id=KEY, auth_token=KEY, api_url=url, public_url=PUBLIC)
    return PlivoCarrier(rest=rest, number=OURS, news=ToldNews())


def exotel(url: str, _: asyncio.TaskGroup) -> CampaignCarrier:
    rest = ExotelRest(account_sid=SecretStr("a"), api_key=KEY, api_token=KEY, api_url=url)
    return ExotelCarrier(rest=rest, public_url=PUBLIC, number=OURS, news=ToldNews())


def livekit(url: str, tasks: asyncio.TaskGroup) -> CampaignCarrier:
    return LivekitCarrier(
        open_exchange=lambda: open_exchange(url, "key", KEY),
        trunk="t",
        room_prefix="call-",
        tasks=tasks,
    )


CARRIERS: Final = (twilio, telnyx, plivo, exotel, livekit)
CarrierAt: TypeAlias = Callable[[str, asyncio.TaskGroup], CampaignCarrier]


@asynccontextmanager
async def refusing(status: int) -> AsyncIterator[str]:
    """Run a carrier that answers everything with this status, or not at all."""

    async def answer(_: web.Request) -> web.Response:
        if status == HANGS:
            await asyncio.sleep(600.0)
        return web.json_response({"message": "no"}, status=status or 503)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        if status == REFUSED:
            await runner.cleanup()
        yield url
    finally:
        await runner.cleanup()


def order(dial_id: str) -> Order:
    return Order(id=dial_id, source="api", by="an operator", number=A)


async def placed(call: OneCall, floor: Floor, *, stop_s: float, dials: int = 1) -> float:
    """Place calls, stop the server `stop_s` later; return how long the stop waits for them.

    A status request that hangs at that moment is cut off with the request for the call.
    """
    loop = asyncio.get_running_loop()
    making = [loop.create_task(call.make(order(f"one-{at}"))) for at in range(dials)]
    await asyncio.wait(making, timeout=stop_s)
    floor.stop()
    stopped_at = loop.time()
    while call.under_way:  # noqa: ASYNC110 - as the server looks
        await asyncio.sleep(0.1)
    took_s = loop.time() - stopped_at
    await asyncio.wait(making)
    return took_s


@asynccontextmanager
async def calling(carrier_at: CarrierAt, status: int) -> AsyncIterator[tuple[OneCall, Floor]]:
    """Open a carrier that refuses every call."""
    floor = Floor()
    async with refusing(status) as url, asyncio.TaskGroup() as tasks:
        call = OneCall(
            carrier=carrier_at(url, tasks),
            gate=OpenGate(),
            calls=floor,
            pool=floor,
            settings=DialerSettings(),
            now_s=now_s,
        )
        yield call, floor


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("carrier_at", CARRIERS)
async def test_a_stopping_server_does_not_wait_for_a_refused_dial(
    carrier_at: CarrierAt, status: int
) -> None:
    async with calling(carrier_at, status) as (call, floor):
        assert await placed(call, floor, stop_s=KNOWN_S) < STOP_S


@pytest.mark.parametrize("stop_s", [0.5, 4.0])
@pytest.mark.parametrize("carrier_at", CARRIERS)
async def test_a_stopping_server_does_not_wait_for_an_unrequested_dial(
    carrier_at: CarrierAt, stop_s: float
) -> None:
    async with calling(carrier_at, 429) as (call, floor):
        assert await placed(call, floor, stop_s=stop_s, dials=8) < STOP_S


async def test_a_dial_that_waits_to_be_asked_for_again_is_put_back_when_the_server_stops(
    tmp_path: Path,
) -> None:
    async with dialing(tmp_path, A) as it, refusing(429) as url, asyncio.TaskGroup() as tasks:
        it.carrier = exotel(url, tasks)
        async with running(it) as dialer:
            await until(lambda: bool(dialer.runs))
            await asyncio.sleep(4.0)
            it.floor.stop()
            await until(lambda: not dialer.runs, within_s=STOP_S)

        standing = await it.figures.standing("c")
        assert await it.ledger() == []
        assert standing is not None
        assert standing.contacts == {"waiting": 1}
