"""Values stored for other workers, and which one is dropped when full."""

import gc
import weakref

from bot.workers.pool import MAX_KEPT, KeyValueStore, SingleProcess
from calls.events import Event
from calls.leg_progress import StatusCallback
from tests.transports.twilio_server import WorkerPool
from transports.media_stream.tokens import Kept, StreamedCalls
from transports.media_stream.webhooks import CarrierHost, StatusCallbacks


async def test_the_oldest_value_of_the_same_kind_is_dropped() -> None:
    room = KeyValueStore(clock=lambda: 0.0, most=2)
    await room.keep("call one", 1, for_s=60)
    for name in ("progress one", "progress two", "progress three"):
        await room.keep(name, name, for_s=60)

    assert await room.take("call one") == 1
    assert await room.take("progress one") is None
    assert await room.take("progress three") == "progress three"


async def test_an_expired_value_is_dropped_first() -> None:
    moments = iter([0.0, 0.0, 10.0, 10.0, 10.0])
    room = KeyValueStore(clock=lambda: next(moments), most=2)
    await room.keep("call old but good", 1, for_s=60)
    await room.keep("call too old", 2, for_s=5)
    await room.keep("call new", 3, for_s=60)

    assert await room.take("call old but good") == 1
    assert await room.take("call new") == 3


async def test_a_call_can_be_resumed_however_many_others_were_stored_meanwhile() -> None:
    pool, told = SingleProcess(why_closed=str, clock=lambda: 0.0), list[Event]()
    host = CarrierHost(
        addresses=(),
        answer=WorkerPool().answer,
        emit=told.append,
        clock=lambda: 0.0,
        pool=pool,
    )
    streamed_calls, callbacks = StreamedCalls(pool, "twilio"), StatusCallbacks(host, "twilio")
    kept = Kept(call_sid="CA1")
    await streamed_calls.keep(kept)
    for number in range(MAX_KEPT):
        said = StatusCallback(call_ref=f"CA-other-{number}", ref="", status="ringing")
        await callbacks.take(said)

    assert await streamed_calls.forget("CA1") == kept


async def test_a_renewed_value_does_not_displace_another() -> None:
    room = KeyValueStore(clock=lambda: 0.0, most=2)
    await room.keep("call one", 1, for_s=60)
    await room.keep("call two", 2, for_s=60)
    await room.keep("call two", 3, for_s=60)

    assert (await room.take("call one"), await room.take("call two")) == (1, 3)


async def test_a_value_that_is_not_taken_in_time_expires() -> None:
    class Words:
        pass

    now, words = [0.0], Words()
    kept = weakref.ref(words)
    room = KeyValueStore(clock=lambda: now[0])
    await room.keep("call one", words, for_s=60)
    del words
    now[0] = 60.0
    await room.keep("call two", 2, for_s=60)
    gc.collect()

    assert kept() is None
