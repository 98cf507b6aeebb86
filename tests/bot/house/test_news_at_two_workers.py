"""What a carrier tells two workers at one moment about one call."""

import asyncio
from collections.abc import Sequence

from bot.house.joined import Joined
from bot.http.door_frame import DoorFrame
from bot.http.token_desk import StreamPass, TokenDesk
from calls.events import Event
from tests.bot.house.lines import lines
from tests.bot.house.test_carrier_book import opened
from tests.bot.house.test_shared_limits import settings_with
from tests.transports.twilio_house import House
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience

CALL = CarriedCall(call_ref="v3:x", caller="+15005550111")


def frames(houses: Sequence[Joined], told: list[Event]) -> list[DoorFrame]:
    clock = asyncio.get_running_loop().time
    return [
        DoorFrame(
            public_url="http://here", switchboard=House(), tell=told.append, clock=clock, house=each
        )
        for each in houses
    ]


async def test_a_loss_that_is_told_at_two_workers_at_once_ends_no_call() -> None:
    async with lines(settings_with()) as it:
        desks = [TokenDesk(each, "telnyx", LinePatience()) for each in frames(it.joined, [])]
        await opened(it)
        assert isinstance(await desks[0].begin(CALL), StreamPass)

        given = await asyncio.gather(*(each.follow(CALL, news_id="s-1") for each in desks))

    assert [type(each) for each in given] == [StreamPass, StreamPass]


async def test_a_loss_that_is_told_twice_at_once_at_one_worker_ends_no_call() -> None:
    async with lines(settings_with()) as it:
        desk = TokenDesk(frames(it.joined, [])[0], "telnyx", LinePatience())
        await opened(it)
        assert isinstance(await desk.begin(CALL), StreamPass)

        given = await asyncio.gather(*(desk.follow(CALL, news_id="s-1") for _ in range(2)))

    assert [type(each) for each in given] == [StreamPass, StreamPass]
