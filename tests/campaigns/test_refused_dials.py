"""A dial that a carrier refuses is over: a server that stops then waits for none of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest
from aiohttp import web
from pydantic import SecretStr

from campaigns.carrier import CampaignCarrier
from campaigns.dialer_parts import DialerSettings
from campaigns.exotel_carrier import ExotelCarrier
from campaigns.livekit_carrier import LivekitCarrier
from campaigns.one_call import OneCall
from campaigns.plivo_carrier import PlivoCarrier
from campaigns.telnyx_carrier import TelnyxCarrier
from campaigns.twilio_carrier import TwilioCarrier
from tests.campaigns.dialing import Floor, now_s
from tests.campaigns.placing import ACCOUNT, OURS, A
from tests.campaigns.told_news import ToldNews
from transports.exotel_calls import ExotelCalls
from transports.exotel_rest import ExotelRest
from transports.livekit_dial import open_exchange
from transports.plivo_calls import PlivoCalls
from transports.plivo_rest import PlivoRest
from transports.telnyx_calls import TelnyxCalls
from transports.telnyx_rest import TelnyxRest
from transports.twilio_calls import TwilioCalls
from transports.twilio_rest import TwilioRest

pytestmark = pytest.mark.virtual_time

KEY: Final = SecretStr("a-key-of-thirty-two-characters-or-more")
PUBLIC: Final = "https://agent.example.com"
REFUSED: Final = -1  # the connection
HANGS: Final = 0
REFUSALS: Final = (400, 401, 404, 429, 500, 503, REFUSED, HANGS)
KNOWN_S: Final = 20.0  # each carrier has said by then that it does not call, or nothing
STOP_S: Final = 3.0


def twilio(url: str, _: asyncio.TaskGroup) -> CampaignCarrier:
    rest = TwilioRest(account_sid=ACCOUNT, auth_token=KEY, api_url=url)
    calls = TwilioCalls(rest=rest, public_url=PUBLIC)
    return TwilioCarrier(calls=calls, number=OURS, news=ToldNews(), calls_per_s=1.0)


def telnyx(url: str, _: asyncio.TaskGroup) -> CampaignCarrier:
    rest = TelnyxRest(api_key=KEY, api_url=url)
    calls = TelnyxCalls(rest=rest, connection_id="1", public_url=PUBLIC)
    return TelnyxCarrier(calls=calls, number=OURS, news=ToldNews())


def plivo(url: str, _: asyncio.TaskGroup) -> CampaignCarrier:
    rest = PlivoRest(auth_id=KEY, auth_token=KEY, api_url=url)
    calls = PlivoCalls(rest=rest, public_url=PUBLIC)
    return PlivoCarrier(calls=calls, number=OURS, news=ToldNews())


def exotel(url: str, _: asyncio.TaskGroup) -> CampaignCarrier:
    rest = ExotelRest(account_sid=SecretStr("a"), api_key=KEY, api_token=KEY, api_url=url)
    calls = ExotelCalls(rest=rest, public_url=PUBLIC)
    return ExotelCarrier(calls=calls, number=OURS, news=ToldNews())


def livekit(url: str, tasks: asyncio.TaskGroup) -> CampaignCarrier:
    return LivekitCarrier(
        open_exchange=lambda: open_exchange(url, "key", KEY),
        trunk="t",
        room_prefix="call-",
        tasks=tasks,
    )


@asynccontextmanager
async def refusing(status: int) -> AsyncIterator[str]:
    """Have a carrier that answers everything with this status, or not at all."""

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


async def placed(call: OneCall, floor: Floor) -> float:
    """Place a call, stop the server `KNOWN_S` later, and return how long that waits for the call.

    A look that hangs at that moment is cut off with the request that has ordered the call.
    """
    loop = asyncio.get_running_loop()
    making = loop.create_task(call.make("one-1", A))
    await asyncio.wait([making], timeout=KNOWN_S)
    floor.leaving, stopped_at = True, loop.time()
    while call.under_way:  # noqa: ASYNC110 - as the server looks
        await asyncio.sleep(0.1)
    took_s = loop.time() - stopped_at
    await making
    return took_s


@pytest.mark.parametrize(
    ("carrier_at", "status"),
    [
        (carrier_at, status)
        for carrier_at in (twilio, telnyx, plivo, exotel, livekit)
        for status in REFUSALS
        if (carrier_at, status) != (exotel, 429)  # asked again after 15 s; a stop waits for 5
    ],
)
async def test_a_server_that_stops_does_not_wait_for_a_refused_dial(
    carrier_at: Callable[[str, asyncio.TaskGroup], CampaignCarrier], status: int
) -> None:
    floor = Floor()
    async with refusing(status) as url, asyncio.TaskGroup() as tasks:
        call = OneCall(
            carrier=carrier_at(url, tasks),
            calls=floor,
            house=floor,
            settings=DialerSettings(),
            now_s=now_s,
        )
        took_s = await placed(call, floor)

    assert took_s < STOP_S
