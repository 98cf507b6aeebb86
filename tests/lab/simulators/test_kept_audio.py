"""The voices' sent sound, kept for a judge: exact, bounded, and only on request."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest

from lab.simulators import faults
from lab.simulators.lab import Lab, Spec
from lab.simulators.record import KeptAudio, Take
from lab.simulators.schedule import Window

pytestmark = pytest.mark.virtual_time

VOICE = (Spec(name="elevenlabs", kind="elevenlabs"),)
TEXT = "We open at nine in the morning."


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(VOICE, speed=50, keep_audio=True) as lab:
        yield lab


async def spoken(lab: Lab) -> bytes:
    voice = lab.instance("elevenlabs")
    url = f"{voice.server.base_url('http')}/v1/text-to-speech/V/stream?output_format=pcm_16000"
    headers = {"xi-api-key": voice.api_key}
    try:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, json={"text": TEXT}) as answer,
        ):
            return await answer.read()
    except aiohttp.ClientPayloadError:  # cut, as configured
        return b""


async def asked(lab: Lab, path: str) -> tuple[int, bytes, dict[str, str]]:
    headers = {"Authorization": f"Bearer {lab.describe()['control']['token']}"}
    async with (
        aiohttp.ClientSession(lab.control_url, headers=headers) as session,
        session.get(path) as answer,
    ):
        return answer.status, await answer.read(), dict(answer.headers)


async def test_the_kept_sound_is_the_clients_to_the_sample(lab: Lab) -> None:
    got = await spoken(lab)
    status, kept, headers = await asked(lab, "/audio/elevenlabs/1")

    assert status == 200
    assert headers["X-Rate-Hz"] == "16000"
    assert kept == got
    assert len(got) > 16_000


async def test_a_recorded_word_is_where_its_times_say(lab: Lab) -> None:
    await spoken(lab)
    words = lab.record.words()
    take = lab.record.audio.take("elevenlabs", 1)
    assert take is not None

    sound = take.samples()
    for word in words:
        span = sound[round(word.start_s * 16_000) : round(word.end_s * 16_000)]
        assert np.abs(span.astype(np.int32)).max() > 300, word
    assert [word.text for word in words] == TEXT.split()


async def test_only_the_sent_part_of_an_interrupted_speech_is_kept(lab: Lab) -> None:
    await spoken(lab)
    lab.instance("elevenlabs").set_faults([Window(fault=faults.Cut(after_words=3))])
    await spoken(lab)
    whole, cut = lab.record.audio.takes()

    assert 0 < cut.length < whole.length


async def test_nothing_is_kept_unless_requested() -> None:
    async with Lab(VOICE, speed=50) as lab:
        await spoken(lab)
        status, _, _ = await asked(lab, "/audio/elevenlabs/1")

        assert lab.record.words()
        assert lab.record.audio.takes() == ()
        assert status == 404


@pytest.mark.parametrize("path", ["nobody/1", "elevenlabs/one", "elevenlabs/9"])
async def test_a_missing_sound_is_not_found(lab: Lab, path: str) -> None:
    status, _, _ = await asked(lab, f"/audio/{path}")

    assert status == 404


def test_the_oldest_request_is_dropped_when_there_is_too_much() -> None:
    kept = KeptAudio()
    kept.limit = 250
    for number in range(1, 5):
        kept.add(a_take(request=number), np.ones(100, np.int16), start_s=0.0)

    assert [take.request for take in kept.takes()] == [3, 4]


def test_a_gap_in_the_sent_sound_is_silence_in_the_take() -> None:
    take = a_take(pieces=[(0, np.ones(2, np.int16)), (4, np.ones(2, np.int16))])

    assert take.samples().tolist() == [1, 1, 0, 0, 1, 1]


def a_take(**changes: Any) -> Take:
    return Take(**({"instance": "v", "request": 1, "at_s": 0.0, "rate_hz": 100} | changes))
