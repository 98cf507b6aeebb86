"""A call over each carrier's media stream, with a caller at the far end of a real socket."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.frames.frames import EndFrame, InterruptionFrame, TTSAudioRawFrame

from calls.events import CallRefused, ProviderFailed
from lab.simulators.carrier.webhook import NotConnectedError
from tests.transports.carrier_server import CarrierServer, carrier_server
from tests.transports.twilio_server import Call, until
from transports.rest import CARRIER_REQUEST_S

pytestmark = pytest.mark.virtual_time

CARRIERS = ("telnyx", "plivo", "exotel")  # each with several rates


def tone(seconds: float, rate_hz: int, hz: float = 440.0) -> NDArray[np.int16]:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (8000 * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def loud_s(pcm: NDArray[np.int16], rate_hz: int) -> float:
    """Seconds of sound, counted in stretches of 5 ms."""
    step = rate_hz // 200
    frames = np.abs(pcm[: len(pcm) // step * step].astype(int)).reshape(-1, step).max(axis=1)
    return np.count_nonzero(frames > 200) * 0.005


async def say(call: Call, seconds: float, hz: float = 440.0) -> None:
    rate_hz = call.leg.facts.sample_rate_hz
    await call.say(tone(seconds, rate_hz, hz), rate_hz=rate_hz)


WIDE = {
    "usual": {},
    "wide": {"codec": "L16", "content_type": "audio/x-l16;rate=16000", "rate_hz": 16000},
    "widest": {"codec": "PCMU", "content_type": "audio/x-l16;rate=8000", "rate_hz": 24000},
}


@pytest.fixture
async def it(request: pytest.FixtureRequest) -> AsyncIterator[CarrierServer]:
    async with carrier_server(**WIDE[request.param]) as opened:
        yield opened


@pytest.fixture
async def usual() -> AsyncIterator[CarrierServer]:
    async with carrier_server() as opened:
        yield opened


EVERY = pytest.mark.parametrize("carrier", ["twilio", *CARRIERS])
WITH_EVERY_RATE = pytest.mark.parametrize(
    ("it", "carrier"),
    [("usual", "twilio"), *((wide, carrier) for wide in WIDE for carrier in CARRIERS)],
    indirect=["it"],
)


async def the_call(it: CarrierServer) -> Call:
    return await it.pool.call()


@WITH_EVERY_RATE
async def test_caller_and_agent_hear_each_other(it: CarrierServer, carrier: str) -> None:
    async with it.caller(carrier) as caller:
        call = await the_call(it)
        rate_hz = caller.rate_hz

        await caller.say(tone(0.4, rate_hz))
        await say(call, 0.5, 300)
        heard = await caller.listen(quiet_s=0.3)

        assert call.leg.facts.sample_rate_hz == min(rate_hz, 16_000)
        assert loud_s(heard, rate_hz) == pytest.approx(0.5, abs=0.05)
        assert call.leg.played_s() == pytest.approx(0.5, abs=0.05)
        came = np.frombuffer(bytes(call.ears.audio), dtype="<i2")
        assert loud_s(came, call.leg.facts.sample_rate_hz) == pytest.approx(0.4, abs=0.05)
        spectrum = np.abs(np.fft.rfft(heard.astype(float)))
        assert np.argmax(spectrum) * rate_hz / heard.size == pytest.approx(300, abs=5)
        assert len(caller.ear.bursts) == 1
        assert caller.complaints == []
        assert it.pool.told == []


@EVERY
async def test_both_numbers_and_the_carriers_own_call_id_are_known(
    usual: CarrierServer, carrier: str
) -> None:
    async with usual.caller(carrier) as caller:
        facts = (await the_call(usual)).leg.facts

        assert facts.transport == carrier
        assert facts.caller.endswith("15005550006")
        assert facts.called.endswith("15005550100")
        assert facts.call_ref == caller.phone.call_sid


@EVERY
async def test_a_barge_in_silences_the_agent_and_only_heard_words_count(
    usual: CarrierServer, carrier: str
) -> None:
    async with usual.caller(carrier) as caller:
        call = await the_call(usual)

        await say(call, 3.0)
        await until(lambda: (call.leg.played_s() or 0) > 0.3)
        at_s = caller.now_s
        await call.worker.queue_frame(InterruptionFrame())
        await asyncio.sleep(0.3)

        [burst] = caller.ear.bursts
        assert burst.end / caller.rate_hz - at_s < 0.05
        heard_s = loud_s(caller.heard(), caller.rate_hz)
        assert 0.3 < (call.leg.played_s() or 0) <= heard_s + 0.01

        before_s = call.leg.played_s() or 0
        await say(call, 0.4)
        heard = await caller.listen(quiet_s=0.3)

        assert loud_s(heard, caller.rate_hz) == pytest.approx(0.4, abs=0.05)
        assert (call.leg.played_s() or 0) - before_s == pytest.approx(0.4, abs=0.05)
        assert caller.complaints == []


@EVERY
async def test_the_goodbye_is_heard_to_its_end_before_the_line_is_closed(
    usual: CarrierServer, carrier: str
) -> None:
    async with usual.caller(carrier) as caller:
        call = await the_call(usual)
        rate_hz = call.leg.facts.sample_rate_hz

        pcm = tone(0.53, rate_hz).tobytes()
        await call.worker.queue_frame(TTSAudioRawFrame(pcm, rate_hz, 1))
        await call.worker.queue_frame(EndFrame())
        await asyncio.wait_for(caller.ended.wait(), 5)

        heard_s = loud_s(caller.heard(), caller.rate_hz)
        assert heard_s == pytest.approx(0.53, abs=0.03)
        await asyncio.wait_for(call.over.wait(), 5)
        assert call.gone_for == []


@EVERY
async def test_keys_reach_the_pipeline_in_order_also_in_a_burst(
    usual: CarrierServer, carrier: str
) -> None:
    keys = "1234567890*#" * 3
    async with usual.caller(carrier) as caller:
        call = await the_call(usual)

        for key in keys:
            await caller.press(key)
        await asyncio.sleep(0.1)

        assert "".join(call.ears.keys) == keys


@EVERY
async def test_a_caller_who_hangs_up_is_reported_once(usual: CarrierServer, carrier: str) -> None:
    async with usual.caller(carrier) as caller:
        call = await the_call(usual)

        await caller.hang_up()
        await asyncio.wait_for(call.over.wait(), 5)

        assert call.gone_for == ["caller_hung_up"]
        assert usual.pool.told == []


@EVERY
async def test_a_far_end_that_vanishes_is_noticed(usual: CarrierServer, carrier: str) -> None:
    async with usual.caller(carrier) as caller:
        call = await the_call(usual)

        caller.vanish()
        await asyncio.wait_for(call.over.wait(), 8)

        assert call.gone_for == ["connection_lost"]


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_we_hang_up_through_the_carrier(usual: CarrierServer, carrier: str) -> None:
    async with usual.caller(carrier) as caller:
        call = await the_call(usual)

        await call.leg.hang_up()
        await call.leg.hang_up()
        await asyncio.wait_for(caller.ended.wait(), 5)
        await call.worker.cancel()

        assert caller.ended_by == "agent"
        assert call.gone_for == []
        assert usual.pool.told == []
    ref = caller.phone.call_sid
    hung_up = [command for command in usual.telnyx.commands if command[1] == "hangup"]
    assert hung_up == ([(ref, "hangup", {})] if carrier == "telnyx" else [])
    assert usual.plivo.requests == ([("DELETE", ref, {})] if carrier == "plivo" else [])


@pytest.mark.parametrize("carrier", ["telnyx", "plivo"])
async def test_a_refused_hang_up_is_reported_and_the_line_closed_anyway(
    usual: CarrierServer, carrier: str
) -> None:
    async with usual.caller(carrier) as caller:
        call = await the_call(usual)
        usual.telnyx.answer_with = usual.plivo.answer_with = 500

        await call.leg.hang_up()
        await until(lambda: bool(caller.lost_at))
        await asyncio.sleep(0.5)
        await call.worker.cancel()

        refused = ProviderFailed(stage="transport", provider=carrier, error="hang-up answered 500")
        tries = 2 if carrier == "telnyx" else 1  # the carrier continues a call without a stream
        assert usual.pool.told == [refused] * tries


REFUSED = {"telnyx": "USER_BUSY", "plivo": "busy"}


@pytest.mark.parametrize("carrier", REFUSED)
async def test_a_full_server_lets_the_caller_hear_the_busy_tone(
    usual: CarrierServer, carrier: str
) -> None:
    usual.pool.open, usual.pool.why_closed = False, "full"

    with pytest.raises(NotConnectedError) as refused:
        await usual.caller(carrier).__aenter__()

    assert refused.value.said == REFUSED[carrier]
    assert usual.pool.told == [CallRefused(transport=carrier, reason="full")]


@pytest.mark.parametrize("carrier", REFUSED)
async def test_a_draining_server_answers_an_error_so_that_the_fallback_is_used(
    usual: CarrierServer, carrier: str
) -> None:
    usual.pool.open, usual.pool.why_closed = False, "draining"

    with pytest.raises(NotConnectedError) as refused:
        await usual.caller(carrier).__aenter__()

    assert refused.value.status == 503
    assert usual.pool.told == [CallRefused(transport=carrier, reason="draining")]


async def test_without_a_seat_exotels_next_applet_gets_the_caller(usual: CarrierServer) -> None:
    usual.pool.open, usual.pool.why_closed = False, "draining"

    async with usual.caller("exotel") as caller:
        await asyncio.wait_for(caller.ended.wait(), 5)

    assert caller.close_code == 1013
    assert usual.pool.told[0] == CallRefused(transport="exotel", reason="draining")


@EVERY
async def test_keys_are_sent_to_the_far_end_by_the_carrier_or_as_sound(
    usual: CarrierServer, carrier: str
) -> None:
    async with usual.caller(carrier) as caller:
        leg = (await the_call(usual)).leg

        assert await leg.press("19*#")
        assert not await leg.press("")
        assert not await leg.press("hello")
    ref = caller.phone.call_sid
    pressed = [each["digits"] for _, at, each in usual.telnyx.commands if at == "send_dtmf"]
    assert pressed == (["19*#"] if carrier == "telnyx" else [])
    sent = [("POST", ref, {"digits": "19*#"})] if carrier == "plivo" else []
    assert usual.plivo.requests == sent
    assert bool(caller.ear.bursts) == (carrier in ("exotel", "twilio"))


async def test_keys_that_telnyx_confirms_late_are_sent_once(usual: CarrierServer) -> None:
    async with usual.caller("telnyx") as caller:
        leg = (await the_call(usual)).leg
        usual.telnyx.late_s["send_dtmf"] = CARRIER_REQUEST_S + 1

        assert await leg.press("1")
        assert len(usual.telnyx.commands_so_far(caller.phone.call_sid, "send_dtmf")) == 1
        assert not caller.ear.bursts


@pytest.mark.parametrize("carrier", ["telnyx", "plivo"])
async def test_keys_that_the_carrier_refuses_are_sent_as_sound(
    usual: CarrierServer, carrier: str
) -> None:
    async with usual.caller(carrier) as caller:
        leg = (await the_call(usual)).leg
        usual.telnyx.answer_with = usual.plivo.answer_with = 400

        assert await leg.press("1")
        assert caller.ear.bursts
