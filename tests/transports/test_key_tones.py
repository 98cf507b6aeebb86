"""Keys that we press, heard at the far end of a media stream."""

import asyncio
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pipecat.frames.frames import InterruptionFrame

from lab.simulators.carrier.carrier import Carrier
from tests.transports.key_ear import decode
from tests.transports.twilio_server import RATE_HZ, TOKEN, pool, tone
from transports.key_tones import MAX_KEYS, key_tones

EVIDENCE = (
    Path(__file__).parents[2] / "docs" / "evidence" / "sip-call.wav"
)  # left: an agent's voice


def test_every_key_has_its_own_two_tones() -> None:
    tones = key_tones("0123456789*#ABCD", rate_hz=RATE_HZ)

    assert tones is not None
    assert decode(np.frombuffer(tones, "<i2")).replace("-", "") == "0123456789*#ABCD"


def test_a_voice_is_not_taken_for_dtmf() -> None:
    sound, rate_hz = soundfile.read(EVIDENCE, dtype="int16")

    assert rate_hz == RATE_HZ
    assert decode(sound[:, 0]) == ""


@pytest.mark.parametrize("keys", ["", "1a", "12 3", "\u0661", "1" * (MAX_KEYS + 1)])
def test_an_invalid_key_is_not_pressed(keys: str) -> None:
    assert key_tones(keys, rate_hz=RATE_HZ) is None


@pytest.mark.virtual_time
async def test_keys_are_heard_at_the_far_end() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()

        assert await call.leg.press("1984#")
        await caller.listen(quiet_s=0.3)

        assert decode(caller.heard()).replace("-", "") == "1984#"


@pytest.mark.virtual_time
async def test_keys_go_out_in_one_piece_though_the_agent_speaks() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await call.say(tone(1.0, 300))
        await asyncio.sleep(0.3)

        assert await call.leg.press("55")
        await caller.listen(quiet_s=0.3)

        loud = np.abs(caller.heard().astype(int)) > 500
        assert decode(caller.heard()).replace("-", "") == "55"
        assert np.count_nonzero(loud) / RATE_HZ == pytest.approx(1.2, abs=0.15)


@pytest.mark.virtual_time
@pytest.mark.parametrize("speech_s", [0.0, 1.0], ids=["alone", "within speech"])
@pytest.mark.parametrize("interrupted_at_s", [(0.05,), (0.3, 0.65)], ids=str)
async def test_an_interruption_takes_no_key_away(
    speech_s: float, interrupted_at_s: tuple[float, ...]
) -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller, asyncio.TaskGroup() as tasks:
        call = await it.call()
        if speech_s:
            await call.say(tone(speech_s, 300))
            await asyncio.sleep(0.3)
        pressed, elapsed_s = tasks.create_task(call.leg.press("1984")), 0.0
        for moment_s in interrupted_at_s:
            await asyncio.sleep(moment_s - elapsed_s)
            elapsed_s = moment_s
            await call.worker.queue_frame(InterruptionFrame())
        assert await pressed
        await caller.listen(quiet_s=0.3)

        assert decode(caller.heard()).replace("-", "") == "1984"


@pytest.mark.virtual_time
async def test_speech_is_interrupted_again_after_keys_whose_pressing_was_cancelled() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await call.leg.press("1984")
        await asyncio.sleep(1.0)
        await call.say(tone(2.0, 300))
        await asyncio.sleep(0.5)
        await call.worker.queue_frame(InterruptionFrame())
        await asyncio.sleep(0.3)

        spoken = caller.ear.bursts[-1]
        assert (spoken.end - spoken.start) / RATE_HZ < 0.7


@pytest.mark.virtual_time
async def test_keys_are_pressed_once_although_the_line_is_lost() -> None:
    async with pool(returns_within_s=30) as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await caller.break_off()
        await asyncio.sleep(0.02)

        assert await call.leg.press("7")
        await caller.listen(quiet_s=0.3)

        assert decode(caller.heard()).replace("-", "") == "7"


@pytest.mark.virtual_time
async def test_nothing_is_pressed_when_the_call_is_over() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await caller.hang_up()
        await asyncio.wait_for(call.over.wait(), 5)

        assert not await call.leg.press("1")
        assert not await call.leg.press("x")
