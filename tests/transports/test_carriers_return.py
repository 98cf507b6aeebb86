"""A call outlives its stream on every carrier that connects its caller again."""

import asyncio

import pytest

from tests.transports.carrier_server import carrier_server
from tests.transports.test_twilio_returns import WORDS, all_said, so_far, speak, torn, whole
from tests.transports.twilio_server import tone, until

pytestmark = pytest.mark.virtual_time

RETURNING = pytest.mark.parametrize("carrier", ["telnyx", "plivo"])


@RETURNING
@pytest.mark.parametrize("code", [None, 1011], ids=["reset", "1011"])
async def test_an_answer_continues_at_the_first_unheard_word(
    carrier: str, code: int | None
) -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller(carrier) as caller:
        call = await it.pool.call()
        await speak(call)
        await so_far(caller, 0.7)
        await caller.break_off(code)
        await all_said(call)

        assert whole(caller) == list(WORDS)
        assert torn(caller) == ["three"]
        assert call.below.got == [*WORDS, "stopped"]
        assert (it.pool.told, call.gone_for, len(it.pool.calls)) == ([], [], 1)
        assert caller.complaints == []


@RETURNING
async def test_the_caller_is_heard_on_the_new_stream(carrier: str) -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller(carrier) as caller:
        call = await it.pool.call()
        await caller.break_off()
        await until(lambda: len(caller.lost_at) == 1)
        await asyncio.sleep(0.3)
        before = len(call.ears.audio)
        await caller.say(tone(0.2))
        await caller.press("5")
        await until(lambda: call.ears.keys == ["5"])

        assert len(call.ears.audio) - before >= 0.2 * 8000 * 2


@pytest.mark.parametrize("after_s", [1.0, 7.0], ids=["1 s", "7 s"])
async def test_a_new_streams_pieces_are_heard_although_their_count_restarts(
    after_s: float,
) -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller("telnyx") as caller:
        call = await it.pool.call()
        await asyncio.sleep(after_s)
        await caller.break_off()
        await until(lambda: len(caller.lost_at) == 1)
        await asyncio.sleep(0.3)
        before = len(call.ears.audio)
        await caller.say(tone(0.2))
        await asyncio.sleep(6.0)  # a silent line is given up after 5 s

        assert len(call.ears.audio) - before >= 6.0 * 8000 * 2
        assert len(caller.lost_at) == 1


@RETURNING
async def test_a_caller_who_hung_up_is_not_connected_again(carrier: str) -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller(carrier) as caller:
        call = await it.pool.call()
        await caller.hang_up()
        await asyncio.wait_for(call.over.wait(), 5)

        assert call.gone_for == ["caller_hung_up"]
        assert caller.lost_at == []


@RETURNING
async def test_a_call_that_the_agent_ended_gets_no_other_stream(carrier: str) -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller(carrier) as caller:
        call = await it.pool.call()
        it.telnyx.refuses["hangup"] = it.plivo.answer_with = 500  # ours does not get through
        await call.leg.hang_up()
        it.telnyx.refuses.clear()
        await asyncio.wait_for(caller.ended.wait(), 5)
        await call.worker.cancel()

        assert caller.ended_by == "agent"
        assert len(caller.lost_at) == 1
        assert len(it.pool.calls) == 1


@RETURNING
async def test_a_call_that_is_not_reconnected_ends(carrier: str) -> None:
    async with carrier_server(returns_within_s=2) as it, it.caller(carrier) as caller:
        call = await it.pool.call()
        caller.action_s = 60.0
        await caller.break_off()
        await asyncio.wait_for(call.over.wait(), 10)

        assert call.gone_for == ["connection_lost"]


async def test_telnyxs_report_of_the_end_ends_a_waiting_call() -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller("telnyx") as caller:
        call = await it.pool.call()
        caller.action_s = 60.0
        await caller.break_off()
        await until(lambda: len(caller.lost_at) == 1)
        await it.news(caller, "call.hangup")
        await asyncio.wait_for(call.over.wait(), 5)

        assert call.gone_for == ["caller_hung_up"]


@pytest.mark.parametrize("why_closed", ["", "full", "draining"])
async def test_a_repeated_event_is_handled_once(why_closed: str) -> None:
    async with carrier_server(returns_within_s=30) as it, it.caller("telnyx") as caller:
        await it.pool.call()
        it.pool.why_closed = why_closed
        await it.news(caller, "call.initiated")
        await it.news(caller, "call.answered")
        await it.news(caller, "call.speak.ended")

        ref = caller.phone.call_sid
        assert len(it.telnyx.asked_so_far(ref, "answer", "streaming_start")) == 2
        assert len(it.pool.calls) == 1
        assert it.pool.told == []
