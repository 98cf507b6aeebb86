"""Simultaneous callbacks about one call at two workers."""

import asyncio
from collections.abc import Sequence

import pytest

from bot.workers.pool_client import PoolClient
from calls.events import Event
from calls.leg_events import LegEnded
from calls.leg_progress import StatusCallback
from tests.bot.outbound.test_call_ledger import opened
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with
from tests.transports.twilio_server import WorkerPool
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.tokens import StreamPass, StreamTokens
from transports.media_stream.webhooks import CarrierHost, StatusCallbacks

CALL = CarriedCall(call_ref="v3:x", caller="+15005550111")
ENDED = StatusCallback(call_ref="v3:x", status="completed")
ANSWERED = StatusCallback(call_ref="v3:x", status="in-progress")
MACHINE = StatusCallback(call_ref="v3:x", answered_by="machine_start")


def hosts(houses: Sequence[PoolClient], told: list[Event]) -> list[CarrierHost]:
    clock = asyncio.get_running_loop().time
    return [
        CarrierHost(
            addresses=("http://here",),
            answer=WorkerPool().answer,
            emit=told.append,
            clock=clock,
            pool=pool,
        )
        for pool in houses
    ]


async def test_a_loss_reported_to_two_workers_at_once_does_not_end_the_call() -> None:
    async with lines(settings_with()) as it:
        desks = [StreamTokens(host, "telnyx", LinePatience()) for host in hosts(it.joined, [])]
        await opened(it)
        assert isinstance(await desks[0].hold_seat(CALL), StreamPass)

        given = await asyncio.gather(*(desk.follow(CALL, news_id="s-1") for desk in desks))

    assert [type(item) for item in given] == [StreamPass, StreamPass]


async def test_a_loss_reported_twice_at_once_to_one_worker_does_not_end_the_call() -> None:
    async with lines(settings_with()) as it:
        desk = StreamTokens(hosts(it.joined, [])[0], "telnyx", LinePatience())
        await opened(it)
        assert isinstance(await desk.hold_seat(CALL), StreamPass)

        given = await asyncio.gather(*(desk.follow(CALL, news_id="s-1") for _ in range(2)))

    assert [type(item) for item in given] == [StreamPass, StreamPass]


async def test_a_calls_end_reported_to_two_workers_at_once_is_reported_once() -> None:
    told: list[Event] = []
    async with lines(settings_with()) as it:
        callbacks = [StatusCallbacks(host, "telnyx") for host in hosts(it.joined, told)]
        await opened(it)

        await asyncio.gather(*(callback.take(ENDED) for callback in callbacks))

    assert [type(event) for event in told] == [LegEnded]


@pytest.mark.parametrize(
    "news", [(ANSWERED, MACHINE), (MACHINE, ANSWERED)], ids=["answer first", "verdict first"]
)
async def test_a_detection_at_one_worker_during_the_answer_at_another_is_kept(
    news: tuple[StatusCallback, StatusCallback],
) -> None:
    told: list[Event] = []
    async with lines(settings_with()) as it:
        callbacks = [StatusCallbacks(host, "telnyx") for host in hosts(it.joined, told)]
        await opened(it)

        taken = zip(callbacks, news, strict=True)
        await asyncio.gather(*(callback.take(said) for callback, said in taken))
        await callbacks[0].take(ENDED)

    assert [event.outcome for event in told if isinstance(event, LegEnded)] == ["voicemail"]


async def test_a_worker_that_dies_while_it_holds_the_lock_does_not_block_others() -> None:
    told: list[Event] = []
    async with lines(settings_with()) as it:
        callbacks = [StatusCallbacks(host, "telnyx") for host in hosts(it.joined, told)]
        await opened(it)
        assert await it.joined[0].peers.claim("telnyx progress v3:x")

        waiting = asyncio.ensure_future(callbacks[1].take(ENDED))
        await it.settle()
        it.office.lose(it.desks[0])  # type: ignore[arg-type] - without a process
        await waiting

    assert [type(event) for event in told] == [LegEnded]
